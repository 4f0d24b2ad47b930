"""Files of one's own that hold models: their names, what they offer, and whose error it is if they fail."""

from __future__ import annotations

import hashlib
import inspect
import sys
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from baselines.errors import CspDataError, ModelError, UnknownNameError
from baselines.models.config import OwnConfig
from baselines.presets import DECIDED_BY_DATA
from csp_data.terminal import stdout_is_result

__all__ = [
    "attribute_of",
    "call_own",
    "check_options",
    "digest_of",
    "error_of_own",
    "file_of",
    "prints_apart",
]

T = TypeVar("T")

DIGITS = 16
"""Hexadecimal digits of a file's SHA-256 that are kept."""


def file_of(name: str) -> Path:
    """Return where the file of ``FILE.py:NAME`` should be."""
    file = Path(name.rpartition(":")[0])
    try:
        return file.expanduser().absolute()
    except RuntimeError as error:  # ~somebody
        raise ModelError(f"{name}: there is no file {file}: {error}") from error


def digest_of(code: bytes) -> str:
    """Return the first digits of the SHA-256 of a file's bytes."""
    return hashlib.sha256(code).hexdigest()[:DIGITS]


def attribute_of(module: ModuleType, config: OwnConfig, file: Path) -> Callable[..., Any]:
    """Return the class or function that a file calls by the name in ``config.source``."""
    attribute = config.source.rpartition(":")[2]
    make = getattr(module, attribute, None)
    if not callable(make):
        offered = sorted(
            name
            for name, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", "") == module.__name__
        )
        if make is not None:
            raise ModelError(f"{file}: {attribute} is no class and no function. It has: {', '.join(offered)}.")
        raise UnknownNameError(f"class or function in {file}", attribute, offered)
    return make


def check_options(config: OwnConfig, make: Callable[..., Any]) -> None:
    """Refuse options that the class or function does not take, before it is called."""
    parameters = inspect.signature(make).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    by_keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = [parameter.name for parameter in parameters if parameter.kind in by_keyword]
    if not {*DECIDED_BY_DATA} <= {*known}:
        raise ModelError(
            f"{config.source}: expected a class or function with the arguments in_dim, out_dim and chunk, found "
            f"{config.source.rpartition(':')[2]}({', '.join(known)})."
        )
    free = [name for name in known if name not in DECIDED_BY_DATA]
    for option in config.options:
        if option not in free:
            raise UnknownNameError(f"option of {config.source}", option, free)


def call_own(config: OwnConfig, file: Path, what: str, call: Callable[[], T]) -> T:
    """Call what a file holds; whatever it raises is said to be the file's, unless it is our own."""
    try:
        with prints_apart():
            return call()
    except CspDataError:
        raise
    except (Exception, SystemExit) as error:
        raise error_of_own(config.source, what, error, str(file)) from error


def error_of_own(source: str, what: str, error: BaseException, file: str) -> ModelError:
    """Return the error that says what a file of one's own raised, and on which of its lines."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    where = f" (line {lines[-1]})" if lines else ""
    message = " ".join(str(error).split()).rstrip(".")
    return ModelError(
        f"{source}{where}: {what} raised {type(error).__name__}: {message}. -v (in Python the exception's cause) "
        "shows the whole traceback."
    )


def prints_apart() -> AbstractContextManager[object]:
    """Let what a file of one's own prints go to stderr, where stdout is the result of a command."""
    return redirect_stdout(sys.stderr) if stdout_is_result.get() else nullcontext()
