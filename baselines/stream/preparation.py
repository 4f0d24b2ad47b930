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

from typing import Any, cast

import numpy as np
import numpy.typing as npt

from baselines.errors import OptionError, StateError
from baselines.stream.engine import Arrays
from csp_data import LowPass
from csp_data.normalization import Affine, features
from csp_data.options import check_number
from csp_data.recording import FloatArray

__all__ = ["BASELINES", "Preparation"]

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
        _require_causal(lowpass)
        check_number("input_hz", input_hz, "a rate above 0 Hz", above=0)
        feature_count = len(scaling.shift)
        self.channels = feature_count // 2 if deltas else feature_count
        self.scaling, self.deltas, self.clip, self.raw_clip = scaling, deltas, clip, raw_clip
        self.lowpass, self.input_hz = lowpass, input_hz
        self._baseline_rule, self._known_offset = _parse_baseline(baseline, self.channels)
        self.waits_for = baseline_rows if self._baseline_rule != "none" else 0
        self._sos, self._steady_state = _filter_sections(lowpass, input_hz)
        self._clip_bounds = float(raw_clip or np.inf), np.float32(clip or np.inf)
        self.settings: dict[str, Any] = {
            "deltas": bool(deltas),
            "clip": clip and float(clip),
            "raw_clip": raw_clip and float(raw_clip),
            "lowpass": lowpass and {"hz": float(lowpass.hz), "order": int(lowpass.order), "phase": lowpass.phase},
            "input_hz": float(input_hz),
            "baseline": baseline if isinstance(baseline, str) else self._known_offset.tolist(),
            "baseline_rows": int(self.waits_for),
            "normalization.inputs": as_lists(scaling),
        }
        self._constants = (self._sos, self._steady_state, scaling.shift, scaling.scale)
        self._compiled = compiled
        self.reset()
        if compiled:  # or read from numba's cache: before the first sample, which would have to wait for it
            self._features(np.zeros((1, self.channels)), started=False)
            self.reset()

    def reset(self, *, keep_baseline: bool = False) -> None:
        """Return to the state before the first sample; if asked to, with the baseline that is already known."""
        self.taken = 0
        self._waiting = np.zeros((self.waits_for, self.channels))
        if not keep_baseline:
            self._offset = self._known_offset.copy()
        self._filtered = np.zeros((len(self._sos), 2, self.channels))
        self._previous = np.zeros(self.channels, np.float32)

    @property
    def passed(self) -> int:
        """Samples whose features were given: all, or none while the first ones wait for the baseline."""
        return self.taken if self._knows_baseline else 0

    @property
    def _knows_baseline(self) -> bool:
        return self.taken >= self.waits_for or not np.isnan(self._offset).any()

    def push(self, rows: FloatArray) -> npt.NDArray[np.float32]:
        """Take the next samples (n, C); return the features (m, F) that became known, m in most cases n.

        Raises
        ------
        OptionError
            If a value is not finite (or not in float32); the state stays as it was.
        """
        if self._knows_baseline:
            prepared = self._features(rows, self.taken > 0)
            self.taken += len(rows)
            return prepared
        _require_finite(rows)
        missing = self.waits_for - self.taken
        self._waiting[self.taken : self.taken + len(rows)] = rows[:missing]
        self.taken += len(rows)
        if self.taken < self.waits_for:
            return np.zeros((0, len(self.scaling.shift)), np.float32)
        self._offset[:] = (np.mean if self._baseline_rule == "mean" else np.median)(self._waiting, axis=0)
        return self._features(np.concatenate((self._waiting, rows[missing:])), started=False)

    def _features(self, rows: FloatArray, started: bool) -> npt.NDArray[np.float32]:
        if self._compiled:
            from baselines.stream.fast import preparation as compiled  # numba is imported only where it is used

            prepared = np.empty((len(rows), len(self.scaling.shift)), np.float32)
            state = (self._offset, self._filtered, self._previous)
            options = (started, self.deltas, self._clip_bounds, state, self._constants)
            if not compiled.prepare_samples(rows, *options, prepared):
                _require_finite(rows)
            return prepared
        _require_finite(rows)
        rows = rows - self._offset
        if self.raw_clip is not None:
            rows = np.clip(rows, -self.raw_clip, self.raw_clip)
        if self.lowpass is not None:
            filter_state = self._filtered if started else self._steady_state[:, :, None] * rows[0]
            from scipy.signal import sosfilt

            rows, self._filtered[:] = sosfilt(self._sos, rows, axis=0, zi=filter_state)
        stored = rows.astype(np.float32)  # as the prepared file holds them
        previous = self._previous if started else stored[0]
        prepared = features(np.concatenate((previous[None], stored)), deltas=self.deltas, clip=self.clip)[1:]
        self._previous[:] = stored[-1]
        return np.asarray(self.scaling.apply(prepared), dtype=np.float32)

    def state(self) -> Arrays:
        """Return copies of all that is remembered."""
        return {"samples": np.array(self.taken)} | {name: a.copy() for name, a in self._state_arrays.items()}

    def check(self, state: Arrays) -> None:
        """Raise :class:`StateError` unless :meth:`load` can take up the state."""
        for name, expected in {"samples": np.array(0), **self._state_arrays}.items():
            if name not in state or state[name].shape != expected.shape or state[name].dtype != expected.dtype:
                found = f"{state[name].dtype} of shape {state[name].shape}" if name in state else "nothing"
                raise StateError(
                    f"state of a stream with other preparation: expected {name} as {expected.dtype} of shape "
                    f"{expected.shape}, found {found}. Channels, low-pass and baseline must be the same."
                )

    def load(self, state: Arrays) -> None:
        """Take up what :meth:`state` returned and :meth:`check` lets through."""
        self.taken = int(state["samples"])
        for name, array in self._state_arrays.items():
            array[...] = state[name]

    @property
    def _state_arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {
            "waiting": self._waiting,
            "offset": self._offset,
            "filtered": self._filtered,
            "previous": self._previous,
        }


def as_lists(affine: Affine) -> list[list[float]]:
    """Return shift and scale as JSON values, with all their digits."""
    return [np.asarray(values, dtype=np.float64).tolist() for values in (affine.shift, affine.scale)]


def _require_causal(lowpass: LowPass | None) -> None:
    if not isinstance(cast("object", lowpass), LowPass | None):
        raise OptionError("lowpass", lowpass, "a csp_data.LowPass")
    if lowpass is not None and lowpass.phase != "causal":
        raise OptionError(
            "lowpass.phase",
            lowpass.phase,
            "'causal': the other one needs the whole recording",
            "Train on data prepared with a causal one (csp-data prepare NAME --lowpass HZ --phase causal).",
        )


def _parse_baseline(baseline: str | npt.ArrayLike, channels: int) -> tuple[str, FloatArray]:
    """Return the rule that gives the offset, and the offset (C,) before the first rows: NaN if not known."""
    if isinstance(baseline, str):
        if baseline not in BASELINES:
            raise OptionError(
                "baseline", baseline, f"one of {', '.join(BASELINES)}, or an offset for each channel"
            )
        return baseline, np.full(channels, 0.0 if baseline == "none" else np.nan)
    offset = np.asarray(baseline, dtype=np.float64)
    if offset.shape != (channels,) or not np.isfinite(offset).all():
        raise OptionError("baseline", baseline, f"{channels} finite numbers, one a channel")
    return "none", offset


def _filter_sections(lowpass: LowPass | None, input_hz: float) -> tuple[FloatArray, FloatArray]:
    """Return a filter's second-order sections (S, 6), and their state (S, 2) under a steady input of 1."""
    if lowpass is None:
        return np.zeros((0, 6)), np.zeros((0, 2))
    from scipy.signal import sosfilt_zi  # here: it takes half a second

    sections = lowpass.sections(input_hz)
    return sections, sosfilt_zi(sections)


def _require_finite(rows: FloatArray) -> None:
    if not (np.abs(rows) <= _LARGEST).all():
        raise OptionError("samples", "NaN or infinity", "finite numbers", "Repeat the last good sample instead.")
