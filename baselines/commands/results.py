"""``csp-baselines results``: finished runs as CSV, and the studies that ship with the package."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from baselines.commands.arguments import Flag
from baselines.errors import OptionError
from csp_data.terminal import count_of

if TYPE_CHECKING:
    from baselines.results import Result
    from baselines.runs.run import Run

__all__ = ["RESULTS", "Results", "results", "runs_or_rows"]

_arg = tyro.conf.arg

RESULTS = """Put finished runs into CSV files, one row per run, or list the studies that ship with the package.

RUN is the folder of a run, or one that holds runs (a sweep). Rows are added to what FILE holds. Beside FILE, files
of the same name are written: .recordings.csv and .targets.csv have errors by recording and by target, and
FILE's .configs.json has every setting. Unfinished runs, runs of uncommitted code, and rows that contradict each
other are refused.

Examples:
  csp-baselines results
  csp-baselines results sweeps/first --study first -o first.csv
  csp-baselines results ablations/leak --variants ablations/leak/leak.csv -o leak.csv
  csp-baselines table first.csv
  csp-baselines table study:broad"""


@dataclass(frozen=True)
class Results:
    """Options of ``results``."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, _arg(metavar="RUN...")] = ()
    """Folders of runs, or of sweeps; without one, the studies that ship are listed."""
    out: Annotated[Path | None, _arg(metavar="FILE", aliases=["-o"])] = None
    """CSV file to add the rows to."""
    study: Annotated[str | None, _arg(metavar="NAME")] = None
    """Name of the study; by default the file's."""
    variant: Annotated[str, _arg(metavar="NAME")] = ""
    """Name that tells these runs apart from others of the same models in the study, such as half."""
    variants: Annotated[Path | None, _arg(metavar="FILE")] = None
    """Table of an ablation (KIND.csv), which says which variant each of its runs is."""
    cpu: Annotated[str | None, _arg(metavar="NAME")] = None
    """Name of the processor, for runs that did not record it."""
    json: Flag = False
    """Print what is there as JSON."""


def results(command: Results, line: str) -> None:
    """Run the command."""
    from baselines.results import collect, load_results, studies
    from baselines.results.studies import add_to_study, variants_by_key

    if not command.runs:
        if command.out is not None:
            raise OptionError("runs", None, "at least one folder, as -o is given")
        _print_summaries([_study_summary(name, load_results(name)) for name in studies()], as_json=command.json)
        return
    if command.out is None or command.out.suffix != ".csv":
        raise OptionError("out", None if command.out is None else str(command.out), "a file that ends in .csv")
    variant = command.variant if command.variants is None else variants_by_key(command.variants)
    study = command.study or command.out.stem
    rows = add_to_study(command.out, collect(command.runs, study, variant=variant, cpu=command.cpu))
    _print_summaries([_study_summary(str(command.out), rows)], as_json=command.json)


def runs_or_rows(sources: Sequence[Path]) -> list[Run | Result]:
    """Read what a table is asked of: folders of runs, CSV files of results, or ``study:NAME`` that ships."""
    from baselines.results import load_results
    from baselines.runs.collect import read_runs

    rows: list[Run | Result] = []
    for path in sources:
        if str(path).startswith("study:"):
            rows += load_results(str(path).removeprefix("study:"))
        elif path.suffix == ".csv":
            rows += load_results(path)
        else:
            rows += read_runs([path])
    return rows


def _study_summary(name: str, rows: Sequence[Result]) -> dict[str, Any]:
    return {
        "study": name,
        "runs": len(rows),
        "datasets": sorted({f"{row.dataset} ({row.kind})" for row in rows}),
        "protocols": sorted({row.protocol for row in rows}),
        "models": len({row.model for row in rows}),
        "seeds": sorted({row.seed for row in rows}),
        "commits": sorted({str(row.commit) for row in rows}),
    }


def _print_summaries(studies: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(studies, indent=2) + "\n")
        return
    for summary in studies:
        seeds = " ".join(map(str, summary["seeds"]))
        sys.stdout.write(
            f"{summary['study']}: {count_of(summary['runs'], 'run')}, {count_of(summary['models'], 'model')}, "
            f"seeds {seeds}; {', '.join(summary['datasets'])}; protocol {', '.join(summary['protocols'])}\n"
        )
