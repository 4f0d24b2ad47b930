"""The pieces of a section of the report, in their order."""

from __future__ import annotations

from collections.abc import Callable

from baselines.report import about, cost, curves, html, results
from baselines.report.group import Group
from baselines.report.html import Entry

__all__ = ["PARTS_OF_SECTION", "group_sections"]

PARTS_OF_SECTION: dict[str, Callable[[Group], str]] = {
    "Results": lambda group: results.errors_table(group.table),
    "Significant differences": lambda group: results.significance(group.table),
    "The data": about.data,
    "Signals before and after a low-pass": about.signals,
    "Learning curves": curves.learning,
    "Predicted and measured": curves.over_time,
    "Integrated over time": curves.sums,
    "Recording by recording": results.errors,
    "Speed and size": cost.speed,
    "How it was made": cost.provenance,
}
"""Heading of each piece to what makes it; what it gives is empty where there is nothing to show."""

PARTS_OF_VARIANTS = (
    "Results",
    "Significant differences",
    "Learning curves",
    "Recording by recording",
    "How it was made",
)
"""What a variant of another group's data has of its own."""


def group_sections(group: Group, anchor: str) -> list[tuple[Entry, str]]:
    """Return the pieces of a group's section; `anchor` begins the names of their headings."""
    sections = []
    for title, make in PARTS_OF_SECTION.items():
        if not group.full and title not in PARTS_OF_VARIANTS:
            continue
        if text := make(group):
            entry = Entry(f"{anchor}{title.lower().replace(' ', '-')}", title)
            sections.append((entry, html.section(entry, text, level=group.level)))
    return sections
