"""``csp-baselines completion``: what a shell needs to complete commands, options, data sets and models."""

from __future__ import annotations

import os
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import click
import tyro
from click.shell_completion import CompletionItem, get_completion_class, shell_complete

import csp_data
from baselines.presets import ALL_MODELS, REFERENCES

__all__ = ["COMPLETION", "Completion", "complete", "completion", "shadow"]

PROG, VARIABLE = "csp-baselines", "_CSP_BASELINES_COMPLETE"

COMPLETION = """Print the script that lets a shell complete commands, options, data sets and models.

Examples:
  eval "$(csp-baselines completion bash)"   # in ~/.bashrc
  eval "$(csp-baselines completion zsh)"    # in ~/.zshrc
  csp-baselines completion fish > ~/.config/fish/completions/csp-baselines.fish"""


@dataclass(frozen=True)
class Completion:
    """Options of ``completion``."""

    shell: Annotated[Literal["bash", "zsh", "fish"], tyro.conf.Positional]
    """Shell to print the script for."""


class Row(Protocol):
    """What is looked at of a command."""

    @property
    def options(self) -> type: ...

    @property
    def line(self) -> str: ...


def completion(command: Completion, line: str) -> None:
    """Run the command."""
    kind = get_completion_class(command.shell)
    assert kind is not None  # of the choices above, which are click's
    sys.stdout.write(kind(click.Group(), {}, PROG, VARIABLE).source() + "\n")


def complete(commands: Mapping[str, Row]) -> None:
    """Answer a shell that asks what could stand next, and exit; do nothing when none asks."""
    if asked := os.environ.get(VARIABLE):
        sys.exit(shell_complete(shadow(commands), {}, PROG, VARIABLE, asked))


def shadow(commands: Mapping[str, Row]) -> click.Group:
    """Return the commands as click knows commands, for its completion alone."""
    group = click.Group(PROG, params=_loud())
    for name, row in commands.items():
        group.add_command(click.Command(name, params=[*_params(row.options), *_loud()], help=row.line))
    return group


def _loud() -> list[click.Parameter]:
    return [click.Option([f"-{name[0]}", f"--{name}"], is_flag=True) for name in ("quiet", "verbose")]


def _params(options: type) -> list[click.Parameter]:
    """Return the arguments and options that the fields of a command stand for."""
    found: list[click.Parameter] = []
    for name, hint in typing.get_type_hints(options, include_extras=True).items():
        inner, marks = (hint.__origin__, hint.__metadata__) if hasattr(hint, "__metadata__") else (hint, ())
        if is_dataclass(inner) or typing.is_typeddict(inner):
            found += _params(typing.cast(type, inner))
            continue
        metavar = next((mark.metavar for mark in marks if getattr(mark, "metavar", None)), "")
        what: dict[str, Any] = {
            "type": _type(inner),
            "shell_complete": NAMES.get(metavar) or NAMES.get(metavar.rstrip(".")),
        }
        if tyro.conf.Positional in marks:
            several = typing.get_origin(inner) is tuple
            found.append(click.Argument([name], nargs=-1 if several else 1, metavar=metavar or None, **what))
            continue
        aliases = next((mark.aliases for mark in marks if getattr(mark, "aliases", None)), ())
        # click has no options with several values: their first is completed
        flag = {"is_flag": True} if inner is bool else what
        found.append(click.Option([f"--{name.replace('_', '-')}", *aliases], **flag))
    return found


def _type(inner: Any) -> click.ParamType | None:
    """Return the type that click completes: one of a few words, a path, or anything."""
    if typing.get_origin(inner) is Literal:
        return click.Choice(typing.get_args(inner))
    if inner is Path:
        return click.Path()
    return next((kind for part in typing.get_args(inner) if (kind := _type(part)) is not None), None)


def _datasets() -> list[str]:
    return list(csp_data.names())


def _models() -> list[str]:
    return [*ALL_MODELS, *REFERENCES]


def _several_models() -> list[str]:
    return [*_models(), "published", "references"]


def _offer(names: Callable[[], list[str]]) -> Callable[..., list[CompletionItem]]:
    def offer(ctx: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in names() if name.startswith(begun)]

    return offer


NAMES = {"DATASET": _offer(_datasets), "MODEL": _offer(_models), "MODEL...": _offer(_several_models)}
"""What may stand for an argument, by its metavar; with ... for one that has names of its own for several."""
