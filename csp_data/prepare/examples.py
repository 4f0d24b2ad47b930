"""From one recording to examples: align, cut at gaps, resample, filter, compute the target."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from csp_data.card import Card, StreamCard, TargetCard
from csp_data.card.plugins import call_reader
from csp_data.errors import SourceError
from csp_data.prepare.cleaning import as_on_card, check_clocks, reasons_to_drop, repeated_times
from csp_data.prepare.intervals import clean_and_cut
from csp_data.prepare.sampling import check_finite, derived_columns, joined_and_filtered, resample
from csp_data.protocol import Protocol
from csp_data.recording import FloatArray, Note, Recording, Stream
from csp_data.signal.align import Grid, Interval
from csp_data.sources import Source, as_floats

__all__ = ["Example", "cut_into_pieces", "examples"]


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
    recording = as_on_card(recording, names, card)
    notes = list(check_clocks(recording, [card.stream(name) for name in names]))
    if dropped := list(reasons_to_drop(recording, names, protocol))[:1]:
        return [], dropped
    notes += repeated_times(recording, names)
    measured = {**recording.streams, **(instead or {})}
    streams, intervals, grids = clean_and_cut(recording, {name: measured[name] for name in names}, protocol, notes)
    notes += _interpolated(recording, references, intervals)
    target = card.target(protocol.target)
    cleaned = _Cleaned(recording, streams, inputs, references, target, card, source, protocol)
    inputs_of_each = _inputs(cleaned, list(grids.values()))
    return [
        _example(cleaned, id_, of_episode, inputs_of_episode)
        for (id_, of_episode), inputs_of_episode in zip(grids.items(), inputs_of_each, strict=True)
    ], notes


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


def _example(cleaned: _Cleaned, id_: str, grids: Mapping[str, Grid], inputs: FloatArray) -> Example:
    """Make one episode, of which every stream has a grid."""
    columns, units = zip(*cleaned.columns, strict=True)
    targets = _targets(cleaned, grids)
    check_finite(cleaned.recording, inputs, columns)
    check_finite(cleaned.recording, targets, cleaned.target.channels)
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


def _interpolated(
    recording: Recording, references: Iterable[str], intervals: Iterable[Interval]
) -> Iterator[Note]:
    """Say how many reference samples within the episodes had no value and were interpolated."""
    for name in references:
        stream = recording.streams[name]
        finite = np.isfinite(stream.values)
        if finite.all():
            continue
        missing = np.sort(stream.time[~finite.all(axis=1)])
        starts, stops = np.array(list(intervals)).reshape(-1, 2).T
        within = np.searchsorted(missing, stops, side="right") - np.searchsorted(missing, starts, side="left")
        count = int(within.sum())
        if count:
            yield Note(recording.id, "reference samples without a value interpolated", f"{name}: {count}")


def _inputs(cleaned: _Cleaned, grids: Sequence[Mapping[str, Grid]]) -> Iterator[FloatArray]:
    """Sample the input streams on the grids of every episode, beside each other, and filter: (N * chunk, C)."""
    recording, card, protocol = cleaned.recording, cleaned.card, cleaned.protocol
    sampled = []
    for stream in cleaned.inputs:
        of_stream = [(of_episode[stream.name].inputs, of_episode[stream.name].origin) for of_episode in grids]
        values = resample(cleaned.streams[stream.name], of_stream, protocol)
        if stream.derived:
            values = [derived_columns(v, stream, recording, card, cleaned.source) for v in values]
        sampled.append(values)
    return (joined_and_filtered(of_episode, protocol) for of_episode in zip(*sampled, strict=True))


def _targets(cleaned: _Cleaned, grids: Mapping[str, Grid]) -> FloatArray:
    """Compute the target from the references at the N + 1 edges of the steps: (N, D)."""
    recording, card, target, protocol = cleaned.recording, cleaned.card, cleaned.target, cleaned.protocol
    at_edges = {
        name: resample(cleaned.streams[name], [(grids[name].edges, grids[name].origin)], protocol)[0]
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
