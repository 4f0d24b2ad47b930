"""Draw recordings as their source gives them: streams with their gaps, and the jitter of their clocks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from csp_data.card import printed_unit
from csp_data.plot.style import COLOURS, TIME, legend_beside, styles, telling, tidy
from csp_data.recording import FloatArray, Recording, Stream

__all__ = ["gaps", "plot_clock", "plot_coverage", "plot_stream"]

GAP = 3.0
"""Usual steps without a sample that count as a gap in a picture."""


def gaps(time: FloatArray) -> npt.NDArray[np.float64]:
    """Return start and stop (s) of every step longer than three usual ones (medians), shape (G, 2)."""
    if len(time) < 2:
        return np.zeros((0, 2))
    steps = np.diff(time)
    long = np.flatnonzero(steps > GAP * np.median(steps))
    return np.stack([time[long], time[long + 1]], axis=1)


def _times_of_values(stream: Stream) -> FloatArray:
    """Return the times of the rows that have all their values: of a reference, some may be NaN."""
    values = stream.values
    return stream.time[np.isfinite(values).all(axis=1)] if values.dtype.kind == "f" else stream.time


def plot_stream(ax: Axes, stream: Stream, *, active: tuple[float, float] | None = None) -> Axes:
    """Draw a raw stream over time, with its gaps shaded and dotted lines at the ends of the marked part.

    Parameters
    ----------
    ax
        Axes to draw into.
    stream
        The stream; at most its first seven channels are drawn, and the label says so.
    active
        :attr:`csp_data.Recording.active`, in seconds.
    """
    count = min(stream.values.shape[1], len(COLOURS))
    silent = gaps(_times_of_values(stream))
    after = np.searchsorted(stream.time, gaps(stream.time)[:, 1])
    time = np.insert(stream.time, after, np.nan)
    for column, style in enumerate(styles(count)):
        values = np.insert(stream.values[:, column].astype(np.float64), after, np.nan)
        shown = telling(values)
        ax.plot(time[shown], values[shown], linewidth=0.8, label=stream.channels[column], **style)
    for start, stop in silent:
        ax.axvspan(start, stop, color="#8a8f98", alpha=0.25, linewidth=0)
    for edge in active or ():
        ax.axvline(edge, color="#222222", linestyle=":", linewidth=0.9)
    total = stream.values.shape[1]
    ax.set_ylabel(printed_unit(stream.unit) + (f"\n(first {count} of {total})" if count < total else ""))
    legend_beside(ax)
    ax.margins(x=0)
    return tidy(ax)


def plot_coverage(ax: Axes, streams: Mapping[str, Stream] | Recording) -> Axes:
    """Draw from when to when each stream has samples with values: one bar per stream, broken at its gaps.

    Parameters
    ----------
    ax
        Axes to draw into.
    streams
        By name, or a recording.
    """
    if isinstance(streams, Recording):
        streams = streams.streams
    for row, (stream, style) in enumerate(zip(streams.values(), styles(len(streams)), strict=True)):
        if not len(time := _times_of_values(stream)):
            continue
        silent = gaps(time)
        starts = np.concatenate([[time[0]], silent[:, 1]])
        stops = np.concatenate([silent[:, 0], [time[-1]]])
        bars = [(start, stop - start) for start, stop in zip(starts, stops, strict=True)]
        ax.broken_barh(bars, (row - 0.3, 0.6), facecolor=style["color"])
    ax.set_yticks(range(len(streams)), list(streams))
    ax.set_ylim(len(streams) - 0.5, -0.5)
    ax.set_xlabel(TIME)
    return tidy(ax)


def plot_clock(ax: Axes, stream: Stream, *, name: str = "", colour: str = COLOURS[0]) -> Axes:
    """Draw the time from each sample to the next, in milliseconds: jitter, gaps, duplicates and steps back.

    Parameters
    ----------
    ax
        Axes to draw into.
    stream
        The stream.
    name, colour
        Of the stream, for the label.
    """
    steps = np.diff(stream.time) * 1e3
    if len(steps):
        usual, jitter = float(np.median(steps)), float(np.median(np.abs(steps - np.median(steps))))
        label = f"{name} {usual:.3g} ms, median deviation {jitter:.3f} ms".strip()
        ax.plot(
            stream.time[1:], steps, ".", markersize=2, color=colour, label=label, rasterized=len(steps) > 2_000
        )
        ax.ticklabel_format(useOffset=False)
        if np.ptp(steps) < 0.02 * usual:  # a regular clock should look like one
            ax.set_ylim(0.98 * usual, 1.02 * usual)
        ax.axhline(usual, color="#222222", linewidth=0.6, linestyle=":")
        ax.legend(loc="upper right", fontsize="small", frameon=False)
    ax.set(ylabel="step (ms)")
    ax.margins(x=0)
    return tidy(ax)
