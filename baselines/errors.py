"""Errors of the package ``baselines``, beside those it shares with ``csp_data``.

An unknown name raises :class:`csp_data.errors.UnknownNameError`, a value out of bounds
:class:`csp_data.errors.OptionError`, a package that is not installed :class:`csp_data.errors.MissingExtraError`.
"""

import re
import traceback

from csp_data.errors import CspDataError, MissingExtraError, OptionError, UnknownNameError

__all__ = [
    "CspDataError",
    "MissingExtraError",
    "ModelError",
    "OptionError",
    "UnknownNameError",
    "UsageError",
    "memory_problem",
    "reason_of",
]


class ModelError(CspDataError):
    """A model cannot be loaded or fed: the message says what was expected, what was found, what to do."""


class UsageError(CspDataError):
    """A command line that cannot be read: the message says what of it, and where to look."""

    exit_code = 2


def memory_problem(error: Exception) -> str | None:
    """Return what memory could not be had, where that is the error; torch's own is a ``RuntimeError``."""
    if isinstance(error, MemoryError):
        return str(error)
    found = re.search(r"tried to allocate [\d.]+ (?:bytes|[KMGT]iB)", str(error), re.IGNORECASE)
    return found and found[0].lower()


def reason_of(error: Exception) -> str:
    """Return why a run failed: an error's message where it is meant to be read, else also where it happened."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, CspDataError):
        return str(error)
    return "".join(traceback.format_exception(error, limit=-3)).strip()
