"""Execute the runs of a sweep as jobs of SLURM, which submitit hands over."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from baselines.errors import OptionError, SweepError
from baselines.sweeps.grid import PlannedRun
from baselines.sweeps.worker import Outcome, Place, WorkerLostError, work_as_job

__all__ = ["SlurmQueue", "Submitit"]

POLL_S = 0.2

LISTING_S = 15.0
"""Seconds between two listings, so that SLURM is not busy with answering."""

GONE = "no longer in SLURM's queue"
ENDED = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL"),
    *("OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT", GONE),
}
"""States after which SLURM does nothing more for a job; one that it has put into the queue again is in another."""


class SlurmQueue:
    """The queue, as ``squeue`` lists it.

    submitit asks ``sacct`` instead, which knows nothing where SLURM keeps no accounts: there a job that was killed
    would be waited for without end. ``squeue`` is there wherever jobs can be submitted.
    """

    def __init__(self) -> None:
        self._asked_s = float("-inf")
        self._before: dict[str, str] | None = None
        self._now: dict[str, str] | None = None

    def end_of(self, job_id: str) -> str:
        """Return how a job ended, nothing while it has not, or while SLURM does not answer.

        A job has ended if two listings in a row say so: until then its result may be on its way through a network
        file system.
        """
        if time.monotonic() - self._asked_s > LISTING_S:
            self._asked_s = time.monotonic()
            states = _list_states()
            if states is not None:
                self._before, self._now = self._now, states
        if self._before is None or self._now is None:
            return ""
        ends = [listing.get(job_id, GONE) for listing in (self._before, self._now)]
        return ends[-1] if all(end in ENDED for end in ends) else ""


def _list_states() -> dict[str, str] | None:
    """Return the state of each of this user's jobs that SLURM has not forgotten; None if it does not answer."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")}
    command = ["squeue", "--me", "--array", "--noheader", "--states=all", "--format=%i %T"]
    try:
        listing = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=60
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return dict(line.split() for line in listing.splitlines())


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
                    if not (end := _end_of(job, queue)):
                        continue
                    pending.remove(job)
                    try:
                        outcome = _outcome_of(job, end)
                    except WorkerLostError as error:
                        lost_jobs.append(str(error))
                    else:
                        yield outcome
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


def _end_of(job: Any, queue: SlurmQueue | None) -> str:
    """Return how a job ended; nothing while it has not."""
    if queue is None:
        return f"{job.state.lower()} without a result" if job.done() else ""
    return "ended" if job.paths.result_pickle.exists() else queue.end_of(job.job_id)


def _outcome_of(job: Any, end: str) -> Outcome:
    """Return what an ended job came to; raise :class:`WorkerLostError` if it left nothing, or an error alone."""
    if job.paths.result_pickle.exists():
        try:
            outcome: Outcome = job.result()
            return outcome
        except Exception as error:  # submitit's own, with the trace of what its job could not do
            trace = str(error).rpartition("\n---")[0] or str(error)
            end = trace.strip().splitlines()[-1]
    raise WorkerLostError(f"job {job.job_id}: {end}; its log is {job.paths.stderr}")
