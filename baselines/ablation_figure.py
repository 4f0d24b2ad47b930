"""The figure of an ablation: mean over seeds as a line, their spread as a band, a panel each data set."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from baselines.ablations import KINDS
from baselines.table import NOT_BENCH
from csp_data.plot.style import COLOURS, DASHES, tidy

if TYPE_CHECKING:
    from baselines.ablate import Row

__all__ = ["draw"]

MARKERS = "osD^vPX"
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
        Which to draw, in the order of their colours.
    """
    names = list(dict.fromkeys(row.dataset for row in rows))
    figure = Figure(figsize=(WIDTH, 0.7 + HEIGHT * len(names)), layout="constrained")
    columns = 2 if KINDS[kind].relative else 1
    panels = figure.subplots(len(names), columns, squeeze=False)
    styles = {m: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, m in enumerate(models)}
    for axes, name in zip(panels, names, strict=True):
        own = [row for row in rows if row.dataset == name]
        left_out = dict.fromkeys(f"{row.variant}: {row.note}" for row in own if row.note and not row.model)
        if any(row.arm for row in own):
            _pairs(axes[0], own, styles, KINDS[kind].pair)
        else:
            for ax, error in zip(axes, _errors(own, columns), strict=True):
                _lines(ax, own, styles, kind, error)
            for ax in axes[:-1]:
                ax.get_legend().remove()
        title = _title(own)
        axes[0].set_title(title.replace("; ", "\n") if columns > 1 else title, loc="left", fontsize="small")
        if left_out:
            axes[0].text(0, -0.3, "\n".join(left_out), transform=axes[0].transAxes, fontsize="x-small", va="top")
        for ax in axes:
            tidy(ax)
    figure.suptitle(KINDS[kind].title, fontsize="medium")
    return figure


def _title(rows: Sequence[Row]) -> str:
    """Return data set, what its recordings are, protocol and number of seeds in one line."""
    first = rows[0]
    seeds = {row.seed for row in rows if row.rmse is not None or row.relative_mse is not None}
    parts = "/".join(dict.fromkeys(row.part for row in rows if row.part))
    count = f"{len(seeds)} seed{'' if len(seeds) == 1 else 's'}"
    what = NOT_BENCH.get(first.kind, first.kind)
    return f"{first.dataset}: {what}; protocol {first.protocol}, on {parts}, {count}"


def _errors(rows: Sequence[Row], count: int) -> list[tuple[str, str]]:
    """Return which columns are drawn as the error, and what their axes say: SI units where there is one unit."""
    units = {row.rmse_unit for row in rows if row.model and row.mse is not None}
    relative = ("relative_mse", "MSE / MSE of the training mean")
    if len(units) == 1 and "" not in units:
        return [("rmse", f"RMSE ({units.pop()})"), relative][:count]
    return [relative] * count


def _lines(
    ax: Axes, rows: Sequence[Row], styles: dict[str, tuple[str, str]], kind: str, error: tuple[str, str]
) -> None:
    """Draw the error over the ablation's value; a series without a value is a level across the axes."""
    column, label = error
    series = list(dict.fromkeys(row.series for row in rows if row.value is not None))
    handles = []
    for model, (colour, marker) in styles.items():
        own = [row for row in rows if row.model == model and getattr(row, column) is not None]
        for dash, name in zip((DASHES * len(series))[: len(series)], series, strict=True):
            points = _points([row for row in own if row.series == name and row.value is not None], column)
            if points:
                x, mean, spread = (list(values) for values in zip(*points, strict=True))
                ax.plot(x, mean, color=colour, linestyle=dash, marker=marker, markersize=4, linewidth=1.4)
                low, high = ([m + sign * s for m, s in zip(mean, spread, strict=True)] for sign in (-1, 1))
                ax.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        if level := [getattr(row, column) for row in own if row.value is None]:
            mean_, spread_ = _mean(level)
            ax.axhline(mean_, color=colour, linestyle=(0, (1, 2)), linewidth=1.2)
            ax.axhspan(mean_ - spread_, mean_ + spread_, color=colour, alpha=0.08, linewidth=0)
        handles.append(Line2D([], [], color=colour, marker=marker, markersize=4, label=model))
    handles += [_grey(name, dash) for name, dash in zip(series, DASHES * len(series), strict=False) if name]
    levels = dict.fromkeys(row.series for row in rows if row.value is None and row.model)
    handles += [_grey(name, (0, (1, 2))) for name in levels]
    rates = {row.value: row.target_hz for row in rows if row.value is not None and row.target_hz}
    _axis(ax, kind, dict(sorted(rates.items())))
    ax.set_ylabel(label)
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small", frameon=False)


def _grey(label: str, dash: Any) -> Line2D:
    return Line2D([], [], color="#555555", linestyle=dash, label=label)


def _axis(ax: Axes, kind: str, values: dict[float, float]) -> None:
    """Name the axis of the values, and mark those that were run, with their target rates where these differ."""
    about = KINDS[kind]
    ax.set_xlabel(f"{about.axis} ({about.unit})" if about.unit else about.axis)
    if about.logarithmic and values:
        ax.set_xscale("log")
        ax.xaxis.set_minor_locator(NullLocator())
    if values:
        several = len(set(values.values())) > 1
        names = [f"{value:g}" + (f"\n{rate:g} Hz" if several else "") for value, rate in values.items()]
        ax.xaxis.set_major_locator(FixedLocator(list(values)))
        ax.xaxis.set_major_formatter(FixedFormatter(names))


def _pairs(ax: Axes, rows: Sequence[Row], styles: dict[str, tuple[str, str]], label: str) -> None:
    """Draw by how much the second arm of each pair changes the error: seed by seed, in per cent."""
    series = list(dict.fromkeys(row.series for row in rows if row.arm))
    for i, (model, (colour, marker)) in enumerate(styles.items()):
        x, mean, spread = [], [], []
        for place, name in enumerate(series):
            changes = _changes([row for row in rows if row.series == name and row.model == model])
            if changes:
                x.append(place + 0.6 * ((i + 0.5) / len(styles) - 0.5))
                middle, width = _mean(changes)
                mean.append(middle)
                spread.append(width)
                ax.plot([x[-1]] * len(changes), changes, ".", color=colour, alpha=0.35, markersize=4)
        ax.errorbar(
            x,
            mean,
            yerr=spread,
            color=colour,
            marker=marker,
            linestyle="none",
            capsize=3,
            markersize=5,
            label=model,
        )
    ax.axhline(0, color="#222222", linewidth=0.8)
    ax.set_xticks(range(len(series)), series)
    ax.set_ylabel(label)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small", frameon=False)


def _changes(rows: Sequence[Row]) -> list[float]:
    """Return 100 * (RMSE of the second arm / RMSE of the first - 1) of each seed that has both."""
    by_arm: dict[str, dict[int | None, float | None]] = {}
    for row in rows:
        by_arm.setdefault(row.arm, {})[row.seed] = row.mse
    if len(by_arm) < 2:
        return []
    first, second = by_arm.values()
    return [
        100 * (math.sqrt(after / before) - 1)
        for seed, before in first.items()
        if before and (after := second.get(seed))
    ]


def _points(rows: Sequence[Row], column: str) -> list[tuple[float, float, float]]:
    """Return value, mean and standard deviation over the seeds, in the order of the values."""
    by_value: dict[float, list[float]] = {}
    for row in rows:
        if row.value is not None:
            by_value.setdefault(row.value, []).append(getattr(row, column))
    return [(value, *_mean(found)) for value, found in sorted(by_value.items())]


def _mean(values: Sequence[float]) -> tuple[float, float]:
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0
