"""Tables of errors by recording, by target and by variant."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from baselines.errors import RunError
from baselines.results.folds import across_folds
from baselines.results.rows import Result, as_results, relative_mse
from baselines.runs.run import Run
from baselines.tables.digits import Scale, bracketed, mean_and_std, signed
from baselines.tables.grid import Grid
from baselines.tables.labels import by_label
from baselines.tables.make import make_table
from baselines.tables.render import lowest_two
from baselines.tables.table import Table
from baselines.training.quantities import si

__all__ = ["by_recording", "by_target", "by_variant"]

PATHS = (
    "ATE: root mean square of the difference between the paths that predictions and truth add up to from the "
    "start of an episode; RTE: how far they drift apart in a minute. Both are over axes, as in RoNIN's code; "
    "times the root of the number of axes, they are distances."
)
"""Below a table that has them."""

Values = dict[tuple[str, str], float]
"""What a column shows, and its unit as it stands behind that, to the value of a row."""


def by_recording(runs: Sequence[Run | Result], variant: str = "", names: Mapping[str, str] | None = None) -> Grid:
    """Return the root mean squared error of every model on every reported recording, mean over seeds.

    Parameters
    ----------
    runs
        On the same data; for more :func:`baselines.tables.make.for_each_data` makes a grid of each.
    variant
        What tells its data from those of other grids beside it, for the heading.
    names
        What models and recordings are called instead, as of :func:`baselines.tables.make.make_table`.

    Raises
    ------
    RunError
        As :func:`baselines.make_table`; or if runs hold no errors by recording, or of other recordings.
    """
    rows = across_folds(as_results(runs))
    table = replace(make_table(rows, names=names), variant=variant)
    ids = _require_same_names(rows, [tuple(row.recordings) for row in rows], "errors by recording")

    def values(row: Result) -> Values:
        return {(table.called(id_), ""): row.recordings[id_].rmse for id_ in ids}

    what = f"root mean squared error{table.unit_label} on each {table.report} recording"
    return _error_grid(table, rows, values, what, "recording")


def by_target(runs: Sequence[Run | Result], variant: str = "", names: Mapping[str, str] | None = None) -> Grid:
    """Return errors of every target, and trajectory errors where the targets make a path.

    A target is in the unit that its card gives it; a change over a step in SI units, per second.

    Parameters
    ----------
    runs, variant, names
        As of :func:`by_recording`.

    Raises
    ------
    RunError
        As :func:`by_recording`.
    """
    rows = across_folds(as_results(runs))
    table = replace(make_table(rows, names=names), variant=variant)
    targets = _require_same_names(rows, [tuple(row.by_target) for row in rows], "errors by target")
    own = dict(zip(rows[0].targets, rows[0].units, strict=True))
    scales: dict[str, tuple[float, str]] = {}
    for name in targets:
        (factor, of_own), unit = si(own[name]), rows[0].by_target[name].unit
        scales[name] = (factor, bracketed(own[name])) if of_own == unit else (1.0, bracketed(unit))
    on_paths = all(row.test_ate is not None and row.test_rte is not None for row in rows)

    def values(row: Result) -> Values:
        errors = {
            (f"{name} {measure.upper()}", unit): getattr(row.by_target[name], measure) / factor
            for name, (factor, unit) in scales.items()
            for measure in ("rmse", "mae")
        }
        paths = {"ATE": row.test_ate, "RTE": row.test_rte} if on_paths else {}
        unit = bracketed(row.path_unit or "")
        return errors | {(name, unit): error or 0.0 for name, error in paths.items()}

    grid = _error_grid(table, rows, values, f"errors by target on {table.report}", "error")
    return replace(grid, notes=(PATHS,)) if on_paths else grid


def by_variant(rows: Sequence[Result], what: str, pair: Callable[[str], tuple[str, bool]]) -> list[Grid]:
    """Return the change of the reported error that a variant makes, within each model and seed.

    Parameters
    ----------
    rows
        Of an ablation (:func:`baselines.results.studies.variants_by_key` gives their variants); folds are put
        together.
    what
        Is what some variants are with.
    pair
        From the name of a variant to what it is a variant of, and whether with it; an empty name without it is
        compared with all that have no partner of their own.

    Returns
    -------
    list of Grid
        One a data set; a line each name, a column each model: change of the root mean squared error in per cent,
        mean and standard deviation over seeds. Where targets have several units, each target's error is taken over
        that of the training mean first, so that all count alike.

    Raises
    ------
    RunError
        If that needs a training mean that is not among the rows; or as for folds
        (:func:`baselines.results.folds.across_folds`).
    """
    grids = []
    for dataset in dict.fromkeys(row.dataset for row in rows):
        dataset_rows = across_folds([row for row in rows if row.dataset == dataset])
        first = dataset_rows[0]
        mixed = len(set(first.units)) > 1
        mean_by_recipe = {row.recipe_hash: row for row in dataset_rows if row.model == "mean"} if mixed else None
        changes = _percent_changes(dataset_rows, pair, mean_by_recipe)
        names, models = (tuple(dict.fromkeys(key[i] for key in changes)) for i in (0, 1))
        body = tuple((name, *(_change_cell(changes.get((name, model), [])) for model in models)) for name in names)
        measure = "RMSE, each target over that of the training mean," if mixed else "RMSE"
        heading = (
            f"{dataset}, {first.kind}, from protocol {first.protocol}: {measure} with the {what} against without"
        )
        grids.append(Grid(heading, (what, *models), body))
    return grids


def _percent_changes(
    rows: Sequence[Result],
    pair: Callable[[str], tuple[str, bool]],
    mean_by_recipe: Mapping[str, Result] | None,
) -> dict[tuple[str, str], list[float]]:
    """Return by how many per cent the error with something is above that without, by name and model."""
    errors_with: dict[tuple[str, str, int], float] = {}
    errors_without: dict[tuple[str, str, int], float] = {}
    for row in rows:
        for variant in row.variant.split("; "):  # a run can stand for several
            name, having = pair(variant)
            errors = errors_with if having else errors_without
            errors[name, row.model, row.seed] = _comparable_rmse(row, mean_by_recipe)
    changes: dict[tuple[str, str], list[float]] = {}
    for (name, model, seed), error in errors_with.items():
        without = errors_without.get((name, model, seed), errors_without.get(("", model, seed)))
        if without is not None:
            changes.setdefault((name, model), []).append(100 * (error / without - 1))
    return changes


def _comparable_rmse(row: Result, mean_by_recipe: Mapping[str, Result] | None) -> float:
    """Return the root mean squared error; where means are given, each target's over that of the training mean."""
    if mean_by_recipe is None:
        return row.test_mse**0.5
    if row.recipe_hash not in mean_by_recipe:
        raise RunError(
            f"{row.source}: its targets have several units, and the reference mean on its data is missing."
        )
    share = relative_mse(row.by_target, mean_by_recipe[row.recipe_hash].by_target)
    return math.nan if share is None else math.sqrt(share)


def _change_cell(changes: Sequence[float]) -> str:
    if not changes:
        return ""
    mean, std = mean_and_std(changes)
    return f"{signed(mean, 1)}{'' if std is None else f' ± {std:.1f}'} %"


def _require_same_names(rows: Sequence[Result], names: Sequence[tuple[str, ...]], what: str) -> tuple[str, ...]:
    for row, own in zip(rows, names, strict=True):
        if not own:
            raise RunError(f"{row.source} holds no {what}. Leave it out, or train it again.")
    for row, own in zip(rows, names, strict=True):
        if set(own) != set(names[0]):
            raise RunError(
                f"{row.source} holds {what} of {', '.join(own)}, {rows[0].source} of {', '.join(names[0])}. Leave "
                "one out, or train it again."
            )
    return names[0]


def _error_grid(
    table: Table, rows: Sequence[Result], values: Callable[[Result], Values], what: str, across: str
) -> Grid:
    """Return one row per model in the table's order, one column per value; the lowest two of each are marked."""
    groups = by_label(rows)
    errors: list[list[tuple[float, float | None]]] = []
    for model in table.rows:
        by_column = zip(*(values(row).values() for row in groups[model.model]), strict=True)
        errors.append([mean_and_std(column) for column in by_column])
    means = [{row: mean for row, (mean, _) in enumerate(column)} for column in zip(*errors, strict=True)]
    best, second = lowest_two(means if len(errors) > 1 else [])
    scales = [Scale.of(mean for mean, _ in column) for column in zip(*errors, strict=True)]
    names = (f"{name}{scale.label}{unit}" for scale, (name, unit) in zip(scales, values(rows[0]), strict=True))
    return Grid(
        heading=f"{table.heading}; {what}",
        header=("model", *names),
        rows=tuple(
            (table.called(model.model), *(scale.spread(*cell) for scale, cell in zip(scales, cells, strict=True)))
            for model, cells in zip(table.rows, errors, strict=True)
        ),
        best=best,
        second=second,
        across=across,
    )
