"""``csp-data.lock.json``: digests of the first copies that arrived, which later copies must equal.

Publishers of most sources state no digests. What arrived first and could be read is recorded here; the file can be
committed and shared, so that every machine works on the same bytes. One file may hold several data sets.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from csp_data.errors import CspDataError, VerificationError
from csp_data.files import JSON_FAULTS, read_json
from csp_data.home import expanded, lock
from csp_data.output import output_path, write_json
from csp_data.terminal import with_control

__all__ = [
    "LOCK_NAME",
    "OWN_NAMES",
    "RECEIPTS_NAME",
    "Locked",
    "LockedSet",
    "extend_lock",
    "if_replaced",
    "is_own",
    "lock_path",
    "read_lock",
]

LOCK_NAME = "csp-data.lock.json"
RECEIPTS_NAME = "csp-data.unpacked.json"
"""Beside the raw files: which archives were unpacked there, and into which files."""
OWN_NAMES = (LOCK_NAME, f"{LOCK_NAME}.lock", RECEIPTS_NAME)
"""Names of files that are ours, and never a data set's: whoever writes them decides what is trusted."""
VERSION = 1
LONGEST_NAME, LONGEST_PATH = 255, 3000
"""Bytes that file systems take."""


@dataclass(frozen=True)
class Locked:
    """Size in bytes and SHA-256 of a file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class LockedSet:
    """What is locked of one data set: raw files by their path below the root, archives by their name."""

    files: Mapping[str, Locked] = field(default_factory=dict)
    archives: Mapping[str, Locked] = field(default_factory=dict)


def is_own(path: str) -> bool:
    """Whether a path, of which somebody says that it is a data set's, is that of a file of ours."""
    return PurePosixPath(path).name.lower() in OWN_NAMES


def lock_path(root: Path, chosen: Path | str | None = None) -> Path:
    """Return the lock file to use: the chosen one, or the one in the raw folder."""
    return expanded(chosen, "lock") if chosen is not None else root / LOCK_NAME


def if_replaced(path: Path) -> str:
    """Return what to do where a locked file has a new version: entries are never changed but by hand."""
    return f"If its publisher has replaced it, delete its entry in {path}, and run the command again."


def _rows(path: Path) -> dict[str, Any]:
    try:
        table = read_json(path)
        if table["version"] > VERSION:
            raise CspDataError(f"{path}: written by a newer version (format {table['version']}). Update csp-data.")
        rows = table["datasets"]
        for kinds in rows.values():
            for files in (kinds["files"], kinds["archives"]):
                for name, row in files.items():
                    _check(name, Locked(**row))
        return dict(rows)
    except FileNotFoundError:
        return {}
    except JSON_FAULTS as error:
        raise CspDataError(
            f"{path}: not a lock file ({error}). Restore it from where it is shared, or delete it to start anew."
        ) from error


def _check(name: str, locked: Locked) -> None:
    """Refuse what no name or digest can be, with a ValueError: the file may come from a mirror."""
    path = PurePosixPath(name)
    longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise ValueError(f"{name!r} leads out of the raw folder")
    if (
        not path.name
        or with_control(name) is not None
        or len(os.fsencode(name)) > LONGEST_PATH
        or longest > LONGEST_NAME
    ):
        raise ValueError(f"{name[:80]!r} is no name of a file")
    if type(locked.size) is not int or locked.size < 0:
        raise ValueError(f"{name!r} has the size {locked.size!r}")
    if not isinstance(locked.sha256, str) or not re.fullmatch("[0-9a-f]{64}", locked.sha256):
        raise ValueError(f"{name!r} has the sha256 {locked.sha256!r}")


def read_lock(path: Path, name: str) -> LockedSet:
    """Return what is locked of a data set; nothing if there is no file.

    Raises
    ------
    CspDataError
        If the file is damaged or newer.
    """
    rows = _rows(path).get(name, {"files": {}, "archives": {}})
    return LockedSet(
        {file: Locked(**row) for file, row in rows["files"].items()},
        {file: Locked(**row) for file, row in rows["archives"].items()},
    )


def extend_lock(path: Path, name: str, new: LockedSet) -> None:
    """Add first arrivals. What is locked already is never changed.

    Raises
    ------
    VerificationError
        If a file is locked with another digest; nothing is written.
    """
    with lock(path):
        rows = _rows(path)
        row = rows.setdefault(name, {"files": {}, "archives": {}})
        before = json.dumps(row)
        for kind, files in (("files", new.files), ("archives", new.archives)):
            for file, locked in files.items():
                known = row[kind].setdefault(file, asdict(locked))
                if known != asdict(locked):
                    raise VerificationError(
                        f"{file}: {path} expects sha256 {known['sha256']}, found {locked.sha256}. If its"
                        " publisher has replaced it and you want the new version, delete its entry there."
                    )
        if json.dumps(row) != before:
            write_json(
                output_path(path, "lock"), {"format": "csp-data lock", "version": VERSION, "datasets": rows}
            )
