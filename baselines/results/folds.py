"""Combine a model's runs on all folds of a cross-validation into one result on all recordings."""

from __future__ import annotations

import hashlib
import itertools
import logging
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from baselines.errors import RunError
from baselines.results.rows import Recording, Result, Target
from baselines.results.text import abbreviated
from baselines.runs.config import digest, without_fold
from csp_data.splits import natural_key

__all__ = ["FoldsMissingError", "across_folds", "put_together", "recipe_of"]

logger = logging.getLogger(__name__)

DATA_STATISTICS = ("shift", "scale", "target_shift", "target_scale")
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
    combined, missing = put_together(rows)
    if not combined and missing:
        raise FoldsMissingError(
            f"{rows[0].dataset}: no model has run on all folds ({abbreviated(missing)} lack some). Give the "
            "command of the sweep again, and it goes on."
        )
    if missing:
        logger.warning(
            "%s: left out, as they have not run on all folds: %s", rows[0].dataset, abbreviated(missing)
        )
    return combined


def put_together(rows: Sequence[Result]) -> tuple[list[Result], list[str]]:
    """Return what :func:`across_folds` does, which may be nothing, and the models and seeds that lack folds."""
    if len({row.fold for row in rows if row.fold is not None}) < 2:
        return list(rows), []
    groups: dict[tuple[str, ...], list[Result]] = {}
    for row in rows:
        identity = row.key if row.fold is None else digest(_without_fold(row))
        groups.setdefault((identity, row.study, row.variant, str(row.seed)), []).append(row)
    combined: list[Result] = []
    missing: list[str] = []
    for group in groups.values():
        first = group[0]
        if first.fold is None:
            combined += group
        elif {row.fold for row in group} == set(range(first.folds or 0)):
            combined.append(_combine_folds(sorted(group, key=lambda row: row.fold or 0)))
        else:
            missing.append(f"{first.model} seed {first.seed}")
    return combined, missing


def recipe_of(row: Result) -> str:
    """Return what names the data of a row; of one fold, that of all folds."""
    if row.fold is None:
        return row.recipe_hash
    data = _without_fold(row)["data"]
    data.pop("normalization", None)  # of the model, as it is
    return digest(data)


def _without_fold(row: Result) -> dict[str, Any]:
    settings = without_fold(row.settings)
    settings["model"] = {name: value for name, value in settings["model"].items() if name not in DATA_STATISTICS}
    return settings


def _combine_folds(rows: Sequence[Result]) -> Result:
    """Return one row from the rows of all folds, in the order of the folds."""
    _require_distinct_folds(rows)
    first = rows[0]
    recordings = {name: errors for row in rows for name, errors in row.recordings.items()}
    steps = [sum(recording.steps for recording in row.recordings.values()) for row in rows]

    def over_steps(values: Sequence[float]) -> float:
        return float(np.average(values, weights=steps))

    recipe = _joint_digest([row.recipe_hash for row in rows])
    settings = _without_fold(first)
    settings["data"]["recipe_hash"] = recipe
    published = [row.published_mse for row in rows if row.published_mse is not None]
    test_mse, val_mse = over_steps([row.test_mse for row in rows]), statistics.fmean(row.val_mse for row in rows)
    return replace(
        first,
        recipe_hash=recipe,
        config=digest(settings),
        key=_joint_digest([row.key for row in rows]),
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
        test_ate=_mean_over(recordings.values(), "ate"),
        test_rte=_mean_over(recordings.values(), "rte"),
        published_mse=over_steps(published) if len(published) == len(rows) else None,
        recordings=dict(sorted(recordings.items(), key=lambda named: natural_key(named[0]))),
        by_target={
            name: _combine_targets([row.by_target[name] for row in rows], steps) for name in first.by_target
        },
        groups=sum(row.groups or 0 for row in rows) if all(row.groups for row in rows) else None,
        settings=settings,
        source=f"{first.source} and its other folds",
    )


def _require_distinct_folds(rows: Sequence[Result]) -> None:
    for row, following in itertools.pairwise(rows):
        if row.fold == following.fold:
            raise RunError(
                f"{row.source} and {following.source} are the same run ({row.model}, seed {row.seed}, fold "
                f"{row.fold}), and would count twice. Name one of them."
            )
    if without := [row.source for row in rows if not row.recordings]:
        raise RunError(f"{without[0]} holds no errors by recording, which folds are put together by.")


def _mean_over(recordings: Iterable[Recording], name: str) -> float | None:
    """Return the mean of a trajectory error; ``None`` where a recording has none."""
    values = [getattr(recording, name) for recording in recordings]
    return None if None in values else statistics.fmean(values)


def _combine_targets(folds: Sequence[Target], steps: Sequence[int]) -> Target:
    """Return the errors on one target over all folds, where every target step counts once."""
    mse = np.average([errors.rmse**2 for errors in folds], weights=steps)
    mae = np.average([errors.mae for errors in folds], weights=steps)
    return Target(folds[0].unit, math.sqrt(mse), float(mae))


def _joint_digest(names: Sequence[str]) -> str:
    return hashlib.sha256(" ".join(names).encode()).hexdigest()[:12]
