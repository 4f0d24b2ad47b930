"""Execute the runs of a sweep in a pool, whatever happens to its workers.

The loss of a worker is no loss of a sweep: every run goes on from its checkpoint, and its folder's lock keeps two
workers from one run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from baselines.errors import RunError
from baselines.runs.run import is_held, read_run
from baselines.sweeps.grid import PlannedRun
from baselines.sweeps.pool import Pool
from baselines.sweeps.worker import Outcome, Place, WorkerLostError
from baselines.training.ledger import LEDGER, append_event, read_lines

__all__ = ["execute"]

logger = logging.getLogger(__name__)

POLL_S = 0.2

ATTEMPTS = 3
"""Times in a row that a run may lose its worker without finishing an epoch before it counts as failed."""


def execute(runs: Iterable[PlannedRun], pool: Pool, place: Place) -> Generator[Outcome, None, None]:
    """Execute runs until each is done or has failed, whatever happens to workers; yield what became of each.

    A run that another process holds is waited for here: with SLURM, a worker for it would be a job for nothing.
    One that loses its worker goes on from its checkpoint, unless it does so :data:`ATTEMPTS` times without
    finishing an epoch: then it has failed, and says so.
    """
    waiting = {planned.folder: planned for planned in runs}
    losses = dict.fromkeys(waiting, 0)
    idle_rounds = 0
    while waiting:
        free = [planned for folder, planned in waiting.items() if not is_held(folder)]
        for planned in [planned for planned in free if _is_finished(planned.folder)]:
            free.remove(planned)
            del waiting[planned.folder]
            yield Outcome(planned.folder, "skipped")
        if not free:
            time.sleep(POLL_S if waiting else 0)
            continue
        before = {folder: _progress(folder) for folder in waiting}
        reason = ""
        try:
            for outcome in pool.outcomes(free, place):
                if outcome.state != "busy":
                    del waiting[outcome.folder]
                    yield outcome
        except WorkerLostError as error:
            reason = str(error)
            logger.warning(
                "a worker was lost; what it did goes on from its checkpoint (%s)", reason.splitlines()[0]
            )
        if not reason:
            idle_rounds = 0
            time.sleep(POLL_S if waiting else 0)
            continue
        _count_losses(losses, waiting, before)
        for folder in [folder for folder in waiting if losses[folder] >= ATTEMPTS]:
            del waiting[folder]
            failure = (
                f"its worker ended {ATTEMPTS} times without finishing an epoch (out of memory, of time?): {reason}"
            )
            append_event(folder, "fail", error=failure)
            yield Outcome(folder, "failed", failure)
        some_ended = len(waiting) < len(before)
        some_started = any(_progress(folder).starts > before[folder].starts for folder in waiting)
        idle_rounds = 0 if some_ended or some_started else idle_rounds + 1
        if idle_rounds >= ATTEMPTS:
            raise WorkerLostError(f"Workers end before they begin a run, {ATTEMPTS} times in a row: {reason}")


def _is_finished(folder: Path) -> bool:
    """Tell whether a folder holds a finished run that can be read; whatever is wrong with it, its worker says."""
    try:
        return read_run(folder).config.key == folder.name.rsplit("-", 1)[-1]
    except RunError:
        return False


class _Progress(NamedTuple):
    """How often a run was taken up, and its kept epochs."""

    starts: int
    epochs: int


def _progress(folder: Path) -> _Progress:
    events = [line.get("event") for line in read_lines(folder / LEDGER)]
    return _Progress(events.count("start"), events.count("epoch"))


def _count_losses(losses: dict[Path, int], waiting: Iterable[Path], before: Mapping[Path, _Progress]) -> None:
    """Count, for each run that was taken up since, how often in a row its worker ended without an epoch."""
    for folder in waiting:
        after = _progress(folder)
        if after.starts > before[folder].starts:
            losses[folder] = 1 if after.epochs > before[folder].epochs else losses[folder] + 1
