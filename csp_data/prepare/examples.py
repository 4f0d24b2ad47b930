"""From one recording to examples: align, cut at gaps, resample, filter, compute the target."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from csp_data.card import Card, StreamCard, TargetCard
from csp_data.card.plugins import call_reader
from csp_data.errors import DamagedRecordingError, SourceError
from csp_data.prepare.cleaning import (
    as_floats,
    baseline_and_clip,
    check_clocks,
    clean,
    reasons_to_drop,
    repeated_times,
    with_arrays,
)
from csp_data.protocol import Protocol
from csp_data.recording import FloatArray, Note, Recording, Stream
from csp_data.signal.align import Grid, chunk_grid, common_intervals, own_start_grids
from csp_data.signal.resample import interval_mean, linear
from csp_data.signal.rotation import slerp
from csp_data.sources import Source

__all__ = ["Example", "cut_into_pieces", "examples"]

Interval = tuple[float, float]

FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Example:
    """One episode, ready to be stored.

    Parameters
    ----------
    id, group
        Of the episode; pieces of one recording share its group.
    recording
        Id of the recording it is a piece of.
    start_s
        Beginning of the first chunk on the recording's clock, in seconds.
    columns, units
        Names and units of the C inputs.
    inputs : array, shape (N * chunk, C)
    targets : array, shape (N, D)
    """

    id: str
    group: str
    recording: str
    start_s: float
    columns: tuple[str, ...]
    units: tuple[str, ...]
    inputs: npt.NDArray[np.floating]
    targets: npt.NDArray[np.floating]

    def stored(self) -> Example:
        """Return it with the numbers as the prepared file holds them: float32."""
        return replace(self, inputs=self.inputs.astype("<f4"), targets=self.targets.astype("<f4"))


def examples(
    recording: Recording,
    card: Card,
    source: Source,
    protocol: Protocol,
    instead: Mapping[str, Stream] | None = None,
) -> tuple[list[Example], list[Note]]:
    """Turn a recording into episodes: align, cut at gaps, resample, filter, compute the target.

    Parameters
    ----------
    recording, card, source, protocol
        What to cut, and how.
    instead
        Input streams by name that read something else than those of the recording at the same times, for
        experiments. Episodes, grids and targets are those of the recording.

    Returns
    -------
    examples
        One for each stretch without a long gap; none if the protocol leaves the recording out.
    notes
        What was repaired or left out.
    """
    inputs = card.inputs(protocol.inputs)
    references = [stream.name for stream in card.streams if stream.role == "reference"]
    names = [*(stream.name for stream in inputs), *references]
    recording = with_arrays(recording, names, card)
    notes = list(check_clocks(recording, [card.stream(name) for name in names]))
    if dropped := list(reasons_to_drop(recording, names, protocol))[:1]:
        return [], dropped
    notes += repeated_times(recording, names)
    measured = {**recording.streams, **(instead or {})}
    streams = {
        name: clean(baseline_and_clip(measured[name], name, recording, protocol), name, recording)
        for name in names
    }
    intervals = _episode_intervals(recording, streams, protocol, notes)
    grids = list(_lay_grids(recording, streams, intervals, protocol, notes))
    notes += _interpolated(recording, references, intervals)
    target = card.target(protocol.target)
    cleaned = _Cleaned(recording, streams, inputs, references, target, card, source, protocol)
    ids = [recording.id] if len(grids) == 1 else [f"{recording.id}.{i}" for i in range(1, len(grids) + 1)]
    return [_example(cleaned, *episode) for episode in zip(ids, grids, strict=True)], notes


@dataclass(frozen=True)
class _Cleaned:
    """A recording whose clocks increase and whose values are finite, and all that its examples are made by.

    Parameters
    ----------
    recording, streams
        As read, and by name as they are used.
    inputs, references, target
        Cards of the input streams, names of the reference streams, and the card of the target.
    card, source, protocol
        Of the data set.
    """

    recording: Recording
    streams: Mapping[str, Stream]
    inputs: Sequence[StreamCard]
    references: Sequence[str]
    target: TargetCard
    card: Card
    source: Source
    protocol: Protocol

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """Name and unit of every input column."""
        return tuple(
            (column, stream.unit)
            for stream in self.inputs
            for column in stream.derived or self.streams[stream.name].channels
        )


def _example(cleaned: _Cleaned, id_: str, grids: Mapping[str, Grid]) -> Example:
    """Make one episode, of which every stream has a grid."""
    columns, units = zip(*cleaned.columns, strict=True)
    inputs = _inputs(cleaned, grids)
    targets = _targets(cleaned, grids)
    _check_finite(cleaned.recording, inputs, columns)
    _check_finite(cleaned.recording, targets, cleaned.target.channels)
    first = grids[cleaned.inputs[0].name]
    return Example(
        id=id_,
        group=cleaned.recording.group,
        recording=cleaned.recording.id,
        start_s=float(first.origin + first.edges[0]),
        columns=columns,
        units=units,
        inputs=inputs,
        targets=targets,
    )


def _check_finite(recording: Recording, values: FloatArray, columns: Sequence[str]) -> None:
    """Refuse values that are not finite, or too large for float32, in which they are stored.

    A source can make such values of finite samples: a quaternion of zeros has no angle, for example.
    """
    if not (
        values.min() >= -FLOAT32_MAX and values.max() <= FLOAT32_MAX
    ):  # no array as large as the values, for speed
        finite = np.abs(values) <= FLOAT32_MAX
        row, column = np.argwhere(~finite)[0]
        raise DamagedRecordingError(
            recording.path,
            f"{columns[column]}, row {row} of an episode",
            "finite numbers, as float32 holds them",
            f"{values[row, column]} ({(~finite).any(axis=1).sum()} such rows)",
        )


def cut_into_pieces(episodes: Sequence[Example], piece_s: float, protocol: Protocol) -> list[Example]:
    """Cut the episodes of a recording into pieces of at most `piece_s` seconds, numbered throughout."""
    steps = max(1, round(piece_s * protocol.target_hz))
    pieces = [
        replace(
            episode,
            start_s=episode.start_s + first / protocol.target_hz,
            inputs=episode.inputs[first * protocol.chunk : (first + steps) * protocol.chunk],
            targets=episode.targets[first : first + steps],
        )
        for episode in episodes
        for first in range(0, len(episode.targets), steps)
    ]
    return [replace(piece, id=f"{piece.recording}.{i}") for i, piece in enumerate(pieces, start=1)]


def _episode_intervals(
    recording: Recording, streams: dict[str, Stream], protocol: Protocol, notes: list[Note]
) -> list[Interval]:
    """Return where episodes lie: rest trimmed, cut at long gaps, short ones left out."""
    intervals = common_intervals(streams.values(), protocol.max_gap_s)
    if not intervals:
        spans = (f"{name} {_seconds(stream)}" for name, stream in streams.items())
        what = "recording whose streams have no time in common left out"
        notes.append(Note(recording.id, what, ", ".join(spans), kind="drop"))
    elif protocol.trim_rest_s is not None and recording.active is not None:
        first, last = recording.active[0] - protocol.trim_rest_s, recording.active[1] + protocol.trim_rest_s
        intervals = [(max(a, first), min(b, last)) for a, b in intervals if a < last and b > first]
        if not intervals:
            what = "recording whose active part has no samples left out"
            detail = f"active from {recording.active[0]:.3f} to {recording.active[1]:.3f} s"
            notes.append(Note(recording.id, what, detail, kind="drop"))
    for (_, end), (begin, _) in pairwise(intervals):
        notes.append(Note(recording.id, "gap ends an episode", f"{begin - end:.3f} s at {end:.3f} s"))
    least, step = protocol.min_episode_s, 1 / protocol.target_hz
    shortest, bound = (least, "min_episode_s") if least >= step else (step, "a target step")
    for start, stop in intervals:
        if stop - start < shortest:
            notes.append(Note(recording.id, f"piece shorter than {bound} left out", f"{stop - start:.3f} s"))
    return [(start, stop) for start, stop in intervals if stop - start >= shortest]


def _seconds(stream: Stream) -> str:
    """Say from when to when a stream has samples."""
    return f"{stream.time[0]:.3f} to {stream.time[-1]:.3f} s" if len(stream.time) else "without samples"


def _lay_grids(
    recording: Recording,
    streams: dict[str, Stream],
    intervals: Iterable[Interval],
    protocol: Protocol,
    notes: list[Note],
) -> Iterator[dict[str, Grid]]:
    """Yield the grid of every stream for each episode, until the recording's longest duration is used up."""
    remaining_s = protocol.max_duration_s
    shortest_s = 1 / protocol.target_hz if protocol.grid == "common" else 1.0
    times = {name: stream.time for name, stream in streams.items()}
    shift = protocol.target_shift_s
    for start, stop in intervals:
        if protocol.grid == "own-start":
            grids = own_start_grids(times, (start, stop), protocol.target_hz, protocol.chunk, remaining_s)
        else:
            # inputs that lie after their targets begin later: no target lies before the interval
            inputs_from = start - min(shift, 0.0)
            grid = chunk_grid((inputs_from, stop), protocol.target_hz, protocol.chunk, remaining_s)
            grids = dict.fromkeys(times, grid)
        if shift:
            grids = {name: replace(grid, edges=grid.edges + shift) for name, grid in grids.items()}
        steps = min(len(grid.edges) for grid in grids.values()) - 1
        if remaining_s is not None:
            remaining_s -= steps / protocol.target_hz
        if steps:
            yield grids
        elif remaining_s is None or remaining_s == protocol.max_duration_s or remaining_s > shortest_s - 1e-6:
            detail = f"{stop - start:.3f} s in common"
            notes.append(Note(recording.id, "piece too short for the grid left out", detail))


def _interpolated(
    recording: Recording, references: Iterable[str], intervals: Iterable[Interval]
) -> Iterator[Note]:
    """Say how many reference samples within the episodes had no value and were interpolated."""
    for name in references:
        stream = recording.streams[name]
        finite = np.isfinite(stream.values)
        if finite.all():
            continue
        missing = stream.time[~finite.all(axis=1)]
        count = sum(int(((missing >= start) & (missing <= stop)).sum()) for start, stop in intervals)
        if count:
            yield Note(recording.id, "reference samples without a value interpolated", f"{name}: {count}")


def _inputs(cleaned: _Cleaned, grids: Mapping[str, Grid]) -> FloatArray:
    """Sample the input streams on their grids, beside each other, and filter them: (N * chunk, C)."""
    recording, card, protocol = cleaned.recording, cleaned.card, cleaned.protocol
    sampled = []
    for stream in cleaned.inputs:
        grid = grids[stream.name]
        values = _resample(cleaned.streams[stream.name], grid.inputs, grid.origin, protocol)
        if stream.derived:
            what = f"derived columns of {stream.name!r} of recording {recording.id} ({recording.path})"
            function = partial(cleaned.source.inputs[stream.name], values)
            derived = as_floats(call_reader(card.reader, what, function), card, what)
            expected = (len(values), len(stream.derived))
            if np.shape(derived) != expected:
                raise SourceError(card.name, f"{what}: expected the shape {expected}, found {np.shape(derived)}")
            values = derived
        sampled.append(values)
    inputs = sampled[0] if len(sampled) == 1 else np.concatenate(sampled, axis=1)
    return inputs if protocol.lowpass is None else protocol.lowpass.apply(inputs, protocol.input_hz)


def _targets(cleaned: _Cleaned, grids: Mapping[str, Grid]) -> FloatArray:
    """Compute the target from the references at the N + 1 edges of the steps: (N, D)."""
    recording, card, target, protocol = cleaned.recording, cleaned.card, cleaned.target, cleaned.protocol
    at_edges = {
        name: _resample(cleaned.streams[name], grids[name].edges, grids[name].origin, protocol)
        for name in cleaned.references
    }
    what = f"target {target.name!r} of recording {recording.id} ({recording.path})"
    returned = call_reader(card.reader, what, partial(cleaned.source.targets[target.name], at_edges))
    targets = as_floats(returned, card, f"{recording.id}: target {target.name}")
    expected = (len(grids[cleaned.inputs[0].name].edges) - 1, len(target.channels))
    if np.shape(targets) != expected:
        problem = f"target {target.name}: expected the shape {expected}, found {np.shape(targets)}"
        raise SourceError(card.name, f"{recording.id}: {problem}")
    per_second = target.increment and protocol.target_per == "second"
    return targets * protocol.target_hz if per_second else targets


def _resample(stream: Stream, grid: FloatArray, origin: float, protocol: Protocol) -> FloatArray:
    time = stream.time - origin if origin else stream.time
    if stream.kind == "rotation" and protocol.rotations == "slerp":
        return slerp(time, stream.values, grid)
    if stream.role == "input" and protocol.resample == "mean":
        return interval_mean(time, stream.values, grid, 1 / protocol.input_hz)
    return linear(time, stream.values, grid)
