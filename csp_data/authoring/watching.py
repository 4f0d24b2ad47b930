"""See which files a reader opens: a change of one that is not among the recording's files goes unnoticed."""

from __future__ import annotations

import os
import sys
from typing import Any

from csp_data.card import Card
from csp_data.protocol import resolve
from csp_data.recording import Recording
from csp_data.sources import Found, load_source, read_found

__all__ = ["read_and_watch"]

_watched: list[str] | None = None
_hooked = False


def read_and_watch(card: Card, found: Found) -> tuple[Recording, list[str]]:
    """Read a recording; return it and the names of the files that were opened for it.

    Only what Python opens is seen, not what HDF5's library does. It is meant for a worker process: the hook stays
    for as long as the process lives.
    """
    global _hooked, _watched
    source = load_source(card)
    opened: list[str] = []
    if not _hooked:
        sys.addaudithook(_note_opened)
        _hooked = True
    _watched = opened
    try:
        return read_found(source, found, card, resolve(card)), opened
    finally:
        _watched = None


def _note_opened(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _watched is not None and isinstance(arguments[0], str | bytes | os.PathLike):
        _watched.append(os.fsdecode(arguments[0]))
