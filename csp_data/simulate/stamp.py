"""The file at the root of every simulated tree that says what it is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from csp_data.files import read_json
from csp_data.simulate.plan import Task

__all__ = ["GENERATOR_VERSION", "STAMP", "carry_stamp", "read_stamp", "simulates", "stamped", "write_stamp"]

STAMP = "SIMULATED.json"
"""Name of the file. A tree that holds it holds no measurement."""

GENERATOR_VERSION = 1
"""Raised when the same name, hours and seed give other files."""


def write_stamp(root: Path, name: str, hours: float, seed: int, compressed: bool, tasks: Sequence[Task]) -> None:
    """Write the stamp of a tree: how to make it again, and which recordings got which defect."""
    defects: dict[str, list[str]] = {}
    for task in tasks:
        if task.defect is not None:
            defects.setdefault(task.defect, []).append(task.id)
    content = {
        "simulated": True,
        "name": name,
        "hours": hours,
        "seed": seed,
        "compressed": compressed,
        "generator": "csp_data.simulate",
        "generator_version": GENERATOR_VERSION,
        "recordings": len(tasks),
        "seconds": round(sum(task.seconds for task in tasks), 3),
        "defects": defects,
    }
    (root / STAMP).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_stamp(root: Path) -> dict[str, Any] | None:
    """Return the stamp of a tree, or ``None`` where there is none.

    It is looked for in the folder, in all folders above it (a part of a simulated tree is simulated) and in all
    folders below it (so is a folder that holds one). A stamp that cannot be read still says that the tree is
    simulated; then only ``simulated`` is given.

    Parameters
    ----------
    root
        Folder of raw files.
    """
    root = root.resolve()
    stamp = _at_or_above(root) or next(root.rglob(STAMP), None)
    return None if stamp is None else _content(stamp)


def simulates(root: Path) -> str | None:
    """Return which data set the tree is a simulation of that `root` is or lies in; ``None`` if of none."""
    stamp = _at_or_above(root.resolve())
    return None if stamp is None else stamped(stamp.parent)


def _at_or_above(folder: Path) -> Path | None:
    return next((place / STAMP for place in (folder, *folder.parents) if (place / STAMP).exists()), None)


def stamped(folder: Path) -> str | None:
    """Return which data set the stamp in a folder names, ``None`` where there is none."""
    name = _content(folder / STAMP).get("name") if (folder / STAMP).exists() else None
    return name if isinstance(name, str) else None


def carry_stamp(files: Iterable[Path], root: Path) -> None:
    """Mark `root` as simulated, if one of the files that are to be brought there is.

    A file is simulated if its folder, or one above it, has a stamp; so is a link to it. One simulated file makes
    the whole root simulated: nothing in it can be taken for a measurement.
    """
    folders = {place.parent for file in files for place in _places(file.absolute())}
    above = dict.fromkeys(folder for own in sorted(folders) for folder in (own, *own.parents))
    stamp = next((folder / STAMP for folder in above if (folder / STAMP).exists()), None)
    if stamp is not None and read_stamp(root) is None:
        (root / STAMP).write_text(json.dumps(_content(stamp), indent=1) + "\n", encoding="utf-8")


def _places(file: Path) -> Iterator[Path]:
    """Yield a file and, if it is a link, each that it leads to; at last the place where it really is."""
    yield file
    while file.is_symlink():
        file = file.parent / file.readlink()
        yield file
    yield file.resolve()


def _content(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (OSError, ValueError):
        content = {}
    return {**content, "simulated": True} if isinstance(content, dict) else {"simulated": True}
