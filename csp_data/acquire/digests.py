"""Digests of files, remembered by size and modification time so that nothing is read twice without need."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Container, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from joblib import cpu_count

from csp_data.errors import CspDataError
from csp_data.files import JSON_FAULTS, read_json
from csp_data.home import lock, stamps_dir
from csp_data.output import write_json

__all__ = ["BLOCK", "Digest", "Hasher", "Stamps", "digest_file"]

logger = logging.getLogger(__name__)

BLOCK = 1 << 20


class Digest(NamedTuple):
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
    """Read a file once and digest it; the git blob id costs as much again, and is computed when asked for.

    Raises
    ------
    CspDataError
        If it cannot be read, whatever it holds.
    """
    try:
        size = path.stat().st_size
        hasher = Hasher(size if git_blob else None)
        hasher.update_from(path, size)
    except OSError as error:
        raise CspDataError(f"{path} cannot be read: {error.strerror}. Check its rights and its disk.") from error
    return hasher.digest()


class _Stamp(NamedTuple):
    mtime_ns: int
    digest: Digest
    readable: bool = False
    prepared: str | None = None
    """SHA-256 of the bytes that the latest preparation stands on."""


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
        key = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        self.path = stamps_dir() / f"{key}.json"
        self._known = self._load()
        self._unchanged: set[str] = set()

    def _load(self) -> dict[str, _Stamp]:
        try:
            rows = read_json(self.path)["files"]
            return {
                name: _Stamp(row["mtime_ns"], Digest(**row["digest"]), row["readable"], row.get("prepared"))
                for name, row in rows.items()
            }
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except JSON_FAULTS as error:
            logger.warning("%s: unreadable stamps are made again (%s)", self.path, error)
            return {}

    def statuses(self, names: Iterable[str]) -> dict[str, os.stat_result]:
        """Look at names below the root and return the status of what is there, be it a file or not."""
        found = {}
        above = f"{self.root}/"
        for name in names:
            with suppress(OSError):
                found[name] = os.stat(above + name)  # noqa: PTH116  # a third of the time of Path's
        return found

    def digests(
        self,
        files: Sequence[str],
        *,
        statuses: Mapping[str, os.stat_result] | None = None,
        again: bool = False,
        git_blobs: Container[str] = (),
    ) -> dict[str, Digest]:
        """Digest files below the root, from memory where they are unchanged; one a usable processor at once.

        Parameters
        ----------
        files
            Paths relative to the root; they exist.
        statuses
            What :meth:`statuses` said of them a moment ago, so that each of thousands is looked at once.
        again
            Read every file, whatever is remembered.
        git_blobs
            Files whose git blob id is needed too.
        """
        statuses = self.statuses(files) if statuses is None else statuses
        stale = []
        for name in files:
            stamp = self._current(name, statuses[name])
            if again or stamp is None or (name in git_blobs and stamp.digest.git_blob is None):
                stale.append(name)
        self._unchanged = set(files).difference(stale)
        if stale:
            with ThreadPoolExecutor(cpu_count()) as pool:  # digesting leaves the interpreter's lock
                fresh = pool.map(lambda name: self._stamp(name, git_blob=name in git_blobs), stale)
                self._remember(dict(zip(stale, fresh, strict=True)))
        return {name: self._known[name].digest for name in files}

    def readable(self, name: str) -> bool:
        """Whether an unchanged file was read as a recording before."""
        # what was found unchanged a moment ago is not looked at again
        if name in self._unchanged:
            return self._known[name].readable
        stamp = self._current(name, (self.root / name).stat())
        return stamp is not None and stamp.readable

    def set_readable(self, names: Iterable[str]) -> None:
        """Remember that digested files were read as recordings."""
        self._remember({name: self._known[name]._replace(readable=True) for name in names})

    def changed(self, name: str) -> bool:
        """Whether a digested file holds other bytes than those that the latest preparation stands on."""
        stamp = self._known[name]
        return stamp.prepared not in (None, stamp.digest.sha256)

    def set_prepared(self, digests: Mapping[str, Digest]) -> None:
        """Remember which bytes a preparation stands on."""
        known = {name: self._known[name] for name in digests if name in self._known}
        fresh = {
            name: stamp._replace(prepared=digests[name].sha256)
            for name, stamp in known.items()
            if stamp.prepared != digests[name].sha256
        }
        self._remember(fresh, level=logging.DEBUG)  # only what changed since goes unsaid

    def add(self, digests: Mapping[str, Digest]) -> None:
        """Remember digests that were computed while the files were written."""
        self._remember(
            {name: _Stamp((self.root / name).stat().st_mtime_ns, digest) for name, digest in digests.items()}
        )

    def _current(self, name: str, status: os.stat_result) -> _Stamp | None:
        """Return what is remembered of a file, if it has not changed since."""
        stamp = self._known.get(name)
        if stamp is None or (stamp.mtime_ns, stamp.digest.size) != (status.st_mtime_ns, status.st_size):
            return None
        return stamp

    def _stamp(self, name: str, *, git_blob: bool) -> _Stamp:
        path, before = self.root / name, self._known.get(name)
        mtime_ns = path.stat().st_mtime_ns  # before it is read: a later change makes it stale
        digest = digest_file(path, git_blob=git_blob)
        if before is None:
            return _Stamp(mtime_ns, digest)
        return _Stamp(mtime_ns, digest, before.readable and before.digest == digest, before.prepared)

    def _remember(self, fresh: Mapping[str, _Stamp], level: int = logging.WARNING) -> None:
        """Merge new stamps into the file; another process may have added its own meanwhile."""
        self._known = {**self._known, **fresh}
        if not fresh:
            return
        try:
            with lock(self.path):
                merged = {**self._load(), **fresh}
                rows = {
                    name: {**stamp._asdict(), "digest": stamp.digest._asdict()} for name, stamp in merged.items()
                }
                write_json(self.path, {"root": str(self.root), "files": rows}, indent=None)
        except CspDataError as error:  # a read-only home costs time, not correctness
            logger.log(level, "%s: digests are not remembered (%s)", self.path, error)
