"""Plausible raw trees of every source, for tests, benchmarks and trying out. Nothing here is a measurement."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import cast

import joblib

from csp_data.errors import OptionError, UnknownNameError
from csp_data.home import expanded
from csp_data.options import check_count, check_number
from csp_data.output import output_folder
from csp_data.simulate.plan import Simulation, Task, generator
from csp_data.simulate.stamp import write_stamp

__all__ = ["NAMES", "full_hours", "simulate"]

NAMES: Mapping[str, str] = {
    name: f"csp_data.simulate.{name}" for name in ("marker", "slip", "joystick", "ronin", "vector", "totalcapture")
}
"""Module of every source that can be simulated, by name."""

LARGEST = 100
"""How many times what its publisher recorded a tree may have: much more would fill the memory, or the disk."""


def simulate(
    name: str,
    out: Path | str,
    *,
    hours: float = 0.1,
    seed: int = 0,
    jobs: int = 1,
    compressed: bool = False,
    archives: bool = False,
) -> Path:
    """Write plausible raw files of a source, in the layout in which its publisher hands them out.

    The same name, hours and seed give the same bytes, whatever `jobs`. The tree is made beside `out` and takes its
    place when it is complete; its root holds the stamp ``SIMULATED.json``, which says that nothing in it was
    measured.

    Parameters
    ----------
    name
        ``"marker"``, ``"slip"``, ``"joystick"``, ``"ronin"``, ``"vector"`` or ``"totalcapture"``.
    out
        Folder to make; it may exist if it is empty.
    hours
        How much to record, in hours. It sets the number of recordings, or their lengths where a source has a
        fixed list of them. No tree is smaller than one that has a recording for every part of every split.
    seed
        Seed of all random numbers, 0 or above.
    jobs
        Recordings that are made at once.
    compressed
        Store the arrays of HDF5 files with gzip: smaller by a fifth (ronin) to four fifths (joystick). Text files
        and their archives are not affected.
    archives
        Pack the files as the publisher does: ronin in four zips, totalcapture in two tars per subject.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    UnknownNameError
        With the list and the nearest name.
    OptionError
        If `hours`, `seed` or `jobs` is out of bounds, if `out` is there and not empty, or if
        `archives` is asked for where the publisher has none.
    CspDataError
        If it cannot be written.
    """
    source = _source(name)
    check_number("hours", hours, "a length above 0 h", above=0, below=math.inf)
    check_number("seed", seed, "a whole number, 0 or above", least=0, whole=True)
    most = LARGEST * source.hours
    check_number("hours", hours, f"at most {most:g} h, {LARGEST} times as much as was recorded", most=most)
    hours, seed = float(hours), int(seed)  # numpy's would end in the stamp, which is JSON
    check_count("jobs", jobs)
    if archives and source.archive is None:
        raise OptionError("archives", archives, f"no archives of {name}", "Its publisher hands out single files.")
    path = expanded(out, "out")
    tasks = source.plan(hours, seed, generator(seed, f"plan {name}"))
    tasks = [replace(task, compressed=compressed, archived=archives) for task in tasks]
    with output_folder(path) as made:
        joblib.Parallel(n_jobs=jobs)(joblib.delayed(_write)(name, made, task) for task in tasks)
        write_stamp(made, name, hours, seed, compressed, tasks)
        if archives and source.archive is not None:
            source.archive(made, tasks)
    return path


def full_hours(name: str) -> float:
    """Return about how many hours the publisher of a source recorded."""
    return _source(name).hours


def _source(name: str) -> Simulation:
    if not isinstance(cast("object", name), str) or name not in NAMES:
        raise UnknownNameError("simulated data set", name, NAMES)
    source: Simulation = import_module(NAMES[name]).SIMULATION
    return source


def _write(name: str, root: Path, task: Task) -> None:
    _source(name).write(root, task)
