"""Verify the raw files on disk, one by one: by digest, or by opening them."""

from __future__ import annotations

import fnmatch
import os
import shlex
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from stat import S_ISREG

from joblib import cpu_count

from csp_data.acquire.digests import Digest, Stamps
from csp_data.acquire.leftovers import LEFTOVER_ENDINGS
from csp_data.acquire.lockfile import OWN_NAMES, if_replaced, lock_path, read_lock
from csp_data.acquire.nearby import without_other_simulations
from csp_data.acquire.receipts import outdated_archives
from csp_data.acquire.report import A_RECORDING, FileReport, Report, Status, Trust, path_inside
from csp_data.acquire.structure import structure_problems
from csp_data.card import Card, FileEntry, bundled_root, prose
from csp_data.card.splits import is_pattern
from csp_data.errors import MissingDataError
from csp_data.files import special_file
from csp_data.home import raw_dir
from csp_data.simulate.stamp import STAMP
from csp_data.sources import find_in

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
    tree = _Tree(card, root, lock)
    digests = tree.compare(again=deep)
    if read or deep:
        tree.open_unvouched(again=deep)
    tree.note_what_was_read()
    rows = [*tree.rows(), *tree.missing_recordings(), *outdated_archives(card, root, tree.locked, tree.advice)]
    if extra:
        rows += _extra_files(card, root, {row.path for row in rows})
    return Report(card.name, root, tuple(rows), digests, tuple(tree.found))


def download_command(card: Card, root: Path) -> str:
    """Return the command that fetches the files of a data set into a folder."""
    place = "" if root == raw_dir(card.name) else f" --raw {shlex.quote(str(root))}"
    return f"csp-data download {card.typed}{place}"


def how_to_get(card: Card, root: Path) -> str:
    """Return the next step towards the files of a data set: a command where one can fetch them, or by hand."""
    by_hand = prose(card.obtain)
    known = any(entry.url or entry.drive for entry in (*card.files, *card.downloads)) or card.access.drive_folder
    return f"Run {download_command(card, root)}, or by hand: {by_hand}" if known else by_hand


class _Tree:
    """The recordings below a root, and what is said so far of the files that are listed or used."""

    def __init__(self, card: Card, root: Path, lock: Path | str | None) -> None:
        self.card, self.root, self.advice = card, root, how_to_get(card, root)
        if not root.is_dir():
            raise MissingDataError(f"The raw files of {card.name}", root, self.advice)
        self.found = without_other_simulations(card, root, find_in(card, root))
        self.lock_file = lock_path(root, lock)
        self.locked = read_lock(self.lock_file, card.name)
        self.names = [[path_inside(file, root) for file in recording.files] for recording in self.found]
        self.stamps = Stamps(root)
        self.reports: dict[str, FileReport] = {}
        self.unlisted: list[str] = []
        self.there: set[str] = set()

    def compare(self, *, again: bool) -> dict[str, Digest]:
        """Digest the files that are listed or used, where they changed or all of them `again`, and compare."""
        listed = self._listed()
        in_recordings = dict.fromkeys(chain.from_iterable(self.names))
        there = self.stamps.statuses(dict.fromkeys([*listed, *in_recordings]))
        statuses = {name: status for name, status in there.items() if S_ISREG(status.st_mode)}
        self.there = set(statuses)
        self.unlisted = [name for name in in_recordings if name in statuses and name not in listed]
        # what a reader opens beside a listed main file is used with it: a change of it is a change of the data
        beside = {name for names in self.names if names[0] in listed for name in names}
        used = [name for name in self.unlisted if self.card.unlisted == "used" or name in beside]
        digests = self.stamps.digests(
            [path for path in listed if path in statuses] + used,
            statuses=statuses,
            again=again,
            git_blobs={path for path, entry in listed.items() if entry.git_blob},
        )
        published = (entry.path for entry in self.card.files if entry.sha256 or entry.git_blob)
        trust: dict[str, Trust] = {
            **dict.fromkeys(self.locked.files, "locked"),
            **dict.fromkeys(published, "published"),
        }
        for path, entry in listed.items():
            self.reports[path] = self._compared(entry, digests.get(path), trust.get(path))
        self.reports |= {path: FileReport(path, "ok") for path in used}
        # also beside a main file that is left out: a reader may be asked for it
        for name, status in there.items():
            if kind := special_file(status.st_mode):
                self.reports[name] = self._unreadable(name, kind)
        return digests

    def _listed(self) -> dict[str, FileEntry]:
        """Return what is known of each file, from the card and then from the lock file."""
        entries = {entry.path: entry for entry in self.card.files}
        for path, row in self.locked.files.items():
            entry = entries.get(path, FileEntry(path))
            if entry.sha256 is None:
                entries[path] = replace(entry, size=entry.size or row.size, sha256=row.sha256)
        return entries

    def _compared(self, entry: FileEntry, digest: Digest | None, trust: Trust | None) -> FileReport:
        if digest is None:
            place, fix = str(self.root / entry.path), self._how_to_mend(entry)
            return FileReport(entry.path, "missing", expected=place, found="nothing", fix=fix)
        if (wrong := _difference(entry, digest)) is None:
            return FileReport(entry.path, "ok", trust)
        status, expected, found = wrong
        fix = f"Delete it. {self._how_to_mend(entry)}"
        if trust == "locked":
            fix += f" {if_replaced(self.lock_file)}"
        return FileReport(entry.path, status, expected=expected, found=found, fix=fix)

    def _how_to_mend(self, entry: FileEntry) -> str:
        if bundled_root(self.card) is not None:
            return prose(self.card.obtain)
        if entry.url or entry.drive:
            return f"Get it again: {download_command(self.card, self.root)}."
        return f"Get it again: {self.advice}"

    def open_unvouched(self, *, again: bool) -> None:
        """Open the recordings that no digest vouches for: those not read before, or all of them `again`."""
        to_open = []
        for recording, names in zip(self.found, self.names, strict=True):
            files = [self.reports[name] for name in names if name in self.reports]
            intact = files and all(report.status == "ok" for report in files)
            read_before = not again and all(self.stamps.readable(report.path) for report in files)
            if intact and not read_before and not all(report.trust for report in files):
                to_open.append((recording, names))
        problems = structure_problems(self.card, [recording for recording, _ in to_open], cpu_count())
        readable = []
        for (recording, names), problem in zip(to_open, problems, strict=True):
            if problem is None:
                readable += [name for name in names if name in self.reports]
                continue
            file, what, reader_at_fault = problem
            # a recording's folder stands for its main file
            name = dict(zip(recording.files, names, strict=True)).get(file, names[0])
            report = self._unreadable(name, what) if name in self.reports else self._absent(name)
            self.reports[name] = replace(report, found=what.rstrip("."), fix=READER) if reader_at_fault else report
        self.stamps.set_readable(readable)

    def note_what_was_read(self) -> None:
        """Note of each intact file that no digest vouches for whether it was read, and has changed since."""
        for path, report in self.reports.items():
            if report.status == "ok" and report.trust is None:
                trust: Trust | None = "structure" if self.stamps.readable(path) else None
                self.reports[path] = FileReport(path, "ok", trust, changed=self.stamps.changed(path))

    def rows(self) -> list[FileReport]:
        """Return what is said of files; those that nothing vouches for say which of their recording failed."""
        left_out = [
            FileReport(name, "unlisted", fix=UNLISTED) for name in self.unlisted if name not in self.reports
        ]
        incomplete = {name for names in self.names if names[0] in self.there for name in names} - self.there
        lacking = [self._absent(name) for name in sorted(incomplete - self.reports.keys())]
        rows = [*self.reports.values(), *left_out, *lacking]
        failed = {row.path for row in rows if row.failed}
        partner = {name: bad for names in self.names for bad in names if bad in failed for name in names}
        return [
            replace(row, beside=partner[row.path])
            if row.status == "ok" and row.trust is None and row.path in partner
            else row
            for row in rows
        ]

    def missing_recordings(self) -> Iterator[FileReport]:
        """Report recordings that the publisher states and that are not here, by name where the card names them."""
        promised = self.card.promised or 0
        count = promised - len(self.found)
        if count <= 0:
            return
        ids = {recording.id for recording in self.found}
        listed = {entry for lists in self.card.splits.values() for entry in lists.part_of()} - ids
        named = sorted(entry for entry in listed if not is_pattern(entry))
        if len(named) > count:  # the lists name more than the publisher has
            named = []
        for id_ in named:
            yield FileReport(id_, "missing", expected=A_RECORDING, found="none", fix=self.advice)
        if unnamed := count - len(named):
            folders = sorted(entry for entry in listed if entry.endswith("/*") and not fnmatch.filter(ids, entry))
            more = "more " if named else ""
            none = f"none of {', '.join(folders)}" if folders else "none"
            what = f"{unnamed} {more}of {promised} recordings"
            yield FileReport(what, "missing", expected=A_RECORDING, found=none, fix=self.advice)

    def _absent(self, name: str) -> FileReport:
        return FileReport(name, "missing", expected="a file of the recording", found="nothing", fix=self.advice)

    def _unreadable(self, name: str, problem: str) -> FileReport:
        return FileReport(name, "unreadable", None, "a readable recording", problem, f"Delete it. {self.advice}")


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
