"""Compare an accelerometer with a reference's position: their clocks, and whether gravity is measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from csp_data.recording import FloatArray, Stream
from csp_data.signal.align import clean_rows
from csp_data.signal.clocks import CLOCKS_S, STEPS, Course, best_shift, follow
from csp_data.signal.plausible import STANDARD_GRAVITY, median_step
from csp_data.signal.resample import linear

__all__ = ["Moving", "compare_moving", "differences", "move_alike"]

WIDTHS_S = (0.05, 0.1, 0.2, 0.5)
"""Second differences of a position are taken over so many seconds: few for a fast motion, many for a noisy one."""
LEAST_ACCELERATION = 0.05
"""In m/s^2: where the force varies less, nothing can be compared."""
WITHOUT_GRAVITY = "nowhere"
AXES = {"x": np.eye(3)[0], "y": np.eye(3)[1], "z": np.eye(3)[2]}
UPWARDS = {**AXES, **{f"-{name}": -axis for name, axis in AXES.items()}, WITHOUT_GRAVITY: np.zeros(3)}


@dataclass(frozen=True)
class Moving:
    """What :func:`compare_moving` finds.

    Parameters
    ----------
    shift_s
        Seconds to add to the accelerometer's times, so that both are accelerated at the same time.
    correlation, unshifted
        Of the two sizes of the specific force, with that shift and without it (NaN where they then share less than
        half).
    ratio
        How many times as much the accelerometer's changes.
    spread_s
        By how much the shifts of two halves of what they have in common differ: large where that is too little, or
        too periodic, to tell.
    up
        Axis of the position that points up: ``"z"``, ``"-y"``, ...; ``"nowhere"`` where the accelerometer's
        numbers are without gravity.
    """

    shift_s: float
    correlation: float
    unshifted: float
    ratio: float
    spread_s: float
    up: str


def compare_moving(accelerometer: Stream, position: Stream) -> Moving | None:
    """Find by how much an accelerometer's clock is behind a position's.

    An accelerometer measures the specific force, which is the acceleration less that of gravity, along axes that
    turn with it. Its size is the same along any axes, so no orientation is needed: it is compared with that which
    the position's second differences make with gravity along each axis of the room, at every shift that leaves
    half of the shorter one in common.

    Parameters
    ----------
    accelerometer
        In m/s^2, (T, 3).
    position
        In m, (T, 3), of a point close to the sensor on the same rigid body; NaN where it was not seen. Each clock
        may have an origin of its own.

    Returns
    -------
    Moving or None
        ``None`` where one of them has less than 5 s, or is hardly accelerated, or gaps leave too little in common.

    Raises
    ------
    OptionError
        If one of them is no stream, or has another number of channels.

    Examples
    --------
    >>> import csp_data
    >>> streams = csp_data.read_recording("sample", 5).streams
    >>> found = csp_data.compare_moving(streams["accelerometer"], streams["position"])
    >>> abs(found.shift_s) < 0.01, found.correlation > 0.99, found.up
    (True, True, 'z')
    """
    accelerometer = clean_rows("accelerometer", accelerometer, 3)
    position = clean_rows("position", position, 3)
    if min(len(accelerometer.time), len(position.time)) < 3:
        return None
    least = max(2 * median_step(stream.time) for stream in (accelerometer, position))
    widths = dict.fromkeys(max(least, width) for width in WIDTHS_S)
    tried = (_compare_over(width, accelerometer, position) for width in widths)
    return max(filter(None, tried), key=lambda found: (move_alike(found), found.correlation), default=None)


def _compare_over(width: float, accelerometer: Stream, position: Stream) -> Moving | None:
    force = _follow_force(accelerometer, width)
    if force is None:
        return None
    found: dict[str, Moving] = {}
    for up, axis in UPWARDS.items():
        expected = partial(_expected_force, position, axis * STANDARD_GRAVITY, width)
        true = follow(position, 2 * width, width / STEPS, LEAST_ACCELERATION, expected)
        if true is None or (best := best_shift(force, true, width / STEPS)) is None:
            continue
        ratio = float(force.values[force.whole].std() / true.values[true.whole].std())
        halves = [
            best_shift(half, true, width / STEPS)
            for part in _halves(accelerometer, position, best.seconds)
            if (half := _follow_force(part, width)) is not None
        ]
        shifts = [half.seconds for half in halves if half is not None]
        found[up] = Moving(*best, ratio, abs(shifts[0] - shifts[1]) if len(shifts) == 2 else np.inf, up)
    return _most_alike(found)


def _halves(accelerometer: Stream, position: Stream, shift: float) -> Iterator[Stream]:
    """Yield the two halves of what the accelerometer shares with the position at a shift."""
    time = accelerometer.time + shift
    start, stop = max(time[0], position.time[0]), min(time[-1], position.time[-1])
    edges = np.searchsorted(time, [start, (start + stop) / 2, stop])
    yield from (accelerometer.select(slice(*edges[k : k + 2])) for k in (0, 1))


def _follow_force(accelerometer: Stream, width: float) -> Course | None:
    if len(accelerometer.time) < 3:
        return None
    path = _path_of(accelerometer)
    measure = partial(_force, accelerometer, path, width)
    return follow(accelerometer, 2 * width, width / STEPS, LEAST_ACCELERATION, measure)


def _most_alike(found: dict[str, Moving]) -> Moving | None:
    """Return the best of what was found by which way is up; that there is no gravity must be plain."""
    without = found.pop(WITHOUT_GRAVITY, None)
    upwards = max(found.values(), key=lambda one: one.correlation, default=None)
    if upwards is None or without is None:
        return upwards or without
    return without if 1 - without.correlation < (1 - upwards.correlation) / 2 else upwards


def _path_of(accelerometer: Stream) -> FloatArray:
    """Return the force's size (T,), integrated twice: its second differences are taken as a position's are."""
    size, steps = np.linalg.norm(accelerometer.values, axis=1), np.diff(accelerometer.time)
    once = np.concatenate([[0.0], np.cumsum(steps * (size[1:] + size[:-1]) / 2)])
    # for a force that is linear between samples
    return np.concatenate([[0.0], np.cumsum(steps * once[:-1] + steps**2 * (2 * size[:-1] + size[1:]) / 6)])


def _force(accelerometer: Stream, path: FloatArray, width: float, ends: FloatArray) -> FloatArray:
    return _second_differences(accelerometer.time, path[:, None], ends, width)[:, 0]


def _expected_force(position: Stream, gravity: FloatArray, width: float, ends: FloatArray) -> FloatArray:
    accelerations = _second_differences(position.time, position.values, ends, width)
    return np.asarray(np.linalg.norm(accelerations + gravity, axis=1))


def _second_differences(time: FloatArray, values: FloatArray, ends: FloatArray, width: float) -> FloatArray:
    """Return the second derivative, averaged over twice the width before each end with weights like a tent."""
    before, middle, after = (linear(time, values, ends - back * width) for back in (2, 1, 0))
    return np.asarray((before - 2 * middle + after) / width**2)


MOVES_ALIKE = 0.8
"""Correlation from which on the two are those of one body."""
RIGID = 0.95
"""Correlation from which on they hardly are those of two parts of it that move one after the other."""
SURE_S = (0.02, 0.1)
"""Spread up to which a shift is sure: of a large one a quarter of it, within these bounds."""


def differences(found: Moving, *, gravity: bool = False) -> Iterator[tuple[str, bool]]:
    """Yield what should not be between an accelerometer and a position of one body, and whether it is an error.

    Parameters
    ----------
    found
        By :func:`compare_moving`.
    gravity
        Whether the accelerometer is said to measure the specific force.
    """
    apart, unmoved = abs(found.shift_s), found.unshifted
    if not move_alike(found):  # too little motion, turning about another point, another part of a body: who knows
        return
    if apart > CLOCKS_S[0] and not 1 - unmoved < 2 * (1 - found.correlation):
        yield (
            f"the accelerometer moves {apart:.3f} s {'before' if found.shift_s > 0 else 'after'} the position; if "
            f"they are of one rigid body, add {found.shift_s:+.3f} s to the sensors' times in read (correlation "
            f"of the accelerations {found.correlation:.2f}{'' if np.isnan(unmoved) else f', now {unmoved:.2f}'})",
            apart > CLOCKS_S[1] and found.correlation > RIGID,
        )
    if not 0.5 < found.ratio < 2:
        yield (
            f"the accelerometer is accelerated {found.ratio:.3g} times as much as the position; is a unit wrong?",
            False,
        )
    if gravity and found.up == WITHOUT_GRAVITY:
        yield "the accelerometer agrees with the position without gravity; was it taken off?", False


def move_alike(found: Moving) -> bool:
    """Tell whether an accelerometer and a position are those of one body, at a shift that is sure."""
    return found.correlation >= MOVES_ALIKE and found.spread_s < np.clip(abs(found.shift_s) / 4, *SURE_S)
