"""From runs to tables: means and deviations over seeds, what was published, which differences carry weight."""

from __future__ import annotations

import json
import logging
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar, cast

import numpy as np

from baselines.errors import OptionError, RunError, UnknownNameError
from baselines.published import improvement as published_improvement
from baselines.published import published
from baselines.results.folds import FoldsMissingError, across_folds, recipe_of
from baselines.results.rows import Result, as_results
from baselines.runs.config import PREDICTIONS_ALONE
from baselines.runs.run import Run
from baselines.tables.digits import mean_and_std
from baselines.tables.labels import by_label, what_numbers_mean
from baselines.tables.setting_text import setting_text
from baselines.tables.significance import compare
from baselines.tables.table import MIXED, Hierarchy, Row, Table, best_on_val
from baselines.training.quantities import si

__all__ = ["for_each_data", "make_table", "make_tables"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

NAMED_AT_MOST = 3
"""Differing fields of a protocol that the name of a table tells; of more, it is its digits."""


def make_table(
    runs: Sequence[Run | Result], against: str | None = None, names: Mapping[str, str] | None = None
) -> Table:
    """Put runs on the same data into one table.

    Parameters
    ----------
    runs
        Finished runs, or the rows that :func:`baselines.load_results` returns. Those on several folds are put
        together (:func:`baselines.results.folds.across_folds`).
    against
        Model that the others are compared with, as its row is called; None for the learned one with the lowest
        error on the part for choosing. Name one only if it was fixed before its errors were seen.
    names
        What rows, and in an overview data, are called where people read them, by what they are called otherwise:
        ``{"own-Mine": "Ours"}``.

    Returns
    -------
    Table
        ``print`` it; its ``rows`` hold the numbers, :mod:`baselines.tables.render` has its other forms.

    Raises
    ------
    OptionError
        If they are no runs, but folders of runs; if `against` is given where a run holds no errors by recording;
        if `names` are no dict.
    RunError
        If there is none, if two are of different data, recipe or protocol, or if one is there twice.
    UnknownNameError
        If no row is called like that.
    """
    if not isinstance(cast("object", names), Mapping | None):
        raise OptionError("names", names, "a dict from what rows are called to what they are called instead")
    results = across_folds(as_results(runs))
    if not results:
        raise RunError("A table needs at least one run. csp-baselines train makes one.")
    _require_same_data(results)
    groups, called = by_label(results), dict(names or {})
    means = [run.test_mse for run in results if run.model == "mean"]
    reference = statistics.fmean(means) if means else None
    first, errors = results[0], _recording_errors(results, groups)
    rows = [_row(group, label, reference) for label, group in groups.items()]
    models = {label: group[0].settings.get("model", {}) for label, group in groups.items()}
    if against is not None and against not in groups:
        raise UnknownNameError(f"model in the table of {first.dataset}", against, groups)
    if against is not None and not errors:
        needed = "runs that all hold errors by recording, of the same recordings: these cannot be compared"
        raise OptionError("against", against, needed)
    against = (against or best_on_val(rows).model) if errors and len(rows) > 1 else None
    return Table(
        dataset=first.dataset,
        kind=first.kind,
        protocol=first.protocol,
        recipe_hash=first.recipe_hash,
        selection=first.selection,
        report=first.report,
        unit=first.unit or MIXED,
        numbered=what_numbers_mean({called.get(label, label): group for label, group in groups.items()}),
        mixture=_mixture(results),
        looks_ahead=tuple(label for label, model in models.items() if model.get("looks_ahead")),
        elsewhere=tuple(label for label, model in models.items() if model.get("family") == PREDICTIONS_ALONE),
        context=tuple(sorted({run.window_s for run in results}, key=lambda c: math.inf if c is None else c)),
        rows=tuple(sorted(_with_comparisons(rows, errors, against), key=lambda row: -row.test_mse)),
        against=against,
        hierarchy=_hierarchy(rows, errors, first),
        folds=first.folds if first.fold is None else None,
        fold_by=first.fold_by,
        groups=first.groups,
        fold=None if first.fold is None or first.folds is None else (first.fold, first.folds),
        names=called,
    )


def _mixture(results: Sequence[Result]) -> str:
    """Say that errors are over targets of several units, and if one target makes up most of every squared one."""
    first = results[0]
    if first.unit is not None:
        return ""
    units = ", ".join(dict.fromkeys(first.units))
    said = f"Errors are over targets of several units ({units}), as their numbers are"
    shares = [_shares(run) for run in results if run.by_target]
    if shares:
        name = max(shares[0], key=shares[0].__getitem__)
        least = min(share[name] for share in shares)
        if least > 0.5:
            said += f": {math.floor(1000 * least) / 10:g} % or more of each MSE is {name}"
    return f"{said}. csp-baselines table --by target has those of each."


def _shares(run: Result) -> dict[str, float]:
    """Return each target's share of the mean squared error, which is in the units of the prepared file."""
    # a step's length, if it is in the SI units, is in all of them
    factors = {name: si(unit)[0] for name, unit in zip(run.targets, run.units, strict=True)}
    squares = {name: (errors.rmse / factors[name]) ** 2 for name, errors in run.by_target.items()}
    return {name: square / (sum(squares.values()) or 1.0) for name, square in squares.items()}


def make_tables(
    runs: Sequence[Run | Result], against: str | None = None, names: Mapping[str, str] | None = None
) -> tuple[Table, ...]:
    """Put runs into one table for each data set and recipe of its data, in the order of the runs.

    Parameters
    ----------
    runs, against, names
        As for :func:`make_table`.

    Raises
    ------
    RunError
        As for :func:`make_table`; and if two data sets are of different kind or protocol, since one page of tables
        mixes neither. A data set whose cross-validation goes on is left out, which the log says, unless all are.
    """
    return for_each_data(runs, lambda rows, variant: replace(make_table(rows, against, names), variant=variant))


def for_each_data(runs: Sequence[Run | Result], make: Callable[[Sequence[Result], str], T]) -> tuple[T, ...]:
    """Make something of the runs of each data set and recipe of its data, in the order of the runs.

    Parameters
    ----------
    runs
        Finished runs, or rows.
    make
        From rows on the same data, and what tells these from other data of the data set, to what is made.

    Raises
    ------
    RunError
        As for :func:`make_tables`.
    """
    by_data: dict[tuple[str, str], list[Result]] = {}
    for run in as_results(runs):
        by_data.setdefault((run.dataset, recipe_of(run)), []).append(run)
    if not by_data:
        return (make((), ""),)
    firsts = [rows[0] for rows in by_data.values()]
    for other in firsts[1:]:
        first_kind, other_kind = ((r.kind, f"protocol {r.protocol}") for r in (firsts[0], other))
        if first_kind != other_kind:
            raise RunError(
                f"Tables beside each other are of one kind and protocol: {firsts[0].source} is "
                f"{', '.join(first_kind)}, {other.source} is {', '.join(other_kind)}. Name the runs of each by "
                "themselves: a sweep keeps them as runs/DATASET-PROTOCOL-*; a report takes both."
            )
    made: list[T] = []
    missing: list[FoldsMissingError] = []
    for rows, variant in zip(by_data.values(), _variant_names(firsts), strict=True):
        try:
            made.append(make(rows, variant))
        except FoldsMissingError as error:
            missing.append(error)
    if not made:
        raise missing[0]
    for cause in missing:
        logger.warning("left out: %s", cause)
    return tuple(made)


def _variant_names(firsts: Sequence[Result]) -> list[str]:
    """Say of each recipe what of its protocol few of the data set share; of much or nothing, its digits."""
    named: list[tuple[str, str]] = []
    for first in firsts:
        protocols = [_protocol_fields(other) for other in firsts if other.dataset == first.dataset]
        distinguishing = {
            field: value
            for field, value in _protocol_fields(first).items()
            if 2 * sum(protocol.get(field) == value for protocol in protocols) <= len(protocols)
        }
        text = ", ".join(setting_text(field, json.loads(value)) for field, value in distinguishing.items())
        repeated = (first.dataset, text) in named
        too_many = len(distinguishing) > NAMED_AT_MOST
        named.append((first.dataset, f"recipe {recipe_of(first)}" if repeated or too_many else text))
    return [text for _, text in named]


def _protocol_fields(row: Result) -> dict[str, str]:
    """Return the fields of a row's protocol as JSON, those of a fold as if of all folds."""
    protocol = dict(row.settings.get("data", {}).get("protocol", {}))
    if protocol.get("resplit"):
        protocol["resplit"] = {name: value for name, value in protocol["resplit"].items() if name != "fold"}
    return {field: json.dumps(value, sort_keys=True) for field, value in sorted(protocol.items())}


@dataclass(frozen=True)
class _RecordingErrors:
    """Error (seeds, recordings) of each model, and steps of each recording."""

    models: dict[str, np.ndarray]
    steps: np.ndarray


def _recording_errors(runs: Sequence[Result], groups: dict[str, list[Result]]) -> _RecordingErrors | None:
    """Collect errors on recordings; ``None`` where a run holds none, or those of other recordings."""
    first = runs[0].recordings
    if not first or any(run.recordings.keys() != first.keys() for run in runs):
        return None
    return _RecordingErrors(
        {
            label: np.array([[run.recordings[name].mse for name in first] for run in group])
            for label, group in groups.items()
        },
        np.array([float(recording.steps) for recording in first.values()]),
    )


def _with_comparisons(rows: list[Row], errors: _RecordingErrors | None, against: str | None) -> list[Row]:
    if errors is None or against is None:
        return rows
    names = [row.model for row in rows]
    comparisons = compare([errors.models[name] for name in names], names.index(against), errors.steps)
    return [replace(row, comparison=comparison) for row, comparison in zip(rows, comparisons, strict=True)]


def _hierarchy(rows: list[Row], errors: _RecordingErrors | None, run: Result) -> Hierarchy | None:
    hiss = min((row for row in rows if row.state_spaces), key=lambda r: r.test_mse, default=None)
    flat = min((row for row in rows if row.kind == "flat"), key=lambda r: r.test_mse, default=None)
    if hiss is None or flat is None:
        return None
    comparison = None
    if errors is not None:
        comparison, _ = compare([errors.models[hiss.model], errors.models[flat.model]], 1, errors.steps)
    return Hierarchy(
        hiss=hiss.model,
        flat=flat.model,
        improvement=1 - hiss.test_mse / flat.test_mse,
        comparison=comparison,
        published=published_improvement(run.dataset) if _is_published_task(run) else None,
    )


def _is_published_task(run: Result) -> bool:
    """Whether the published table is about the same: real CSP-Bench recordings under the published protocol."""
    return run.kind == "CSP-Bench" and run.protocol == "paper"


def _require_same_data(runs: Sequence[Result]) -> None:
    def identity(run: Result) -> str:
        return f"{run.dataset} ({run.kind}), protocol {run.protocol}, recipe {run.recipe_hash}"

    first = runs[0]
    for run in runs[1:]:
        if identity(run) != identity(first):
            raise RunError(
                f"One table holds one data set, recipe and protocol: {first.source} is {identity(first)}, "
                f"{run.source} is {identity(run)}. Make two tables."
            )


def _row(group: Sequence[Result], label: str, reference: float | None) -> Row:
    first = group[0]
    mse, mse_std = mean_and_std([run.test_mse for run in group])
    rmse, rmse_std = mean_and_std([run.test_rmse for run in group])
    cell = published(first.dataset, first.model) if _is_published_task(first) else None
    converted = [run.published_mse for run in group if run.published_mse is not None]
    return Row(
        model=label,
        parameters=first.parameters,
        seeds=tuple(sorted(run.seed for run in group)),
        val_mse=statistics.fmean(run.val_mse for run in group),
        test_mse=mse,
        test_mse_std=mse_std,
        test_rmse=rmse,
        test_rmse_std=rmse_std,
        improvement=1 - mse / reference if reference else None,
        seconds=statistics.fmean(run.seconds for run in group),
        published=None if cell is None else cell.mse,
        converted=statistics.fmean(converted) if cell and len(converted) == len(group) else None,
    )
