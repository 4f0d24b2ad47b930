"""Pools of workers: processes of this machine, a dask cluster, or SLURM; loky, joblib and submitit schedule."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import joblib

from baselines.errors import CspDataError, MissingExtraError, OptionError
from baselines.sweeps.grid import PlannedRun
from baselines.sweeps.slurm import Submitit
from baselines.sweeps.worker import Outcome, Place, WorkerLostError, work_on
from csp_data.options import check_count
from csp_data.parallel import as_done

__all__ = ["Joblib", "Local", "Pool", "make_pool"]


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
    check_count("jobs", jobs)
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
        from distributed.comm.addressing import resolve_address
    except ImportError as error:
        raise MissingExtraError("--backend dask", "distributed", "dask") from error
    try:
        resolve_address(address)  # a client that refuses it is left with a thread, and its end waits 20 s for that
        client = Client(address, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise OptionError(
            "backend", f"dask:{address}", "the address of a dask scheduler that answers", str(error)
        ) from error
    with client:
        yield client
