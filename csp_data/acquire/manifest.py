"""Digests of files, remembered by size and modification time so that nothing is read twice without need."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from csp_data.home import lock, stamps_dir

__all__ = ["BLOCK", "Digest", "Hasher", "Stamps", "digest_file", "sync_folder"]

logger = logging.getLogger(__name__)

BLOCK = 1 << 20


@dataclass(frozen=True)
class Digest:
    """What a file's bytes are: size in bytes, SHA-256, and git's blob id (SHA-1) where that was asked for."""

    size: int
    sha256: str
    git_blob: str | None = None


class Hasher:
    """Digests bytes as they come.

    The git blob id is SHA-1 over ``blob <size>\\0`` and the content (Git user manual, "object storage format"), so
    it needs the size first.

    Parameters
    ----------
    blob_size
        Size of the whole in bytes, to compute the git blob id too.
    """

    def __init__(self, blob_size: int | None = None) -> None:
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._blob = None
        if blob_size is not None:
            self._blob = hashlib.sha1(f"blob {blob_size}\0".encode(), usedforsecurity=False)

    def update(self, block: bytes | memoryview) -> None:
        """Add bytes."""
        self._size += len(block)
        self._sha256.update(block)
        if self._blob is not None:
            self._blob.update(block)

    def update_from(self, path: Path, count: int) -> None:
        """Add the first `count` bytes of a file."""
        buffer = memoryview(bytearray(BLOCK))
        with path.open("rb", buffering=0) as file:
            while count and (got := file.readinto(buffer[: min(BLOCK, count)])):
                self.update(buffer[:got])
                count -= got

    def digest(self) -> Digest:
        """Return the digest of all bytes so far."""
        blob = None if self._blob is None else self._blob.hexdigest()
        return Digest(self._size, self._sha256.hexdigest(), blob)


def digest_file(path: Path, *, git_blob: bool = False) -> Digest:
    """Read a file once and digest it; the git blob id costs as much again, and is computed when asked for."""
    size = path.stat().st_size
    hasher = Hasher(size if git_blob else None)
    hasher.update_from(path, size)
    return hasher.digest()


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


@dataclass(frozen=True)
class _Stamp:
    mtime_ns: int
    digest: Digest


class Stamps:
    """Digests of the files below one root, kept in the home between runs.

    A file is read again when its size or modification time differs from what was seen when it was digested.

    Parameters
    ----------
    root
        Folder of raw files.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        key = hashlib.sha256(str(self.root).encode()).hexdigest()[:16]
        self.path = stamps_dir() / f"{key}.json"
        self._known = self._load()

    def _load(self) -> dict[str, _Stamp]:
        try:
            rows = json.loads(self.path.read_text(encoding="utf-8"))["files"]
            return {name: _Stamp(row["mtime_ns"], Digest(**row["digest"])) for name, row in rows.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError) as error:
            logger.warning("%s: unreadable stamps are made again (%s)", self.path, error)
            return {}

    def digests(self, files: Sequence[str], *, again: bool = False) -> dict[str, Digest]:
        """Digest files below the root, from memory where they are unchanged.

        Parameters
        ----------
        files
            Paths relative to the root; they exist.
        again
            Read every file, whatever is remembered.
        """
        fresh: dict[str, _Stamp] = {}
        digests: dict[str, Digest] = {}
        for name in files:
            status = (self.root / name).stat()
            stamp = self._known.get(name)
            if (
                again
                or stamp is None
                or (stamp.mtime_ns, stamp.digest.size) != (status.st_mtime_ns, status.st_size)
            ):
                stamp = fresh[name] = _Stamp(status.st_mtime_ns, digest_file(self.root / name, git_blob=True))
            digests[name] = stamp.digest
        if fresh:
            self._remember(fresh)
        return digests

    def _remember(self, fresh: dict[str, _Stamp]) -> None:
        """Merge new stamps into the file; another process may have added its own meanwhile."""
        try:
            with lock(self.path):
                self._known = {**self._load(), **fresh}
                rows = {
                    name: {"mtime_ns": s.mtime_ns, "digest": asdict(s.digest)} for name, s in self._known.items()
                }
                temporary = self.path.with_suffix(".part")
                temporary.write_text(
                    json.dumps({"root": str(self.root), "files": rows}, indent=1), encoding="utf-8"
                )
                temporary.replace(self.path)
        except OSError as error:  # a read-only home costs time, not correctness
            logger.warning("%s: digests are not remembered (%s)", self.path, error)
