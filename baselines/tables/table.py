"""Tables of runs: mean and standard deviation over seeds, what was published, which differences carry weight."""

from __future__ import annotations

import json
import logging
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from baselines.presets import REFERENCES
from baselines.published import improvement as published_improvement
from baselines.published import published
from baselines.results.folds import FoldsMissingError, across_folds, recipe_of
from baselines.results.rows import Result, as_results
from baselines.runs.run import Run, RunError
from baselines.tables.digits import bracketed
from baselines.tables.labels import by_label
from baselines.tables.setting_text import setting_text
from baselines.tables.significance import Comparison, compare

__all__ = ["Hierarchy", "Row", "Table", "for_each_data", "make_table", "make_tables"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

MIXED = "mixed units"
CHOSEN_ON_REPORT = "best epoch chosen on the reported part itself, as published"
NOT_BENCH = {
    "real recordings": "real recordings, not CSP-Bench",
    "simulated": "simulated, not CSP-Bench",
}


NAMED_AT_MOST = 3
"""Differing fields of a protocol that the name of a table tells; of more, it is its digits."""

STATE_SPACES = frozenset({"s4", "s4d", "lru", "mamba", "mamba2"})
"""Kinds of layers that are state-space models; the published ones are S4 and Mamba."""


@dataclass(frozen=True)
class Row:
    """A model, over its seeds.

    Parameters
    ----------
    model
        Its name; models that share one are told apart by what differs (:func:`baselines.tables.labels.by_label`).
    parameters
        Values that were learned.
    seeds
        In order.
    val_mse, test_mse, test_rmse
        Means over the seeds, in physical units, of the parts that :class:`Table` names.
    test_mse_std, test_rmse_std
        Standard deviations over the seeds (n - 1); ``None`` for one seed.
    improvement
        1 - test MSE / test MSE of the training mean; ``None`` without that reference, and where it has no error.
    seconds
        Mean time to fit.
    comparison
        With the table's :attr:`Table.against` on the same recordings; ``None`` for that row itself, and where
        the runs hold no errors of recordings.
    published, converted
        Published error of the model, and the mean error in its unit (:attr:`Quantities.published_factors`);
        ``None`` where there is none that could be compared: only real CSP-Bench under the published protocol.
    """

    model: str
    parameters: int
    seeds: tuple[int, ...]
    val_mse: float
    test_mse: float
    test_mse_std: float | None
    test_rmse: float
    test_rmse_std: float | None
    improvement: float | None
    seconds: float
    comparison: Comparison | None = None
    published: float | None = None
    converted: float | None = None

    @property
    def kind(self) -> str:
        """``"reference"``, ``"flat"``, ``"hiss"``, or ``"own"`` for a model from a file of its author's."""
        name = self.model.split(" ")[0]
        return "reference" if name in REFERENCES else name.split("-")[0]

    @property
    def state_spaces(self) -> bool:
        """Whether it is HiSS in the paper's sense: a hierarchy with a state-space model at every level."""
        return self.kind == "hiss" and {*self.model.split(" ")[0].split("-")[1:]} <= STATE_SPACES


@dataclass(frozen=True)
class Hierarchy:
    """The best HiSS model against the best flat one, both by the reported error, as published.

    Parameters
    ----------
    hiss
        A hierarchy with a state-space model at every level (:data:`STATE_SPACES`), as in the published row.
    flat
        A model with one level, of any kind.
    improvement
        1 - error of `hiss` / error of `flat`: above 0, the hierarchy wins.
    comparison
        Of `hiss` with `flat` over recordings and seeds, a single comparison; ``None`` where it cannot be made.
    published
        The published improvement, where it can be compared.
    """

    hiss: str
    flat: str
    improvement: float
    comparison: Comparison | None
    published: float | None


@dataclass(frozen=True)
class Table:
    """Rows, best test error last, and what they are about.

    Parameters
    ----------
    dataset, kind, protocol, recipe_hash
        Shared by all runs.
    selection, report
        Part that epochs were chosen on (``val_mse``), and part that is reported (``test_mse``, ``test_rmse``).
    unit
        Of the targets; ``"mixed units"`` where they differ.
    context
        Lengths in seconds of the windows that the models see; ``None`` for whole episodes.
    rows
        One a model.
    against
        Model that the others are compared with: of the learned ones the lowest on the part for choosing, so that
        the reported part does not choose it; ``None`` where nothing can be compared.
    hierarchy
        Where there are HiSS and flat models.
    folds
        How many folds of a cross-validation are put together; ``None`` where it is none.
    fold_by
        What each fold holds whole.
    fold
        Which fold of how many, where the runs are of one alone; ``None`` otherwise.
    variant
        What tells its data from those of other tables of the data set; empty for what those are variants of.
    looks_ahead
        Rows of models of one's own whose outputs were seen to depend on samples after their chunk.
    """

    dataset: str
    kind: str
    protocol: str
    recipe_hash: str
    selection: str
    report: str
    unit: str
    context: tuple[float | None, ...]
    rows: tuple[Row, ...]
    against: str | None = None
    hierarchy: Hierarchy | None = None
    folds: int | None = None
    fold_by: str = "group"
    fold: tuple[int, int] | None = None
    variant: str = ""
    looks_ahead: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Data set, what tells these data from others of it, and which fold where it is one alone."""
        fold = "" if self.fold is None else f"fold {self.fold[0]} of {self.fold[1]}"
        return ", ".join(filter(None, (self.dataset, self.variant, fold)))

    @property
    def kind_label(self) -> str:
        """What the recordings are, and what they are not."""
        return NOT_BENCH.get(self.kind, self.kind)

    @property
    def context_label(self) -> str:
        """How much of an episode a model sees at once."""
        return " or ".join("whole episodes" if c is None else f"windows of {c:g} s" for c in self.context)

    @property
    def unit_label(self) -> str:
        """Unit as it stands behind an error; empty where the targets' units differ, or where they have none."""
        return "" if self.unit == MIXED else bracketed(self.unit)

    @property
    def squared_unit(self) -> str:
        """The same of a mean squared error."""
        return f"{self.unit_label.strip()}²" if self.unit_label else ""

    @property
    def heading(self) -> str:
        """Data set, kind, protocol and context in one line."""
        folds = f"{self.folds} folds{'' if self.fold_by == 'group' else f' by {self.fold_by}'}"
        return (
            f"{self.name}: {self.kind_label}; protocol {self.protocol}, recipe {self.recipe_hash}; "
            f"{self.context_label}{'; ' + CHOSEN_ON_REPORT if self.selection == self.report else ''}"
            f"{f'; {folds}, in which each recording is in {self.report} once' if self.folds else ''}"
        )


def make_table(runs: Sequence[Run | Result]) -> Table:
    """Put runs on the same data into one table.

    Parameters
    ----------
    runs
        Finished runs, or the rows that :func:`baselines.load_results` returns. Those on several folds are put
        together (:func:`baselines.results.folds.across_folds`).

    Raises
    ------
    RunError
        If there is none, if two are of different data, recipe or protocol, or if one is there twice.
    """
    results = across_folds(as_results(runs))
    if not results:
        raise RunError("A table needs at least one run. csp-baselines train makes one.")
    _require_same_data(results)
    groups = by_label(results)
    means = [run.test_mse for run in results if run.model == "mean"]
    reference = statistics.fmean(means) if means else None
    first, errors = results[0], _recording_errors(results, groups)
    rows = [_row(group, label, reference) for label, group in groups.items()]
    learned = [row for row in rows if row.kind != "reference"] or rows
    against = min(learned, key=lambda row: row.val_mse).model if errors and len(rows) > 1 else None
    return Table(
        dataset=first.dataset,
        kind=first.kind,
        protocol=first.protocol,
        recipe_hash=first.recipe_hash,
        selection=first.selection,
        report=first.report,
        unit=first.unit or MIXED,
        looks_ahead=tuple(label for label, group in groups.items() if _looks_ahead(group[0])),
        context=tuple(sorted({run.window_s for run in results}, key=lambda c: math.inf if c is None else c)),
        rows=tuple(sorted(_with_comparisons(rows, errors, against), key=lambda row: -row.test_mse)),
        against=against,
        hierarchy=_hierarchy(rows, errors, first),
        folds=first.folds if first.fold is None else None,
        fold_by=first.fold_by,
        fold=None if first.fold is None or first.folds is None else (first.fold, first.folds),
    )


def _looks_ahead(run: Result) -> bool:
    """Tell whether a model of one's own was seen to use samples after the end of a chunk (``OwnConfig``)."""
    return bool(run.settings.get("model", {}).get("looks_ahead"))


def make_tables(runs: Sequence[Run | Result]) -> tuple[Table, ...]:
    """Put runs into one table for each data set and recipe of its data, in the order of the runs.

    Raises
    ------
    RunError
        As for :func:`make_table`; and if two data sets are of different kind or protocol, since one page of tables
        mixes neither. A data set whose cross-validation goes on is left out, which the log says, unless all are.
    """
    return for_each_data(runs, lambda rows, variant: replace(make_table(rows), variant=variant))


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
                f"{', '.join(first_kind)}, {other.source} is {', '.join(other_kind)}. Make two tables."
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
    """Collect errors on recordings; ``None`` where a run is older than they are, or is of other recordings."""
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
    comparisons = (
        None
        if errors is None
        else compare([errors.models[hiss.model], errors.models[flat.model]], 1, errors.steps)
    )
    return Hierarchy(
        hiss=hiss.model,
        flat=flat.model,
        improvement=1 - hiss.test_mse / flat.test_mse,
        comparison=None if comparisons is None else comparisons[0],
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
    def spread(values: list[float]) -> tuple[float, float | None]:
        return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None

    first = group[0]
    mse, mse_std = spread([run.test_mse for run in group])
    rmse, rmse_std = spread([run.test_rmse for run in group])
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
