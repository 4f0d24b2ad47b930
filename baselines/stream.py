"""Real time: one sample in, a prediction out each time a chunk is complete."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from baselines.errors import OptionError
from baselines.models import FlatModel, HierarchicalModel
from csp_data import LowPass, Normalization

__all__ = ["StreamState", "Streamer"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StreamState:
    """All that a :class:`Streamer` remembers between two samples; picklable."""

    filtered: Floats | None
    """State of the low-pass, (S, 2, C)."""
    previous: Floats | None
    """The sample before, low-passed, (C,), for the deltas."""
    model: Any


class Streamer:
    """Runs a trained model over a stream of raw samples, in physical units on both sides.

    Low-pass, input deltas, clipping and normalisation are those of training, sample by sample; predictions equal
    those over the whole recording at once.

    Parameters
    ----------
    model
        A flat or hierarchical model.
    normalization
        Of the data set it was trained on (``dataset.normalization``).
    deltas, clip
        As in the data set's protocol (``input_deltas``, ``clip``).
    lowpass
        The protocol's filter, if it has one; it must be causal.
    input_hz
        Rate of the samples in Hz, for the filter.

    Raises
    ------
    OptionError
        If the filter is not causal, or the normalisation is of other channels than the model's.
    """

    def __init__(
        self,
        model: FlatModel | HierarchicalModel,
        normalization: Normalization,
        *,
        deltas: bool,
        clip: float | None = None,
        lowpass: LowPass | None = None,
        input_hz: float = 50.0,
    ) -> None:
        if lowpass is not None and lowpass.phase != "causal":
            raise OptionError("lowpass.phase", lowpass.phase, "'causal': the other one needs the whole recording")
        width = len(normalization.inputs.shift)
        if width != model.config.in_dim or len(normalization.targets.shift) != model.config.out_dim:
            raise OptionError(
                "normalization",
                (width, len(normalization.targets.shift)),
                f"that of {model.config.in_dim} features and {model.config.out_dim} targets, the model's",
            )
        self.model = model.eval()
        self.normalization = normalization
        self.deltas, self.clip, self.lowpass, self.input_hz = deltas, clip, lowpass, input_hz
        self.channels = width // 2 if deltas else width
        parameter = next(model.parameters())
        self._device, self._dtype = parameter.device, parameter.dtype
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next sample is the first of a recording."""
        with torch.no_grad():
            start = self.model.initial_state(1, self._device, self._dtype)
        self.state = StreamState(None, None, start)

    @property
    def state(self) -> StreamState:
        """What is remembered; a copy that can be set again later, here or on an equal streamer."""
        return copy.deepcopy(self._state)

    @state.setter
    def state(self, state: StreamState) -> None:
        self._state = copy.deepcopy(state)

    def push(self, samples: npt.ArrayLike) -> Floats:
        """Take the next sample, or several.

        Parameters
        ----------
        samples : array, shape (C,) or (n, C)
            Physical units, in the order of the data set's channels.

        Returns
        -------
        array, shape (m, D)
            A prediction, in physical units, for each chunk that these samples completed; m may be 0.

        Raises
        ------
        OptionError
            If a sample has another number of channels, or is not finite; the state stays as it was.
        """
        rows = np.atleast_2d(np.asarray(samples, dtype=np.float64))
        if rows.ndim != 2 or rows.shape[1] != self.channels:
            raise OptionError("samples", rows.shape, f"shape (n, {self.channels})")
        if not np.isfinite(rows).all():
            raise OptionError(
                "samples", "NaN or infinity", "finite numbers", "Repeat the last good sample instead."
            )
        if len(rows) == 0:
            return np.zeros((0, self.model.config.out_dim))
        features, filtered, previous = self._features(rows)
        state, outputs = self._state.model, []
        with torch.inference_mode():
            for row in torch.from_numpy(features).to(self._device, self._dtype):
                output, state = self.model.step(row[None], state)
                if output is not None:
                    outputs.append(output)
        self._state = StreamState(filtered, previous, state)
        if not outputs:
            return np.zeros((0, self.model.config.out_dim))
        stacked = torch.cat(outputs).double().cpu().numpy()
        return np.asarray(self.normalization.targets.invert(stacked))

    def _features(self, rows: Floats) -> tuple[Floats, Floats | None, Floats]:
        """Filter, append deltas, clip and normalise the next samples; also return what to remember."""
        filtered = self._state.filtered
        if self.lowpass is not None:
            rows, filtered = self.lowpass.advance(rows, self.input_hz, filtered)
        before = rows[0] if self._state.previous is None else self._state.previous
        made = np.concatenate([rows, np.diff(rows, axis=0, prepend=before[None])], axis=1) if self.deltas else rows
        if self.clip is not None:
            made = np.clip(made, -self.clip, self.clip)
        return np.asarray(self.normalization.inputs.apply(made)), filtered, rows[-1]
