"""Draw models side by side: learning curves, errors by recording and by setting, cost, differences.

All take plain numbers: nothing here knows how a run is stored.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from csp_data.plot.style import COLOURS, DASHES, GREYS, INK, Look, legend_beside, looks, shortened, tidy

__all__ = ["Difference", "plot_cost", "plot_differences", "plot_errors", "plot_learning", "plot_settings"]

LEVEL = (0, (1, 2))
"""Dash of the level of doing without something."""
POINTS = 200
"""Most epochs of a line; of more, evenly spread ones are drawn."""
LONG = 60
"""Letters of a recording's name, which stands within the axes."""
ROW = 30
"""Letters of a model's name beside the axes."""


@dataclass(frozen=True)
class Difference:
    """A difference of errors with its interval.

    Parameters
    ----------
    label
        Of the row.
    value, low, high
        The difference and the ends of its interval.
    significant
        Whether it is, after correction for the number of comparisons.
    """

    label: str
    value: float
    low: float
    high: float
    significant: bool


def _looks(names: Sequence[str], given: Mapping[str, Look] | None) -> Mapping[str, Look]:
    return given if given is not None else looks(names)


class _LogTicks(LogLocator):
    """1, 2 and 5 of each decade; of less than a decade, of which that may be one, even steps."""

    def __init__(self, most: int = 5) -> None:
        super().__init__(subs=(1.0, 2.0, 5.0))
        self._steps = MaxNLocator(most, steps=[1, 2, 5, 10])

    def tick_values(self, vmin: float, vmax: float) -> Any:
        if vmax < 10 * vmin:
            return self._steps.tick_values(vmin, vmax)
        return super().tick_values(vmin, vmax)


def plot_learning(
    ax: Axes,
    curves: Mapping[str, Sequence[Sequence[float]]],
    *,
    chosen: Mapping[str, Sequence[int]] | None = None,
    label: str = "loss",
    looks: Mapping[str, Look] | None = None,
) -> Axes:
    """Draw losses over epochs: every seed thin, their mean thick, on a logarithmic scale.

    Parameters
    ----------
    ax
        Axes to draw into.
    curves
        Model to one sequence of losses per seed, the first of epoch 1. The mean goes as far as every seed does.
    chosen
        Model to the epoch that was chosen of each seed, which gets a mark.
    label
        Of the losses.
    looks
        Model to its colour, dash and marker; by default in turn.
    """
    drawn = _looks(list(curves), looks)
    for model, seeds in curves.items():
        style = {k: v for k, v in drawn[model].items() if k != "marker"}
        several = len(seeds) > 1
        for losses in seeds if several else ():
            at = _thinned(len(losses))
            ax.plot(at + 1, np.asarray(losses)[at], linewidth=0.6, alpha=0.45, color=style["color"])
        length = min(map(len, seeds), default=0)
        at = _thinned(length)
        mean = np.mean([np.asarray(losses[:length]) for losses in seeds], axis=0)
        dot = {"marker": drawn[model]["marker"], "markersize": 4.0} if length == 1 else {}  # no line of one epoch
        ax.plot(at + 1, mean[at], linewidth=1.7, label=model, **style, **dot)
        for losses, epoch in zip(seeds, (chosen or {}).get(model, ()), strict=False):
            size = 3.5 if several else 6
            ax.plot(epoch, losses[epoch - 1], drawn[model]["marker"], color=style["color"], markersize=size)
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(_LogTicks(7))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    ax.set(xlabel="epoch", ylabel=label)
    legend_beside(ax)
    return tidy(ax)


def _thinned(count: int) -> Any:
    """Return at most :data:`POINTS` indices from 0 to `count` - 1, both ends among them."""
    return np.unique(np.linspace(0, count - 1, min(count, POINTS)).round().astype(int))


def plot_errors(
    ax: Axes,
    errors: Mapping[str, Mapping[str, float]],
    *,
    label: str = "error",
    looks: Mapping[str, Look] | None = None,
) -> Axes:
    """Draw the error of each model on each recording, one row per recording.

    Parameters
    ----------
    ax
        Axes to draw into.
    errors
        Model to recording to its error.
    label
        Of the error.
    looks
        As for :func:`plot_learning`.
    """
    drawn = _looks(list(errors), looks)
    recordings = list(dict.fromkeys(name for by_recording in errors.values() for name in by_recording))
    for i, (model, by_recording) in enumerate(errors.items()):
        shift = 0.3 * (i - (len(errors) - 1) / 2) / max(1, len(errors) - 1)  # equal errors do not hide each other
        rows = [row for row, name in enumerate(recordings) if name in by_recording]
        ax.plot(
            [by_recording[recordings[row]] for row in rows],
            [row + shift for row in rows],
            linestyle="none",
            marker=drawn[model]["marker"],
            color=drawn[model]["color"],
            label=model,
            markersize=5.5,
            alpha=0.9,
        )
    for row, name in enumerate(recordings):
        said = shortened(name.replace("_", " "), LONG)
        ax.text(0, row - 0.42, said, color=INK, fontsize="small", va="center")
    ax.margins(x=0.08)
    ax.set(xlabel=label, ylim=(len(recordings) - 0.5, -0.75), yticks=[])
    ax.set_xlim(left=0)
    ax.grid(axis="y", visible=False)
    legend_beside(ax)
    return tidy(ax)


def plot_cost(
    ax: Axes,
    models: Mapping[str, tuple[float, Sequence[float]]],
    *,
    xlabel: str,
    ylabel: str,
    levels: Mapping[str, float] | None = None,
    looks: Mapping[str, Look] | None = None,
) -> Axes:
    """Draw error against what a model costs, on a logarithmic scale.

    Parameters
    ----------
    ax
        Axes to draw into.
    models
        Model to its cost (above 0) and its error with each seed; a bar goes from the least to the greatest.
    xlabel, ylabel
        Of cost and error.
    levels
        Errors to compare with, by name: dotted lines across the axes.
    looks
        As for :func:`plot_learning`.
    """
    drawn = _looks(list(models), looks)
    for name, error in (levels or {}).items():
        ax.axhline(error, color=GREYS[1], linewidth=1.0, linestyle=":", label=name)
    for model, (cost, errors) in models.items():
        color = drawn[model]["color"]
        mean = float(np.mean(errors))
        ax.plot([cost, cost], [min(errors), max(errors)], color=color, linewidth=1.0, alpha=0.6)
        ax.plot(cost, mean, drawn[model]["marker"], color=color, markersize=6.5, label=model, linestyle="none")
    ax.set_xscale("log")
    costs = [cost for cost, _ in models.values()]
    ax.xaxis.set_major_locator(_LogTicks() if max(costs) < 30 * min(costs) else LogLocator())
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter("{x:,.10g}")
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.margins(0.08)
    legend_beside(ax)
    return tidy(ax)


def plot_differences(ax: Axes, rows: Sequence[Difference], *, label: str, against: str) -> Axes:
    """Draw differences of errors with their intervals; significant ones are filled and coloured.

    Parameters
    ----------
    ax
        Axes to draw into.
    rows
        From the top down.
    label
        Of the difference.
    against
        Model at 0.
    """
    for i, row in enumerate(rows):
        color = COLOURS[0] if row.significant else GREYS[1]
        ax.plot([row.low, row.high], [i, i], color=color, linewidth=1.6)
        ax.plot(row.value, i, "o", markersize=6, color=color, markerfacecolor=color if row.significant else "none")
    ax.axvline(0, color=INK, linewidth=0.9, linestyle=":")
    said = textwrap.wrap(f"{label}, minus that of {against}", 36, break_long_words=False, break_on_hyphens=False)
    ax.set(xlabel="\n".join(said), ylim=(len(rows) - 0.4, -0.6))
    ax.set_yticks(range(len(rows)), [shortened(row.label, ROW) for row in rows])
    ax.grid(axis="y", visible=False)
    return tidy(ax)


def plot_settings(
    ax: Axes,
    errors: Mapping[str, Mapping[str, Mapping[Any, Sequence[float]]]],
    *,
    xlabel: str,
    ylabel: str,
    looks: Mapping[str, Look] | None = None,
    names: Mapping[Any, str] | None = None,
    logarithmic: bool | None = None,
) -> Axes:
    """Draw error against a setting that was varied: a line through the means over seeds, their spread as a band.

    Parameters
    ----------
    ax
        Axes to draw into.
    errors
        Model (which has a colour) to series (which has a dash; ``""`` if there is one) to value of the setting to
        its error with each seed. Where all values are numbers above 0 they are an axis, logarithmic if the largest
        is at least eight times the least; else they are names, in the order of their first coming. ``None`` stands
        for doing without the thing: beside numbers it is a level across the axes, beside names another name.
    xlabel, ylabel
        Of setting and error.
    looks
        As for :func:`plot_learning`.
    names
        What stands at a value, where that is more than the value.
    logarithmic
        Whether numbers are on a logarithmic axis, if that is not left to their span.
    """
    drawn = _looks(list(errors), looks)
    curves = [(model, series, by_value) for model, all_ in errors.items() for series, by_value in all_.items()]
    values, numbers = _axis_values([by_value for _, _, by_value in curves])
    position = {value: value if numbers else i for i, value in enumerate(values)}
    lines = dict.fromkeys(series for _, series, by_value in curves if any(value in by_value for value in position))
    dashes = dict(zip(lines, DASHES * len(lines), strict=False))
    for model, series, by_value in curves:
        color = drawn[model]["color"]
        if numbers and None in by_value:
            mean, spread = _spread(by_value[None])
            ax.axhline(mean, color=color, linestyle=LEVEL, linewidth=1.2)
            ax.axhspan(mean - spread, mean + spread, color=color, alpha=0.08, linewidth=0)
        if known := [value for value in values if value in by_value]:
            x = [position[value] for value in known]
            means, spreads = np.array([_spread(by_value[value]) for value in known]).T
            style = {"color": color, "marker": drawn[model]["marker"], "linestyle": dashes[series]}
            ax.plot(x, means, markersize=4.5, linewidth=1.5, **style)
            ax.fill_between(x, means - spreads, means + spreads, color=color, alpha=0.15, linewidth=0)
    if numbers and (values[-1] >= 8 * values[0] if logarithmic is None else logarithmic):
        ax.set_xscale("log")
        ax.xaxis.set_minor_locator(NullLocator())
    texts = {value: f"{value:g}" if numbers else _text_of(value) for value in values} | dict(names or {})
    _name_ticks(ax, [position[value] for value in values], [texts[value] for value in values])
    ax.set(xlabel=xlabel, ylabel=ylabel)
    levels = dict.fromkeys(series or "without" for _, series, by_value in curves if numbers and None in by_value)
    _settings_legend(ax, {model: drawn[model] for model in errors}, dashes, list(levels))
    return tidy(ax)


def _axis_values(curves: Sequence[Mapping[Any, Sequence[float]]]) -> tuple[list[Any], bool]:
    """Return the values of a setting in the order of the axis, and whether they are numbers on it.

    ``None``, doing without the thing, is the first of names and has no place among numbers.
    """
    values = list(dict.fromkeys(value for by_value in curves for value in by_value if value is not None))
    numbers = bool(values) and all(
        isinstance(v, int | float) and not isinstance(v, bool) and v > 0 for v in values
    )
    if numbers:
        return sorted(values), True
    return [None, *values] if any(None in by_value for by_value in curves) else values, False


def _spread(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and standard deviation (n - 1; 0 for one value)."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _settings_legend(
    ax: Axes, models: Mapping[str, Look], dashes: Mapping[str, Any], level: Sequence[str]
) -> None:
    """Name models by colour and marker, series by dash."""
    for model, look in models.items():
        ax.plot([], [], color=look["color"], marker=look["marker"], markersize=4.5, linestyle="-", label=model)
    for series, dash in [*((s, d) for s, d in dashes.items() if s), *((name, LEVEL) for name in level)]:
        ax.plot([], [], color=GREYS[1], linestyle=dash, linewidth=1.5, label=series)
    legend_beside(ax)


def _text_of(value: Any) -> str:
    return "none" if value is None else {True: "yes", False: "no"}.get(value, str(value))


def _name_ticks(ax: Axes, places: Sequence[float], names: Sequence[str]) -> None:
    """Name ticks, aslant where the names are too long to stand beside each other."""
    ax.set_xticks(places, names)
    if sum(max(map(len, name.split("\n"))) for name in names) > 45:
        ax.tick_params(axis="x", labelrotation=35)
        for text in ax.get_xticklabels():
            text.set(ha="right", rotation_mode="anchor")
