"""Bring a live stream of stamped samples to the rate of the training data, as recordings were brought to it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from baselines.errors import OptionError, StateError
from baselines.stream.line_protocol import TIME, ClockError, FirstSteps, Sample, SampleError
from csp_data.options import check_choice, check_number
from csp_data.recording import FloatArray
from csp_data.signal.align import CLOCK_ROUNDING_S
from csp_data.signal.resample import interval_mean, linear

if TYPE_CHECKING:
    from baselines.stream.engine import Arrays

__all__ = ["MAX_GAP_S", "Resampler", "StampedSamples", "is_resampled"]

logger = logging.getLogger(__name__)

MAX_GAP_S = 0.1
"""Seconds that the protocol ``strict`` interpolates at most."""
SET_BACK_S = 1.0
"""Seconds of samples that all lie before one that came earlier: no late packet, the clock was set back."""
STATE = ("resampler_times", "resampler_rows", "resampler_grid")
"""Entries of the state of a stream."""
KINDS = {"linear": 0, "mean": 1}
"""How recordings can be resampled, and how many steps before a point of the grid its value depends on."""


class Resampler:
    """Puts samples that come at another rate, or at irregular times, onto a regular grid.

    The grid begins one step after the first sample, and each of its points is given as soon as a sample at or
    after it is there: what is made of a stream equals what is made of the whole recording (``grid="common"``).

    Parameters
    ----------
    rate_hz
        Rate of the grid in Hz: ``input_hz`` of the training data.
    kind
        ``"linear"`` (the value at each time) or ``"mean"`` (over the step before it), as in training.
    max_gap_s
        Seconds; after a longer time without a sample the grid begins anew, as an episode ends in training (there
        after one step of the sensor more).

    Attributes
    ----------
    gaps
        How often the grid began anew.

    Raises
    ------
    OptionError
        If the kind is none of these, or a number is not above 0.

    Examples
    --------
    >>> resampler = Resampler(rate_hz=50, max_gap_s=0.1)
    >>> [[(round(t, 3), float(x[0])) for t, x in resampler.push(t, [t])] for t in (0.0, 0.012, 0.024, 0.06)]
    [[], [], [(0.02, 0.02)], [(0.04, 0.04), (0.06, 0.06)]]
    """

    def __init__(self, rate_hz: float, kind: str = "linear", max_gap_s: float = MAX_GAP_S) -> None:
        check_choice("kind", kind, KINDS)
        for name, value in (("rate_hz", rate_hz), ("max_gap_s", max_gap_s)):
            check_number(name, value, "a number above 0", above=0)
        self.rate_hz, self.kind, self.max_gap_s, self.gaps = rate_hz, kind, max_gap_s, 0
        self._times: list[float] = []
        self._rows: list[FloatArray] = []

    @property
    def latest(self) -> float | None:
        """Time in s of the latest sample; ``None`` before the first."""
        return self._times[-1] if self._times else None

    def begins_anew(self, time: float) -> bool:
        """Whether a sample at this time in s comes after too long a gap: the stream begins anew with it."""
        return self.latest is not None and self.is_gap(time - self.latest)

    def is_gap(self, seconds: float) -> bool:
        """Whether a time without a sample is too long."""
        return seconds > self.max_gap_s + CLOCK_ROUNDING_S

    def push(self, time: float, values: npt.ArrayLike) -> Iterator[tuple[float, FloatArray]]:
        """Take the next sample, and return the points of the grid that became known.

        Parameters
        ----------
        time
            In s, later than that of the sample before.
        values : array, shape (C,)
            Physical units.

        Returns
        -------
        iterator of (time, values)
            In s, and (C,).

        Raises
        ------
        OptionError
            If the time is not finite or not later than that of the sample before, or the values are others in
            number than before; the state stays as it was.
        """
        row = np.asarray(values, dtype=np.float64)
        if not math.isfinite(time):
            raise OptionError("time", time, "a finite number, in s")
        if self.latest is not None and time <= self.latest:
            raise OptionError("time", time, f"a time after {self.latest:.15g} s, that of the sample before")
        shape = self._rows[0].shape if self._rows else (row.size,)
        if row.shape != shape:
            raise OptionError("values", row.shape, f"shape {shape}")
        if self.begins_anew(time):
            self.reset()
        if not self._times:
            self._start, self._given = time, 0
        self._times.append(time)
        self._rows.append(row)
        return iter(self._points())

    def reset(self) -> None:
        """Forget all samples: the grid begins anew with the next one, whatever its time."""
        self.gaps += bool(self._times)
        self._times, self._rows = [], []

    def state_dict(self) -> Arrays:
        """Return copies of all that is remembered, as named arrays."""
        begun = [self._start, self._given] if self._times else [0.0, 0]
        return {
            "resampler_times": np.array(self._times),
            "resampler_rows": np.stack(self._rows) if self._rows else np.empty((0, 0)),
            "resampler_grid": np.array([self.rate_hz, KINDS[self.kind], *begun]),
        }

    def check(self, state: Arrays) -> None:
        """Raise :class:`StateError` unless :meth:`load_state_dict` can take up the state."""
        if not is_resampled(state):
            raise StateError("state of a stream that was not resampled. Go on without resampling, or begin anew.")
        times, rows, grid = (state[name] for name in STATE)
        shapes_fit = (times.ndim, rows.ndim, grid.shape) == (1, 2, (4,)) and len(times) == len(rows)
        if not shapes_fit or tuple(grid[:2]) != (self.rate_hz, KINDS[self.kind]):
            raise StateError(
                f"state of a stream on another grid, expected {self.kind} at {self.rate_hz:g} Hz. Begin it anew."
            )

    def load_state_dict(self, state: Arrays) -> None:
        """Take up what :meth:`state_dict` returned, here or elsewhere; the count of gaps begins anew.

        Raises
        ------
        StateError
            If it is not the state of such a grid; the present state then stays.
        """
        self.check(state)
        times, rows, grid = (state[name] for name in STATE)
        self._times, self._rows = times.tolist(), list(rows)
        self._start, self._given, self.gaps = float(grid[2]), int(grid[3]), 0

    def _points(self) -> list[tuple[float, FloatArray]]:
        # counted from the start: sums of steps would drift
        slack = max(1e-9, 4 * float(np.spacing(abs(self._times[-1]))))  # of times since 1970, a microsecond
        slack = min(slack, 0.5 / self.rate_hz)  # nanoseconds taken for seconds would fill a grid of their own
        known = int(np.floor((self._times[-1] - self._start + slack) * self.rate_hz))
        if known <= self._given:
            return []
        grid = self._start + np.arange(self._given + 1, known + 1) / self.rate_hz
        times, rows = np.array(self._times), np.array(self._rows)
        made = (
            linear(times, rows, grid)
            if self.kind == "linear"
            else interval_mean(times, rows, grid, 1 / self.rate_hz)
        )
        self._given = known
        self._forget(self._start + (known + 1 - KINDS[self.kind]) / self.rate_hz)
        return list(zip(grid.tolist(), made, strict=True))

    def _forget(self, until: float) -> None:
        """Drop the samples that no later point depends on: those before the last one at or before a time."""
        first = max(int(np.searchsorted(self._times, until, side="right")) - 1, 0)
        self._times, self._rows = self._times[first:], self._rows[first:]


def is_resampled(state: Arrays) -> bool:
    """Whether the state of a stream has that of a :class:`Resampler`."""
    return set(STATE) <= state.keys()


class StampedSamples:
    """Lines of a stream that is resampled: what is wrong with their times, and where the stream begins anew.

    Parameters
    ----------
    resampler
        What puts them onto the grid.
    begin_anew
        Called before the first sample after a gap, or of a clock that was set back.
    """

    instead = "without it"

    def __init__(self, resampler: Resampler, begin_anew: Callable[[], None]) -> None:
        self.resampler, self._begin_anew = resampler, begin_anew
        self._first_steps = FirstSteps()
        self._behind: tuple[float, float] | None = None  # first and latest of the times that lie before a good one

    @property
    def gaps(self) -> int:
        """How often the stream began anew."""
        return self.resampler.gaps

    def take(self, stamp: float | None, values: FloatArray, line: int) -> list[Sample]:
        """Return the points of the grid that the sample of a line, from 1, made known.

        Raises
        ------
        SampleError
            If the line has no time, or one that is not later than that before.
        ClockError
            At the 25th sample, if they are so far apart that each would begin the stream anew.
        """
        latest = self.resampler.latest
        if stamp is None:
            raise SampleError(line, f"a {TIME} in s, by which samples are resampled", "none")
        if latest is not None and not stamp > latest and not self._set_back(stamp, latest, line):
            raise SampleError(line, f"a {TIME} after {latest:.15g} s, that of the sample before", f"{stamp:.15g}")
        step = self._first_steps.median(stamp)
        if step is not None and self.resampler.is_gap(step):
            raise ClockError(
                line,
                f"samples at most {self.resampler.max_gap_s:g} s apart (--max-gap), with times in seconds",
                f"a median of {step:g} between the last {FirstSteps.TIMES} times",
            )
        if self.resampler.begins_anew(stamp):
            self._begin_anew()
        self._behind = None
        return list(self.resampler.push(stamp, values))

    def hold(self) -> list[Sample] | None:
        """Return what stands in for a bad line: nothing; ``None`` before the first sample, one of a state too."""
        return None if self.resampler.latest is None else []

    def _set_back(self, stamp: float, latest: float, line: int) -> bool:
        """Whether times have gone on behind the latest one for so long that the stream begins anew with this one.

        Otherwise one time that is far too late, or a clock that starts from zero, would silence it for good.
        """
        begin, before = self._behind or (stamp, stamp)
        self._behind = begin, stamp = (stamp if stamp < before else begin), stamp
        if stamp - begin < SET_BACK_S:
            return False
        logger.warning(
            "line %d: times have gone on from %.15g to %.15g s, before %.15g s; the stream begins anew",
            line, begin, stamp, latest,
        )  # fmt: skip
        self.resampler.reset()
        self._begin_anew()
        return True
