"""Finished runs, from their folders or from the folders that hold them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from baselines.runs import CONFIG, RESULTS, Run, RunError, read_run

__all__ = ["read_runs"]

logger = logging.getLogger(__name__)


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Read finished runs from their folders, or from folders that hold them at any depth, such as a sweep's.

    Within a folder of runs, what is no run is passed over; unfinished runs are passed over and counted in the log.

    Raises
    ------
    RunError
        If a folder neither is a run nor holds a finished one, or if a run is damaged.
    """
    runs = []
    for folder in folders:
        if (folder / CONFIG).exists() or not folder.is_dir():
            runs.append(read_run(folder))
            continue
        inside = sorted(path.parent for path in folder.rglob(CONFIG))
        finished = [path for path in inside if (path / RESULTS).exists()]
        if not finished:
            raise RunError(f"{folder}: neither a run nor a folder that holds finished runs. Name another folder.")
        if len(finished) < len(inside):
            logger.warning("%s: %d of %d runs are unfinished", folder, len(inside) - len(finished), len(inside))
        runs += [read_run(path) for path in finished]
    return runs
