"""Find finished runs, by their folders or in folders that hold them, and their data."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from baselines.errors import OptionError
from baselines.runs.config import data_config
from baselines.runs.interface import dataset_of
from baselines.runs.run import CONFIG, RESULTS, Run, RunError, failure_of, read_run
from csp_data import Dataset
from csp_data.home import expanded

__all__ = ["datasets_of", "find_runs", "read_runs"]

logger = logging.getLogger(__name__)


def read_runs(folders: Sequence[Path | str]) -> list[Run]:
    """Read finished runs from their folders, or from folders that hold them at any depth, such as a sweep's.

    Within a folder of runs, what is no run is passed over; unfinished runs are passed over and counted in the log.

    Raises
    ------
    RunError
        If a folder neither is a run nor holds a finished one, or if a run is damaged.
    """
    runs: list[Run] = []
    for folder in map(expanded, folders):
        finished, unfinished = find_runs([folder])
        if unfinished and unfinished != [folder]:
            if not finished:
                raise RunError(
                    f"{folder}: neither a run nor a folder that holds finished runs. Name another folder."
                )
            failed = sum(failure_of(run) is not None for run in unfinished)
            logger.warning(
                "%s: %d of %d runs are unfinished%s",
                folder,
                len(unfinished),
                len(finished + unfinished),
                f", {failed} of them as they ended with an error" if failed else "",
            )
            unfinished = []
        runs += map(read_run, (*finished, *unfinished))
    return runs


def find_runs(folders: Sequence[Path | str]) -> tuple[list[Path], list[Path]]:
    """Return the folders of finished and of unfinished runs: those given, or those that they hold at any depth.

    Raises
    ------
    RunError
        If a folder neither is a run nor holds one.
    """
    finished: list[Path] = []
    unfinished: list[Path] = []
    for folder in map(expanded, folders):
        run_folders = [folder] if (folder / CONFIG).exists() else sorted(p.parent for p in folder.rglob(CONFIG))
        if not run_folders:
            if not folder.is_dir():
                read_run(folder)  # says what is wrong
            raise RunError(f"{folder}: neither a run nor a folder that holds finished runs. Name another folder.")
        for path in run_folders:
            (finished if (path / RESULTS).exists() else unfinished).append(path)
    return finished, unfinished


def datasets_of(runs: Sequence[Run], files: Sequence[Path | str] = ()) -> list[Dataset]:
    """Open the prepared files of some runs, one for each recipe of their data.

    Parameters
    ----------
    runs
        Finished runs.
    files
        Where prepared files are that are no longer where the runs found them.

    Raises
    ------
    RunError
        If a file is not there.
    OptionError
        If one of `files` belongs to no run.
    """
    run_by_recipe = {run.config.data.recipe_hash: run for run in reversed(runs)}
    dataset_by_recipe = {}
    for file in files:
        dataset = dataset_of(runs[0], file)
        recipe = data_config(dataset).recipe_hash
        if recipe not in run_by_recipe:
            raise OptionError(
                "data",
                str(file),
                f"a prepared file of the runs, recipe {', '.join(run_by_recipe)}; it has {recipe}",
            )
        dataset_by_recipe[recipe] = dataset
    return [dataset_by_recipe.get(recipe) or dataset_of(run) for recipe, run in run_by_recipe.items()]
