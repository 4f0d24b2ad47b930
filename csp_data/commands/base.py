"""Shared by all commands of ``csp-data``: loudness, examples, exit codes, completion, pipes that close."""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from csp_data.errors import CspDataError, OptionError, OutOfMemoryError, SourceError
from csp_data.terminal import READER_LEFT, Loudness, flags, pipeable, system_error_text

__all__ = ["Command", "Commands", "examples", "report", "run"]

logger = logging.getLogger(__name__)


class _Failure(click.ClickException):
    """An error of ours, on one line, with its exit code."""

    def __init__(self, error: CspDataError, message: str = "") -> None:
        super().__init__(message or str(error))
        self.exit_code = error.exit_code  # type: ignore[misc]  # click reads it from the instance


def _say(ctx: click.Context, option: click.Parameter, given: bool) -> None:
    """Set how much is said, for whichever of ``csp-data -q list`` and ``csp-data list -q`` a person types."""
    state = ctx.find_root().ensure_object(dict)
    if given:
        state[option.name] = True
    Loudness(bool(state.get("quiet")), bool(state.get("verbose"))).apply()


def _loud_options() -> list[click.Parameter]:
    return [
        click.Option([f"-{name[0]}", f"--{name}"], is_flag=True, help=text, expose_value=False, callback=_say)
        for name, text in (("verbose", "Say more, on stderr."), ("quiet", "No progress bar and no notes."))
    ]


class Command(click.Command):
    """A command that can be told to say more or less."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.params += _loud_options()

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what is wrong with an option is said of the flag that was typed."""
        try:
            return super().invoke(ctx)
        except OptionError as error:
            raise _Failure(error, error.typed(flags(self.params))) from error


class Commands(click.Group):
    """A group whose commands end with our exit codes: 1 failed, 2 usage, 3 verification, 4 needs a person."""

    command_class = Command

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.params += _loud_options()

    def make_context(self, *args: Any, **keywords: Any) -> click.Context:
        """Read the command line, which prints help and version."""
        with _whose_reader_may_leave():
            return super().make_context(*args, **keywords)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours becomes one message and its exit code."""
        try:
            with _whose_reader_may_leave():
                return super().invoke(ctx)
        except CspDataError as error:
            if isinstance(error, SourceError) and error.__cause__ is not None:
                logger.debug("where it happened", exc_info=error.__cause__)
            raise _Failure(error) from error
        except MemoryError as error:
            logger.debug("where it happened", exc_info=True)
            raise _Failure(OutOfMemoryError(str(error))) from error
        except OSError as error:
            if error.errno == errno.ENOSPC and error.filename is None:
                raise  # pipeable has a word for it
            logger.debug("where it happened", exc_info=True)
            raise _Failure(CspDataError(system_error_text(error))) from error


Commands.group_class = Commands


@contextmanager
def _whose_reader_may_leave() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:  # click would call it a failure
        raise click.exceptions.Exit(READER_LEFT) from error


def examples(*lines: str) -> str:
    """Return the epilogue of a help text."""
    return "\b\n" + "\n".join(["Examples:" if len(lines) > 1 else "Example:", *(f"  {line}" for line in lines)])


def report(values: object, text: str, *, as_json: bool) -> None:
    """Print one result on stdout: as JSON, or as text."""
    click.echo(json.dumps(values, indent=2, default=str) if as_json else text)


def run(cli: click.Command) -> None:
    """Run a command line and exit."""
    pipeable(lambda: cli(prog_name="csp-data"))
