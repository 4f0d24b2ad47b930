"""What unfinished work leaves in and beside a raw folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from csp_data.errors import CspDataError
from csp_data.home import lock, named

__all__ = ["LEFTOVER_ENDINGS", "clean", "delete", "incoming_dir", "leftovers", "part_of", "sidecar_of"]

LEFTOVER_ENDINGS = (".part", ".part.json", ".part.new")
"""Endings of the files that this toolkit itself leaves when it is killed, and deletes when asked to clean."""


def part_of(target: Path) -> Path:
    """Return where the bytes of a file or folder lie until it is whole."""
    return target.with_name(target.name + ".part")


def sidecar_of(target: Path) -> Path:
    """Return what remembers whose bytes a part file holds."""
    return target.with_name(target.name + ".part.json")


def incoming_dir(root: Path) -> Path:
    """Return where unfinished work of a raw folder lies: beside it, so that no reader finds it.

    Raises
    ------
    CspDataError
        If a link stands there: what is deleted in that folder might be anybody's, in a home that others write to.
    """
    folder = _beside(root)
    if folder.is_symlink():
        raise CspDataError(
            f"{folder} is a link, and what arrives is unpacked and deleted there. Delete the link. For more room, "
            f"let {root} be a folder of another disk (--raw)."
        )
    return folder


def _beside(root: Path) -> Path:
    root = named(root)
    return root.with_name(root.name + ".incoming")


def leftovers(root: Path) -> list[Path]:
    """Return what unfinished work left in and beside a raw folder."""
    incoming = _beside(root)
    paths = [incoming] if incoming.exists() and not incoming.is_symlink() else []
    if root.is_dir():
        paths += sorted(
            file for file in root.rglob("*") if file.is_file() and file.name.endswith(LEFTOVER_ENDINGS)
        )
    return paths


def clean(root: Path) -> list[Path]:
    """Delete what unfinished work left in and beside a raw folder; return what was deleted.

    Raises
    ------
    CspDataError
        If it cannot be deleted.
    """
    with lock(root):
        paths = leftovers(root)
        for path in paths:
            delete(path)
    return paths


def delete(path: Path) -> None:
    """Delete a file or a folder.

    Raises
    ------
    CspDataError
        If it cannot be deleted.
    """
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise CspDataError(
            f"cannot delete {path}: {error}. Check who owns it, and run the command again."
        ) from error
