"""``csp-baselines completion``: shell completion of commands, options, data sets and models."""

from __future__ import annotations

import os
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
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
    """The parts of a command that completion needs."""

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
    """Answer a shell that asks for completions, and exit; do nothing if none asks."""
    if asked := os.environ.get(VARIABLE):
        sys.exit(shell_complete(shadow(commands), {}, PROG, VARIABLE, asked))


def shadow(commands: Mapping[str, Row]) -> click.Group:
    """Return the commands as click knows commands: for its completion, and for what it says of a wrong line."""
    group = click.Group(PROG, params=[*_loud(), click.Option(["--version"], is_flag=True)])
    spelt = {"token_normalize_func": lambda word: word.replace("_", "-")}  # tyro takes --window_s, too
    for name, row in commands.items():
        params = [*_params(row.options), *_loud()]
        group.add_command(click.Command(name, params=params, help=row.line, context_settings=spelt))
    return group


def _loud() -> list[click.Parameter]:
    return [click.Option([f"-{name[0]}", f"--{name}"], is_flag=True) for name in ("quiet", "verbose")]


def _params(options: type) -> list[click.Parameter]:
    """Return the arguments and options that the fields of a command stand for."""
    found: list[click.Parameter] = []
    needed: set[str] = set()
    if is_dataclass(options):
        needed = {one.name for one in fields(options) if one.default is MISSING is one.default_factory}
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
        required, several = name in needed, typing.get_origin(inner) is tuple
        if tyro.conf.Positional in marks:
            nargs = -1 if several else 1
            found.append(
                click.Argument([name], nargs=nargs, metavar=metavar or name.upper(), required=required, **what)
            )
            continue
        aliases = next((mark.aliases for mark in marks if getattr(mark, "aliases", None)), ())
        # click has no options with several values: their first is completed
        flag = {"is_flag": True} if inner is bool else {"multiple": several, "required": required, **what}
        found.append(click.Option([f"--{name.replace('_', '-')}", *aliases], **flag))
    return found


def _type(inner: Any) -> click.ParamType | None:
    """Return the type as click has it: one of a few words, a number, a path, or anything."""
    parts = (inner, *typing.get_args(inner))
    words = _words(inner)
    kind = click.Choice(words) if words else next((TYPES[part] for part in parts if part in TYPES), None)
    return _OrNone(kind) if kind is not None and type(None) in parts else kind


TYPES: dict[Any, click.ParamType] = {int: click.INT, float: click.FLOAT, Path: click.Path()}


def _words(inner: Any) -> tuple[str, ...]:
    """Return what a type is one of, if it is one of a few words."""
    parts = typing.get_args(inner)
    return parts if typing.get_origin(inner) is Literal else tuple(word for part in parts for word in _words(part))


class _OrNone(click.ParamType):
    """A type, or ``None`` as tyro reads it."""

    def __init__(self, kind: click.ParamType) -> None:
        self.kind, self.name = kind, kind.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return None if value == "None" else self.kind.convert(value, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return self.kind.shell_complete(ctx, param, incomplete)


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
