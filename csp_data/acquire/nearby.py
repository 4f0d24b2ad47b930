"""What lies in and around a raw folder: archives, other data sets, simulations, and a folder that fits better."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from csp_data.card import Card, bundled_root
from csp_data.home import raw_dir
from csp_data.simulate.stamp import STAMP, simulates, stamped
from csp_data.sources import Found, find_in, recognise
from csp_data.terminal import count_of

__all__ = ["better_folder", "contents", "other_places", "without_other_simulations"]

DEPTH = 3
"""Folders up, and folders down."""
FOLDERS = 500
"""Folders below that are looked at."""
ENTRIES = 20_000
"""Files and folders of a folder above that are looked at: it may be a whole disk."""


def without_other_simulations(card: Card, root: Path, found: Sequence[Found]) -> list[Found]:
    """Return the recordings that do not lie in a simulation of another data set below the root.

    Readers cannot tell: marker and slip recordings have the same files.
    """
    if card.reader is not None:
        return list(found)
    names: dict[str, str | None] = {str(root): None, "": None}

    def simulated(folder: str) -> str | None:
        if folder not in names:
            there = os.path.exists(f"{folder}/{STAMP}")  # noqa: PTH110  # a third of the time of Path's
            stamp = stamped(Path(folder)) if there else None
            names[folder] = stamp or simulated(folder.rpartition(os.sep)[0])
        return names[folder]

    mine = (None, card.name, card.source)
    return [recording for recording in found if simulated(str(recording.files[0].parent)) in mine]


def contents(card: Card, folder: Path) -> str:
    """Say what lies in a folder without recordings of a data set, and of which others it looks like one."""
    inside = sorted(entry.name for entry in folder.iterdir())
    there = f"{', '.join(inside[:5]) or 'nothing'}{' and more' if len(inside) > 5 else ''}"
    simulated = simulates(folder)
    others = ", ".join(
        f"{name} ({count_of(count, 'recording')})"
        for name, count in recognise(folder).items()
        if name != card.name and simulated in (None, name)
    )
    return f"What is there: {there}.{f' It looks like {others}.' if others else ''}"


def other_places(card: Card, root: Path) -> str:
    """Say where more of a data set is than in `root`: in another folder, or in archives; ``""`` if nowhere."""
    return " ".join(filter(None, (better_folder(card, root), _packed(card, root))))


def better_folder(card: Card, root: Path) -> str:
    """Say which folder inside or above `root` has more of a data set than `root`; ``""`` if none does."""
    here = _count(card, root)
    below = {folder: _count(card, folder) for folder in islice(_below(root), FOLDERS)}
    best = max(below, key=below.__getitem__, default=root)
    most = below.get(best, 0)
    if most <= here or _is_part_of_another(card, root, best, below):
        best, most = root, here
    if best == root:
        for folder in _above(card, root):
            if (count := _count(card, folder)) > here:
                best, most = folder, count
                break  # the nearest: further up lies what belongs to others
    if best == root:
        return ""
    what = f"{most} of its {len(card.files)} files" if card.files else f"{most} recordings"
    seem = f"{best} has {what}" + (f", {root} only {here}" if here else "")
    return f"{seem}: pass that folder as raw= (--raw {shlex.quote(str(best))})."


def _packed(card: Card, root: Path) -> str:
    """Say how to unpack the archives of a data set in a folder, of which only names count; ``""`` without any."""
    from csp_data.acquire.place import is_archive_of  # here: it needs this module

    archives = sorted(entry for entry in root.iterdir() if is_archive_of(card, entry) and entry.is_file())
    if not archives or bundled_root(card) is not None:
        return ""
    own = raw_dir(card.name)
    place = "" if root == own else f" into {own}; then leave raw= (--raw) out"
    return (
        f"Its archives are there ({archives[0].name}{', ...' if archives[1:] else ''}): run csp-data import "
        f"{card.typed} {shlex.quote(str(root))}, which unpacks them{place}."
    )


def _is_part_of_another(card: Card, root: Path, best: Path, counts: dict[Path, int]) -> bool:
    """Whether a folder has recordings only as all those beside it do, all of which are one of another set.

    One box of slip is like a set of marker recordings.
    """
    alike = [folder for folder, count in counts.items() if count and folder.parent == best.parent]
    together = sum(counts[folder] for folder in alike)
    return len(alike) > 1 and any(
        count >= together for name, count in recognise(root).items() if name != card.name
    )


def _count(card: Card, folder: Path) -> int:
    """Return how many of a data set's files lie where its card has them, or of its recordings."""
    with suppress(Exception):  # a reader from outside, which knows nothing of such a folder, may raise anything
        if card.reader is None and simulates(folder) not in (None, card.name, card.source):
            return 0
        if card.files:
            return sum((folder / entry.path).is_file() for entry in card.files)
        return len(without_other_simulations(card, folder, find_in(card, folder)))
    return 0


def _below(root: Path) -> Iterator[Path]:
    """Yield the folders below, the upper ones first."""
    level = [root]
    for _ in range(DEPTH):
        inside: list[Path] = []
        for folder in level:
            with suppress(OSError):
                inside += sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
        yield from inside
        level = inside


def _above(card: Card, root: Path) -> Iterator[Path]:
    """Yield the folders above, the nearest first, but no large ones whose files must be listed."""
    for folder in islice(root.absolute().parents, DEPTH):
        walk = (len(folders) + len(files) for _, folders, files in os.walk(folder))
        if not card.files and _exceeds(walk, ENTRIES):
            return
        yield Path(os.path.relpath(folder)) if not root.is_absolute() else folder


def _exceeds(counts: Iterator[int], most: int) -> bool:
    total = 0
    for count in counts:
        total += count
        if total > most:
            return True
    return False
