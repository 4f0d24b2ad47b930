"""``csp-baselines table`` and ``report``: finished runs beside each other, as text and as a page."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from baselines.commands.results import runs_or_rows
from baselines.errors import OptionError
from csp_data.terminal import at_terminal

__all__ = ["REPORT", "TABLE", "Report", "Table", "report", "table"]

_arg = tyro.conf.arg
Named = tyro.conf.Positional

TABLE = """Print tables of runs, averaged over seeds: one for each data set and recipe, and an overview.

RUN is the folder of a run, or one that holds runs (a sweep), or a file that csp-baselines results wrote, or
study:NAME for results that ship with the package. After ± stands the standard deviation over seeds. All models
are compared with the learned one that is best on the part for choosing, or with --against: a bootstrap interval
over recordings and seeds, Wilcoxon's test over recordings with Holm's correction. Simulated and real recordings,
two protocols or two recipes of the data are never put into one table.

Examples:
  csp-baselines table runs/sample-*
  csp-baselines table runs/broad-* --against own-Mine --format latex > broad.tex
  csp-baselines table study:broad"""

REPORT = """Write one self-contained HTML page about runs or whole sweeps.

A section for each data set, protocol and recipe of the data: table and statistics, learning curves, predicted and
measured, errors by recording, speed and size, commands. Where runs vary a setting (chunk, low-pass, share of the
data, anything given to sweep --set), the error against it.

Examples:
  csp-baselines report runs/sample-* -o report.html
  csp-baselines report sweeps/first sweeps/second -o report"""


@dataclass(frozen=True)
class Table:
    """Options of ``table``."""

    runs: Annotated[tuple[Path, ...], Named, _arg(metavar="RUN...")]
    """Folders of runs or of sweeps, CSV files of results, or study:NAME."""
    format: Literal["auto", "text", "md", "latex", "html", "csv", "json"] = "auto"
    """Text that fits the terminal, Markdown, LaTeX, HTML, CSV or JSON; auto is text on a terminal, Markdown
    elsewhere."""
    by: Literal["model", "recording", "target"] = "model"
    """The table; or errors by recording, or by target in SI units (not as CSV or JSON)."""
    against: Annotated[str | None, _arg(metavar="MODEL")] = None
    """Model that the others are compared with, as its row is called; by default the learned one that is best on
    the part for choosing."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """The same as --format json."""


@dataclass(frozen=True)
class Report:
    """Options of ``report``."""

    runs: Annotated[tuple[Path, ...], Named, _arg(metavar="RUN...")]
    """Folders of runs, or of sweeps."""
    out: Annotated[Path, _arg(metavar="PATH", aliases=["-o"])]
    """The page to write, a name that ends in .html, or else a folder for its index.html."""
    data: Annotated[tuple[Path, ...], _arg(metavar="FILE...")] = ()
    """Prepared files that are no longer where the runs found them."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print where the page is as JSON."""


def table(command: Table, line: str) -> None:
    """Run the command."""
    from baselines.tables.breakdown import by_recording, by_target
    from baselines.tables.grid import write
    from baselines.tables.make import for_each_data, make_tables
    from baselines.tables.render import render_all

    rows = runs_or_rows(command.runs)
    form = "json" if command.json else command.format
    if form == "auto":
        form = "text" if at_terminal(sys.stdout) else "md"
    width = shutil.get_terminal_size().columns
    if command.by != "model":
        if command.against is not None:
            raise OptionError("against", command.against, "nothing with --by, whose tables compare nothing")
        if form == "csv" or form == "json":
            raise OptionError(
                "format", form, "text, md, latex or html with --by: csp-baselines results writes the data"
            )
        grids = for_each_data(rows, by_recording if command.by == "recording" else by_target)
        sys.stdout.write(write(grids, form, width))
        return
    tables = make_tables(rows, command.against)
    sys.stdout.write(render_all(tables, form, width))


def report(command: Report, line: str) -> None:
    """Run the command."""
    from baselines.report import write_report
    from baselines.runs.collect import datasets_of, find_runs, read_runs

    runs = read_runs(command.runs)
    if not runs:
        raise OptionError("RUNS", "", "at least one folder of a run")
    datasets = datasets_of(runs, command.data)
    path = write_report(runs, datasets, command.out, unfinished=len(find_runs(command.runs)[1]))
    print(json.dumps({"report": str(path)}) if command.json else f"report written to {path}")
