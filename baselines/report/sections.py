"""The pieces of a section of the report, in their order."""

from __future__ import annotations

from collections.abc import Callable

from baselines.report import about, cost, curves, html, results
from baselines.report.group import Group
from baselines.report.html import Place

__all__ = ["PIECES", "pieces"]

PIECES: dict[str, Callable[[Group], str]] = {
    "Results": results.results,
    "Significant differences": results.differences,
    "The data": about.data,
    "Signals before and after a low-pass": about.signals,
    "Learning curves": curves.learning,
    "Predicted and measured": curves.over_time,
    "Integrated over time": curves.sums,
    "Recording by recording": results.errors,
    "Speed and size": cost.speed,
    "How it was made": cost.made,
}
"""Heading of each piece to what makes it; what it gives is empty where there is nothing to show."""

OF_VARIANTS = (
    "Results",
    "Significant differences",
    "Learning curves",
    "Recording by recording",
    "How it was made",
)
"""What a variant of another group's data has of its own."""


def pieces(group: Group, anchor: str) -> tuple[list[Place], list[str]]:
    """Return the contents and the texts of a group's section; `anchor` begins the names of its headings."""
    places, texts = [], []
    for title, piece in PIECES.items():
        if not group.full and title not in OF_VARIANTS:
            continue
        if text := piece(group):
            place = Place(f"{anchor}{title.lower().replace(' ', '-')}", title)
            places.append(place)
            texts.append(html.section(place, text, level=group.level))
    return places, texts
