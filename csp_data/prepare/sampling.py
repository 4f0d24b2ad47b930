"""Sample streams on a grid, filter them, and refuse what float32 cannot hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from csp_data.card import Card, StreamCard
from csp_data.card.plugins import call_reader
from csp_data.errors import DamagedRecordingError, SourceError
from csp_data.protocol import Protocol
from csp_data.recording import FloatArray, Recording, Stream
from csp_data.signal.align import Grid
from csp_data.signal.resample import interval_means, linear
from csp_data.signal.rotation import slerp
from csp_data.sources import Source, as_floats

__all__ = ["Derived", "check_finite", "resample", "sampled_inputs"]

FLOAT32_MAX = float(np.finfo(np.float32).max)

Derived = Mapping[str, tuple[StreamCard, Card, Source]]
"""Of input streams, by name, that a source makes columns of after they are resampled: what is needed for it."""


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


def sampled_inputs(
    recording: Recording,
    streams: Mapping[str, Stream],
    derived: Derived,
    grids: Sequence[Mapping[str, Grid]],
    protocol: Protocol,
) -> Iterator[FloatArray]:
    """Sample input streams on their grids of every episode, beside each other, and filter: (N * chunk, C) each."""
    sampled = []
    for name, stream in streams.items():
        of_each = resample(stream, [(grid[name].inputs, grid[name].origin) for grid in grids], protocol)
        if name in derived:
            of_each = [_derived_columns(values, recording, *derived[name]) for values in of_each]
        sampled.append(of_each)
    for of_episode in zip(*sampled, strict=True):
        inputs = of_episode[0] if len(of_episode) == 1 else np.concatenate(of_episode, axis=1)
        yield inputs if protocol.lowpass is None else protocol.lowpass.apply(inputs, protocol.input_hz)


def _derived_columns(
    values: FloatArray, recording: Recording, stream: StreamCard, card: Card, source: Source
) -> FloatArray:
    """Return what a source makes of a sampled input stream (T, C): the columns that a model sees, (T, C')."""
    what = f"derived columns of {stream.name!r} of recording {recording.id} ({recording.path})"
    function = partial(source.inputs[stream.name], values)
    derived = as_floats(call_reader(card.reader, what, function), card, what)
    expected = (len(values), len(stream.derived))
    if np.shape(derived) != expected:
        raise SourceError(card.name, f"{what}: expected the shape {expected}, found {np.shape(derived)}")
    return derived


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
