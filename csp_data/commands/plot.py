"""The command ``plot``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from csp_data import api
from csp_data.acquire.rawtree import raw_kind, raw_root
from csp_data.api.raw import read_recording
from csp_data.commands.base import Command, examples, report
from csp_data.commands.options import (
    is_prepared,
    json_option,
    load_named,
    name_argument,
    protocol_options,
    raw_option,
    skip_damaged_option,
    typed,
)
from csp_data.errors import OptionError, UnknownNameError
from csp_data.splits import PARTS

__all__ = ["plot"]

T = TypeVar("T")

RAW = ("recording", "clocks")
FIGURES = ("episode", "lowpass", "spectra", "splits", "targets", "trajectory", *RAW)
"""Those of :mod:`csp_data.plot`, which needs matplotlib, and the two of raw recordings."""
OF_INPUTS = ("episode", "lowpass", "spectra")


@click.command(
    cls=Command,
    epilog=examples(
        "csp-data plot sample -o episode.png --part test --lowpass 2",
        "csp-data plot sample --figure lowpass --lowpass 2 --phase zero --channels gyr_x -o filter.svg",
        "csp-data plot sample --figure clocks -o clocks.html",
    ),
)
@name_argument
@click.option("--figure", type=click.Choice(FIGURES), default="episode", show_default=True, help="What to draw.")
@raw_option
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), required=True, help="File to write: png, svg, pdf or html."
)
@click.option("--part", type=click.Choice(PARTS), default="train", show_default=True, help="Part of the episode.")
@click.option(
    "--episode",
    metavar="ID|N",
    default="0",
    show_default=True,
    help="Episode to draw: its id, or its number in the part.",
)
@click.option(
    "--channels",
    default="",
    help="Inputs to draw, comma separated [default: all]; with --figure recording, channels of any stream.",
)
@click.option(
    "--recording",
    metavar="ID|N",
    default="0",
    show_default=True,
    help="Raw recording to draw (figures recording and clocks).",
)
@skip_damaged_option
@json_option
@protocol_options
def plot(
    name: str,
    figure: str,
    raw: Path | None,
    out: Path,
    part: str,
    episode: str,
    channels: str,
    recording: str,
    skip_damaged: bool,
    protocol: str | None,
    as_json: bool,
    changes: dict[str, Any],
) -> None:
    """Draw a picture of a data set.

    NAME is a data set or a prepared file (.h5).

    \b
    episode     inputs (with --lowpass, before and after it) and targets of one episode
    lowpass     an input before and after the filter, its gain and its delay
    spectra     power spectra of the inputs
    splits      minutes, episodes and groups of each part
    targets     the targets, a panel each
    trajectory  the path that the targets add up to
    recording   a raw recording: every stream, its gaps, the part that the source marks
    clocks      how the streams of a raw recording are aligned, and the jitter of their clocks
    """
    from csp_data import plot as plots

    _check_fit(figure, changes)
    chosen = tuple(filter(None, (name.strip() for name in channels.split(","))))
    lowpass = changes.pop("lowpass", None)
    if figure in plots.FIGURES:
        dataset = load_named(name, raw, protocol, changes, skip_damaged=skip_damaged)
        drawn = _by_id_or_number(
            episode,
            lambda which: plots.draw(dataset, figure, part=part, episode=which, lowpass=lowpass, channels=chosen),
        )
    elif is_prepared(name):
        raise OptionError("figure", figure, "one of a prepared file", "Raw recordings need the data set's name.")
    else:
        read = _by_id_or_number(recording, lambda which: read_recording(name, which, raw=raw, protocol=protocol))
        card = api.info(name)
        kind = raw_kind(card, raw_root(card, raw))
        drawn = plots.recording_figure(read, clocks=figure == "clocks", kind=kind, channels=chosen)
    written = plots.save(drawn, out)
    report({"path": written, "figure": figure}, str(written), as_json=as_json)


def _check_fit(figure: str, changes: dict[str, Any]) -> None:
    """Refuse options that the figure has no use for, and that would do nothing."""
    if figure not in RAW:
        if typed("recording"):
            raise click.UsageError(f"--recording needs --figure {' or '.join(RAW)}")
        if figure not in OF_INPUTS and (idle := next(filter(typed, ("channels", "lowpass")), None)):
            raise click.UsageError(f"--{idle} needs --figure {', '.join(OF_INPUTS)}: {figure} shows no inputs")
        if figure == "splits" and (idle := next(filter(typed, ("part", "episode")), None)):
            raise click.UsageError(f"--{idle} needs another figure than splits, which shows all parts")
    elif changes or any(map(typed, ("part", "episode", "skip_damaged"))):
        raise click.UsageError(
            f"--figure {figure} draws a raw recording as it is: it takes --recording and --protocol, and no"
            " other option of episodes"
        )
    elif figure == "clocks" and typed("channels"):
        raise click.UsageError("--channels needs another figure than clocks: all channels of a stream share one")


def _by_id_or_number(text: str, use: Callable[[int | str], T]) -> T:
    """Use an id, which may be a number too, or else the number that the text is."""
    try:
        return use(text)
    except UnknownNameError:
        if not re.fullmatch(r"-?[0-9]+", text):
            raise
        return use(int(text))
