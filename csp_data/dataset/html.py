"""Data sets and episodes as notebooks show them: HTML and SVG, no extra needed."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from csp_data.card import printed_unit

if TYPE_CHECKING:
    from csp_data.dataset import Dataset, Episode

__all__ = ["dataset_html", "episode_html", "sparkline"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888")
"""Okabe and Ito's palette, told apart with any colour vision; grey instead of black, for dark notebooks."""

WIDTH, HEIGHT = 480, 90
"""Of a sparkline, in CSS pixels."""
POINTS = 400
"""Columns of a sparkline; of more samples, each column shows the least and the greatest."""
LINES = 12
"""Lines of a sparkline, less than twice as many: of more channels every second, third, ... is drawn."""


def dataset_html(dataset: Dataset) -> str:
    """Return a table of the parts, and one of the channels."""
    parts = [
        (part, str(len(split)), f"{split.seconds / 60:.1f}", str(len(split.groups)))
        for part in dataset.parts
        for split in (dataset.split(part),)
    ]
    channels = [
        (
            role,
            ", ".join(channels.names),
            ", ".join(map(printed_unit, dict.fromkeys(channels.units))),
            f"{channels.rate_hz:g}",
        )
        for role, channels in (("inputs", dataset.channels), ("targets", dataset.targets))
    ]
    head = (
        f"<p><b>{escape(dataset.name)}</b> ({escape(dataset.kind)}), protocol {escape(dataset.protocol.name)}, "
        f"<code>{escape(dataset.path.name)}</code></p>"
    )
    return (
        f"<div>{head}{_table(('part', 'episodes', 'minutes', 'groups'), parts)}"
        f"{_table(('', 'channels', 'units', 'Hz'), channels)}</div>"
    )


def episode_html(episode: Episode) -> str:
    """Return the episode's facts above a sparkline of its inputs and one of its targets."""
    seconds = float(episode.time[-1] - episode.time[0]) if len(episode.time) else 0.0
    rows = []
    for what, values in (("inputs", episode.inputs), ("targets", episode.targets)):
        said, count = " x ".join(map(str, values.shape)), values.shape[1]
        if len(_drawn(count)) < count:
            said += f",<br/>{len(_drawn(count))} of {count} channels drawn"
        rows.append((what, said, sparkline(values)))
    body = "".join(f"<tr><td>{what}</td><td>{shape}</td><td>{picture}</td></tr>" for what, shape, picture in rows)
    return (
        f"<div><p><b>{escape(episode.id)}</b>, group {escape(episode.group)}, part {escape(episode.split)}, "
        f"{seconds:.1f} s</p><table><tbody>{body}</tbody></table></div>"
    )


def sparkline(values: npt.NDArray[np.float32]) -> str:
    """Return a small SVG of channels over time, each scaled to its own range.

    Parameters
    ----------
    values : array, shape (T, C)
        Any unit; the picture has no axes.
    """
    lines = []
    count = values.shape[1]
    drawn = _drawn(count)
    for number, column in enumerate(drawn):
        shown = _envelope(np.nan_to_num(values[:, column].astype(np.float64)))
        span = np.ptp(shown) if len(shown) else 0.0
        level = (shown - shown.min()) / span if span > 0 else np.full(len(shown), 0.5)
        x = np.linspace(1, WIDTH - 1, len(shown))
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, 2 + (1 - level) * (HEIGHT - 4), strict=True))
        colour = COLOURS[number % len(COLOURS)]
        lines.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1" points="{points}"/>')
    said = f"{count}" if len(drawn) == count else f"{len(drawn)} of {count}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'role="img" aria-label="{said} channels over time">{"".join(lines)}</svg>'
    )


def _drawn(count: int) -> range:
    """Return which of so many channels are drawn."""
    return range(0, count, max(1, count // LINES))


def _envelope(column: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return at most ``2 * POINTS`` values that reach as far up and down as all of them do."""
    if len(column) <= 2 * POINTS:
        return column
    edges = np.linspace(0, len(column), POINTS + 1).astype(int)[:-1]
    return np.stack([np.minimum.reduceat(column, edges), np.maximum.reduceat(column, edges)], axis=1).ravel()


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
