"""Digests of files, remembered by size and modification time so that nothing is read twice without need."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from csp_data.home import lock, stamps_dir

__all__ = ["Digest", "Stamps", "digest_file"]

logger = logging.getLogger(__name__)

BLOCK = 1 << 20


@dataclass(frozen=True)
class Digest:
    """What a file's bytes are: size in bytes, SHA-256, and the SHA-1 of git's blob object."""

    size: int
    sha256: str
    git_blob: str


def digest_file(path: Path) -> Digest:
    """Read a file once and digest it.

    The git blob id is SHA-1 over ``blob <size>\\\\0`` and the content (Git user manual, "object storage format").
    """
    size = path.stat().st_size
    sha256, blob = hashlib.sha256(), hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            sha256.update(block)
            blob.update(block)
    return Digest(size, sha256.hexdigest(), blob.hexdigest())


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
                stamp = fresh[name] = _Stamp(status.st_mtime_ns, digest_file(self.root / name))
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
