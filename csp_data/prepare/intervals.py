"""Where the episodes of a recording lie, and the grids that its streams are sampled on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise

from csp_data.prepare.cleaning import baseline_and_clip, clean, repeated_times
from csp_data.protocol import Protocol
from csp_data.recording import Note, Recording, Stream
from csp_data.signal.align import Grid, Interval, chunk_grid, common_intervals, own_start_grids

__all__ = ["clean_and_cut"]


def clean_and_cut(
    recording: Recording, measured: Mapping[str, Stream], protocol: Protocol, notes: list[Note]
) -> tuple[dict[str, Stream], list[Interval], dict[str, dict[str, Grid]]]:
    """Clean the streams of a recording that are used, and cut it into episodes; what is left out is noted.

    Returns
    -------
    streams
        By name, with clocks that increase and finite values, without baseline.
    intervals
        Where episodes may lie.
    grids
        By the episode's id those of every stream: ids are numbered where there are several.
    """
    notes += repeated_times(recording, measured)
    streams = {
        name: clean(baseline_and_clip(stream, name, recording, protocol), name, recording)
        for name, stream in measured.items()
    }
    intervals = _episode_intervals(recording, streams, protocol, notes)
    grids = list(_lay_grids(recording, streams, intervals, protocol, notes))
    ids = [recording.id] if len(grids) == 1 else [f"{recording.id}.{i}" for i in range(1, len(grids) + 1)]
    return streams, intervals, dict(zip(ids, grids, strict=True))


def _episode_intervals(
    recording: Recording, streams: Mapping[str, Stream], protocol: Protocol, notes: list[Note]
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
    streams: Mapping[str, Stream],
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
            # inputs lie after their targets, if shifted, and begin later: no target lies before the interval
            grid = chunk_grid((start - shift, stop), protocol.target_hz, protocol.chunk, remaining_s)
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
