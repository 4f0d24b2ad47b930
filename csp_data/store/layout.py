"""What a prepared file holds: its tables and attributes, as the writer takes them and the reader gives them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from csp_data._version import __version__
from csp_data.normalization import Normalization
from csp_data.windows import IntArray

__all__ = [
    "CRC32",
    "FORMAT",
    "FORMAT_VERSION",
    "WINDOW_COLUMNS",
    "Channels",
    "EpisodeRow",
    "Header",
    "Index",
    "crc32",
]

FORMAT = "csp-data"
FORMAT_VERSION = 1
WINDOW_COLUMNS = ("episode", "input_start", "input_stop", "target_start", "target_stop")
CRC32 = {"inputs": "input_crc32", "targets": "target_crc32"}
"""Column of ``/episodes`` with the checksums of each episode's rows of an array."""


def crc32(values: npt.ArrayLike, kind: str, before: int = 0) -> int:
    """Return the CRC-32 of numbers as a type of so many bytes, after those that gave the one before."""
    return zlib.crc32(np.ascontiguousarray(values, dtype=kind).data, before)


@dataclass(frozen=True)
class Channels:
    """Names, units and rate of the columns of ``/inputs`` or ``/targets``.

    Parameters
    ----------
    names, units
        One entry a column: its name, and the unit of its values (``"m/s^2"``, ``"rad/s"``, ``"uT"``, ...).
    rate_hz
        Rows a second, in Hz.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    rate_hz: float


@dataclass(frozen=True)
class Header:
    """The root attributes of a prepared file: what it was made from, and how.

    ``protocol`` and ``provenance`` are JSON; the latter names every raw file, and is read only when asked for.
    ``input_checks`` counts how often the checks of raw inputs have become stricter before the file was made; files
    of earlier versions do not say it, and have 0.
    """

    dataset: str
    protocol: str
    recipe_hash: str
    source_digest: str
    provenance: str
    input_checks: int = 0
    created_by: str = f"csp-data {__version__}"
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True)
class EpisodeRow:
    """Where one episode lies: rows ``[start, stop)`` of inputs and targets, and its time of origin.

    ``start_s`` is the time of the first chunk's beginning on the recording's own clock. A recording with gaps is
    several episodes, numbered behind a dot; ``recording`` is its id.
    """

    id: str
    group: str
    split: str
    input_start: int
    input_stop: int
    target_start: int
    target_stop: int
    start_s: float
    recording: str


@dataclass(frozen=True)
class Index:
    """All tables of a prepared file, without its samples.

    ``windows`` has the columns episode, input_start, input_stop, target_start, target_stop (rows of the whole
    arrays), or is ``None``. ``crc32`` has the checksums of the rows of each episode by the name of the array;
    files of earlier versions have none.
    """

    header: Header
    inputs: Channels
    targets: Channels
    episodes: tuple[EpisodeRow, ...]
    windows: IntArray | None
    normalization: Normalization
    crc32: Mapping[str, npt.NDArray[np.uint32]] = field(default_factory=dict)

    def tables_crc32(self) -> int:
        """Return the CRC-32 of everything but the samples, as docs/format.md lays it down.

        Later fields must not count: files are made without them.
        """
        header, both = self.header, (self.inputs, self.targets)
        affines = (self.normalization.inputs, self.normalization.targets)
        texts = [
            *(header.dataset, header.protocol, header.recipe_hash, header.source_digest),
            *(header.provenance, header.created_by),
            *(text for channels in both for text in (*channels.names, *channels.units)),
            *(text for row in self.episodes for text in (row.id, row.group, row.split, row.recording)),
        ]
        whole: list[Any] = [
            (header.format_version, header.input_checks),
            [(row.input_start, row.input_stop, row.target_start, row.target_stop) for row in self.episodes],
            () if self.windows is None else self.windows,
        ]
        real: list[Any] = [
            [channels.rate_hz for channels in both],
            [row.start_s for row in self.episodes],
            *(values for affine in affines for values in (affine.shift, affine.scale)),
        ]
        crc = zlib.crc32("".join(f"{text}\0" for text in texts).encode("utf-8", "surrogateescape"))
        for numbers, kind in ((whole, "<i8"), (real, "<f8")):
            for values in numbers:
                crc = crc32(values, kind, crc)
        return crc
