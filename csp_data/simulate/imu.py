"""Inertial sensors: what they add to the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from csp_data.recording import FloatArray
from csp_data.simulate.motion import Inertial
from csp_data.simulate.quaternions import multiply, small

__all__ = ["ImuModel", "Measured", "drift", "drifting"]


@dataclass(frozen=True)
class ImuModel:
    """How far a kind of IMU is from ideal; the standard deviations one unit is drawn from.

    Parameters
    ----------
    force_noise, rate_noise
        White noise of a sample, in m/s^2 and rad/s.
    force_bias, rate_bias
        Constant bias of a unit, in m/s^2 and rad/s.
    rate_walk
        Random walk of the gyroscope's bias, in rad/s per square root of a second.
    scale
        Error of the accelerometer's scale factors, as a fraction.
    """

    force_noise: float
    rate_noise: float
    force_bias: float
    rate_bias: float
    rate_walk: float
    scale: float

    def measure(self, truth: Inertial, time: FloatArray, rng: np.random.Generator) -> Measured:
        """Draw a unit and measure with it, at times (T,) in seconds."""
        force_bias = rng.normal(0.0, self.force_bias, 3)
        rate_bias = rng.normal(0.0, self.rate_bias, 3)
        scale = 1 + rng.normal(0.0, self.scale, 3)
        walk = drift(rng, time, self.rate_walk, 3)
        force = truth.force / scale[:, None] + force_bias[:, None]
        force += self.force_noise * rng.standard_normal(force.shape)
        rate = truth.rate + rate_bias[:, None] + walk
        rate += self.rate_noise * rng.standard_normal(rate.shape)
        return Measured(force, rate, force_bias, rate_bias, scale, walk)


@dataclass(frozen=True)
class Measured:
    """What one unit measured, and its true errors.

    Up to noise, the ideal force is ``scale * (force - force_bias)``, the ideal rate ``rate - rate_bias - walk``.

    Parameters
    ----------
    force, rate, walk : array, shape (3, T)
    force_bias, rate_bias, scale : array, shape (3,)
    """

    force: FloatArray
    rate: FloatArray
    force_bias: FloatArray
    rate_bias: FloatArray
    scale: FloatArray
    walk: FloatArray


def drift(rng: np.random.Generator, time: FloatArray, walk: float, channels: int) -> FloatArray:
    """Return a random walk (channels, T) that starts at 0, in units per square root of a second.

    It is drawn once a second and linear between: the spectrum that matters lies far below.
    """
    seconds = np.arange(0.0, time[-1] - time[0] + 2.0)
    steps = rng.normal(0.0, walk, (channels, len(seconds)))
    steps[:, 0] = 0.0
    return np.stack([np.interp(time - time[0], seconds, row) for row in np.cumsum(steps, axis=1)])


def drifting(
    orientation: FloatArray, rng: np.random.Generator, time: FloatArray, walk: float
) -> tuple[FloatArray, float]:
    """Return what an orientation filter would give instead of the truth.

    Parameters
    ----------
    orientation : array, shape (4, T)
        Truth, w x y z, sensor to world.
    walk
        Random walk of the error, in rad per square root of a second; none at the beginning.

    Returns
    -------
    estimate : array, shape (4, T)
    error
        Angle of the error at the end, in degrees.
    """
    error = drift(rng, time, walk, 3)
    return multiply(small(error), orientation), float(np.degrees(np.linalg.norm(error[:, -1])))
