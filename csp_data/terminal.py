"""What people read: counts, amounts and names in texts of all kinds; loudness and pipes of both command lines."""

from __future__ import annotations

import codecs
import errno
import io
import logging
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    import click

__all__ = [
    "READER_LEFT",
    "Loudness",
    "amount",
    "at_terminal",
    "count_of",
    "flags",
    "loudness",
    "pipeable",
    "stdout_is_result",
    "system_error_text",
    "visible",
    "with_control",
    "wrapped",
]

OURS = ("csp_data", "baselines")
TOLD = "urllib3"
"""Logs with its stack what breaks in a transfer, which our own errors tell."""
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Control characters, but for tabs and ends of lines: terminals obey them, and no XML can hold them."""
READER_LEFT = 141
"""Exit code when nobody reads the output any more, as of a program that SIGPIPE ends."""


@dataclass(frozen=True)
class Loudness:
    """How much a command says beside its result.

    Parameters
    ----------
    quiet
        No progress, no notes, no warnings: errors alone.
    verbose
        Also what our own packages log while they work, and urllib3 warns of; other packages' warnings, as ever.
    """

    quiet: bool = False
    verbose: bool = False

    @property
    def notes(self) -> bool:
        """Whether to say on stderr what a person may want to know."""
        return not self.quiet

    @property
    def progress(self) -> bool:
        """Whether to draw progress bars: on a terminal, where somebody looks."""
        return not self.quiet and at_terminal(sys.stderr)

    def apply(self) -> None:
        """Make this the loudness of the running command: of its log, and of what asks :data:`loudness`."""
        loudness.set(self)
        stdout_is_result.set(True)
        handler = _AboveBars(sys.stderr)
        handler.setFormatter(_Visible(LINE))
        logging.basicConfig(level=logging.ERROR if self.quiet else logging.WARNING, handlers=[handler], force=True)
        for name in OURS:
            logging.getLogger(name).setLevel(logging.DEBUG if self.verbose else logging.NOTSET)
        logging.getLogger(TOLD).setLevel(logging.NOTSET if self.verbose else logging.ERROR)


LINE = "%(levelname)s: %(message)s"
"""Of the log."""


class _AboveBars(logging.StreamHandler[TextIO]):
    """Writes to stderr, on a line of its own where a progress bar is drawn there."""

    def emit(self, record: logging.LogRecord) -> None:
        bars = getattr(sys.modules.get("tqdm"), "tqdm", None)
        with bars.external_write_mode(self.stream) if bars and bars._instances else nullcontext():
            super().emit(record)


class _Visible(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


_USUAL = Loudness()
loudness: ContextVar[Loudness] = ContextVar("loudness", default=_USUAL)
"""That of the running command."""
stdout_is_result: ContextVar[bool] = ContextVar("stdout_is_result", default=False)
"""Whether a command runs here, so that code which is not ours may not print to stdout."""


def at_terminal(stream: TextIO | None) -> bool:
    """Whether a person is at the other end of a stream; there is no stream where it was closed (``2>&-``)."""
    return stream is not None and stream.isatty()


def count_of(count: int, what: str) -> str:
    """Return how many there are of what: ``1 seed``, ``3 seeds``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def amount(count: int | None) -> str:
    """Return a number of bytes as people say it: ``"148 MB"``; ``"unknown"`` for ``None``."""
    if count is None:
        return "unknown"
    size, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while size >= 999.5 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.0f} {units[0]}" if size >= 100 else f"{size:.3g} {units[0]}"


def visible(text: str) -> str:
    """Return a text in which control characters are written out: names from files or servers may hold some."""
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def with_control(value: object) -> str | None:
    """Return the first text with control characters in a value, within lists and mappings too, or ``None``."""
    if isinstance(value, str):
        return value if CONTROL.search(value) else None
    inside = (*value, *value.values()) if isinstance(value, Mapping) else value
    if isinstance(inside, list | tuple):
        return next((text for one in inside if (text := with_control(one)) is not None), None)
    return None


def system_error_text(error: OSError) -> str:
    """Return what the system says is wrong, and with which file: for errors that no other code has a word for."""
    what = visible(str(error.strerror or error)).rstrip(".")
    return (
        f"{visible(str(error.filename))}: {what}. Repair that, or name another place."
        if error.filename
        else f"{what}."
    )


def wrapped(text: str, hang: int = 2) -> str:
    """Return prose broken between words to the width of the terminal, and as it is where stdout is none.

    Parameters
    ----------
    text
        Of one or more lines.
    hang
        By how many blanks the rest of a broken line is moved in.
    """
    text = visible(text)
    if not at_terminal(sys.stdout):
        return text
    width = shutil.get_terminal_size().columns
    lines = []
    for line in text.splitlines():
        indent = line[: len(line) - len(line.lstrip())] + " " * hang
        lines += textwrap.wrap(
            line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        ) or [""]
    return "\n".join(lines)


def flags(params: Iterable[click.Parameter]) -> dict[str, str]:
    """Return what is typed for each parameter of a command: its long flag, or how its help calls an argument.

    In Python the file or folder that ``--out`` names is `path` or `folder` of some functions.
    """
    typed = {
        str(one.name): max(one.opts, key=len)
        if one.param_type_name == "option"
        else one.human_readable_name.rstrip(".")
        for one in params
    }
    return {**(dict.fromkeys(("path", "folder"), typed["out"]) if "out" in typed else {}), **typed}


def pipeable(program: Callable[[], object]) -> None:
    """Run a program and exit; a reader of our output that has seen enough (``| head``) is no error.

    The exit code is then :data:`READER_LEFT`. Where the disk that our output goes to is full, that is said. What
    the encoding of our output does not have, such as ``²`` in ASCII, is written as an escape.
    """
    codecs.register_error(READABLE, _readable)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=READABLE)
    try:
        try:
            program()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        _write_no_more()
        sys.exit(READER_LEFT)
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        _write_no_more()
        sys.exit("Error: what this command prints or writes finds no room. Make room, and run it again.")


READABLE = "csp-data-readable"


def _readable(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write names of files as the bytes that they are, and everything else as Python writes it to stderr."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def _write_no_more() -> None:
    """Let the interpreter's last flush go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
