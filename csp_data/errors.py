"""All errors that this toolkit raises on purpose, as one small tree under :class:`CspDataError`.

Each message says what went wrong and where, what was expected and found, and what to do next. The classes build
it from their arguments, so that callers can act on the fields and people can act on the text. ``exit_code`` is
what the command line returns for the error.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable, Mapping
from copy import copy
from pathlib import Path
from typing import Any, Self

from csp_data.terminal import visible

__all__ = [
    "AccessError",
    "CardError",
    "CspDataError",
    "DamagedRecordingError",
    "MissingDataError",
    "MissingExtraError",
    "OptionError",
    "OutOfMemoryError",
    "PredictionsError",
    "SourceError",
    "StoreError",
    "TransferError",
    "UnknownNameError",
    "UnsafeArchiveError",
    "VerificationError",
]


class CspDataError(Exception):
    """Base class of all errors raised on purpose by ``csp_data`` and ``baselines``."""

    exit_code = 1

    def __str__(self) -> str:
        """Return the message; what a file or a server brought into it commands no terminal."""
        return visible(super().__str__())

    def or_else(self, advice: str) -> Self:
        """Return the same error with one more way out, if there is one."""
        error = copy(self)
        error.args = (f"{self} {advice}".rstrip(),)
        return error

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the message and the fields: workers hand errors to the process that shows them."""
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(cls: type[CspDataError], args: tuple[Any, ...], fields: dict[str, Any]) -> CspDataError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(fields)
    return error


_OWNER = re.compile(r"(.*?)( (?:of|in|with) .*)?", re.S)
"""A noun, and what it belongs to: the name stands between them, as in "no protocol 'x' of vector"."""


MANY = 200
"""Names that an error lists, at most: there may be as many as recordings."""


def nearest(got: object, known: Iterable[str]) -> str | None:
    """Return which of the known names was probably meant; ``None`` if none is like what was given."""
    near = difflib.get_close_matches(str(got).lower(), list(known), n=1, cutoff=0.5)
    return near[0] if near and near[0] != got else None


class UnknownNameError(CspDataError, KeyError):
    """A name that is not in a closed list.

    Parameters
    ----------
    what
        What the name stands for, such as ``"data set"`` or ``"protocol of vector"``.
    got
        The name that was asked for.
    known
        The names there are.
    """

    exit_code = 2

    def __init__(self, what: str, got: str, known: Iterable[str]) -> None:
        self.what, self.got, self.known = what, got, tuple(known)
        self.nearest = nearest(got, self.known)
        meant = f" Did you mean {self.nearest!r}?" if self.nearest else ""
        noun, owner = _OWNER.fullmatch(what).groups("")  # type: ignore[union-attr]  # it matches any text
        more = f" and {len(self.known) - MANY} more" if len(self.known) > MANY else ""
        listed = ", ".join(self.known[:MANY]) or "none"
        super().__init__(f"There is no {noun} {got!r}{owner}.{meant} Known: {listed}{more}.")

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return visible(str(self.args[0]))


class OptionError(CspDataError, ValueError):
    """An option whose value is out of bounds or does not fit the others.

    Parameters
    ----------
    option
        Name of the option, as the caller wrote it.
    got
        Its value.
    expected
        The bound, in words.
    fix
        What to do, when that is not plain from the bound.
    """

    exit_code = 2

    def __init__(self, option: str, got: object, expected: str, fix: str = "") -> None:
        self.option, self.got, self.expected, self.fix = option, got, expected, fix
        super().__init__(f"{option}={_shown(got)}: {self._advice}")

    @property
    def _advice(self) -> str:
        return f"expected {self.expected}.{' ' + self.fix if self.fix else ''}"

    def typed(self, flags: Mapping[str, str]) -> str:
        """Return the message for somebody who typed a command, and knows no names of arguments in Python.

        Parameters
        ----------
        flags
            Argument's name to what stands for it on the command line, such as ``{"window_s": "--window-s"}``.
        """
        whole, _, part = self.option.rpartition(".")  # lowpass.hz
        flag = flags.get(part, flags.get(whole)) if not whole or whole in flags else None
        if flag is None:
            return str(self)
        given = " is missing" if self.got is None else "" if self.got is True else f" {_as_typed(self.got)}"

        def other(found: re.Match[str]) -> str:
            return found[0] if found[1] not in flags else flags[found[1]] + ("" if found[2] else " ")

        advice = re.sub(r"\b(\w+)=(True\b|(?='?\w))", other, self._advice)
        return visible(f"{flag}{given}: {advice}")


def _shown(value: object) -> str:
    """Return the repr of a value, or the kind of one that fills a page, such as a model or a table."""
    text = repr(value)
    fits = isinstance(value, str | int) or ("\n" not in text and len(text) < 300)
    return text if fits else f"<{type(value).__name__}>"


def _as_typed(value: object) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key}={_as_typed(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(_as_typed, value))
    return shlex.quote(str(value).removesuffix(".0") if isinstance(value, float) else str(value))


class CardError(CspDataError):
    """A data set card that is incomplete or contradicts itself."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"card {where}: {problem}. docs/cards.md describes every field.")


class SourceError(CspDataError):
    """A reader from outside the package that cannot be used."""

    def __init__(
        self, where: Path | str, problem: str, fix: str = "docs/howto-own-data.md shows a whole one."
    ) -> None:
        super().__init__(f"reader {where}: {problem}. {fix}")


class MissingDataError(CspDataError):
    """Raw or prepared data that is not where it was looked for."""

    def __init__(self, what: str, looked: Path | str, fix: str) -> None:
        self.looked = Path(looked)
        super().__init__(f"{what}: not found at {looked}. {fix}")


class MissingExtraError(CspDataError, ImportError):
    """An optional feature whose packages are not installed."""

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(f"{feature} needs {package}. Install it with: pip install 'csp-data[{extra}]'")


class DamagedRecordingError(CspDataError):
    """A recording that cannot be read, or holds what cannot be true.

    Parameters
    ----------
    path
        The file.
    problem
        What is wrong, and where in the file.
    expected, found
        What should be there and what is; kept as part of `problem`.
    fix
        The next step; by default to fetch the file again, or to change the reader if it is a person's own.
    """

    exit_code = 3

    def __init__(self, path: Path | str, problem: str, expected: str, found: str, fix: str = "") -> None:
        self.path = Path(path)
        self.problem = f"{problem}: expected {expected}, found {found}"
        fix = (
            fix
            or "Restore the file from its publisher (or let your own reader mend it), then run csp-data verify."
        )
        super().__init__(f"{path}: {self.problem}. {fix}")


class VerificationError(CspDataError):
    """Files that failed verification; the message lists each with the way to mend it."""

    exit_code = 3


class AccessError(CspDataError):
    """Data that a program cannot fetch without a person: a licence, a password, a host that is gone."""

    exit_code = 4


class StoreError(CspDataError):
    """A prepared file that is not one, is damaged, or was written by a newer version."""

    def __init__(self, path: Path | str, problem: str, fix: str) -> None:
        self.path, self.problem = Path(path), problem
        super().__init__(f"{path}: {problem}. {fix}")


class OutOfMemoryError(CspDataError):
    """An array that did not fit, which ends a command.

    Parameters
    ----------
    problem
        What could not be had, as numpy says it.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"There is not enough memory ({problem or 'none was left'}). A recording is read whole, and training"
            " holds its parts. A lower input_hz, fewer inputs and, in training, a smaller model or batch take"
            " less, and docs/howto-own-data.md (Long recordings) says what else does."
        )


class PredictionsError(CspDataError):
    """Predictions that do not fit the episodes, or a file of predictions that is none, or damaged."""


class TransferError(CspDataError):
    """Bytes that did not arrive, for a reason that may pass; what has arrived is kept.

    Parameters
    ----------
    name
        The file, as the data set names it.
    address
        Where it was asked for.
    problem
        What happened.
    fix
        The next step.
    """

    def __init__(self, name: str, address: str, problem: str, fix: str) -> None:
        self.name, self.address, self.problem = name, address, problem
        super().__init__(f"{name}: {problem} ({address}). {fix}")


class UnsafeArchiveError(CspDataError):
    """An archive that is damaged, or would write where it must not; nothing of it was unpacked.

    Parameters
    ----------
    path
        The archive.
    member
        The offending member; empty for the archive as a whole.
    problem
        What is wrong with it.
    """

    exit_code = 3

    def __init__(self, path: Path | str, member: str, problem: str) -> None:
        self.path, self.member, self.problem = Path(path), member, problem
        where = f"member {member!r} " if member else ""
        super().__init__(
            f"{path}: {where}{problem}. Nothing was unpacked. Get the archive again from its publisher; if it is"
            " the same, unpack it by hand somewhere safe and import the folder."
        )
