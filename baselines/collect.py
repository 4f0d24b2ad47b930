"""Finished runs, from their folders or from the folders that hold them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from baselines.runs import CONFIG, RESULTS, Run, RunError, read_run

__all__ = ["find_runs", "read_runs"]

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
        finished, unfinished = find_runs([folder])
        if unfinished and unfinished != [folder]:
            if not finished:
                raise RunError(
                    f"{folder}: neither a run nor a folder that holds finished runs. Name another folder."
                )
            logger.warning("%s: %d of %d runs are unfinished", folder, len(unfinished), len(finished + unfinished))
            unfinished = []
        runs += [read_run(path) for path in (*finished, *unfinished)]
    return runs


def find_runs(folders: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return the folders of finished and of unfinished runs: those given, or those that they hold at any depth.

    Raises
    ------
    RunError
        If a folder neither is a run nor holds one.
    """
    found: tuple[list[Path], list[Path]] = ([], [])
    for folder in folders:
        inside = [folder] if (folder / CONFIG).exists() else sorted(p.parent for p in folder.rglob(CONFIG))
        if not inside:
            if not folder.is_dir():
                read_run(folder)  # says what is wrong
            raise RunError(f"{folder}: neither a run nor a folder that holds finished runs. Name another folder.")
        for path in inside:
            found[not (path / RESULTS).exists()].append(path)
    return found
