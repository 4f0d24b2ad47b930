"""The command ``view``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from csp_data.commands.base import Command, examples
from csp_data.commands.options import (
    is_prepared,
    load_named,
    name_argument,
    protocol_options,
    raw_option,
    skip_damaged_option,
)

__all__ = ["view"]


@click.command(
    cls=Command,
    epilog=examples(
        "csp-data view sample",
        "csp-data view sample --runs runs --port 8050 --no-browser",
    ),
)
@name_argument
@click.option(
    "--runs",
    type=click.Path(path_type=Path),
    help="Folder of runs whose predictions are shown; nothing outside it is read.",
)
@raw_option
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on [default: any free one]."
)
@click.option("--address", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--public", is_flag=True, help="Allow an address that others can reach; there is no password.")
@click.option("--no-browser", is_flag=True, help="Print the address without opening a browser.")
@skip_damaged_option
@protocol_options
def view(
    name: str,
    runs: Path | None,
    raw: Path | None,
    port: int,
    address: str,
    public: bool,
    no_browser: bool,
    skip_damaged: bool,
    protocol: str | None,
    changes: dict[str, Any],
) -> None:
    """Browse a data set in a web page on this machine.

    It shows recordings, parts, filters, and the predictions of runs. NAME is a data set or a prepared file (.h5).
    Ctrl-C ends it.
    """
    from csp_data.view import serve

    shown_raw = None if is_prepared(name) else raw
    serve(
        load_named(name, shown_raw, protocol, changes, skip_damaged=skip_damaged),
        runs=runs,
        raw=raw,
        address=address,
        port=port,
        public=public,
        browser=not no_browser,
        ready=click.echo,
    )
