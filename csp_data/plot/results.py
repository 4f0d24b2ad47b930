"""Predicted against measured: over time, and summed to a path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from csp_data.plot.style import legend_beside, styles, tidy

__all__ = ["plot_prediction", "plot_trajectory"]

Array = npt.NDArray[Any]


def plot_prediction(
    ax: Axes,
    time: Array,
    measured: Array,
    predicted: Mapping[str, Array] | None = None,
    *,
    name: str = "",
    unit: str = "",
) -> Axes:
    """Draw a target over time, measured (black) and as models predict it.

    Parameters
    ----------
    ax
        Axes to draw into.
    time : array, shape (N,)
        Seconds.
    measured : array, shape (N,)
        One target channel.
    predicted
        Model to its prediction of the same N steps.
    name, unit
        Of the channel.
    """
    ax.plot(time, measured, color="#222222", linewidth=2.2, alpha=0.85, label="measured")
    predicted = predicted or {}
    for (model, values), style in zip(predicted.items(), styles(len(predicted)), strict=True):
        ax.plot(time, values, linewidth=1.2, label=model, **style)
    ax.set(xlabel="time in the recording (s)", ylabel=f"{name} ({unit})" if unit else name)
    ax.margins(x=0)
    legend_beside(ax)
    return tidy(ax)


def plot_trajectory(
    ax: Axes,
    measured: Array,
    predicted: Mapping[str, Array] | None = None,
    *,
    step: float = 1.0,
    names: tuple[str, str] = ("x", "y"),
    unit: str = "m",
) -> Axes:
    """Draw the path that increments or velocities add up to, from the origin, in the plane of two channels.

    Parameters
    ----------
    ax
        Axes to draw into; their scales become equal.
    measured : array, shape (N, 2)
        Increments, or velocities.
    predicted
        Model to its prediction, shape (N, 2).
    step
        Factor to an increment: the step in seconds for velocities, 1 for increments.
    names, unit
        Of the two axes.
    """
    predicted = predicted or {}
    lines: dict[str, tuple[Array, dict[str, Any]]] = {
        "measured": (measured, {"color": "#222222", "linewidth": 2.0, "alpha": 0.85})
    }
    for (model, values), style in zip(predicted.items(), styles(len(predicted)), strict=True):
        lines[model] = (values, {"linewidth": 1.2, **style})
    for label, (values, style) in lines.items():
        path = np.concatenate([np.zeros((1, 2)), np.cumsum(np.asarray(values, dtype=np.float64) * step, axis=0)])
        ax.plot(path[:, 0], path[:, 1], label=label, **style)
    ax.plot(0, 0, "o", color="#222222", markersize=5)
    ax.set_aspect("equal", adjustable="datalim")
    ax.set(xlabel=f"{names[0]} ({unit})", ylabel=f"{names[1]} ({unit})")
    legend_beside(ax)
    return tidy(ax)
