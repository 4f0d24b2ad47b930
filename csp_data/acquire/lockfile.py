"""``csp-data.lock.json``: the digests of first arrivals, which every later arrival must equal.

Publishers of most sources state no digests. What arrived first and could be read is recorded here; the file can be
committed and shared, so that every machine works on the same bytes. One file may hold several data sets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from csp_data.acquire.manifest import write_json
from csp_data.errors import CspDataError, VerificationError
from csp_data.home import expanded, lock

__all__ = ["LOCK_NAME", "RECEIPTS_NAME", "Locked", "LockedSet", "extend_lock", "lock_path", "read_lock"]

LOCK_NAME = "csp-data.lock.json"
RECEIPTS_NAME = "csp-data.unpacked.json"
"""Beside the raw files: which archives were unpacked there, and into which files."""
VERSION = 1


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


def lock_path(root: Path, chosen: Path | None = None) -> Path:
    """Return the lock file to use: the chosen one, or the one in the raw folder."""
    return expanded(chosen) if chosen is not None else root / LOCK_NAME


def _rows(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if table["version"] > VERSION:
            raise CspDataError(f"{path}: written by a newer version (format {table['version']}). Update csp-data.")
        rows = table["datasets"]
        for kinds in rows.values():
            for files in (kinds["files"], kinds["archives"]):
                for name, row in files.items():
                    Locked(int(row["size"]), str(row["sha256"]))
                    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name:
                        raise ValueError(f"{name!r} leads out of the raw folder")  # it may come from a mirror
        return dict(rows)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CspDataError(
            f"{path}: not a lock file ({error}). Restore it from where it is shared, or delete it to start anew."
        ) from error


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
        mine = rows.setdefault(name, {"files": {}, "archives": {}})
        before = json.dumps(mine, sort_keys=True)
        for kind, files in (("files", new.files), ("archives", new.archives)):
            for file, locked in files.items():
                known = mine[kind].setdefault(file, asdict(locked))
                if known != asdict(locked):
                    raise VerificationError(
                        f"{file}: {path} expects sha256 {known['sha256']}, found {locked.sha256}. If its"
                        " publisher has replaced it and you want the new version, delete its entry there."
                    )
        if json.dumps(mine, sort_keys=True) != before:
            write_json(path, {"format": "csp-data lock", "version": VERSION, "datasets": rows})
