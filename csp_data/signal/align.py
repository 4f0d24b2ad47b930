"""Where the streams of a recording overlap without gaps, and the grids on which examples are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from csp_data.errors import OptionError
from csp_data.recording import FloatArray, Stream

__all__ = [
    "CLOCK_ROUNDING_S",
    "Grid",
    "Interval",
    "chunk_grid",
    "clean_rows",
    "common_intervals",
    "finite_rows",
    "increasing_rows",
    "own_start_grids",
]

Interval = tuple[float, float]
"""Start and stop, in seconds on the recording's clock."""
CLOCK_ROUNDING_S = 5e-7
"""A gap of exactly the bound is bridged, whatever the rounding of the clock: of one since 1970, 0.24 us."""


def increasing_rows(stream: Stream) -> tuple[Stream, int]:
    """Drop samples whose time does not lie after all earlier ones; the first of a run of duplicates stays.

    Returns
    -------
    stream
        With strictly increasing time.
    dropped
        Number of samples left out.
    """
    if (stream.time[1:] > stream.time[:-1]).all():
        return stream, 0
    latest = np.maximum.accumulate(stream.time)
    keep = np.concatenate([[True], stream.time[1:] > latest[:-1]])
    return stream.select(keep), int(len(keep) - keep.sum())


def finite_rows(stream: Stream) -> Stream:
    """Drop samples that hold NaN or infinity in any channel."""
    finite = np.isfinite(stream.values)
    return stream if finite.all() else stream.select(np.asarray(finite.all(axis=1)))


def clean_rows(option: str, stream: Stream, columns: int) -> Stream:
    """Return the samples of an argument that are finite and lie after all earlier ones.

    Parameters
    ----------
    option
        Name of the argument.
    stream
        What it was given.
    columns
        How many channels it needs.

    Raises
    ------
    OptionError
        If it is no stream, or one with another number of channels.
    """
    if not isinstance(stream, Stream) or stream.values.ndim != 2 or stream.values.shape[1] != columns:
        found = f"a stream of {', '.join(stream.channels)}" if isinstance(stream, Stream) else stream
        raise OptionError(option, found, f"a csp_data.Stream with {columns} channels")
    return increasing_rows(finite_rows(stream))[0]


def common_intervals(streams: Iterable[Stream], max_gap_s: float | None) -> list[Interval]:
    """Return the time intervals in which every stream has samples without a long gap.

    Parameters
    ----------
    streams
        Each with strictly increasing time.
    max_gap_s
        Longest time without a sample that linear interpolation may bridge, beyond the stream's usual step (the
        median), in seconds. ``None`` bridges every gap.

    Returns
    -------
    list of (start, stop)
        Seconds, in order, disjoint.
    """
    common: list[Interval] | None = None
    for stream in streams:
        gapless = _gapless(stream.time, max_gap_s)
        common = gapless if common is None else _intersect(common, gapless)
    return common or []


def _gapless(time: FloatArray, max_gap_s: float | None) -> list[Interval]:
    if len(time) < 2:
        return []
    if max_gap_s is None:
        return [(float(time[0]), float(time[-1]))]
    steps = np.diff(time)
    breaks = np.flatnonzero(steps > max_gap_s + np.median(steps) + CLOCK_ROUNDING_S)
    starts = np.concatenate([[0], breaks + 1])
    stops = np.concatenate([breaks, [len(time) - 1]])
    return [(float(time[i]), float(time[j])) for i, j in zip(starts, stops, strict=True) if j > i]


def _intersect(a: Sequence[Interval], b: Sequence[Interval]) -> list[Interval]:
    """Return what two lists of disjoint intervals, in order, have in common, in one pass over both."""
    common = []
    i = j = 0
    while i < len(a) and j < len(b):
        start, stop = max(a[i][0], b[j][0]), min(a[i][1], b[j][1])
        if stop > start:
            common.append((start, stop))
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return common


@dataclass(frozen=True)
class Grid:
    """The times at which one stream is wanted for one example.

    Parameters
    ----------
    inputs : array, shape (N * chunk,)
        Seconds after `origin`: where an input stream is sampled.
    edges : array, shape (N + 1,)
        Seconds after `origin`: where a reference stream is sampled. Target k is made of the values at
        ``edges[k]`` and ``edges[k + 1]``, and of what stands before them.
    origin
        Seconds on the recording's clock.
    """

    inputs: FloatArray
    edges: FloatArray
    origin: float = 0.0


def chunk_grid(interval: Interval, target_hz: float, chunk: int, longest_s: float | None = None) -> Grid:
    """Lay as many whole chunks as fit into an interval, from its start; one grid for all streams.

    Chunk k covers the time from ``edges[k]`` to ``edges[k + 1]``. Its inputs are the samples at
    ``inputs[k * chunk : (k + 1) * chunk]``; the last of them lies exactly on ``edges[k + 1]``.

    Parameters
    ----------
    interval
        Start and stop in seconds.
    target_hz
        Chunks per second.
    chunk
        Input samples per chunk.
    longest_s
        Use no more than so many seconds.
    """
    start, stop = interval
    length = stop - start if longest_s is None else min(stop - start, longest_s)
    # the tolerance (at most 5 us) keeps a span of exactly N chunks at N, whatever the rounding of its ends
    count = int(np.floor(max(0.0, length * target_hz + min(1e-6, 5e-6 * target_hz))))
    edges = start + np.arange(count + 1) / target_hz
    inputs = start + np.arange(1, count * chunk + 1) / (target_hz * chunk)
    return Grid(inputs=inputs, edges=edges)


def own_start_grids(
    times: Mapping[str, FloatArray],
    interval: Interval,
    target_hz: float,
    chunk: int,
    longest_s: float | None = None,
) -> dict[str, Grid]:
    """Lay a grid over each stream from its own first sample within an interval, as the published code does.

    Samples at or after the end of the interval do not count, and all grids have the whole number of seconds that
    the stream with the shortest span of samples covers. The first edge stands twice, so that a target made of
    neighbouring edges begins with that of no motion.

    Parameters
    ----------
    times
        Of each stream, in seconds, strictly increasing.
    interval, target_hz, chunk, longest_s
        As in :func:`chunk_grid`; a fraction of a second in `longest_s` does not count.

    Returns
    -------
    dict
        A grid for each stream, relative to its first sample: large clocks (seconds since 1970) cost no digits.
    """
    start, stop = interval
    inside = {name: time[slice(*np.searchsorted(time, (start, stop)))] for name, time in times.items()}
    if not all(len(time) for time in inside.values()):
        seconds = 0
    else:
        seconds = int(np.floor(min(time[-1] - time[0] for time in inside.values())))
    if longest_s is not None:
        seconds = min(seconds, int(longest_s))
    steps = np.arange(round(seconds * target_hz)) / target_hz
    inputs = np.arange(len(steps) * chunk) / (target_hz * chunk)
    edges = np.concatenate([steps[:1], steps]) if seconds else np.zeros(1)
    return {
        name: Grid(inputs, edges, origin=float(time[0]) if len(time) else start) for name, time in inside.items()
    }
