"""The commands ``check``, ``files`` and ``new``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from csp_data.authoring.conformity import check_source
from csp_data.authoring.listing import as_toml, listed_files
from csp_data.authoring.template import new_source
from csp_data.commands.base import Command, examples, report
from csp_data.commands.options import json_option, name_argument, raw_option

__all__ = ["check", "files", "new"]


@click.command(
    cls=Command,
    epilog=examples("csp-data check sample", "csp-data check ./my-sensor --raw recordings --json"),
)
@name_argument
@raw_option
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Read at most this many recordings."
)
@json_option
@click.pass_context
def check(ctx: click.Context, name: str, raw: Path | None, limit: int, as_json: bool) -> None:
    """Check a card, its reader and its recordings.

    NAME is a data set, or a folder with card.toml and reader.py. Exit code 3 when a check fails.
    """
    found = check_source(name, raw=raw, limit=limit)
    report(found.to_dict(), str(found), as_json=as_json)
    if not found.ok:
        ctx.exit(3)


@click.command(
    cls=Command,
    epilog=examples(
        "csp-data files ./my-sensor --raw recordings",
        "csp-data files ./my-sensor --raw raw --archive my-sensor-1.0.zip --url https://data.example.org/my-sensor",
    ),
)
@name_argument
@raw_option
@click.option(
    "--archive",
    "archives",
    type=click.Path(path_type=Path),
    multiple=True,
    help="An archive in which they are packed (more than once for several).",
)
@click.option("--url", metavar="ADDRESS", help="Folder from which archives, or files, will be fetched.")
@json_option
def files(name: str, raw: Path | None, archives: tuple[Path, ...], url: str | None, as_json: bool) -> None:
    """List raw files as a card does, with digests.

    Prints the fields files and downloads in TOML, for the card of a data set that you publish: the files that its
    reader opens, and those that the card lists already.
    """
    lists = listed_files(name, raw=raw, archives=archives, url=url)
    rows = {field: [asdict(entry) for entry in entries] for field, entries in lists.items()}
    report(rows, as_toml(lists), as_json=as_json)


@click.command(
    cls=Command,
    epilog=examples("csp-data new my-sensor", "csp-data new my-sensor -o sensors/mine"),
)
@click.argument("name")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder to make [default: ./NAME].")
@json_option
def new(name: str, out: Path | None, as_json: bool) -> None:
    """Start a data set of your own.

    Writes a card, a reader, a test and simulated recordings, which work as they are. Then put your recordings in
    the place of the simulated ones, and change the lines that are marked as yours.
    """
    path = new_source(name, out)
    shown = path if path.is_absolute() else f"./{path}"
    text = (
        f"{path}: card.toml, reader.py, a test, and recordings (simulated, to be replaced by yours)\n"
        f"Next: csp-data check {shown}"
    )
    report({"path": path, "files": sorted(file.name for file in path.iterdir())}, text, as_json=as_json)
