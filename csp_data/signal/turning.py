"""Compare inertial sensors with a reference's orientation: clocks, axes, the order of quaternions, gravity."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from csp_data.recording import FloatArray, Stream
from csp_data.signal.align import clean_rows, common_intervals
from csp_data.signal.clocks import CLOCKS_S, MAX_GAP_S, STEPS, best_shift, follow, gapless, windows
from csp_data.signal.plausible import STANDARD_GRAVITY, median_step
from csp_data.signal.resample import interval_mean
from csp_data.signal.rotation import CONJUGATE, multiply, rotate, rotation_vectors, slerp

__all__ = ["ALIKE", "Turning", "compare_turning", "disagreements", "doubts_of_gravity", "force_in_room"]

WIDTH_S = 0.1
"""Both are averaged over so many seconds: the noise of an orientation's differences is large."""
LEAST_RATE = 0.05
"""In rad/s: where the speed varies less, nothing can be compared."""
USUAL = "w x y z from sensor to room"
READINGS: Mapping[str, tuple[list[int], bool]] = {
    USUAL: ([0, 1, 2, 3], False),
    "x y z w from sensor to room": ([3, 0, 1, 2], False),
    "w x y z from room to sensor": ([0, 1, 2, 3], True),
    "x y z w from room to sensor": ([3, 0, 1, 2], True),
}
"""Where w x y z stand if the columns are so, and whether they are the inverse rotations."""


@dataclass(frozen=True)
class Turning:
    """What :func:`compare_turning` finds.

    Parameters
    ----------
    shift_s
        Seconds to add to the gyroscope's times, so that both turn at the same time.
    correlation, unshifted
        Of the two angular speeds, with that shift and without it (NaN where they then share less than half).
    ratio
        How many times as fast the gyroscope turns.
    left
        Share of the gyroscope's variance (for a ratio of 1) that the orientation leaves unexplained, by how its
        quaternions are read: ``"w x y z from sensor to room"``, as csp-data does, or in another way.
    left_turned
        The same if the sensor is mounted in the orientation's body in any fixed way, also a mirrored one.
    axes : array, shape (3, 3), or None
        That mounting, for quaternions as csp-data reads them: an angular rate (3,) along the body's axes, times
        this, is the sensor's. ``None`` where all turning is about one axis, which does not tell.
    """

    shift_s: float
    correlation: float
    unshifted: float
    ratio: float
    left: Mapping[str, float]
    left_turned: Mapping[str, float]
    axes: FloatArray | None


def compare_turning(gyroscope: Stream, orientation: Stream) -> Turning | None:
    """Find by how much a gyroscope's clock is behind an orientation's, and whether both mean the same axes.

    Angular speed is the same in all axes, and for quaternions in any order. So the clocks are compared first, by
    the correlation of the two speeds at every shift that leaves half of the shorter one's in common.

    Parameters
    ----------
    gyroscope
        Angular rate in rad/s, (T, 3).
    orientation
        Quaternions w x y z from the sensor to the room, (T, 4), NaN where it was not seen. Each clock may have an
        origin of its own.

    Returns
    -------
    Turning or None
        ``None`` where one of them has less than 5 s, or hardly turns, or gaps leave too little in common.

    Raises
    ------
    OptionError
        If one of them is no stream, or has another number of channels.

    Examples
    --------
    >>> import csp_data
    >>> streams = csp_data.read_recording("sample", 0).streams
    >>> found = csp_data.compare_turning(streams["gyroscope"], streams["orientation"])
    >>> abs(found.shift_s) < 0.01, found.correlation > 0.99
    (True, True)
    """
    gyroscope, orientation = clean_rows("gyroscope", gyroscope, 3), clean_rows("orientation", orientation, 4)
    if min(len(gyroscope.time), len(orientation.time)) < 2:
        return None
    width = max(WIDTH_S, *(2 * median_step(stream.time) for stream in (gyroscope, orientation)))
    speeds = [
        follow(stream, width, width / STEPS, LEAST_RATE, partial(_speed, rate, stream, width))
        for stream, rate in ((gyroscope, _measured_rate), (orientation, _true_rate))
    ]
    if speeds[0] is None or speeds[1] is None:
        return None
    if (best := best_shift(speeds[0], speeds[1], width / STEPS)) is None:
        return None
    shift, correlation, unshifted = best
    moved = replace(gyroscope, time=gyroscope.time + shift)
    ends, whole = windows(orientation, width, width / STEPS)
    ends = ends[gapless(moved, ends, width) & whole]
    measured = _measured_rate(moved, ends, width)
    true = {name: _true_rate(_read_as(orientation, *way), ends, width) for name, way in READINGS.items()}
    ratio = float(np.std(np.linalg.norm(measured, axis=1)) / np.std(np.linalg.norm(true[USUAL], axis=1)))
    left = {name: _left(one, measured / ratio) for name, one in true.items()}
    mounted = {name: _mounting(one, measured) for name, one in true.items()}
    turned = {name: _left(true[name] @ axes, measured / ratio) for name, (axes, _) in mounted.items()}
    axes, told = mounted[USUAL]
    return Turning(shift, correlation, unshifted, ratio, left, turned, axes if told else None)


def _speed(
    rate: Callable[[Stream, FloatArray, float], FloatArray], stream: Stream, width: float, ends: FloatArray
) -> FloatArray:
    return np.asarray(np.linalg.norm(rate(stream, ends, width), axis=1))


def _measured_rate(gyroscope: Stream, ends: FloatArray, width: float) -> FloatArray:
    return interval_mean(gyroscope.time, gyroscope.values, ends, width)


def _true_rate(orientation: Stream, ends: FloatArray, width: float) -> FloatArray:
    """Return the angular rate (N, 3) in the axes of the body that turns it as far in each window."""
    before, after = (slerp(orientation.time, orientation.values, at) for at in (ends - width, ends))
    return rotation_vectors(multiply(before * CONJUGATE, after)) / width


def _read_as(orientation: Stream, order: list[int], inverse: bool) -> Stream:
    values = orientation.values[:, order]
    return replace(orientation, values=values * CONJUGATE if inverse else values)


def _left(true: FloatArray, measured: FloatArray) -> float:
    """Return the share of the variance that is left; a gyroscope's bias is none of it."""
    left, total = measured - true, measured - measured.mean(axis=0)
    return float(((left - left.mean(axis=0)) ** 2).sum() / (total**2).sum())


def _mounting(true: FloatArray, measured: FloatArray) -> tuple[FloatArray, bool]:
    """Return the orthogonal matrix (3, 3) that turns one best into the other, and whether the motion tells it.

    Procrustes' problem (Schoenemann, Psychometrika 31, 1966). Turning about two axes tells the third, but not
    whether that is mirrored: then it is not.
    """
    u, size, vt = np.linalg.svd((true - true.mean(axis=0)).T @ (measured - measured.mean(axis=0)))
    if size[2] < SEEN * size[0] and np.linalg.det(u @ vt) < 0:
        u[:, 2] *= -1
    return np.asarray(u @ vt), bool(size[1] > SEEN * size[0])


ALIKE = 0.8
"""Correlation of the speeds from which on the two are those of one body."""
UNLIKE = 0.5
"""Correlation at the best shift below which they hardly are."""
ALONG = 0.95
"""Cosine from which on an axis is said to lie along another (18 degrees)."""
SEEN = 0.05
"""Share of the turning about the main axis from which on turning about another is more than noise."""
CLOSE = 0.05
"""Share of the variance that two axes 15 degrees apart leave."""
LEFT = 0.2
"""Share of the variance that may be left: by noise, and by what is soft between the two."""


def disagreements(found: Turning) -> Iterator[tuple[str, bool]]:
    """Yield what should not be between a gyroscope and an orientation of one body, and whether it is an error."""
    if found.correlation < ALIKE:
        if found.correlation < UNLIKE:
            yield (
                "gyroscope and orientation do not turn alike (the correlation of their speeds is at most "
                f"{found.correlation:.2f}, at any shift); are they of one recording, and of one body?",
                False,
            )
        return
    apart, unmoved = abs(found.shift_s), found.unshifted
    if apart > CLOCKS_S[0] and not 1 - unmoved < 2 * (1 - found.correlation):
        yield (
            f"the gyroscope turns {apart:.3f} s {'before' if found.shift_s > 0 else 'after'} the orientation; add "
            f"{found.shift_s:+.3f} s to the sensors' times in read (correlation of the speeds "
            f"{found.correlation:.2f}{'' if np.isnan(unmoved) else f', now {unmoved:.2f}'})",
            apart > CLOCKS_S[1],
        )
    if not 0.8 < found.ratio < 1.25:
        yield f"the gyroscope turns {found.ratio:.3g} times as fast as the orientation; is its unit right?", True
    left, turned = found.left[USUAL], found.left_turned[USUAL]
    if left < CLOSE or (left < LEFT and turned > left / 4):
        return
    best = min(found.left, key=lambda name: found.left[name])
    if best != USUAL and found.left[best] < LEFT:
        yield f"the gyroscope agrees with the orientation if that is {best}; expected {USUAL}", True
    elif turned < LEFT and found.axes is None:
        yield "the gyroscope turns about another axis than the orientation", False
    elif turned < LEFT and found.axes is not None:
        mirrored = bool(np.linalg.det(found.axes) < 0)
        yield f"the gyroscope's axes are not the orientation's: {_in_words(found.axes, mirrored)}", mirrored
    elif min(found.left_turned.values()) < LEFT:
        yield (
            "the gyroscope agrees with the orientation only if that is x y z w, or from room to sensor; "
            f"expected {USUAL}",
            True,
        )


def _in_words(axes: FloatArray, mirrored: bool) -> str:
    """Name the body's axes along which the sensor's lie, or the angle between them."""
    names = []
    for column in axes.T:
        largest = int(np.argmax(np.abs(column)))
        names.append(f"{'-' if column[largest] < 0 else ''}{'xyz'[largest]}")
    if np.abs(axes).max(axis=0).min() > ALONG:
        words = f"its x, y, z are {', '.join(names)}"
    else:
        cosine = (np.trace(axes) * (-1 if mirrored else 1) - 1) / 2
        words = f"they are turned by {np.degrees(np.arccos(np.clip(cosine, -1, 1))):.0f} degrees"
    return f"{words}{', which no mounting does: one of the two is mirrored' if mirrored else ''}"


def force_in_room(accelerometer: Stream, orientation: Stream) -> FloatArray | None:
    """Return the mean of an accelerometer along the axes of the room, or None where the two share no time.

    Whatever the sensor did, that is about 9.8 m/s^2 upwards: motion that does not lead far away averages out.

    Parameters
    ----------
    accelerometer
        Specific force in m/s^2, (T, 3).
    orientation
        Quaternions w x y z from the sensor to the room, (T, 4), by the same clock.

    Returns
    -------
    array, shape (3,), or None
        In m/s^2.
    """
    accelerometer = clean_rows("accelerometer", accelerometer, 3)
    orientation = clean_rows("orientation", orientation, 4)
    inside = np.zeros(len(accelerometer.time), dtype=bool)
    for start, stop in common_intervals([accelerometer, orientation], MAX_GAP_S):
        inside |= (accelerometer.time >= start) & (accelerometer.time <= stop)
    if not inside.any():
        return None
    turned = slerp(orientation.time, orientation.values, accelerometer.time[inside])
    return np.asarray(rotate(turned, accelerometer.values[inside]).mean(axis=0))


def doubts_of_gravity(force: FloatArray) -> Iterator[str]:
    """Yield what should not be of a mean force (3,) in m/s^2 in a room with z upwards, gravity included."""
    if (size := float(np.linalg.norm(force))) < 0.8 * STANDARD_GRAVITY:
        yield (
            f"the accelerometer's mean in the room is {size:.1f} m/s^2, not {STANDARD_GRAVITY:.1f}; was gravity "
            "taken off, or are its axes not the gyroscope's?"
        )
    elif force[2] < -0.9 * size:
        yield "the accelerometer reads gravity downwards; at rest a specific force points upwards: change its sign"
