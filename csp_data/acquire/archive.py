"""Unpack archives that may be hostile or damaged: each is inspected whole before anything is written.

zip and tar (plain, gz, bz2, xz). Only folders and regular files come out; what would lead out of the folder, link,
repeat a name, or grow beyond the limits is refused with the archive untouched and nothing on the disk.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import shutil
import stat
import tarfile
import threading
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from csp_data.acquire.leftovers import part_of
from csp_data.errors import CspDataError, UnsafeArchiveError

__all__ = ["Limits", "Member", "inspect", "is_archive", "unpack"]

BLOCK: Final = 1 << 20
LARGEST_HEADER: Final = 1 << 20
LOCAL_HEADER: Final = 30  # bytes of a zip member's own header, without name and extra
SUFFIXES: Final = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
DAMAGE: Final = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError),
    *(ValueError, OverflowError, NotImplementedError, RuntimeError, UnicodeError),
)
"""What the standard library raises at damage; some of its checks are plain ValueErrors."""


@dataclass(frozen=True)
class Limits:
    """What an archive may become.

    Parameters
    ----------
    total
        Bytes of all files together.
    members
        Number of members.
    ratio
        Unpacked bytes for each byte of the archive. Recordings stay under 20; bombs have 1000 and more.
    allowance
        Bytes that any archive may have unpacked, whatever its ratio.
    """

    total: int = 1 << 36
    members: int = 100_000
    ratio: float = 200.0
    allowance: int = 1 << 26

    def bound(self, packed: int) -> int:
        """Return the bytes that an archive of `packed` bytes may become."""
        return min(self.total, max(self.allowance, int(self.ratio * packed)))


@dataclass(frozen=True)
class Member:
    """A regular file of an archive, by its safe path, and its size in bytes."""

    path: PurePosixPath
    size: int


def is_archive(path: Path) -> bool:
    """Whether a file's name is that of an archive."""
    return path.name.lower().endswith(SUFFIXES)


def inspect(path: Path, limits: Limits | None = None) -> list[Member]:
    """Read through an archive and return its files, or refuse it.

    Raises
    ------
    UnsafeArchiveError
        Naming the member and the reason.
    """
    members = _Members(path)
    for _ in _walk(path, limits or Limits(), members):
        pass
    return members.files


def unpack(
    path: Path,
    into: Path,
    *,
    limits: Limits | None = None,
    moved: Callable[[int], object] = lambda count: None,
    stop: threading.Event | None = None,
) -> list[Member]:
    """Unpack an archive into a new folder, which appears only when it is complete.

    Parameters
    ----------
    path
        The archive.
    into
        The folder; it does not exist. The work is done in ``<into>.part``.
    limits
        What the archive may become.
    moved
        Told of the number of bytes after each step.
    stop
        Ends the work within a moment when set.

    Raises
    ------
    UnsafeArchiveError
        If the archive is refused, or damaged.
    CspDataError
        If the disk has no room.
    """
    limits = limits or Limits()
    members = inspect(path, limits)
    needed = sum(member.size for member in members)
    free = shutil.disk_usage(into.parent).free
    if needed > free:
        raise CspDataError(f"{path}: it unpacks to {needed} bytes, and only {free} are free. Make room.")
    part = part_of(into)
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir()
        second_pass = _Members(path)
        for member, body in _walk(path, limits, second_pass):
            target = part / member.path
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(path, member, body, target, moved, stop)
        if second_pass.files != members:
            raise UnsafeArchiveError(path, "", "changed while it was read")
        part.rename(into)
    except OSError as error:
        raise CspDataError(
            f"{path}: cannot unpack to {into.parent}: {error.strerror or error}. Make room or"
            " check the folder's rights, and run the command again."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return members


def _write(
    path: Path,
    member: Member,
    body: IO[bytes],
    target: Path,
    moved: Callable[[int], object],
    stop: threading.Event | None,
) -> None:
    """Copy a member, not a byte more than it declared."""
    written = 0
    with target.open("xb") as file:
        while block := _reporting_damage(path, str(member.path), lambda: body.read(BLOCK)):
            written += len(block)
            if written > member.size:
                raise UnsafeArchiveError(
                    path, str(member.path), f"holds more than the {member.size} bytes it states"
                )
            file.write(block)
            moved(len(block))
            if stop is not None and stop.is_set():
                raise CspDataError(f"{path}: stopped while unpacking; nothing is left of it. Run it again.")
    if written != member.size:
        raise UnsafeArchiveError(path, str(member.path), f"ends after {written} of {member.size} bytes")


def _reporting_damage(path: Path, member: str, act: Callable[[], Any]) -> Any:
    """Run an act of the standard library, naming the archive when it finds damage."""
    try:
        return act()
    except (*DAMAGE, OSError) as error:
        raise _unreadable(path, member, error) from error


def _unreadable(path: Path, member: str, error: Exception) -> CspDataError:
    """Return what to raise over an archive that cannot be read: damage, or a fault of the disk or the rights."""
    # of damage bz2 says with an OSError that no system made
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, DAMAGE):
        return CspDataError(f"{path} cannot be read: {error.strerror}. Check its rights and its disk.")
    return UnsafeArchiveError(path, member, f"is damaged ({str(error) or type(error).__name__})")


class _Members:
    """The files seen so far; refuses a name that is unsafe or taken."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: list[Member] = []
        self._taken: dict[str, str] = {}  # folded path -> "file" or "folder"

    def folder(self, name: str) -> None:
        """Take note of a folder member."""
        path = self._safe_path(name)
        if path is not None:
            self._claim(name, path, "folder")

    def file(self, name: str, size: int) -> Member:
        """Take note of a file member and return it."""
        path = self._safe_path(name)
        if path is None or size < 0:
            raise UnsafeArchiveError(self.path, name, "has no usable name or size")
        self._claim(name, path, "file")
        self.files.append(Member(path, size))
        return self.files[-1]

    def _claim(self, name: str, path: PurePosixPath, kind: str) -> None:
        """Take a path; names that some systems hold for one (case, accents composed or not) count as one."""
        for parent in path.parents[:-1]:
            if self._taken.setdefault(_case_folded(parent), "folder") == "file":
                raise UnsafeArchiveError(self.path, name, "lies below a member that is a file")
        known = self._taken.get(_case_folded(path))
        if known is not None and "file" in (known, kind):
            raise UnsafeArchiveError(self.path, name, "stands twice")
        self._taken[_case_folded(path)] = kind

    def _safe_path(self, name: str) -> PurePosixPath | None:
        """Return a member's path below the folder; ``None`` for the folder itself."""
        try:
            plain = name.replace("\\", "/")
            plain.encode("utf-8")
        except UnicodeEncodeError:
            raise UnsafeArchiveError(self.path, repr(name), "has a name that is not UTF-8") from None
        parts = [part for part in plain.split("/") if part not in ("", ".")]
        for bad, problem in (
            (plain.startswith("/") or re.match(r"[A-Za-z]:", plain), "has an absolute name"),
            (".." in parts, "leads out of the folder"),
            (any(unicodedata.category(c) == "Cc" for c in plain), "has control characters in its name"),
            (len(plain) > 1000 or any(len(p.encode()) > 240 for p in parts), "has too long a name"),
        ):
            if bad:
                raise UnsafeArchiveError(self.path, name[:200], problem)
        return PurePosixPath(*parts) if parts else None


def _case_folded(path: PurePosixPath) -> str:
    return unicodedata.normalize("NFC", str(path)).casefold()


def _walk(path: Path, limits: Limits, members: _Members) -> Iterator[tuple[Member, IO[bytes]]]:
    """Give each file and its open body, in the archive's order; the same checks at every pass."""
    try:
        with path.open("rb") as file:
            head = file.read(6)
            file.seek(0)
            if head.startswith(b"PK"):
                yield from _walk_zip(path, file, limits, members)
            else:
                yield from _walk_tar(path, file, head, limits, members)
    except (*DAMAGE, OSError) as error:
        raise _unreadable(path, "", error) from error


def _walk_zip(
    path: Path, file: IO[bytes], limits: Limits, members: _Members
) -> Iterator[tuple[Member, IO[bytes]]]:
    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        if len(infos) > limits.members:
            raise UnsafeArchiveError(path, "", f"has {len(infos)} members, more than {limits.members}")
        bound, total = limits.bound(path.stat().st_size), 0
        _refuse_overlaps(path, infos, archive.start_dir)
        files = []
        for info in infos:
            _refuse_kind(path, info)
            if info.is_dir():
                members.folder(info.orig_filename)
                continue
            total += info.file_size
            if total > bound:
                raise UnsafeArchiveError(path, info.filename, f"unpacks to more than the {bound} bytes allowed")
            files.append((info, members.file(info.orig_filename, info.file_size)))
        for info, member in files:
            with archive.open(info) as body:
                yield member, body


def _refuse_kind(path: Path, info: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        problem = "is a link" if kind == stat.S_IFLNK else "is neither a file nor a folder"
        raise UnsafeArchiveError(path, info.filename, problem)
    if info.flag_bits & 0x1:
        raise UnsafeArchiveError(path, info.filename, "is encrypted")
    if info.compress_type not in METHODS:
        raise UnsafeArchiveError(path, info.filename, f"has an unknown compression ({info.compress_type})")


def _refuse_overlaps(path: Path, infos: list[zipfile.ZipInfo], end: int) -> None:
    """Members that share their packed bytes make small archives that unpack to anything."""
    rows = sorted((info.header_offset, info.compress_size, info.filename) for info in infos)
    for (offset, packed, name), (following, _, _) in pairwise([*rows, (end, 0, "")]):
        if offset + LOCAL_HEADER + packed > following:
            raise UnsafeArchiveError(path, name, "overlaps another member")


def _walk_tar(
    path: Path, file: IO[bytes], head: bytes, limits: Limits, members: _Members
) -> Iterator[tuple[Member, IO[bytes]]]:
    plain: Any = file
    for magic, opener in ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\0", lzma.open)):
        if head.startswith(magic):
            plain = opener(file, "rb")
    stream = _Forward(path, plain, limits.bound(path.stat().st_size))
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        for count, info in enumerate(archive):
            if count >= limits.members:
                raise UnsafeArchiveError(path, "", f"has more than {limits.members} members")
            if info.isdir():
                members.folder(info.name)
                continue
            if not info.isreg() or info.issparse():
                problem = "is a link" if info.issym() or info.islnk() else "is neither a file nor a folder"
                raise UnsafeArchiveError(path, info.name, problem)
            member = members.file(info.name, info.size)
            body = archive.extractfile(info)
            if body is None:
                raise UnsafeArchiveError(path, info.name, "has no content")
            yield member, body
    if stream.last.strip(b"\0") or len(stream.last) != tarfile.BLOCKSIZE:
        raise UnsafeArchiveError(path, "", "is truncated: the mark of its end is missing")
    stream.seek_end()  # the check sum of a compressed stream stands at its end


class _Forward(io.RawIOBase):
    """A stream that is only read forward, counted, never in large pieces that a header could ask for."""

    def __init__(self, path: Path, inner: IO[bytes], bound: int) -> None:
        self._path, self._inner, self._bound, self._position = path, inner, bound, 0
        self.last = b""

    def read(self, count: int = -1, /) -> bytes:
        """Read at most `count` bytes; -1 is refused."""
        if not 0 <= count <= LARGEST_HEADER:
            raise UnsafeArchiveError(self._path, "", f"has a header of {count} bytes")
        self.last = self._inner.read(count)
        self._position += len(self.last)
        if self._position > self._bound:
            raise UnsafeArchiveError(self._path, "", f"unpacks to more than the {self._bound} bytes allowed")
        return self.last

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def seek(self, position: int, whence: int = 0, /) -> int:
        """Read on to a position; going back is refused."""
        if whence != 0 or position < self._position:
            raise UnsafeArchiveError(self._path, "", "cannot be read from its beginning to its end")
        while self._position < position and self.read(min(LARGEST_HEADER, position - self._position)):
            pass
        return self._position

    def seek_end(self) -> None:
        """Read all that is left."""
        while self.read(LARGEST_HEADER):
            pass
