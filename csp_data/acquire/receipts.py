"""``csp-data.unpacked.json`` beside the raw files: which archives were unpacked there, and into which files."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from csp_data.acquire.archive import is_archive
from csp_data.acquire.lockfile import RECEIPTS_NAME, LockedSet
from csp_data.acquire.place import lists_contents
from csp_data.acquire.report import FileReport
from csp_data.card import Card
from csp_data.files import JSON_FAULTS, read_json

__all__ = ["outdated_archives", "read_receipts"]

logger = logging.getLogger(__name__)


def read_receipts(root: Path) -> dict[str, list[str]]:
    """Return which archives were unpacked below a root, and into which files."""
    try:
        rows = read_json(root / RECEIPTS_NAME)
        return {str(name): [str(file) for file in files] for name, files in rows.items()}
    except FileNotFoundError:
        return {}
    except JSON_FAULTS as error:
        logger.warning("%s is not used: archives are fetched again (%s)", root / RECEIPTS_NAME, error)
        return {}


def outdated_archives(card: Card, root: Path, locked: LockedSet, advice: str) -> Iterator[FileReport]:
    """Report archives that were unpacked below a root and are not those of the card: these are of another version.

    Only where the card states the digests of all its archives, and not what is inside them: else the files tell.
    """
    stated = {entry.path: entry.sha256 for entry in card.downloads if is_archive(Path(entry.path))}
    if not stated or not all(stated.values()) or lists_contents(card):
        return
    fix = f"What came out of it is of another version of {card.name}: delete {root}. Then: {advice}"
    for name in read_receipts(root):
        was = locked.archives.get(name)
        if was is None:  # of another data set in the same folder
            continue
        if name not in stated:
            expected, found = f"{' and '.join(stated)}, as the card states", f"what came out of {name}"
            yield FileReport(name, "altered", expected=expected, found=found, fix=fix)
        elif was.sha256 != stated[name]:
            expected, found = f"sha256 {stated[name]}", f"{was.sha256} when it was unpacked"
            yield FileReport(name, "altered", expected=expected, found=found, fix=fix)
