"""The commands ``bench transfer`` and ``bench prepare``."""

from __future__ import annotations

from pathlib import Path

import click

from csp_data.commands.base import Commands, examples, report
from csp_data.commands.options import json_option

__all__ = ["bench"]


@click.group(cls=Commands, epilog=examples("csp-data bench transfer"))
def bench() -> None:
    """Measure transfers and preparing on this machine."""


@bench.command(epilog=examples("csp-data bench transfer --size 1 --repeat 5 --json"))
@click.option("--size", type=click.FloatRange(min=0.001), default=1.0, show_default=True, help="GB to transfer.")
@click.option("--repeat", type=click.IntRange(1, 20), default=3, show_default=True, help="Runs; the best counts.")
@json_option
def transfer(size: float, repeat: int, as_json: bool) -> None:
    """Time a download and a deep verification on loopback.

    The times of curl and sha256sum in the same run stand beside them.
    """
    from csp_data.acquire.bench import bench_transfer

    rows = bench_transfer(int(size * 1e9), repeat)
    lines = (f"{name:<40} {f'{value:.3g}' if isinstance(value, float) else value}" for name, value in rows.items())
    report(rows, "\n".join(lines), as_json=as_json)


@bench.command(epilog=examples("csp-data bench prepare vector --hours 0.5 --json"))
@click.argument("names", nargs=-1)
@click.option(
    "--hours",
    type=click.FloatRange(min=0.001),
    default=0.5,
    show_default=True,
    help="Length of each tree that is made.",
)
@click.option("--full", is_flag=True, help="Make trees as long as the publishers' (over 40 hours in all).")
@click.option(
    "--raw",
    type=click.Path(path_type=Path),
    help="Folder of trees, each named like its data set; missing ones are simulated there [default: temporary].",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the trees that are made."
)
@click.option("--protocol", default="paper", show_default=True, help="Name of the protocol.")
@click.option(
    "--jobs", type=click.IntRange(min=1), default=2, show_default=True, help="Recordings prepared at once."
)
@click.option("--repeat", type=click.IntRange(1, 20), default=2, show_default=True, help="Runs; the best counts.")
@json_option
def prepare(
    names: tuple[str, ...],
    hours: float,
    full: bool,
    raw: Path | None,
    seed: int,
    protocol: str,
    jobs: int,
    repeat: int,
    as_json: bool,
) -> None:
    """Time how long data sets take to prepare and load.

    All of them, or NAMES; beside the time to read and write the same bytes.
    """
    from csp_data.bench import bench_sets, table_lines

    rows = bench_sets(
        names,
        hours=None if full else hours,
        raw=raw,
        seed=seed,
        protocol=protocol,
        jobs=jobs,
        repeat=repeat,
    )
    report(rows, "\n".join(table_lines(rows)), as_json=as_json)
