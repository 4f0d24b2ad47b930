"""Read and check cards: the descriptions of data sets, one TOML file each."""

from __future__ import annotations

import logging
import math
import os
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, replace
from functools import cache
from importlib import resources
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from csp_data.card.plugins import CARD, VARIABLE, FolderReader, ModuleReader, folders, installed
from csp_data.card.splits import SplitCard, check_split
from csp_data.card.types import (
    QUANTITIES,
    Access,
    Card,
    Citation,
    FileEntry,
    Licence,
    Size,
    StreamCard,
    TargetCard,
)
from csp_data.errors import CardError, CspDataError, OptionError, UnknownNameError
from csp_data.files import check_file
from csp_data.home import expanded

__all__ = [
    "Access",
    "Card",
    "Citation",
    "FileEntry",
    "Licence",
    "Size",
    "StreamCard",
    "TargetCard",
    "add_card",
    "card_from",
    "load_card",
    "names",
    "stored_card",
]

logger = logging.getLogger(__name__)

Part = TypeVar("Part")


def _build(kind: type[Part], table: Any, where: str) -> Part:
    """Make a dataclass from a TOML table, refusing unknown, missing and mistyped fields."""
    if not isinstance(table, dict):
        raise CardError(where, f"expected a table, found {type(table).__name__}")
    known = {known.name: known for known in fields(kind) if known.name != "reader"}  # type: ignore[arg-type]
    if unknown := set(table) - set(known):
        raise CardError(where, f"unknown field {sorted(unknown)[0]!r}")
    for name, declared in known.items():
        if name not in table and declared.default is MISSING and declared.default_factory is MISSING:
            raise CardError(where, f"field {name!r} is missing")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}
    for name, value in values.items():
        wanted = str(known[name].type)
        if not _fits(wanted, value):
            raise CardError(where, f"field {name!r} should be {wanted}, found {value!r}")
        if value == "":
            raise CardError(where, f"field {name!r} is empty")
        allowed = _choices(kind).get(name, ())  # type: ignore[arg-type]
        if allowed and value not in allowed:
            raise CardError(where, f"{name} should be one of {', '.join(allowed)}, found {value!r}")
    return kind(**values)


@cache
def _choices(kind: Any) -> dict[str, tuple[str, ...]]:
    """Return the words that a field allows, if it allows only a few."""
    return {name: get_args(hint) for name, hint in get_type_hints(kind).items() if get_origin(hint) is Literal}


def _fits(wanted: str, value: object) -> bool:
    if wanted.startswith("tuple"):
        return isinstance(value, tuple) and (wanted != "tuple[str, ...]" or all(isinstance(x, str) for x in value))
    if wanted.startswith("Mapping"):
        return isinstance(value, Mapping)
    if wanted.startswith("bool"):
        return isinstance(value, bool)
    if wanted.startswith("int"):
        return isinstance(value, int) and not isinstance(value, bool)
    if wanted.startswith("float"):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, str) if wanted.startswith(("str", "Literal", "Kind")) else True


def read_card(text: str, where: str, others: Mapping[str, str] = MappingProxyType({})) -> Card:
    """Parse and check a card.

    Parameters
    ----------
    text
        TOML. A field ``extends`` names another card; top-level fields that are not given are that card's.
    where
        Name for error messages.
    others
        Text of the cards that may be extended, by name.

    Raises
    ------
    CardError
        If a field is missing, unknown, of the wrong type, empty, or contradicts another.
    """
    table = _parse(text, where)
    while "extends" in table:
        parent = table.pop("extends")
        if parent not in others:
            raise CardError(where, f"extends {parent!r}, which is no card")
        inherited = _parse(others[parent], f"{parent}.toml")
        table = {**{name: value for name, value in inherited.items() if name != "aliases"}, **table}
    return _of_table(table, where)


def stored_card(card: Card) -> dict[str, Any]:
    """Return a card as JSON values, without the lists of its files: what a prepared file remembers of it."""
    return {k: v for k, v in _known(card.to_dict()).items() if k not in ("files", "downloads", "bundled")}


def card_from(stored: Mapping[str, Any], where: str) -> Card:
    """Rebuild a card from :func:`stored_card`."""
    return _of_table(dict(_known(stored)), where)


def _known(value: Any) -> Any:
    """Leave out fields that are ``None``, as TOML does."""
    if isinstance(value, Mapping):
        return {k: _known(v) for k, v in value.items() if v is not None}
    return [_known(v) for v in value] if isinstance(value, list | tuple) else value


def _of_table(table: dict[str, Any], where: str) -> Card:
    parts: dict[str, Any] = {"licence": Licence, "citation": Citation, "access": Access, "size": Size}
    lists: dict[str, Any] = {
        "streams": StreamCard,
        "targets": TargetCard,
        "files": FileEntry,
        "downloads": FileEntry,
    }
    for name, kind in parts.items():
        if name in table:
            table[name] = _build(kind, table[name], f"{where}, {name}")
    for name, kind in lists.items():
        table[name] = [_build(kind, row, f"{where}, {name} {i}") for i, row in enumerate(table.get(name, []))]
    table["splits"] = {
        name: _build(SplitCard, parts_, f"{where}, splits.{name}")
        for name, parts_ in table.get("splits", {}).items()
    }
    card = _build(Card, table, where)
    _check(card, where)
    return card


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise CardError(where, f"not TOML ({error})") from error


def _check(card: Card, where: str) -> None:
    """Refuse a card whose fields have the right types but contradict each other or lead nowhere."""
    if not any(stream.role == "input" and stream.default for stream in card.streams):
        raise CardError(where, "no input stream is on by default")
    if not card.targets:
        raise CardError(where, "no target")
    for stream in card.streams:
        _check_stream(stream, where)
    for target in card.targets:
        _check_target(target, where)
    if card.bundled is not None and (".." in Path(card.bundled).parts or Path(card.bundled).is_absolute()):
        raise CardError(where, f"bundled {card.bundled!r} leads out of the card's folder")
    for name in (card.protocol, *card.protocols):
        if name not in card.splits:
            raise CardError(where, f"no splits for its protocol {name!r}")
    files = (*card.files, *card.downloads)
    for label, names in (
        ("stream", [stream.name for stream in card.streams]),
        ("target", [target.name for target in card.targets]),
        ("file", [file.path for file in files]),
    ):
        if repeated := [name for name, count in Counter(names).items() if count > 1]:
            raise CardError(where, f"{label} {min(repeated)!r} stands twice")
    for name, split in card.splits.items():
        check_split(split, f"{where}, splits.{name}")
    for file in files:
        _check_file(file, where)


def _check_stream(stream: StreamCard, where: str) -> None:
    if not 0 < stream.rate_hz < math.inf:
        raise CardError(where, f"stream {stream.name!r}: rate_hz should be above 0, found {stream.rate_hz}")
    _check_channels(f"stream {stream.name!r}", stream.channels, where)
    if stream.kind == "rotation" and len(stream.channels) % 4:
        raise CardError(where, f"stream {stream.name!r} is of rotations: four channels each, w x y z")
    if stream.quantity is not None and stream.unit != QUANTITIES.get(stream.quantity):
        raise CardError(where, f"stream {stream.name!r} is {stream.quantity!r} in {stream.unit}: {QUANTITIES}")
    if stream.along not in (None, "sensor", "level"):
        raise CardError(where, f"stream {stream.name!r} is along {stream.along!r}, not sensor or level")


def _check_file(file: FileEntry, where: str) -> None:
    if PurePosixPath(file.path).is_absolute() or ".." in PurePosixPath(file.path).parts:
        raise CardError(where, f"file {file.path!r} leads out of the raw folder")
    for digest, length in ((file.sha256, 64), (file.git_blob, 40)):
        if digest is not None and (len(digest) != length or set(digest) - set("0123456789abcdef")):
            raise CardError(where, f"{file.path}: {digest!r} is no digest of {length} hexadecimal digits")


def _check_channels(what: str, channels: Sequence[str], where: str) -> None:
    if not channels or len(set(channels)) < len(channels):
        raise CardError(where, f"{what} needs names of channels, each once, found {list(channels)}")


def _check_target(target: TargetCard, where: str) -> None:
    _check_channels(f"target {target.name!r}", target.channels, where)
    if target.units and len(target.units) != len(target.channels):
        raise CardError(where, f"target {target.name!r} has {len(target.units)} units for its channels")
    if target.along not in (None, "sensor", "start", "level"):
        raise CardError(where, f"target {target.name!r} is along {target.along!r}, not sensor, start or level")
    if target.paths and not target.increment:
        raise CardError(where, f"target {target.name!r} has paths but is no increment that could be summed")
    for channel in " ".join(target.paths).split():
        if channel not in target.channels:
            raise CardError(
                where, f"target {target.name!r} has a path along {channel!r}, which is no channel of it"
            )


@cache
def _texts() -> Mapping[str, str]:
    folder = resources.files("csp_data") / "cards"
    files = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return {file.removesuffix(".toml"): (folder / file).read_text(encoding="utf-8") for file in files}


@cache
def _cards() -> Mapping[str, Card]:
    cards = {}
    for name, text in _texts().items():
        card = read_card(text, f"{name}.toml", _texts())
        if card.name != name:
            raise CardError(f"{name}.toml", f"its name {card.name!r} differs from the file's")
        cards[name] = card
    return MappingProxyType(cards)


_added: dict[str, Card] = {}
"""Cards that this process registered itself."""


@cache
def _outside(plugins: str) -> tuple[Mapping[str, Card], Mapping[str, CspDataError]]:
    """Read the cards of installed packages and of the folders in `plugins`; return the broken ones apart."""
    cards: dict[str, Card] = {}
    broken: dict[str, CspDataError] = {}
    found = [*installed(), *((reader.folder.name, reader) for reader in folders(plugins))]
    for name, reader in found:
        try:
            if isinstance(reader, CspDataError):
                raise reader
            card = read_outside(reader)
            if card.name in cards:
                raise CardError(str(reader.folder), f"the name {card.name!r} is also that of another data set")
            cards[card.name] = card
        except CspDataError as error:
            logger.warning("%s is left out: %s", name, error)
            broken[name] = error
    return cards, broken


def read_outside(reader: FolderReader | ModuleReader, path: Path | None = None) -> Card:
    """Read the card beside a reader; `path` where it has another name."""
    path = path or reader.folder / CARD
    try:
        check_file(path)
        text = path.read_text(encoding="utf-8-sig")  # some editors mark UTF-8 so
    except (OSError, UnicodeDecodeError) as error:
        raise CardError(str(path), f"cannot be read ({error})") from error
    return replace(check_name(read_card(text, str(path), _texts())), reader=reader)


def check_name(card: Card) -> Card:
    """Refuse a card from outside with a name or alias of a set of the package."""
    taken = {name.lower() for own in _cards().values() for name in (own.name, *own.aliases)}
    if clash := {name for name in (card.name, *card.aliases) if name.lower() in taken}:
        raise CardError(card.name, f"{sorted(clash)[0]!r} is a name of a data set of csp-data; choose another")
    if Path(card.name).name != card.name or card.name in (".", ".."):
        raise CardError(card.name, "the name must be one that a folder can have")
    return card


def add_card(card: Card) -> Card:
    """Make a card known to this process; one of the same name is replaced."""
    _added[card.name] = check_name(card)
    return card


def _all() -> dict[str, Card]:
    return {**_cards(), **_outside(os.environ.get(VARIABLE, ""))[0], **_added}


def names() -> tuple[str, ...]:
    """Return the names of all data sets, sorted; those of one's own that are registered among them.

    Examples
    --------
    >>> import csp_data
    >>> "sample" in csp_data.names()
    True
    """
    return tuple(sorted(_all()))


def load_card(name: Path | str) -> Card:
    """Return the card of a data set.

    Parameters
    ----------
    name
        A name from :func:`names`, an alias, or a folder that holds ``card.toml`` and ``reader.py``; a
        ``pathlib.Path`` is a folder.

    Raises
    ------
    UnknownNameError
        With the list and the nearest name.
    OptionError
        If it is a path where no card lies, or neither text nor a path.
    CardError, SourceError
        If the card or reader of that name is there and cannot be used.
    """
    if not isinstance(cast("object", name), str | Path):
        raise OptionError("name", name, "the name of a data set, or a folder with a card (text or a pathlib.Path)")
    if isinstance(name, Path):
        name = str(expanded(name).absolute())
    if name in _cards():
        return _cards()[name]
    cards = _all()
    if name in cards:
        return cards[name]
    for card in cards.values():
        if name.lower() in {alias.lower() for alias in card.aliases}:
            return card
    folder = expanded(name)
    if (folder / CARD).is_file():
        return add_card(read_outside(FolderReader(folder.absolute())))
    if (error := _outside(os.environ.get(VARIABLE, ""))[1].get(name)) is not None:
        raise error
    if folder.is_dir() or folder.suffix or folder.name != name:  # a place rather than a misspelt name
        raise _no_card_there(name, folder)
    raise UnknownNameError("data set", name, sorted(cards))


def _no_card_there(name: str, folder: Path) -> OptionError:
    there = "this one holds none" if folder.is_dir() else f"there is {'a file' if folder.exists() else 'nothing'}"
    prepared = folder.suffix in (".h5", ".hdf5")
    fix = f"If it is a prepared file: csp_data.load(path={name!r})." if prepared else ""
    return OptionError("name", name, f"a data set's name, or a folder that holds {CARD}; {there}", fix)


def bundled_root(card: Card) -> Path | None:
    """Return the folder of a data set whose raw files come with it, or ``None``."""
    if card.bundled is None:
        return None
    if card.reader is None:
        return Path(str(resources.files("csp_data") / "samples" / card.bundled))
    return None if card.reader.folder is None else card.reader.folder / card.bundled
