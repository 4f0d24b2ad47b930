"""One module a source: find its files, read them into Recordings, define its targets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast
from unicodedata import normalize

import numpy as np

from csp_data.card import Card, add_card, load_card, names
from csp_data.card.plugins import FolderReader, RegisteredReader, call_reader
from csp_data.card.registry import read_external_card
from csp_data.errors import OptionError, SourceError
from csp_data.options import is_number, unmasked
from csp_data.protocol import Protocol
from csp_data.recording import FloatArray, Note, Recording, Stream
from csp_data.terminal import with_control

__all__ = [
    "Found",
    "InputFunction",
    "Source",
    "TargetFunction",
    "as_floats",
    "load_source",
    "recognise",
    "register",
]

TargetFunction = Callable[[Mapping[str, FloatArray]], FloatArray]
"""From the reference streams at the N + 1 chunk edges, name -> (N + 1, C), to the N targets (N, D)."""

InputFunction = Callable[[FloatArray], FloatArray]
"""From an input stream on the grid (T, C) to the columns that a model sees (T, C')."""

Named = TypeVar("Named", "Found", Recording)


@dataclass(frozen=True)
class Found:
    """A recording that has been found but not read.

    Parameters
    ----------
    id, group
        As in :class:`~csp_data.recording.Recording`.
    files
        The files it is read from, the main one first.
    subject
        The person whose recording it is, where `group` is a smaller unit; empty where that is not known. Only
        folds by subject need it (:class:`csp_data.Resplit`).
    """

    id: str
    group: str
    files: tuple[Path, ...]
    subject: str = ""


@dataclass(frozen=True)
class Source:
    """What a source module offers, as its constant ``SOURCE``.

    ``csp-data new my-sensor`` writes a folder with a card and a reader to begin with, which work as they are;
    :func:`csp_data.check_source` checks them.

    Parameters
    ----------
    find
        ``find(root)``: from the raw root, a path, to a list of :class:`Found`, in a stable order. Reads names, not
        contents.
    read
        ``read(found, card, protocol)``: from one of these to a :class:`~csp_data.recording.Recording` with the
        streams that the card names. Raises :class:`~csp_data.errors.DamagedRecordingError` for what is missing,
        truncated or unreadable.
    layout
        The files that `find` looks for, in words, for messages.
    targets
        The function of each target of the card, by name. It is given the reference streams at the N + 1 edges of
        the target steps, name to array (N + 1, C), and returns an array (N, D): for a target that the card calls
        an increment what was gained in each step, which the pipeline divides by the step when the protocol wants
        it per second; for others the value at the end of each step.
    inputs
        The function of each input stream that has derived columns, by name: from its values at the input rate
        (T, C) to these columns (T, C').
    """

    find: Callable[[Path], list[Found]]
    read: Callable[[Found, Card, Protocol], Recording]
    layout: str
    targets: Mapping[str, TargetFunction]
    inputs: Mapping[str, InputFunction] = field(default_factory=dict)


def load_source(card: Card) -> Source:
    """Return the source that reads a card's data set.

    Raises
    ------
    SourceError
        If its reader is from outside and cannot be used, or has no function for something that the card names.
    """
    if card.reader is None:
        if card.source is None:  # such a card comes from a prepared file, which has no code in it
            raise SourceError(
                card.name,
                "it is not known here, only its card, from a prepared file. Name the folder that holds it in "
                "CSP_DATA_PLUGINS, or in Python register it (csp_data.register)",
            )
        module = f"csp_data.sources.{card.source}"
        source = getattr(import_module(module), "SOURCE", None) if find_spec(module) is not None else None
        if not isinstance(source, Source):
            raise SourceError(card.name, f"the card's source {card.source!r} is no reader of csp-data")
        return source
    source = card.reader()
    if not isinstance(source, Source):
        raise SourceError(card.name, f"SOURCE should be a csp_data.Source, found {type(source).__name__}")
    if lacking := {target.name for target in card.targets} - set(source.targets):
        raise SourceError(card.name, f"no function for the card's target {sorted(lacking)[0]!r}")
    if lacking := {stream.name for stream in card.streams if stream.derived} - set(source.inputs):
        raise SourceError(card.name, f"no function for the derived columns of {sorted(lacking)[0]!r}")
    return source


def find_in(card: Card, root: Path) -> list[Found]:
    """Return the recordings of a data set that its reader finds below a folder, in its order.

    Raises
    ------
    SourceError
        If it gives something else than recordings with files, or fails.
    """
    source = load_source(card)

    def listed() -> list[Any]:
        given: Any = source.find(root)
        return list(given) if isinstance(given, Iterable) else [given]

    found = call_reader(card.reader, f"find() of {root}", listed)
    for i, recording in enumerate(found):
        if not isinstance(recording, Found):
            raise SourceError(
                card.name, f"find() should give a csp_data.Found for each recording, gave {recording!r}"
            )
        if not (isinstance(recording.id, str) and isinstance(recording.group, str)) or "\0" in recording.id:
            raise SourceError(card.name, f"id and group should be text, found {recording!r}")
        files = recording.files
        if not isinstance(files, list | tuple) or not files or not all(isinstance(f, str | Path) for f in files):
            raise SourceError(card.name, f"files should be paths, the main one first, found {recording!r}")
        if not isinstance(files, tuple) or not all(isinstance(file, Path) for file in files):
            recording = replace(recording, files=tuple(map(Path, files)))
        found[i] = _composed(recording)
    return found


def _composed(recording: Named) -> Named:
    """Return it with each accent in its names as one character with its letter (NFC), as cards are typed.

    macOS writes it as a character of its own, also to disks and archives that others read: splits would differ.
    """
    texts = {name: getattr(recording, name, None) for name in ("id", "group", "subject")}
    names: dict[str, Any] = {name: normalize("NFC", text) for name, text in texts.items() if isinstance(text, str)}
    changed = any(names[name] != texts[name] for name in names)
    return replace(recording, **names) if changed else recording  # replace takes long, of thousands


def read_found(source: Source, found: Found, card: Card, protocol: Protocol) -> Recording:
    """Read a recording that was found; its times and values are arrays, whatever the reader makes them of.

    Raises
    ------
    SourceError
        If the reader gives another one, or none, or fails.
    """
    what = f"read() of recording {found.id} ({found.files[0]})"
    recording: Any = call_reader(card.reader, what, lambda: source.read(found, card, protocol))
    if not isinstance(recording, Recording) or not isinstance(recording.streams, Mapping):
        problem = (
            f"read() should return a csp_data.Recording, with streams by name, found {type(recording).__name__}"
        )
        raise SourceError(card.name, f"{found.id}: {problem}")
    for problem in _unusable(recording):
        raise SourceError(card.name, f"{found.id}: read() should return {problem}")
    named: Recording = _composed(recording)
    if (named.id, named.group) != (found.id, found.group):
        problem = f"{found.id}: read() changed id or group to {recording.id!r}, {recording.group!r}"
        raise SourceError(card.name, problem)
    streams = {
        name: replace(
            stream,
            time=as_floats(stream.time, card, f"{found.id}: time of {name}"),
            values=as_floats(stream.values, card, f"{found.id}: {name}"),
        )
        for name, stream in recording.streams.items()
    }
    return replace(named, streams=streams)


def _unusable(recording: Recording) -> Iterator[str]:
    """Yield what a recording should hold instead of what it does, where the pipeline could not use it."""
    for name, stream in recording.streams.items():
        if not isinstance(cast("object", stream), Stream):
            yield f"a csp_data.Stream for each stream, found {type(stream).__name__} for {name!r}"
        elif (text := with_control(stream.channels)) is not None:
            yield f"names of channels without control characters, found {text!r}"
    notes: Any = recording.notes
    if not isinstance(notes, list | tuple) or not all(isinstance(note, Note) for note in notes):
        yield f"a tuple of csp_data.Note as notes, found {notes!r}"
    active: Any = recording.active
    if active is not None:
        numbers = isinstance(active, list | tuple | np.ndarray) and [
            float(bound) for bound in active if is_number(bound) and np.isfinite(bound)
        ]
        if not numbers or not len(numbers) == len(active) == 2 or numbers[0] > numbers[1]:
            yield f"as active the first and the last second of the part to keep, found {active!r}"


def as_floats(returned: Any, card: Card, where: str) -> FloatArray:
    """Convert what a reader returned to floating-point numbers: sums of small whole ones would run over."""
    try:
        values = np.asarray(unmasked(returned))
        if values.dtype.kind not in "fiubO":
            raise ValueError(f"{values.dtype}")
        return values if values.dtype in (np.float64, np.float32) else values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise SourceError(card.name, f"{where}: expected an array of numbers, found {error}") from error


def register(card: Card | Path | str, reader: Source | ModuleType | None = None) -> Card:
    """Add a data set of your own to this process, under the name on its card.

    Parameters
    ----------
    card
        A folder that holds ``card.toml`` and ``reader.py`` (and needs no `reader` here), the path of a card's
        TOML file, or a card.
    reader
        What reads it: a :class:`Source`, or a module that has one as ``SOURCE``. ``None`` with a card whose
        ``source`` names a reader of this package, for recordings in the same layout.

    Returns
    -------
    Card
        As :func:`csp_data.info` gives it from now on.

    Raises
    ------
    OptionError
        If `card` is none of these.
    CardError
        If the card is missing or incomplete, or its name is that of a set of this package.
    SourceError
        If the reader lacks what the card names.
    """
    beside = False
    if isinstance(card, str | Path):
        path = Path(card).expanduser().absolute()
        folder, file = (path, None) if path.is_dir() else (path.parent, path)
        beside = reader is None and file is None
        card = read_external_card(FolderReader(folder), file)
    if not isinstance(cast("object", card), Card):
        raise OptionError("card", card, "a csp_data.Card, or the path of a card's TOML file or of its folder")
    if not beside:
        source, of_card = getattr(reader, "SOURCE", reader), None if card.reader is None else card.reader.folder
        card = replace(card, reader=None if source is None else RegisteredReader(source, of_card))
    load_source(card)
    return add_card(card)


def recognise(root: Path) -> dict[str, int]:
    """Return which data sets a folder looks like: the number of recordings of each, the most first."""
    counts = {}
    for name in names():
        # a reader from outside, which knows nothing of such a folder, may raise anything
        with suppress(Exception):
            counts[name] = len(find_in(load_card(name), root))
    return dict(sorted(((name, count) for name, count in counts.items() if count), key=lambda item: -item[1]))
