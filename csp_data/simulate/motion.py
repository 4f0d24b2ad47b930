"""Rigid-body motion: a position and three angles as curves, and what an ideal IMU on the body feels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from csp_data.recording import FloatArray
from csp_data.simulate.curves import Curve, GaitCurve, SplineCurve, SumCurve, TurnedCurve
from csp_data.simulate.quaternions import conjugate, euler, euler_rate, multiply, rotate

__all__ = ["GRAVITY", "Inertial", "RigidMotion", "Walk", "spline_knots", "wander"]

GRAVITY = 9.81
"""Acceleration of gravity in m/s^2; it points along -z of the world."""


@dataclass(frozen=True)
class Inertial:
    """What an ideal IMU measures.

    Parameters
    ----------
    force : array, shape (3, T)
        Specific force (acceleration minus gravity) in the sensor frame, in m/s^2: at rest it points up.
    rate : array, shape (3, T)
        Angular velocity in the sensor frame, in rad/s.
    orientation : array, shape (4, T)
        Unit quaternions w x y z from the sensor frame to the world.
    """

    force: FloatArray
    rate: FloatArray
    orientation: FloatArray


@dataclass(frozen=True)
class RigidMotion:
    """The motion of a rigid body in a world whose z axis points up.

    Parameters
    ----------
    position
        Curve with three components, in metres.
    angles
        Curve of yaw, pitch and roll, in radians.
    """

    position: Curve
    angles: Curve

    def orientation(self, time: FloatArray) -> FloatArray:
        """Return unit quaternions w x y z (4, T) from the body to the world."""
        return euler(self.angles(time))

    def inertial(self, time: FloatArray, mount: FloatArray) -> Inertial:
        """Return what an ideal IMU at the body's origin measures.

        Parameters
        ----------
        time : array, shape (T,)
            Seconds.
        mount : array, shape (4, 1)
            Quaternion from the sensor to the body frame.
        """
        angles = self.angles(time)
        rate = euler_rate(angles, self.angles(time, 1))
        orientation = multiply(euler(angles), mount)
        force = self.position(time, 2)
        force[2] += GRAVITY
        return Inertial(
            force=rotate(conjugate(orientation), force),
            rate=rotate(conjugate(mount), rate),
            orientation=orientation,
        )


def wander(
    rng: np.random.Generator, seconds: float, every: float, size: FloatArray, memory: float = 0.0
) -> SplineCurve:
    """Return a smooth random curve: a spline through Gaussian points `every` so many seconds.

    Parameters
    ----------
    size : array, shape (D,)
        Standard deviation of the points.
    memory
        Correlation of neighbouring points, 0 to below 1.
    """
    knots = spline_knots(seconds, every)
    points = rng.standard_normal((len(knots), len(size)))
    fresh = np.sqrt(1 - memory**2)
    points[1:] = lfilter([fresh], [1, -memory], points[1:], axis=0, zi=memory * points[:1])[0]
    return SplineCurve.through(float(knots[0]), every, points * size)


def spline_knots(seconds: float, every: float) -> FloatArray:
    """Return spline knots that reach past both ends, where a spline through random points swings widest."""
    count = max(4, int(np.ceil(seconds / every)))
    knots: FloatArray = np.arange(-2.0, count + 3.0) * every
    return knots


@dataclass(frozen=True)
class Walk:
    """A person's way through a building: path, heading, and steps that keep pace with the speed.

    Parameters
    ----------
    path
        Curve with three components, metres; the third is 0.
    heading
        Curve with one component, radians: the direction of travel at the knots.
    phase
        Phase of the strides in radians: two steps every 2 pi.
    effort
        Factor on everything that swings with the steps: 0 at rest, 1 at 1.4 m/s.
    """

    path: SplineCurve
    heading: SplineCurve
    phase: SplineCurve
    effort: SplineCurve

    @classmethod
    def random(cls, rng: np.random.Generator, seconds: float, *, speed: float = 1.3, still: float = 0.0) -> Walk:
        """Draw a walk.

        Parameters
        ----------
        seconds
            Its length.
        speed
            Mean speed in m/s while moving.
        still
            Seconds at rest at the beginning.
        """
        step = 1.0
        knots = spline_knots(seconds, step)
        # now and then the person stands still for some seconds
        resting = np.convolve(rng.random(len(knots)) < 0.012, np.ones(6))[: len(knots)] > 0
        pace = np.clip(rng.normal(speed, 0.2 * speed, len(knots)), 0.3 * speed, 1.6 * speed)
        pace = np.where(~resting & (knots >= still), pace, 0.0)
        pace = np.convolve(pace, [0.25, 0.5, 0.25], mode="same")  # nobody starts or stops within one knot
        turns = rng.normal(0.0, 0.15, len(knots)) + (rng.random(len(knots)) < 0.06) * rng.choice(
            [-1.3, 1.3], len(knots)
        )
        # the heading turns only while the person moves on
        heading = rng.uniform(-np.pi, np.pi) + np.cumsum(turns * np.minimum(pace / speed, 1.0))
        flow = pace[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=1)
        places = np.concatenate([np.zeros((1, 2)), np.cumsum((flow[:-1] + flow[1:]) * step / 2, axis=0)])
        places -= places[2]  # knot 2 is time 0
        cadence = np.where(pace > 0.1, 0.9 + 0.7 * np.minimum(pace, 2.5), 0.3)  # steps a second
        phase = np.pi * np.concatenate([[0.0], np.cumsum((cadence[:-1] + cadence[1:]) * step / 2)])
        return cls(
            path=SplineCurve.through(float(knots[0]), step, np.column_stack([places, np.zeros(len(knots))])),
            heading=SplineCurve.through(float(knots[0]), step, heading[:, None]),
            phase=SplineCurve.through(float(knots[0]), step, phase[:, None]),
            effort=SplineCurve.through(float(knots[0]), step, (pace / 1.4)[:, None]),
        )

    def swinging(self, weights: FloatArray, shifts: FloatArray) -> GaitCurve:
        """Return a curve that swings with the steps; see :class:`GaitCurve`."""
        return GaitCurve(self.phase, self.effort, weights, shifts)

    def carried(
        self, rng: np.random.Generator, seconds: float, swing: float, tilt: float, offset: float
    ) -> RigidMotion:
        """Return the motion of something that the person carries.

        Parameters
        ----------
        swing
            Standard deviation of the angles that swing with the steps, in radians.
        tilt
            Standard deviation of slow changes of pitch and roll, in radians.
        offset
            Yaw against the heading, in radians.
        """
        # At every step (harmonic 2) the body rises and speeds up in a fixed order, which tells ahead from behind;
        # in two steps it sways once to each side. Metres: ahead, left, up.
        weights = rng.normal(1.0, 0.1, (1, 3)) * [[0.0, 0.025, 0.0], [0.012, 0.0, 0.03], [0.0, 0.006, 0.0]]
        shifts = rng.normal(0.0, 0.15, (3, 3))
        shifts[1, 0] += 0.6
        bob = TurnedCurve(self.heading, self.swinging(weights, shifts))
        sway = self.swinging(np.array([[0.5, 1.0, 0.7]]) * swing, rng.uniform(0, 2 * np.pi, (1, 3)))
        slow = wander(rng, seconds, 2.0, np.array([0.05, tilt, tilt]), memory=0.9)
        return RigidMotion(
            position=SumCurve((self.path, bob)), angles=SumCurve((_Heading(self.heading, offset), sway, slow))
        )


@dataclass(frozen=True)
class _Heading:
    """Yaw from a heading; no pitch, no roll."""

    heading: Curve
    offset: float

    def __call__(self, time: FloatArray, order: int = 0) -> FloatArray:
        yaw = self.heading(time, order)[0] + (self.offset if order == 0 else 0.0)
        return np.stack([yaw, np.zeros_like(yaw), np.zeros_like(yaw)])
