"""Readers from outside the package: in a folder, in an installed package, or registered from Python.

Each can be sent to another process and gives its :class:`~csp_data.sources.Source` when called.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from csp_data.card.codedigest import digest_of
from csp_data.errors import CspDataError, SourceError
from csp_data.home import expanded

__all__ = [
    "GROUP",
    "VARIABLE",
    "FolderReader",
    "ModuleReader",
    "Reader",
    "RegisteredReader",
    "call_reader",
    "installed_readers",
    "plugin_folders",
]

T = TypeVar("T")

GROUP = "csp_data.sources"
"""Entry-point group of installed packages: the name of a data set = the module that holds its ``SOURCE``."""
VARIABLE = "CSP_DATA_PLUGINS"
"""Environment variable: folders, separated like those of PATH, each with a card and a reader or full of such."""
CARD, READER = "card.toml", "reader.py"


@dataclass(frozen=True)
class FolderReader:
    """The file ``reader.py`` of a folder that also holds ``card.toml``."""

    folder: Path

    def __call__(self) -> Any:
        """Run the file, once for each of its versions, and return its ``SOURCE``."""
        path = self.folder / READER
        if not path.is_file():
            raise SourceError(path, "there is no such file beside card.toml")
        return _source_of(_module(path, _digest(path)), path)

    def digest(self) -> str:
        """Return a digest of the reader's code, so that a change of it makes a new prepared file."""
        return _digest(self.folder / READER)


@dataclass(frozen=True)
class ModuleReader:
    """An importable module; ``card.toml`` lies beside it, in `folder`."""

    module: str
    folder: Path

    def __call__(self) -> Any:
        """Import the module and return its ``SOURCE``."""
        try:
            module = importlib.import_module(self.module)
        except Exception as error:
            raise SourceError(self.module, f"cannot be imported ({type(error).__name__}: {error})") from error
        return _source_of(module, self.module)

    def digest(self) -> str:
        """Return a digest of all Python files of the module's folder."""
        files = sorted(file for file in self.folder.rglob("*.py") if file.is_file())
        return hashlib.sha256("".join(_digest(file) for file in files).encode()).hexdigest()


@dataclass(frozen=True)
class RegisteredReader:
    """A source that was registered from Python, as it is; its card lies in `folder`, if it is a file."""

    source: Any
    folder: Path | None = None

    def __call__(self) -> Any:
        """Return it."""
        return self.source

    def digest(self) -> str:
        """Return a digest of its functions (:mod:`csp_data.card.codedigest`)."""
        parts = (self.source.targets, self.source.inputs)
        functions = (part[name] for part in parts for name in sorted(part))
        return digest_of(self.source.find, self.source.read, *functions)


Reader = FolderReader | ModuleReader | RegisteredReader


def plugin_folders(value: str) -> Iterator[tuple[str, FolderReader | CspDataError]]:
    """Yield name and reader of each folder with a card that ``CSP_DATA_PLUGINS`` names, or why there is none."""
    for entry in filter(None, value.split(os.pathsep)):
        try:
            folder = expanded(entry, VARIABLE).absolute()
        except CspDataError as error:
            yield entry, error
            continue
        inside = (
            [folder] if (folder / CARD).is_file() else sorted(path.parent for path in folder.glob(f"*/{CARD}"))
        )
        if not inside:
            found = f"holds no {CARD}" if folder.is_dir() else "is no folder"
            yield entry, SourceError(folder, f"is named in {VARIABLE} and {found}")
        yield from ((path.name, FolderReader(path)) for path in inside)


def installed_readers() -> Iterator[tuple[str, ModuleReader | SourceError]]:
    """Yield name and reader of the data sets that installed packages offer, or why one cannot be used."""
    for entry in entry_points(group=GROUP):
        where = f"{entry.value} (entry point {entry.name!r})"
        try:
            spec = importlib.util.find_spec(entry.value)
        except Exception as error:  # a package that breaks must not break the other data sets
            yield entry.name, SourceError(where, f"its package cannot be imported ({error})")
            continue
        if spec is None or spec.origin is None:
            yield entry.name, SourceError(where, "there is no such module")
        else:
            yield entry.name, ModuleReader(entry.value, Path(spec.origin).parent)


def call_reader(reader: Reader | None, what: str, call: Callable[[], T]) -> T:
    """Call a function of a reader; whatever it raises is said to be the reader's, unless that is our own.

    Parameters
    ----------
    reader
        Whose function it is; ``None`` for those of this package.
    what
        What is called, and of what, in words.
    call
        The function with its arguments.

    Raises
    ------
    SourceError
        From the exception, with its text and the line of the reader.
    """
    try:
        return call()
    except CspDataError:
        raise
    except Exception as error:
        if reader is None:
            raise
        text = " ".join(str(error).split())
        text = text if len(text) < LONG else f"{text[:LONG]} ..."
        raised = f"{type(error).__name__}: {text}" if text else type(error).__name__
        where = _line_of(error)
        raise SourceError(where, f"{what} raised {raised}", RAISED) from error


LONG = 500
"""Characters of an exception's text that are told."""
RAISED = (
    "Repair the reader, or the file. Of a damaged file a reader should raise csp_data.DamagedRecordingError."
    " -v (in Python the exception's cause) shows the whole traceback."
)


def _line_of(error: Exception) -> str:
    """Return the file and the line at which a reader, or what it called in the same file, went wrong."""
    frames = traceback.extract_tb(error.__traceback__)
    package = f"{Path(__file__).parent.parent}{os.sep}"
    file = next((frame.filename for frame in frames if not frame.filename.startswith(package)), "")
    lines = [frame.lineno for frame in frames if frame.filename == file]
    return f"{file}, line {lines[-1]}" if lines else "of another language"


@cache
def _module(path: Path, digest: str) -> ModuleType:
    name = f"_csp_data_reader_{digest[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SourceError(path, f"cannot be run ({type(error).__name__}: {error})") from error
    finally:
        # other processes could not import it: what is in no module is sent to them as it is (cloudpickle)
        del sys.modules[name]
    return module


def _source_of(module: ModuleType, where: Path | str) -> Any:
    if not hasattr(module, "SOURCE"):
        raise SourceError(where, "has no constant SOURCE")
    return module.SOURCE


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
