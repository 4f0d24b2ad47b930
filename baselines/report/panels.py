"""The report's figures: small panels as SVG, all of one native width, so that text is readable on a phone too.

What is drawn is drawn by :mod:`csp_data.plot`; here axes become pieces of a page.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from csp_data.plot.style import FAINT, INK, MUTED, legend_below, to_svg

__all__ = ["Panel", "panel"]

WIDTH = 4.6
"""Inches; at 72 SVG units an inch a panel is 331 units wide, about a phone's width."""
TITLE = 56
"""Letters of a title that such a panel has room for in a line."""

RC_PARAMS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "figure.titlesize": 9.5,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": FAINT,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.labelcolor": INK,
}

_NUMBERS = re.compile(r'\b(d|x|y|x1|x2|y1|y2|transform|width|height)="([^"]*)"')


@dataclass(frozen=True)
class Panel:
    """A figure as inline SVG, with what it shows in words for those who cannot see it."""

    svg: str
    description: str


def panel(
    draw: Callable[[Axes], Any],
    description: str,
    *,
    height: float = 2.9,
    title: str | None = None,
    legend: bool = True,
) -> Panel:
    """Draw a panel.

    Parameters
    ----------
    draw
        Draws into the axes it is given. What stands beside their y axis goes above it and the legend below, where
        they take no width.
    description
        What it shows.
    height
        In inches; it is :data:`WIDTH` wide.
    title
        What stands above it instead.
    legend
        Whether it has one, or shares that of the panel before it.
    """
    with mpl.rc_context(RC_PARAMS):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        said = textwrap.fill(title or axes.get_ylabel(), TITLE, break_long_words=False, break_on_hyphens=False)
        figure.suptitle(said, x=0.02, ha="left")  # not over the axes, which begin where long labels of rows end
        axes.set_ylabel("")
        if legend:
            legend_below(figure, axes)
        elif drawn_legend := axes.get_legend():
            drawn_legend.remove()
        return Panel(_minify(to_svg(figure)), description)


def _minify(svg: str) -> str:
    """Return an SVG without what a page does not need: sizes, metadata, far decimals, ids nothing refers to."""
    svg = re.sub(r'^<svg([^>]*?) width="[^"]*"', r"<svg\1", svg)  # the page scales panels by their view box
    svg = re.sub(r'^<svg([^>]*?) height="[^"]*"', r"<svg\1", svg)
    svg = re.sub(r"<metadata>.*?</metadata>\s*|<defs>\s*<style.*?</style>\s*</defs>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda match: match[0] if match[1] in used else "", svg)
    svg = _NUMBERS.sub(lambda match: f'{match[1]}="{_round_coordinates(match[2])}"', svg)
    return re.sub(r"\s*\n\s*", "\n", svg)


def _round_coordinates(numbers: str) -> str:
    """Return a list of coordinates with two decimals, a hundredth of a pixel."""
    return re.sub(
        r"-?\d+\.\d{3,}", lambda match: f"{float(match[0]):.2f}".rstrip("0").rstrip("."), numbers
    ).strip()
