"""Tables as text: for a terminal, Markdown, LaTeX, HTML, CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Literal

from baselines.results.text import rows_to_csv
from baselines.tables.digits import Scale, number, p_value, places, signed
from baselines.tables.grid import Cell, Grid, write
from baselines.tables.significance import Comparison
from baselines.tables.table import Row, Table, best_on_val
from csp_data.terminal import count_of

__all__ = [
    "FORMATS",
    "Format",
    "cells",
    "columns",
    "grid_of",
    "grids_of",
    "lowest_two",
    "notes",
    "overview",
    "render",
    "render_all",
]

Format = Literal["text", "md", "latex", "html", "csv", "json"]
FORMATS: tuple[Format, ...] = ("text", "md", "latex", "html", "csv", "json")

IMPROVEMENT = "Improvement of HiSS over best flat"
"""What the published table calls its last row."""

SHARED = ("dataset", "kind", "protocol", "recipe_hash", "selection", "report", "unit", "against")


def render_all(tables: Sequence[Table], form: Format, width: int = 80) -> str:
    """Return tables of several data sets as text, the overview of all before them; of one, that table.

    Parameters
    ----------
    tables
        Of one kind and protocol.
    form
        Of the text.
    width
        Characters in a line of the form ``"text"``.
    """
    if form == "json":
        plain = [asdict(table) for table in tables]
        return json.dumps(plain[0] if len(plain) == 1 else plain, indent=2) + "\n"
    if form == "csv":
        return _csv(tables)
    return write(grids_of(tables), form, width)


def grids_of(tables: Sequence[Table]) -> list[Grid]:
    """Return the cells of tables of several data sets, the overview of all before them; of one, those of it."""
    return [*([overview(tables)] if len(tables) > 1 else []), *map(grid_of, tables)]


def render(table: Table, form: Format) -> str:
    """Return one table as text."""
    return render_all([table], form)


def overview(tables: Sequence[Table]) -> Grid:
    """Return the reported error of every model on every data set, as the published table has it."""
    by_name = [{row.model: row for row in table.rows} for table in tables]
    called = {row.model: table.called(row.model) for table in tables for row in table.rows}
    models = list(called)
    best, second = lowest_two(
        [{models.index(row.model): row.test_mse for row in rows.values()} for rows in by_name]
    )
    first = tables[0]
    scales = [Scale.of(row.test_mse for row in rows.values()) for rows in by_name]
    body = [
        (
            called[model],
            *(
                scale.spread(rows[model].test_mse, rows[model].test_mse_std) if model in rows else ""
                for scale, rows in zip(scales, by_name, strict=True)
            ),
        )
        for model in models
    ]
    wins = [table.hierarchy and _percent(table.hierarchy.improvement) for table in tables]
    explained: tuple[str, ...] = ()
    if any(wins):
        body.append((IMPROVEMENT, *(win or "" for win in wins)))
        own = any(row.kind == "own" for table in tables for row in table.rows)
        neither = "; a model of one's own counts as neither"
        explained = (
            f"{IMPROVEMENT}: the best of the hierarchies with state-space models at every level against the best "
            "model with one level, both chosen by the reported error, as published"
            f"{neither if own else ''}.",
        )
    return Grid(
        heading=f"{first.kind_label}; protocol {first.protocol}; mean squared error",
        header=(
            "model",
            *(
                f"{table.called(table.name)}{scale.label}{table.squared_unit_label}"
                for scale, table in zip(scales, tables, strict=True)
            ),
        ),
        rows=tuple(body),
        best=best,
        second=second,
        notes=explained,
        across="data",
    )


def lowest_two(columns: Sequence[Mapping[int, float]]) -> tuple[frozenset[Cell], frozenset[Cell]]:
    """Return the cells that hold the lowest and the second lowest value of each column; the first column is 1.

    Parameters
    ----------
    columns
        Of each, row to value.
    """
    ranked = [sorted(column, key=column.__getitem__) for column in columns]
    best, second = (
        frozenset((rows[rank], column) for column, rows in enumerate(ranked, start=1) if len(rows) > rank)
        for rank in (0, 1)
    )
    return best, second


def grid_of(table: Table) -> Grid:
    """Return a table's cells."""
    errors = {i: row.test_mse for i, row in enumerate(table.rows)}
    best, second = lowest_two([errors] if len(errors) > 1 else [])  # one row alone is no best one
    return Grid(
        heading=table.heading,
        header=tuple(columns(table)),
        rows=tuple(tuple(cells(table, row)) for row in table.rows),
        best=best,
        second=second,
        notes=tuple(notes(table)),
    )


def columns(table: Table) -> list[str]:
    """Return the headings of :func:`cells`."""
    return [heading for heading, _ in _columns(table)]


def cells(table: Table, row: Row) -> list[str]:
    """Return a row as people read it, in the order of :func:`columns`."""
    return [cell(row) for _, cell in _columns(table)]


def _columns(table: Table) -> Iterator[tuple[str, Callable[[Row], str]]]:
    """Yield the heading of each column, and what makes its cell of a row."""
    mse, rmse = _scales(table)
    yield "model", lambda row: table.called(row.model)
    yield (
        f"{table.report} MSE{mse.label}{table.squared_unit_label}",
        lambda row: mse.spread(row.test_mse, row.test_mse_std),
    )
    if any(row.improvement is not None for row in table.rows):
        yield "vs mean", lambda row: "" if row.improvement is None else _percent(-row.improvement)
    if _has_published(table):
        yield "published MSE", lambda row: "" if row.published is None else f"{row.published:.4f}"
        yield "in its unit", lambda row: "" if row.converted is None else number(row.converted)
        yield "vs published", _against_published
    if table.against:
        yield (
            f"vs {table.called(table.against)} [95 %]{mse.label}",
            lambda row: "" if row.comparison is None else _interval(row.comparison, mse),
        )
        yield "p (Holm)", lambda row: _corrected_p(row.comparison)
    yield (
        f"{table.report} RMSE{rmse.label}{table.unit_label}",
        lambda row: rmse.spread(row.test_rmse, row.test_rmse_std),
    )
    if table.selection != table.report:
        yield f"{table.selection} MSE{mse.label}", lambda row: mse.number(row.val_mse)
    yield "parameters", lambda row: f"{row.parameters:,}"
    yield "seeds", lambda row: _seed_range(row.seeds)
    yield "time to fit", lambda row: f"{row.seconds:.0f} s" if row.seconds >= 1 else "< 1 s"


def _scales(table: Table) -> tuple[Scale, Scale]:
    """Return the scales of the mean squared errors, which share one, and of their roots."""
    squares = [error for row in table.rows for error in (row.test_mse, row.val_mse)]
    return Scale.of(squares), Scale.of(row.test_rmse for row in table.rows)


def notes(table: Table) -> list[str]:
    """Return what has to be said below a table."""
    said = [
        table.mixture,
        _hierarchy_note(table),
        *table.numbered,
        *_origin_notes(table),
        *_comparison_notes(table),
    ]
    if _has_published(table):
        said.append(
            "How the published errors got their unit is inferred from the heading of their table: the published "
            "code gives squares of steps of 0.2 s. Where the heading prints no unit, no difference is given. "
            "Published are the best sizes found there; sizes here are those of the runs."
        )
    return [sentence for sentence in said if sentence]


def _hierarchy_note(table: Table) -> str:
    hierarchy, scale = table.hierarchy, _scales(table)[0]
    if hierarchy is None:
        return ""
    difference = ""
    if (comparison := hierarchy.comparison) is not None:
        p = "" if comparison.p is None else f", p {p_value(comparison.p)}"
        interval = _interval(comparison, scale)
        difference = f"; difference of the errors{scale.label} {interval}{p} for this one comparison"
    published = "" if hierarchy.published is None else f"; published {_percent(hierarchy.published)}"
    own = [table.called(row.model) for row in table.rows if row.kind == "own"]
    neither = f"; {', '.join(own)} count{'s' if len(own) == 1 else ''} as neither" if own else ""
    return (
        f"{IMPROVEMENT} ({table.called(hierarchy.hiss)}, of the hierarchies with "
        f"state-space models at every level, over {table.called(hierarchy.flat)}; both chosen by the reported "
        f"error, as published{neither}): {_percent(hierarchy.improvement)}{difference}{published}."
    )


def _origin_notes(table: Table) -> Iterator[str]:
    """Say of which rows the errors do not compare, or cannot be checked."""
    if table.looks_ahead:
        yield (
            f"{', '.join(map(table.called, table.looks_ahead))}: outputs were seen to depend on samples "
            "after the end of their chunk, which the other models do not see; such errors do not compare."
        )
    if table.elsewhere:
        yield (
            f"{', '.join(map(table.called, table.elsewhere))}: predictions that were made elsewhere. Which "
            "samples and recordings they were made from is not checked here."
        )


def _comparison_notes(table: Table) -> Iterator[str]:
    """Say how the differences to one of the models came about, and what weakens them."""
    compared = [row.comparison for row in table.rows if row.comparison is not None]
    if not table.against or not compared:
        return
    chosen = f"the {table.against_kind} with the lowest error on {table.selection}"
    if table.against != best_on_val(table.rows).model:
        chosen = "the model that was named"
    yield f"Differences in MSE to {table.called(table.against)}, {chosen}: {_test_text(compared)}"
    count = compared[0].recordings
    if table.fold_by != "group" and count > 1:
        yield (
            f"Recordings of one {table.fold_by} are alike, so intervals and p promise more than they hold; "
            f"with one fold a {table.fold_by}, compare the folds."
        )
    elif table.groups is not None and count > table.groups:
        yield (
            f"The recordings are of {count_of(table.groups, 'group')}, and those of one group are alike, so "
            "that intervals and p promise more than they hold; compare one error for each group."
        )
    if any(row.kind != "reference" and len(row.seeds) == 1 for row in table.rows):
        yield (
            "Where a model has one seed, interval and p are those of that run: another seed gives another "
            "difference."
        )


def _test_text(compared: Sequence[Comparison]) -> str:
    """Say what intervals and p are of."""
    count = compared[0].recordings
    if count == 1:
        if any(comparison.low < comparison.high for comparison in compared):
            return "interval of Student's t over the seeds alone; one recording carries no test."
        return "one recording and one seed carry no interval and no test."
    smallest_p = f" With {count} recordings no p can be below {2.0 ** (1 - count):.2g} before the correction."
    return (
        f"interval of Student's t over {count:,} recordings, taken as independent, and the seeds; p of "
        f"Wilcoxon's test over recordings, corrected for {count_of(len(compared), 'comparison')} (Holm); * "
        "marks a significant difference: p below 0.05, and an interval without 0."
        f"{smallest_p if count < 10 else ''}"
    )


def _percent(share: float) -> str:
    return f"{signed(100 * share, 1)} %"


def _has_published(table: Table) -> bool:
    return any(row.published is not None for row in table.rows)


def _against_published(row: Row) -> str:
    return "" if row.published is None or row.converted is None else _percent(row.converted / row.published - 1)


def _corrected_p(comparison: Comparison | None) -> str:
    if comparison is None or comparison.p_holm is None:
        return ""
    return p_value(comparison.p_holm) + (" *" if comparison.significant else "")


def _interval(comparison: Comparison, scale: Scale) -> str:
    """Return a difference with its interval, as far as two digits of half the interval.

    Of one recording and one seed each, the interval is a point, and would read as great certainty: it is left out,
    and the difference has four digits.
    """
    difference, *ends = map(scale, (comparison.difference, comparison.low, comparison.high))
    half, largest = (ends[1] - ends[0]) / 2, max(map(abs, ends))
    decimals = places(half if half > 1e-9 * largest else largest / 100, largest)
    # an end that is not 0 should not read as 0
    decimals += next(
        (extra for extra in (0, 1) if all(round(end, decimals + extra) or not end for end in ends)), 2
    )
    interval = f" [{ends[0]:+.{decimals}f}, {ends[1]:+.{decimals}f}]" if ends[0] < ends[1] else ""
    return f"{difference:+.{decimals}f}{interval}"


def _seed_range(seeds: tuple[int, ...]) -> str:
    if len(seeds) > 2 and seeds == tuple(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}-{seeds[-1]}"
    return ", ".join(map(str, seeds))


def _csv(tables: Sequence[Table]) -> str:
    comparison_fields = ("difference", "low", "high", "p", "p_holm", "recordings")
    row_fields = [name for name in Row.__dataclass_fields__ if name != "comparison"]
    lines = []
    for table in tables:
        shared = {name: getattr(table, name) for name in SHARED}
        for row in table.rows:
            values = {name: getattr(row, name) for name in row_fields} | {"seeds": " ".join(map(str, row.seeds))}
            compared = () if row.comparison is None else comparison_fields
            comparison = {name: getattr(row.comparison, name) for name in compared}
            lines.append({**shared, **values, **comparison})
    return rows_to_csv([*SHARED, *row_fields, *comparison_fields], lines)
