"""The command line: ``csp-baselines``."""

from __future__ import annotations

import io
import logging
import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import MISSING, field, fields, is_dataclass, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Union, get_type_hints

import tyro

import baselines._patience  # noqa: F401  # first: before torch is loaded
import csp_data
from baselines.commands.ablate import ABLATE, Ablate, ablate
from baselines.commands.bench import BENCH, Bench, bench
from baselines.commands.completion import (
    COMPLETION,
    Completion,
    Subcommand,
    click_commands,
    complete,
    completion,
)
from baselines.commands.export import EXPORT, Export, export_run
from baselines.commands.faults import FAULTS, Faults, faults
from baselines.commands.predict import PREDICT, Predict, predict
from baselines.commands.report import REPORT, TABLE, Report, Table, report, table
from baselines.commands.results import RESULTS, Results, results
from baselines.commands.score import SCORE, Score, score
from baselines.commands.stream import STREAM, Stream, stream
from baselines.commands.sweep import SWEEP, Sweep, sweep
from baselines.commands.train import EVAL, TRAIN, Eval, Train, evaluate, train
from baselines.commands.usage import option_without_value, usage_error, with_repeats_joined
from baselines.errors import CspDataError, ModelError, OptionError, UnknownNameError, UsageError, memory_problem
from csp_data.errors import OutOfMemoryError, SourceError
from csp_data.home import expanded
from csp_data.terminal import Loudness, flags, pipeable, system_error_text

__all__ = ["main"]

logger = logging.getLogger(__name__)
_arg = tyro.conf.arg

PROGRAM = """Train, evaluate and compare sequence models on prepared sensor recordings.

Examples:
  csp-baselines train sample hiss-s4-mamba
  csp-baselines eval runs/sample-hiss-s4-mamba-0 --part val
  csp-baselines table runs/sample-*
  csp-baselines report runs/sample-* -o report.html

Each command's own help says more: csp-baselines train --help.

Exit codes: 0 done, 1 failed, 2 usage, 3 verification failed, 4 a person is needed."""


VERBOSITY_FLAGS = ("-q", "--quiet", "-v", "--verbose")

RESUMED = ("train", "sweep", "ablate")
"""Commands that go on where they were stopped."""


def commands() -> dict[str, Subcommand]:
    """Return all commands, in the order of the help."""
    subcommands = (
        Subcommand(Train, TRAIN, train),
        Subcommand(Eval, EVAL, evaluate),
        Subcommand(Score, SCORE, score),
        Subcommand(Table, TABLE, table),
        Subcommand(Results, RESULTS, results),
        Subcommand(Report, REPORT, report),
        Subcommand(Sweep, SWEEP, sweep),
        Subcommand(Ablate, ABLATE, ablate),
        Subcommand(Faults, FAULTS, faults),
        Subcommand(Predict, PREDICT, predict),
        Subcommand(Stream, STREAM, stream),
        Subcommand(Export, EXPORT, export_run),
        Subcommand(Bench, BENCH, bench),
        Subcommand(Completion, COMPLETION, completion),
    )
    return {command.options.__name__.lower(): command for command in subcommands}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 usage, 3 verification failed, 4 needs a person."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller, as by >&-
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  # as long as the process
    pipeable(lambda: _main(list(sys.argv[1:] if arguments is None else arguments)))


def _main(given: list[str]) -> None:
    known_commands = commands()
    complete(known_commands)
    name = next((name for name in given if not name.startswith("-")), "")
    try:
        program = parse(given)
        Loudness(program.quiet, program.verbose).apply()
        _require_values(program.command)
        known_commands[name].run(_with_home(program.command), shlex.join(["csp-baselines", *given]))
    except CspDataError as error:
        if isinstance(error, SourceError | ModelError) and error.__cause__ is not None:
            logger.debug("where it happened", exc_info=error.__cause__)
        message = error.typed(_flags(known_commands, name)) if isinstance(error, OptionError) else error
        sys.stderr.write(f"Error: {message}\n")
        sys.exit(error.exit_code)
    except BrokenPipeError:
        raise  # its reader has left: no error (csp_data.terminal.pipeable)
    except OSError as error:
        logger.debug("where it happened", exc_info=True)
        sys.stderr.write(f"Error: {system_error_text(error)}\n")
        sys.exit(1)
    except (MemoryError, RuntimeError) as error:
        if (problem := memory_problem(error)) is None:
            raise
        logger.debug("where it happened", exc_info=True)
        sys.stderr.write(f"Error: {OutOfMemoryError(problem)}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        goes_on = " The same command goes on from the last finished epoch." if name in RESUMED else ""
        sys.stderr.write(f"Stopped.{goes_on}\n")
        sys.exit(1)


def _flags(known_commands: Mapping[str, Subcommand], name: str) -> dict[str, str]:
    """Return what is typed for each argument in Python.

    csp_data has ``name`` for what is a data set here, and ``--set`` is ``settings`` in Python.
    """
    flag_by_option = flags(click_commands(known_commands).commands[name].params)
    dataset = flag_by_option.get("dataset", flag_by_option.get("datasets"))
    others = {"name": dataset, "settings": flag_by_option.get("set")}
    return {**{argument: flag for argument, flag in others.items() if flag is not None}, **flag_by_option}


def parse(given: Sequence[str]) -> Any:
    """Read a command line: its ``command``, whether ``quiet``, whether ``verbose``.

    Does what tyro does not: no colours where they are not wanted, the version, the nearest command, one line for
    each command in the help of the whole, one line for what is wrong.
    """
    if os.environ.get("NO_COLOR"):  # no-color.org
        tyro._experimental_options["ansi_codes"] = False
    known_commands = commands()
    name = next((word for word in given if word not in VERBOSITY_FLAGS), "--help")
    if name == "--version":
        print(f"csp-baselines, version {csp_data.__version__}")
        sys.exit(0)
    if name not in (*known_commands, "-h", "--help"):
        raise UnknownNameError("command", name, list(known_commands))
    if name not in known_commands:
        given = ["--help"]
    elif not {"-h", "--help"}.isdisjoint(given):
        given = [name, "--help"]  # tyro's help leaves out what was given before it was asked for
    words = [*given]
    command = click_commands(known_commands).commands.get(name)
    if command is not None:
        words.remove(name)
        if empty := option_without_value(command, words):
            raise UsageError(f"{empty} is missing: expected at least one.")
        options_start = given.index(name) + 1
        given = [*given[:options_start], *with_repeats_joined(command, given[options_start:])]
    program = _program_type(known_commands, name)
    said = _LikeStdout()
    try:
        with redirect_stderr(io.StringIO()) as captured, redirect_stdout(said):
            return tyro.cli(program, prog="csp-baselines", description=PROGRAM, args=given)
    except SystemExit as exit_:
        if not exit_.code:
            print(_with_prose_wrapped(said.getvalue()), end="")
            raise
        problem = None if command is None else usage_error(command, words)
        more = f" More: csp-baselines {name} --help"
        raise UsageError(problem + more if problem else captured.getvalue()) from exit_


class _LikeStdout(io.StringIO):
    """Text that is printed later: with colours and boxes, if stdout has them."""

    encoding = getattr(sys.__stdout__, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Whether stdout is a terminal."""
        return sys.__stdout__ is not None and sys.__stdout__.isatty()


def _with_prose_wrapped(text: str) -> str:
    """Break the lines of prose in tyro's help between words, to the width that tyro gives its boxes.

    Boxes, examples and lists, and the line of usage stay: commands are to be copied whole.
    """
    width = shutil.get_terminal_size().columns
    lines = []
    for line in text.splitlines():
        prose = line[:1].isalnum() and not line.startswith("usage:")
        lines += textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) if prose else [line]
    return "\n".join(lines) + "\n"


def _program_type(known_commands: Mapping[str, Subcommand], full_help: str) -> type:
    """Return what tyro parses a line into; all commands but one have the first line of their help alone."""
    for subcommand in known_commands.values():
        _trim_default_hints(subcommand.options)
    union: Any = Union[  # noqa: UP007  # built from the table
        tuple(
            Annotated[
                subcommand.options,
                tyro.conf.subcommand(name, description=subcommand.help if name == full_help else subcommand.line),
            ]
            for name, subcommand in known_commands.items()
        )
    ]
    options: list[tuple[str, Any, Any]] = [
        ("command", Annotated[union, tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes], MISSING),
        ("quiet", _flag("-q", "No progress and no notes."), False),
        ("verbose", _flag("-v", "Say more, on stderr."), False),
        (
            "version",
            Annotated[
                bool, tyro.conf.FlagCreatePairsOff, _arg(help="Print the version and exit.", help_behavior_hint="")
            ],
            False,
        ),
    ]
    return make_dataclass("Program", [(name, kind, field(default=value)) for name, kind, value in options])


def _require_values(options: Any) -> None:
    """Refuse no values where at least one is needed: tyro takes none of several words for enough."""
    for option in fields(options):
        if getattr(options, option.name) == () and option.default != ():
            raise OptionError(option.name, None, "at least one")


def _with_home(options: Any) -> Any:
    """Fill in ``~`` in all paths: shells leave it in ``--out=~/x``, and a folder of that name would be made."""
    changes: dict[str, Any] = {}
    for option in fields(options):
        value = getattr(options, option.name)
        if isinstance(value, Path):
            changes[option.name] = expanded(value, option.name)
        elif isinstance(value, tuple):
            changes[option.name] = tuple(
                expanded(one, option.name) if isinstance(one, Path) else one for one in value
            )
        elif is_dataclass(value):
            changes[option.name] = _with_home(value)
    return replace(options, **changes)


def _trim_default_hints(options: type) -> None:
    """Leave defaults that tell nothing (``None``, no values, a flag that is off) out; say what is required."""
    hints = get_type_hints(options, include_extras=True)
    for option in fields(options):
        factory: Any = option.default_factory
        if isinstance(factory, type) and is_dataclass(factory):
            _trim_default_hints(factory)  # options of several commands
        if option.default in (None, (), "") or option.default is False:
            hints[option.name] = Annotated[hints[option.name], _arg(help_behavior_hint="")]
        elif option.default is MISSING and factory is MISSING:  # of several words tyro takes none for a default
            hints[option.name] = Annotated[hints[option.name], _arg(help_behavior_hint="(required)")]
    options.__annotations__ = hints


def _flag(short: str, text: str) -> Any:
    """Return the type of a flag that may stand before or behind the command."""
    return Annotated[
        bool,
        tyro.conf.CascadeSubcommandArgs,
        tyro.conf.FlagCreatePairsOff,
        _arg(aliases=[short], help=text, help_behavior_hint=""),
    ]
