"""The figure of faults: error against severity, a panel each fault."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from baselines.faults import FAULTS
from baselines.table import NOT_BENCH
from csp_data.plot.style import COLOURS, DASHES, tidy

if TYPE_CHECKING:
    from baselines.fault_runs import Row

__all__ = ["draw"]

ARMS: tuple[tuple[bool, Any], ...] = ((True, DASHES[0]), (False, DASHES[1]))
"""How lines under the filter of the training are drawn, and those under the other."""

MARKERS = "osD^vPX"
WIDTH, HEIGHT = 9.0, 2.7
"""Of the figure, and of each row of panels, in inches."""


def draw(rows: Sequence[Row]) -> Figure:
    """Draw mean and spread, over runs of a model and draws of the fault, at each severity.

    A colour is a model as it was trained; its full line is under the filter that it was trained on, its dashed one
    under the other choice.
    """
    faults = list(dict.fromkeys(row.fault for row in rows))
    models = list(dict.fromkeys((row.model, row.trained_lowpass) for row in rows))
    lines = -(-len(faults) // 2)
    figure = Figure(figsize=(WIDTH, 1.4 + HEIGHT * lines), layout="constrained")
    panels = figure.subplots(lines, min(2, len(faults)), squeeze=False).ravel()
    for ax, fault in zip(panels, faults, strict=False):
        _panel(ax, [row for row in rows if row.fault == fault], models)
    for ax in panels[len(faults) :]:
        ax.set_axis_off()
    first = rows[0]
    what, runs = NOT_BENCH.get(first.kind, first.kind), len({row.run for row in rows})
    figure.suptitle(
        f"Faults of the sensors, {first.dataset}: {what}\nprotocol {first.protocol}, on {first.part}, {runs} "
        f"run{'' if runs == 1 else 's'}, {len({row.draw for row in rows})} draw(s) of each fault",
        fontsize="medium",
    )
    figure.legend(
        handles=_handles(rows, models), loc="outside lower center", ncols=3, fontsize="small", frameon=False
    )
    return figure


def _handles(rows: Sequence[Row], models: Sequence[tuple[str, str]]) -> list[Line2D]:
    several = len({trained for _, trained in models}) > 1
    handles = []
    for i, (model, trained) in enumerate(models):
        name = f"{model}, trained with low-pass {trained}" if several else model
        handles.append(
            Line2D(
                [], [], color=COLOURS[i % len(COLOURS)], marker=MARKERS[i % len(MARKERS)], label=name, markersize=4
            )
        )
    for as_trained, dash in ARMS:
        filters = dict.fromkeys(row.lowpass for row in rows if row.as_trained == as_trained)
        name = f"low-pass {', '.join(filters)}" + (" (as trained)" if as_trained else " (not trained on)")
        handles.append(Line2D([], [], color="#555555", linestyle=dash, label=name))
    return handles


def _panel(ax: Axes, rows: Sequence[Row], models: Sequence[tuple[str, str]]) -> None:
    for i, (model, trained) in enumerate(models):
        own = [row for row in rows if (row.model, row.trained_lowpass) == (model, trained)]
        for as_trained, dash in ARMS:
            by_severity: dict[int, list[float]] = {}
            for row in own:
                if row.as_trained == as_trained:
                    by_severity.setdefault(row.severity, []).append(row.mse if row.rmse is None else row.rmse)
            x = sorted(by_severity)
            mean = [statistics.fmean(by_severity[s]) for s in x]
            spread = [statistics.stdev(v) if len(v := by_severity[s]) > 1 else 0.0 for s in x]
            colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
            ax.plot(x, mean, color=colour, linestyle=dash, marker=marker, markersize=4, linewidth=1.4)
            low, high = ([m + sign * s for m, s in zip(mean, spread, strict=True)] for sign in (-1, 1))
            ax.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    first, fault = rows[0], FAULTS[rows[0].fault]
    values = dict(sorted((row.severity, row.value) for row in rows))
    ax.set_xticks(list(values), [f"{value:g}" if severity else "none" for severity, value in values.items()])
    ax.set_xlabel(f"{fault.axis} ({fault.unit})")
    ax.set_ylabel(f"RMSE ({first.rmse_unit})" if first.rmse is not None else "MSE (mixed units)")
    ax.set_title(first.fault, loc="left", fontsize="small")
    tidy(ax)
