"""Files that anybody may have put where they are found: what is no file is not opened, since a pipe has no end."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from stat import S_ISDIR, S_ISFIFO, S_ISREG, S_ISSOCK
from typing import Any

import h5py

__all__ = ["JSON_FAULTS", "NO_LOCKS", "check_file", "check_stored", "open_hdf5", "read_json", "special_file"]

NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, 524)
"""What the system says where a disk has no locks; the last is the kernel's own ENOTSUPP, which some let out."""

JSON_FAULTS = (OSError, ValueError, TypeError, KeyError, AttributeError)
"""What :func:`read_json` raises, and looking for what a file should hold in one that holds something else."""

UNCHECKED_BYTES = 256 << 20
"""Bytes that an array may promise without a look at what is stored of it."""
LARGEST_RATIO = 2000
"""Bytes that a stored byte may stand for; deflate packs a thousand of zeros."""


def special_file(mode: int) -> str:
    """Return what the mode of a path says it is, if that is neither a file nor a folder; else ``""``."""
    if S_ISREG(mode) or S_ISDIR(mode):
        return ""
    return "a pipe" if S_ISFIFO(mode) else "a socket" if S_ISSOCK(mode) else "a device"


def check_file(path: Path) -> None:
    """Refuse to open what might never end.

    Raises
    ------
    OSError
        If there is nothing, or a pipe, a socket or a device. Of a folder the system says itself that it is one.
    """
    if kind := special_file(path.stat().st_mode):
        raise OSError(f"it is {kind}")


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises
    ------
    OSError
        If there is none, or it cannot be read.
    ValueError
        If it is no JSON, or nested deeper than Python can follow.
    """
    check_file(path)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))  # some editors mark UTF-8 so
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def open_hdf5(path: Path, **options: Any) -> h5py.File:
    """Open an HDF5 file for reading; without a lock on it where its disk has none, as some network ones.

    Elsewhere with one: HDF5 refuses to open a file in both ways at once, and whoever opens it beside us has one.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    try:
        return h5py.File(path, "r", **options)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return h5py.File(path, "r", locking=False, **options)


def check_stored(data: h5py.h5d.DatasetID, declared: int) -> None:
    """Refuse an array that is not in its file, or of which next to nothing is.

    HDF5 reads on in any file that another one names, which no digest vouches for, and which may be private to
    whoever reads; and memory is taken for what an array's head promises.

    Parameters
    ----------
    data
        The array.
    declared
        Bytes that its head promises.

    Raises
    ------
    ValueError
        With both sizes, or saying that it is elsewhere.
    """
    plan = data.get_create_plist()
    if plan.get_layout() == h5py.h5d.VIRTUAL or plan.get_external_count():
        raise ValueError("its values are in another file")
    if declared <= UNCHECKED_BYTES:
        return
    stored = data.get_storage_size()
    if stored * (LARGEST_RATIO if plan.get_nfilters() else 1) < declared:
        raise ValueError(f"{declared} bytes are promised, {stored} are stored")
