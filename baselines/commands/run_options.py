"""Shared by ``csp-baselines sweep`` and ``ablate``: how and where each run is made, and the closing message."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from baselines.commands.arguments import Flag, parse_lists
from csp_data.terminal import count_of

if TYPE_CHECKING:
    from baselines.sweeps.sweep import Sweep

__all__ = ["Runs", "RunsOptions", "counts_text", "print_outcome"]

_arg = tyro.conf.arg


@dataclass(frozen=True)
class Runs:
    """How each run is made, and where."""

    protocol: Annotated[str | None, _arg(metavar="NAME")] = None
    """Name of the protocol; by default each data set's own."""
    training: Annotated[str | None, _arg(metavar="NAME")] = None
    """Settings of the training by name, paper or strict; by default those named like the protocol."""
    preset: Annotated[str, _arg(metavar="NAME")] = "small"
    """Sizes of the models: small, or paper (published)."""
    raw: Annotated[str | None, _arg(metavar="FOLDER")] = None
    """Folder of the raw files; {name} in it stands for the data set's name."""
    skip_damaged: Flag = False
    """Leave damaged recordings out, and list them."""
    jobs: int = 1
    """Runs that are trained at once."""
    backend: Annotated[str, _arg(metavar="NAME")] = "loky"
    """loky (this machine), dask:tcp://HOST:PORT, slurm, or slurm:local to try slurm out here."""
    slurm: Annotated[tuple[str, ...], _arg(metavar="KEY=VALUE ...")] = ()
    """Parameters of submitit: slurm_partition=gpu timeout_min=600 gpus_per_node=1."""
    device: Annotated[str, _arg(metavar="NAME")] = "cpu"
    """Device, as torch names it; cuda spreads the runs over all GPUs."""
    per_device: int = 1
    """Runs at once on each GPU; a small model leaves most of it idle."""
    threads: int = 1
    """Threads of torch in each run."""

    def arguments(self) -> dict[str, Any]:
        """Return them as :func:`baselines.sweep` and :func:`baselines.ablate` name them."""
        slurm = {key: values[0] for key, values in parse_lists("slurm", self.slurm).items()}
        return {**vars(self), "slurm": slurm}


RunsOptions = Annotated[Runs, tyro.conf.OmitArgPrefixes, _arg(name="runs")]
"""The same as a field of a command's options."""


def counts_text(sweep: Sweep) -> str:
    """Say where the runs of a sweep are, how many are done, and how many failed."""
    done = f"{count_of(len(sweep.done), 'run')}, {sweep.executed} of them done now"
    return f"{sweep.folder}: {done}; {len(sweep.failed)} failed"


def print_outcome(found: str | Mapping[str, Any], sweep: Sweep) -> None:
    """Print what was found, as text or as JSON, and which runs failed and why; exit with 1 if one did."""
    if not isinstance(found, str):
        failed = {str(folder): reason for folder, reason in sweep.failed.items()}
        found = json.dumps({**found, "failed": failed})
    sys.stdout.write(found + "\n")
    for folder, reason in sweep.failed.items():
        sys.stderr.write(f"failed: {folder}: {reason}\n")
    if sweep.failed:
        sys.exit(1)
