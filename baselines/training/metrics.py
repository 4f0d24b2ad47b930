"""Errors of predictions, as plain numpy functions of (true, pred) in physical units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["METRICS", "ate", "mae", "mse", "path", "pooled", "rmse", "rte", "summary"]

Array = npt.NDArray[np.floating]


def mse(true: Array, pred: Array, axis: int | None = None) -> Any:
    """Mean squared error.

    Parameters
    ----------
    true, pred : arrays, shape (N, D)
        The same unit in both.
    axis
        ``None`` for the mean over all values, 0 for one value per channel.

    Returns
    -------
    float or array, shape (D,)
        In the squared unit.

    Raises
    ------
    ValueError
        If the shapes differ (broadcasting would hide it), or there is nothing to average.
    """
    return np.square(_error(true, pred)).mean(axis=axis)


def rmse(true: Array, pred: Array, axis: int | None = None) -> Any:
    """Root of the mean squared error, in the unit of the target; arguments as for :func:`mse`."""
    return np.sqrt(mse(true, pred, axis))


def mae(true: Array, pred: Array, axis: int | None = None) -> Any:
    """Mean absolute error, in the unit of the target; arguments as for :func:`mse`."""
    return np.abs(_error(true, pred)).mean(axis=axis)


METRICS = {"mse": mse, "rmse": rmse, "mae": mae}
"""Name of each metric to its function."""


def ate(true: Array, pred: Array) -> float:
    """Absolute trajectory error: root mean square of the distance along an axis between two paths.

    As RoNIN defines it (Herath, Yan, Furukawa, ICRA 2020, after Sturm et al., IROS 2012), with its
    published code's average, which goes over samples *and axes*: multiply by the root of D for the root mean
    square of the whole distance. Both paths begin at the same place; they are not aligned otherwise.

    Parameters
    ----------
    true, pred : arrays, shape (N, D)
        Positions in m.

    Returns
    -------
    float
        In m.
    """
    return float(rmse(true, pred))


def rte(true: Array, pred: Array, rate_hz: float, interval_s: float = 60.0) -> float:
    """Relative trajectory error: how far a path drifts in a minute.

    The root mean square, over all intervals of `interval_s` in the path and over axes, of the difference between
    predicted and true displacement over the interval. A path that is shorter has one interval, its whole, and the
    drift at its end is scaled up in proportion. As RoNIN defines it (Herath et al., ICRA 2020,
    with the axes as for :func:`ate`).

    Parameters
    ----------
    true, pred : arrays, shape (N, D)
        Positions in m, N at least 2.
    rate_hz
        Positions per second.
    interval_s
        In s.

    Returns
    -------
    float
        In m per `interval_s`.
    """
    drift = _error(true, pred)
    if len(drift) < 2:
        raise ValueError("a path needs at least 2 positions")
    interval_steps = max(1, round(interval_s * rate_hz))
    steps = min(interval_steps, len(drift) - 1)
    scale = max(1.0, interval_steps / len(drift))
    return scale * float(np.sqrt(np.square(drift[steps:] - drift[:-steps]).mean()))


def path(steps: Array) -> npt.NDArray[np.float64]:
    """Return the positions (N + 1, D) that N increments (N, D) lead to, from the origin on."""
    return np.concatenate([np.zeros((1, steps.shape[1])), np.cumsum(steps, axis=0, dtype=np.float64)])


def summary(episodes: Mapping[str, tuple[Array, Array]], channels: Sequence[str]) -> dict[str, Any]:
    """Compute mse, rmse and mae: over all values of all episodes, for each channel, and for each episode.

    Parameters
    ----------
    episodes
        Id to (true, pred), each of shape (N_i, D). Every target step counts once in the overall values, so long
        episodes weigh more.
    channels
        Names of the D target channels.

    Returns
    -------
    dict
        ``{"mse", "rmse", "mae", "steps", "channels": {name: {"mse", ...}}, "episodes": {id: {the same}}}``, all
        plain Python values.
    """
    return {
        **pooled(list(episodes.values()), channels),
        "episodes": {name: pooled([pair], channels) for name, pair in episodes.items()},
    }


def pooled(pairs: Sequence[tuple[Array, Array]], channels: Sequence[str]) -> dict[str, Any]:
    """Compute mse, rmse, mae and their values by channel over all steps of some (true, pred)."""
    true, pred = (np.concatenate(side) for side in zip(*pairs, strict=True))
    overall: dict[str, Any] = {name: float(metric(true, pred)) for name, metric in METRICS.items()}
    by_channel = {name: metric(true, pred, axis=0) for name, metric in METRICS.items()}
    return {
        **overall,
        "steps": len(true),
        "channels": {
            channel: {name: float(values[d]) for name, values in by_channel.items()}
            for d, channel in enumerate(channels)
        },
    }


def _error(true: Array, pred: Array) -> npt.NDArray[np.float64]:
    true, pred = np.asarray(true, dtype=np.float64), np.asarray(pred, dtype=np.float64)
    if true.shape != pred.shape or true.ndim != 2 or true.size == 0:
        raise ValueError(f"true and pred must both be (N, D) with N >= 1, got {true.shape} and {pred.shape}")
    return pred - true
