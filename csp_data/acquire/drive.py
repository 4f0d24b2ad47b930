"""Google Drive: files behind its confirmation page, folders by their public listing, and its refusals.

Drive answers a request for a file either with the file or with a web page: the form that confirms that a large
file was not scanned for viruses, or one of several ways to say no. Each is recognised; none is stored as data.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Literal
from urllib.parse import urlencode, urljoin, urlsplit

import requests

from csp_data.acquire.auth import origin
from csp_data.acquire.client import MIRROR, NETWORK_ERRORS, Client, describe_network_error
from csp_data.acquire.decide import may_pass
from csp_data.errors import AccessError, TransferError

__all__ = ["ADVICE", "DriveEntry", "file_address", "list_folder", "opener"]

logger = logging.getLogger(__name__)

TOMORROW = (
    f"Run the command again tomorrow, use {MIRROR}, or copy the file to your own Drive in a browser and import it."
)
ELSEWHERE = (
    "Open the file in a browser here and import it, or run the command again later or from another network."
)
SIGN_IN = "Sign in with a browser, and import the file."
MOVED = "See the publisher's page for its new place, then import it."
IN_A_BROWSER = "Get the file with a browser, and import it."
ADVICE = (TOMORROW, ELSEWHERE, SIGN_IN, MOVED, IN_A_BROWSER)
"""What to do when a page comes instead of a file."""
LARGEST_PAGE = 8 << 20
DEEPEST = 6
"""Folders within folders that a listing follows."""


@dataclass(frozen=True)
class DriveEntry:
    """An entry of a folder. Documents of Google's own kinds are no files and are left out."""

    id: str
    name: str
    kind: Literal["file", "folder"]


def file_address(id_: str) -> str:
    """Return the address that gives a file, or the page before it."""
    return f"https://drive.google.com/uc?{urlencode({'id': id_, 'export': 'download'})}"


def opener(
    client: Client, id_: str, name: str
) -> Callable[[Mapping[str, str]], AbstractContextManager[requests.Response]]:
    """Return a function that asks for a file, through the confirmation page where there is one.

    Parameters
    ----------
    client
        Opens addresses.
    id_
        The file's id on Drive.
    name
        Its name, for messages.
    """

    @contextmanager
    def open_(headers: Mapping[str, str]) -> Iterator[requests.Response]:
        with ExitStack() as stack:
            address = file_address(id_)
            for _ in range(2):
                response = stack.enter_context(client.open(address, headers))
                if not _is_page(response):
                    yield response
                    return
                page = _Page.of(response)
                if page.form is None:
                    break
                address = _confirmed(response.url, page)
            where = f"https://drive.google.com/file/d/{id_}/view"
            raise AccessError(f"{name}: {_refusal(response, page, where)}")

    return open_


def list_folder(client: Client, id_: str) -> list[DriveEntry]:
    """List a public folder, one level.

    Raises
    ------
    AccessError
        If Drive does not list it.
    """
    where = f"https://drive.google.com/drive/folders/{id_}"
    address = f"https://drive.google.com/embeddedfolderview?{urlencode({'id': id_})}"
    response, page = _patiently(client, address)
    if response.status_code != 200 or not page.links:
        raise AccessError(f"The folder cannot be listed: {_refusal(response, page, where)}")
    entries = []
    for href, name in page.links:
        kind = re.search(r"/file/d/([\w-]+)|/drive/(?:u/\d+/)?folders/([\w-]+)", urlsplit(href).path)
        if kind is None:
            if "docs.google.com" in href:
                logger.warning("%s is a Google document, not a file; it is left out", name)
            continue
        entries.append(DriveEntry(kind[1] or kind[2], name, "file" if kind[1] else "folder"))
    if not entries:
        raise AccessError(f"The folder lists nothing ({where}). Open it in a browser to see why.")
    return entries


def _patiently(client: Client, address: str) -> tuple[requests.Response, _Page]:
    """Return a page, trying again while that may help."""
    patience, jitter = client.patience, random.Random()
    for failures in range(1, patience.tries + 1):
        try:
            with client.open(address, {}) as response:
                page = _Page.of(response)
            if not may_pass(response.status_code) or failures == patience.tries:
                return response, page
            problem, unreachable = f"the server answered {response.status_code}", False
        except NETWORK_ERRORS as error:
            problem, unreachable = describe_network_error(error)
        if failures < patience.tries:
            wait_s = patience.wait_s(failures, jitter)
            logger.warning("%s: %s; attempt %d in %.1f s", address, problem, failures + 1, wait_s)
            time.sleep(wait_s)
    if unreachable:
        raise AccessError(
            f"{client.give_up(address, problem)}. Try again later, or use {MIRROR}, or csp-data import."
        )
    raise TransferError("The list of the folder", address, problem, "Run the command again later.")


def _is_page(response: requests.Response) -> bool:
    """Whether the answer is a web page; files come with a Content-Disposition or a type of their own."""
    if response.status_code in (206, 416) or "Content-Disposition" in response.headers:
        return False
    passing = response.status_code == 429 or response.status_code >= 500
    return not passing and "html" in response.headers.get("Content-Type", "").lower()


def _confirmed(base: str, page: _Page) -> str:
    """Return where the confirmation form leads: to Google, or to the host that gave the page."""
    action, fields = page.form or ("", {})
    target = urljoin(base, action)
    host = urlsplit(target).hostname or ""
    if not (host.endswith((".google.com", ".googleusercontent.com")) or origin(target) == origin(base)):
        raise AccessError(f"Google Drive's form leads to {host}, which is not Google's. It is not followed.")
    return f"{target}{'&' if urlsplit(target).query else '?'}{urlencode(fields)}"


def _refusal(response: requests.Response, page: _Page, where: str) -> str:
    """Say what a page means, where a person finds what was asked for, and what to do."""
    text = " ".join(page.text.split())
    low = text.lower()
    host = urlsplit(response.url).hostname or ""
    if "too many users" in low or "download quota" in low or "quota exceeded" in low:
        problem = "Google Drive's quota for this file is used up; it says that this may take up to 24 hours"
        advice = TOMORROW
    elif "automated queries" in low or "unusual traffic" in low:
        problem, advice = "Google takes this network for a robot", ELSEWHERE
    elif host.startswith("accounts.") or page.asks_to_sign_in or "sign in" in low[:400]:
        problem, advice = "Google asks to sign in: the file is not public any more", SIGN_IN
    elif response.status_code == 404 or "not found" in low or "does not exist" in low:
        problem, advice = "Google Drive does not have it any more", MOVED
    else:
        message = page.caption or page.title or f"status {response.status_code}"
        problem, advice = f"Google Drive answered with a page: {message[:200]!r}", IN_A_BROWSER
    return f"{problem} ({where}). {advice}"


class _Page(HTMLParser):
    """What matters of a page: title, text, links, the download form, the caption of an error."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title = self.text = self.caption = ""
        self.asks_to_sign_in = False
        self.links: list[tuple[str, str]] = []
        self.form: tuple[str, dict[str, str]] | None = None
        self._in_form = False
        self._inside: str | None = None  # what the text belongs to

    @classmethod
    def of(cls, response: requests.Response) -> _Page:
        """Read an answer's body, up to a bound."""
        page = cls()
        body = response.raw.read(LARGEST_PAGE, decode_content=True)
        text = body.decode("utf-8", "replace")
        page.feed(text)
        page.close()
        low = text.lower()
        page.asks_to_sign_in = "servicelogin" in low or "accounts.google.com/v3/signin" in low
        old = re.search(r'href="(/uc\?export=download[^"]+)"', text) or re.search(r'"downloadUrl":"([^"]+)"', text)
        if page.form is None and old is not None:  # the forms that Drive used before 2023
            address = old[1].replace("&amp;", "&").replace("\\u003d", "=").replace("\\u0026", "&")
            page.form = (address, {})
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Follow forms, links and captions."""
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._in_form = values.get("id") in ("download-form", "downloadForm")
            if self._in_form:
                self.form = (values.get("action", ""), {})
        elif tag == "input" and self._in_form and self.form is not None and values.get("name"):
            self.form[1][values["name"]] = values.get("value", "")
        elif tag == "a":
            self.links.append((values.get("href", ""), ""))
            self._inside = "link"
        elif tag == "title":
            self._inside = "title"
        elif "uc-error-subcaption" in values.get("class", ""):
            self._inside = "caption"
        elif tag in ("script", "style"):
            self._inside = "code"

    def handle_endtag(self, tag: str) -> None:
        """Leave what was entered."""
        if tag == "form":
            self._in_form = False
        if tag in ("a", "title", "p", "script", "style"):
            self._inside = None

    def handle_data(self, data: str) -> None:
        """Collect text."""
        if self._inside == "link":
            href, name = self.links[-1]
            self.links[-1] = (href, (name + data).strip())
        elif self._inside == "title":
            self.title += data.strip()
        elif self._inside == "caption":
            self.caption += data
        if self._inside != "code":
            self.text += " " + data
