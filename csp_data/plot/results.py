"""Draw predictions against measurements: over time, summed to a path, and the drift between the paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from csp_data.card import printed_unit
from csp_data.plot.style import INK, TIME, Look, from_start, legend_beside, line_looks, telling, tidy
from csp_data.recording import FloatArray

__all__ = ["plot_drift", "plot_prediction", "plot_trajectory"]

Array = npt.NDArray[Any]


def plot_prediction(
    ax: Axes,
    time: Array,
    measured: Array,
    predicted: Mapping[str, Array] | None = None,
    *,
    name: str = "",
    unit: str = "",
    looks: Mapping[str, Look] | None = None,
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
    looks
        Model to its :data:`~csp_data.plot.style.Look`; by default colours in turn.
    """
    time = np.asarray(from_start(time))
    for values, style in _lines(measured, predicted or {}, looks, 2.2):
        shown = telling(values)
        ax.plot(time[shown], values[shown], **style)
    ax.set(xlabel=TIME, ylabel=f"{name} ({printed_unit(unit)})" if unit else name)
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
    looks: Mapping[str, Look] | None = None,
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
    looks
        As for :func:`plot_prediction`.
    """
    for values, style in _lines(measured, predicted or {}, looks, 2.0):
        path = np.concatenate([np.zeros((1, 2)), _summed(values, step)])
        ax.plot(path[:, 0], path[:, 1], **style)
    ax.plot(0, 0, "o", color=INK, markersize=5)
    ax.set_aspect("equal", adjustable="datalim")
    unit = printed_unit(unit)
    ax.set(xlabel=f"{names[0]} ({unit})", ylabel=f"{names[1]} ({unit})")
    legend_beside(ax)
    return tidy(ax)


def plot_drift(
    ax: Axes,
    time: Array,
    measured: Array,
    predicted: Mapping[str, Array],
    *,
    step: float = 1.0,
    unit: str = "m",
    looks: Mapping[str, Look] | None = None,
) -> Axes:
    """Draw how far the sum of predictions is from the sum of what was measured, over time.

    Parameters
    ----------
    ax
        Axes to draw into.
    time : array, shape (N,)
        Seconds.
    measured : array, shape (N, D)
        Increments, or velocities.
    predicted
        Model to its prediction, shape (N, D).
    step, looks
        As for :func:`plot_trajectory`.
    unit
        Of the sum.
    """
    true, time = _summed(measured, step), from_start(time)
    for model, style in line_looks(list(predicted), looks).items():
        gap = np.linalg.norm(_summed(predicted[model], step) - true, axis=1)
        ax.plot(time, gap, linewidth=1.4, label=model, **style)
    label = f"distance from the measured sum ({printed_unit(unit)})"
    ax.set(xlabel=TIME, ylabel=label, ylim=(0, None))
    ax.margins(x=0)
    legend_beside(ax)
    return tidy(ax)


def _lines(
    measured: Array, predicted: Mapping[str, Array], looks: Mapping[str, Look] | None, width: float
) -> Iterator[tuple[FloatArray, dict[str, Any]]]:
    """Yield the values of each line and how it is drawn: what was measured, so many points wide, and models."""
    yield np.asarray(measured, np.float64), {"label": "measured", "color": INK, "linewidth": width, "alpha": 0.85}
    for model, style in line_looks(list(predicted), looks).items():
        yield np.asarray(predicted[model], np.float64), {"label": model, "linewidth": 1.2, **style}


def _summed(values: Array, step: float) -> Array:
    return np.cumsum(np.asarray(values, dtype=np.float64) * step, axis=0)
