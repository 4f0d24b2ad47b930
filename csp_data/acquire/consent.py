"""Ask a person for the consent to a licence and for a password; neither is ever assumed or shown."""

from __future__ import annotations

import hashlib
import netrc
import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from csp_data.acquire.auth import Credentials, origin
from csp_data.card import Card, prose
from csp_data.errors import AccessError, CspDataError
from csp_data.files import read_json
from csp_data.home import home, lock
from csp_data.output import write_json

__all__ = ["AskLicence", "AskPassword", "credentials_for", "require_licence"]

AskLicence = Callable[[str], bool]
"""Shows the terms and asks a person; only given where one sits at a terminal."""
AskPassword = Callable[[str], tuple[str, str]]
"""Asks a person for user and password of a host."""


def require_licence(card: Card, *, accepted: bool, ask: AskLicence | None = None) -> None:
    """Go on only if the terms of a data set are accepted; once is enough for one wording.

    Raises
    ------
    AccessError
        If they are not accepted, or nobody can be asked.
    """
    if card.access.kind == "open":
        return
    terms = f"{card.licence.name} ({card.licence.url})\n{prose(card.licence.terms)}"
    key = hashlib.sha256(terms.encode()).hexdigest()
    path = home() / "licences.json"
    if not accepted and _known(path).get(card.name) == key:
        return
    if not accepted and not (ask is not None and ask(f"Terms of {card.name}: {terms}")):
        raise AccessError(
            f"{card.name}: its terms are not accepted, nothing was fetched. {terms}\nIf you accept them, run the"
            " command with --accept-licence, or pass accept_licence=True."
        )
    try:
        with lock(path):
            write_json(path, {**_known(path), card.name: key})
    except CspDataError:
        pass  # a read-only home: the next command asks again


def _known(path: Path) -> dict[str, str]:
    try:
        rows = read_json(path)
        return rows if isinstance(rows, dict) else {}
    except (OSError, ValueError):
        return {}


def credentials_for(card: Card, address: str, ask: AskPassword | None = None) -> Credentials | None:
    """Return the user and password for the host of an address: environment, then netrc, then the person.

    Only asked for where the card says that the host wants them. netrc counts for exactly its machine.

    Parameters
    ----------
    card
        The data set; its name is part of the variables, as ``CSP_DATA_TOTALCAPTURE_USER`` and ``..._PASSWORD``,
        with ``_`` for what no variable can have.
    address
        As it will be asked for.
    ask
        Asks a person, where there is one.

    Raises
    ------
    AccessError
        If they are needed and not to be had.
    """
    if card.access.kind != "password":
        return None
    stem = "CSP_DATA_" + re.sub(r"\W", "_", card.name.upper(), flags=re.ASCII) + "_"  # as shells can set it
    user, password = os.environ.get(stem + "USER"), os.environ.get(stem + "PASSWORD")
    host = urlsplit(address).hostname or ""
    if not (user and password):
        user, password = _from_netrc(host) or (ask(host) if ask is not None else (None, None))
    if not (user and password):
        raise AccessError(
            f"{host} wants the user and password that the publisher of {card.name} gives. Set {stem}USER and"
            f" {stem}PASSWORD, or write them to ~/.netrc (machine {host} login ... password ...), or run the"
            f" command at a terminal. To get them: {prose(card.obtain)}"
        )
    return Credentials(origin(address), user, password)


def _from_netrc(host: str) -> tuple[str, str] | None:
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        entry = netrc.netrc(str(path)).hosts.get(host)
    except (OSError, netrc.NetrcParseError):
        return None
    return (entry[0], entry[2]) if entry is not None and entry[0] and entry[2] else None
