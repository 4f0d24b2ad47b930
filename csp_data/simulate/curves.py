"""Curves of time with exact derivatives: what every simulated motion is made of."""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial
from typing import Protocol

import numpy as np
from scipy.interpolate import make_interp_spline

from csp_data.recording import FloatArray

__all__ = ["Curve", "GaitCurve", "Segments", "SplineCurve", "SumCurve", "TurnedCurve", "in_turn"]


class Curve(Protocol):
    """A vector-valued function of time that knows its own derivatives."""

    def __call__(self, time: FloatArray, order: int = 0) -> FloatArray:
        """Return the derivative of an order (0, 1 or 2) at times (T,) in seconds: an array (D, T)."""
        ...


@dataclass(frozen=True)
class SplineCurve:
    """A quintic spline on evenly spaced knots: four times continuously differentiable.

    Parameters
    ----------
    first, every
        First knot and distance of the knots, in seconds.
    tables
        For the spline and its first two derivatives: coefficients (P, D, K) of the powers 0 .. P - 1 of the
        fraction of the way from one knot to the next, for each of K intervals. The outer intervals go on outside.
    """

    first: float
    every: float
    tables: tuple[FloatArray, FloatArray, FloatArray]

    @classmethod
    def through(cls, first: float, every: float, values: FloatArray) -> SplineCurve:
        """Make the spline that takes `values` (K, D) at K >= 6 knots, ``first + k * every`` seconds."""
        knots = np.arange(len(values), dtype=np.float64)
        spline = make_interp_spline(knots, values, k=5)
        taylor = np.stack([spline(knots[:-1], nu=j).T / factorial(j) for j in range(6)])
        tables = [taylor]
        for _ in range(2):
            powers = np.arange(1, len(tables[-1]), dtype=np.float64)
            tables.append(tables[-1][1:] * powers[:, None, None] / every)
        return cls(first, every, (tables[0], tables[1], tables[2]))

    def __call__(self, time: FloatArray, order: int = 0) -> FloatArray:
        """Return the derivative of an order (0, 1 or 2) at times (T,): an array (D, T)."""
        table = self.tables[order]
        way = (time - self.first) / self.every
        row = np.clip(way.astype(np.int64), 0, table.shape[2] - 1)
        way = way - row
        out: FloatArray = table[-1].take(row, axis=1)
        for coefficients in table[-2::-1]:  # Horner
            out *= way
            out += coefficients.take(row, axis=1)
        return out


@dataclass(frozen=True)
class GaitCurve:
    """A periodic motion whose phase and amplitude are curves themselves: A(t) * sum_m w_m sin(m phi(t) + s_m).

    Steps that quicken, slow down and stop stay differentiable this way.

    Parameters
    ----------
    phase, amplitude
        Curves with one component: radians, and a factor.
    weights, shifts : array, shape (M, D)
        Of the harmonics m = 1 .. M; shifts in radians.
    """

    phase: Curve
    amplitude: Curve
    weights: FloatArray
    shifts: FloatArray

    def __call__(self, time: FloatArray, order: int = 0) -> FloatArray:
        """Return the derivative of an order at times (T,): an array (D, T), by the product and chain rules."""
        phi = [self.phase(time, k)[0] for k in range(order + 1)]
        size = [self.amplitude(time, k)[0] for k in range(order + 1)]
        out = np.zeros((self.weights.shape[1], len(time)))
        for m, (weights, shifts) in enumerate(zip(self.weights, self.shifts, strict=True), start=1):
            for d in np.flatnonzero(weights):
                angle = m * phi[0] + shifts[d]
                sine = np.sin(angle)
                if order == 0:
                    out[d] += weights[d] * size[0] * sine
                    continue
                cosine = m * np.cos(angle)
                if order == 1:
                    out[d] += weights[d] * (size[1] * sine + size[0] * phi[1] * cosine)
                    continue
                bend = phi[2] * cosine - (m * phi[1]) ** 2 * sine
                out[d] += weights[d] * (size[2] * sine + 2 * size[1] * phi[1] * cosine + size[0] * bend)
        return out


@dataclass(frozen=True)
class SumCurve:
    """The sum of curves with the same number of components."""

    parts: tuple[Curve, ...]

    def __call__(self, time: FloatArray, order: int = 0) -> FloatArray:
        """Return the derivative of an order at times (T,): an array (D, T)."""
        out: FloatArray = np.sum([part(time, order) for part in self.parts], axis=0)
        return out


@dataclass(frozen=True)
class TurnedCurve:
    """A local motion (ahead, to the left, up) turned about the vertical by a heading that changes.

    With the horizontal part as a complex number u = ahead + i left, p = e^(i h) u, so that
    p' = e^(i h) (u' + i h' u) and p'' = e^(i h) (u'' + 2 i h' u' + (i h'' - h'^2) u).

    Parameters
    ----------
    heading
        Curve with one component, in radians.
    local
        Curve with three components.
    """

    heading: Curve
    local: Curve

    def __call__(self, time: FloatArray, order: int = 0) -> FloatArray:
        """Return the derivative of an order at times (T,): an array (3, T)."""
        turn = [self.heading(time, k)[0] for k in range(order + 1)]
        local = [self.local(time, k) for k in range(order + 1)]
        plane = [ahead + 1j * left for ahead, left, _ in local]
        if order == 0:
            moved = plane[0]
        elif order == 1:
            moved = plane[1] + 1j * turn[1] * plane[0]
        else:
            moved = plane[2] + 2j * turn[1] * plane[1] + (1j * turn[2] - turn[1] ** 2) * plane[0]
        moved = np.exp(1j * turn[0]) * moved
        return np.stack([moved.real, moved.imag, local[order][2]])


@dataclass(frozen=True)
class Segments:
    """Moves from point to point with rests between them; each move follows the minimum-jerk time law.

    The time law is s(x) = x^3 (10 - 15 x + 6 x^2) of Flash and Hogan, J. Neurosci. 5(7), 1985; a bump
    16 x^2 (1 - x)^2 bends the path. Velocity and path are continuous; at both ends of a move it is at rest.

    Parameters
    ----------
    starts, durations : array, shape (S,)
        Of the moves, in seconds; a move ends before the next one starts.
    begin, end, bulge : array, shape (S, D)
        Its end points, and the offset from the straight line in its middle.
    """

    starts: FloatArray
    durations: FloatArray
    begin: FloatArray
    end: FloatArray
    bulge: FloatArray

    def __call__(self, time: FloatArray, order: int = 0) -> FloatArray:
        """Return the derivative of an order (0 or 1) at times (T,): an array (D, T)."""
        row = np.maximum(np.searchsorted(self.starts, time, side="right") - 1, 0)
        x = np.clip((time - self.starts[row]) / self.durations[row], 0.0, 1.0)
        way, bulge = (self.end - self.begin)[row].T, self.bulge[row].T
        if order == 0:
            bent = 16 * (x * (1 - x)) ** 2
            return np.ascontiguousarray(self.begin[row].T + way * (x**3 * (10 - x * (15 - 6 * x))) + bulge * bent)
        slope = way * (30 * (x * (1 - x)) ** 2) + bulge * (32 * x * (1 - x) * (1 - 2 * x))
        return np.ascontiguousarray(slope / self.durations[row])


def in_turn(
    weights: FloatArray, pauses: FloatArray, first: float, seconds: float
) -> tuple[FloatArray, FloatArray]:
    """Return starts and durations (S,) of moves, each with its pause, that take `seconds` in all after `first`."""
    unit = seconds / (weights + pauses).sum()
    return first + unit * np.concatenate([[0.0], np.cumsum(weights + pauses)[:-1]]), weights * unit
