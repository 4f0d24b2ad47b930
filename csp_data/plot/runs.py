"""Models beside each other: learning, errors by recording and by setting, cost, which differences carry weight.

All take plain numbers: nothing here knows how a run is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator

from csp_data.plot.style import COLOURS, GREYS, INK, Look, legend_beside, looks, tidy

__all__ = ["Difference", "plot_cost", "plot_differences", "plot_errors", "plot_learning", "plot_settings"]

POINTS = 400
"""Most epochs of a line; of more, evenly spread ones are drawn."""


@dataclass(frozen=True)
class Difference:
    """A difference of errors with its interval.

    Parameters
    ----------
    label
        Of the row.
    value, low, high
        The difference and the ends of its interval.
    carries
        Whether it carries weight after correction for the number of comparisons.
    """

    label: str
    value: float
    low: float
    high: float
    carries: bool


def _looks(names: Sequence[str], given: Mapping[str, Look] | None) -> Mapping[str, Look]:
    return given if given is not None else looks(names)


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
        Model to one sequence of losses a seed, the first of epoch 1. The mean goes as far as every seed does.
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
        ax.plot(at + 1, mean[at], linewidth=1.7, label=model, **style)
        for losses, epoch in zip(seeds, (chosen or {}).get(model, ()), strict=False):
            size = 3.5 if several else 6
            ax.plot(epoch, losses[epoch - 1], drawn[model]["marker"], color=style["color"], markersize=size)
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
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
    """Draw the error of each model on each recording, a row a recording.

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
    recordings = list(dict.fromkeys(name for by in errors.values() for name in by))
    for i, (model, by) in enumerate(errors.items()):
        shift = 0.3 * (i - (len(errors) - 1) / 2) / max(1, len(errors) - 1)  # equal errors do not hide each other
        rows = [row for row, name in enumerate(recordings) if name in by]
        ax.plot(
            [by[recordings[row]] for row in rows],
            [row + shift for row in rows],
            linestyle="none",
            marker=drawn[model]["marker"],
            color=drawn[model]["color"],
            label=model,
            markersize=5.5,
            alpha=0.9,
        )
    for row, name in enumerate(recordings):
        ax.text(0, row - 0.42, name.replace("_", " "), color=INK, fontsize="small", va="center")
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
    looks: Mapping[str, Look] | None = None,
) -> Axes:
    """Draw error against what a model costs, on a logarithmic scale: low and to the left is better for sizes.

    Parameters
    ----------
    ax
        Axes to draw into.
    models
        Model to its cost (above 0) and its error with each seed; a bar goes from the least to the greatest.
    xlabel, ylabel
        Of cost and error.
    looks
        As for :func:`plot_learning`.
    """
    drawn = _looks(list(models), looks)
    for model, (cost, errors) in models.items():
        color = drawn[model]["color"]
        mean = float(np.mean(errors))
        ax.plot([cost, cost], [min(errors), max(errors)], color=color, linewidth=1.0, alpha=0.6)
        ax.plot(cost, mean, drawn[model]["marker"], color=color, markersize=6.5, label=model, linestyle="none")
    ax.set_xscale("log")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.margins(0.08)
    legend_beside(ax)
    return tidy(ax)


def plot_differences(ax: Axes, rows: Sequence[Difference], *, label: str, against: str) -> Axes:
    """Draw differences of errors with their intervals; those that carry weight are filled and coloured.

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
        color = COLOURS[0] if row.carries else GREYS[1]
        ax.plot([row.low, row.high], [i, i], color=color, linewidth=1.6)
        ax.plot(row.value, i, "o", markersize=6, color=color, markerfacecolor=color if row.carries else "none")
        ax.text(0.0, i - 0.38, row.label, transform=ax.get_yaxis_transform(), fontsize="small", color=INK)
    ax.axvline(0, color=INK, linewidth=0.9, linestyle=":")
    ax.set(xlabel=f"{label}, minus that of {against}", ylim=(len(rows) - 0.5, -0.8), yticks=[])
    ax.grid(axis="y", visible=False)
    return tidy(ax)


def plot_settings(
    ax: Axes,
    errors: Mapping[str, Mapping[Any, Sequence[float]]],
    *,
    xlabel: str,
    ylabel: str,
    looks: Mapping[str, Look] | None = None,
) -> Axes:
    """Draw error against a setting that was varied: a dot a seed, a line through the means.

    Parameters
    ----------
    ax
        Axes to draw into.
    errors
        Model (or another series) to value of the setting to its error with each seed. Where all values are numbers
        above 0 they are an axis, logarithmic if the largest is at least eight times the least; else names,
        in the order of their first coming. ``None`` stands for doing without the thing: beside numbers it is a
        dotted level, beside names another name.
    xlabel, ylabel
        Of setting and error.
    looks
        As for :func:`plot_learning`.
    """
    drawn = _looks(list(errors), looks)
    values = list(dict.fromkeys(value for by in errors.values() for value in by if value is not None))
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) and v > 0 for v in values)
    if numbers:
        values.sort()
    elif any(None in by for by in errors.values()):
        values.insert(0, None)
    place = {value: value if numbers else i for i, value in enumerate(values)}
    for model, by in errors.items():
        color, marker = drawn[model]["color"], drawn[model]["marker"]
        known = [value for value in values if value in by]
        if numbers and None in by:
            ax.axhline(float(np.mean(by[None])), color=color, linewidth=1.0, linestyle=":")
        if not known:
            continue
        means = [float(np.mean(by[v])) for v in known]
        ax.plot([place[v] for v in known], means, **drawn[model], markersize=5, linewidth=1.5, label=model)
        several = [(place[v], error) for v in known if len(by[v]) > 1 for error in by[v]]
        if several:
            ax.plot(*zip(*several, strict=True), marker, color=color, markersize=2.5, alpha=0.5, linestyle="none")
    if numbers and values and values[-1] >= 8 * values[0]:
        ax.set_xscale("log")
        ax.xaxis.set_minor_locator(NullLocator())
    _name_ticks(ax, [place[v] for v in values], [f"{v:g}" if numbers else _said(v) for v in values])
    ax.set(xlabel=xlabel, ylabel=ylabel)
    legend_beside(ax)
    return tidy(ax)


def _said(value: Any) -> str:
    return "none" if value is None else {True: "yes", False: "no"}.get(value, str(value))


def _name_ticks(ax: Axes, places: Sequence[float], names: Sequence[str]) -> None:
    """Name ticks, aslant where the names are too long to stand beside each other."""
    ax.set_xticks(places, names)
    if sum(map(len, names)) > 45:
        ax.tick_params(axis="x", labelrotation=35)
        for text in ax.get_xticklabels():
            text.set(ha="right", rotation_mode="anchor")
