"""Draw the channels of an episode: over time, before and after a low-pass, and their spectra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from csp_data.card import printed_unit
from csp_data.dataset import Episode
from csp_data.plot.style import (
    COLOURS,
    GREYS,
    INK,
    TIME,
    from_start,
    legend_beside,
    styles,
    telling,
    tidy,
)
from csp_data.signal.lowpass import LowPass
from csp_data.store import Channels

__all__ = ["by_unit", "plot_channels", "plot_lowpass", "plot_spectra"]

PANEL = len(COLOURS)
"""Most lines in a panel: as many as there are colours."""


def by_unit(channels: Channels) -> list[tuple[str, list[int]]]:
    """Group columns by unit, at most seven to a panel."""
    units: dict[str, list[int]] = {}
    for column, unit in enumerate(channels.units):
        units.setdefault(unit, []).append(column)
    return [(unit, all_[i : i + PANEL]) for unit, all_ in units.items() for i in range(0, len(all_), PANEL)]


def plot_channels(
    ax: Axes,
    episode: Episode,
    channels: Channels,
    columns: Sequence[int],
    *,
    targets: bool = False,
    lowpass: LowPass | None = None,
) -> Axes:
    """Draw some channels of an episode over time.

    Parameters
    ----------
    ax
        Axes to draw into.
    episode
        The episode.
    channels
        Names, units and rate of its inputs or targets.
    columns
        Which of them.
    targets
        Draw targets, as steps over their chunks, instead of inputs.
    lowpass
        Draw the inputs thin and, over them, low-passed.

    Returns
    -------
    Axes
        The same axes.
    """
    values: Any = episode.targets if targets else episode.inputs
    time = from_start(episode.target_time if targets else episode.time, float(episode.time[0]))
    for style, column in zip(styles(len(columns)), columns, strict=True):
        named = {**style, "label": channels.names[column]}
        shown = telling(values[:, column])
        if targets:
            ax.step(time[shown], values[shown, column], where="pre", linewidth=1.2, **named)
        elif lowpass is None:
            ax.plot(time[shown], values[shown, column], linewidth=0.8, **named)
        else:
            ax.plot(time[shown], values[shown, column], linewidth=0.5, alpha=0.4, color=style["color"])
            smooth = lowpass.apply(values[:, [column]], channels.rate_hz)[:, 0]
            shown = telling(smooth)
            ax.plot(time[shown], smooth[shown], linewidth=1.4, **named)
    if len({channels.units[column] for column in columns}) == 1:
        ax.set_ylabel(printed_unit(channels.units[columns[0]]))
    legend_beside(ax)
    ax.margins(x=0)
    return tidy(ax)


def plot_lowpass(ax: Axes, episode: Episode, channels: Channels, column: int, *lowpass: LowPass) -> Axes:
    """Draw one input channel as it is and through low-passes, over the three seconds in which most happens.

    A short piece, as a filter's delay and smoothing cannot be seen in a long one.

    Parameters
    ----------
    ax
        Axes to draw into.
    episode, channels, column
        The episode, its inputs' names, and which of them.
    *lowpass
        The filters. They run over the whole episode; a piece of the result is shown.
    """
    values = np.asarray(episode.inputs[:, [column]], dtype=np.float64)
    length = min(len(values), max(2, round(3 * channels.rate_hz)))
    step = max(1, length // 4)
    spread = [values[i : i + length].std() for i in range(0, len(values) - length + 1, step)]
    first = int(np.argmax(spread)) * step
    piece = slice(first, first + length)
    time = from_start(episode.time)[piece]
    ax.plot(time, values[piece, 0], color=GREYS[0], linewidth=1.0, label="as recorded")
    for one, style in zip(lowpass, styles(len(lowpass)), strict=True):
        smooth = one.apply(values, channels.rate_hz)
        ax.plot(time, smooth[piece, 0], linewidth=1.6, label=_said(one), **style)
    ax.set(
        xlabel=TIME,
        ylabel=f"{channels.names[column]} ({printed_unit(channels.units[column])})",
    )
    ax.margins(x=0)
    legend_beside(ax)
    return tidy(ax)


def _said(lowpass: LowPass) -> str:
    return f"{lowpass.hz:g} Hz, {lowpass.phase}{' phase' if lowpass.phase == 'zero' else ''}"


def plot_spectra(
    ax: Axes, episode: Episode, channels: Channels, columns: Sequence[int], *lowpass: LowPass
) -> Axes:
    """Draw the power spectral density of some input channels (Welch's method, pieces of 256 samples).

    Parameters
    ----------
    ax
        Axes to draw into; both become logarithmic.
    episode, channels, columns
        The episode, its inputs' names, units and rate, and which of them.
    *lowpass
        Draw the one channel through these filters too, down to where rounding begins.
    """
    from scipy.signal import welch  # here: it takes half a second, for which no other figure has use

    pieces = min(256, len(episode.inputs))
    recorded = np.asarray(episode.inputs[:, list(columns)], dtype=np.float64)
    lines = dict(zip((channels.names[column] for column in columns), recorded.T, strict=True))
    drawn = styles(len(columns))
    if lowpass:
        smooth = {_said(one): one.apply(recorded[:, :1], channels.rate_hz)[:, 0] for one in lowpass}
        lines = {"as recorded": recorded[:, 0], **smooth}
        drawn = iter([{"color": GREYS[0]}, *styles(len(lowpass))])
        for cut_off in {one.hz for one in lowpass}:
            ax.axvline(cut_off, color=INK, linewidth=0.8, linestyle=":")
    for style, (name, values) in zip(drawn, lines.items(), strict=True):
        hz, density = welch(values, channels.rate_hz, nperseg=pieces)
        ax.loglog(hz[1:], density[1:], linewidth=1.3 if lowpass else 1.0, label=name, **style)
    if lowpass:
        ax.set_ylim(bottom=ax.get_ylim()[1] * 1e-9)
    unit = printed_unit(channels.units[columns[0]]) if len(columns) else ""
    squared = "1" if unit == "no unit" else f"{unit if unit.isalpha() else f'({unit})'}²"
    ax.set(xlabel="frequency (Hz)", ylabel=f"power density ({squared}/Hz)")
    legend_beside(ax)
    return tidy(ax)
