"""One module a source: find its files, read them into Recordings, define its targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from csp_data.card import Card, load_card, names
from csp_data.protocol import Protocol
from csp_data.recording import FloatArray, Recording

__all__ = ["Found", "InputFunction", "Source", "TargetFunction", "load_source", "recognise"]

TargetFunction = Callable[[Mapping[str, FloatArray]], FloatArray]
"""From the reference streams at the N + 1 chunk edges, name -> (N + 1, C), to the N targets (N, D)."""

InputFunction = Callable[[FloatArray], FloatArray]
"""From an input stream on the grid (T, C) to the columns that a model sees (T, C')."""


@dataclass(frozen=True)
class Found:
    """A recording that has been found but not read.

    Parameters
    ----------
    id, group
        As in :class:`~csp_data.recording.Recording`.
    files
        The files it is read from, the main one first.
    """

    id: str
    group: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Source:
    """What a source module offers, as its constant ``SOURCE``.

    Parameters
    ----------
    find
        From the raw root to the recordings there, in a stable order. Reads names, not contents.
    read
        From a found recording, its card and a protocol to the streams that the card names. Raises
        :class:`~csp_data.errors.DamagedRecordingError` for what is missing, truncated or unreadable.
    layout
        The files that `find` looks for, in words, for messages.
    targets
        The function of each target of the card, by name. It gives increments per step; the pipeline divides by
        the step when the protocol wants them per second.
    inputs
        The function of each input stream that has derived columns, by name.
    """

    find: Callable[[Path], list[Found]]
    read: Callable[[Found, Card, Protocol], Recording]
    layout: str
    targets: Mapping[str, TargetFunction]
    inputs: Mapping[str, InputFunction] = field(default_factory=dict)


def load_source(card: Card) -> Source:
    """Return the source that reads a card's data set."""
    source: Source = import_module(f"csp_data.sources.{card.source}").SOURCE
    return source


def recognise(root: Path) -> dict[str, int]:
    """Return which data sets a folder looks like: the number of recordings of each, the most first."""
    counts = {name: len(load_source(load_card(name)).find(root)) for name in names()}
    return dict(sorted(((name, count) for name, count in counts.items() if count), key=lambda item: -item[1]))
