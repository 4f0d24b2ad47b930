"""Shared by all figures: colours, tidy axes, and writing a figure to a file."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import figure as mpl_figure
from matplotlib.axes import Axes
from matplotlib.text import Text
from matplotlib.ticker import ScalarFormatter

from csp_data.errors import OptionError
from csp_data.home import expanded
from csp_data.output import output
from csp_data.recording import FloatArray

__all__ = [
    "COLOURS",
    "DARK",
    "DASHES",
    "FAINT",
    "GREYS",
    "INK",
    "MARKERS",
    "MUTED",
    "SUFFIXES",
    "TIME",
    "Figure",
    "Look",
    "from_start",
    "legend_below",
    "legend_beside",
    "looks",
    "save",
    "shortened",
    "styles",
    "telling",
    "tidy",
    "to_svg",
]

Look = Mapping[str, Any]
"""``color``, ``linestyle`` and ``marker`` of what belongs to one name, in every picture of a page."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Palette of Okabe and Ito (2008), told apart with any of the common colour deficiencies."""
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)))
"""Line styles: the next one each time the colours start again, so that no two lines of a panel look the same."""
MARKERS = ("o", "s", "D", "^", "v", "P")
"""Markers, one a colour but black."""
INK = "#222222"
"""What was measured, and marks that belong to no model."""
GREYS = ("#9aa1ab", "#5b616b")
"""Lines that others are compared with, such as references."""
MUTED, FAINT = "#6b7280", "#d9dce1"
"""Letters and lines of axes that stand back, in reports."""
NAMES = {
    "#000000": "ink",
    INK: "ink",
    "#ffffff": "paper",
    MUTED: "muted",
    FAINT: "line",
    **{colour: f"grey-{i}" for i, colour in enumerate(GREYS)},
    **{colour.lower(): f"colour-{i}" for i, colour in enumerate(COLOURS[:6])},
}
"""Colours of figures, and what a page's style sheet calls them to have others in the dark."""
DARK = """--ink: #e6e8eb; --muted: #a3aab5; --line: #343a43; --paper: #15181c;
  --colour-0: #3d9bdb; --colour-1: #ee7b2d; --colour-2: #1fbf91; --colour-3: #d993ba; --colour-5: #8fd0f5;
  --grey-0: #7f8792; --grey-1: #b0b6c0;"""
"""Those others, on a dark page: letters 4.5 times and lines 3 times as bright as it at least (WCAG 2.2)."""
TIME = "time in the recording (s)"
"""What stands at an axis of time."""
SUFFIXES = ("png", "svg", "pdf", "html")
"""Formats that :func:`save` writes."""
WORLD_S = 1e6
"""Seconds from which a clock is taken for one that began in 1970 or at some machine's start."""
DENSE = 20_000
"""Samples from which a line is drawn through some of them: all of them make files of megabytes."""
COLUMNS = 1_000
"""Pieces of such a line, each narrower than the line is wide."""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>body{{margin:1rem;font-family:sans-serif;background:var(--paper,#fff)}}figure{{margin:0}}
svg{{max-width:100%;height:auto}}:root{{color-scheme:light dark}}
@media(prefers-color-scheme:dark){{:root{{{dark}}}}}</style></head>
<body><figure role="img" aria-label="{title}">
{svg}
</figure></body></html>
"""


def styles(count: int) -> Iterator[dict[str, Any]]:
    """Yield a colour and a line style for each of `count` lines."""
    for i in range(count):
        yield {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[i // len(COLOURS) % len(DASHES)]}


def looks(names: Iterable[str], plain: Iterable[str] = ()) -> dict[str, Look]:
    """Give each name a colour, a dash and a marker, no two the same among the first 18.

    Black stays for what was measured.

    Parameters
    ----------
    names
        Of models, in the order in which colours are taken.
    plain
        Names that get a grey and a dotted line instead, such as references.
    """
    count = len(MARKERS)
    made: dict[str, Look] = {
        name: {
            "color": COLOURS[i % count],
            "linestyle": DASHES[i // count % len(DASHES)],
            "marker": MARKERS[(i + i // count) % count],
        }
        for i, name in enumerate(names)
    }
    for i, name in enumerate(plain):
        made[name] = {"color": GREYS[i % 2], "linestyle": (0, (2, 1.5)), "marker": "xX+*"[i % 4]}
    return made


def line_looks(names: Sequence[str], given: Mapping[str, Look] | None) -> dict[str, dict[str, Any]]:
    """Return how the line of each name is drawn: as given, or by its place."""
    if given is None:
        return dict(zip(names, styles(len(names)), strict=True))
    return {name: {k: v for k, v in given[name].items() if k != "marker"} for name in names}


def tidy(ax: Axes) -> Axes:
    """Remove what carries no information from axes, and return them; ticks say the whole number."""
    ax.spines[["top", "right"]].set_visible(False)
    for axis in (ax.xaxis, ax.yaxis):
        if isinstance(formatter := axis.get_major_formatter(), ScalarFormatter):
            formatter.set_useOffset(False)
    return ax


def legend_beside(ax: Axes) -> None:
    """Put the legend to the right of the axes, where it hides no data."""
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small", frameon=False)


def legend_below(figure: mpl_figure.Figure, ax: Axes) -> None:
    """Put the legend below the axes, where a narrow picture has room for it."""
    own = ax.get_legend()
    if own is not None:
        own.remove()
    handles, labels = ax.get_legend_handles_labels()
    if labels:
        columns = 2 if len(labels) == 4 or max(map(len, labels)) > 16 else 3
        figure.legend(
            handles,
            labels,
            loc="outside lower left",
            ncols=columns,
            handlelength=1.8,
            columnspacing=1.2,
            frameon=False,
        )


def from_start(time: FloatArray, start: float | None = None) -> FloatArray:
    """Return seconds on a recording's clock; from `start` (or the first) on where that is the world's clock."""
    first = float(time[0]) if start is None and len(time) else start or 0.0
    return time - first if abs(first) > WORLD_S else time


def shortened(name: str, most: int) -> str:
    """Return a name of so many letters at most: both ends of it, as names differ at one of them."""
    if len(name) <= most:
        return name
    half = (most - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def telling(values: FloatArray) -> npt.NDArray[np.intp]:
    """Return the indices of the samples that a line goes through.

    All of them, up to :data:`DENSE`; of more, the least and the greatest of each piece, both ends, and one of each
    run of NaN, where the line is broken: it looks the same.

    Parameters
    ----------
    values : array, shape (T,)
        A channel.
    """
    count = len(values)
    if count <= DENSE:
        return np.arange(count)
    missing = np.isnan(values)
    pieces = np.pad(np.where(missing, np.inf, values), (0, -count % COLUMNS), constant_values=np.inf)
    pieces = pieces.reshape(COLUMNS, -1)
    starts = np.arange(COLUMNS) * pieces.shape[1]
    extremes = [
        starts + pieces.argmin(axis=1),
        starts + np.where(np.isinf(pieces), -np.inf, pieces).argmax(axis=1),
    ]
    breaks = np.flatnonzero(missing[1:] & ~missing[:-1]) + 1
    kept = np.unique(np.concatenate([[0], *extremes, breaks, [count - 1]]))
    return kept[kept < count]


SVG: dict[Any, Any] = {"svg.hashsalt": "csp-data", "svg.fonttype": "none"}


def _literal(figure: mpl_figure.Figure) -> None:
    """Escape dollars in a name: matplotlib takes the text between two of them for a formula."""
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            axis.get_ticklabels()  # ticks get their texts here
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if "$" in text.get_text() and r"$\mathdefault" not in text.get_text():  # which logarithmic axes write
            text.set_parse_math(False)


class Figure(mpl_figure.Figure):
    """A figure that notebooks show; matplotlib's own they show only once pyplot has drawn one."""

    def _repr_html_(self) -> str:
        picture = io.BytesIO()
        _literal(self)
        self.savefig(picture, format="png")
        shown = html.escape(self.get_suptitle(), quote=True)
        code = base64.b64encode(picture.getvalue()).decode()
        return f'<img alt="{shown}" style="max-width: 100%" src="data:image/png;base64,{code}"/>'


def to_svg(figure: mpl_figure.Figure) -> str:
    """Return a figure as an ``<svg>`` element to put into a page; equal figures give equal text.

    A page that defines :data:`DARK` shows it in these colours.
    """
    text = io.StringIO()
    _literal(figure)
    with mpl.rc_context(SVG):
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    # what is black is not said of letters, so that they take the colour of the whole
    svg = svg[svg.index("<svg") :].replace("<svg", '<svg style="fill: #000000"', 1)
    return re.sub(r'(?<=style=")[^"]*', lambda style: _COLOUR.sub(_named, style[0]), svg)


_COLOUR = re.compile("|".join(NAMES))


def _named(colour: re.Match[str]) -> str:
    return f"var(--{NAMES[colour[0]]}, {colour[0]})"


def save(figure: mpl_figure.Figure, path: Path | str, *, title: str | None = None) -> Path:
    """Write a figure to a file.

    Parameters
    ----------
    figure
        The figure.
    path
        File to write; its ending says the format: png, svg, pdf, or html (one page that needs nothing else).
    title
        What the page is called and what is read out to those who cannot see it; by default the figure's title.

    Returns
    -------
    Path
        The file. Equal figures give equal bytes.

    Raises
    ------
    OptionError
        If the ending names no known format.
    CspDataError
        If it cannot be written.
    """
    path = expanded(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in SUFFIXES:
        raise OptionError("path", str(path), f"a file that ends in .{', .'.join(SUFFIXES)}")
    with mpl.rc_context(SVG), output(path, "path") as temporary:
        if kind == "html":
            shown = html.escape(title or figure.get_suptitle() or path.stem, quote=True)
            temporary.write_text(PAGE.format(title=shown, svg=to_svg(figure), dark=DARK), encoding="utf-8")
        else:
            _literal(figure)
            metadata: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
            figure.savefig(temporary, format=kind, metadata=metadata)
    return path
