"""From raw samples to a model's features, sample by sample, as was done to the training recordings.

In this order, the types those of the prepared file and of :mod:`baselines.training.data`, so that features are
equal to it:

============  ====================================================================================  =======
offset        minus the baseline: the mean or median of the stream's first rows, or a known offset  float64
raw clip      to plus and minus ``raw_clip``                                                        float64
low-pass      causal Butterworth, from the steady state of the first sample                         float64
deltas        the change since the sample before, 0 at the first, as more channels                  float32
clip          to plus and minus ``clip``, deltas included                                           float32
scaling       minus shift, over scale                                                               float64
============  ====================================================================================  =======
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from baselines.errors import OptionError
from baselines.stream.engine import Arrays, StateError
from csp_data import LowPass
from csp_data.normalization import Affine, features

__all__ = ["BASELINES", "Preparation"]

Floats = npt.NDArray[np.float64]
BASELINES = ("none", "mean", "median")
_LARGEST = float(np.finfo(np.float32).max)


class Preparation:
    """The way of one stream from raw samples to features.

    Parameters
    ----------
    scaling
        Shift and scale of the features.
    deltas, clip, raw_clip
        As in the data set's protocol (``input_deltas``, ``clip``, ``raw_clip``).
    lowpass, input_hz
        The protocol's filter, which must be causal, and the rate in Hz that it runs at.
    baseline
        ``"none"``, ``"mean"`` or ``"median"`` of the first ``baseline_rows`` samples, or a known offset (C,).
    compiled
        Run compiled loops instead of NumPy's functions; both change the same state.

    Attributes
    ----------
    channels
        C, values of a sample.
    taken
        Samples taken, those that wait for the baseline among them.
    settings
        All of the above but `compiled`, as JSON values: what a state of another stream must share.
    """

    def __init__(
        self,
        scaling: Affine,
        *,
        deltas: bool,
        clip: float | None = None,
        raw_clip: float | None = None,
        lowpass: LowPass | None = None,
        input_hz: float = 50.0,
        baseline: str | npt.ArrayLike = "none",
        baseline_rows: int = 1,
        compiled: bool = False,
    ) -> None:
        if lowpass is not None and lowpass.phase != "causal":
            raise OptionError(
                "lowpass.phase",
                lowpass.phase,
                "'causal': the other one needs the whole recording",
                "Train on data prepared with a causal one (csp-data prepare NAME --lowpass HZ --phase causal).",
            )
        width = len(scaling.shift)
        self.channels = width // 2 if deltas else width
        self.scaling, self.deltas, self.clip, self.raw_clip = scaling, deltas, clip, raw_clip
        self.lowpass, self.input_hz = lowpass, input_hz
        self._rule = baseline if isinstance(baseline, str) else "none"
        if self._rule not in BASELINES:
            raise OptionError(
                "baseline", baseline, f"one of {', '.join(BASELINES)}, or an offset for each channel"
            )
        self.waits_for = baseline_rows if self._rule != "none" else 0
        self._known = np.zeros(self.channels)
        if not isinstance(baseline, str):
            self._known = np.asarray(baseline, dtype=np.float64)
            if self._known.shape != (self.channels,) or not np.isfinite(self._known).all():
                raise OptionError("baseline", baseline, f"{self.channels} finite numbers, one a channel")
        self._sos = np.zeros((0, 6)) if lowpass is None else lowpass.sections(input_hz)
        self._steady = np.zeros((0, 2))
        if len(self._sos):
            from scipy.signal import sosfilt_zi  # here: it takes half a second

            self._steady = sosfilt_zi(self._sos)
        self._bounds = float(raw_clip or np.inf), np.float32(clip or np.inf)
        self.settings: dict[str, Any] = {
            "deltas": bool(deltas),
            "clip": clip and float(clip),
            "raw_clip": raw_clip and float(raw_clip),
            "lowpass": lowpass and {"hz": float(lowpass.hz), "order": int(lowpass.order), "phase": lowpass.phase},
            "input_hz": float(input_hz),
            "baseline": baseline if isinstance(baseline, str) else self._known.tolist(),
            "baseline_rows": int(self.waits_for),
            "normalization.inputs": as_lists(scaling),
        }
        self._fixed = (self._sos, self._steady, scaling.shift, scaling.scale)
        self._compiled = compiled
        self.reset()
        if compiled:  # or read from numba's cache: before the first sample, which would have to wait for it
            self._features(np.zeros((1, self.channels)), started=False)
            self.reset()

    def reset(self) -> None:
        """Return to the state before the first sample."""
        self.taken = 0
        self._waiting = np.zeros((self.waits_for, self.channels))
        self._offset = self._known.copy()
        self._filtered = np.zeros((len(self._sos), 2, self.channels))
        self._previous = np.zeros(self.channels, np.float32)

    @property
    def passed(self) -> int:
        """Samples whose features were given: all, or none while the first ones wait for the baseline."""
        return self.taken if self.taken >= self.waits_for else 0

    def push(self, rows: Floats) -> npt.NDArray[np.float32]:
        """Take the next samples (n, C); return the features (m, F) that became known, m in most cases n.

        Raises
        ------
        OptionError
            If a value is not finite (or not in float32); the state stays as it was.
        """
        if self.taken >= self.waits_for:
            made = self._features(rows, self.taken > 0)
            self.taken += len(rows)
            return made
        _check(rows)
        missing = self.waits_for - self.taken
        self._waiting[self.taken : self.taken + len(rows)] = rows[:missing]
        self.taken += len(rows)
        if self.taken < self.waits_for:
            return np.zeros((0, len(self.scaling.shift)), np.float32)
        self._offset[:] = (np.mean if self._rule == "mean" else np.median)(self._waiting, axis=0)
        return self._features(np.concatenate((self._waiting, rows[missing:])), started=False)

    def _features(self, rows: Floats, started: bool) -> npt.NDArray[np.float32]:
        if self._compiled:
            from baselines.stream.fast.prepare import prepare  # numba is imported only where it is used

            made = np.empty((len(rows), len(self.scaling.shift)), np.float32)
            state = (self._offset, self._filtered, self._previous)
            if not prepare(rows, started, self.deltas, self._bounds, state, self._fixed, made):
                _check(rows)
            return made
        _check(rows)
        rows = rows - self._offset
        if self.raw_clip is not None:
            rows = np.clip(rows, -self.raw_clip, self.raw_clip)
        if self.lowpass is not None:
            before = self._filtered if started else self._steady[:, :, None] * rows[0]
            from scipy.signal import sosfilt

            rows, self._filtered[:] = sosfilt(self._sos, rows, axis=0, zi=before)
        stored = rows.astype(np.float32)  # as the prepared file holds them
        first = self._previous if started else stored[0]
        made = features(np.concatenate((first[None], stored)), deltas=self.deltas, clip=self.clip)[1:]
        self._previous[:] = stored[-1]
        return np.asarray(self.scaling.apply(made), dtype=np.float32)

    def state(self) -> Arrays:
        """Return copies of all that is remembered."""
        return {"samples": np.array(self.taken)} | {name: a.copy() for name, a in self._arrays.items()}

    def check(self, state: Arrays) -> None:
        """Raise :class:`StateError` unless :meth:`load` can take up the state."""
        for name, held in {"samples": np.array(0), **self._arrays}.items():
            if name not in state or state[name].shape != held.shape or state[name].dtype != held.dtype:
                found = f"{state[name].dtype} of shape {state[name].shape}" if name in state else "nothing"
                raise StateError(
                    f"state of a stream with other preparation: expected {name} as {held.dtype} of shape "
                    f"{held.shape}, found {found}. Channels, low-pass and baseline must be the same."
                )

    def load(self, state: Arrays) -> None:
        """Take up what :meth:`state` returned."""
        self.check(state)
        self.taken = int(state["samples"])
        for name, held in self._arrays.items():
            held[...] = state[name]

    @property
    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {
            "waiting": self._waiting,
            "offset": self._offset,
            "filtered": self._filtered,
            "previous": self._previous,
        }


def as_lists(affine: Affine) -> list[list[float]]:
    """Return shift and scale as JSON values, with all their digits."""
    return [np.asarray(values, dtype=np.float64).tolist() for values in (affine.shift, affine.scale)]


def _check(rows: Floats) -> None:
    if not (np.abs(rows) <= _LARGEST).all():
        raise OptionError("samples", "NaN or infinity", "finite numbers", "Repeat the last good sample instead.")
