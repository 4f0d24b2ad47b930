"""The command ``clean``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from csp_data.acquire.leftovers import clean as clean_raw
from csp_data.acquire.leftovers import delete, leftovers
from csp_data.card import bundled_root, load_card
from csp_data.commands.base import Command, examples, report
from csp_data.commands.options import json_option, optional_name_argument, raw_option
from csp_data.doctor import prepared_files, size_of
from csp_data.errors import OptionError
from csp_data.home import check_accessible, lock, raw_dir
from csp_data.terminal import amount, at_terminal, visible

__all__ = ["clean"]

SHOWN = 12


@click.command(
    cls=Command,
    epilog=examples("csp-data clean broad", "csp-data clean sample --prepared --yes", "csp-data clean --prepared"),
)
@optional_name_argument
@raw_option
@click.option("--prepared", is_flag=True, help="Delete prepared files instead: of NAME, or all of the home.")
@click.option("-y", "--yes", is_flag=True, help="Delete without asking.")
@json_option
def clean(name: str | None, raw: Path | None, prepared: bool, yes: bool, as_json: bool) -> None:
    """Delete leftovers of unfinished work, or prepared files.

    Asks first, and never deletes a complete raw file.
    """
    if name is None and not prepared:
        raise click.UsageError("Name a data set, or say --prepared.")
    card = None if name is None else load_card(name)
    if prepared:
        paths = [file.path for file in prepared_files() if card is None or file.dataset == card.name]
    else:
        assert card is not None
        if raw is None and bundled_root(card) is not None:
            needed = "a data set whose raw files are in the home"
            fix = "Its recordings are part of it: those in a folder of yours are cleaned with --raw."
            raise OptionError("name", card.name, needed, fix)
        root = check_accessible(raw_dir(card.name, raw))
        paths = leftovers(root)
    size = sum(size_of(path) for path in paths)
    if paths and not yes:
        _ask(paths, size)
    if prepared:
        for path in paths:
            written = path.with_name(path.name.removeprefix(".").removesuffix(".part"))
            with lock(written):  # of who may be writing it
                delete(path)
    elif paths:
        paths = clean_raw(root)
    report(
        {"deleted": paths, "bytes": size if paths else 0},
        visible("\n".join(map(str, paths))) if paths else "There is nothing to delete.",
        as_json=as_json,
    )


def _ask(paths: list[Path], size: int) -> None:
    """Ask before deleting; where nobody can be asked, nothing is deleted."""
    more = [f"  and {len(paths) - SHOWN} more"] if len(paths) > SHOWN else []
    click.echo(visible("\n".join([*(f"  {path}" for path in paths[:SHOWN]), *more])), err=True)
    if not at_terminal(sys.stdin):
        raise click.UsageError("Nothing was deleted: there is no terminal to ask at. Say --yes to delete these.")
    click.confirm(f"Delete these {len(paths)} ({amount(size)})?", default=False, abort=True, err=True)
