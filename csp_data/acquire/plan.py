"""List what is to be fetched, and from where: the publisher's addresses, Google Drive, or a mirror."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal, cast
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from csp_data.acquire import drive
from csp_data.acquire.archive import is_archive
from csp_data.acquire.client import Client
from csp_data.acquire.lockfile import LOCK_NAME, LockedSet, is_own, read_lock
from csp_data.acquire.place import has_publishers_name
from csp_data.acquire.transfer import GoneError, Opener, RemoteFile, fetch
from csp_data.card import Card, FileEntry, prose
from csp_data.errors import AccessError, OptionError
from csp_data.home import expanded

__all__ = ["Item", "Variant", "local_file", "mirror_of", "plan"]

Variant = Literal["compact", "full"]
VARIABLE = "CSP_DATA_MIRROR"
"""Environment variable: a mirror for all data sets."""


@dataclass(frozen=True)
class Item:
    """One thing to fetch: an entry, how to ask for it, and the lock file if that alone states its digest."""

    entry: FileEntry
    address: str
    by_hand: str
    drive: str | None = None
    lock_file: Path | None = None

    @property
    def archive(self) -> bool:
        """Whether it is unpacked after it has come."""
        return is_archive(Path(self.entry.path))

    @property
    def remote_file(self) -> RemoteFile:
        """What to transfer."""
        entry = self.entry
        stated = entry.size, entry.sha256, entry.git_blob
        return RemoteFile(entry.path, self.address, *stated, self.by_hand, self.lock_file)

    def opener(self, client: Client) -> Opener | None:
        """Return how to ask for it, where that takes more than its address."""
        return None if self.drive is None else drive.opener(client, self.drive, self.entry.path)


def mirror_of(name: str, chosen: str | None) -> str | None:
    """Return the address of a mirror: the chosen one or ``CSP_DATA_MIRROR``, with ``{name}`` filled in.

    Raises
    ------
    OptionError
        If it is neither http(s) nor file nor a folder, or holds a password.
    """
    mirror = (os.environ.get(VARIABLE) or None) if chosen is None else chosen
    if mirror is None:
        return None
    if not isinstance(cast("object", mirror), str):
        raise OptionError("mirror", mirror, "an address as text")
    mirror = mirror.replace("{name}", name)
    if "://" not in mirror and mirror.strip() and expanded(mirror, "mirror").is_dir():
        mirror = expanded(mirror, "mirror").absolute().as_uri()
    try:
        parts = urlsplit(mirror)
        usable = parts.scheme == "file" or (
            parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        )
    except ValueError:  # a port or an IPv6 address that cannot be one
        usable = False
    if not usable:
        _, at, host = mirror.rpartition("@")  # what stands before it may be a password
        raise OptionError(
            "mirror",
            f"...@{host}" if at else mirror,
            "a folder, or an address that begins with http://HOST, https://HOST or file://",
        )
    if parts.username or parts.password:
        raise OptionError("mirror", f"{parts.scheme}://...@{parts.hostname}", "no user or password in the address")
    return mirror.rstrip("/") + "/"


def local_file(address: str) -> Path | None:
    """Return the path of a ``file:`` address; ``None`` for others."""
    parts = urlsplit(address)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


def plan(
    card: Card,
    client: Client,
    mirror: str | None,
    variant: Variant,
    expected: LockedSet,
    lock_file: Path,
    scratch: Path,
) -> list[Item]:
    """List what there is to fetch. Asks the network only for a Drive folder's listing or a mirror's lock file.

    Parameters
    ----------
    card
        The data set.
    client
        Opens addresses.
    mirror
        As :func:`mirror_of` gives it.
    variant
        Which version, where the publisher has two.
    expected
        What is locked; its digests are demanded of what the publisher states none for.
    lock_file
        Where that stands.
    scratch
        A folder for the mirror's lock file.

    Raises
    ------
    AccessError
        If nothing can be fetched by a program.
    """
    by_hand = f"By hand: {prose(card.obtain)} Then: csp-data import {card.typed} PATH."
    try:
        if mirror is not None:
            items = list(_on_mirror(card, client, mirror, scratch, by_hand))
        else:
            items = list(_at_publisher(card, client, variant, by_hand))
    except AccessError as error:
        if by_hand in str(error):
            raise
        raise AccessError(f"{card.name}: {str(error).rstrip('.')}. {by_hand}") from error
    if not items:
        where = f"The mirror {mirror} has no {LOCK_NAME} that lists it" if mirror else "No program can fetch it"
        raise AccessError(f"{card.name}: {where}. {by_hand}")
    if own := [item.entry.path for item in items if is_own(item.entry.path)]:
        raise AccessError(
            f"{card.name}: {own[0]} is listed there as one of its files, which would take the place of csp-data's"
            f" own, by which files are trusted. Nothing was fetched. {by_hand}"
        )
    counts = Counter(item.entry.path for item in items)
    if twice := [path for path, count in counts.items() if count > 1]:  # Google Drive allows equal names
        more = f" and {len(twice) - 1} more" if len(twice) > 1 else ""
        raise AccessError(
            f"{card.name}: {twice[0]}{more} stands there more than once, and only a person can tell which is"
            f" meant. {by_hand}"
        )
    return [_demand(item, expected, lock_file) for item in items]


def _demand(item: Item, expected: LockedSet, lock_file: Path) -> Item:
    locked = (expected.archives if item.archive else expected.files).get(item.entry.path)
    if locked is None or item.entry.sha256 is not None:
        return item
    entry = replace(item.entry, size=item.entry.size or locked.size, sha256=locked.sha256)
    return replace(item, entry=entry, lock_file=None if entry.git_blob else lock_file)


def _at_publisher(card: Card, client: Client, variant: Variant, by_hand: str) -> Iterator[Item]:
    for entry in (*card.files, *card.downloads):
        if entry.drive is not None:
            yield Item(entry, drive.file_address(entry.drive), by_hand, entry.drive)
        elif entry.url is not None:
            yield Item(entry, entry.url, by_hand)
    if card.access.drive_folder is not None:
        patterns = card.access.full if variant == "full" else card.access.compact
        chosen = replace(card, access=replace(card.access, compact=patterns, full=()))
        top = drive.list_folder(client, card.access.drive_folder)
        of_set = [entry for entry in top if has_publishers_name(chosen, entry.name)]
        if not of_set:
            raise AccessError(
                f"{card.name}: the publisher's folder holds {', '.join(entry.name for entry in top[:8])}, and"
                f" nothing like {', '.join(patterns)}. {by_hand}"
            )
        for found in of_set:
            yield from _on_drive(client, found, PurePosixPath(), by_hand, drive.DEEPEST)


def _on_drive(
    client: Client, entry: drive.DriveEntry, below: PurePosixPath, by_hand: str, depth: int
) -> Iterator[Item]:
    """Walk a folder; what lies in the set's own folder is named without it, as an import names it."""
    if "/" in entry.name or "\\" in entry.name or entry.name in ("", ".", ".."):
        raise AccessError(f"Google Drive lists the name {entry.name!r}, which leads out of the folder. {by_hand}")
    if entry.kind == "file":
        path = (below / entry.name).as_posix()
        yield Item(FileEntry(path, drive=entry.id), drive.file_address(entry.id), by_hand, entry.id)
    elif depth:
        inside = below / entry.name if depth < drive.DEEPEST else below
        for child in drive.list_folder(client, entry.id):
            yield from _on_drive(client, child, inside, by_hand, depth - 1)


def _on_mirror(card: Card, client: Client, mirror: str, scratch: Path, by_hand: str) -> Iterator[Item]:
    """List the same relative names as at the publisher; where those are not known, the mirror's lock file's."""
    entries = [*card.files, *card.downloads]
    if not card.files:
        listed = _mirror_lock(card, client, mirror, scratch)
        if listed.files:
            entries = [FileEntry(path, size=row.size, sha256=row.sha256) for path, row in listed.files.items()]
    unset = f"{VARIABLE}= " if os.environ.get(VARIABLE) else ""  # else the command would use it again
    without_mirror = f"Without this mirror: {unset}csp-data download {card.typed}. {by_hand}"
    for entry in entries:
        yield Item(entry, mirror + quote(os.fsencode(entry.path)), without_mirror)


def _mirror_lock(card: Card, client: Client, mirror: str, scratch: Path) -> LockedSet:
    address = mirror + LOCK_NAME
    local = local_file(address)
    if local is not None:
        return read_lock(local, card.name)
    target = scratch / LOCK_NAME
    try:
        fetch(RemoteFile(LOCK_NAME, address), target, client)
    except GoneError:
        return LockedSet()
    return read_lock(target, card.name)
