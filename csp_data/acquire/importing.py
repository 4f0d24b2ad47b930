"""Import files that a person fetched: archives or folders, in any of the layouts that people have."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import get_args

from csp_data.acquire.archive import is_archive, unpack
from csp_data.acquire.digests import Digest, Stamps, digest_file
from csp_data.acquire.leftovers import incoming_dir
from csp_data.acquire.lockfile import Locked, LockedSet, extend_lock, lock_path, read_lock
from csp_data.acquire.place import How, find_files, has_publishers_name, is_archive_of, place
from csp_data.acquire.report import Report, path_inside
from csp_data.acquire.verify import verify_tree
from csp_data.card import Card, FileEntry, bundled_root, load_card, names
from csp_data.errors import MissingDataError, OptionError, UnsafeArchiveError, VerificationError
from csp_data.home import expanded, lock, raw_dir, writable_dir
from csp_data.options import check_choice
from csp_data.simulate.stamp import carry_stamp
from csp_data.sources import find_in
from csp_data.sources.folders import walk_folders

__all__ = [
    "bring",
    "files_to_bring",
    "import_card",
    "unpack_into",
    "verify_and_lock",
]

NESTED = 2
"""Archives within archives that are opened: the publisher's zips within a repository's export."""


def import_card(
    card: Card,
    paths: Sequence[Path | str],
    *,
    raw: Path | str | None = None,
    how: How = "copy",
    lock_file: Path | str | None = None,
) -> Report:
    """Take archives and folders into the raw folder of a data set, and verify what is there then.

    Parameters
    ----------
    card
        The data set.
    paths
        Archives, folders, or single files.
    raw
        The raw folder; by default the home's ``raw/<name>``.
    how
        For what lies in folders: copy, move or hard-link. What comes out of archives is always moved.
    lock_file
        The lock file to check against and to extend; by default the one in the raw folder.

    Returns
    -------
    Report
        Its failures name what is still missing.

    Raises
    ------
    MissingDataError
        If a path holds nothing of the data set.
    UnsafeArchiveError
        If an archive is hostile or damaged.
    VerificationError
        If a file differs from one that is there already and can be trusted, or a recording is there under
        another path.
    """
    check_choice("how", how, get_args(How))
    if not paths:
        raise OptionError("paths", (), "at least one file, folder or archive")
    if (beside := bundled_root(card)) is not None and raw is None:
        fix = "" if card.reader is None else f"Copy yours into {beside}, or take bundled off the card."
        raise OptionError("name", card.name, "a data set whose files do not come with its card", fix)
    was_there = raw_dir(card.name, raw).exists()
    root = writable_dir(raw_dir(card.name, raw))
    with lock(root):
        scratch = incoming_dir(root) / "import"
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            with _place_for_links(scratch.absolute()) as links:
                stage = _Stage(card, links, scratch.absolute())
                for path in paths:
                    stage.add(path)
                files = find_files(card, stage.root, stage.origin)
                _check_ids(card, files, root, stage)
                locked = read_lock(lock_path(root, lock_file), card.name)
                new = files_to_bring(card, files, root, locked, stage.origin)
                carry_stamp([*files.values(), *map(expanded, paths)], root)
                bring(new, root, how)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            with suppress(OSError):  # a download's unfinished work may lie there
                scratch.parent.rmdir()
            if not was_there:
                with suppress(OSError):  # it is not empty, unless nothing was brought
                    root.rmdir()
        return verify_and_lock(card, root, lock_file)


@contextmanager
def _place_for_links(scratch: Path) -> Iterator[Path]:
    """Make a folder that can hold links, where the next import deletes what a killed one left.

    An external disk (exFAT) may know no links; then it is one of the system's temporary folders.
    """
    folder = writable_dir(scratch / "links")
    try:
        (folder / "probe").symlink_to(folder)
        (folder / "probe").unlink()
    except OSError:
        with tempfile.TemporaryDirectory(prefix="csp-data-import-") as other:
            yield Path(other).resolve()
    else:
        yield folder


def _check_ids(card: Card, files: Mapping[str, Path], root: Path, stage: _Stage) -> None:
    """Refuse recordings that are there under other paths: of two with one id, neither could be used."""
    paths = {file: name for name, file in files.items()}
    there = {one.id: (path_inside(one.files[0], root), str(one.files[0])) for one in find_in(card, root)}
    for recording in find_in(card, stage.root):
        main = recording.files[0]
        if main not in paths:
            continue
        path, other = there.setdefault(recording.id, (paths[main], stage.origin(main)))
        if path != paths[main]:
            raise VerificationError(
                f"{stage.origin(main)} is recording {recording.id!r}, as is {other}: two of one id"
                " cannot be told apart. Delete one of them, or import the others without it."
            )


class _Stage:
    """One tree of links to all that was given: to what came out of archives, and to what lies in folders.

    Parts of one recording can come in several archives, so the whole must be seen at once. Whoever gave it knows
    nothing of this tree: :meth:`origin` says where something in it came from.
    """

    def __init__(self, card: Card, root: Path, scratch: Path) -> None:
        self.card, self.root, self.scratch = card, root / "all", scratch
        self.root.mkdir()
        self.paths: list[Path] = []
        self.origins: dict[Path, str] = {}
        self.unpacked = self.linked = 0

    def add(self, path: Path | str) -> None:
        """Add an archive, a folder, or a single file."""
        path = expanded(path)
        if not path.exists():
            raise MissingDataError(f"What to import into {self.card.name}", path, "Check the path.")
        self.paths.append(path)
        path = path.absolute()
        if path.is_dir():
            publishers = any(has_publishers_name(load_card(name), path.name) for name in names())
            self._folder(path, self.root / path.name if publishers else self.root, NESTED)
        elif is_archive(path):
            self._archive(path, self.root, NESTED)
        else:
            self._link(path, self.root / path.name)

    def origin(self, path: Path) -> str:
        """Return what was given that a file here came from, or all that was given where `path` is the tree."""
        return ", ".join(map(str, self.paths)) if path == self.root else self.origins.get(path, str(path))

    def _archive(self, path: Path, to: Path, depth: int) -> None:
        self.unpacked += 1
        scratch, origin = self.scratch / str(self.unpacked), self.origin(path)
        try:
            folder = unpack_into(path, scratch)
        except UnsafeArchiveError as error:
            raise UnsafeArchiveError(origin, error.member, error.problem) from error
        (members,) = scratch.iterdir()
        self.origins |= {file: f"{origin}: {file.relative_to(members).as_posix()}" for file in members.rglob("*")}
        self._folder(folder, to, depth, unpacked=True)

    def _folder(self, folder: Path, to: Path, depth: int, *, unpacked: bool = False) -> None:
        # readers look into folders that are linked from elsewhere, and so does this
        inside = (Path(place, name) for place, files in walk_folders(folder) for name in files)
        for file in sorted(path for path in inside if path.is_file()):
            target = to / file.relative_to(folder)
            if depth and is_archive_of(self.card, file):
                self._archive(file, to, depth - 1)
            else:
                self._link(file, target, linked=not unpacked and _leads_out(file.parent, folder))

    def _link(self, file: Path, target: Path, *, linked: bool = False) -> None:
        """Link to a file; to one of a linked folder as to a link, so that it stays there when others move."""
        self._make_way(file, target)
        target.parent.mkdir(parents=True, exist_ok=True)
        self.origins[target] = self.origin(file)
        if linked:
            self.linked += 1
            link = self.root.with_name(f"linked-{self.linked}")
            link.symlink_to(file)
            file = link
        target.symlink_to(file)

    def _make_way(self, file: Path, target: Path) -> None:
        """Make room for a name; two files that claim it must be equal."""
        if target.exists():
            if digest_file(target) != digest_file(file):
                both = f"{self.origin(file)} and {self.origin(target)}"
                raise VerificationError(
                    f"{both} both want to be {target.relative_to(self.root)}, and differ."
                    " Import one of them, or the folder above both."
                )
            target.unlink()


def verify_and_lock(
    card: Card, root: Path, lock_file: Path | str | None, archives: dict[str, Locked] | None = None
) -> Report:
    """Open what no digest vouches for, lock what can be read, and report."""
    report = verify_tree(card, root, read=True, lock=lock_file)
    unlocked = {file.path for file in report.present if file.trust == "structure"}
    new = {path: Locked(report.digests[path].size, report.digests[path].sha256) for path in sorted(unlocked)}
    if new or archives:
        extend_lock(lock_path(root, lock_file), card.name, LockedSet(new, archives or {}))
    files = (replace(file, trust="locked") if file.path in unlocked else file for file in report.files)
    return replace(report, files=tuple(files))


def unpack_into(path: Path, scratch: Path, stop: threading.Event | None = None) -> Path:
    """Unpack an archive into an empty folder of its own, and return the one whose relative names to use.

    An archive whose files all lie in one folder keeps that folder's name in front of them; another one gets its
    own name there, so that equal names from several archives stay apart.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    folder = writable_dir(scratch) / (path.name.split(".")[0] or "archive")  # ".zip" has no other name
    unpack(path, folder, stop=stop)
    inside = list(folder.iterdir())
    return folder if len(inside) == 1 and inside[0].is_dir() else scratch


def _leads_out(inside: Path, folder: Path) -> bool:
    """Whether a folder inside another is there by a link."""
    return inside.resolve() != folder.resolve() / inside.relative_to(folder)


def files_to_bring(
    card: Card, files: Mapping[str, Path], root: Path, expected: LockedSet, origin: Callable[[Path], str] = str
) -> dict[str, Path]:
    """Return the files that are to be brought below the raw root; change nothing.

    A file that is there already stays if it is equal, and gives way to one that the publisher's or the locked
    digest vouches for. Of any other a person must decide, who knows it by what `origin` calls it.

    Raises
    ------
    VerificationError
        If a person must decide.
    """
    entries = {entry.path: entry for entry in card.files}
    on_disk = Stamps(root).digests([name for name in files if (root / name).is_file()])
    to_bring = {}
    for name, file in files.items():
        if name in on_disk:
            arriving = digest_file(file, git_blob=True)
            if arriving.sha256 == on_disk[name].sha256:
                continue
            entry, locked = entries.get(name), expected.files.get(name)
            if not _vouched_for(arriving, entry, locked):
                both = f"{origin(file)} differs from {root / name}"
                if _vouched_for(digest_file(root / name, git_blob=True), entry, locked):
                    raise VerificationError(
                        f"{both}, whose digest is the right one. Import the others without it."
                    )
                raise VerificationError(
                    f"{both}, and no digest tells which is right. Delete one of them, and import again."
                )
        to_bring[name] = file
    return to_bring


def _vouched_for(digest: Digest, entry: FileEntry | None, locked: Locked | None) -> bool:
    """Whether a file is the publisher's, or the one that is locked."""
    published = entry is not None and (entry.sha256 == digest.sha256 or entry.git_blob == digest.git_blob)
    return published or (locked is not None and locked.sha256 == digest.sha256)


def bring(files: Mapping[str, Path], root: Path, how: How) -> None:
    """Bring files to their places below the raw root.

    Links are followed one step; files in the folder of what has arrived are our own and are moved.
    """
    own = incoming_dir(root).absolute()
    for name, file in files.items():
        source = file.readlink() if file.is_symlink() else file
        arrived = source.absolute().is_relative_to(own) and not source.is_symlink()
        place(source, root / name, "move" if arrived else how)
