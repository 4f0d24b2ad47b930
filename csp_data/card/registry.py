"""Find the card of a data set by its name: one that ships, one from outside the package, or a registered one."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import cast

from csp_data.card.parse import read_card
from csp_data.card.plugins import (
    CARD,
    READER,
    VARIABLE,
    FolderReader,
    ModuleReader,
    installed_readers,
    plugin_folders,
)
from csp_data.card.types import Card
from csp_data.errors import CardError, CspDataError, OptionError, UnknownNameError
from csp_data.files import check_file
from csp_data.home import expanded

__all__ = ["add_card", "bundled_root", "is_shipped", "left_out", "load_card", "names", "read_external_card"]

logger = logging.getLogger(__name__)


@cache
def _shipped_texts() -> Mapping[str, str]:
    folder = resources.files("csp_data") / "cards"
    files = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return {file.removesuffix(".toml"): (folder / file).read_text(encoding="utf-8") for file in files}


@cache
def _shipped_cards() -> Mapping[str, Card]:
    texts = _shipped_texts()
    return MappingProxyType({name: read_card(text, f"{name}.toml", texts) for name, text in texts.items()})


_added: dict[str, Card] = {}
"""Cards that this process registered itself."""


@cache
def _external_cards(plugins: str) -> tuple[Mapping[str, Card], Mapping[str, CspDataError]]:
    """Read the cards of installed packages and of the folders in `plugins`; return the broken ones apart.

    Of folders with one name the first counts, as in PATH. Packages have no order that all machines share: of two
    with one name, none is used.
    """
    cards: dict[str, Card] = {}
    broken: dict[str, CspDataError] = {}
    ambiguous: dict[str, CardError] = {}
    for name, reader in (*installed_readers(), *plugin_folders(plugins)):
        try:
            if isinstance(reader, CspDataError):
                raise reader
            card = read_external_card(reader)
            other = cards.setdefault(card.name, card)
            if other is not card:
                there = other.reader.folder if other.reader is not None else None
                if isinstance(reader, ModuleReader) and reader.folder != there:
                    problem = f"two installed packages have a data set of this name, {there} and {reader.folder}"
                    ambiguous[card.name] = CardError(card.name, f"{problem}: uninstall one of them")
                    continue
                problem = f"the name {card.name!r} is also that of another data set, {there}"
                raise CardError(str(reader.folder), problem)
        except CspDataError as error:
            logger.warning("%s is left out: %s", name, error)
            broken[name] = error
    for name, ambiguity in ambiguous.items():
        logger.warning("%s is left out: %s", name, ambiguity)
        del cards[name]
    return cards, broken | ambiguous


def read_external_card(reader: FolderReader | ModuleReader, path: Path | None = None) -> Card:
    """Read the card beside a reader, or one that needs none; `path` where it has another name."""
    path = path or reader.folder / CARD
    try:
        check_file(path)
        text = path.read_text(encoding="utf-8-sig")  # some editors mark UTF-8 so
    except (OSError, UnicodeDecodeError) as error:
        raise CardError(str(path), f"cannot be read ({error})") from error
    card = check_name(read_card(text, str(path), _shipped_texts()))
    if isinstance(reader, FolderReader) and card.source and not (reader.folder / READER).is_file():
        return card  # other parts, say, of recordings that this package reads
    return replace(card, reader=reader)


def is_shipped(card: Card) -> bool:
    """Whether a card is one of the package; no other has the name of one (:func:`check_name`)."""
    return card.name in _shipped_texts()


def check_name(card: Card) -> Card:
    """Refuse a card from outside with a name or alias of a set of the package."""
    taken = {name.lower() for shipped in _shipped_cards().values() for name in (shipped.name, *shipped.aliases)}
    if clash := {name for name in (card.name, *card.aliases) if name.lower() in taken}:
        raise CardError(card.name, f"{sorted(clash)[0]!r} is a name of a data set of csp-data; choose another")
    if Path(card.name).name != card.name or card.name in (".", ".."):
        raise CardError(card.name, "the name must be one that a folder can have")
    return card


def add_card(card: Card) -> Card:
    """Make a card known to this process; one of the same name is replaced."""
    _added[card.name] = check_name(card)
    return card


def _all_cards() -> dict[str, Card]:
    return {**_shipped_cards(), **_external_cards(os.environ.get(VARIABLE, ""))[0], **_added}


def names() -> tuple[str, ...]:
    """Return the names of all data sets, sorted, including your own that are registered.

    Examples
    --------
    >>> import csp_data
    >>> "sample" in csp_data.names()
    True
    """
    return tuple(sorted(_all_cards()))


def left_out() -> Mapping[str, CspDataError]:
    """Return why data sets from outside the package cannot be used, by name or folder."""
    return _external_cards(os.environ.get(VARIABLE, ""))[1]


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
        name = str(expanded(name, "name").absolute())
    if name in _shipped_cards():
        return _shipped_cards()[name]
    cards = _all_cards()
    if name in cards:
        return cards[name]
    for card in cards.values():
        if name.lower() in {alias.lower() for alias in card.aliases}:
            return card
    folder = expanded(name, "name")
    if (folder / CARD).is_file():
        return add_card(read_external_card(FolderReader(folder.absolute())))
    if (error := left_out().get(name)) is not None:
        raise error
    if folder.is_dir() or folder.suffix or folder.name != name:  # a place rather than a misspelt name
        raise _no_card_there(name, folder)
    raise UnknownNameError("data set", name, sorted(cards))


def _no_card_there(name: str, folder: Path) -> OptionError:
    there = "this one holds none" if folder.is_dir() else f"there is {'a file' if folder.exists() else 'nothing'}"
    fix = ""
    if folder.suffix in (".h5", ".hdf5"):
        ways = f"csp_data.load(path={name!r}), or csp-data info, plot, view or export"
        fix = f"If it is a prepared file, read it as it is: {ways}. All else needs the recordings."
    return OptionError("name", name, f"a data set's name, or a folder that holds {CARD}; {there}", fix)


def bundled_root(card: Card) -> Path | None:
    """Return the folder of a data set whose raw files come with it, or ``None``."""
    if card.bundled is None:
        return None
    if card.reader is None:
        return Path(str(resources.files("csp_data") / "samples" / card.bundled))
    return None if card.reader.folder is None else card.reader.folder / card.bundled
