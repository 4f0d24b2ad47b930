"""``csp-baselines completion``: shell completion of commands, options, data sets and models."""

from __future__ import annotations

import os
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import click
import tyro
from click.shell_completion import CompletionItem, get_completion_class, shell_complete

import csp_data
from baselines.presets import ALL_MODELS, REFERENCES

__all__ = ["COMPLETION", "Completion", "Subcommand", "click_commands", "complete", "completion"]

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


@dataclass(frozen=True)
class Subcommand:
    """One command: its options, its help, and what does it, given the options and the line that was typed."""

    options: type
    help: str
    run: Callable[[Any, str], None]

    @property
    def line(self) -> str:
        """The first line of its help."""
        return self.help.partition("\n")[0]


def completion(command: Completion, line: str) -> None:
    """Run the command."""
    kind = get_completion_class(command.shell)
    assert kind is not None  # of the choices above, which are click's
    sys.stdout.write(kind(click.Group(), {}, PROG, VARIABLE).source() + "\n")


def complete(commands: Mapping[str, Subcommand]) -> None:
    """Answer a shell that asks for completions, and exit; do nothing if none asks."""
    if instruction := os.environ.get(VARIABLE):
        sys.exit(shell_complete(click_commands(commands), {}, PROG, VARIABLE, instruction))


def click_commands(commands: Mapping[str, Subcommand]) -> click.Group:
    """Return the commands as click knows commands: for its completion, and for what it says of a wrong line."""
    group = click.Group(PROG, params=[*_verbosity_options(), click.Option(["--version"], is_flag=True)])
    context_settings = {"token_normalize_func": lambda word: word.replace("_", "-")}  # tyro takes --window_s, too
    for name, command in commands.items():
        params = [*_click_parameters(command.options), *_verbosity_options()]
        group.add_command(click.Command(name, params=params, help=command.line, context_settings=context_settings))
    return group


def _verbosity_options() -> list[click.Parameter]:
    return [click.Option([f"-{name[0]}", f"--{name}"], is_flag=True) for name in ("quiet", "verbose")]


def _click_parameters(options: type) -> list[click.Parameter]:
    """Return the arguments and options that the fields of a command stand for."""
    parameters: list[click.Parameter] = []
    required_names: set[str] = set()
    if is_dataclass(options):
        required_names = {f.name for f in fields(options) if f.default is MISSING is f.default_factory}
    for name, hint in typing.get_type_hints(options, include_extras=True).items():
        kind, markers = (hint.__origin__, hint.__metadata__) if hasattr(hint, "__metadata__") else (hint, ())
        if is_dataclass(kind) or typing.is_typeddict(kind):
            parameters += _click_parameters(typing.cast(type, kind))
            continue
        metavar = next((marker.metavar for marker in markers if getattr(marker, "metavar", None)), "")
        common: dict[str, Any] = {
            "type": _click_type(kind),
            "shell_complete": COMPLETERS.get(metavar) or COMPLETERS.get(metavar.rstrip(".")),
        }
        required, takes_several = name in required_names, typing.get_origin(kind) is tuple
        if tyro.conf.Positional in markers:
            nargs = -1 if takes_several else 1
            parameters.append(
                click.Argument([name], nargs=nargs, metavar=metavar or name.upper(), required=required, **common)
            )
            continue
        aliases = next((marker.aliases for marker in markers if getattr(marker, "aliases", None)), ())
        # click has no options with several values: their first is completed
        flag = {"is_flag": True} if kind is bool else {"multiple": takes_several, "required": required, **common}
        parameters.append(click.Option([f"--{name.replace('_', '-')}", *aliases], **flag))
    return parameters


def _click_type(kind: Any) -> click.ParamType | None:
    """Return the type as click has it: one of a few words, a number, a path, or anything."""
    parts = (kind, *typing.get_args(kind))
    choices = _literal_choices(kind)
    click_type = click.Choice(choices) if choices else next((TYPES[part] for part in parts if part in TYPES), None)
    return _OrNone(click_type) if click_type is not None and type(None) in parts else click_type


TYPES: dict[Any, click.ParamType] = {int: click.INT, float: click.FLOAT, Path: click.Path()}


def _literal_choices(kind: Any) -> tuple[str, ...]:
    """Return what a type is one of, if it is one of a few words."""
    parts = typing.get_args(kind)
    if typing.get_origin(kind) is Literal:
        return parts
    return tuple(choice for part in parts for choice in _literal_choices(part))


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


def _completer(names: Callable[[], list[str]]) -> Callable[..., list[CompletionItem]]:
    def offer(ctx: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in names() if name.startswith(begun)]

    return offer


COMPLETERS = {
    "DATASET": _completer(_datasets),
    "MODEL": _completer(_models),
    "MODEL...": _completer(_several_models),
}
"""What may stand for an argument, by its metavar; with ... for one that has names of its own for several."""
