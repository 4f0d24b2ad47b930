"""What the three CSP-Bench recordings share: a folder a demonstration, an HDF5 file a sensor."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from csp_data.errors import DamagedRecordingError
from csp_data.recording import FloatArray, Note
from csp_data.sources.folders import walk_folders
from csp_data.sources.hdf5 import read_arrays

__all__ = ["find_demonstrations", "read_sensor"]


PUBLISHED = ("marker_writing", "intrinsic_slip", "joystick_control")
"""How the publisher's folders begin, one a data set; each ends in ``_dataset``."""


def find_demonstrations(root: Path, files: Sequence[str], published: str) -> list[tuple[str, tuple[Path, ...]]]:
    """Find the folders that hold one of some files, at any depth below a root.

    Parameters
    ----------
    root
        Folder of raw files, or one above it.
    files
        Names of a demonstration's files; the case of names on disk does not matter.
    published
        The one of :data:`PUBLISHED` that is looked for; what lies in a folder of another is left out.

    Returns
    -------
    list of (id, files)
        Sorted by id: the path below `root`, or below the last folder whose name ends in ``_dataset``. A file that
        is not there stands with the name it should have.
    """
    found = []
    wanted = set(files)
    others = tuple(name for name in PUBLISHED if name != published)
    above = [folder.name.lower() for folder in (root.absolute(), *root.absolute().parents)]
    outermost = next((name for name in above if name.startswith(PUBLISHED)), "")
    top = len(os.path.join(root, ""))  # noqa: PTH118  # with a separator at its end
    for folder, names in walk_folders(root):
        spelling = {name.lower(): name for name in names}
        if not wanted.isdisjoint(spelling):
            path = Path(folder)
            parts = folder[top:].split(os.sep)  # noqa: PTH206
            inside = [i for i, part in enumerate(parts) if part.lower().endswith("_dataset")]
            if (parts[inside[-1]].lower() if inside else outermost).startswith(others):
                continue
            id_ = "/".join(parts[inside[-1] + 1 :] if inside else parts) or path.name
            found.append((id_, tuple([path / spelling.get(name, name) for name in files])))
    return sorted(found)


def read_sensor(path: Path, id_: str, keys: Sequence[str]) -> tuple[FloatArray, list[FloatArray], list[Note]]:
    """Read arrays and their time stamps from a sensor's file.

    Values and time stamps of unequal length are both cut to the shorter, from the start, as the recorder stops one
    before the other.

    Parameters
    ----------
    path
        The HDF5 file.
    id_
        Of the recording, for the notes.
    keys
        Names of the arrays; the first axis is time.

    Returns
    -------
    time : array, shape (T,)
        Seconds since 1970.
    values : list of arrays, shape (T, ...)
    notes
        What was cut.

    Raises
    ------
    DamagedRecordingError
        If the file is missing or unreadable, lacks an array, or holds less than two samples.
    """
    arrays = read_arrays(path, ["timestamps", *keys])
    time, *values = arrays.values()
    lengths = [len(np.atleast_1d(array)) for array in (time, *values)]
    if time.ndim != 1 or min(lengths) < 2 or any(array.ndim < 2 for array in values):
        raise DamagedRecordingError(
            path,
            "shape of the arrays",
            "time (T,) and values (T, ...) with T of at least 2",
            str([a.shape for a in (time, *values)]),
        )
    notes = []
    if len(set(lengths)) > 1:
        detail = f"{path.name}: {lengths[0]} time stamps, {lengths[1]} values"
        notes.append(Note(id_, "values and time stamps of unequal length cut to the shorter", detail))
    shortest = min(lengths)
    return time[:shortest], [array[:shortest] for array in values], notes
