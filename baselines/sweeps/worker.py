"""Execute one run of a sweep in a worker, and say what became of it."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from tqdm import tqdm

import csp_data
from baselines.cpu.threads import before_compiling
from baselines.errors import BusyError, CspDataError, reason_of
from baselines.experiment import run
from baselines.runs.trackers import require_tracker
from baselines.sweeps.grid import PlannedRun
from baselines.sweeps.slots import device_slot
from baselines.training.ledger import LEDGER, append_event
from csp_data.options import check_count
from csp_data.terminal import stdout_is_result

__all__ = ["Outcome", "Place", "WorkerLostError", "work_as_job", "work_on"]


class WorkerLostError(CspDataError):
    """A worker ended without an answer."""


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Parameters
    ----------
    folder
        Of the run.
    state
        ``"done"``; ``"skipped"``: it was done before; ``"busy"``: another process is at work on it; ``"failed"``.
    error
        Why it failed.
    seconds
        Spent on it here.
    """

    folder: Path
    state: Literal["done", "skipped", "busy", "failed"]
    error: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a worker gives to a run.

    Parameters
    ----------
    device
        As torch names it; ``"cuda"`` takes one of the machine's GPUs, whichever has room.
    per_device
        Runs at once on one GPU.
    threads
        Threads of torch.
    slots
        Folder of the locks that count the runs on each GPU.
    track
        Name of a tracker that follows each training.
    """

    device: str = "cpu"
    per_device: int = 1
    threads: int = 1
    slots: Path = Path()
    track: str | None = None

    def __post_init__(self) -> None:
        require_tracker(self.track)
        for option in ("per_device", "threads"):
            check_count(option, getattr(self, option))


def work_on(planned: PlannedRun, place: Place) -> Outcome:
    """Execute a run; whatever goes wrong comes back as an outcome, so that it stops no other run."""

    def record_compiling() -> None:
        if (planned.folder / LEDGER).exists():
            append_event(planned.folder, "compile")

    start = time.perf_counter()
    outer = stdout_is_result.set(True)  # a worker's stdout is that of the sweep
    tqdm.set_lock(threading.RLock())  # not one between processes: a semaphore that a killed worker leaves behind
    try:
        reservation: AbstractContextManager[str] = nullcontext(place.device)
        if place.device == "cuda":
            gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
            reservation = device_slot(place.slots, gpus, place.per_device)
        planned.check_files()
        with reservation as device, before_compiling(record_compiling):
            _, state = run(
                csp_data.load(path=planned.prepared),
                planned.model,
                planned.train,
                planned.folder,
                preset=planned.preset,
                options=planned.options,
                device=device,
                threads=place.threads,
                command=planned.command,
                track=place.track,
            )
    except BusyError as error:
        return Outcome(planned.folder, "busy", str(error))
    except Exception as error:
        return Outcome(planned.folder, "failed", reason_of(error), time.perf_counter() - start)
    finally:
        stdout_is_result.reset(outer)
    return Outcome(
        planned.folder, "skipped" if state == "finished" else "done", seconds=time.perf_counter() - start
    )


def work_as_job(planned: PlannedRun, place: Place) -> Outcome:
    """Execute a run in a job of submitit; the signal before the job's time limit is ignored.

    On that signal submitit raises an error wherever the run has got to, which would count as the run's own. Every
    finished epoch is kept already: a run can be killed at its limit.
    """
    import submitit

    signal.signal(getattr(signal, f"SIG{submitit.JobEnvironment.USR_SIG}"), signal.SIG_IGN)
    return work_on(planned, place)
