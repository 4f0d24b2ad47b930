"""The contents of a card as dataclasses (:mod:`csp_data.card.parse` reads them)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeVar

from csp_data.card.plugins import FolderReader, Reader
from csp_data.card.splits import SplitCard
from csp_data.errors import UnknownNameError

__all__ = [
    "Access",
    "Card",
    "Citation",
    "FileEntry",
    "Kind",
    "Licence",
    "Size",
    "StreamCard",
    "TargetCard",
    "printed",
    "printed_unit",
    "prose",
]

Thing = TypeVar("Thing", "StreamCard", "TargetCard")
Kind = Literal["CSP-Bench", "real recordings", "simulated"]
NONE = "none"
"""What a card says where there is no address and no DOI."""
QUANTITIES = {"specific force": "m/s^2", "angular rate": "rad/s"}
"""Quantities of streams that programs ask for, and their unit."""


def prose(text: str) -> str:
    """Return a text of a card on one line; in the file it may have several."""
    return " ".join(text.split())


def printed(text: str) -> str:
    """Return a text of a card as it stands in print: on one line, powers with raised digits."""
    return re.sub(r"\^([23])\b", lambda power: "²³"[int(power[1]) - 2], prose(text))


def printed_unit(unit: str) -> str:
    """Return a unit as it stands in print: raised digits, the letter of micro, words where there is none."""
    return "no unit" if unit == "1" else re.sub(r"\bu(?=[A-Z])", "µ", printed(unit))


@dataclass(frozen=True)
class Licence:
    """Terms under which the recordings may be used."""

    id: str
    name: str
    url: str
    redistribution: bool
    terms: str

    @property
    def address(self) -> str:
        """The page with the terms; empty where there is none."""
        return "" if self.url == NONE else self.url


@dataclass(frozen=True)
class Citation:
    """How to cite the recordings."""

    text: str
    doi: str
    bibtex: str

    @property
    def address(self) -> str:
        """The page that the DOI leads to; empty where there is none."""
        return "" if self.doi == NONE else f"https://doi.org/{self.doi}"


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
    """Everything that is known of a data set before its files are read.

    ``version`` is what its publisher calls this state of it, for people; digests tell versions apart.
    ``source`` names the module of ``csp_data.sources`` that reads it, where the set has no ``reader`` of its own,
    ``protocol`` the protocol used by default, ``bundled`` the folder that holds its raw files when they ship with
    the package (in ``csp_data/samples``; of a set with a reader of its own, beside the card).
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
    protocol: str
    summary: str
    obtain: str
    licence: Licence
    citation: Citation
    streams: tuple[StreamCard, ...]
    targets: tuple[TargetCard, ...]
    splits: Mapping[str, SplitCard]
    version: str | None = None
    source: str | None = None
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
    reader: Reader | None = field(default=None, compare=False, repr=False)
    """How the set is read where it comes from outside the package; not a field of the file."""

    def __repr__(self) -> str:  # all that a card holds fills screens
        streams, targets = (", ".join(part.name for part in parts) for parts in (self.streams, self.targets))
        return (
            f"<Card {self.name}: {self.title} ({self.kind}, {self.licence.id}); streams {streams}; "
            f"targets {targets}>"
        )

    @property
    def typed(self) -> str:
        """What a command is to be told: the name, or the folder of a set that may be known by that alone."""
        return shlex.quote(str(self.reader.folder) if isinstance(self.reader, FolderReader) else self.name)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of the file as plain values; what is not known is ``None``."""
        values = asdict(replace(self, reader=None))
        del values["reader"]
        return values

    def stream(self, name: str) -> StreamCard:
        """Return a stream by name; :class:`UnknownNameError` if there is none."""
        return _named(name, self.streams, f"stream of {self.name}")

    def inputs(self, chosen: tuple[str, ...] | None = None) -> tuple[StreamCard, ...]:
        """Return the input streams of some names, else :class:`UnknownNameError`; ``None``: the default ones."""
        inputs = tuple(stream for stream in self.streams if stream.role == "input")
        if chosen is None:
            return tuple(stream for stream in inputs if stream.default)
        return tuple(_named(name, inputs, f"input stream of {self.name}") for name in chosen)

    def target(self, name: str | None = None) -> TargetCard:
        """Return a target by name, else :class:`UnknownNameError`; the first for ``None``."""
        return self.targets[0] if name is None else _named(name, self.targets, f"target of {self.name}")


def _named(name: str, things: tuple[Thing, ...], what: str) -> Thing:
    by_name = {thing.name: thing for thing in things}
    if name not in by_name:
        raise UnknownNameError(what, name, by_name)
    return by_name[name]
