"""Read a card from TOML text, and check it."""

from __future__ import annotations

import difflib
import sys
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from csp_data._version import __version__
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
from csp_data.errors import CardError
from csp_data.terminal import with_control

__all__ = ["NOT_STORED", "card_from", "read_card", "stored_card"]

NOT_STORED = ("files", "downloads", "bundled")
"""Fields that a prepared file does not remember."""

BESIDE_PREDICTIONS = ("episode", "recording", "latency_ms")
"""Columns that files of predictions have beside the time and the targets."""

Part = TypeVar("Part")
Container = TypeVar("Container", list[Any], dict[str, Any])


def read_card(text: str, where: str, others: Mapping[str, str] = MappingProxyType({})) -> Card:
    """Parse and check a card.

    Parameters
    ----------
    text
        TOML. A field ``extends`` names another card; top-level fields that are not given are that card's, and so
        are splits and protocols of other names than those given.
    where
        Name for error messages.
    others
        Text of the cards that may be extended, by name.

    Raises
    ------
    CardError
        If a field is missing, unknown, of the wrong type, empty, or contradicts another.
    """
    table = _toml_table(text, where)
    while "extends" in table:
        parent = table.pop("extends")
        if not isinstance(parent, str) or parent not in others:
            raise CardError(where, f"extends {parent!r}, which is no card")
        inherited = _toml_table(others[parent], f"{parent}.toml")
        by_name = {
            field: {**inherited[field], **table[field]}
            for field in ("splits", "protocols")
            if isinstance(table.get(field), dict) and isinstance(inherited.get(field), dict)
        }
        table = {**{name: value for name, value in inherited.items() if name != "aliases"}, **table, **by_name}
    return _card_from_table(table, where)


def stored_card(card: Card) -> dict[str, Any]:
    """Return a card as JSON values, without the lists of its files: what a prepared file remembers of it."""
    return {k: v for k, v in _without_none(card.to_dict()).items() if k not in NOT_STORED}


def card_from(stored: Mapping[str, Any], where: str) -> Card:
    """Rebuild a card from :func:`stored_card`."""
    return _card_from_table(dict(_without_none(stored)), where)


def _from_table(kind: type[Part], table: Any, where: str) -> Part:
    """Make a dataclass from a TOML table, refusing unknown, missing and mistyped fields."""
    if not isinstance(table, dict):
        raise CardError(where, f"expected a table, found {type(table).__name__}")
    declared = {field.name: field for field in fields(kind) if field.name != "reader"}  # type: ignore[arg-type]
    if unknown := set(table) - set(declared):
        name = sorted(unknown)[0]
        near = difflib.get_close_matches(name, declared, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"this is csp-data {__version__}; a later one may know it"
        raise CardError(where, f"unknown field {name!r} ({hint})")
    for name, field in declared.items():
        if name not in table and field.default is MISSING and field.default_factory is MISSING:
            raise CardError(where, f"field {name!r} is missing")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}
    for name, value in values.items():
        annotation = str(declared[name].type)
        if not _has_type(annotation, value):
            raise CardError(where, f"field {name!r} should be {annotation}, found {value!r}")
        if value == "":
            raise CardError(where, f"field {name!r} is empty")
        if (text := with_control(value)) is not None:
            raise CardError(where, f"field {name!r} holds control characters: {text!r}")
        allowed = _allowed_words(kind).get(name, ())  # type: ignore[arg-type]
        if allowed and value not in allowed:
            raise CardError(where, f"{name} should be one of {', '.join(allowed)}, found {value!r}")
    return kind(**values)


@cache
def _allowed_words(kind: Any) -> dict[str, tuple[str, ...]]:
    """Return the words that a field allows, if it allows only a few."""
    return {name: get_args(hint) for name, hint in get_type_hints(kind).items() if get_origin(hint) is Literal}


def _has_type(annotation: str, value: object) -> bool:
    """Whether a value of TOML is of a field's type, as far as ``types.py`` uses types."""
    if annotation.startswith("tuple"):
        return isinstance(value, tuple) and (
            annotation != "tuple[str, ...]" or all(isinstance(x, str) for x in value)
        )
    if annotation.startswith("Mapping"):
        return isinstance(value, Mapping)
    if annotation.startswith("bool"):
        return isinstance(value, bool)
    if annotation.startswith("int"):
        return isinstance(value, int) and not isinstance(value, bool)
    if annotation.startswith("float"):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, str) if annotation.startswith(("str", "Literal", "Kind")) else True


def _without_none(value: Any) -> Any:
    """Leave out fields that are ``None``, as TOML does."""
    if isinstance(value, Mapping):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return [_without_none(v) for v in value] if isinstance(value, list | tuple) else value


def _card_from_table(table: dict[str, Any], where: str) -> Card:
    parts: dict[str, Any] = {"licence": Licence, "citation": Citation, "access": Access, "size": Size}
    lists: dict[str, Any] = {
        "streams": StreamCard,
        "targets": TargetCard,
        "files": FileEntry,
        "downloads": FileEntry,
    }
    for name, kind in parts.items():
        if name in table:
            table[name] = _from_table(kind, table[name], f"{where}, {name}")
    for name, kind in lists.items():
        rows = _given(table, name, list, where)
        table[name] = [_from_table(kind, row, f"{where}, {name} {i}") for i, row in enumerate(rows)]
    table["splits"] = {
        name: _from_table(SplitCard, parts_, f"{where}, splits.{name}")
        for name, parts_ in _given(table, "splits", dict, where).items()
    }
    card = _from_table(Card, table, where)
    _check_card(card, where)
    return card


def _given(table: Mapping[str, Any], name: str, kind: type[Container], where: str) -> Container:
    """Return a field that holds tables, empty where it is missing."""
    value = table.get(name, kind())
    if not isinstance(value, kind):
        needed = "a list of tables" if kind is list else "a table"
        raise CardError(where, f"field {name!r} should be {needed}, found {value!r}")
    return value


def _toml_table(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise CardError(where, f"not TOML ({error})") from error


def _check_card(card: Card, where: str) -> None:
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
        _given(card.protocols, name, dict, f"{where}, protocols")
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
    if not 0 < stream.rate_hz <= sys.float_info.max:  # a whole number may be larger
        raise CardError(where, f"stream {stream.name!r}: rate_hz should be above 0, found {stream.rate_hz}")
    for channels in (stream.channels, stream.columns):
        _check_channels(f"stream {stream.name!r}", channels, where)
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
    if "time" in channels:
        raise CardError(where, f"{what} has a channel 'time', which in tables and streams is the time of a row")


def _check_target(target: TargetCard, where: str) -> None:
    for name in BESIDE_PREDICTIONS:
        if name in target.channels:
            raise CardError(
                where, f"target {target.name!r} has a channel {name!r}, another column of files of predictions"
            )
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
