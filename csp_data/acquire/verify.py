"""Verify the raw files on disk, one by one: by digest, or by opening them."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from csp_data.acquire.lockfile import LOCK_NAME, RECEIPTS_NAME, LockedSet, lock_path, read_lock
from csp_data.acquire.manifest import Digest, Stamps
from csp_data.acquire.nearby import without_other_simulations
from csp_data.acquire.structure import structure_problems
from csp_data.card import Card, FileEntry, bundled_root
from csp_data.errors import MissingDataError, SourceError, VerificationError
from csp_data.home import raw_dir
from csp_data.simulate.stamp import STAMP
from csp_data.sources import Found, find_in

__all__ = ["FileReport", "Report", "Status", "Trust", "failure_lines", "verify_tree"]

LEFTOVER_ENDINGS = (".part", ".part.json", ".lock", ".new")
"""Endings of the files that this toolkit itself leaves when it is killed."""
OWN_FILES = (LOCK_NAME, LOCK_NAME + ".lock", RECEIPTS_NAME, STAMP)

Status = Literal["ok", "missing", "truncated", "altered", "unreadable", "unlisted", "extra"]
Trust = Literal["published", "locked", "structure"]


@dataclass(frozen=True)
class FileReport:
    """What verification says of one file.

    ``trust`` says on what grounds a file is ok: ``"published"``: its bytes agree with a digest of the publisher;
    ``"locked"``: with that of the first arrival (:mod:`csp_data.acquire.lockfile`); ``"structure"``: it was read,
    and what it holds is possible; ``None``: it is there, and was not read yet, or ``beside`` names the failed file
    of the same recording, without which it cannot be read as what it is. ``fix`` says how to mend what is not ok.
    An ``"unlisted"`` recording is one that the card does not know, an ``"extra"`` file is no part of any.
    """

    path: str
    status: Status
    trust: Trust | None = None
    expected: str = ""
    found: str = ""
    fix: str = ""
    beside: str = ""

    @property
    def failed(self) -> bool:
        """Whether the file cannot be used as it is."""
        return self.status not in ("ok", "unlisted", "extra")

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
    found
        The recordings there, as the source lists them.
    """

    name: str
    root: Path
    files: tuple[FileReport, ...]
    digests: dict[str, Digest]
    found: tuple[Found, ...] = ()

    @property
    def failures(self) -> tuple[FileReport, ...]:
        """Files that are missing, truncated, altered or unreadable."""
        return tuple(file for file in self.files if file.failed)

    @property
    def present(self) -> tuple[FileReport, ...]:
        """Files that are there and verified."""
        return tuple(file for file in self.files if file.status == "ok")

    def failure_of(self, found: Found) -> str:
        """Return what failed of those of a recording's files that are there, ``""`` if nothing did."""
        names = _names_by_recording(self.root, [found])[0] if self._failed else ()
        return "; ".join(self._failed[name] for name in names if name in self._failed)

    @cached_property
    def _failed(self) -> dict[str, str]:
        return {file.path: str(file) for file in self.failures if file.status != "missing"}

    def source_digest(self) -> str:
        """Return one SHA-256 over names and contents of the files that are there."""
        lines = "".join(f"{name} {digest.sha256}\n" for name, digest in sorted(self.digests.items()))
        return hashlib.sha256(os.fsencode(lines)).hexdigest()

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
            lines = "\n".join(f"  {line}" for line in failure_lines(bad))
            raise VerificationError(
                f"{len(bad)} of {len(self.files)} files of {self.name} in {self.root} failed:\n{lines}"
            )

    def summary(self) -> str:
        """Return one line: what is there, and on what grounds it is trusted."""
        unread = {
            True: "of a recording with a failed file",
            False: "not read yet (--deep, in Python deep=True, reads it)",
        }
        grounds = Counter(file.trust or unread[bool(file.beside)] for file in self.present)
        counts = ", ".join(f"{count} {trust}" for trust, count in sorted(grounds.items()))
        extra = sum(file.status == "extra" for file in self.files)
        return (
            f"{self.name} in {self.root}: {len(self.present)} of {len(self.present) + len(self.failures)} files"
            f" verified{f' ({counts})' if counts else ''}{f', {extra} other files' if extra else ''}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON."""
        return {
            "name": self.name,
            "root": str(self.root),
            "ok": not self.failures,
            "files": [{**asdict(file), "failed": file.failed} for file in self.files],
        }


def failure_lines(failures: Sequence[FileReport]) -> list[str]:
    """Return one line for each failed file; what mends several of them is said once, after all files."""
    times = Counter(file.fix for file in failures)
    lines = [str(file if times[file.fix] == 1 else replace(file, fix="")) for file in failures]
    return lines + [f"For {count} of these: {fix}" for fix, count in times.items() if fix and count > 1]


def verify_tree(
    card: Card,
    root: Path,
    *,
    deep: bool = False,
    read: bool = False,
    lock: Path | None = None,
    extra: bool = True,
) -> Report:
    """Compare the files below a root with the card's list and the lock file.

    Parameters
    ----------
    card
        Says which files there are, with sizes and digests.
    root
        Folder of raw files.
    deep
        Read every file again, and open every recording that no digest vouches for; otherwise files unchanged
        since they were digested (same size and modification time) are trusted.
    read
        Open the recordings that no digest vouches for and that were not opened before.
    lock
        The lock file; by default ``csp-data.lock.json`` in the root.
    extra
        Also report files that belong to no recording.

    Raises
    ------
    MissingDataError
        If the folder does not exist.
    SourceError
        If a reader finds files outside it.
    CspDataError
        If the lock file is damaged.
    """
    advice = how_to_get(card, root)
    if not root.is_dir():
        raise MissingDataError(f"The raw files of {card.name}", root, advice)
    found = without_other_simulations(card, root, find_in(card, root))
    locked = read_lock(lock_path(root, lock), card.name)
    entries = _entries(card, locked)
    by_recording = _names_by_recording(root, found)
    of_recordings = list(dict.fromkeys(chain.from_iterable(by_recording)))
    stamps = Stamps(root)
    statuses = stamps.statuses(dict.fromkeys([*entries, *of_recordings]))
    present = [name for name in of_recordings if name in statuses]
    used = [name for name in present if name not in entries] if card.unlisted == "used" else []
    to_digest = [path for path in entries if path in statuses] + used
    blobs = {path for path, entry in entries.items() if entry.git_blob}
    digests = stamps.digests(to_digest, statuses=statuses, again=deep, git_blobs=blobs)
    reports = {path: _check_file(card, root, entry, digests.get(path)) for path, entry in entries.items()}
    _trust_digests(reports, card, locked)
    reports |= {path: FileReport(path, "ok") for path in used}
    # also beside a main file that is left out: a reader may be asked for it
    not_files = stamps.special_files(
        name for name in dict.fromkeys([*entries, *of_recordings]) if name not in statuses
    )
    reports |= {name: _not_readable(advice, name, kind, there=True) for name, kind in not_files.items()}
    if read or deep:
        _open_unvouched(card, advice, by_recording, reports, found, stamps, deep=deep)
    for path, report in reports.items():
        if report.status == "ok" and report.trust is None and stamps.readable(path):
            reports[path] = replace(report, trust="structure")
    unlisted = (FileReport(name, "unlisted", fix=UNLISTED) for name in present if name not in reports)
    # of recordings that are not all there; whole ones that are missing come last
    lacking = {
        name for names in by_recording if names[0] in statuses for name in names if name not in statuses
    } - reports.keys()
    incomplete = (_not_readable(advice, name, "", there=False) for name in sorted(lacking))
    rows = _name_failed_partners([*reports.values(), *unlisted, *incomplete], by_recording)
    rows += _missing_recordings(card, found, advice)
    if extra:
        rows += _extra_files(root, {row.path for row in rows})
    return Report(card.name, root, tuple(rows), digests, tuple(found))


def download_command(card: Card, root: Path) -> str:
    """Return the command that fetches the files of a data set into a folder."""
    place = "" if root == raw_dir(card.name) else f" --raw {shlex.quote(str(root))}"
    return f"csp-data download {card.name}{place}"


def how_to_get(card: Card, root: Path) -> str:
    """Return the next step towards the files of a data set: a command where one can fetch them, or by hand."""
    by_hand = " ".join(card.obtain.split())
    known = any(entry.url or entry.drive for entry in (*card.files, *card.downloads)) or card.access.drive_folder
    return f"Run {download_command(card, root)}, or by hand: {by_hand}" if known else by_hand


def _entries(card: Card, locked: LockedSet) -> dict[str, FileEntry]:
    """Return what is known of each file, from the card and then from the lock file."""
    entries = {entry.path: entry for entry in card.files}
    for path, row in locked.files.items():
        entry = entries.get(path, FileEntry(path))
        if entry.sha256 is None:
            entries[path] = replace(entry, size=entry.size or row.size, sha256=row.sha256)
    return entries


def _check_file(card: Card, root: Path, entry: FileEntry, digest: Digest | None) -> FileReport:
    fix = _how_to_mend(card, root, entry)
    if digest is None:
        return FileReport(entry.path, "missing", expected=f"{root / entry.path}", found="nothing", fix=fix)
    if entry.size is not None and digest.size != entry.size:
        status: Status = "truncated" if digest.size < entry.size else "altered"
        expected, found = f"{entry.size} bytes", f"{digest.size} bytes"
        return FileReport(entry.path, status, expected=expected, found=found, fix="Delete it. " + fix)
    for kind in ("git_blob", "sha256"):
        expected_digest, found_digest = getattr(entry, kind), getattr(digest, kind)
        if expected_digest is not None and expected_digest != found_digest:
            return FileReport(
                entry.path,
                "altered",
                expected=f"{kind} {expected_digest}",
                found=str(found_digest),
                fix="Delete it. " + fix,
            )
    return FileReport(entry.path, "ok")


def _trust_digests(reports: dict[str, FileReport], card: Card, locked: LockedSet) -> None:
    """Note of each intact file whether the publisher or the lock file vouches for it."""
    published = {entry.path for entry in card.files if entry.sha256 or entry.git_blob}
    for path, report in reports.items():
        if report.status == "ok" and (path in published or path in locked.files):
            reports[path] = replace(report, trust="published" if path in published else "locked")


def _how_to_mend(card: Card, root: Path, entry: FileEntry) -> str:
    if bundled_root(card) is not None:
        return " ".join(card.obtain.split())
    if entry.url or entry.drive:
        return f"Get it again: {download_command(card, root)} (from {entry.url or 'Google Drive'})."
    return f"Get it again: {how_to_get(card, root)}"


UNLISTED = "The card does not know it; it is left out."


def _names_by_recording(root: Path, found: Sequence[Found]) -> list[list[str]]:
    """Return the paths below the root, with slashes, of the files of each recording, there or not."""
    above = root.parts
    depth = len(above)

    def name(file: Path) -> str:
        parts = file.parts  # relative_to takes ten times as long, and there may be thousands of files
        if parts[:depth] != above:
            raise SourceError(file, f"find gives a file outside the folder that it was asked about, {root}")
        return "/".join(parts[depth:])

    return [[name(file) for file in recording.files] for recording in found]


def _missing_recordings(card: Card, found: Sequence[Found], advice: str) -> Iterator[FileReport]:
    """Report recordings that the publisher states and that are not here, by name where the card names them."""
    if card.promised is None or len(found) >= card.promised:
        return
    named = {id_ for lists in card.splits.values() for id_ in lists.part_of() if not set(id_) & set("*?[")}
    missing = sorted(named - {recording.id for recording in found})
    if not missing or len(named) < card.promised:
        missing = [f"{card.promised - len(found)} of {card.promised} recordings"]
    for id_ in missing:
        yield FileReport(id_, "missing", expected="a recording", found="none", fix=advice)


def _name_failed_partners(rows: Sequence[FileReport], by_recording: Sequence[Sequence[str]]) -> list[FileReport]:
    """Let files that nothing vouches for say which file of their recording failed."""
    failed = {row.path for row in rows if row.failed}
    partner = {name: bad for names in by_recording for bad in names if bad in failed for name in names}
    return [
        replace(row, beside=partner[row.path])
        if row.status == "ok" and row.trust is None and row.path in partner
        else row
        for row in rows
    ]


def _extra_files(root: Path, known: set[str]) -> Iterator[FileReport]:
    """Report files that belong to no recording and to no list; left-overs of unfinished work as such."""
    for file in sorted(_files_below(root) - known):
        name = file.rpartition("/")[2]
        if name not in OWN_FILES:
            litter = name.endswith(LEFTOVER_ENDINGS)
            fix = (
                "It is left by unfinished work: csp-data clean."
                if litter
                else "It is not used; keep or delete it."
            )
            yield FileReport(file, "extra", fix=fix)


def _files_below(root: Path) -> set[str]:
    """Return all files below the root, with slashes; strings, since there may be thousands."""
    names = set()
    for folder, _, files in os.walk(root):
        inside = folder[len(str(root)) :].replace(os.sep, "/").strip("/")
        names |= {f"{inside}/{file}" if inside else file for file in files}
    return names


def _open_unvouched(
    card: Card,
    advice: str,
    by_recording: Sequence[Sequence[str]],
    reports: dict[str, FileReport],
    found: Sequence[Found],
    stamps: Stamps,
    *,
    deep: bool,
) -> None:
    """Open the recordings that no digest vouches for and that were not read before; all of them if `deep`."""
    to_open = []
    for recording, names in zip(found, by_recording, strict=True):
        files = [reports[name] for name in names if name in reports]
        intact = files and all(report.status == "ok" for report in files)
        read_before = not deep and all(stamps.readable(report.path) for report in files)
        if intact and not read_before and not all(report.trust for report in files):
            to_open.append((recording, names))
    problems = structure_problems(card, [recording for recording, _ in to_open], os.cpu_count() or 1)
    readable = []
    for (recording, names), problem in zip(to_open, problems, strict=True):
        if problem is not None:
            file, what, reader_at_fault = problem
            # a recording's folder stands for its main file
            name = dict(zip(recording.files, names, strict=True)).get(file, names[0])
            reports[name] = _not_readable(advice, name, what, there=name in reports)
            if reader_at_fault:
                reports[name] = replace(reports[name], found=what.rstrip("."), fix=READER)
        else:
            readable += [name for name in names if name in reports]
    stamps.set_readable(readable)


READER = "Keep the file, and look at its reader first."


def _not_readable(advice: str, name: str, problem: str, *, there: bool) -> FileReport:
    if not there:
        return FileReport(name, "missing", expected="a file of the recording", found="nothing", fix=advice)
    return FileReport(name, "unreadable", None, "a readable recording", problem, f"Delete it. {advice}")
