"""Check whether a stream's numbers are plausible in its unit, for the units that are most often mistaken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from csp_data.recording import FloatArray, Stream

__all__ = [
    "RATE_FACTOR",
    "RATE_TOLERANCE",
    "RULES",
    "TURNS",
    "describe_rate",
    "doubtful",
    "implausible",
    "median_step",
    "sentinels",
]

RATE_TOLERANCE = 30.0
"""A stream's median rate may differ from the card's by this factor: wider than any clock's jitter, a board's two
speeds or vector's two kinds of reference (cameras at 120 Hz, laser scans at 10 Hz), narrower than a wrong unit of
time (ms for s, ns for s)."""
RATE_FACTOR = 3.0
"""Beyond this factor a person should look at an input's rate."""
TIME_UNITS = {1e3: "milliseconds", 1e6: "microseconds", 1e9: "nanoseconds"}


def median_step(time: FloatArray) -> float:
    """Return the median step of a clock, of a thousand or two steps spread over it; 0 where it never goes on.

    Where most times are repeated or go backward, those are left out that will not be used.
    """
    middle = _median(np.diff(time))
    return middle if middle > 0 else _median(np.diff(np.unique(np.maximum.accumulate(time))))


def _median(steps: FloatArray) -> float:
    steps = steps[:: max(1, len(steps) // 1000)]
    return float(np.partition(steps, len(steps) // 2)[len(steps) // 2]) if len(steps) else 0.0


def describe_rate(step: float, rate_hz: float) -> str:
    """Say what rate a clock has, and which unit of time it looks like where the card has another rate."""
    unit = next((name for size, name in TIME_UNITS.items() if size / 5 < step * rate_hz < size * 5), "")
    return f"{1 / step:.3g} Hz, samples {step:.6g} apart{f', which looks like {unit}' if unit else ''}"


STANDARD_GRAVITY = 9.80665
EARTHS_FIELD_UT = (22.0, 67.0)
"""Least and greatest strength of the Earth's field at its surface (International Geomagnetic Reference Field)."""
FIELD_UNITS = {"T": 1e6, "mT": 1e3, "uT": 1.0, "nT": 1e-3}
"""In uT."""


def implausible(stream: Stream) -> Iterator[str]:
    """Yield what contradicts the unit of a stream; nothing where all is well or no rule is known."""
    values = stream.values[np.isfinite(stream.values).all(axis=1)]
    if stream.kind == "rotation":
        if values.shape[1] % 4:
            yield f"expected quaternions, four columns each, found {values.shape[1]} columns"
            return
        norms = np.linalg.norm(values.reshape(-1, 4), axis=1)
        if len(norms) and not (np.abs(norms - 1) < 0.05).all():
            yield f"expected quaternions of norm 1, found {norms.min():.3g} to {norms.max():.3g}"
    elif stream.unit in RULES and len(values) > 1:
        yield from RULES[stream.unit](stream)


def _norms(stream: Stream) -> FloatArray:
    """Return lengths of the vectors, three columns each; of single columns where they are not three by three."""
    values = stream.values[np.isfinite(stream.values).all(axis=1)]
    if values.shape[1] % 3:
        return np.abs(values)
    return np.asarray(np.linalg.norm(values.reshape(len(values), values.shape[1] // 3, 3), axis=2))


def _acceleration(stream: Stream) -> Iterator[str]:
    low, middle, high = np.quantile(_norms(stream), [0.25, 0.5, 0.75])
    if 0.9 < middle < 1.1 and low > 0.75 and high < 1.35:
        yield f"the median norm is {middle:.2f} m/s^2: that looks like g (1 g = {STANDARD_GRAVITY} m/s^2)"
    elif middle > 200:
        yield f"the median norm is {middle:.0f} m/s^2: that looks like mg or counts"


def _rotation_rate(stream: Stream) -> Iterator[str]:
    fast = float(np.quantile(_norms(stream), 0.99))
    if fast > 60:
        yield f"1 % of the norms are above {fast:.0f} rad/s: that looks like deg/s"


def _field(stream: Stream) -> Iterator[str]:
    middle = float(np.median(_norms(stream)))
    if middle < 2:
        yield f"the median norm is {middle:.3g} uT, the Earth's field has 22 to 67: that looks like gauss or mT"
    elif middle > 2e5:
        yield f"the median norm is {middle:.3g} uT: that looks like nT"


def _position(stream: Stream) -> Iterator[str]:
    fast = _high_speed(stream)
    if fast > 150:
        yield f"1 % of the speeds are above {fast:.0f} m/s: that looks like mm or cm"


TURNS = {"deg": 360.0, "degree": 360.0, "degrees": 360.0, "°": 360.0, "rad": 2 * np.pi}
"""A whole turn, by unit."""


def doubtful(stream: Stream) -> Iterator[str]:
    """Yield what may be right and seldom is.

    Positions that move faster than people, as a finger's in mm do; angles that turn faster than limbs, as those in
    degrees do where they are said to be in rad; angles that jump by a whole turn, between which no line leads;
    magnetic fields that in another unit would be the Earth's, and accelerations in g that would be gravity.
    """
    if stream.kind == "rotation":
        return
    if stream.unit == "m" and 13 < (fast := _high_speed(stream)) <= 150:
        yield f"1 % of the speeds are above {fast:.0f} m/s, faster than people run; are these mm or cm?"
    if stream.unit == "rad" and (fast := _high_speed(stream)) > 60:
        yield f"1 % of the speeds are above {fast:.0f} rad/s, ten turns a second; are these degrees?"
    if stream.unit in FIELD_UNITS or stream.unit == "g":
        yield from _like_at_rest(stream)
    if stream.unit in TURNS:
        yield from _whole_turns(stream, TURNS[stream.unit])


def _like_at_rest(stream: Stream) -> Iterator[str]:
    """Yield the unit in which a sensor at rest shows such values, where it is another: magnets can do so too."""
    norms = _norms(stream)
    middle = float(np.median(norms)) if norms.size else 0.0
    low, high = EARTHS_FIELD_UT
    alike = [unit for unit, size in FIELD_UNITS.items() if low < middle * size < high]
    if stream.unit in FIELD_UNITS and alike and stream.unit not in alike:
        yield f"the median norm is {middle:.3g} {stream.unit}; as {alike[0]} it would be the Earth's field: is it?"
    elif stream.unit == "g" and 0.9 < middle / STANDARD_GRAVITY < 1.1:
        yield f"the median norm is {middle:.3g} g, as gravity is in m/s^2; are these m/s^2?"


def _whole_turns(stream: Stream, turn: float) -> Iterator[str]:
    how = "np.unwrap(..., axis=0)" if stream.unit == "rad" else "np.unwrap(..., axis=0, period=360)"
    for column, name in enumerate(stream.channels):
        values = stream.values[:, column]
        steps = np.abs(np.diff(values[np.isfinite(values)]))
        jumps = np.abs(steps - turn) < 0.1 * turn
        if jumps.any() and np.median(steps) < 0.02 * turn:
            often = f"{np.count_nonzero(jumps)} times"
            yield f"{name} jumps by a whole turn ({often}), and is interpolated across: in read, {how} mends it"


def _high_speed(stream: Stream) -> float:
    rows = np.isfinite(stream.values).all(axis=1)
    time, values = stream.time[rows], stream.values[rows]
    steps = np.diff(time)
    speed = np.abs(np.diff(values, axis=0))[steps > 0] / steps[steps > 0, None]
    return float(np.quantile(speed, 0.99)) if speed.size else 0.0


RULES: Mapping[str, Callable[[Stream], Iterator[str]]] = {
    "m/s^2": _acceleration,
    "rad/s": _rotation_rate,
    "uT": _field,
    "m": _position,
}
"""By unit; streams in other units are not judged."""


def sentinels(stream: Stream) -> Iterator[str]:
    """Yield channels in which one value stands so often and so far from its neighbours that it may mean "none".

    It needs to do so only once if it is far from all other values (-9999), or if it is 0 in all three channels of
    a vector: cameras that lose a marker.
    """
    lost = dict(_lost_vectors(stream))
    yield from lost.values()
    for column, name in enumerate(stream.channels):
        if column - column % 3 in lost:
            continue
        values = stream.values[:, column]
        values = values[np.isfinite(values)]
        distinct, counts = np.unique(values, return_counts=True)
        if len(distinct) < 3:
            continue
        far = list(_far_from_others(distinct, counts))
        yield from (
            f"{name} is {value:g} in {n} of {len(values)} rows, far from all other values" for value, n in far
        )
        if far:
            continue
        common, count = distinct[np.argmax(counts)], int(counts.max())
        others = values[values != common]
        usual_change = float(np.median(np.abs(np.diff(others)))) if len(others) > 1 else 0.0
        entries = np.flatnonzero((values[1:] == common) & (values[:-1] != common))
        if count < 0.05 * len(values) or len(entries) < 3 or usual_change == 0.0:
            continue
        if float(np.median(np.abs(values[entries] - common))) > 20 * usual_change:
            yield f"{name} is {common:g} in {count / len(values):.0%} of the rows, with jumps to it and back"


def _far_from_others(distinct: FloatArray, counts: npt.NDArray[np.int64]) -> Iterator[tuple[float, int]]:
    """Yield lowest and highest value with their counts, each where it is repeated and all others are far."""
    for values, number in ((distinct, counts), (distinct[::-1], counts[::-1])):
        if number[0] > 1 and abs(values[0] - values[1]) > 10 * abs(values[1] - values[-1]):
            yield float(values[0]), int(number[0])


def _lost_vectors(stream: Stream) -> Iterator[tuple[int, str]]:
    """Yield first column and words of vectors that are far from 0 in the rows beside those in which they are 0."""
    if len(stream.channels) % 3:
        return
    for first in range(0, len(stream.channels), 3):
        values = stream.values[:, first : first + 3]
        values = values[np.isfinite(values).all(axis=1)]
        lost = (values == 0).all(axis=1)
        kept = values[~lost]
        edges = np.flatnonzero(lost[1:] != lost[:-1])
        if not len(edges) or len(kept) < 2:
            continue
        usual_change = float(np.median(np.linalg.norm(np.diff(kept, axis=0), axis=1)))
        jumps = np.linalg.norm(values[edges + 1] - values[edges], axis=1)
        if usual_change > 0 and float(np.median(jumps)) > 20 * usual_change:
            names = ", ".join(stream.channels[first : first + 3])
            yield first, f"{names} are all 0 in {lost.sum()} of {len(lost)} rows, with jumps to it and back"
