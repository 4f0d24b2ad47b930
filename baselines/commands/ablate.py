"""``csp-baselines ablate``: one ablation with one command."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from baselines.commands.arguments import Flag, parse_lists, parse_seeds
from baselines.commands.run_options import Runs, RunsOptions, counts_text, print_outcome
from csp_data.terminal import loudness

__all__ = ["ABLATE", "Ablate", "ablate"]

_arg = tyro.conf.arg

ABLATE = """Vary one thing at a time, train on every variant, and write one table and one figure.

  lowpass   no filter, and cut-offs in Hz (--values), causal and zero-phase
  chunk     input samples per chunk (--values), and with them the rate of the targets
  fraction  per cent of the training recordings (--values), each subset within the larger ones
  context   seconds that a model sees (--values)
  deltas    input deltas, averaged instead of interpolated inputs, streams that are off by default
  leak      each leak of the published protocol in and out: statistics of the evaluation part in the normalisation,
            selection on the evaluation part, a non-causal filter (--values: its cut-off in Hz), 0.18 s of
            look-ahead, neighbouring recordings in both halves. --protocol strict puts them in one at a time,
            --protocol paper takes them out

Each variant of the data is prepared once. If you give the same command again, it continues; nothing runs twice.
FOLDER/KIND.csv, .svg and .png are made from what is there.

Examples:
  csp-baselines ablate lowpass --datasets sample --models flat-s4 hiss-s4-mamba --seeds 0-2 --out ablations/lowpass
  csp-baselines ablate leak --datasets broad --models flat-s4 hiss-s4-mamba --jobs 2 --out ablations/leak
  csp-baselines ablate fraction --datasets broad --models flat-s4 --folds 6 --seeds 0 --out ablations/fraction"""


@dataclass(frozen=True)
class Ablate:
    """Options of ``ablate``."""

    kind: Annotated[
        Literal["lowpass", "chunk", "fraction", "context", "deltas", "leak"],
        tyro.conf.Positional,
        _arg(metavar="KIND"),
    ]
    """What to vary."""
    datasets: Annotated[tuple[str, ...], _arg(metavar="DATASET...")]
    """Names of data sets of one kind: simulated and real recordings go into different figures."""
    models: Annotated[tuple[str, ...], _arg(metavar="MODEL...")] = ("flat-s4", "hiss-s4-mamba")
    """Names of models and references; the training mean is run too."""
    seeds: Annotated[tuple[str, ...], _arg(metavar="SEED...")] = ("0-2",)
    """Seeds, one by one or as ranges."""
    folds: Annotated[int | None, _arg(metavar="N")] = None
    """Cross-validation: every run once for each of so many folds of the recordings, put together."""
    values: Annotated[tuple[float, ...], _arg(metavar="VALUE...")] = ()
    """Values that are tried; by default a range that suits the data set's rates."""
    out: Annotated[Path, _arg(metavar="FOLDER", aliases=["-o"])] = Path("ablation")
    """Folder of the ablation."""
    runs: RunsOptions = field(default_factory=Runs)
    set: Annotated[tuple[str, ...], _arg(metavar="KEY=VALUE ...")] = ()
    """Settings train.FIELD, model.SIZE or data.FIELD (of the protocol), the same in all variants."""
    json: Flag = False
    """Print what became of each run as JSON."""


def ablate(command: Ablate, line: str) -> None:
    """Run the command; exit with 1 if a run failed."""
    from baselines.ablations.ablate import ablate as ablate_all
    from baselines.ablations.rows import summary

    ablation = ablate_all(
        command.kind,
        command.datasets,
        command.models,
        out=command.out,
        values=command.values,
        seeds=parse_seeds(command.seeds),
        settings=parse_lists("set", command.set),
        folds=command.folds,
        **command.runs.arguments(),
        progress=loudness.get().notes,
        command=line,
    )
    notes = {f"{row.dataset}, {row.variant}": row.note for row in ablation.rows if row.note and not row.model}
    if command.json:
        files = list(map(str, ablation.files))
        print_outcome({"ablation": ablation.kind, "files": files, "left_out": notes}, ablation.sweep)
    else:
        written = (f"written: {path}" for path in ablation.files)
        text = "\n".join([summary(ablation.rows), "", counts_text(ablation.sweep), *written])
        print_outcome(text, ablation.sweep)
