"""One module a source: find its files, read them into Recordings, define its targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from csp_data.card import Card
from csp_data.recording import FloatArray, Recording

__all__ = ["Found", "Source", "TargetFunction", "load_source"]

TargetFunction = Callable[[Mapping[str, FloatArray]], FloatArray]
"""From the reference streams at the N + 1 chunk edges, name -> (N + 1, C), to the N targets (N, D)."""


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
        From a found recording and its card to the streams that the card names. Raises
        :class:`~csp_data.errors.DamagedRecordingError` for what is missing, truncated or unreadable.
    targets
        The function of each target of the card, by name. It gives increments per step; the pipeline divides by
        the step when the protocol wants them per second.
    """

    find: Callable[[Path], list[Found]]
    read: Callable[[Found, Card], Recording]
    targets: Mapping[str, TargetFunction]


def load_source(card: Card) -> Source:
    """Return the source that reads a card's data set."""
    source: Source = import_module(f"csp_data.sources.{card.source}").SOURCE
    return source
