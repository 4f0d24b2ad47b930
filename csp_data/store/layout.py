"""What a prepared file holds: its tables and attributes, as the writer takes them and the reader gives them."""

from __future__ import annotations

from dataclasses import dataclass

from csp_data._version import __version__
from csp_data.normalization import Normalization
from csp_data.windows import IntArray

__all__ = ["FORMAT", "FORMAT_VERSION", "WINDOW_COLUMNS", "Channels", "EpisodeRow", "Header", "Index"]

FORMAT = "csp-data"
FORMAT_VERSION = 1
WINDOW_COLUMNS = ("episode", "input_start", "input_stop", "target_start", "target_stop")


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
    arrays), or is ``None``.
    """

    header: Header
    inputs: Channels
    targets: Channels
    episodes: tuple[EpisodeRow, ...]
    windows: IntArray | None
    normalization: Normalization
