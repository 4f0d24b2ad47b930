"""Combine a model's runs on all folds of a cross-validation into one result on all recordings."""

from __future__ import annotations

import copy
import hashlib
import itertools
import logging
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from baselines.results.rows import Result, Target, digest
from baselines.runs.run import RunError
from csp_data.splits import natural_key

__all__ = ["FoldsMissingError", "across_folds", "recipe"]

logger = logging.getLogger(__name__)

SAID = 3
"""Models that are named where folds are missing."""
STATISTICS = ("shift", "scale", "target_shift", "target_scale")
"""What a model that computes in physical units is told of its data: it differs from fold to fold."""


class FoldsMissingError(RunError):
    """No model has run on all folds, so that none can be put together."""


def across_folds(rows: Sequence[Result]) -> list[Result]:
    """Put rows that differ in the fold alone together; others stay as they are.

    Every recording is in the reported part of one fold (:class:`csp_data.Resplit`), so the row that comes out has
    errors on all of them, each by a model that has not seen it. As in one run, every target step counts once.
    Trajectory errors are means over recordings. Errors on the part for choosing are means over the folds, and so
    is the time; there is no one epoch. Where the number of learned values hangs on the fold, it is the largest.

    Parameters
    ----------
    rows
        Of one data set. Where all are of one fold, that is a split like any other, and they stay.

    Returns
    -------
    list of Result
        Models and seeds of which folds are missing are left out, and the log says so.

    Raises
    ------
    FoldsMissingError
        If folds are missing of all.
    RunError
        If a fold is there twice, or if rows hold no errors by recording.
    """
    if len({row.fold for row in rows if row.fold is not None}) < 2:
        return list(rows)
    found: dict[tuple[str, ...], list[Result]] = {}
    for row in rows:
        apart = row.key if row.fold is None else digest(_without_fold(row))
        found.setdefault((apart, row.study, row.variant, str(row.seed)), []).append(row)
    made: list[Result] = []
    missing: list[str] = []
    for group in found.values():
        first = group[0]
        if first.fold is None:
            made += group
        elif {row.fold for row in group} == set(range(first.folds or 0)):
            made.append(_together(sorted(group, key=lambda row: row.fold or 0)))
        else:
            missing.append(f"{first.model} seed {first.seed}")
    few = ", ".join(missing[:SAID]) + (f" and {len(missing) - SAID} more" if len(missing) > SAID else "")
    if not made:
        raise FoldsMissingError(
            f"{first.dataset}: no model has run on all folds ({few} lack some). Give the command of the sweep "
            "again, and it goes on."
        )
    if missing:
        logger.warning("%s: left out, as they have not run on all folds: %s", first.dataset, few)
    return made


def recipe(row: Result) -> str:
    """Return what names the data of a row; of one fold, that of all folds."""
    return row.recipe_hash if row.fold is None else digest(_without_fold(row)["data"])


def _without_fold(row: Result) -> dict[str, Any]:
    settings: dict[str, Any] = copy.deepcopy(dict(row.settings))
    del settings["data"]["recipe_hash"], settings["data"]["protocol"]["resplit"]["fold"]
    settings["model"] = {name: value for name, value in settings["model"].items() if name not in STATISTICS}
    return settings


def _together(rows: Sequence[Result]) -> Result:
    """Return one row from the rows of all folds, in the order of the folds."""
    first = rows[0]
    for one, other in itertools.pairwise(rows):
        if one.fold == other.fold:
            raise RunError(
                f"{one.source} and {other.source} are the same run ({one.model}, seed {one.seed}, fold "
                f"{one.fold}), and would count twice. Name one of them."
            )
    if without := [row.source for row in rows if not row.recordings]:
        raise RunError(f"{without[0]} holds no errors by recording, which folds are put together by.")
    recordings = {name: errors for row in rows for name, errors in row.recordings.items()}
    steps = [sum(recording.steps for recording in row.recordings.values()) for row in rows]

    def over_steps(values: Sequence[float]) -> float:
        return float(np.average(values, weights=steps))

    def over_recordings(name: str) -> float | None:
        values = [getattr(recording, name) for recording in recordings.values()]
        return None if None in values else statistics.fmean(values)

    def target(name: str) -> Target:
        its = [row.by_target[name] for row in rows]
        square = over_steps([one.rmse**2 for one in its])
        return Target(its[0].unit, math.sqrt(square), over_steps([one.mae for one in its]))

    recipe = _digits([row.recipe_hash for row in rows])
    settings = _without_fold(first)
    settings["data"]["recipe_hash"] = recipe
    published = [row.published_mse for row in rows if row.published_mse is not None]
    test_mse, val_mse = over_steps([row.test_mse for row in rows]), statistics.fmean(row.val_mse for row in rows)
    return replace(
        first,
        recipe_hash=recipe,
        config=digest(settings),
        key=_digits([row.key for row in rows]),
        commit=", ".join(sorted({row.commit for row in rows if row.commit})) or None,
        parameters=max(row.parameters for row in rows),
        epoch=None,
        seconds=statistics.fmean(row.seconds for row in rows),
        val_mse=val_mse,
        val_rmse=math.sqrt(val_mse),
        val_mae=statistics.fmean(row.val_mae for row in rows),
        test_mse=test_mse,
        test_rmse=math.sqrt(test_mse),
        test_mae=over_steps([row.test_mae for row in rows]),
        test_ate=over_recordings("ate"),
        test_rte=over_recordings("rte"),
        published_mse=over_steps(published) if len(published) == len(rows) else None,
        recordings=dict(sorted(recordings.items(), key=lambda named: natural_key(named[0]))),
        by_target={name: target(name) for name in first.by_target},
        settings=settings,
        source=f"{first.source} and its other folds",
    )


def _digits(names: Sequence[str]) -> str:
    return hashlib.sha256(" ".join(names).encode()).hexdigest()[:12]
