"""Execute the runs of a sweep: in processes of this machine, on a dask cluster, or through SLURM.

Nothing here schedules anything: loky, joblib (for dask) and submitit do. What is ours is that the loss of a worker
is no loss of a sweep: every run goes on from its checkpoint, and its folder's lock keeps two workers from one run.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import joblib
from tqdm import tqdm

from baselines.errors import CspDataError, MissingExtraError, OptionError, reason_of
from baselines.runs.run import RunError, is_held, read_run
from baselines.runs.trackers import require_tracker
from baselines.sweeps.grid import PlannedRun, SweepError
from baselines.sweeps.slots import device_slot
from baselines.sweeps.slurm_queue import SlurmQueue
from baselines.training.ledger import LEDGER, append_event, read_lines
from csp_data.options import check_number
from csp_data.parallel import as_done
from csp_data.terminal import stdout_is_result

__all__ = [
    "Joblib",
    "Local",
    "Outcome",
    "Place",
    "Pool",
    "Submitit",
    "WorkerLostError",
    "execute",
    "make_pool",
    "work_as_job",
    "work_on",
]

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""Times in a row that a run may lose its worker without finishing an epoch before it counts as failed."""

POLL_S = 0.2


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
            check_number(option, getattr(self, option), "a whole number of at least 1", least=1, whole=True)


def work_on(planned: PlannedRun, place: Place) -> Outcome:
    """Execute a run; whatever goes wrong comes back as an outcome, so that it stops no other run."""
    import torch

    import csp_data
    from baselines.cpu.threads import before_compiling
    from baselines.experiment import run
    from baselines.runs.run import BusyError

    def record_compiling() -> None:
        if (planned.folder / LEDGER).exists():
            append_event(planned.folder, "compile")

    start = time.perf_counter()
    outer = stdout_is_result.set(True)  # a worker's stdout is that of the sweep
    tqdm.set_lock(threading.RLock())  # not one between processes: a semaphore that a killed worker leaves behind
    try:
        names = [place.device]
        if place.device == "cuda":
            names = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        gpu = place.device == "cuda"
        reservation = device_slot(place.slots, names, place.per_device) if gpu else _fixed_device(names[0])
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


@contextmanager
def _fixed_device(device: str) -> Iterator[str]:
    yield device


class Pool(Protocol):
    """Executes runs in any order."""

    def outcomes(self, runs: Sequence[PlannedRun], place: Place) -> Iterator[Outcome]:
        """Yield the outcome of each run as it comes; raise :class:`WorkerLostError` when some will not come."""
        ...


@dataclass(frozen=True)
class Local:
    """Runs in processes of this machine; one at a time in this process itself.

    Parameters
    ----------
    jobs
        Runs at once.
    """

    jobs: int

    def outcomes(self, runs: Sequence[PlannedRun], place: Place) -> Iterator[Outcome]:
        """Yield the outcome of each run as it comes."""
        execute_run = partial(work_on, place=place)
        if self.jobs == 1:
            yield from map(execute_run, runs)
            return
        with _lost_workers():
            yield from as_done(execute_run, runs, self.jobs)


@dataclass(frozen=True)
class Joblib:
    """Runs on a cluster that one of joblib's backends knows.

    Parameters
    ----------
    backend
        ``"dask"``.
    options
        Of the backend, such as its client.
    """

    backend: str
    options: dict[str, Any]

    def outcomes(self, runs: Sequence[PlannedRun], place: Place) -> Iterator[Outcome]:
        """Yield the outcome of each run as it comes."""
        calls = (joblib.delayed(work_on)(planned, place) for planned in runs)
        with ExitStack() as stack:
            with joblib.parallel_config(self.backend, n_jobs=-1, **self.options):
                parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
                results = stack.enter_context(closing(parallel(calls)))
            stack.enter_context(_lost_workers())
            yield from results


@contextmanager
def _lost_workers() -> Iterator[None]:
    """Raise :class:`WorkerLostError` for what each kind of pool raises (TerminatedWorkerError, KilledWorker)."""
    try:
        yield
    except CspDataError:
        raise
    except Exception as error:
        raise WorkerLostError(f"{type(error).__name__}: {error}") from error


@dataclass(frozen=True)
class Submitit:
    """Runs as jobs of SLURM, one job per run, in one array.

    Parameters
    ----------
    folder
        Where submitit keeps its scripts, results and logs; must be seen by all nodes.
    cluster
        ``"slurm"``, or ``"local"``: processes of this machine, to try out.
    jobs
        Jobs at once.
    parameters
        As submitit names them: ``timeout_min``, ``slurm_partition``, ``gpus_per_node``, ``cpus_per_task``, ...
    """

    folder: Path
    cluster: str
    jobs: int
    parameters: dict[str, Any] = field(default_factory=dict)

    def outcomes(self, runs: Sequence[PlannedRun], place: Place) -> Iterator[Outcome]:
        """Yield the outcome of each run as it comes; jobs that are not waited for to their end are cancelled."""
        executor = self._executor(place)
        queue = SlurmQueue() if self.cluster == "slurm" else None
        waiting = list(runs)
        pending: list[Any] = []
        lost_jobs: list[str] = []
        try:
            while waiting or pending:
                # SLURM takes all at once as one array; processes of this machine are handed out a few at a time
                free_jobs = len(waiting) if queue else self.jobs - len(pending)
                batch, waiting = waiting[:free_jobs], waiting[free_jobs:]
                if batch:
                    pending += _submit(executor, batch, place)
                for job in list(pending):
                    has_result = job.paths.result_pickle.exists()
                    if queue:
                        end = "ended" if has_result else queue.end_of(job.job_id)
                    else:
                        end = f"{job.state.lower()} without a result" if job.done() else ""
                    if not end:
                        continue
                    pending.remove(job)
                    if not has_result:
                        lost_jobs.append(_describe(job, end))
                        continue
                    try:
                        yield job.result()
                    except Exception as error:  # submitit's own, with the trace of what its job could not do
                        trace = str(error).rpartition("\n---")[0] or str(error)
                        lost_jobs.append(_describe(job, trace.strip().splitlines()[-1]))
                time.sleep(POLL_S)
        finally:
            for job in pending:
                job.cancel(check=False)
            if not queue:
                for job in pending:
                    job.wait()
        if lost_jobs:
            raise WorkerLostError("; ".join(lost_jobs))

    def _executor(self, place: Place) -> Any:
        import submitit

        defaults = {"timeout_min": 24 * 60, "cpus_per_task": place.threads, "name": "csp-baselines"}
        if self.cluster == "slurm":
            defaults["slurm_array_parallelism"] = self.jobs
        try:
            executor = submitit.AutoExecutor(folder=self.folder, cluster=self.cluster)
        except RuntimeError as error:
            raise OptionError("backend", "slurm", "a machine with SLURM's commands", str(error)) from error
        try:
            executor.update_parameters(**{**defaults, **self.parameters})
        except (AssertionError, NameError, TypeError, ValueError) as error:
            raise OptionError("slurm", self.parameters, "parameters of submitit", str(error)) from error
        return executor


def _submit(executor: Any, runs: Sequence[PlannedRun], place: Place) -> list[Any]:
    """Submit runs as one array; say what SLURM has against it."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        with executor.batch():
            return [executor.submit(work_as_job, planned, place) for planned in runs]
    except (FailedJobError, FailedSubmissionError) as error:
        raise SweepError(f"SLURM does not take the jobs with these parameters (--slurm): {error}") from error
    except OSError as error:
        raise SweepError(
            f"{executor.folder} cannot be written ({error}). Make room, or name another --out."
        ) from error


def _describe(job: Any, end: str) -> str:
    return f"job {job.job_id}: {end}; its log is {job.paths.stderr}"


@contextmanager
def make_pool(backend: str, jobs: int, folder: Path, parameters: dict[str, Any]) -> Iterator[Pool]:
    """Open a pool by name.

    Parameters
    ----------
    backend
        ``"loky"``; ``"dask:ADDRESS"`` of a scheduler, such as ``dask:tcp://host:8786``; ``"slurm"``, or
        ``"slurm:local"`` for the same on this machine.
    jobs
        Runs at once; dask runs as many as its workers have threads.
    folder
        Of the sweep.
    parameters
        Of SLURM.
    """
    check_number("jobs", jobs, "a whole number of at least 1", least=1, whole=True)
    name, _, address = backend.partition(":")
    if parameters and name != "slurm":
        raise OptionError("slurm", parameters, "nothing without --backend slurm")
    if backend == "loky":
        with warnings.catch_warnings():
            # a worker that has grown by 300 MB, as it does where models of all kinds take turns, is replaced
            # between two runs; nothing is lost, and nothing is to be done (one that is killed is an error)
            warnings.filterwarnings("ignore", r"A worker stopped while some jobs were given", UserWarning)
            yield Local(jobs)
    elif name == "dask" and address:
        with _dask_client(address) as client:
            yield Joblib("dask", {"client": client, "wait_for_workers_timeout": 60})
    elif backend in ("slurm", "slurm:local"):
        try:
            import submitit  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("--backend slurm", "submitit", "slurm") from error
        yield Submitit(folder / "slurm", address or "slurm", jobs, parameters)
    else:
        raise OptionError("backend", backend, "loky, dask:tcp://HOST:PORT, slurm or slurm:local")


@contextmanager
def _dask_client(address: str) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtraError("--backend dask", "distributed", "dask") from error
    try:
        client = Client(address, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise OptionError(
            "backend", f"dask:{address}", "the address of a dask scheduler that answers", str(error)
        ) from error
    with client:
        yield client


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
