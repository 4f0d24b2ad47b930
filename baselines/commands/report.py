"""``csp-baselines table`` and ``report``: finished runs beside each other, as text and as a page."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from baselines.commands.arguments import Flag, parse_names
from baselines.commands.results import runs_or_rows
from baselines.errors import OptionError, UnknownNameError
from csp_data.terminal import at_terminal, visible

if TYPE_CHECKING:
    from baselines.results import Result
    from baselines.runs.run import Run
    from baselines.tables.grid import Grid

__all__ = ["REPORT", "TABLE", "Report", "Table", "report", "table"]

_arg = tyro.conf.arg
Named = tyro.conf.Positional

TABLE = """Print tables of runs, averaged over seeds: one for each data set and recipe, and an overview.

RUN is the folder of a run, or one that holds runs (a sweep), or a file that csp-baselines results wrote, or
study:NAME for results that ship with the package. The number after ± is the standard deviation over seeds.

All models are compared with the learned one that is best on the part for choosing, or with --against: by an
interval of Student's t over recordings and seeds, and by Wilcoxon's test over recordings with Holm's correction.
Simulated and real recordings, two protocols or two recipes of the data are never put into one table.

Examples:
  csp-baselines table runs/sample-*
  csp-baselines table runs/broad-* --against own-Mine --rename own-Mine=Ours --format latex > broad.tex
  csp-baselines table sweeps/first --by recording --transpose
  csp-baselines table study:broad"""

REPORT = """Write one self-contained HTML page about runs or whole sweeps.

Each data set, protocol and recipe of the data gets a section: table and statistics, learning curves, predicted and
measured targets, errors by recording, speed and size, commands. If runs vary a setting (chunk, low-pass, share of
the data, anything given to sweep --set), a figure shows the error against it.

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
    by: Literal["model", "data", "recording", "target"] = "model"
    """The tables; or the overview alone, with a column for each data set; or errors by recording, or by target.
    CSV and JSON hold the tables alone."""
    against: Annotated[str | None, _arg(metavar="MODEL")] = None
    """Model that the others are compared with, by the name of its row; by default the learned one that is best on
    the part for choosing."""
    rename: Annotated[tuple[str, ...], _arg(metavar="NAME=OTHER ...")] = ()
    """Other names for rows, such as own-Mine=Ours; also for recordings or data sets. Not for CSV or JSON."""
    transpose: Flag = False
    """A column for each model, for many recordings or data sets. Not for CSV or JSON."""
    caption: Annotated[str | None, _arg(metavar="TEXT")] = None
    """Caption of one table, in LaTeX. The line that it replaces then stands below the table."""
    label: Annotated[str | None, _arg(metavar="NAME")] = None
    r"""Label of one table in LaTeX, for \ref."""
    json: Flag = False
    """The same as --format json."""


@dataclass(frozen=True)
class Report:
    """Options of ``report``."""

    runs: Annotated[tuple[Path, ...], Named, _arg(metavar="RUN...")]
    """Folders of runs, or of sweeps."""
    out: Annotated[Path, _arg(metavar="PATH", aliases=["-o"])]
    """The page to write, if the name ends in .html; else a folder for its index.html."""
    data: Annotated[tuple[Path, ...], _arg(metavar="FILE...")] = ()
    """Prepared files that are no longer where the runs found them."""
    json: Flag = False
    """Print where the page is as JSON."""


def table(command: Table, line: str) -> None:
    """Run the command."""
    from baselines.tables.grid import transposed, write
    from baselines.tables.make import make_tables
    from baselines.tables.render import render_all

    rows = runs_or_rows(command.runs)
    form = "json" if command.json else command.format
    if form == "auto":
        form = "text" if at_terminal(sys.stdout) else "md"
    _refuse_options(command, form)
    names = parse_names("rename", command.rename)
    _require_known(names, rows, command.by)
    if form == "csv" or form == "json":
        sys.stdout.write(render_all(make_tables(rows, command.against), form))
        return
    grids = _grids(command, rows, names)
    if command.transpose:
        grids = [transposed(grid) for grid in grids]
    if command.caption is not None or command.label is not None:
        if len(grids) > 1:
            option, value = ("label", command.label) if command.caption is None else ("caption", command.caption)
            raise OptionError(option, value, f"one table, not {len(grids)}", "Name the runs of one, or --by data.")
        grids = [replace(grids[0], caption=command.caption or "", label=command.label or "")]
    sys.stdout.write(visible(write(grids, form, shutil.get_terminal_size().columns)))


def _refuse_options(command: Table, form: str) -> None:
    """Refuse what the chosen form or kind of table has no place for."""
    if command.by != "model":
        if command.against is not None:
            raise OptionError("against", command.against, "nothing with --by, whose tables compare nothing")
        if form == "csv" or form == "json":
            raise OptionError(
                "format", form, "text, md, latex or html with --by: csp-baselines results writes the data"
            )
    if form == "csv" or form == "json":
        for option, value in (("rename", " ".join(command.rename)), ("transpose", command.transpose)):
            if value:
                raise OptionError(option, value, f"nothing with --format {form}, which keeps rows as they are")
    for option, text in (("caption", command.caption), ("label", command.label)):
        if text is not None and form != "latex":
            raise OptionError(option, text, "--format latex too")


def _require_known(names: Mapping[str, str], rows: Sequence[Run | Result], by: str) -> None:
    """Refuse names of no row, and a name that two rows of a table would have."""
    from baselines.results.folds import across_folds
    from baselines.tables.make import for_each_data, make_table

    if not names:
        return

    def shown(same: Sequence[Result], variant: str) -> list[str]:
        table = replace(make_table(same), variant=variant)
        beside = {"recording": list(across_folds(same)[0].recordings), "data": [table.name]}
        return [*(row.model for row in table.rows), *beside.get(by, ())]

    found = for_each_data(rows, shown)
    everywhere = dict.fromkeys(name for known in found for name in known)
    for name in names:
        if name not in everywhere:
            raise UnknownNameError("row to rename", name, everywhere)
    for known in found:
        for name, other in names.items():
            if name in known and other in known and other not in names:
                raise OptionError("rename", f"{name}={other}", "a name that no other row has")


def _grids(command: Table, rows: Sequence[Run | Result], names: Mapping[str, str]) -> Sequence[Grid]:
    """Return the tables that are asked for."""
    from baselines.tables.breakdown import by_recording, by_target
    from baselines.tables.make import for_each_data, make_tables
    from baselines.tables.render import grids_of, overview

    if command.by in ("recording", "target"):
        make = by_recording if command.by == "recording" else by_target
        return for_each_data(rows, partial(make, names=names))
    against = next((name for name, other in names.items() if other == command.against), command.against)
    tables = make_tables(rows, against, names)
    return [overview(tables)] if command.by == "data" else grids_of(tables)


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
