"""Real-time prediction: one sample in, a prediction out each time a chunk is complete."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy
from torch import nn

from baselines.errors import OptionError, StateError
from baselines.files import atomic_bytes
from baselines.layers import TransformerConfig
from baselines.models.config import FlatConfig, config_to_dict
from baselines.models.factory import build_from_config
from baselines.models.own import OwnModel
from baselines.models.own_window import WindowedModel
from baselines.runs.interface import Interface
from baselines.stream.engine import Arrays, Model, make_engine, streamable
from baselines.stream.preparation import Preparation, as_lists
from baselines.stream.resampling import Resampler, is_resampled
from csp_data import LowPass, Normalization
from csp_data.home import expanded
from csp_data.options import as_numbers
from csp_data.recording import FloatArray
from csp_data.terminal import count_of

__all__ = ["Streamer", "load_state", "save_state", "with_window"]

DIGEST = "digest"
"""Entry of a file of a state, beside those of the state."""


class Streamer:
    """Runs a trained model over a stream of raw samples, in physical units on both sides.

    Baseline, clipping, low-pass, input deltas and normalisation are those of training, sample by sample
    (:mod:`baselines.stream.preparation`); predictions equal those over the whole recording at once. A stream is
    for one thread at a time; streams beside each other, also of one model, may run in threads, and can be
    pickled.

    Parameters
    ----------
    model
        Any model; it is put into ``eval()``, as dropout has no place in a prediction.
    normalization
        Of the data set it was trained on (``dataset.normalization``).
    deltas, clip, raw_clip
        As in the data set's protocol (``input_deltas``, ``clip``, ``raw_clip``). ``deltas`` is required, since
        neither model nor normalisation tells whether half of the features are deltas or all are channels;
        :meth:`of` reads it from the data set.
    lowpass
        The protocol's filter, if it has one; it must be causal.
    input_hz
        Rate of the samples in Hz, for the filter.
    baseline
        Offset to subtract: ``"none"``; the ``"mean"`` or ``"median"`` of the stream's first ``baseline_rows``
        samples, as the protocol takes it from a recording's (predictions are held back until then, and come all
        at once); or a known offset, (C,) in physical units.
    engine
        ``"reference"`` (the layers' own ``step``), ``"fast"`` (compiled loops equal to it), or ``"auto"``: the
        fastest that can run this model.
    inputs
        Names of the channels, in order; those of tables are compared with them.

    Raises
    ------
    OptionError
        If the model is a reference, which does not predict sample by sample, the filter is not causal, the
        normalisation is of other channels than the model's, the baseline is none, or the engine cannot run the
        model.

    Examples
    --------
    >>> import csp_data
    >>> from baselines import Interface, Streamer, build
    >>> ds = csp_data.load("sample")
    >>> model = build("flat-lstm", in_dim=12, out_dim=3, dim=8, hidden=8)  # of a run: load_model(run)
    >>> stream = Streamer.of(model, Interface.of(ds), engine="reference")
    >>> for sample in ds.test[0].inputs[:20]:  # m/s^2 and rad/s, at 50 Hz
    ...     for velocity in stream.push(sample):  # one with every tenth, in m/s
    ...         print(stream.samples, velocity.shape)
    10 (3,)
    20 (3,)
    """

    def __init__(
        self,
        model: nn.Module,
        normalization: Normalization,
        *,
        deltas: bool,
        clip: float | None = None,
        raw_clip: float | None = None,
        lowpass: LowPass | None = None,
        input_hz: float = 50.0,
        baseline: str | npt.ArrayLike = "none",
        baseline_rows: int = 1,
        engine: str = "auto",
        inputs: Sequence[str] = (),
    ) -> None:
        model = streamable(model)
        if not isinstance(cast("object", normalization), Normalization):
            raise OptionError("normalization", normalization, "a csp_data.Normalization: dataset.normalization")
        width = len(normalization.inputs.shift)
        if width != model.config.in_dim or len(normalization.targets.shift) != model.config.out_dim:
            raise OptionError(
                "normalization",
                (width, len(normalization.targets.shift)),
                f"that of {model.config.in_dim} features and {model.config.out_dim} targets, the model's",
            )
        self.model = model.eval()
        self.normalization = normalization
        self.engine = make_engine(self.model, engine)
        self.preparation = Preparation(
            normalization.inputs,
            deltas=deltas,
            clip=clip,
            raw_clip=raw_clip,
            lowpass=lowpass,
            input_hz=input_hz,
            baseline=baseline,
            baseline_rows=baseline_rows,
            compiled=self.engine.name == "fast",
        )
        self.channels, self.inputs = self.preparation.channels, tuple(inputs)
        self._shape = f"shape ({self.channels},) or (n, {self.channels})"
        self._settings = {**self.preparation.settings, "normalization.targets": as_lists(normalization.targets)}
        self.reset()

    @classmethod
    def of(
        cls,
        model: nn.Module,
        interface: Interface,
        engine: str = "auto",
        *,
        baseline: str | npt.ArrayLike | None = None,
    ) -> Streamer:
        """Return the streamer of a model trained on data with this interface.

        Parameters
        ----------
        model, engine
            As for the class.
        interface
            What the data set's protocol does to samples: ``Interface.of(dataset)``
            (:class:`baselines.Interface`).
        baseline
            Something else than the protocol's own baseline: ``"none"`` where the samples come without their
            offset, or the offset (C,) where it is known.

        Raises
        ------
        OptionError
            As for the class, and if the interface is something else, such as the data set.
        """
        if not isinstance(cast("object", interface), Interface):
            raise OptionError("interface", interface, "a baselines.Interface: baselines.Interface.of(dataset)")
        return cls(
            model,
            interface.normalization,
            deltas=interface.deltas,
            clip=interface.clip,
            raw_clip=interface.raw_clip,
            lowpass=interface.lowpass,
            input_hz=interface.input_hz,
            baseline=interface.baseline if baseline is None else baseline,
            baseline_rows=interface.baseline_rows,
            engine=engine,
            inputs=interface.inputs,
        )

    def __repr__(self) -> str:
        config = self.model.config
        return (
            f"<Streamer of {config.name}, engine {self.engine.name}: {count_of(self.channels, 'channel')} at "
            f"{self.preparation.input_hz:g} Hz, {count_of(config.out_dim, 'target')} each "
            f"{count_of(config.chunk, 'sample')}, {self.samples} taken>"
        )

    @property
    def samples(self) -> int:
        """Samples taken since the beginning of the recording."""
        return self.preparation.taken

    @property
    def answered(self) -> int:
        """Number of the sample, from 1, that the latest prediction was due at; 0 before the first."""
        config, passed = self.model.config, self.preparation.passed
        first = 1 if isinstance(config, FlatConfig) and config.readout == "first" else config.chunk
        return 0 if passed < first else passed - (passed - first) % config.chunk

    def reset(self, *, keep_baseline: bool = False) -> None:
        """Forget everything, or all but the baseline: the next sample is the first of a recording (or piece)."""
        self.preparation.reset(keep_baseline=keep_baseline)
        self.engine.reset()

    def push(self, samples: npt.ArrayLike) -> FloatArray:
        """Take the next sample, or several.

        Parameters
        ----------
        samples : array, shape (C,) or (n, C)
            Physical units, in the order of the data set's channels. A masked number is none. The columns of a
            pandas table, or the index of one of its rows, must be named so.

        Returns
        -------
        array, shape (m, D)
            A prediction, in physical units, for each chunk that these samples completed; m may be 0.

        Raises
        ------
        OptionError
            If a sample is no numbers, has another number of channels or other names, or is not finite; the state
            stays as it was.
        """
        rows = np.ascontiguousarray(as_numbers("samples", samples, self._shape, self.inputs))
        if rows.ndim == 1:
            rows = rows[None]
        if rows.ndim != 2 or rows.shape[1] != self.channels:
            raise OptionError("samples", rows.shape, self._shape)
        prepared = self.preparation.push(rows) if len(rows) else rows[:0]
        if len(prepared) == 0:
            return np.zeros((0, self.model.config.out_dim))
        outputs = self.engine.push(prepared)
        return np.asarray(self.normalization.targets.invert(outputs.astype(np.float64)))

    def state_dict(self) -> Arrays:
        """Return copies of all that is remembered, as named arrays: the state of the stream.

        A streamer of the same model and engine that takes it up goes on with the same bits.
        """
        settings = np.frombuffer(json.dumps(self._settings).encode(), dtype=np.uint8)
        state = {**self.preparation.state(), "weights": fingerprint(self.model), "settings": settings}
        return state | {f"{self.engine.name}/{name}": array for name, array in self.engine.state().items()}

    def load_state_dict(self, state: Arrays) -> None:
        """Take up what :meth:`state_dict` returned, here or elsewhere.

        Raises
        ------
        StateError
            If it is not the state of such a stream (the message names the settings that differ); the present
            state then stays.
        """
        if not {"samples", "weights", "settings"} <= state.keys():
            raise StateError("not the state of a stream: expected the entries samples, weights and settings.")
        if not np.array_equal(state["weights"], fingerprint(self.model)):
            raise StateError(
                "state of a stream through another model: expected the same weights, and the same window if there "
                "is one, as here."
            )
        engines = {name.partition("/")[0] for name in state if "/" in name}
        for name in engines - {self.engine.name}:
            raise StateError(
                f"state of the engine {name!r}, this stream runs {self.engine.name!r}. "
                "Begin the stream with the engine of the state."
            )
        if differences := _setting_differences(self._settings, state["settings"]):
            raise StateError(
                f"state of a stream with other settings: {'; '.join(differences)}. Go on with those of the state, "
                "or begin the stream anew."
            )
        self.preparation.check(state)
        prefix = f"{self.engine.name}/"
        self.engine.load({name[len(prefix) :]: array for name, array in state.items() if name.startswith(prefix)})
        self.preparation.load(state)


def _setting_differences(own: dict[str, Any], stored: npt.NDArray[Any]) -> list[str]:
    """Say which settings of a state are others than a stream's; of lists of numbers only that they are."""
    try:
        other = dict(json.loads(stored.tobytes()))
    except (TypeError, ValueError) as error:
        raise StateError(f"not the state of a stream: its settings are damaged ({error}).") from error
    return [
        name if isinstance(own.get(name), list) else f"{name} is {other.get(name)} there and {own.get(name)} here"
        for name in {**own, **other}
        if own.get(name) != other.get(name)
    ]


def fingerprint(model: Model) -> npt.NDArray[np.uint8]:
    """Return the SHA-256 of a model's configuration (a window is in no weight) and weights, (32,)."""
    digest = hashlib.sha256(json.dumps(config_to_dict(model.config), sort_keys=True).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return np.frombuffer(digest.digest(), dtype=np.uint8)


def _digest(arrays: Arrays) -> npt.NDArray[np.uint8]:
    """Return the SHA-256 of named arrays, (32,)."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return np.frombuffer(digest.digest(), dtype=np.uint8)


def save_state(path: Path | str, stream: Streamer, resampler: Resampler | None = None) -> None:
    """Write a stream's state to a file (safetensors: no pickles), whole or not at all.

    Parameters
    ----------
    path
        The file.
    stream, resampler
        What is remembered of the stream, and of its samples where they come at a rate of their own.

    Raises
    ------
    OptionError
        If the stream is something else, such as the path.
    """
    _check_stream(stream)
    state = stream.state_dict() | ({} if resampler is None else resampler.state_dict())
    arrays = {name: np.array(array, order="C") for name, array in state.items()}
    atomic_bytes(expanded(path), safetensors.numpy.save(arrays | {DIGEST: _digest(arrays)}))


def load_state(path: Path | str, stream: Streamer, resampler: Resampler | None = None) -> None:
    """Restore a stream's state from a file.

    Parameters
    ----------
    path
        The file.
    stream, resampler
        As they were when :func:`save_state` wrote it.

    Raises
    ------
    OptionError
        If the stream is something else, such as the path.
    StateError
        If the file is missing, damaged, or not the state of such a stream.
    """
    _check_stream(stream)
    try:
        state: dict[str, Any] = safetensors.numpy.load(expanded(path).read_bytes())
    except (OSError, safetensors.SafetensorError) as error:
        raise StateError(f"{path}: cannot be read as the state of a stream ({error}).") from error
    try:
        # its numbers say where compiled loops write
        if not np.array_equal(state.pop(DIGEST, None), _digest(state)):
            raise StateError("damaged, or not the state of a stream: its digest is not that of what it holds.")
        if resampler is not None:
            resampler.check(state)
        elif is_resampled(state):
            raise StateError("state of a stream that was resampled. Go on with resampling, or begin anew.")
        stream.load_state_dict(state)
        if resampler is not None:
            resampler.load_state_dict(state)
    except StateError as error:
        raise StateError(f"{path}: {error}") from None


def _check_stream(stream: object) -> None:
    if not isinstance(stream, Streamer):
        raise OptionError("stream", stream, "a baselines.Streamer, after the path")


def with_window(model: nn.Module, window: int | None) -> Model:
    """Return a model with the same weights that looks back over so many steps only.

    Parameters
    ----------
    model
        Any model; only of a Transformer and of a model of one's own without ``step`` it can be set.
    window
        Steps of the Transformer's level (samples in a flat model, chunks in HiSS), the present one among them;
        of a model of one's own the chunks that each prediction is made from anew. None returns the model as it
        is.

    Raises
    ------
    OptionError
        If the model has no Transformer at its highest level, and is none of one's own without ``step``; if it is
        a reference.
    """
    model = streamable(model)
    if window is None:
        return model
    if isinstance(model, OwnModel) and model.lacking:
        return WindowedModel(model, window).train(model.training)
    level = "layer" if isinstance(model.config, FlatConfig) else "high"
    layer = getattr(model.config, level, None)
    if not isinstance(layer, TransformerConfig):
        raise OptionError(
            "window",
            window,
            f"nothing for {model.config.name}: only a Transformer looks back, and one of your own without step",
        )
    config: Any = replace(model.config, **{level: replace(layer, window=window)})  # type: ignore[arg-type]
    parameter = next(model.parameters())
    windowed = build_from_config(config).to(parameter.device, parameter.dtype)
    windowed.load_state_dict(model.state_dict())
    return windowed.train(model.training)
