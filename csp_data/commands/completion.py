"""The command ``completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from csp_data.commands.base import Command, examples

__all__ = ["completion"]

SHELLS = ("bash", "zsh", "fish")


@click.command(
    cls=Command,
    epilog=examples(
        'eval "$(csp-data completion bash)"        # in ~/.bashrc',
        'eval "$(csp-data completion zsh)"         # in ~/.zshrc',
        "csp-data completion fish > ~/.config/fish/completions/csp-data.fish",
    ),
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script for completion in a shell.

    It completes commands, options and names of data sets.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # of SHELLS, which are click's
    click.echo(kind(ctx.find_root().command, {}, "csp-data", "_CSP_DATA_COMPLETE").source())
