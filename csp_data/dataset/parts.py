"""The parts of a data set, their windows and their episodes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, overload

import numpy as np
import numpy.typing as npt

from csp_data.errors import UnknownNameError
from csp_data.recording import equal_fields
from csp_data.store import EpisodeRow
from csp_data.terminal import count_of

if TYPE_CHECKING:
    from csp_data.dataset.dataset import Dataset

__all__ = ["Episode", "Episodes", "Split", "Windows"]


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode, or a window of one.

    Parameters
    ----------
    id
        Name of the recording; behind a dot the number of the piece, where a gap cuts it into several.
    group
        What is held out whole: a subject, an object or a session.
    split
        Name of the part: ``"train"``, ``"val"``, ``"test"``, ...
    inputs : array, shape (T, C), float32
        One row per input sample, in physical units: those of ``Dataset.channels``.
    targets : array, shape (T / chunk, D), float32
        Row k is the target of chunk k, whose inputs are the rows ``k * chunk`` to ``(k + 1) * chunk - 1``; in the
        units of ``Dataset.targets``.
    time : array, shape (T,), float64
        Of each input, in seconds on the recording's clock.
    target_time : array, shape (T / chunk,), float64
        End of each chunk, in seconds on the same clock.
    """

    id: str
    group: str
    split: str
    inputs: npt.NDArray[np.float32]
    targets: npt.NDArray[np.float32]
    time: npt.NDArray[np.float64]
    target_time: npt.NDArray[np.float64]

    def __eq__(self, other: object) -> bool:
        return equal_fields(self, other) if isinstance(other, Episode) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.id, self.group, self.split, self.inputs.shape, self.targets.shape))

    def __repr__(self) -> str:
        return f"<Episode {self.id}, {self.split}: inputs {self.inputs.shape}, targets {self.targets.shape}>"

    def _repr_html_(self) -> str:
        from csp_data.dataset.html import episode_html

        return episode_html(self)


class Episodes(Sequence[Episode], ABC):
    """Episodes that are read from the file when asked for: one by its number, or several by a slice."""

    @abstractmethod
    def _read(self, index: int) -> Episode: ...

    @overload
    def __getitem__(self, index: int) -> Episode: ...
    @overload
    def __getitem__(self, index: slice) -> list[Episode]: ...
    def __getitem__(self, index: int | slice) -> Episode | list[Episode]:
        """Read one episode, or several."""
        if isinstance(index, slice):
            return [self._read(i) for i in range(*index.indices(len(self)))]
        return self._read(index)


class Split(Episodes):
    """The episodes of one part: a sequence of :class:`Episode`, read from the file on access.

    An episode is found by its number or its id.

    Parameters
    ----------
    dataset
        The data set.
    name
        One of its ``parts``: ``"train"``, ``"val"``, ``"test"``, ...
    """

    def __init__(self, dataset: Dataset, name: str) -> None:
        self.dataset, self.name = dataset, name
        self._episodes = dataset._numbers_by_part[name]

    @cached_property
    def rows(self) -> tuple[EpisodeRow, ...]:
        """Ids, groups and extents of the episodes, without their samples."""
        return tuple(self.dataset.episodes[i] for i in self._episodes)

    @property
    def groups(self) -> frozenset[str]:
        """Groups of the part; no other part holds any of them."""
        return frozenset(row.group for row in self.rows)

    @property
    def seconds(self) -> float:
        """Length of all episodes in seconds."""
        return sum(row.target_stop - row.target_start for row in self.rows) / self.dataset.targets.rate_hz

    def __len__(self) -> int:
        return len(self._episodes)

    @overload
    def __getitem__(self, index: int | str) -> Episode: ...
    @overload
    def __getitem__(self, index: slice) -> list[Episode]: ...
    def __getitem__(self, index: int | str | slice) -> Episode | list[Episode]:
        """Read one episode, by its number or its id, or several."""
        if isinstance(index, str):
            if index not in self._index:
                raise UnknownNameError(f"episode of {self.name}", index, list(self._index))
            index = self._index[index]
        return super().__getitem__(index)

    def __contains__(self, item: object) -> bool:
        """Whether the part has an episode, or one of that id."""
        return item in self._index if isinstance(item, str) else super().__contains__(item)

    @cached_property
    def _index(self) -> dict[str, int]:
        """Number of each episode by its id."""
        return {row.id: i for i, row in enumerate(self.rows)}

    def _read(self, index: int) -> Episode:
        row = self.dataset.episodes[self._episodes[index]]
        return self.dataset.read(row, row.target_start, row.target_stop)

    def __iter__(self) -> Iterator[Episode]:
        """Read all episodes, see :meth:`Dataset.read_rows`."""
        return self.dataset.read_rows(self.rows)

    @cached_property
    def windows(self) -> Windows:
        """The windows of the protocol over these episodes; whole episodes when it has none."""
        return Windows(self)

    def __repr__(self) -> str:
        return f"<Split {self.name}: {count_of(len(self), 'episode')}, {self.seconds / 60:.1f} min>"


class Windows(Episodes):
    """Windows over the episodes of a part, each an :class:`Episode` that shares its episode's id."""

    def __init__(self, split: Split) -> None:
        self.dataset, self.name = split.dataset, split.name
        table = self.dataset.prepared.index.windows
        rows = self.dataset.episodes
        if table is None:
            spans = [(i, rows[i].target_start, rows[i].target_stop) for i in split._episodes]
            self._spans = np.array(spans, dtype=np.int64).reshape(-1, 3)
        else:
            in_part = np.zeros(len(rows), dtype=bool)
            in_part[split._episodes] = True
            self._spans = table[in_part[table[:, 0]]][:, [0, 3, 4]]

    def __len__(self) -> int:
        return len(self._spans)

    def span(self, index: int) -> tuple[EpisodeRow, int, int]:
        """Return the episode of a window, and its target rows ``[start, stop)`` of the file."""
        episode, start, stop = self._spans[index].tolist()
        return self.dataset.episodes[episode], start, stop

    def _read(self, index: int) -> Episode:
        return self.dataset.read(*self.span(index))

    def __repr__(self) -> str:
        steps = int((self._spans[:, 2] - self._spans[:, 1]).sum())
        return f"<Windows of {self.name}: {len(self)}, {steps / self.dataset.targets.rate_hz / 60:.1f} min>"
