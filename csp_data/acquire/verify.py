"""Verify the raw files on disk, one by one: by digest, or by opening them."""

from __future__ import annotations

import fnmatch
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from stat import S_ISREG

from joblib import cpu_count

from csp_data.acquire.digests import Digest, Stamps
from csp_data.acquire.leftovers import LEFTOVER_ENDINGS
from csp_data.acquire.lockfile import OWN_NAMES, LockedSet, if_replaced, lock_path, read_lock
from csp_data.acquire.nearby import without_other_simulations
from csp_data.acquire.receipts import outdated_archives
from csp_data.acquire.report import A_RECORDING, FileReport, Report, Status, path_inside
from csp_data.acquire.structure import structure_problems
from csp_data.card import Card, FileEntry, bundled_root, prose
from csp_data.errors import MissingDataError
from csp_data.files import special_file
from csp_data.home import raw_dir
from csp_data.simulate.stamp import STAMP
from csp_data.sources import Found, find_in

__all__ = ["download_command", "how_to_get", "verify_tree"]

OWN_FILES = (*OWN_NAMES, STAMP)
UNLISTED = "The card does not know it; it is left out."
READER = "Keep the file, and look at its reader first."


def verify_tree(
    card: Card,
    root: Path,
    *,
    deep: bool = False,
    read: bool = False,
    lock: Path | str | None = None,
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
    lock_file = lock_path(root, lock)
    locked = read_lock(lock_file, card.name)
    listed = _listed_files(card, locked)
    by_recording = [[path_inside(file, root) for file in recording.files] for recording in found]
    in_recordings = list(dict.fromkeys(chain.from_iterable(by_recording)))
    wanted = list(dict.fromkeys([*listed, *in_recordings]))
    stamps = Stamps(root)
    there = stamps.statuses(wanted)
    statuses = {name: status for name, status in there.items() if S_ISREG(status.st_mode)}
    unlisted = [name for name in in_recordings if name in statuses and name not in listed]
    # what a reader opens beside a listed main file is used with it, so that a change of it is a change of the data
    beside = {name for names in by_recording if names[0] in listed for name in names}
    used = [name for name in unlisted if card.unlisted == "used" or name in beside]

    digests = stamps.digests(
        [path for path in listed if path in statuses] + used,
        statuses=statuses,
        again=deep,
        git_blobs={path for path, entry in listed.items() if entry.git_blob},
    )
    reports = {path: _check_file(card, root, entry, digests.get(path)) for path, entry in listed.items()}
    _trust_digests(reports, card, locked, lock_file)
    reports |= {path: FileReport(path, "ok") for path in used}
    # also beside a main file that is left out: a reader may be asked for it
    not_files = {name: kind for name, status in there.items() if (kind := special_file(status.st_mode))}
    reports |= {name: _unreadable(advice, name, kind) for name, kind in not_files.items()}
    if read or deep:
        _open_unvouched(card, advice, by_recording, reports, found, stamps, deep=deep)
    _trust_readable(reports, stamps)
    for path, report in reports.items():
        if report.status == "ok" and report.trust in (None, "structure") and stamps.changed(path):
            reports[path] = replace(report, changed=True)

    left_out = [FileReport(name, "unlisted", fix=UNLISTED) for name in unlisted if name not in reports]
    incomplete = {name for names in by_recording if names[0] in statuses for name in names} - statuses.keys()
    lacking = [_absent(advice, name) for name in sorted(incomplete - reports.keys())]
    rows = _name_failed_partners([*reports.values(), *left_out, *lacking], by_recording)
    rows += _missing_recordings(card, found, advice)
    rows += outdated_archives(card, root, locked, advice)
    if extra:
        rows += _extra_files(card, root, {row.path for row in rows})
    return Report(card.name, root, tuple(rows), digests, tuple(found))


def download_command(card: Card, root: Path) -> str:
    """Return the command that fetches the files of a data set into a folder."""
    place = "" if root == raw_dir(card.name) else f" --raw {shlex.quote(str(root))}"
    return f"csp-data download {card.typed}{place}"


def how_to_get(card: Card, root: Path) -> str:
    """Return the next step towards the files of a data set: a command where one can fetch them, or by hand."""
    by_hand = prose(card.obtain)
    known = any(entry.url or entry.drive for entry in (*card.files, *card.downloads)) or card.access.drive_folder
    return f"Run {download_command(card, root)}, or by hand: {by_hand}" if known else by_hand


def _listed_files(card: Card, locked: LockedSet) -> dict[str, FileEntry]:
    """Return what is known of each file, from the card and then from the lock file."""
    entries = {entry.path: entry for entry in card.files}
    for path, row in locked.files.items():
        entry = entries.get(path, FileEntry(path))
        if entry.sha256 is None:
            entries[path] = replace(entry, size=entry.size or row.size, sha256=row.sha256)
    return entries


def _check_file(card: Card, root: Path, entry: FileEntry, digest: Digest | None) -> FileReport:
    if digest is None:
        fix = _how_to_mend(card, root, entry)
        return FileReport(entry.path, "missing", expected=f"{root / entry.path}", found="nothing", fix=fix)
    if (wrong := _difference(entry, digest)) is None:
        return FileReport(entry.path, "ok")
    status, expected, found = wrong
    fix = f"Delete it. {_how_to_mend(card, root, entry)}"
    return FileReport(entry.path, status, expected=expected, found=found, fix=fix)


def _difference(entry: FileEntry, digest: Digest) -> tuple[Status, str, str] | None:
    """Return how a file differs from what is stated of it: its status, what was expected and what was found."""
    if entry.size is not None and digest.size != entry.size:
        status: Status = "truncated" if digest.size < entry.size else "altered"
        return status, f"{entry.size} bytes", f"{digest.size} bytes"
    for kind in ("git_blob", "sha256"):
        expected, found = getattr(entry, kind), getattr(digest, kind)
        if expected is not None and expected != found:
            return "altered", f"{kind} {expected}", str(found)
    return None


def _trust_digests(reports: dict[str, FileReport], card: Card, locked: LockedSet, lock_file: Path) -> None:
    """Note whether publisher or lock file vouches for an intact file, and that of others the latter may be old."""
    published = {entry.path for entry in card.files if entry.sha256 or entry.git_blob}
    for path, report in reports.items():
        if report.status == "ok" and (path in published or path in locked.files):
            reports[path] = FileReport(path, "ok", "published" if path in published else "locked")
        elif report.status in ("altered", "truncated") and path in locked.files and path not in published:
            reports[path] = replace(report, fix=f"{report.fix} {if_replaced(lock_file)}")


def _trust_readable(reports: dict[str, FileReport], stamps: Stamps) -> None:
    """Note of each intact file that nothing else vouches for whether it was read."""
    for path, report in reports.items():
        if report.status == "ok" and report.trust is None and stamps.readable(path):
            reports[path] = FileReport(path, "ok", "structure")


def _how_to_mend(card: Card, root: Path, entry: FileEntry) -> str:
    if bundled_root(card) is not None:
        return prose(card.obtain)
    if entry.url or entry.drive:
        return f"Get it again: {download_command(card, root)}."
    return f"Get it again: {how_to_get(card, root)}"


def _missing_recordings(card: Card, found: Sequence[Found], advice: str) -> Iterator[FileReport]:
    """Report recordings that the publisher states and that are not here, by name where the card names them."""
    count = 0 if card.promised is None else card.promised - len(found)
    if count <= 0:
        return
    ids = {recording.id for recording in found}
    listed = {entry for lists in card.splits.values() for entry in lists.part_of()} - ids
    named = sorted(entry for entry in listed if not set(entry) & set("*?["))
    if len(named) > count:  # the lists name more than the publisher has
        named = []
    for id_ in named:
        yield FileReport(id_, "missing", expected=A_RECORDING, found="none", fix=advice)
    if unnamed := count - len(named):
        folders = sorted(entry for entry in listed if entry.endswith("/*") and not fnmatch.filter(ids, entry))
        more = "more " if named else ""
        none = f"none of {', '.join(folders)}" if folders else "none"
        what = f"{unnamed} {more}of {card.promised} recordings"
        yield FileReport(what, "missing", expected=A_RECORDING, found=none, fix=advice)


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


def _extra_files(card: Card, root: Path, known: set[str]) -> Iterator[FileReport]:
    """Report files that belong to no recording and to no list; archives and left-overs as such."""
    from csp_data.acquire.archive import is_archive  # here: importing csp_data does without its packages

    for file in sorted(_files_below(root) - known):
        name = file.rpartition("/")[2]
        if name in OWN_FILES:
            continue
        fix = "No recording lists it: keep or delete it."
        if card.reader is not None:
            fix = "No recording lists it: keep or delete it, or let find list it if your reader opens it."
        if name.endswith(LEFTOVER_ENDINGS):
            fix = "It is left by unfinished work: csp-data clean."
        elif is_archive(Path(name)):
            fix = "An archive, which is not looked into: csp-data import takes recordings out of it."
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
    problems = structure_problems(card, [recording for recording, _ in to_open], cpu_count())
    readable = []
    for (recording, names), problem in zip(to_open, problems, strict=True):
        if problem is not None:
            file, what, reader_at_fault = problem
            # a recording's folder stands for its main file
            name = dict(zip(recording.files, names, strict=True)).get(file, names[0])
            reports[name] = _unreadable(advice, name, what) if name in reports else _absent(advice, name)
            if reader_at_fault:
                reports[name] = replace(reports[name], found=what.rstrip("."), fix=READER)
        else:
            readable += [name for name in names if name in reports]
    stamps.set_readable(readable)


def _absent(advice: str, name: str) -> FileReport:
    return FileReport(name, "missing", expected="a file of the recording", found="nothing", fix=advice)


def _unreadable(advice: str, name: str, problem: str) -> FileReport:
    return FileReport(name, "unreadable", None, "a readable recording", problem, f"Delete it. {advice}")
