"""From irregular clocks to a grid: the linear interpolant of a signal, at points or averaged over intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from csp_data.errors import OptionError
from csp_data.recording import FloatArray

__all__ = ["interval_mean", "interval_means", "linear", "locate"]

AT_ONCE = 1 << 16
"""Values that are worked out at once: of a day's recording, what stands between would fill the memory."""


def linear(time: FloatArray, values: FloatArray, grid: FloatArray) -> FloatArray:
    """Sample the linear interpolant of a signal.

    Parameters
    ----------
    time : array, shape (T,)
        Seconds, strictly increasing.
    values : array, shape (T, C)
        Samples.
    grid : array, shape (N,)
        Times wanted, within the first and the last of `time`.

    Returns
    -------
    array, shape (N, C)
    """
    sampled = np.empty((len(grid), values.shape[1]))
    for rows in _blocks(sampled):
        left, weight = locate(time, grid[rows])
        before = values.take(left, axis=0).astype(np.float64, copy=False)
        step = values.take(left + 1, axis=0, mode="clip").astype(np.float64, copy=False)
        step -= before
        step *= weight[:, None]
        np.add(before, step, out=sampled[rows])
    return sampled


def _blocks(values: FloatArray) -> Iterator[slice]:
    """Yield a few rows (T, C) after the other."""
    at_once = max(1, AT_ONCE // values.shape[1])
    return (slice(first, first + at_once) for first in range(0, len(values), at_once))


def interval_mean(time: FloatArray, values: FloatArray, grid: FloatArray, width: float) -> FloatArray:
    """Average the linear interpolant of a signal over the interval that ends at each grid time.

    The anti-aliasing way down to a lower rate: with `width` one grid step this is integrate-and-dump, which keeps
    the signal's integral, works on irregular clocks and has zeros at every multiple of the new rate. It delays the
    signal by half of `width`, and depends on no sample later than the first at or after the grid time.

    Parameters
    ----------
    time, values
        As in :func:`linear`.
    grid : array, shape (N,)
        Ends of the intervals; ``grid - width`` and `grid` lie within the first and the last of `time`.
    width
        Length of the interval in seconds.

    Returns
    -------
    array, shape (N, C)
    """
    (mean,) = interval_means(time, values, [grid], width)
    return mean


def interval_means(
    time: FloatArray, values: FloatArray, grids: Sequence[FloatArray], width: float
) -> list[FloatArray]:
    """Return the :func:`interval_mean` on each of several grids; the signal is integrated once for all of them."""
    if not width > 0:
        raise OptionError("width", width, "an interval of more than 0 s")
    areas = np.zeros((len(time), values.shape[1]))  # from the first sample to each
    trapezia = areas[1:]
    np.add(values[1:], values[:-1], out=trapezia)
    trapezia *= np.diff(time)[:, None]
    trapezia /= 2
    np.cumsum(trapezia, axis=0, out=trapezia)
    return [_means_on(time, values, areas, grid, width) for grid in grids]


def _means_on(
    time: FloatArray, values: FloatArray, areas: FloatArray, grid: FloatArray, width: float
) -> FloatArray:
    means = np.empty((len(grid), values.shape[1]))
    for rows in _blocks(means):
        integrals = (_integral(time, values, areas, at) for at in (grid[rows], grid[rows] - width))
        means[rows] = np.subtract(*integrals) / width
    return means


def _integral(time: FloatArray, values: FloatArray, areas: FloatArray, at: FloatArray) -> FloatArray:
    """Integral of the linear interpolant from the first sample to each time `at`."""
    left, weight = locate(time, at)
    right = np.minimum(left + 1, len(time) - 1)
    inside = (weight * (time[right] - time[left]))[:, None]
    slope_part = weight[:, None] * (values[right] - values[left]) / 2
    return np.asarray(areas[left] + inside * (values[left] + slope_part))


def locate(time: FloatArray, at: FloatArray) -> tuple[npt.NDArray[np.intp], FloatArray]:
    """Return the index of the sample at or before each time, and how far towards the next it lies (0 to 1)."""
    at = _clip_to_span(time, at)
    left = np.clip(np.searchsorted(time, at, side="right") - 1, 0, max(len(time) - 2, 0))
    right = np.minimum(left + 1, len(time) - 1)
    span = time[right] - time[left]
    return left, np.where(span > 0, (at - time[left]) / np.where(span > 0, span, 1.0), 0.0)


def _clip_to_span(time: FloatArray, at: FloatArray) -> FloatArray:
    """Return the times `at`, moved into the span of `time` where rounding alone put them outside.

    A grid computed as start + k / rate may pass the last sample by rounding, and by what :func:`chunk_grid` counts
    as rounding.

    Raises
    ------
    OptionError
        If a time lies outside by more: nothing is ever extrapolated.
    """
    slack = max(1e-5, 8 * float(np.spacing(max(abs(time[0]), abs(time[-1])))))
    if len(at) and (at[0] < time[0] - slack or at[-1] > time[-1] + slack):
        raise OptionError(
            "grid",
            (float(at[0]), float(at[-1])),
            f"times within {time[0]:g} s and {time[-1]:g} s (no extrapolation)",
        )
    return np.clip(at, time[0], time[-1])
