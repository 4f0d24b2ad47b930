"""Taking in what a person fetched: archives or folders, in any of the layouts people have."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from csp_data.acquire.archive import is_archive, unpack
from csp_data.acquire.lockfile import Locked, LockedSet, extend_lock, lock_path, read_lock
from csp_data.acquire.manifest import Stamps, digest_file
from csp_data.acquire.place import How, gather, own_name, place
from csp_data.acquire.verify import Report, verify_tree
from csp_data.card import Card, bundled_root
from csp_data.errors import CspDataError, MissingDataError, OptionError, VerificationError
from csp_data.home import lock, raw_dir, writable_dir

__all__ = ["import_card", "incoming_dir", "settle", "take_in"]

logger = logging.getLogger(__name__)

NESTED = 2
"""Archives within archives that are opened: the publisher's zips within a repository's export."""


@dataclass(frozen=True)
class _Taker:
    card: Card
    root: Path
    how: How
    work: Path
    expected: LockedSet


def incoming_dir(root: Path) -> Path:
    """Return where unfinished work of a raw folder lies: beside it, so that no reader finds it."""
    return root.with_name(root.name + ".incoming")


def import_card(
    card: Card, paths: Sequence[Path], *, raw: Path | None = None, how: How = "copy", lock_file: Path | None = None
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
        If a file differs from one that is there already and can be trusted.
    """
    if bundled_root(card) is not None and raw is None:
        raise OptionError("name", card.name, "a data set that does not ship with csp-data")
    root = writable_dir(raw if raw is not None else raw_dir(card.name))
    with lock(root):
        work = incoming_dir(root) / "import"
        shutil.rmtree(work, ignore_errors=True)
        writable_dir(work)
        try:
            expected = read_lock(lock_path(root, lock_file), card.name)
            taker = _Taker(card, root, how, work, expected)
            for path in paths:
                count = _take_path(taker, path)
                logger.info("%s: %d files of %s", path, count, card.name)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return settle(card, root, lock_file)


def settle(card: Card, root: Path, lock_file: Path | None, archives: dict[str, Locked] | None = None) -> Report:
    """Open what no digest vouches for, lock what can be read, and report."""
    report = verify_tree(card, root, read=True, lock=lock_file)
    first = {file.path for file in report.present if file.trust == "structure"}
    new = {path: Locked(report.digests[path].size, report.digests[path].sha256) for path in sorted(first)}
    if new or archives:
        extend_lock(lock_path(root, lock_file), card.name, LockedSet(new, archives or {}))
    return verify_tree(card, root, lock=lock_file)


def _take_path(taker: _Taker, path: Path) -> int:
    if not path.exists():
        raise MissingDataError(f"What to import into {taker.card.name}", path, "Check the path.")
    if path.is_dir():
        return _take_folder(taker, path, taker.how, NESTED)
    if is_archive(path):
        return _take_archive(taker, path, NESTED)
    alone = taker.work / "single"
    writable_dir(alone)
    place(path, alone / path.name, "copy" if taker.how == "copy" else "link")
    return _take_folder(taker, alone, "move", 0)


def _take_archive(taker: _Taker, path: Path, depth: int) -> int:
    """Unpack beside the raw folder, then move what belongs to the set."""
    number = sum(1 for _ in taker.work.iterdir())
    into = taker.work / str(number) / path.name.split(".")[0]
    writable_dir(into.parent)
    unpack(path, into)
    try:
        return _take_folder(taker, into, "move", depth)
    finally:
        shutil.rmtree(into.parent, ignore_errors=True)


def _take_folder(taker: _Taker, folder: Path, how: How, depth: int) -> int:
    """Take the files of a folder, and the publisher's archives in it."""
    archives = [path for path in sorted(folder.rglob("*")) if path.is_file() and is_archive(path)] if depth else []
    mine = {entry.path.rsplit("/", 1)[-1].lower() for entry in taker.card.downloads}
    archives = [path for path in archives if path.name.lower() in mine or own_name(taker.card, path.name)]
    count = sum(_take_archive(taker, path, depth - 1) for path in archives)
    try:
        return count + take_in(taker.card, folder, taker.root, how, taker.expected)
    except MissingDataError:
        if not archives:
            raise
        return count


def take_in(card: Card, folder: Path, root: Path, how: How, expected: LockedSet) -> int:
    """Bring the files of a data set from a folder to their places below the raw root; return how many.

    A file that is there already stays if it is equal. If it differs, the one that the publisher's or the locked
    digest vouches for wins; if none does, a person must decide.
    """
    if folder.resolve() == root.resolve():
        return len(gather(card, folder))
    files = gather(card, folder)
    trusted = {entry.path: entry for entry in card.files}
    stamps, there = Stamps(root), [name for name in files if (root / name).is_file()]
    known = stamps.digests(there)
    for name, file in files.items():
        if name in known:
            arriving, entry, locked = digest_file(file, git_blob=True), trusted.get(name), expected.files.get(name)
            if arriving.sha256 == known[name].sha256:
                continue
            vouched = (entry is not None and entry.sha256 == arriving.sha256) or (
                (entry is not None and entry.git_blob == arriving.git_blob)
                or (locked is not None and locked.sha256 == arriving.sha256)
            )
            if not vouched:
                raise VerificationError(
                    f"{file} differs from {root / name}, and no digest tells which is right. Delete one of them,"
                    " and import again."
                )
        place(file, root / name, how)
    return len(files)


def clean(root: Path) -> list[Path]:
    """Delete what unfinished work left in and beside a raw folder; return what was deleted.

    Raises
    ------
    CspDataError
        If it cannot be deleted.
    """
    with lock(root):
        litter = [incoming_dir(root)] if incoming_dir(root).exists() else []
        if root.is_dir():
            litter += [
                file for file in root.rglob("*") if file.is_file() and file.name.endswith((".part", ".part.json"))
            ]
        try:
            for path in litter:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        except OSError as error:
            raise CspDataError(f"cannot delete: {error}.") from error
    return litter
