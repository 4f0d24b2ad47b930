"""The figure of faults: error against severity, a panel each fault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from baselines.ablations.faults import FAULTS
from baselines.tables.digits import bracketed
from baselines.tables.labels import base_name
from baselines.tables.model_looks import looks_by_name
from baselines.tables.table import kind_label
from csp_data.plot.runs import plot_settings
from csp_data.terminal import count_of

if TYPE_CHECKING:
    from baselines.ablations.fault_runs import Row

__all__ = ["draw"]

WIDTH, HEIGHT = 9.0, 2.7
"""Of the figure, and of each row of panels, in inches."""


def draw(rows: Sequence[Row]) -> Figure:
    """Draw mean and spread, over runs of a model and draws of the fault, at each severity.

    A colour is a model as it was trained, a grey a reference; its full line is under the filter that it was
    trained on, its dashed one under the other choice.
    """
    faults = list(dict.fromkeys(row.fault for row in rows))
    models = list(dict.fromkeys((row.model, row.trained_lowpass) for row in rows))
    panel_rows = -(-len(faults) // 2)
    figure = Figure(figsize=(WIDTH, 1.4 + HEIGHT * panel_rows), layout="constrained")
    panels = figure.subplots(panel_rows, min(2, len(faults)), squeeze=False).ravel()
    for ax, fault in zip(panels, faults, strict=False):
        _panel(ax, [row for row in rows if row.fault == fault], models)
        ax.get_legend().remove()
    for ax in panels[len(faults) :]:
        ax.set_axis_off()
    first = rows[0]
    runs, draws = len({row.run for row in rows}), len({row.draw for row in rows})
    figure.suptitle(
        f"Faults of the sensors, {first.dataset}: {kind_label(first.kind)}\nprotocol {first.protocol}, on "
        f"{first.part}, {count_of(runs, 'run')}, {count_of(draws, 'draw')} of each fault",
        fontsize="medium",
    )
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize="small", frameon=False)
    return figure


def _label(model: str, trained: str, models: Sequence[tuple[str, str]]) -> str:
    return f"{model}, trained with low-pass {trained}" if len({t for _, t in models}) > 1 else model


def _arm(rows: Sequence[Row], as_trained: bool) -> str:
    filters = dict.fromkeys(row.lowpass for row in rows if row.as_trained == as_trained)
    return f"low-pass {', '.join(filters)} ({'as' if as_trained else 'not'} trained{'' if as_trained else ' on'})"


def _panel(ax: Axes, rows: Sequence[Row], models: Sequence[tuple[str, str]]) -> None:
    errors: dict[str, dict[str, dict[int, list[float]]]] = {}
    order = {model: i for i, model in enumerate(models)}
    for row in sorted(rows, key=lambda r: (order[r.model, r.trained_lowpass], not r.as_trained, r.severity)):
        by_arm = errors.setdefault(_label(row.model, row.trained_lowpass, models), {})
        by_severity = by_arm.setdefault(_arm(rows, row.as_trained), {})
        error = row.ratio if row.rmse is None else row.rmse
        if error is not None:
            by_severity.setdefault(row.severity, []).append(error)
    first, fault = rows[0], FAULTS[rows[0].fault]
    names = {row.severity: f"{row.value:g}" if row.severity else "none" for row in rows}
    plot_settings(
        ax,
        errors,
        xlabel=f"{fault.axis} ({fault.unit})",
        ylabel="MSE / MSE without fault" if first.rmse is None else f"RMSE{bracketed(first.rmse_unit)}",
        looks=looks_by_name({_label(model, trained, models): base_name(model) for model, trained in models}),
        names=names,
    )
    ax.set_title(first.fault, loc="left", fontsize="small")
