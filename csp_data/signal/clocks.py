"""Find by how much two clocks differ, by a number that two streams of one body have in common at any time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from csp_data.recording import FloatArray, Stream
from csp_data.signal.align import common_intervals

__all__ = ["CLOCKS_S", "STEPS", "Course", "Shift", "best_shift", "follow", "gapless", "windows"]

STEPS = 5
"""Windows that begin in the time of one."""
MAX_GAP_S = 0.1
LEAST_S = 5.0
"""Seconds without a gap that each must have."""
CLOCKS_S = (0.03, 0.1)
"""Difference of two clocks that a person should look at, and one that is wrong."""
STILL = 1e-10
"""Share of a course's variance that a part must keep: of one that stands still, rounding alone is left."""

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Course:
    """A number that changes with time, in overlapping windows of a stream.

    Parameters
    ----------
    start
        End of the first window, in seconds.
    values : array, shape (N,)
        Less their mean; 0 where the stream has a gap.
    whole : array, shape (N,)
        Where it has none.
    """

    start: float
    values: FloatArray
    whole: BoolArray


class Shift(NamedTuple):
    """Seconds to add to the first one's times, and the correlation with that and without.

    The latter is NaN where less than half of the shorter one is then in common.
    """

    seconds: float
    correlation: float
    unshifted: float


def windows(stream: Stream, width: float, step: float) -> tuple[FloatArray, BoolArray]:
    """Return the ends of overlapping windows, and in which of them the stream has no gap."""
    ends = np.arange(stream.time[0] + width, stream.time[-1], step)
    return ends, gapless(stream, ends, width)


def gapless(stream: Stream, ends: FloatArray, width: float) -> BoolArray:
    """Tell in which windows, by their ends, a stream has samples without a gap."""
    inside = np.zeros(len(ends), dtype=bool)
    for start, stop in common_intervals([stream], MAX_GAP_S):
        inside |= (ends - width >= start) & (ends <= stop)
    return inside


def follow(
    stream: Stream, width: float, step: float, least: float, measure: Callable[[FloatArray], FloatArray]
) -> Course | None:
    """Measure a number in the windows of a stream that have no gap.

    Parameters
    ----------
    stream
        With increasing times.
    width, step
        Length of a window, and from one to the next, in seconds.
    least
        Standard deviation below which there is nothing to compare.
    measure
        Returns the number (N,) in the windows that end at these times (N,).

    Returns
    -------
    Course or None
        ``None`` where there is too little of it, or it hardly changes.
    """
    ends, whole = windows(stream, width, step)
    if np.count_nonzero(whole) < LEAST_S / step:
        return None
    values = measure(ends[whole])
    if values.std() < least:
        return None
    centred = np.zeros(len(ends))
    centred[whole] = values - values.mean()
    return Course(float(ends[0]), centred, whole)


def best_shift(first: Course, second: Course, step: float) -> Shift | None:
    """Find the shift of the first course's times with which it is most like the second.

    Each lag is judged on the windows that both have then (Padfield, IEEE Trans. Image Process. 21(5), 2012), which
    must be half of the shorter one's.

    Returns
    -------
    Shift or None
        ``None`` where gaps leave too little in common at any lag.
    """
    from scipy.signal import correlate  # here: it takes half a second, which most commands have no use for

    a, b, in_a, in_b = first.values, second.values, first.whole.astype(float), second.whole.astype(float)

    def sums(of_b: FloatArray, of_a: FloatArray) -> FloatArray:
        """Return sums of products, in whose entry k a is moved by k - len(a) + 1."""
        return np.asarray(correlate(of_b, of_a, mode="full", method="fft"))

    count, sum_a, sum_b = np.rint(sums(in_b, in_a)), sums(in_b, a), sums(b, in_a)
    var_a, var_b = count * sums(in_b, a * a) - sum_a**2, count * sums(b * b, in_a) - sum_b**2
    varies = (var_a > STILL * count * (a @ a)) & (var_b > STILL * count * (b @ b))
    enough = (count >= min(in_a.sum(), in_b.sum()) / 2) & varies
    if not enough.any():
        return None
    correlations = np.full(len(count), np.nan)
    correlations[enough] = (count * sums(b, a) - sum_a * sum_b)[enough] / np.sqrt((var_a * var_b)[enough])
    best = int(np.nanargmax(correlations))
    before, at, after = correlations[best - 1 : best + 2]  # at the ends of the lags nearly nothing is in common
    peak = 0.5 * (before - after) / (before - 2 * at + after)  # of the parabola through the three
    seconds = second.start - first.start + (best + (peak if np.isfinite(peak) else 0.0) - (len(a) - 1)) * step
    unmoved = round((first.start - second.start) / step) + len(a) - 1
    without = correlations[unmoved] if 0 <= unmoved < len(count) else np.nan
    return Shift(float(seconds), float(at), float(without))
