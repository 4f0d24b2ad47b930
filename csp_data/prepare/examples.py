"""From one recording to examples: align, cut at gaps, resample, filter, compute the target."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from csp_data.card import Card
from csp_data.card.plugins import call_reader
from csp_data.errors import SourceError
from csp_data.prepare.cleaning import as_on_card, check_clocks, reasons_to_drop
from csp_data.prepare.intervals import clean_and_cut
from csp_data.prepare.sampling import check_finite, resample, sampled_inputs
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
    if dropped := next(reasons_to_drop(recording, names, protocol), None):
        return [], [dropped]
    measured = {**recording.streams, **(instead or {})}
    streams, intervals, grids = clean_and_cut(recording, {name: measured[name] for name in names}, protocol, notes)
    notes += _interpolated(recording, references, intervals)
    named = [(column, s.unit) for s in inputs for column in s.derived or streams[s.name].channels]
    columns, units = zip(*named, strict=True)
    derived = {stream.name: (stream, card, source) for stream in inputs if stream.derived}
    of_inputs, of_references = (
        {name: streams[name] for name in part} for part in (names[: len(inputs)], references)
    )
    episodes = []
    sampled = sampled_inputs(recording, of_inputs, derived, list(grids.values()), protocol)
    for (id_, grid), values in zip(grids.items(), sampled, strict=True):
        targets = _targets(recording, of_references, grid, card, source, protocol)
        check_finite(recording, values, columns)
        check_finite(recording, targets, card.target(protocol.target).channels)
        first = grid[names[0]]
        start_s = float(first.origin + first.edges[0])
        episodes.append(
            Example(id_, recording.group, recording.id, start_s, columns, units, inputs=values, targets=targets)
        )
    return episodes, notes


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


def _targets(
    recording: Recording,
    references: Mapping[str, Stream],
    grids: Mapping[str, Grid],
    card: Card,
    source: Source,
    protocol: Protocol,
) -> FloatArray:
    """Compute the target from the references at the N + 1 edges of the steps: (N, D)."""
    target = card.target(protocol.target)
    at_edges = {
        name: resample(stream, [(grids[name].edges, grids[name].origin)], protocol)[0]
        for name, stream in references.items()
    }
    what = f"target {target.name!r} of recording {recording.id} ({recording.path})"
    returned = call_reader(card.reader, what, partial(source.targets[target.name], at_edges))
    targets = as_floats(returned, card, f"{recording.id}: target {target.name}")
    expected = (len(next(iter(grids.values())).edges) - 1, len(target.channels))
    if np.shape(targets) != expected:
        problem = f"target {target.name}: expected the shape {expected}, found {np.shape(targets)}"
        raise SourceError(card.name, f"{recording.id}: {problem}")
    per_second = target.increment and protocol.target_per == "second"
    return targets * protocol.target_hz if per_second else targets
