"""Whether the raw files on disk are the publisher's, file by file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from csp_data.acquire.manifest import Digest, Stamps
from csp_data.card import Card, FileEntry
from csp_data.errors import CspDataError, MissingDataError, VerificationError
from csp_data.protocol import resolve
from csp_data.sources import Found, load_source

__all__ = ["FileReport", "Report", "verify_tree"]

Status = Literal["ok", "missing", "truncated", "altered", "unreadable", "unlisted"]


@dataclass(frozen=True)
class FileReport:
    """What verification says of one file.

    ``trust`` is ``"published"`` where the bytes agree with a digest of the publisher. ``fix`` says how to mend
    what is not ok.
    """

    path: str
    status: Status
    trust: Literal["published"] | None = None
    expected: str = ""
    found: str = ""
    fix: str = ""

    @property
    def failed(self) -> bool:
        """Whether the file cannot be used as it is."""
        return self.status not in ("ok", "unlisted")

    def __str__(self) -> str:
        detail = f": expected {self.expected}, found {self.found}" if self.expected else ""
        return f"{self.path}: {self.status}{detail}{'. ' + self.fix if self.fix else ''}"


@dataclass(frozen=True)
class Report:
    """What verification says of a data set.

    Parameters
    ----------
    name
        Data set.
    root
        Folder of its raw files.
    files
        One entry for each listed file, and for each recording that the card does not list.
    digests
        Of the files that are there, by path.
    """

    name: str
    root: Path
    files: tuple[FileReport, ...]
    digests: dict[str, Digest]

    @property
    def failures(self) -> tuple[FileReport, ...]:
        """Files that are missing, truncated, altered or unreadable."""
        return tuple(file for file in self.files if file.failed)

    @property
    def present(self) -> tuple[FileReport, ...]:
        """Files that are there and verified."""
        return tuple(file for file in self.files if file.status == "ok")

    def source_digest(self) -> str:
        """Return one SHA-256 over names and contents of the files that are there."""
        lines = "".join(f"{name} {digest.sha256}\n" for name, digest in sorted(self.digests.items()))
        return hashlib.sha256(lines.encode()).hexdigest()

    def raise_for_failures(self, *, allow_missing: bool = False) -> None:
        """Raise if a file failed.

        Parameters
        ----------
        allow_missing
            Accept files that are not there.

        Raises
        ------
        VerificationError
            Listing every failed file.
        """
        bad = [file for file in self.failures if not (allow_missing and file.status == "missing")]
        if bad:
            lines = "\n".join(f"  {file}" for file in bad)
            raise VerificationError(
                f"{len(bad)} of {len(self.files)} files of {self.name} in {self.root} failed:\n{lines}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON."""
        return {
            "name": self.name,
            "root": str(self.root),
            "ok": not self.failures,
            "files": [{**asdict(file), "failed": file.failed} for file in self.files],
        }


def verify_tree(card: Card, root: Path, *, deep: bool = False) -> Report:
    """Compare the files below a root with the card's list.

    Parameters
    ----------
    card
        Says which files there are, with sizes and digests.
    root
        Folder of raw files.
    deep
        Read every file again and open every recording; otherwise files unchanged since they were digested (same
        size and modification time) are trusted.

    Raises
    ------
    MissingDataError
        If the folder does not exist.
    """
    if not root.is_dir():
        raise MissingDataError(f"The raw files of {card.name}", root, " ".join(card.obtain.split()))
    source = load_source(card)
    found = source.find(root)
    listed = {entry.path for entry in card.files}
    used = _used(card, root, listed, found)
    there = [entry.path for entry in card.files if (root / entry.path).is_file()] + used
    digests = Stamps(root).digests(there, again=deep)
    reports = [_check(card, root, entry, digests.get(entry.path)) for entry in card.files]
    reports += [FileReport(name, "ok") for name in used]
    reports += _unlisted(root, listed | set(used), [file for recording in found for file in recording.files])
    if deep:
        readable = {report.path for report in reports if report.status == "ok"}
        broken = dict(_unreadable(card, root, readable))
        reports = [broken.get(report.path, report) for report in reports]
    return Report(card.name, root, tuple(reports), digests)


def _check(card: Card, root: Path, entry: FileEntry, digest: Digest | None) -> FileReport:
    again = f"Get it again{' from ' + entry.url if entry.url else ''}."
    if digest is None:
        return FileReport(entry.path, "missing", expected=f"{root / entry.path}", found="nothing", fix=again)
    if entry.size is not None and digest.size != entry.size:
        status: Status = "truncated" if digest.size < entry.size else "altered"
        return FileReport(
            entry.path,
            status,
            expected=f"{entry.size} bytes",
            found=f"{digest.size} bytes",
            fix="Delete it. " + again,
        )
    for kind in ("sha256", "git_blob"):
        expected, found = getattr(entry, kind), getattr(digest, kind)
        if expected is not None and expected != found:
            return FileReport(
                entry.path, "altered", expected=f"{kind} {expected}", found=found, fix="Delete it. " + again
            )
    return FileReport(entry.path, "ok", trust="published" if entry.sha256 or entry.git_blob else None)


def _used(card: Card, root: Path, listed: set[str], found: list[Found]) -> list[str]:
    """Files of recordings that the card does not list one by one but uses; those there are."""
    if card.unlisted != "used":
        return []
    files = (file for recording in found for file in recording.files if file.is_file())
    names = dict.fromkeys(file.relative_to(root).as_posix() for file in files)
    return [name for name in names if name not in listed]


def _unlisted(root: Path, listed: set[str], files: list[Path]) -> Iterator[FileReport]:
    for file in files:
        name = file.relative_to(root).as_posix()
        if name not in listed:
            yield FileReport(name, "unlisted", fix="The card does not know it; it is left out.")


def _unreadable(card: Card, root: Path, names: set[str]) -> Iterator[tuple[str, FileReport]]:
    source = load_source(card)
    for found in source.find(root):
        name = found.files[0].relative_to(root).as_posix()
        if name in names:
            try:
                source.read(found, card, resolve(card))
            except CspDataError as error:
                yield name, FileReport(name, "unreadable", expected="a readable recording", found=str(error))
