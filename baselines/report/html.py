"""Small pieces of HTML that the report is put together from; every text is escaped here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from urllib.parse import quote

from baselines.report.panels import Panel
from baselines.report.style import SCRIPT, STYLE

__all__ = [
    "Cell",
    "Entry",
    "Section",
    "code",
    "definitions",
    "document",
    "escape",
    "figures",
    "folded",
    "paragraph",
    "section",
    "table",
]

Cell = str | tuple[str, float]
"""Text of a cell, or text and how deep it is tinted, from 0 to 1."""

FOOT = "Written by csp-baselines report. This page loads nothing from anywhere."

FOLDED_ABOVE = 3
"""Entries below one in the contents that are shown at once, if there are several such."""
FILTERED_FROM = 3
"""Rows from which a table can be filtered."""


@dataclass
class Entry:
    """An entry of the contents.

    Parameters
    ----------
    anchor, title
        Where it leads, and what it says.
    children
        Entries below it.
    """

    anchor: str
    title: str
    children: list[Entry] = field(default_factory=list)


Section = tuple[Entry | None, str]
"""A section's entry in the contents, where it has one, and its text."""


def document(title: str, head: Iterable[str], sections: Iterable[Section]) -> str:
    """Return a whole page: what stands above the contents, the contents, and the rest."""
    entries, texts = zip(*sections, strict=True)
    text = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n'
        '<body>\n<a class="skip" href="#main">To the results</a>\n<div class="page">\n'
        f'<header class="top">\n{"".join(head)}\n</header>\n'
        '<nav aria-label="Contents"><details><summary>Contents</summary>'
        f"{_contents_list([entry for entry in entries if entry is not None])}</details></nav>\n"
        f'<main id="main">\n{chr(10).join(texts)}\n</main>\n<footer>{FOOT}</footer>\n</div>\n'
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )
    return _with_unique_ids(text)


def _contents_list(entries: Sequence[Entry]) -> str:
    if not entries:
        return ""
    fold = sum(len(entry.children) > FOLDED_ABOVE for entry in entries) > 1
    return f"<ul>{''.join(f'<li>{_contents_item(entry, fold)}</li>' for entry in entries)}</ul>"


def _contents_item(entry: Entry, fold: bool) -> str:
    """Return an entry with those below it, folded where there are many."""
    link = f'<a href="#{escape(entry.anchor)}">{escape(entry.title)}</a>'
    if fold and len(entry.children) > FOLDED_ABOVE:
        return f"<details><summary>{link}</summary>{_contents_list(entry.children)}</details>"
    return link + _contents_list(entry.children)


def _with_unique_ids(text: str) -> str:
    """Give ids within figures the number of the figure: no id may stand twice on a page."""
    pieces = re.split(r"(<svg.*?</svg>)", text, flags=re.DOTALL)
    for i in range(1, len(pieces), 2):
        pieces[i] = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>f{i // 2}-", pieces[i])
    return "".join(pieces)


def section(entry: Entry, *pieces: str, level: int = 2, css_class: str = "") -> str:
    """Return a heading and what stands under it; `css_class` is a class of the style sheet."""
    anchor = escape(entry.anchor)
    return (
        f'<section{_class(css_class)} aria-labelledby="{anchor}">\n'
        f'<h{level} id="{anchor}">{escape(entry.title)}</h{level}>\n'
        + "\n".join(piece for piece in pieces if piece)
        + "\n</section>"
    )


def paragraph(text: str, css_class: str = "") -> str:
    """Return a paragraph of plain text; `css_class` is a class of the style sheet."""
    return f"<p{_class(css_class)}>{escape(text)}</p>"


def _class(css_class: str) -> str:
    return f' class="{css_class}"' if css_class else ""


def table(
    caption: str,
    header: Sequence[str],
    rows: Sequence[tuple[str, Sequence[Cell]]],
    csv: tuple[str, str] = ("", ""),
) -> str:
    """Return a table that can be sorted and, if it is long, filtered.

    Parameters
    ----------
    caption
        What it shows.
    header
        Names of the columns.
    rows
        Each a class of the style sheet, and cells; the first names the row.
    csv
        Name and text of a file to save the table as; none if empty.
    """
    head = "".join(f'<th scope="col"><button type="button">{escape(cell)}</button></th>' for cell in header)
    body = "\n".join(f"<tr{_class(css_class)}>{_table_row(cells)}</tr>" for css_class, cells in rows)
    tools = (
        '<input type="search" hidden placeholder="Filter rows" aria-label="Filter rows"><output></output>'
        if len(rows) >= FILTERED_FROM
        else ""
    )
    if csv[0]:
        address = f"data:text/csv;charset=utf-8,{quote(csv[1])}"
        tools += f'<a download="{escape(csv[0])}" href="{address}">Save as CSV</a>'
    above = f'<div class="tools">{tools}</div>' if tools else ""
    return (
        f'<div class="sortable">{above}'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>\n'
        f"<caption><span>{escape(caption)}</span></caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
        "</div></div>"
    )


def _table_row(cells: Sequence[Cell]) -> str:
    first, *rest = cells
    name = first if isinstance(first, str) else first[0]
    return f'<th scope="row">{escape(name)}</th>' + "".join(map(_table_cell, rest))


def _table_cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return f"<td>{escape(cell)}</td>"
    text, share = cell
    return f'<td class="tinted" style="--share: {0.45 * share:.2f}">{escape(text)}</td>'


def definitions(pairs: Iterable[tuple[str, str]]) -> str:
    """Return terms and what they are."""
    return "<dl>" + "".join(f"<dt>{escape(a)}</dt><dd>{escape(b)}</dd>" for a, b in pairs) + "</dl>"


def figures(panels: Iterable[Panel]) -> str:
    """Return panels side by side where there is room."""
    texts = "\n".join(f'<figure role="img" aria-label="{escape(p.description)}">{p.svg}</figure>' for p in panels)
    return f'<div class="panels">\n{texts}\n</div>'


def code(lines: Iterable[str]) -> str:
    """Return lines as they are typed."""
    return '<pre tabindex="0">' + escape("\n".join(lines)) + "</pre>"


def folded(title: str, *pieces: str) -> str:
    """Return what is shown when its title is clicked."""
    return f"<details><summary>{escape(title)}</summary>\n" + "\n".join(pieces) + "\n</details>"
