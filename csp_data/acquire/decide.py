"""Decide what to do about a file, from what is on disk and what the server said; touch neither."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import responses
from typing import Literal

__all__ = [
    "DENIED_BY_PROXY",
    "WEB_PAGE",
    "Answer",
    "Partial",
    "Step",
    "decide",
    "may_pass",
    "parse_answer",
    "request_headers",
]

DENIED_BY_PROXY = "it wants a user and a password that fit (http://USER:PASSWORD@HOST)"
TEMPORARY = (408, 425, 429, 500, 502, 503, 504)
"""Known answers that may be others in a while."""

Action = Literal["append", "start", "whole", "discard", "retry", "refuse"]
Why = Literal["access", "gone", "page", "altered", "status"]


@dataclass(frozen=True)
class Partial:
    """What an earlier attempt left: its first `have` bytes, and what the server said of the whole then."""

    have: int = 0
    etag: str | None = None
    last_modified: str | None = None
    total: int | None = None

    @property
    def validator(self) -> str | None:
        """What If-Range may carry: a strong ETag, or else the date (RFC 9110, 13.1.5)."""
        if self.etag is not None and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified


@dataclass(frozen=True)
class Answer:
    """The head of a server's answer. Sizes in bytes, `retry_after` in seconds.

    `first` and `last` are the positions that Content-Range gives, `total` is the size of the whole file as far as
    the answer tells; `web_page` says that the body calls itself HTML.
    """

    status: int
    etag: str | None = None
    last_modified: str | None = None
    first: int | None = None
    last: int | None = None
    total: int | None = None
    retry_after: float | None = None
    web_page: bool = False


@dataclass(frozen=True)
class Step:
    """What to do next.

    ``append``: add the body to what is there; ``start``: write the body to an empty file; ``whole``: nothing is
    left to fetch; ``discard``: drop what is there and ask for all of it; ``retry``: ask again after a while;
    ``refuse``: give up, for `why`.
    """

    action: Action
    reason: str = ""
    why: Why = "status"
    wait_s: float | None = None


WEB_PAGE = Step("refuse", "a web page came instead of the file", "page")


def may_pass(status: int) -> bool:
    """Whether an answer may be another in a while; an unknown 5xx counts as 500 does (RFC 9110, 15)."""
    return status in TEMPORARY or (500 <= status < 600 and status not in responses)


def request_headers(partial: Partial, *, digest_known: bool) -> dict[str, str]:
    """Return the request headers that ask for what is missing.

    Without a validator the server could send the end of another version. That is only risked when a digest will
    tell; otherwise the file is asked for from its beginning.
    """
    if partial.have == 0 or (partial.validator is None and not digest_known):
        return {}
    asked = {"Range": f"bytes={partial.have}-"}
    return asked if partial.validator is None else {**asked, "If-Range": partial.validator}


def parse_answer(status: int, headers: Mapping[str, str], now: datetime | None = None) -> Answer:
    """Read the head of an answer; what does not parse counts as absent."""
    first = last = total = None
    if status in (206, 416):
        found = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", headers.get("Content-Range", "").strip())
        if found:
            first, last, total = map(_bytes, found.groups())
    elif headers.get("Content-Encoding", "identity") == "identity":
        total = _bytes(headers.get("Content-Length"))
    return Answer(
        status=status,
        etag=headers.get("ETag"),
        last_modified=headers.get("Last-Modified"),
        first=first,
        last=last,
        total=total,
        # by the server's clock, where it tells: ours may be wrong
        retry_after=_seconds(headers.get("Retry-After"), _date(headers.get("Date")) or now or datetime.now(UTC)),
        web_page="html" in headers.get("Content-Type", "").lower(),
    )


def _bytes(text: str | None) -> int | None:
    """Read a number of bytes; more than any file has is none, and nor is ², which Python counts as a digit."""
    return int(text) if text and re.fullmatch("[0-9]{1,30}", text) else None


def _seconds(text: str | None, now: datetime) -> float | None:
    """Read Retry-After: seconds, or a date."""
    if text is None:
        return None
    if re.fullmatch("[0-9]+", text.strip()):  # not isdigit, which takes ² for one
        return float(text)
    then = _date(text)
    return None if then is None else max(0.0, (then - now).total_seconds())


def _date(text: str | None) -> datetime | None:
    """Read a date in one of the three forms of RFC 9110, 5.6.7; one without a zone means GMT."""
    try:
        date = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return date.replace(tzinfo=date.tzinfo or UTC)


def decide(partial: Partial, asked: Mapping[str, str], answer: Answer, size: int | None) -> Step:
    """Return the next step.

    Parameters
    ----------
    partial
        What is on disk.
    asked
        The request headers, from :func:`request_headers`.
    answer
        What the server said.
    size
        Size of the file in bytes where its publisher states it.
    """
    if answer.status in (200, 206):
        if answer.web_page:
            return WEB_PAGE
        if size is not None and answer.total is not None and answer.total != size:
            return Step("refuse", f"expected {size} bytes, the server offers {answer.total}", "altered")
        return Step("start") if answer.status == 200 else _append_or_discard(partial, asked, answer)
    if answer.status == 416 and asked:
        known = answer.total if answer.total is not None else partial.total
        whole = known == partial.have and size in (None, known) and partial.total in (None, known)
        return (
            Step("whole") if whole else Step("discard", f"{partial.have} bytes are here, the server has {known}")
        )
    if may_pass(answer.status):
        return Step("retry", f"the server answered {answer.status}", wait_s=answer.retry_after)
    if answer.status == 401:
        return Step("refuse", "the server denies access (401): it wants a user and a password that fit", "access")
    if answer.status == 407:
        return Step("refuse", f"the proxy denies access (407): {DENIED_BY_PROXY}", "access")
    if answer.status == 511:  # not the server's: the network's, in its place (RFC 6585, 6)
        return Step("refuse", "this network wants you to log in (511): open any page in a browser", "access")
    if answer.status in (403, 451):
        return Step("refuse", f"the server denies access ({answer.status})", "access")
    if answer.status in (404, 410):
        return Step("refuse", f"the server does not have it ({answer.status})", "gone")
    return Step("refuse", f"the server answered {answer.status}", "status")


def _append_or_discard(partial: Partial, asked: Mapping[str, str], answer: Answer) -> Step:
    """Return what to do with a part of the file (206): it must be the rest of what is on disk."""
    if answer.first is None or answer.last is None:
        return Step("discard", "a part without a Content-Range came")
    if not asked or answer.first != partial.have:
        return Step("discard", f"asked for the bytes from {partial.have}, got those from {answer.first}")
    if answer.total is not None and answer.last != answer.total - 1:
        return Step("discard", f"asked for the bytes to the end, got those to {answer.last} of {answer.total}")
    for name, before, now in (
        ("size", partial.total, answer.total),
        ("ETag", partial.etag, answer.etag),
        ("Last-Modified", partial.last_modified, answer.last_modified),
    ):
        if before is not None and now is not None and before != now:
            return Step("discard", f"the file has changed on the server: its {name} was {before} and is {now}")
    return Step("append")
