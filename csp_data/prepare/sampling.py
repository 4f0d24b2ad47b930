"""Sample streams on a grid, filter them, and refuse what float32 cannot hold."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from csp_data.card import Card, StreamCard
from csp_data.card.plugins import call_reader
from csp_data.errors import DamagedRecordingError, SourceError
from csp_data.protocol import Protocol
from csp_data.recording import FloatArray, Recording, Stream
from csp_data.signal.resample import interval_means, linear
from csp_data.signal.rotation import slerp
from csp_data.sources import Source, as_floats

__all__ = ["check_finite", "derived_columns", "joined_and_filtered", "resample"]

FLOAT32_MAX = float(np.finfo(np.float32).max)


def resample(stream: Stream, grids: Sequence[tuple[FloatArray, float]], protocol: Protocol) -> list[FloatArray]:
    """Return a stream's values on the grid of every episode, (N, C) each: at times (N,) after an origin."""
    rotations = stream.kind == "rotation" and protocol.rotations == "slerp"
    if stream.role == "input" and protocol.resample == "mean" and not rotations:
        # of common grids, whose origin is 0 (Protocol)
        return interval_means(stream.time, stream.values, [times for times, _ in grids], 1 / protocol.input_hz)
    interpolated = slerp if rotations else linear
    return [
        interpolated(stream.time - origin if origin else stream.time, stream.values, times)
        for times, origin in grids
    ]


def derived_columns(
    values: FloatArray, stream: StreamCard, recording: Recording, card: Card, source: Source
) -> FloatArray:
    """Return what a source makes of a sampled input stream (T, C): the columns that a model sees, (T, C')."""
    what = f"derived columns of {stream.name!r} of recording {recording.id} ({recording.path})"
    function = partial(source.inputs[stream.name], values)
    derived = as_floats(call_reader(card.reader, what, function), card, what)
    expected = (len(values), len(stream.derived))
    if np.shape(derived) != expected:
        raise SourceError(card.name, f"{what}: expected the shape {expected}, found {np.shape(derived)}")
    return derived


def joined_and_filtered(sampled: Sequence[FloatArray], protocol: Protocol) -> FloatArray:
    """Return the sampled input streams beside each other, after the protocol's filter: (T, C)."""
    inputs = sampled[0] if len(sampled) == 1 else np.concatenate(sampled, axis=1)
    return inputs if protocol.lowpass is None else protocol.lowpass.apply(inputs, protocol.input_hz)


def check_finite(recording: Recording, values: FloatArray, columns: Sequence[str]) -> None:
    """Refuse values that are not finite, or too large for float32, in which they are stored.

    A source can make such values of finite samples: a quaternion of zeros has no angle, for example.
    """
    # no array as large as the values, for speed
    if not (values.min() >= -FLOAT32_MAX and values.max() <= FLOAT32_MAX):
        finite = np.abs(values) <= FLOAT32_MAX
        row, column = np.argwhere(~finite)[0]
        raise DamagedRecordingError(
            recording.path,
            f"{columns[column]}, row {row} of an episode",
            "finite numbers, as float32 holds them",
            f"{values[row, column]} ({(~finite).any(axis=1).sum()} such rows)",
        )
