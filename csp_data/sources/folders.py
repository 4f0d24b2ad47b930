"""The folders of a raw tree, with those that are linked into it from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["walk_folders"]


def walk_folders(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder below a root, itself included, with the names of its files.

    A link to a folder elsewhere is looked into, once, after all that is not linked: large recordings often lie on
    another disk. A link to what is looked at anyhow is not, or recordings would be there twice, or without end.
    """
    roots = [os.path.realpath(root)]  # whatever lies below one of these is looked at
    to_visit, links = [str(root)], list[str]()
    while to_visit or links:
        if not to_visit:
            links.sort(reverse=True)  # so that of two links to one folder always the same one counts
            link = links.pop()
            target = os.path.realpath(link)
            if not any(_is_within(target, other) or _is_within(other, target) for other in roots):
                roots.append(target)
                to_visit.append(link)
            continue
        folder = to_visit.pop()
        names = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:  # not os.walk, which looks at every folder's own status
                    if entry.is_dir(follow_symlinks=False):
                        to_visit.append(entry.path)
                    elif entry.is_symlink() and entry.is_dir():
                        links.append(entry.path)
                    else:
                        names.append(entry.name)
        except OSError:
            continue
        yield folder, names


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(os.path.join(folder, ""))  # noqa: PTH118  # with a separator at its end
