"""The commands ``download``, ``import`` and ``verify``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from csp_data import api
from csp_data.acquire.client import Patience
from csp_data.acquire.download import Options, download_card
from csp_data.acquire.importing import import_card
from csp_data.acquire.nearby import other_places
from csp_data.acquire.place import How
from csp_data.acquire.report import FileReport, Report, failure_lines
from csp_data.card import load_card, prose
from csp_data.commands.base import Command, examples
from csp_data.commands.options import json_option, name_argument, raw_option
from csp_data.errors import AccessError, MissingDataError, VerificationError
from csp_data.terminal import at_terminal, loudness

__all__ = ["download", "import_", "verify"]

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

    After a failure, run it again: it continues where it stopped.
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
    terms = prose(card.licence.terms)
    click.echo(f"Terms: {card.licence.name}. {terms} To cite it: csp-data cite {card.typed}", err=True)
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
@click.option("--move", is_flag=True, help="Move the files instead of copying them.")
@click.option("--link", is_flag=True, help="Hard-link the files instead of copying them.")
@lock_option
@json_option
@click.pass_context
def import_(
    ctx: click.Context,
    name: str,
    paths: tuple[Path, ...],
    raw: Path | None,
    move: bool,
    link: bool,
    lock: Path | None,
    as_json: bool,
) -> None:
    """Import files that you fetched by hand.

    PATHS are archives, folders or files. Prints what is still missing.
    """
    if move and link:
        raise click.UsageError("--move or --link, not both: a file is moved, or stays and gets a second name.")
    how: How = "move" if move else "link" if link else "copy"
    report = import_card(load_card(name), paths, raw=raw, how=how, lock_file=lock)
    _say(ctx, report, as_json)


@click.command(
    cls=Command,
    epilog=examples(
        "csp-data verify sample", "csp-data verify broad --deep --json", "csp-data verify broad --present"
    ),
)
@name_argument
@raw_option
@click.option("--deep", is_flag=True, help="Read every byte again and open every recording.")
@click.option("--present", is_flag=True, help="Do not count missing files as failed.")
@lock_option
@json_option
@click.pass_context
def verify(
    ctx: click.Context, name: str, raw: Path | None, deep: bool, present: bool, lock: Path | None, as_json: bool
) -> None:
    """Check which raw files are there and can be trusted.

    Compares them with the digests that the publisher or the lock file states. Exit code 3 when one fails, or the
    folder is missing.
    """
    try:
        report = api.verify(name, raw=raw, deep=deep, lock=lock)
    except MissingDataError as error:
        error.exit_code = VerificationError.exit_code  # as of an empty folder: all files are missing
        raise
    failures = [file for file in report.failures if not (present and file.status == "missing")]
    _print_report(report, failures, as_json)
    if not as_json:
        if not report.present and (elsewhere := other_places(load_card(name), report.root)):
            click.echo(elsewhere, err=True)
        if loudness.get().notes:
            notes = [file for file in report.files if file.changed or file.status in ("extra", "unlisted")]
            for line in failure_lines(notes):
                click.echo(f"  {line}", err=True)
    if failures:
        ctx.exit(3)


def _say(ctx: click.Context, report: Report, as_json: bool) -> None:
    """Print a report; exit code 3 when something there failed, 4 when only files are missing."""
    _print_report(report, report.failures, as_json)
    if report.failures:
        ctx.exit(AccessError.exit_code if all(file.status == "missing" for file in report.failures) else 3)


def _print_report(report: Report, failures: Sequence[FileReport], as_json: bool) -> None:
    """Print a report, of whose failures those count."""
    if as_json:
        click.echo(json.dumps({**report.to_dict(), "ok": not failures}, indent=2))
        return
    click.echo(report.summary())
    for line in failure_lines(failures):
        click.echo(f"  {line}", err=True)


def _ask_licence(terms: str) -> bool:
    click.echo(terms, err=True)
    return click.confirm("Do you accept these terms?", default=False, err=True)


def _ask_password(host: str) -> tuple[str, str]:
    user = click.prompt(f"User at {host}", err=True)
    return user, click.prompt("Password", hide_input=True, err=True)
