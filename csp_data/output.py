"""Write files and folders whole or not at all: under a temporary name in the same place, then renamed."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import re
import secrets
import shutil
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from csp_data.errors import CspDataError, OptionError
from csp_data.home import expanded, named

__all__ = [
    "check_new_folder",
    "open_new",
    "output",
    "output_folder",
    "output_path",
    "sync_folder",
    "temporary_beside",
    "write_json",
]

logger = logging.getLogger(__name__)


def temporary_beside(path: Path, ending: str = "") -> Path:
    """Return a temporary name of this process beside `path`; what killed ones left there of this kind is deleted.

    The name holds the machine and the process: on a disk that several machines share, only this one's processes
    can be told to be dead.

    Parameters
    ----------
    path
        What is to be written.
    ending
        What the temporary name ends in after ``.part``, for writers that look at it.
    """
    prefix = f".{path.name}.{zlib.crc32(platform.node().encode()):08x}-"
    with contextlib.suppress(OSError):  # there is no such folder yet, or it may not be looked into
        for other in path.parent.iterdir():
            match = re.fullmatch(rf"{re.escape(prefix)}(\d+)(-[0-9a-f]+)?\.part{re.escape(ending)}", other.name)
            if match and _is_dead(int(match[1])):
                if other.is_dir() and not other.is_symlink():
                    shutil.rmtree(other)
                else:
                    other.unlink(missing_ok=True)
    # in a folder of several people, one who knew the name could put a link there, for us to write through
    return path.with_name(f"{prefix}{os.getpid()}-{secrets.token_hex(4)}.part{ending}")


def _is_dead(process: int) -> bool:
    """Whether there is no such process on this machine; Windows has no way of asking that does no harm."""
    if sys.platform == "win32":
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # somebody else's; no number of a process
        return False
    return False


def _failed(path: Path, error: OSError) -> CspDataError:
    return CspDataError(f"{path} cannot be written: {error.strerror or error}. Choose another place.")


def output_path(path: Path | str, option: str = "out") -> Path:
    """Return the path of a file that may be written, with ``~`` filled in; of a link, the file that it leads to.

    Parameters
    ----------
    path
        The path.
    option
        Name of the argument that it is of, for the error.

    Raises
    ------
    OptionError
        If it is there and no file: a folder, or a device such as ``/dev/null``, in whose place a file would come.
    """
    path = named(expanded(path, option))
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a device, pipe or socket"
        raise OptionError(option, str(path), f"the name of a file; this is {kind}")
    return path.resolve() if path.is_symlink() else path  # the link itself, such as /dev/stdout, is to stay


@contextmanager
def output(path: Path | str, option: str = "out") -> Iterator[Path]:
    """Yield a temporary name beside `path`, which gets the name when all went well; folders above it are made.

    Parameters
    ----------
    path, option
        As for :func:`output_path`.

    Raises
    ------
    OptionError
        If it is there and no file.
    CspDataError
        If it cannot be written.
    """
    with _in_place_of(output_path(path, option)) as temporary:
        yield temporary


@contextmanager
def _in_place_of(path: Path) -> Iterator[Path]:
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise _failed(path, error) from error
    finally:
        with contextlib.suppress(OSError):  # where nothing could be written, nothing is left
            temporary.unlink(missing_ok=True)


def check_new_folder(path: Path, option: str) -> None:
    """Raise an :class:`OptionError` where something is in a folder that is to be made, or a file in its place."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise OptionError(option, str(path), "a folder that is new or empty", "Choose another or remove it.")


@contextmanager
def output_folder(path: Path | str, option: str = "out") -> Iterator[Path]:
    """Yield a new folder beside `path`, which gets the name when all went well; folders above it are made.

    Parameters
    ----------
    path, option
        As for :func:`output_path`.

    Raises
    ------
    OptionError
        If there is a file of that name, or a folder that is not empty.
    CspDataError
        If it cannot be written.
    """
    path = named(expanded(path, option))
    temporary = temporary_beside(path)
    try:
        check_new_folder(path, option)
        if path.is_dir() and path.samefile(Path.cwd()):  # it is replaced: whoever stands in it would see nothing
            raise OptionError(option, str(path), "another folder than the one you are in", "Name a new one.")
        temporary.mkdir(parents=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise _failed(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def open_new(path: Path) -> BinaryIO:
    """Open a file that is new: what stands there is deleted, and nothing is written through a link."""
    path.unlink(missing_ok=True)
    return path.open("xb")


def write_json(path: Path, values: object, *, indent: int | None = 1) -> None:
    """Write a JSON file that is there whole or not at all, also when the machine stops meanwhile.

    A link of that name is replaced: where several people write, it may lead to a file of whoever writes now.

    Raises
    ------
    CspDataError
        If it cannot be written.
    """
    with _in_place_of(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(values, indent=indent, sort_keys=True) + "\n")
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Put a folder's list of names on the disk, where the system can (POSIX)."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        except OSError as error:
            logger.debug("%s cannot be synchronised: %s", folder, error)  # some network file systems
        finally:
            os.close(handle)
