"""``csp-baselines ablate``: what a choice is worth, with one command."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from baselines.errors import OptionError
from baselines.sweep_cli import pairs, seeds
from csp_data.manners import loudness

__all__ = ["ABLATE", "Ablate", "ablate"]

_arg = tyro.conf.arg

ABLATE = """Vary one thing at a time, train on every variant, and write one table and one figure.

  lowpass   no filter, and cut-offs in Hz (--values), causal and zero-phase
  chunk     input samples a chunk (--values), and with them the rate of the targets
  fraction  per cent of the training recordings (--values), each subset within the larger ones
  context   seconds that a model sees (--values)
  deltas    input deltas, averaged instead of interpolated inputs, streams that are off by default
  leak      each leak of the published protocol in and out: statistics of the evaluation part in the normalisation,
            selection on the evaluation part, a non-causal filter (--values: its cut-off in Hz), 0.18 s of
            look-ahead, neighbouring recordings in both halves. --protocol strict puts them in one at a time,
            --protocol paper takes them out

Each variant of the data is prepared once. Give the same command again and it goes on; nothing runs twice, and
FOLDER/KIND.csv, .svg and .png are made from what is there.

Examples:
  csp-baselines ablate lowpass --datasets sample --models flat-s4 hiss-s4-mamba --seeds 0-2 --out ablations/lowpass
  csp-baselines ablate leak --datasets broad --models flat-s4 hiss-s4-mamba --jobs 2 --out ablations/leak"""


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
    values: Annotated[tuple[float, ...], _arg(metavar="VALUE...")] = ()
    """Where on the ablation's axis; by default a range that suits the data set's rates."""
    out: Annotated[Path, _arg(metavar="FOLDER", aliases=["-o"])] = Path("ablation")
    """Folder of the ablation."""
    protocol: Annotated[str | None, _arg(metavar="NAME")] = None
    """Name of the protocol to start from; by default each data set's own."""
    training: Annotated[str | None, _arg(metavar="NAME")] = None
    """Choices of the training by name, paper or strict; by default the one named like the protocol."""
    preset: Annotated[str, _arg(metavar="NAME")] = "small"
    """Sizes of the models: small, or paper (published)."""
    set: Annotated[tuple[str, ...], _arg(metavar="KEY=VALUE ...")] = ()
    """train.FIELD, model.SIZE or data.FIELD of the protocol, the same in all variants."""
    raw: Annotated[str | None, _arg(metavar="FOLDER")] = None
    """Folder of the raw files; {name} in it stands for the data set's name."""
    jobs: int = 1
    """Runs at once."""
    backend: Annotated[str, _arg(metavar="NAME")] = "loky"
    """loky (this machine), dask:tcp://HOST:PORT, slurm or slurm:local."""
    slurm: Annotated[tuple[str, ...], _arg(metavar="KEY=VALUE ...")] = ()
    """Parameters of submitit."""
    device: str = "cpu"
    """As torch names it; cuda spreads the runs over all GPUs."""
    per_device: int = 1
    """Runs at once on one GPU."""
    threads: int = 1
    """Threads of torch in each run."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print what became of each run as JSON."""


def ablate(command: Ablate, line: str) -> None:
    """Run the command; exit with 1 if a run failed."""
    from baselines.ablate import ablate as run
    from baselines.ablate import summary
    from baselines.grid import Grid
    from baselines.pool import Place

    if command.jobs < 1:
        raise OptionError("jobs", command.jobs, "a whole number of at least 1")
    grid = Grid(
        datasets=command.datasets,
        models=command.models,
        seeds=seeds(command.seeds),
        protocol=command.protocol,
        training=command.training,
        preset=command.preset,
        settings=dict(pairs("set", command.set)),
        raw=command.raw,
    )
    done = run(
        command.kind,
        grid,
        command.out,
        Place(
            device=command.device,
            per_device=command.per_device,
            threads=command.threads,
            slots=command.out.absolute() / ".slots",
        ),
        values=command.values,
        jobs=command.jobs,
        backend=command.backend,
        slurm={key: given[0] for key, given in pairs("slurm", command.slurm)},
        progress=loudness.get().notes,
        command=line,
    )
    failed = {str(folder): why for folder, why in done.sweep.failed.items()}
    notes = {f"{row.dataset}, {row.variant}": row.note for row in done.rows if row.note and not row.model}
    if command.json:
        files = [str(path) for path in done.files]
        said = json.dumps({"ablation": done.kind, "files": files, "left_out": notes, "failed": failed})
    else:
        counts = f"{len(done.sweep.done)} runs, {done.sweep.executed} of them done now; {len(failed)} failed"
        said = f"{summary(done.rows)}\n\n{done.sweep.folder}: {counts}"
        said += "".join(f"\nwritten: {path}" for path in done.files)
    sys.stdout.write(said + "\n")
    for folder, why in failed.items():
        sys.stderr.write(f"failed: {folder}: {why}\n")
    if failed:
        sys.exit(1)
