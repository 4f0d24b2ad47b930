"""Cards: what a data set is, as data. One TOML file a set, read and checked here."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from importlib import resources
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_args

from csp_data.errors import CardError, UnknownNameError
from csp_data.splitcard import SplitCard, check_split

__all__ = [
    "Access",
    "Card",
    "Citation",
    "FileEntry",
    "Licence",
    "Size",
    "StreamCard",
    "TargetCard",
    "load_card",
    "names",
]

Kind = Literal["CSP-Bench", "real recordings", "simulated"]
QUANTITIES = {"specific force": "m/s^2", "angular rate": "rad/s"}
"""Quantities of streams that programs ask for, and their unit."""


@dataclass(frozen=True)
class Licence:
    """Terms under which the recordings may be used."""

    id: str
    name: str
    url: str
    redistribution: bool
    terms: str


@dataclass(frozen=True)
class Citation:
    """How to cite the recordings."""

    text: str
    doi: str
    bibtex: str


@dataclass(frozen=True)
class Size:
    """How much there is: whole recordings, hours and bytes of the raw files; ``None`` where nobody says.

    ``basis`` says where the numbers come from: stated by the publisher, counted, or estimated, and from what.
    """

    basis: str
    recordings: int | None = None
    hours: float | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class StreamCard:
    """A stream that the reader gives: its channels, unit, rate and frame.

    ``default`` says whether an input stream is part of the input unless the protocol names others. ``derived``
    names the columns that the source makes of an input stream after resampling (:attr:`Source.inputs`), where the
    stream itself is not what a model should see; ``columns`` are those a model sees. A channel name that ends in
    ``*`` stands for as many as the files have. ``axes`` says where the axes of the frame point, as far as that is
    known; ``quaternions`` in which order the raw files hold the four numbers of a rotation (streams always hold
    w x y z). ``quantity`` and ``along`` tell programs what a vector is (``"specific force"``, gravity included, or
    ``"angular rate"``) and along which axes (``"sensor"``: the sensor's own; ``"level"``: fixed, with z up).
    """

    name: str
    role: Literal["input", "reference"]
    channels: tuple[str, ...]
    unit: str
    rate_hz: float
    frame: str
    axes: str | None = None
    quaternions: str | None = None
    kind: Literal["vector", "rotation"] = "vector"
    default: bool = True
    derived: tuple[str, ...] = ()
    quantity: str | None = None
    along: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that the stream gives to the inputs."""
        return self.derived or self.channels


@dataclass(frozen=True)
class TargetCard:
    """A target that the source can compute: D channels a target step.

    ``increment`` says that the value is a change over the step, so that it can be given per second. ``units`` are
    those of the channels one by one, where they differ. ``paths`` names channels, blanks between them, that are
    increments along fixed axes: summed over an episode they are a path. ``along`` says along which axes the
    channels are: ``"sensor"`` (the sensor's own at the end of each step), ``"start"`` (the sensor's own at the
    start of the episode) or ``"level"`` (fixed, with z up).
    """

    name: str
    channels: tuple[str, ...]
    unit: str
    increment: bool
    summary: str
    units: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    along: str | None = None


@dataclass(frozen=True)
class FileEntry:
    """A raw file or an archive of raw files: where it lies, and what its publisher says of it.

    ``path`` is below the raw root, and below a mirror; ``url`` is its address, ``drive`` its id on Google Drive.
    ``size`` is in bytes; ``sha256`` and ``git_blob`` (SHA-1 of git's blob object) are hexadecimal digests. What
    is not known is ``None``.
    """

    path: str
    url: str | None = None
    drive: str | None = None
    size: int | None = None
    sha256: str | None = None
    git_blob: str | None = None


@dataclass(frozen=True)
class Access:
    """How a person or a program gets the files.

    ``kind``: ``"open"`` to all; ``"licence"``: after the terms are accepted; ``"password"``: with a user and a
    password that the publisher gives, beside the terms. ``drive_folder`` is the id of a public Google Drive folder
    that is listed when downloading. ``compact`` and ``full`` are patterns (``*``, ``?``; case does not matter) of
    the names that the publisher gives to the two versions of this set: top-level entries of that folder, archives
    and unpacked folders are told from those of other sets by them.
    """

    kind: Literal["open", "licence", "password"] = "open"
    drive_folder: str | None = None
    compact: tuple[str, ...] = ()
    full: tuple[str, ...] = ()


@dataclass(frozen=True)
class Card:
    """All that is known of a data set before its files are read.

    ``source`` names the module of ``csp_data.sources`` that reads it, ``protocol`` the protocol used by default,
    ``bundled`` the folder of ``csp_data/samples`` that holds its raw files when they ship with the package.
    ``files`` are the raw files where they are known one by one, ``downloads`` what is fetched where that is
    something else (archives, which are unpacked; files that trees hold in different places),
    ``access`` how they are got. ``unlisted`` says whether recordings whose files are not listed are left out (the
    list is the publisher's whole) or used. ``promised`` is the number of recordings that the publisher states,
    ``size`` how much there is.
    ``protocols`` holds, by the name of a protocol, the fields that this data set changes in it.
    """

    name: str
    title: str
    kind: Kind
    source: str
    protocol: str
    summary: str
    obtain: str
    licence: Licence
    citation: Citation
    streams: tuple[StreamCard, ...]
    targets: tuple[TargetCard, ...]
    splits: Mapping[str, SplitCard]
    files: tuple[FileEntry, ...] = ()
    aliases: tuple[str, ...] = ()
    defects: tuple[str, ...] = ()
    bundled: str | None = None
    downloads: tuple[FileEntry, ...] = ()
    access: Access = Access()
    size: Size | None = None
    unlisted: Literal["left out", "used"] = "left out"
    promised: int | None = None
    protocols: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def stream(self, name: str) -> StreamCard:
        """Return a stream by name."""
        by_name = {stream.name: stream for stream in self.streams}
        if name not in by_name:
            raise UnknownNameError(f"stream of {self.name}", name, by_name)
        return by_name[name]

    def inputs(self, chosen: tuple[str, ...] | None) -> tuple[StreamCard, ...]:
        """Return the input streams chosen by a protocol; the default ones for ``None``."""
        there = {stream.name: stream for stream in self.streams if stream.role == "input"}
        if chosen is None:
            return tuple(stream for stream in there.values() if stream.default)
        for name in chosen:
            if name not in there:
                raise UnknownNameError(f"input stream of {self.name}", name, there)
        return tuple(there[name] for name in chosen)

    def target(self, name: str | None) -> TargetCard:
        """Return a target by name; the first for ``None``."""
        by_name = {target.name: target for target in self.targets}
        if name is None:
            return self.targets[0]
        if name not in by_name:
            raise UnknownNameError(f"target of {self.name}", name, by_name)
        return by_name[name]


Part = TypeVar("Part")


def _build(kind: type[Part], table: Any, where: str) -> Part:
    """Make a dataclass from a TOML table, refusing unknown, missing and mistyped fields."""
    if not isinstance(table, dict):
        raise CardError(where, f"expected a table, found {type(table).__name__}")
    known = {known.name: known for known in fields(kind)}  # type: ignore[arg-type]
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
    return kind(**values)


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
    if "extends" in table:
        parent = table.pop("extends")
        if parent not in others:
            raise CardError(where, f"extends {parent!r}, which is no card")
        table = {**_parse(others[parent], f"{parent}.toml"), **table}
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
    except tomllib.TOMLDecodeError as error:
        raise CardError(where, f"not TOML ({error})") from error


def _check(card: Card, where: str) -> None:
    if card.kind not in get_args(Kind):
        raise CardError(where, f"kind should be one of {', '.join(get_args(Kind))}, found {card.kind!r}")
    if not any(stream.role == "input" and stream.default for stream in card.streams):
        raise CardError(where, "no input stream is on by default")
    for stream in card.streams:
        if stream.quantity is not None and stream.unit != QUANTITIES.get(stream.quantity):
            raise CardError(where, f"stream {stream.name!r} is {stream.quantity!r} in {stream.unit}: {QUANTITIES}")
        if stream.along not in (None, "sensor", "level"):
            raise CardError(where, f"stream {stream.name!r} is along {stream.along!r}, not sensor or level")
    for target in card.targets:
        _check_target(target, where)
    if not card.targets:
        raise CardError(where, "no target")
    if card.protocol not in card.splits:
        raise CardError(where, f"no splits for its protocol {card.protocol!r}")
    for label, rows in (
        ("stream", [stream.name for stream in card.streams]),
        ("target", [target.name for target in card.targets]),
        ("file", [file.path for file in (*card.files, *card.downloads)]),
    ):
        if repeated := {row for row in rows if rows.count(row) > 1}:
            raise CardError(where, f"{label} {sorted(repeated)[0]!r} stands twice")
    for name, split in card.splits.items():
        check_split(split, f"{where}, splits.{name}")
    if card.access.kind not in ("open", "licence", "password"):
        raise CardError(where, f"access.kind should be open, licence or password, found {card.access.kind!r}")
    for file in (*card.files, *card.downloads):
        if PurePosixPath(file.path).is_absolute() or ".." in PurePosixPath(file.path).parts:
            raise CardError(where, f"file {file.path!r} leads out of the raw folder")
        for digest, length in ((file.sha256, 64), (file.git_blob, 40)):
            if digest is not None and (len(digest) != length or set(digest) - set("0123456789abcdef")):
                raise CardError(where, f"{file.path}: {digest!r} is no digest of {length} hexadecimal digits")


def _check_target(target: TargetCard, where: str) -> None:
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
def _cards() -> Mapping[str, Card]:
    folder = resources.files("csp_data") / "cards"
    found = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".toml"))
    texts = {file.removesuffix(".toml"): (folder / file).read_text(encoding="utf-8") for file in found}
    cards = {}
    for file in found:
        card = read_card(texts[file.removesuffix(".toml")], file, texts)
        if f"{card.name}.toml" != file:
            raise CardError(file, f"its name {card.name!r} differs from the file's")
        cards[card.name] = card
    return MappingProxyType(cards)


def names() -> tuple[str, ...]:
    """Return the names of all data sets, sorted."""
    return tuple(_cards())


def load_card(name: str) -> Card:
    """Return the card of a data set.

    Parameters
    ----------
    name
        A name from :func:`names`, or an alias.

    Raises
    ------
    UnknownNameError
        With the list and the nearest name.
    """
    cards = _cards()
    if name in cards:
        return cards[name]
    for card in cards.values():
        if name.lower() in {alias.lower() for alias in card.aliases}:
            return card
    raise UnknownNameError("data set", name, cards)


def bundled_root(card: Card) -> Path | None:
    """Return the folder of a data set whose raw files ship with the package, or ``None``."""
    return None if card.bundled is None else Path(str(resources.files("csp_data") / "samples" / card.bundled))
