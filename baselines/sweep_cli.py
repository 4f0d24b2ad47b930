"""``csp-baselines sweep``: many runs with one command."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from baselines.errors import OptionError
from csp_data.manners import loudness

__all__ = ["SWEEP", "Sweep", "pairs", "seeds", "sweep"]

_arg = tyro.conf.arg

SWEEP = """Train every model on every data set with every seed, in one folder.

Give the same command again and it goes on: finished runs are kept, interrupted ones continue from their last
epoch, nothing runs twice, also when two sweeps share the folder. A run that fails says why and stops no other.
Models: names, or published (the 16 of the HiSS paper), or references.

Examples:
  csp-baselines sweep --datasets sample --models flat-s4 hiss-s4-mamba --seeds 0-4 --jobs 2 --out sweeps/first
  csp-baselines sweep --datasets broad --models published references --set train.lr=1e-3,3e-3 train.epochs=30
  csp-baselines sweep --datasets vector ronin --models published --protocol paper --preset paper --device cuda
  csp-baselines sweep --datasets broad --models published --backend dask:tcp://10.0.0.1:8786
  csp-baselines sweep --datasets broad --models published --backend slurm --slurm slurm_partition=gpu
  csp-baselines table sweeps/first/runs/*"""


@dataclass(frozen=True)
class Sweep:
    """Options of ``sweep``."""

    datasets: Annotated[tuple[str, ...], _arg(metavar="DATASET...")]
    """Names of data sets, or prepared files."""
    models: Annotated[tuple[str, ...], _arg(metavar="MODEL...")]
    """Names of models and references; published and references stand for all of them."""
    seeds: Annotated[tuple[str, ...], _arg(metavar="SEED...")] = ("0-4",)
    """Seeds, one by one or as ranges: 0-4 stands for 0 1 2 3 4."""
    out: Annotated[Path, _arg(metavar="FOLDER", aliases=["-o"])] = Path("sweep")
    """Folder of the sweep."""
    protocol: Annotated[str | None, _arg(metavar="NAME")] = None
    """Name of the protocol; by default each data set's own."""
    training: Annotated[str | None, _arg(metavar="NAME")] = None
    """Choices of the training by name, paper or strict; by default the one named like the protocol."""
    preset: Annotated[str, _arg(metavar="NAME")] = "small"
    """Sizes of the models: small, or paper (published)."""
    set: Annotated[tuple[str, ...], _arg(metavar="KEY=VALUE[,VALUE] ...")] = ()
    """train.FIELD, model.SIZE or data.FIELD of the protocol; every value of a list is run."""
    raw: Annotated[str | None, _arg(metavar="FOLDER")] = None
    """Folder of the raw files; {name} in it stands for the data set's name."""
    jobs: int = 1
    """Runs at once."""
    backend: Annotated[str, _arg(metavar="NAME")] = "loky"
    """loky (this machine), dask:tcp://HOST:PORT, slurm, or slurm:local to try that out here."""
    slurm: Annotated[tuple[str, ...], _arg(metavar="KEY=VALUE ...")] = ()
    """Parameters of submitit: slurm_partition=gpu timeout_min=600 gpus_per_node=1."""
    device: str = "cpu"
    """As torch names it; cuda spreads the runs over all GPUs."""
    per_device: int = 1
    """Runs at once on one GPU; small models leave most of it idle."""
    threads: int = 1
    """Threads of torch in each run."""
    track: Literal["tensorboard", "trackio", "wandb"] | None = None
    """A tracker that follows each training too; what counts are the folders of the runs."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print what became of each run as JSON."""


def sweep(command: Sweep, line: str) -> None:
    """Run the command; exit with 1 if a run failed."""
    from baselines.grid import Grid
    from baselines.pool import Place
    from baselines.sweeps import sweep_grid

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
    place = Place(
        device=command.device,
        per_device=command.per_device,
        threads=command.threads,
        slots=command.out.absolute() / ".slots",
        track=command.track,
    )
    done = sweep_grid(
        grid,
        command.out,
        place,
        jobs=command.jobs,
        backend=command.backend,
        slurm={key: values[0] for key, values in pairs("slurm", command.slurm)},
        progress=loudness.get().notes,
        command=line,
    )
    if command.json:
        failed = {str(folder): why for folder, why in done.failed.items()}
        said = json.dumps({"sweep": str(done.folder), "done": [str(f) for f in done.done], "failed": failed})
    else:
        counts = f"{len(done.done)} runs, {done.executed} of them done now; {len(done.failed)} failed"
        said = f"{done.folder}: {counts}\nthe table: csp-baselines table {done.folder}/runs/*"
    sys.stdout.write(said + "\n")
    for folder, why in done.failed.items():
        sys.stderr.write(f"failed: {folder}: {why}\n")
    if done.failed:
        sys.exit(1)


def seeds(given: Sequence[str]) -> tuple[int, ...]:
    """Read seeds and ranges of them."""
    found: list[int] = []
    for text in given:
        first, dash, last = text.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise OptionError("seeds", text, "a whole number of at least 0, or a range such as 0-4")
        found += range(int(first), int(last if dash else first) + 1)
    return tuple(dict.fromkeys(found))


def pairs(option: str, given: Sequence[str]) -> list[tuple[str, list[Any]]]:
    """Read KEY=VALUE,VALUE; each value, or all of them together, is JSON, or else text."""
    found = []
    for pair in given:
        key, equals, text = pair.partition("=")
        if not (key and equals and text):
            raise OptionError(option, pair, "KEY=VALUE, such as train.lr=1e-3")
        try:
            found.append((key, [json.loads(text)]))
        except ValueError:
            found.append((key, [_value(part) for part in text.split(",")]))
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
