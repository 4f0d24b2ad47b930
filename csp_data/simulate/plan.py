"""What is to be simulated: one task a recording, drawn before any is made."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["DEFECT_RATE", "Simulation", "Task", "allot", "draw_defects", "generator"]

DEFECT_RATE = 0.01
"""Share of the recordings that get each of their source's known defects."""


@dataclass(frozen=True)
class Task:
    """One recording to simulate.

    Parameters
    ----------
    id
        Unique within the tree; its random numbers depend on it and the seed alone.
    seconds
        Length.
    seed
        Of the tree.
    group
        What recordings share: box, subject, subset.
    kind
        How it moves, in the words of its source.
    defect
        Known defect that it gets, or ``None``.
    compressed
        Whether HDF5 arrays are stored with gzip.
    archived
        Whether the files are meant for the publisher's archives.
    """

    id: str
    seconds: float
    seed: int
    group: str = ""
    kind: str = ""
    defect: str | None = None
    compressed: bool = False
    archived: bool = False

    def rng(self) -> np.random.Generator:
        """Return the recording's own random numbers."""
        return generator(self.seed, self.id)


@dataclass(frozen=True)
class Simulation:
    """What a simulated source offers, as its constant ``SIMULATION``.

    Parameters
    ----------
    hours
        About how much the publisher recorded: the full size.
    plan
        From hours, seed and the plan's random numbers to the tasks.
    write
        Writes the files of one task below the root.
    archive
        Packs what the tasks wrote into the publisher's archives, a copy of the root's stamp in each; ``None``
        where the publisher has none.
    """

    hours: float
    plan: Callable[[float, int, np.random.Generator], list[Task]]
    write: Callable[[Path, Task], None]
    archive: Callable[[Path, Sequence[Task]], None] | None = None


def generator(seed: int, name: str) -> np.random.Generator:
    """Return random numbers that depend on a seed and a name alone, whoever draws them and when."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def allot(hours: float, mean_seconds: float, least: int) -> int:
    """Return how many recordings of a mean length make up so many hours, and `least` at least."""
    return max(least, round(hours * 3600 / mean_seconds))


def draw_defects(rng: np.random.Generator, count: int, kinds: Sequence[str]) -> list[str | None]:
    """Return for each recording its defect or ``None``; each kind stands at :data:`DEFECT_RATE`."""
    draws = rng.random(count)
    table: list[str | None] = [None] * count
    for k, kind in enumerate(kinds):
        for i in np.flatnonzero((draws >= k * DEFECT_RATE) & (draws < (k + 1) * DEFECT_RATE)):
            table[i] = kind
    return table
