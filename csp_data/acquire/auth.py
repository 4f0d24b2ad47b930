"""User and password over HTTP, Digest or Basic: sent only when a server asks, and as it asks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase, HTTPBasicAuth, HTTPDigestAuth

from csp_data.errors import AccessError

__all__ = ["NO_AUTH", "Credentials", "answer_to", "origin"]


@dataclass(frozen=True)
class Credentials:
    """A user and a password, and the one origin (scheme, host, port) that may see them."""

    origin: str
    user: str = field(repr=False)
    password: str = field(repr=False)


class _NoAuth(AuthBase):
    """Sends nothing. Without it requests would look into netrc, whose default entry fits every host."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


NO_AUTH = _NoAuth()


def origin(address: str) -> str:
    """Return scheme, host and port of an address, as one string to compare."""
    parts = urlsplit(address)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"


def answer_to(challenge: str, mine: Credentials) -> AuthBase:
    """Return how to answer a server's challenge: by Digest where it offers that, or else by Basic.

    Parameters
    ----------
    challenge
        The header WWW-Authenticate of an answer 401; commas part several challenges (RFC 9110, 11.6.1).
    mine
        The user and the password.

    Raises
    ------
    AccessError
        If the server asks for neither.
    """
    unquoted = re.sub(r'"(?:[^"\\]|\\.)*"', '""', challenge)
    schemes = [
        name.lower() for name in re.findall(r"(?:^|,)\s*([A-Za-z][\w-]*)(?=\s+[^\s=]|\s*(?:,|$))", unquoted)
    ]
    if "digest" in schemes:
        return HTTPDigestAuth(mine.user, mine.password)
    if "basic" in schemes:
        return HTTPBasicAuth(mine.user.encode(), mine.password.encode())
    asked = f"asks for {', '.join(schemes)}" if schemes else "does not say what it asks for"
    raise AccessError(
        f"{mine.origin} denies access (401) and {asked}; only Basic and Digest can be answered. No password"
        " was sent"
    )
