"""The figure of an ablation: mean over seeds as a line, their spread as a band, a panel each data set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from baselines.ablations.rows import RELATIVE, Row, error_shown, folds_label
from baselines.ablations.variants import KINDS
from baselines.tables.digits import mean_and_std
from baselines.tables.model_looks import looks_by_name
from baselines.tables.table import kind_label
from csp_data.plot.runs import plot_settings
from csp_data.plot.style import Look, legend_beside, tidy
from csp_data.terminal import count_of

__all__ = ["draw"]

WIDTH, HEIGHT = 9.0, 3.6
"""Of the figure, and of each panel, in inches."""


def draw(kind: str, rows: Sequence[Row], models: Sequence[str]) -> Figure:
    """Draw an ablation.

    Parameters
    ----------
    kind
        Its name.
    rows
        Of all data sets.
    models
        Which to draw, in the order of their colours; references are grey.
    """
    names = list(dict.fromkeys(row.dataset for row in rows))
    figure = Figure(figsize=(WIDTH, 0.7 + HEIGHT * len(names)), layout="constrained")
    columns = 2 if KINDS[kind].relative else 1
    panels = figure.subplots(len(names), columns, squeeze=False)
    looks = looks_by_name({model: model for model in models})
    for axes, name in zip(panels, names, strict=True):
        dataset_rows = [row for row in rows if row.dataset == name]
        without_runs = [row for row in dataset_rows if row.note and not row.model]
        not_applicable = dict.fromkeys(f"{row.variant}: {row.note}" for row in without_runs)
        in_pairs = any(row.arm for row in dataset_rows)
        if in_pairs:
            _draw_pairs(axes[0], dataset_rows, looks, KINDS[kind].pair)
            if any(row.rmse is None for row in dataset_rows if row.mse is not None):
                axes[0].set_ylabel(f"{KINDS[kind].pair}\neach target over that of the training mean")
        else:
            measured = [row for row in dataset_rows if row.mse is not None]
            for ax, error in zip(axes, (error_shown(measured), RELATIVE), strict=False):
                _draw_lines(ax, dataset_rows, looks, kind, error)
            for ax in axes[:-1]:
                ax.get_legend().remove()
        title = _title(dataset_rows)
        axes[0].set_title(title.replace("; ", "\n") if columns > 1 else title, loc="left", fontsize="small")
        if not_applicable:
            text = "\n".join(not_applicable)
            axes[0].text(
                0, -0.15 if in_pairs else -0.3, text, transform=axes[0].transAxes, fontsize="x-small", va="top"
            )
        for ax in axes:
            tidy(ax)
    figure.suptitle(KINDS[kind].title, fontsize="medium")
    return figure


def _title(rows: Sequence[Row]) -> str:
    """Return data set, what its recordings are, protocol and number of seeds in one line."""
    first = rows[0]
    seeds = {row.seed for row in rows if row.rmse is not None or row.relative_mse is not None}
    parts = "/".join(dict.fromkeys(row.part for row in rows if row.part))
    return (
        f"{first.dataset}: {kind_label(first.kind)}; protocol {first.protocol}, on {parts}, "
        f"{count_of(len(seeds), 'seed')}{folds_label(rows)}"
    )


def _draw_lines(
    ax: Axes, rows: Sequence[Row], looks: Mapping[str, Look], kind: str, error: tuple[str, str, str]
) -> None:
    """Draw the error over the ablation's value, with the target rates where these differ."""
    column, label, unit = error
    errors: dict[str, dict[str, dict[float | None, list[float]]]] = {model: {} for model in looks}
    for row in rows:
        value = getattr(row, column)
        if row.model in errors and value is not None:
            errors[row.model].setdefault(row.series, {}).setdefault(row.value, []).append(value)
    rates = {row.value: row.target_hz for row in rows if row.value is not None and row.target_hz}
    names = (
        {value: f"{value:g}\n{rate:g} Hz" for value, rate in rates.items()} if len(set(rates.values())) > 1 else {}
    )
    ablation = KINDS[kind]
    plot_settings(
        ax,
        {model: series for model, series in errors.items() if series},
        xlabel=f"{ablation.axis} ({ablation.unit})" if ablation.unit else ablation.axis,
        ylabel=label + unit,
        looks=looks,
        names=names,
        logarithmic=ablation.logarithmic,
    )


def _draw_pairs(ax: Axes, rows: Sequence[Row], looks: Mapping[str, Look], label: str) -> None:
    """Draw by how much the second arm of each pair changes the error: seed by seed, in per cent."""
    series = list(dict.fromkeys(row.series for row in rows if row.arm))
    for i, (model, look) in enumerate(looks.items()):
        x, mean, spread = [], [], []
        for position, name in enumerate(series):
            changes = _percent_changes([row for row in rows if row.series == name and row.model == model])
            if changes:
                x.append(position + 0.6 * ((i + 0.5) / len(looks) - 0.5))
                center, width = mean_and_std(changes)
                mean.append(center)
                spread.append(width or 0.0)
                ax.plot([x[-1]] * len(changes), changes, ".", color=look["color"], alpha=0.35, markersize=4)
        ax.errorbar(
            x,
            mean,
            yerr=spread,
            color=look["color"],
            marker=look["marker"],
            linestyle="none",
            capsize=3,
            markersize=5,
            label=model,
        )
    ax.axhline(0, color="#222222", linewidth=0.8)
    ax.set_xticks(range(len(series)), series)
    ax.set_ylabel(label)
    legend_beside(ax)


def _percent_changes(rows: Sequence[Row]) -> list[float]:
    """Return 100 * (RMSE of the second arm / RMSE of the first - 1) of each seed that has both.

    Squares of several units have no mean: there each target's error is taken over that of the training mean.
    """
    by_arm: dict[str, dict[int | None, float | None]] = {}
    for row in rows:
        by_arm.setdefault(row.arm, {})[row.seed] = row.relative_mse if row.rmse is None else row.mse
    if len(by_arm) < 2:
        return []
    first, second = by_arm.values()
    return [
        100 * (math.sqrt(after / before) - 1)
        for seed, before in first.items()
        if before and (after := second.get(seed))
    ]
