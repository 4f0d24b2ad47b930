"""Find the files of a data set in a folder of any layout, and bring them to their place in the raw folder."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from csp_data.acquire.digests import digest_file
from csp_data.acquire.leftovers import part_of
from csp_data.acquire.lockfile import is_own
from csp_data.acquire.nearby import contents, without_other_simulations
from csp_data.card import Card, load_card, names, prose
from csp_data.errors import CspDataError, MissingDataError, VerificationError
from csp_data.output import open_new, sync_folder
from csp_data.sources import find_in, load_source

__all__ = [
    "How",
    "find_files",
    "has_publishers_name",
    "is_archive_of",
    "lists_contents",
    "place",
    "unpacked_files",
]

logger = logging.getLogger(__name__)

How = Literal["copy", "move", "link"]
DEPTH = 3
"""Folders below the given one in which the publisher's folder of a set is looked for."""


def has_publishers_name(card: Card, name: str) -> bool:
    """Whether a file or folder has a name that the publisher gives to this set."""
    patterns = (*card.access.compact, *card.access.full)
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)


def _stem(path: Path) -> str:
    """Return an archive's name as it can be compared: publishers vary case and packing."""
    return path.name.split(".")[0].lower()


def is_archive_of(card: Card, path: Path) -> bool:
    """Whether a file has the name of an archive that the publisher packs this set in."""
    from csp_data.acquire.archive import is_archive  # here: importing csp_data does without its packages

    stems = {_stem(Path(entry.path)) for entry in card.downloads}
    return is_archive(path) and (_stem(path) in stems or has_publishers_name(card, path.name))


def find_files(card: Card, folder: Path, origin: Callable[[Path], str] = str) -> dict[str, Path]:
    """Find the files of a data set below a folder.

    Parameters
    ----------
    card
        The data set.
    folder
        Anything that holds it: the publisher's folder, one that holds several sets, an unpacked archive.
    origin
        What messages call the folder and the files in it, where a person knows them by other names.

    Returns
    -------
    dict
        From the path below the raw root to the file.

    Raises
    ------
    MissingDataError
        If there is nothing of it, saying what the folder looks like instead.
    """
    found: dict[str, Path] = {}
    for start in _folders_of_set(card, folder, origin):
        files = _find_listed(card, start) if card.files else {}
        if card.unlisted == "used":
            listed = set(files.values())
            for recording in without_other_simulations(card, start, find_in(card, start)):
                unlisted = (file for file in recording.files if file.is_file() and file not in listed)
                files |= {file.relative_to(start).as_posix(): file for file in unlisted}
        for name, file in files.items():
            if name in found and digest_file(found[name]) != digest_file(file):
                both = f"{origin(found[name])} and {origin(file)}"
                raise VerificationError(f"{both} are both {name} of {card.name}, with different bytes. Keep one.")
            found.setdefault(name, file)
    if not found:
        what = f"Recordings of {card.name} ({load_source(card).layout})"
        raise MissingDataError(what, origin(folder), f"{contents(card, folder)} {prose(card.obtain)}")
    return found


def unpacked_files(card: Card, folder: Path) -> dict[str, Path]:
    """Return the files of an unpacked archive of the publisher, by the names that :func:`find_files` would give.

    Where the card lists what is inside, these are what it lists; else all, since parts of one recording can come
    in several archives, and a reader finds it only when all are there.
    """
    starts = _folders_of_set(card, folder)
    if lists_contents(card):
        return {name: file for start in starts for name, file in _find_listed(card, start).items()}
    return {
        file.relative_to(start).as_posix(): file
        for start in starts
        for file in sorted(start.rglob("*"))
        if file.is_file() and not is_own(file.name)
    }


def lists_contents(card: Card) -> bool:
    """Whether a card says by digests what is in its archives: files without an address of their own."""
    inside = [entry for entry in card.files if not (entry.url or entry.drive)]
    known = all(entry.sha256 or entry.git_blob for entry in inside)
    return bool(inside) and known and card.unlisted != "used"


def _folders_of_set(card: Card, folder: Path, origin: Callable[[Path], str] = str) -> list[Path]:
    """Return the publisher's folders of this set where they can be told by name, or else the folder itself."""
    named = [path for path in _folders(folder, DEPTH) if has_publishers_name(card, path.name)]
    if named:
        return [path for path in named if not any(other in path.parents for other in named)]
    if has_publishers_name(card, folder.name):
        return [folder]
    other = _named_like_another(card, [folder, *_folders(folder, DEPTH)])
    if other is not None:
        raise MissingDataError(
            f"Recordings of {card.name}",
            origin(folder),
            f"{other[1].name} is the name of a folder of {other[0]}: csp-data import {other[0]}.",
        )
    return [folder]


def _named_like_another(card: Card, folders: Sequence[Path]) -> tuple[str, Path] | None:
    for name in names():
        if name != card.name:
            for path in folders:
                if has_publishers_name(load_card(name), path.name):
                    return name, path
    return None


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    if depth:
        for path in sorted(path for path in folder.iterdir() if path.is_dir()):
            yield path
            yield from _folders(path, depth - 1)


def _find_listed(card: Card, folder: Path) -> dict[str, Path]:
    """Find the files that the card lists, wherever they lie, whatever the case of their names; the upper ones."""
    by_parts = {tuple(entry.path.lower().split("/")): entry.path for entry in card.files}
    depths = {len(parts) for parts in by_parts}
    found: dict[str, Path] = {}
    files = sorted(
        (path for path in folder.rglob("*") if path.is_file()), key=lambda path: (len(path.parts), path)
    )
    for file in files:  # a copy further down is a backup, or of another version
        parts = tuple(part.lower() for part in file.relative_to(folder).parts)
        for depth in depths:
            if (name := by_parts.get(parts[-depth:])) is not None:
                found.setdefault(name, file)
    return found


def place(source: Path, target: Path, how: How) -> None:
    """Put a file where it belongs, in one step: it is there whole, or not.

    Parameters
    ----------
    source, target
        From where to where. What stands at the target is replaced.
    how
        ``"copy"``; ``"move"``; ``"link"``: a hard link, or a copy where the disk cannot link.

    Raises
    ------
    CspDataError
        If it cannot be read or written.
    """
    part = part_of(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # of a link: what it leads to is brought, and stays where it is
        if how == "move" and not source.is_symlink() and _possible(lambda: source.replace(target)):
            return
        part.unlink(missing_ok=True)
        if not (how == "link" and _possible(lambda: os.link(source.resolve(), part))):
            with source.open("rb") as origin, open_new(part) as copy:
                shutil.copyfileobj(origin, copy, 1 << 20)
                copy.flush()
                os.fsync(copy.fileno())
        part.replace(target)
        sync_folder(target.parent)
        if how == "move":
            source.unlink()
    except OSError as error:
        part.unlink(missing_ok=True)
        raise CspDataError(
            f"{source} cannot be brought to {target}: {error.strerror or error}. Check the rights and"
            " the room there, and run the command again."
        ) from error


def _possible(act: Callable[[], object]) -> bool:
    """Whether an act of the file system is possible between these two places."""
    try:
        act()
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            return False
        raise
    return True
