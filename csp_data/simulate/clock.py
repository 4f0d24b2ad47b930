"""Clocks of real sensors: jitter, two modes, gaps, and stamps that stand twice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from csp_data.recording import FloatArray

__all__ = ["Clock"]


@dataclass(frozen=True)
class Clock:
    """How a sensor's samples lie in time.

    Parameters
    ----------
    hz
        Mean rate before gaps.
    jitter
        Standard deviation of an interval, as a fraction of the mean.
    split
        Half the distance between two equally likely modes of the interval, as a fraction of the mean: boards
        polled over USB answer in the same or in the next frame.
    gap
        Chance that an interval is a gap of two to five.
    """

    hz: float
    jitter: float
    split: float = 0.0
    gap: float = 0.0

    def ticks(self, rng: np.random.Generator, start: float, stop: float) -> FloatArray:
        """Return increasing sample times (T,) from `start` to before `stop`, in seconds; at least two."""
        count = max(2, int((stop - start) * self.hz * 1.1) + 10)
        steps = 1 + np.clip(rng.normal(0.0, self.jitter, count), -3 * self.jitter, 3 * self.jitter)
        if self.split:
            steps += rng.choice([-self.split, self.split], count)
        if self.gap:
            steps = np.where(rng.random(count) < self.gap, steps * rng.uniform(2.0, 5.0, count), steps)
        time = start + np.cumsum(np.maximum(steps, 0.05)) / self.hz
        # the margin above covers the jitter; where it did not, the recording ends a little earlier
        return time[: max(2, int(np.searchsorted(time, stop)))]

    def throughout(self, rng: np.random.Generator, seconds: float) -> FloatArray:
        """Return the sample times (T,) of a sensor that starts and stops up to 0.1 s within a recording."""
        return self.ticks(rng, rng.uniform(0.0, 0.1), seconds - rng.uniform(0.0, 0.1))
