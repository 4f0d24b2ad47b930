"""Errors of predictions, as plain numpy functions of (true, pred) in physical units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["METRICS", "mae", "mse", "rmse", "summary"]

Array = npt.NDArray[np.floating]


def mse(true: Array, pred: Array, axis: int | None = None) -> Any:
    """Mean squared error.

    Parameters
    ----------
    true, pred : arrays, shape (N, D)
        The same unit in both.
    axis
        ``None`` for the mean over all values, 0 for one value a channel.

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


def summary(episodes: Mapping[str, tuple[Array, Array]], channels: Sequence[str]) -> dict[str, Any]:
    """Compute all metrics: over all values of all episodes, for each channel, and for each episode.

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
    true = np.concatenate([pair[0] for pair in episodes.values()])
    pred = np.concatenate([pair[1] for pair in episodes.values()])
    return {
        **_values(true, pred, channels),
        "episodes": {name: _values(*pair, channels) for name, pair in episodes.items()},
    }


def _values(true: Array, pred: Array, channels: Sequence[str]) -> dict[str, Any]:
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
