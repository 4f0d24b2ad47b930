"""Files of one's own that hold models: running them, what they offer, and whose error it is if they fail."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from baselines.errors import CspDataError, ModelError, UnknownNameError
from baselines.models.config import OwnConfig

__all__ = ["attribute_of", "call_own", "check_options", "digest_of", "file_of", "run_file"]

T = TypeVar("T")

DIGITS = 16
"""Hexadecimal digits of a file's SHA-256 that are kept."""

FIXED = ("in_dim", "out_dim", "chunk")
"""Arguments that the data set decides."""

HELPERS: dict[str, Path] = {}
"""Modules that models imported from beside their files, and the folders of those files."""

FOLDERS: set[str] = set()
"""Folders of models' files that were put into ``sys.path``."""


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
    made = getattr(module, attribute, None)
    if not callable(made):
        offered = sorted(
            name
            for name, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", "") == module.__name__
        )
        if made is not None:
            raise ModelError(f"{file}: {attribute} is no class and no function. It has: {', '.join(offered)}.")
        raise UnknownNameError(f"class or function in {file}", attribute, offered)
    return made


def check_options(config: OwnConfig, make: Callable[..., Any]) -> None:
    """Refuse options that the class or function does not take, before it is called."""
    parameters = inspect.signature(make).parameters.values()
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return
    known = [one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    if not {*FIXED} <= {*known}:
        raise ModelError(
            f"{config.source}: expected a class or function with the arguments in_dim, out_dim and chunk, found "
            f"{config.source.rpartition(':')[2]}({', '.join(known)})."
        )
    for name in config.options:
        if name not in known:
            raise UnknownNameError(f"option of {config.source}", name, [one for one in known if one not in FIXED])


def call_own(config: OwnConfig, file: Path, what: str, call: Callable[[], T]) -> T:
    """Call what a file holds; whatever it raises is said to be the file's, unless it is our own."""
    try:
        return call()
    except CspDataError:
        raise
    except Exception as error:
        raise _raised(config.source, what, error, str(file)) from error


def _raised(source: str, what: str, error: BaseException, file: str) -> ModelError:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    where = f" (line {lines[-1]})" if lines else ""
    message = " ".join(str(error).split()).rstrip(".")
    return ModelError(
        f"{source}{where}: {what} raised {type(error).__name__}: {message}. -v (in Python the exception's cause) "
        "shows the whole traceback."
    )


@cache
def run_file(file: Path, code: bytes, folder: Path) -> ModuleType:
    """Run a file's code, once for each of its versions: what was read, whatever lies there by now."""
    name = f"_csp_baselines_model_{digest_of(code)}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        with _importable(folder):
            exec(compile(code, str(file), "exec"), vars(module))
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _raised(file.name, "running the file", error, str(file)) from error
    return module


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let a file import those beside it, as a script does; after all else, so that it hides no package.

    Files of the same names that lie beside other models are forgotten before.
    """
    for name in [name for name, other in HELPERS.items() if other != folder]:
        sys.modules.pop(name, None)
        del HELPERS[name]
    loaded = {*sys.modules}
    if str(folder) not in {*sys.path} - FOLDERS:
        FOLDERS.add(str(folder))
        # they stay, for what is imported when a function is called
        sys.path[:] = [path for path in sys.path if path not in FOLDERS]
        sys.path += [str(folder), *sorted(FOLDERS - {str(folder)})]
    try:
        yield
    finally:
        added = {*sys.modules} - loaded
        beside = {name for name in added if _lies_in(sys.modules[name], folder)}
        HELPERS.update({name: folder for name in added if name.partition(".")[0] in beside})


def _lies_in(module: ModuleType, folder: Path) -> bool:
    """Tell whether a module is a file of a folder, or a package in it."""
    file = Path(getattr(module, "__file__", None) or "/")
    return folder == (file.parent.parent if file.name == "__init__.py" else file.parent)
