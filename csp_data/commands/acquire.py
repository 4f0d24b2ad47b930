"""The commands ``download``, ``import``, ``bench transfer`` and ``bench prepare``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from csp_data.acquire.client import Patience
from csp_data.acquire.download import Options, download_card
from csp_data.acquire.importing import import_card
from csp_data.acquire.report import Report, failure_lines
from csp_data.card import load_card
from csp_data.commands.base import Command, Commands, examples
from csp_data.commands.options import json_option, name_argument, raw_option
from csp_data.errors import AccessError
from csp_data.terminal import at_terminal, loudness

__all__ = ["bench", "download", "import_"]

lock_option = click.option(
    "--lock", type=click.Path(path_type=Path), help="Lock file [default: in the raw folder]."
)


@click.command(
    cls=Command,
    epilog=examples(
        "csp-data download broad",
        "csp-data download ronin --accept-licence",
        "csp-data download broad --mirror http://127.0.0.1:8000/ --json",
    ),
)
@name_argument
@raw_option
@click.option(
    "--mirror",
    metavar="URL",
    help="Fetch from this copy (address or folder) with the same names; {name} is filled in.",
)
@click.option("--jobs", type=click.IntRange(1, 32), default=4, show_default=True, help="Files fetched at once.")
@click.option("--full", is_flag=True, help="Fetch the full version where there is a compact one too.")
@click.option("--accept-licence", is_flag=True, help="Say that you accept the data set's terms.")
@click.option("--keep-archives", is_flag=True, help="Keep archives after unpacking them.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=60,
    show_default=True,
    help="Seconds without a byte before an attempt ends.",
)
@click.option(
    "--tries",
    type=click.IntRange(1, 100),
    default=5,
    show_default=True,
    help="Attempts in a row that may bring nothing new.",
)
@lock_option
@json_option
@click.pass_context
def download(
    ctx: click.Context,
    name: str,
    raw: Path | None,
    mirror: str | None,
    jobs: int,
    full: bool,
    accept_licence: bool,
    keep_archives: bool,
    timeout: float,
    tries: int,
    lock: Path | None,
    as_json: bool,
) -> None:
    """Fetch the missing files of a data set, and verify them.

    After a failure, run it again: it goes on where it stopped.
    """
    person = at_terminal(sys.stdin) and at_terminal(sys.stderr)
    options = Options(
        raw=raw,
        mirror=mirror,
        jobs=jobs,
        accept_licence=accept_licence,
        variant="full" if full else "compact",
        lock_file=lock,
        keep_archives=keep_archives,
        progress=loudness.get().progress,
        patience=Patience(connect_s=min(10.0, timeout), stall_s=timeout, tries=tries),
        ask_licence=_ask_licence if person else None,
        ask_password=_ask_password if person else None,
    )
    card = load_card(name)
    try:
        report = download_card(card, options)
    except KeyboardInterrupt:
        click.echo("Stopped; what has arrived is kept. Run the command again to go on.", err=True)
        ctx.exit(1)
    terms = " ".join(card.licence.terms.split())
    click.echo(f"Terms: {card.licence.name}. {terms} To cite it: csp-data cite {card.name}", err=True)
    _say(ctx, report, as_json)


@click.command(
    "import",
    cls=Command,
    epilog=examples(
        "csp-data import ronin ~/Downloads/FRDR_dataset_538_download_1.zip",
        "csp-data import totalcapture ~/totalcapture --link",
    ),
)
@name_argument
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@raw_option
@click.option("--move", "how", flag_value="move", help="Move the files instead of copying them.")
@click.option("--link", "how", flag_value="link", help="Hard-link the files instead of copying them.")
@lock_option
@json_option
@click.pass_context
def import_(
    ctx: click.Context,
    name: str,
    paths: tuple[Path, ...],
    raw: Path | None,
    how: str | None,
    lock: Path | None,
    as_json: bool,
) -> None:
    """Take in files that you fetched by hand.

    PATHS are archives, folders or files. Prints what is still missing.
    """
    kind = {"move": "move", "link": "link"}.get(how or "", "copy")
    report = import_card(load_card(name), paths, raw=raw, how=kind, lock_file=lock)  # type: ignore[arg-type]
    _say(ctx, report, as_json)


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
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for name, value in rows.items():
        click.echo(f"{name:<40} {value:.3g}" if isinstance(value, float) else f"{name:<40} {value}")


@bench.command("prepare", epilog=examples("csp-data bench prepare vector --hours 0.5 --json"))
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
def bench_prepare_(
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
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for line in table_lines(rows):
        click.echo(line)


def _say(ctx: click.Context, report: Report, as_json: bool) -> None:
    """Print a report; exit code 3 when something there failed, 4 when only files are missing."""
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2))
    else:
        click.echo(report.summary())
        for line in failure_lines(report.failures):
            click.echo(f"  {line}", err=True)
    if report.failures:
        ctx.exit(AccessError.exit_code if all(file.status == "missing" for file in report.failures) else 3)


def _ask_licence(terms: str) -> bool:
    click.echo(terms, err=True)
    return click.confirm("Do you accept these terms?", default=False, err=True)


def _ask_password(host: str) -> tuple[str, str]:
    user = click.prompt(f"User at {host}", err=True)
    return user, click.prompt("Password", hide_input=True, err=True)
