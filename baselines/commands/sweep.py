"""``csp-baselines sweep``: many runs with one command."""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from baselines.commands.arguments import Flag, parse_lists, parse_seeds
from baselines.commands.run_options import Runs, RunsOptions, counts_text, print_outcome
from baselines.errors import CspDataError
from csp_data.terminal import loudness

__all__ = ["SWEEP", "Sweep", "sweep"]

_arg = tyro.conf.arg

SWEEP = """Train every model on every data set with every seed, in one folder.

If you give the same command again, finished runs are kept, interrupted ones continue from their last epoch, and
nothing runs twice, even when two sweeps share the folder. A run that fails says why and stops no other.
Models: names, or published (the 16 of the HiSS paper), or references (all that apply to a data set).

Examples:
  csp-baselines sweep --datasets sample --models flat-s4 hiss-s4-mamba --seeds 0-4 --jobs 2 --out sweeps/first
  csp-baselines sweep --datasets broad --models published references --set train.lr=1e-3,3e-3 train.epochs=30
  csp-baselines sweep --datasets vector --models published --folds 5 --out sweeps/folds
  csp-baselines sweep --datasets vector ronin --models published --protocol paper --preset paper --device cuda
  csp-baselines sweep --datasets broad --models published --backend dask:tcp://10.0.0.1:8786
  csp-baselines sweep --datasets broad --models published --backend slurm --slurm slurm_partition=gpu
  csp-baselines table sweeps/first"""


@dataclass(frozen=True)
class Sweep:
    """Options of ``sweep``."""

    datasets: Annotated[tuple[str, ...], _arg(metavar="DATASET...")]
    """Names of data sets, or prepared files."""
    models: Annotated[tuple[str, ...], _arg(metavar="MODEL...")]
    """Names of models and references; published and references stand for all of them."""
    seeds: Annotated[tuple[str, ...], _arg(metavar="SEED...")] = ("0-4",)
    """Seeds, one by one or as ranges: 0-4 stands for 0 1 2 3 4."""
    folds: Annotated[int | None, _arg(metavar="N")] = None
    """Cross-validation: every run once for each of N folds of the recordings; tables combine them."""
    out: Annotated[Path, _arg(metavar="FOLDER", aliases=["-o"])] = Path("sweep")
    """Folder of the sweep."""
    runs: RunsOptions = field(default_factory=Runs)
    set: Annotated[tuple[str, ...], _arg(metavar="KEY=VALUE[,VALUE] ...")] = ()
    """Settings train.FIELD, model.SIZE or data.FIELD (of the protocol); of several values, each is run."""
    track: Annotated[Literal["tensorboard", "trackio", "wandb"] | None, _arg(metavar="NAME")] = None
    """Also report to this tracker (tensorboard, trackio, wandb); the runs' folders remain the record."""
    json: Flag = False
    """Print what became of each run as JSON."""


def sweep(command: Sweep, line: str) -> None:
    """Run the command; exit with 1 if a run failed."""
    from baselines.sweeps.sweep import sweep as sweep_all

    finished = sweep_all(
        command.datasets,
        command.models,
        seeds=parse_seeds(command.seeds),
        out=command.out,
        settings=parse_lists("set", command.set),
        folds=command.folds,
        **command.runs.arguments(),
        track=command.track,
        progress=loudness.get().notes,
        command=line,
    )
    if command.json:
        print_outcome({"sweep": str(finished.folder), "done": list(map(str, finished.done))}, finished)
    else:
        print_outcome("\n".join([counts_text(finished), *_table_commands(finished.folder)]), finished)


def _table_commands(folder: Path) -> list[str]:
    """Name what prints the table of a sweep; where kinds or protocols differ, which share none, that of each."""
    from baselines.runs.collect import find_runs
    from baselines.runs.run import read_config

    prefixes: dict[tuple[str, str], set[str]] = {}
    with suppress(CspDataError):  # no run has begun
        for run in find_runs([folder])[0]:
            with suppress(CspDataError):  # a damaged one, or somebody else's
                data = read_config(run).data
                protocol = data.protocol["name"]
                prefixes.setdefault((data.kind, protocol), set()).add(f"{data.name}-{protocol}-")
    if len(prefixes) == 1:
        return [f"the table: csp-baselines table {shlex.quote(str(folder))}"]
    return [
        f"the table of {kind}, protocol {protocol}: csp-baselines table "
        + " ".join(f"{shlex.quote(str(folder / 'runs' / prefix))}*" for prefix in sorted(names))
        for (kind, protocol), names in prefixes.items()
    ]
