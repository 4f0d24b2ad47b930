"""Ask SLURM which jobs have ended, and how."""

from __future__ import annotations

import os
import subprocess
import time

__all__ = ["SlurmQueue"]

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
