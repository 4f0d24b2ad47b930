"""A grid of cells under a heading, and how it is written: Markdown, LaTeX, HTML, text for a terminal."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Literal

from baselines.tables.digits import RAISED

__all__ = ["Cell", "Grid", "transposed", "write"]

Cell = tuple[int, int]
"""Row and column."""

GAP = "  "
"""What stands between two columns of a text."""

LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "µ": r"$\mu$",
    "°": r"$^\circ$",
    "−": "-",
    "<": "$<$",
    ">": "$>$",
}


@dataclass(frozen=True)
class Grid:
    """Cells as text under a heading.

    Parameters
    ----------
    heading, header
        What it is about; names of the columns.
    rows
        Cells of each row.
    best, second
        Cells (row, column) to mark.
    notes
        Sentences below.
    across
        What the columns behind the first are, for the head of the first where they become rows; empty where they
        are of several kinds.
    caption, label
        Of the float in LaTeX, as LaTeX: a caption in place of the heading, which then stands below the table, and
        the name that a text refers to.
    """

    heading: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: frozenset[Cell] = frozenset()
    second: frozenset[Cell] = frozenset()
    notes: tuple[str, ...] = ()
    across: str = ""
    caption: str = ""
    label: str = ""


def transposed(grid: Grid) -> Grid:
    """Return it with a row for each column behind the first, and a column for each row."""
    names, *columns = zip(*grid.rows, strict=True)
    return replace(
        grid,
        header=(grid.across, *names),
        rows=tuple((name, *column) for name, column in zip(grid.header[1:], columns, strict=True)),
        best=frozenset((j - 1, i + 1) for i, j in grid.best),
        second=frozenset((j - 1, i + 1) for i, j in grid.second),
        across=grid.header[0],
    )


def write(grids: Sequence[Grid], form: Literal["md", "latex", "html", "text"], width: int = 80) -> str:
    """Return cells under their headings as text, one after the other; the form ``"text"`` has lines of a width."""
    if form == "text":
        return "\n".join(_text_table(grid, width) for grid in grids)
    return "\n".join(
        {"md": _markdown_table, "latex": _latex_table, "html": _html_table}[form](grid) for grid in grids
    )


def _format_marked(grid: Grid, best: str, second: str) -> list[list[str]]:
    """Return the cells with the marked ones put into patterns such as ``**{}**``."""
    return [
        [
            best.format(cell) if (i, j) in grid.best else second.format(cell) if (i, j) in grid.second else cell
            for j, cell in enumerate(row)
        ]
        for i, row in enumerate(grid.rows)
    ]


def _markdown_table(grid: Grid) -> str:
    lines = [
        f"**{grid.heading}**",
        "",
        _markdown_row(grid.header),
        _markdown_row(["---"] + ["---:"] * (len(grid.header) - 1)),
    ]
    lines += [_markdown_row(row) for row in _format_marked(grid, "**{}**", "*{}*")]
    return "\n".join(lines) + "\n" + "".join(f"\n{note}\n" for note in grid.notes)


def _markdown_row(columns: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in columns) + " |"


def _escape_latex(text: str) -> str:
    def plain(match: re.Match[str]) -> str:
        raised = "".join(RAISED.get(character, "") for character in match[0])
        return f"$^{{{raised}}}$" if raised else LATEX[match[0]]

    escaped = re.sub("|".join([*map(re.escape, LATEX), f"[{''.join(RAISED)}]+"]), plain, text)
    return re.sub(r"(?<![\w.{])-(?=\d)", "$-$", escaped)  # a minus, not a hyphen


def _signs(grid: Grid) -> Iterator[str]:
    """Say what the signs in the cells mean, for readers who see the table alone, in a paper."""
    if any("±" in cell for row in grid.rows for cell in row):
        yield "Means ± standard deviations over seeds."
    if grid.best:
        yield f"Bold: lowest error{', underlined: second lowest' if grid.second else ''}."


def _latex_table(grid: Grid) -> str:
    """Return a float that is scaled down to the line where it is wider; what has to be said stands below it.

    Braces keep a name that begins like an argument, such as ``[1]``, from being one of the command before it.
    """
    plain = replace(grid, rows=tuple(tuple(_escape_latex(cell) for cell in row) for row in grid.rows))
    body = [
        re.sub(r"^(?=[\[*])", "{}", " & ".join(row)) + r" \\"
        for row in _format_marked(plain, r"\textbf{{{}}}", r"\underline{{{}}}")
    ]
    said = [*([f"{grid.heading}."] if grid.caption else []), *_signs(grid), *grid.notes]
    notes = [rf"\par\smallskip\raggedright\scriptsize {_escape_latex(' '.join(said))}"] if said else []
    return "\n".join(
        [
            r"% needs \usepackage{booktabs} and \usepackage{graphicx}; over two columns: table*",
            r"\begin{table}",
            r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
            rf"\caption{{{grid.caption or _escape_latex(grid.heading) + '.'}}}",
            *([rf"\label{{{grid.label}}}"] if grid.label else []),
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{l{'r' * (len(grid.header) - 1)}}}",
            r"\toprule",
            " & ".join(map(_escape_latex, grid.header)) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            *notes,
            r"\end{table}",
            "",
        ]
    )


def _html_table(grid: Grid) -> str:
    plain = replace(grid, rows=tuple(tuple(map(escape, row)) for row in grid.rows))
    body = _format_marked(plain, "<strong>{}</strong>", "<u>{}</u>")
    return "\n".join(
        [
            "<table>",
            f"<caption>{escape(grid.heading)}</caption>",
            "<thead><tr>"
            + "".join(f'<th scope="col">{escape(cell)}</th>' for cell in grid.header)
            + "</tr></thead>",
            "<tbody>",
            *(
                f'<tr><th scope="row">{name}</th>' + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>"
                for name, *rest in body
            ),
            "</tbody>",
            "</table>",
            *(f"<p>{escape(note)}</p>" for note in grid.notes),
            "",
        ]
    )


def _text_table(grid: Grid, width: int) -> str:
    """Return aligned columns; those that do not fit stand below the others, again behind the first one."""
    body = _format_marked(grid, "**{}**", "*{}*")
    columns = [[row[j] for row in body] for j in range(len(grid.header))]
    heads = [_broken_head(name, column) for name, column in zip(grid.header, columns, strict=True)]
    widths = [max(map(len, (*head, *column))) for head, column in zip(heads, columns, strict=True)]
    blocks = [[0]]
    for j in range(1, len(columns)):
        if len(blocks[-1]) > 1 and sum(widths[k] + len(GAP) for k in blocks[-1]) + widths[j] > width:
            blocks.append([0])
        blocks[-1].append(j)

    def line(texts: Sequence[str], block: Sequence[int]) -> str:
        aligned = (t.rjust(widths[j]) if j else t.ljust(widths[j]) for t, j in zip(texts, block, strict=True))
        return GAP.join(aligned).rstrip()

    parts = [textwrap.fill(grid.heading, width)]
    for block in blocks:
        height = max(len(heads[j]) for j in block)
        lines = [line([([""] * height + heads[j])[k - height :][0] for j in block], block) for k in range(height)]
        lines.append("-" * len(line(["-" * widths[j] for j in block], block)))
        lines += [line([row[j] for j in block], block) for row in body]
        parts.append("\n".join(lines))
    parts += [textwrap.fill(note, width, break_long_words=False, break_on_hyphens=False) for note in grid.notes]
    return "\n\n".join(parts) + "\n"


def _broken_head(name: str, column: Sequence[str]) -> list[str]:
    """Break the name of a column between words, to about the width of its cells; a number keeps its per cent."""
    width = max(8, *map(len, column))
    lines = textwrap.wrap(name.replace(" %", "\xa0%"), width, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\xa0", " ") for line in lines] or [""]
