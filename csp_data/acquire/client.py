"""An HTTP client with time-outs and careful redirects, whose passwords go to their own host alone."""

from __future__ import annotations

import http.client
import ipaddress
import logging
import os
import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import requests
import urllib3.exceptions
from requests.auth import AuthBase

from csp_data._version import __version__
from csp_data.acquire.auth import NO_AUTH, Credentials, answer_to, origin
from csp_data.acquire.connection import Breaker, BreakerAdapter
from csp_data.acquire.decide import DENIED_BY_PROXY
from csp_data.errors import AccessError, CspDataError, OptionError

__all__ = [
    "MIRROR",
    "NETWORK_ERRORS",
    "UNREACHED",
    "Client",
    "Patience",
    "RedirectError",
    "describe_network_error",
    "is_loopback",
    "offline",
]

logger = logging.getLogger(__name__)

HOPS = 10
MIRROR = "a mirror (--mirror, in Python mirror=)"
"""Another way to the files, as advice names it, which is read at the shell and in Python."""
UNREACHED = f"Try again later, or use {MIRROR}."
"""What to do about a host that cannot be reached."""
REDIRECTS = (301, 302, 303, 307, 308)
NETWORK_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)
"""What a connection raises when it breaks; files are opened and written elsewhere, so OSError is the network's."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server, in seconds.

    Parameters
    ----------
    connect_s
        For a connection to be made.
    stall_s
        Between two pieces of an answer.
    tries
        Attempts that bring nothing new before the transfer is given up; one that brings bytes starts the count
        again.
    first_wait_s
        Before the second attempt; each further wait is twice as long, with jitter.
    longest_wait_s
        Bound of a wait. A server that asks for more (Retry-After) is not waited for.
    """

    connect_s: float = 10.0
    stall_s: float = 60.0
    tries: int = 5
    first_wait_s: float = 1.0
    longest_wait_s: float = 120.0

    def wait_s(self, failures: int, jitter: random.Random) -> float:
        """Return the wait after so many failures in a row: between half and all of the doubled time."""
        longest = min(self.longest_wait_s, self.first_wait_s * 2.0 ** (failures - 1))
        return longest * jitter.uniform(0.5, 1.0)


class RedirectError(CspDataError):
    """Redirects that go round, or lead where they must not."""


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine itself; a name that only begins like one, as 127.example.org, is not."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def offline() -> bool:
    """Whether ``CSP_DATA_OFFLINE`` forbids the network."""
    return os.environ.get("CSP_DATA_OFFLINE", "") not in ("", "0")


def _reroutes() -> Mapping[str, str]:
    """Read ``CSP_DATA_REROUTE``: ``from=to`` pairs of address beginnings, separated by blanks."""
    pairs = {}
    for pair in os.environ.get("CSP_DATA_REROUTE", "").split():
        begins, _, becomes = pair.partition("=")
        if not (begins and becomes):
            raise OptionError("CSP_DATA_REROUTE", pair, "pairs like https://host/=http://127.0.0.1:8000/")
        _, at, host = becomes.partition("://")[2].partition("/")[0].rpartition("@")
        if at:  # it would be shown, and is never sent
            raise OptionError("CSP_DATA_REROUTE", f"{begins}=...@{host}", "no user or password in an address")
        pairs[begins] = becomes
    return pairs


class Client:
    """Opens addresses. Safe to share between threads.

    Parameters
    ----------
    patience
        Time-outs and attempts.
    credentials
        Sent to their own origin only, over https or to this machine, when it asks and as it asks.
    """

    def __init__(self, patience: Patience | None = None, credentials: Credentials | None = None) -> None:
        self.patience = patience or Patience()
        self._credentials = credentials
        self._auth: AuthBase | None = None  # how the origin of the credentials wants them
        self._breaker = Breaker()
        self._reroutes = _reroutes()
        self._local = threading.local()
        self._unreachable: dict[str, str] = {}

    def route(self, address: str) -> str:
        """Return where an address is really asked for (``CSP_DATA_REROUTE``); itself by default."""
        for begins, becomes in self._reroutes.items():
            if address.startswith(begins):
                return becomes + address[len(begins) :]
        return address

    @contextmanager
    def open(self, address: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        """Ask for an address and follow its redirects; the body is still to be read.

        Raises
        ------
        AccessError
            If the network is switched off, or its host was found unreachable before.
        RedirectError
            If redirects do not end, or leave https.
        """
        if offline():
            raise AccessError(
                f"{address} is not asked for: CSP_DATA_OFFLINE is set. Unset it, or import the files."
            )
        response = self._follow(self.route(address), headers)
        try:
            yield response
        finally:
            response.close()

    def _follow(self, address: str, headers: Mapping[str, str]) -> requests.Response:
        seen: list[str] = []
        while True:
            if address in seen or len(seen) >= HOPS:
                raise RedirectError(
                    f"{seen[0]}: its redirects do not end (after {len(seen)} hops at {address}). Report it to its"
                    f" host; meanwhile use {MIRROR}, or import the files."
                )
            seen.append(address)
            response = self._get(address, headers)
            place = response.headers.get("Location")
            if response.status_code not in REDIRECTS or not place:
                return response
            response.close()
            following = self.route(urljoin(address, place))
            target = urlsplit(following)
            leaves_https = urlsplit(address).scheme == "https" and target.scheme == "http"
            if target.scheme not in ("http", "https") or (leaves_https and not is_loopback(target.hostname)):
                raise RedirectError(
                    f"{address} redirects to {following}, which is not https. It is not followed."
                    f" Report it to its host; meanwhile use {MIRROR}, or import the files."
                )
            logger.debug("%s redirects to %s", address, following)
            address = following

    def _get(self, address: str, headers: Mapping[str, str]) -> requests.Response:
        host = origin(address)
        if host in self._unreachable:
            raise AccessError(self._unreachable[host])
        credentials = self._credentials_for(address)
        auth = self._auth
        response = self._ask(address, headers, auth if credentials is not None else None)
        if response.status_code == 401 and credentials is not None and auth is None:
            response.close()
            self._auth = answer_to(response.headers.get("WWW-Authenticate", ""), credentials)
            response = self._ask(address, headers, self._auth)
        return response

    def _ask(self, address: str, headers: Mapping[str, str], auth: AuthBase | None) -> requests.Response:
        return self._session().get(
            address,
            headers={**headers, "Accept-Encoding": "identity", "User-Agent": f"csp-data/{__version__}"},
            auth=auth or NO_AUTH,
            timeout=(self.patience.connect_s, self.patience.stall_s),
            allow_redirects=False,
            stream=True,
        )

    def _credentials_for(self, address: str) -> Credentials | None:
        """Return the credentials, if an address belongs to their origin."""
        credentials = self._credentials
        if credentials is None or credentials.origin != origin(address):
            return None
        if urlsplit(address).scheme != "https" and not is_loopback(urlsplit(address).hostname):
            raise AccessError(
                f"{origin(address)}: a password is not sent over plain http, where others can read it."
                " Use an https address, or import the files."
            )
        return credentials

    def abort(self) -> None:
        """End all connections at once, from any thread; no new one can be made."""
        self._breaker.pull()

    def give_up(self, address: str, why: str) -> AccessError:
        """Remember that a host cannot be reached, so that no other file waits for it; return what to raise."""
        host = origin(self.route(address))
        self._unreachable[host] = f"{host} cannot be reached ({why})"
        return AccessError(self._unreachable[host])

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            # as Python itself has it; requests knows REQUESTS_CA_BUNDLE alone, which comes first
            self._local.session.verify = os.environ.get("SSL_CERT_FILE") or True
            adapter = BreakerAdapter(self._breaker, 2 * self.patience.connect_s)  # a host can have two addresses
            for scheme in ("http://", "https://"):
                self._local.session.mount(scheme, adapter)
        session: requests.Session = self._local.session
        return session


def describe_network_error(error: BaseException) -> tuple[str, bool]:
    """Return why a request failed, in a few words, and whether no connection was ever made."""
    nested = error.args[0] if isinstance(error, requests.ConnectionError) and error.args else None
    return _short(error), isinstance(nested, urllib3.exceptions.MaxRetryError)


def _short(error: BaseException) -> str:
    """Say what broke in a few words; the network libraries nest their reasons deep."""
    if isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)):
        return "the server was silent for too long"
    text = str(error)
    if isinstance(error, requests.exceptions.ProxyError):
        reason = DENIED_BY_PROXY if "407" in text else "it cannot be reached"
        return f"through the proxy that http_proxy or https_proxy names: {reason}"
    for needle, words in (
        ("Read timed out", "the server was silent for too long"),
        ("refused", "connection refused"),
        ("resolve", "its name cannot be resolved"),
        ("resolution", "its name cannot be resolved"),
        ("Connection reset", "the connection was reset"),
        ("closed connection without response", "the connection ended without an answer"),
        ("IncompleteRead", "the connection ended too early"),
        ("InvalidChunkLength", "the connection ended too early"),
        ("failed to decode", "what it sent compressed is damaged"),
        ("BadStatusLine", "what answers there does not speak HTTP"),
        ("unreachable", "the network is unreachable"),
        ("certificate is not yet valid", "its certificate is not valid yet; is the clock of this machine right?"),
        ("certificate has expired", "its certificate has expired; is the clock of this machine right?"),
        (
            "certificate is not valid for",
            "its certificate is another host's, as where a network wants you to log in",
        ),
        (
            "CERTIFICATE_VERIFY_FAILED",
            "its certificate is signed by nobody known here; if that is your own network, name the file of its "
            "authority in REQUESTS_CA_BUNDLE or SSL_CERT_FILE",
        ),
    ):
        if needle in text:
            return words
    return f"{type(error).__name__}: {text[:200]}"
