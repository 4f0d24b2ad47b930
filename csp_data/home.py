"""The home folder: raw trees, prepared files, stamps and locks."""

from __future__ import annotations

import errno
import logging
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import cast

import filelock
import platformdirs

from csp_data.errors import CspDataError, OptionError

__all__ = [
    "check_accessible",
    "expanded",
    "home",
    "lock",
    "named",
    "obstacle_at",
    "prepared_dir",
    "prepared_files_of",
    "raw_dir",
    "stamps_dir",
    "writable_dir",
]


logger = logging.getLogger(__name__)

WRITABLE = "Set CSP_DATA_HOME to a folder you own, or choose another place: out= (-o) or raw= (--raw)."
WAIT_S = 2.0
"""Seconds after which a wait for another process is told."""


def home() -> Path:
    """Return ``CSP_DATA_HOME``, or the user's data folder of this platform. Nothing is created.

    Raises
    ------
    CspDataError
        If the variable is not set, and the system knows no home of this user, as in some containers.
    """
    chosen = os.environ.get("CSP_DATA_HOME")
    if chosen:
        return expanded(chosen, "CSP_DATA_HOME")
    with suppress(RuntimeError):  # earlier platformdirs leave a ~ where they find no home, later ones raise
        path = platformdirs.user_data_path("csp-data")
        if path.is_absolute():
            return path
    raise CspDataError("This user has no home folder. Set CSP_DATA_HOME to a folder you own.")


def check_accessible(folder: Path) -> Path:
    """Return a folder that may be looked into, or that is not there yet.

    Raises
    ------
    CspDataError
        If it may not be looked into.
    """
    why = os.strerror(errno.EACCES)
    try:
        if not folder.is_dir() or os.access(folder, os.R_OK | os.X_OK):
            return folder
    except OSError as error:  # already one above it may not
        why = error.strerror or why
    raise CspDataError(f"{folder} cannot be looked into: {why}. {WRITABLE}")


def expanded(path: Path | str, option: str = "path") -> Path:
    """Return a path with ``~`` filled in.

    Parameters
    ----------
    path
        The path.
    option
        Name of the argument that it is of, for the error.

    Raises
    ------
    OptionError
        If it is no path, or none that a file can have: too long, or with a zero byte in it.
    CspDataError
        If there is no such user, or one may not look there.
    """
    if not isinstance(cast("object", path), str | os.PathLike):
        raise OptionError(option, path, "the path of a file or folder: text or a pathlib.Path")
    try:
        place = Path(path).expanduser()
    except RuntimeError as error:
        raise CspDataError(f"{path}: there is no user of that name here. Write the path out.") from error
    try:
        place.lstat()
    except ValueError as error:
        raise OptionError(option, _shortened(place), f"a path that the system takes ({error})") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise OptionError(option, _shortened(place), "a path short enough for the file system") from error
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise CspDataError(f"{place} cannot be looked at: {os.strerror(error.errno or 0)}.") from error
    return place


def _shortened(path: Path) -> str:
    return text if len(text := str(path)) < 80 else f"{text[:60]}... ({len(text)} characters)"


def named(path: Path) -> Path:
    """Return a path that ends in a name, beside which others can stand: not in ``.`` or ``..``.

    Raises
    ------
    CspDataError
        If it is the root of a file system.
    """
    path = path if path.name not in ("", "..") else path.resolve()
    if not path.name:
        raise CspDataError(
            f"{path} is the root of the file system, with nothing beside it. Choose a folder in it."
        )
    return path


def raw_dir(name: str, chosen: Path | str | None = None) -> Path:
    """Return the folder of a data set's raw files: the one that was chosen, or else that of the home.

    Raises
    ------
    OptionError
        If a file was chosen.
    """
    if chosen is None:
        return home() / "raw" / name
    path = expanded(chosen, "raw")
    if path.exists() and not path.is_dir():
        fix = f"To take a file in: csp-data import {name} {shlex.quote(str(path))}"
        raise OptionError("raw", str(path), "a folder; this is a file", fix)
    return path


def prepared_dir() -> Path:
    """Return the folder of prepared files."""
    return check_accessible(home() / "prepared")


def prepared_files_of(name: str) -> list[Path]:
    """Return the prepared files whose names begin with that of a data set, the newest first."""
    found = []
    for path in prepared_dir().glob(f"{name}-*.h5"):
        # links to a disk that is not there; another process may delete one too
        with suppress(OSError):
            status = path.stat()
            if S_ISREG(status.st_mode):
                found.append((status.st_mtime, path))
    return [path for _, path in sorted(found, reverse=True)]


def stamps_dir() -> Path:
    """Return the folder that remembers which files have been read and digested."""
    return home() / "stamps"


def writable_dir(path: Path) -> Path:
    """Create a folder and return it.

    Raises
    ------
    CspDataError
        If it cannot be created or written to, with what to do.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = obstacle_at(path) or error.strerror or error
        raise CspDataError(f"cannot write to {path}: {why}. {WRITABLE}") from error
    return path


def obstacle_at(path: Path) -> str:
    """Return what stands where a folder should be: a file or a link to nowhere; ``""`` if nothing does."""
    with suppress(OSError):  # of a folder that may not be looked into
        for place in (path, *path.parents):
            if place.is_dir():
                break
            if place.exists():
                return f"{place} is a file"
            if place.is_symlink():
                return f"{place} is a link to {place.readlink()}, which is not there"
    return ""


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the lock beside `path`, so that two processes never make the same thing at once.

    The operating system drops the lock when the process ends, however it ends; the empty lock file stays.
    """
    path = named(path)
    writable_dir(path.parent)
    file_lock = filelock.FileLock(path.with_name(path.name + ".lock"))
    try:
        try:
            file_lock.acquire(timeout=WAIT_S)
        except filelock.Timeout:
            if not Path(file_lock.lock_file).exists():  # where no file can be made, filelock tries for ever
                raise OSError(errno.ENOENT, "no file can be made there") from None
            logger.warning("another process works on %s; waiting for it (Ctrl-C stops the waiting)", path)
            file_lock.acquire()
    except OSError as error:
        why, made = error.strerror or error, Path(file_lock.lock_file)
        place = made if os.access(made, os.F_OK) else path.parent  # another user's, in a folder for all
        raise CspDataError(f"cannot write to {place}: {why}. {WRITABLE}") from error
    try:
        yield
    finally:
        file_lock.release()
