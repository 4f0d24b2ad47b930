"""Sentences for the docs about what results show and what they do not; every number in them is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from baselines.presets import MODELS
from baselines.results import Result, Results
from baselines.results.folds import across_folds
from baselines.tables.digits import number
from baselines.tables.make import make_table
from baselines.tables.significance import Comparison, compare
from baselines.tables.table import Row, Table

__all__ = ["kinds", "of_folds", "of_one_split"]


def of_one_split(rows: Results) -> str:
    """Say what the numbers of a study show and what they do not."""
    table = make_table(rows)
    learned, plain = kinds(table)
    if not plain or len(learned) < 2:
        return "Too few models yet, or no reference."
    compared = [row.comparison for row in table.rows if row.comparison is not None]
    apart = [found for found in compared if not found.low <= 0 <= found.high]
    by_val = {row.model: row.val_mse for row in learned}
    by_test = {row.model: row.test_mse for row in learned}
    least = 2.0 ** (1 - compared[0].recordings)
    too_few = (
        f" With {compared[0].recordings} {table.report} recordings Wilcoxon's p is at least {least:.4g}, so none "
        "of them could be significant whatever the errors: these recordings are too few for that test to rank "
        "models."
    )
    carried = sum(found.significant for found in compared)
    lines = [
        _places(table),
        _beside_references(table),
        f"{carried} of {len(compared)} differences to {table.against} are significant."
        + (too_few if least >= 0.05 else ""),
        "The interval alone, which is not corrected for the number of comparisons, excludes 0 for "
        f"{len(apart)} of the {len(compared)} differences.",
        f"{_hardest(rows, table)}, those on {table.selection} and on {table.report} with "
        f"{_alike(by_val, by_test):.2f}.",
    ]
    return "".join(f"- {line}\n" for line in lines)


def of_folds(runs: Results, split: Results) -> str:
    """Say what the errors on all recordings show, and how they agree with those of the test part of a split."""
    rows = across_folds(runs)
    table = make_table(rows)
    learned, plain = kinds(table)
    compared = [(row.model, row.comparison) for row in table.rows if row.comparison is not None]
    worse = [model for model, found in compared if found.significant and found.difference > 0]
    better = [model for model, found in compared if found.significant and found.difference < 0]
    physics = min(plain, key=lambda r: r.test_mse).model
    beside = _compared_with(physics, rows, [row.model for row in learned])
    lower = [model for model, found in beside.items() if found.significant and found.difference < 0]
    higher = [model for model, found in beside.items() if found.significant and found.difference > 0]
    before = {row.model: row.test_mse for row in make_table(split).rows if row.model in MODELS}
    now = {row.model: row.test_mse for row in learned}
    lines = [
        _places(table),
        f"{len(worse) + len(better)} of {len(compared)} differences to {table.against} are significant. Worse: "
        f"{_names(worse)}. Better: {_names(better)}.",
        f"{_beside_references(table)} Of these differences to {physics}, compared with each other alone, "
        f"{len(lower) + len(higher)} are significant: lower {_names(lower)}; higher {_names(higher)}.",
        _one_by_one(rows, learned[0].model, physics),
        f"{_hardest(rows, table)}.",
        f"The order of the learned models here and on the five test recordings of the split correlates with "
        f"{_alike(before, now):.2f} (Spearman).",
    ]
    return "".join(f"- {line}\n" for line in lines)


def kinds(table: Table) -> tuple[list[Row], list[Row]]:
    """Return the learned models of a table and the references, the lowest error first."""
    rows = sorted(table.rows, key=lambda r: r.test_mse)
    return [row for row in rows if row.kind != "reference"], [row for row in rows if row.kind == "reference"]


def _names(models: Sequence[str]) -> str:
    return ", ".join(models) or "none"


def _places(table: Table) -> str:
    """Say which model is best on either part, and its place on the other."""
    by_test = kinds(table)[0]
    by_val = sorted(by_test, key=lambda r: r.val_mse)
    on_test, on_val = [row.model for row in by_test], [row.model for row in by_val]
    return (
        f"Of {len(by_test)} learned models {on_val[0]} has the lowest error on {table.selection} "
        f"({number(by_val[0].val_mse)}) and comes {_ordinal(on_test.index(on_val[0]) + 1)} on {table.report} "
        f"({number(by_val[0].test_mse)}); {on_test[0]} has the lowest on {table.report} "
        f"({number(by_test[0].test_mse)}) and comes {_ordinal(on_val.index(on_test[0]) + 1)} on "
        f"{table.selection}."
    )


def _beside_references(table: Table) -> str:
    """Say how many learned models have a lower error than the best reference."""
    learned, plain = kinds(table)
    physics = plain[0]
    better = [row for row in learned if row.test_mse < physics.test_mse]
    return (
        f"The best reference, {physics.model}, has {number(physics.test_mse)} with {physics.parameters:,} learned "
        f"value{'' if physics.parameters == 1 else 's'}: {len(better)} of the {len(learned)} learned models have "
        f"a lower error than it, {len(learned) - len(better)} have not."
    )


def _hardest(rows: Sequence[Result], table: Table) -> str:
    """Say how much of the error one recording holds, and whether it alone would rank models as all do."""
    learned, _ = kinds(table)
    best = [row for row in rows if row.model == learned[0].model]
    squares = {
        name: float(np.mean([row.recordings[name].mse for row in best])) * errors.steps
        for name, errors in best[0].recordings.items()
    }
    hardest = max(squares, key=lambda name: squares[name])
    share = 100 * squares[hardest] / sum(squares.values())
    on_it = {
        row.model: float(np.mean([run.recordings[hardest].mse for run in rows if run.model == row.model]))
        for row in learned
    }
    alike = _alike(on_it, {row.model: row.test_mse for row in learned})
    return (
        f"One recording, {hardest}, holds {share:.0f} % of the squared error of {learned[0].model}; the ranks of "
        f"the learned models on it and on all of {table.report} correlate with {alike:.2f} (Spearman)"
    )


def _one_by_one(rows: Sequence[Result], model: str, other: str) -> str:
    """Say on how many recordings a model has the lower error of two, and how they compare without the hardest."""
    steps = {name: errors.steps for name, errors in rows[0].recordings.items()}
    errors = {
        one: {name: float(np.mean([r.recordings[name].mse for r in rows if r.model == one])) for name in steps}
        for one in (model, other)
    }
    lower = sum(errors[model][name] < errors[other][name] for name in steps)
    hardest = max(steps, key=lambda name: errors[model][name] * steps[name])
    left = [name for name in steps if name != hardest]
    means = [
        np.average([errors[one][n] for n in left], weights=[steps[n] for n in left]) for one in (model, other)
    ]
    return (
        f"{model} has a lower error than {other} on {lower} of {len(steps)} recordings; without {hardest}, the "
        f"one with the most error, they have {number(means[0])} and {number(means[1])}."
    )


def _alike(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Return the rank correlation of two errors over the models that have both."""
    both = [model for model in one if model in other]
    return float(stats.spearmanr([one[m] for m in both], [other[m] for m in both]).statistic)


def _compared_with(other: str, rows: Sequence[Result], models: Sequence[str]) -> dict[str, Comparison]:
    """Compare models with another over recordings and seeds, corrected for their number."""
    names = [other, *models]
    held = list(rows[0].recordings)
    errors = [
        np.array([[row.recordings[name].mse for name in held] for row in rows if row.model == model])
        for model in names
    ]
    steps = np.array([float(rows[0].recordings[name].steps) for name in held])
    found = compare(errors, 0, steps)
    return {model: one for model, one in zip(names, found, strict=True) if one is not None}


def _ordinal(place: int) -> str:
    ending = "th" if 10 <= place % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return "first" if place == 1 else f"{place}{ending}"
