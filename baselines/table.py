"""One table of several runs on the same data: mean and standard deviation over seeds."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from baselines.runs import Run, RunError

__all__ = ["FORMATS", "Row", "Table", "cells", "columns", "make_table", "number", "render"]

Format = Literal["md", "csv", "json"]
FORMATS: tuple[Format, ...] = ("md", "csv", "json")

MIXED = "mixed units"
CHOSEN_ON_REPORT = "best epoch chosen on the reported part itself, as published"
NOT_BENCH = {
    "real recordings": "real recordings, not CSP-Bench",
    "simulated": "simulated, not CSP-Bench",
}


@dataclass(frozen=True)
class Row:
    """A model, over its seeds.

    Parameters
    ----------
    model
        Its name; models that share one but differ in size or training are told apart by a number.
    parameters
        Values that were learned.
    seeds
        In order.
    val_mse, test_mse, test_rmse
        Means over the seeds, in physical units, of the parts that :class:`Table` names.
    test_mse_std, test_rmse_std
        Standard deviations over the seeds (n - 1); ``None`` for one seed.
    improvement
        1 - test MSE / test MSE of the training mean; ``None`` without that reference.
    seconds
        Mean time to fit.
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

    @property
    def kind_label(self) -> str:
        """What the recordings are, and what they are not."""
        return NOT_BENCH.get(self.kind, self.kind)

    @property
    def context_label(self) -> str:
        """How much of an episode a model sees at once."""
        return " or ".join("whole episodes" if c is None else f"windows of {c:g} s" for c in self.context)

    @property
    def squared_unit(self) -> str:
        """Unit of a mean squared error; empty where the targets' units differ."""
        return "" if self.unit == MIXED else f"({self.unit})²"

    @property
    def heading(self) -> str:
        """Data set, kind, protocol and context in one line."""
        return (
            f"{self.dataset}: {self.kind_label}; protocol {self.protocol}, recipe {self.recipe_hash}; "
            f"{self.context_label}{'; ' + CHOSEN_ON_REPORT if self.selection == self.report else ''}"
        )


def make_table(runs: Sequence[Run]) -> Table:
    """Put runs on the same data into one table.

    Raises
    ------
    RunError
        If there is none, if two are of different data, recipe or protocol, or if one is there twice.
    """
    if not runs:
        raise RunError("A table needs at least one run. csp-baselines train makes one.")
    _refuse_mixture(runs)
    groups: dict[str, list[Run]] = {}
    for run in runs:
        plain = run.config.to_dict()
        plain["train"].pop("seed")
        groups.setdefault(json.dumps(plain, sort_keys=True), []).append(run)
    _refuse_repeats(groups.values())
    means = [run.reported["mse"] for run in runs if run.config.name == "mean"]
    reference = statistics.fmean(means) if means else None
    rows = [_row(group, label, reference) for group, label in zip(groups.values(), _labels(groups), strict=True)]
    data = runs[0].config.data
    contexts = {run.config.train.window_s for run in runs}
    return Table(
        dataset=data.name,
        kind=data.kind,
        protocol=data.protocol["name"],
        recipe_hash=data.recipe_hash,
        selection=data.selection,
        report=data.report,
        unit=data.units[0] if len(set(data.units)) == 1 else MIXED,
        context=tuple(sorted(contexts, key=lambda c: math.inf if c is None else c)),
        rows=tuple(sorted(rows, key=lambda row: -row.test_mse)),
    )


def _refuse_mixture(runs: Sequence[Run]) -> None:
    def identity(run: Run) -> str:
        data = run.config.data
        return f"{data.name} ({data.kind}), protocol {data.protocol['name']}, recipe {data.recipe_hash}"

    first = runs[0]
    for run in runs[1:]:
        if identity(run) != identity(first):
            raise RunError(
                f"One table holds one data set, recipe and protocol: {first.folder} is {identity(first)}, "
                f"{run.folder} is {identity(run)}. Make two tables."
            )


def _refuse_repeats(groups: Any) -> None:
    for group in groups:
        seen: dict[int, Path] = {}
        for run in group:
            seed = run.config.train.seed
            if seed in seen:
                raise RunError(
                    f"{seen[seed]} and {run.folder} are the same run ({run.config.name}, seed {seed}), and would "
                    "count twice. Name one of them."
                )
            seen[seed] = run.folder


def _labels(groups: dict[str, list[Run]]) -> list[str]:
    names = [group[0].config.name for group in groups.values()]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: i + 1].count(name)})"
        for i, name in enumerate(names)
    ]


def _row(group: Sequence[Run], label: str, reference: float | None) -> Row:
    def spread(values: list[float]) -> tuple[float, float | None]:
        return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None

    mse, mse_std = spread([run.reported["mse"] for run in group])
    rmse, rmse_std = spread([run.reported["rmse"] for run in group])
    return Row(
        model=label,
        parameters=group[0].results["parameters"],
        seeds=tuple(sorted(run.config.train.seed for run in group)),
        val_mse=statistics.fmean(run.selected["mse"] for run in group),
        test_mse=mse,
        test_mse_std=mse_std,
        test_rmse=rmse,
        test_rmse_std=rmse_std,
        improvement=None if reference is None else 1 - mse / reference,
        seconds=statistics.fmean(run.results["seconds"] for run in group),
    )


def render(table: Table, form: Format) -> str:
    """Return a table as Markdown, CSV (one header line) or JSON."""
    if form == "json":
        return json.dumps(asdict(table), indent=2) + "\n"
    if form == "csv":
        return _csv(table)
    header = columns(table)
    lines = [f"**{table.heading}**", "", _line(header), _line(["---"] + ["---:"] * (len(header) - 1))]
    lines += [_line(cells(table, row)) for row in table.rows]
    return "\n".join(lines) + "\n"


def columns(table: Table) -> list[str]:
    """Return the headings of :func:`cells`."""
    unit = "" if table.unit == MIXED else f" ({table.unit})"
    return [
        "model",
        f"{table.report} MSE {table.squared_unit}".strip(),
        "vs mean",
        f"{table.report} RMSE{unit}",
        *([f"{table.selection} MSE"] if table.selection != table.report else []),
        "parameters",
        "seeds",
        "time to fit",
    ]


def cells(table: Table, row: Row) -> list[str]:
    """Return a row as people read it, in the order of :func:`columns`."""
    return [
        row.model,
        _spread(row.test_mse, row.test_mse_std),
        "" if row.improvement is None else f"{-100 * row.improvement + 0.0:+.1f} %",
        _spread(row.test_rmse, row.test_rmse_std),
        *([number(row.val_mse)] if table.selection != table.report else []),
        f"{row.parameters:,}",
        _seeds(row.seeds),
        f"{row.seconds:.0f} s" if row.seconds >= 1 else "< 1 s",
    ]


def _seeds(seeds: tuple[int, ...]) -> str:
    if len(seeds) > 2 and seeds == tuple(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}-{seeds[-1]}"
    return ", ".join(map(str, seeds))


def _spread(mean: float, std: float | None) -> str:
    return number(mean) if std is None else f"{number(mean)} ± {number(std)}"


def number(value: float, decimals: int = 4) -> str:
    """Return an error with so many decimals, or with three digits where those would hardly show any."""
    return f"{value:.{decimals}f}" if value == 0 or abs(value) >= 10 ** (2 - decimals) else f"{value:.3g}"


def _line(columns: Sequence[str]) -> str:
    return "| " + " | ".join(columns) + " |"


SHARED = ("dataset", "kind", "protocol", "recipe_hash", "selection", "report", "unit")


def _csv(table: Table) -> str:
    shared = {name: getattr(table, name) for name in SHARED}
    text = io.StringIO()
    writer = csv.DictWriter(text, [*shared, *Row.__dataclass_fields__], lineterminator="\n")
    writer.writeheader()
    for row in table.rows:
        writer.writerow({**shared, **asdict(row), "seeds": " ".join(map(str, row.seeds))})
    return text.getvalue()
