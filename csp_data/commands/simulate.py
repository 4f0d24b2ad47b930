"""The command ``simulate``."""

from __future__ import annotations

from pathlib import Path

import click

from csp_data.commands.base import Command, examples, report
from csp_data.commands.options import json_option
from csp_data.simulate import NAMES
from csp_data.simulate import simulate as write_tree

__all__ = ["simulate"]


@click.command(
    cls=Command,
    epilog=examples(
        "csp-data simulate vector trees/vector --hours 0.1",
        "csp-data simulate ronin trees/ronin --archives --seed 1",
    ),
)
@click.argument("name", metavar=f"[{'|'.join(NAMES)}]")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--hours", type=float, default=0.1, show_default=True, help="Hours of recordings.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random numbers.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Recordings made at once.")
@click.option("--compressed", is_flag=True, help="Store HDF5 arrays with gzip.")
@click.option("--archives", is_flag=True, help="Pack the files as the publisher does.")
@json_option
def simulate(
    name: str, out: Path, hours: float, seed: int, jobs: int, compressed: bool, archives: bool, as_json: bool
) -> None:
    """Write simulated raw files of a source, in its own layout.

    For tests and trying things out: nothing in them was measured.
    """
    where = write_tree(name, out, hours=hours, seed=seed, jobs=jobs, compressed=compressed, archives=archives)
    report(
        {"path": where, "name": name, "hours": hours, "seed": seed, "simulated": True}, str(where), as_json=as_json
    )
