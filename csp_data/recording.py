"""Stream and Recording: the one type that flows from the readers to the prepared file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from csp_data.card import StreamCard

__all__ = ["FloatArray", "Note", "Recording", "Stream", "equal_fields"]

FloatArray = npt.NDArray[np.float64]


def equal_fields(one: Any, other: Any) -> bool:
    """Tell whether two dataclasses of one kind hold the same; of arrays, ``==`` alone would give arrays."""
    pairs = ((getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
    return all(
        np.array_equal(mine, its, equal_nan=True) if isinstance(mine, np.ndarray) else mine == its
        for mine, its in pairs
    )


@dataclass(frozen=True, eq=False)
class Stream:
    """What one sensor measured, at its own times.

    Parameters
    ----------
    time : array, shape (T,)
        Seconds, increasing; any origin, the same for all streams of a recording.
    values : array, shape (T, C)
        One row per sample. Quaternions are w x y z.
    channels
        Names of the C columns.
    unit
        Unit of all columns, for instance ``"m/s^2"``.
    role
        ``"input"`` streams are resampled to the input rate and make up the model's input, ``"reference"``
        streams are the measured truth and make up the target.
    kind
        ``"vector"`` values are interpolated column by column, ``"rotation"`` values are unit quaternions.
    """

    time: FloatArray
    values: FloatArray
    channels: tuple[str, ...]
    unit: str
    role: Literal["input", "reference"]
    kind: Literal["vector", "rotation"] = "vector"

    @classmethod
    def of(cls, card: StreamCard, time: FloatArray, values: FloatArray) -> Stream:
        """Make the stream that a card describes from its times (T,) and values (T, C)."""
        return cls(time, values, card.channels, card.unit, card.role, card.kind)

    def select(self, rows: npt.NDArray[np.bool_] | slice) -> Stream:
        """Return the stream with only some of its rows."""
        return replace(self, time=self.time[rows], values=self.values[rows])

    @property
    def span(self) -> tuple[float, float]:
        """First and last time, in seconds."""
        return float(self.time[0]), float(self.time[-1])

    def __eq__(self, other: object) -> bool:
        return equal_fields(self, other) if isinstance(other, Stream) else NotImplemented

    def __repr__(self) -> str:
        names = ", ".join(self.channels)
        return f"<Stream of {names} ({self.unit}), {self.role}: {len(self.time)} samples>"


@dataclass(frozen=True)
class Note:
    """Something that was dropped, repaired or left out on the way, for the provenance.

    Parameters
    ----------
    recording
        Id of the recording.
    what
        A short fixed phrase, the same for all notes of a kind (they are counted by it).
    detail
        Where and how much.
    kind
        ``"repair"``: samples or pieces were left out or mended; ``"drop"``: the protocol leaves the whole
        recording out; ``"skip"``: it could not be read, and preparing went on all the same; ``"warning"``: a
        person should look at it.
    """

    recording: str
    what: str
    detail: str = ""
    kind: Literal["repair", "drop", "skip", "warning"] = "repair"


@dataclass(frozen=True)
class Recording:
    """One recording as its source hands it over, before anything is resampled.

    Parameters
    ----------
    id
        Unique within the data set and stable: splits are pinned by it.
    group
        What must not be shared between train, val and test: a subject, an object, a trial.
    path
        Its file or folder, for messages.
    streams
        By name, as the card lists them.
    active
        Start and stop of the part worth keeping, in seconds, where the source marks it (rest at both ends left
        out); ``None`` where it does not.
    notes
        What the reader dropped or repaired.
    """

    id: str
    group: str
    path: Path
    streams: Mapping[str, Stream]
    active: tuple[float, float] | None = None
    notes: tuple[Note, ...] = ()

    def __repr__(self) -> str:
        samples = ", ".join(f"{name} {len(stream.time)}" for name, stream in self.streams.items())
        return f"<Recording {self.id}, group {self.group}: {samples} samples>"
