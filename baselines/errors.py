"""Errors of the package ``baselines``, beside those it shares with ``csp_data``.

All are children of :class:`csp_data.CspDataError`, as is whatever either package raises on purpose. An unknown
name raises :class:`csp_data.errors.UnknownNameError`, a value out of bounds :class:`csp_data.errors.OptionError`,
a package that is not installed :class:`csp_data.errors.MissingExtraError`.
"""

import re
import traceback

from csp_data.errors import CspDataError, MissingExtraError, OptionError, UnknownNameError

__all__ = [
    "BusyError",
    "CheckpointError",
    "CspDataError",
    "ExportError",
    "InterfaceError",
    "MissingExtraError",
    "ModelError",
    "NotApplicableError",
    "NothingToPredictError",
    "OptionError",
    "PretrainedError",
    "ResultsError",
    "RunError",
    "StateError",
    "SweepError",
    "TrainingError",
    "UnknownNameError",
    "UsageError",
    "memory_problem",
    "reason_of",
]


class ModelError(CspDataError):
    """A model cannot be loaded or fed: the message says what was expected, what was found, what to do."""


class PretrainedError(CspDataError):
    """The file of a trained model that is missing, damaged or of another version, or data that do not fit it."""


class TrainingError(CspDataError):
    """A training that cannot go on."""


class CheckpointError(CspDataError):
    """A file of weights that is missing, damaged, or belongs to another model or configuration."""


class RunError(CspDataError):
    """A folder that is not a run, is damaged, or holds another run. It is left as it is."""


class BusyError(RunError):
    """A folder in which another process is at work on the run."""


class InterfaceError(CspDataError):
    """A run whose interface is damaged, or cannot be found."""


class NotApplicableError(CspDataError):
    """A reference that needs what a data set does not have."""


class SweepError(CspDataError):
    """A sweep that cannot begin, or a folder that is not one of a sweep."""


class ResultsError(CspDataError):
    """Results that are damaged, contradict each other, or cannot be filed."""


class NothingToPredictError(CspDataError):
    """A recording of which no stretch fills a step."""


class StateError(CspDataError):
    """A stored state that is damaged, or of another model or engine; the stream stays as it was."""


class ExportError(CspDataError):
    """A model that was exported but predicts something else, or that the exporter refuses."""


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
