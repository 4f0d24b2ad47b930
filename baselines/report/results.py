"""Numbers of a section: the table, the significant differences, and the error on each recording."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from baselines.report import html
from baselines.report.group import Group, join_names
from baselines.report.panels import panel
from baselines.tables.digits import Scale, bracketed
from baselines.tables.render import cells, columns, notes, render
from baselines.tables.table import Table
from csp_data import plot
from csp_data.terminal import count_of

__all__ = ["errors", "errors_table", "significance"]

RECORDINGS = 24
"""Recordings in the figure of errors; of more, the hardest."""


def errors_table(table: Table) -> str:
    """Return the table and what has to be said below it."""
    best = min(row.test_mse for row in table.rows)
    rows = [
        (
            " ".join(["reference"] * (row.kind == "reference") + ["best"] * (row.test_mse == best)),
            cells(table, row),
        )
        for row in table.rows
    ]
    chosen_on = (
        f"nothing on {table.report}" if table.selection != table.report else "which is the reported part itself"
    )
    spread = (
        "After ± stands the standard deviation over seeds."
        if any(len(row.seeds) > 1 for row in table.rows)
        else "One seed: small differences mean nothing."
    )
    scope = (
        "Errors are over all target steps of the part, in physical units. The epoch of a model and the ridge "
        f"strength of the filter were chosen on {table.selection}, {chosen_on}. "
        f"A model sees so much at once: {table.context_label}. {spread}"
    )
    saved = (f"{table.dataset}-{table.protocol}-{table.recipe_hash}.csv", render(table, "csv"))
    return html.table(table.heading, columns(table), rows, saved) + "".join(
        html.paragraph(text) for text in (*notes(table), scope)
    )


def significance(table: Table) -> str:
    """Say which differences in a table are significant; empty where there is nothing to compare."""
    compared = [(row, row.comparison) for row in table.rows if row.comparison is not None]
    if not compared:
        return ""
    rows = [
        plot.Difference(row.model, comparison.difference, comparison.low, comparison.high, comparison.significant)
        for row, comparison in compared
    ]
    worse = [row.model for row, comparison in compared if comparison.significant and comparison.difference > 0]
    better = [row.model for row, comparison in compared if comparison.significant and comparison.difference < 0]
    undecided = [row.model for row, comparison in compared if not comparison.significant]
    count = compared[0][1].recordings
    recordings = count_of(count, "recording")
    sentences = [
        f"Compared on {table.report} with {table.against}, the {table.against_kind} with the lowest error on "
        f"{table.selection}.",
        f"Worse: {join_names(worse)}." if worse else "",
        f"Better: {join_names(better)}." if better else "",
        f"Not decided by {recordings}: {join_names(undecided)}." if 0 < len(undecided) < len(rows) else "",
        f"{recordings} decide{'s' * (count == 1)} nothing here." if len(undecided) == len(rows) else "",
    ]

    def draw(axes: Axes) -> None:
        plot.plot_differences(axes, rows, label=f"MSE{table.squared_unit_label}", against=str(table.against))

    description = (
        f"Difference of the mean squared error of {count_of(len(rows), 'model')} to that of {table.against}, with "
        f"95 % intervals; those of {join_names([*worse, *better]) or 'none'} are significant."
    )
    figure = panel(draw, description, height=0.9 + 0.22 * len(rows), title="filled and coloured: significant")
    return html.paragraph(" ".join(filter(None, sentences))) + html.figures([figure])


def _by_recording(group: Group) -> dict[str, dict[str, float]]:
    """Return the RMSE of each model on each recording, mean over seeds."""
    means: dict[str, dict[str, float]] = {}
    for label, runs in group.models.items():
        recordings = [run.reported["recordings"] for run in runs]
        means[label] = {name: float(np.mean([of[name]["rmse"] for of in recordings])) for name in recordings[0]}
    return means


def errors(group: Group) -> str:
    """Show the error of each model on each recording, a few in a figure and all in a table."""
    means = _by_recording(group)
    names = list(next(iter(means.values())))
    selected = group.highlighted
    hardest = sorted(names, key=lambda name: -min(means[label][name] for label in selected))[:RECORDINGS]
    drawn_names = [name for name in names if name in hardest]
    table = group.table
    unit = bracketed(table.unit)
    values = {label: {name: means[label][name] for name in drawn_names} for label in selected}
    figure = panel(
        lambda axes: plot.plot_errors(axes, values, label=f"RMSE{unit}", looks=group.highlighted_looks),
        f"RMSE of {join_names(selected)} on each of {count_of(len(drawn_names), 'recording')} of {table.report}.",
        height=1.2 + 0.48 * len(drawn_names),
        title=f"RMSE of each {table.report} recording{unit}",
    )
    omitted = [
        f"{len(selected)} of {len(means)} models" if len(selected) < len(means) else "",
        f"the {len(drawn_names)} hardest of {len(names)} recordings" if len(drawn_names) < len(names) else "",
    ]
    shown = " and ".join(filter(None, omitted))
    return (
        html.paragraph(
            f"Root mean squared error on each {table.report} recording, mean over seeds. An average hides that "
            f"recordings differ more than models do.{f' The figure shows {shown}.' if shown else ''}"
        )
        + html.figures([figure])
        + html.folded(
            f"All errors as a table ({count_of(len(names), 'recording')}, {count_of(len(means), 'model')})",
            _recordings_table(means, unit),
        )
    )


def _recordings_table(means: dict[str, dict[str, float]], unit: str) -> str:
    """Return errors as a table, the fewer of models and recordings across; deep cells are far from the best."""
    names, models = list(next(iter(means.values()))), list(means)
    scale = Scale.of(value for errors in means.values() for value in errors.values())
    shown = {}
    for name in names:
        low, high = (extreme(errors[name] for errors in means.values()) for extreme in (min, max))
        for model, errors in means.items():
            depth = (errors[name] - low) / (high - low) if high > low else 0.0
            shown[model, name] = scale.number(errors[name]), depth
    caption = f"RMSE{scale.label}{unit}; the deeper the colour, the further from the best on that recording"
    rows: list[tuple[str, list[html.Cell]]]
    if len(names) < len(models):
        rows = [("", [model, *(shown[model, name] for name in names)]) for model in models]
        return html.table(caption, ["model", *names], rows)
    rows = [("", [name, *(shown[model, name] for model in models)]) for name in names]
    return html.table(caption, ["recording", *models], rows)
