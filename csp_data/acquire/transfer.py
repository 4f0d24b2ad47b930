"""Fetch one file over HTTP: resumed where that is safe, digested on the way, renamed only when it is whole.

The bytes go to ``<file>.part``; ``<file>.part.json`` remembers what the server said of the file they belong to.
:mod:`csp_data.acquire.decide` decides what to do, this module does it.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import random
import shutil
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import urlsplit

import requests

from csp_data.acquire.client import NETWORK_ERRORS, UNREACHED, Client, RedirectError, describe_network_error
from csp_data.acquire.decide import WEB_PAGE, Answer, Partial, Step, decide, parse_answer, request_headers
from csp_data.acquire.digests import BLOCK, Digest, Hasher
from csp_data.acquire.leftovers import part_of, sidecar_of
from csp_data.acquire.lockfile import if_replaced
from csp_data.card import FileEntry
from csp_data.errors import AccessError, CspDataError, TransferError, VerificationError
from csp_data.files import JSON_FAULTS, read_json
from csp_data.output import open_new, sync_folder
from csp_data.terminal import count_of

__all__ = [
    "GoneError",
    "Opener",
    "RemoteFile",
    "Stopped",
    "Watch",
    "fetch",
    "looks_like_html",
    "mismatch",
]

logger = logging.getLogger(__name__)

DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
HEAD_BYTES: Final = 512
MAKE_WRITABLE: Final = "Check the folder's rights, or set CSP_DATA_HOME to a folder you own."

Opener = Callable[[Mapping[str, str]], AbstractContextManager[requests.Response]]
"""Asks for the file with these headers, and gives the answer whose body is the file."""


class GoneError(AccessError):
    """The server has no such file."""


class Stopped(CspDataError):
    """The person asked to stop; what has arrived is kept."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch: name for messages, address, what its publisher says of it, how to get it by hand.

    ``lock_file`` says it instead, where it is given: what the first copy was.
    """

    name: str
    address: str
    size: int | None = None
    sha256: str | None = None
    git_blob: str | None = None
    by_hand: str = "Get it by hand and import it with csp-data import."
    lock_file: Path | None = None

    @property
    def wanted(self) -> str:
        """What came is not, where it differs."""
        return "the publisher's file" if self.lock_file is None else f"the one that {self.lock_file} names"

    @property
    def otherwise(self) -> str:
        """What to do where something else came."""
        if self.lock_file is None:
            return "Use another mirror, or tell its publisher."
        return f"Use another mirror. {if_replaced(self.lock_file)}"

    @property
    def digest_known(self) -> bool:
        """Whether its bytes can be told from others."""
        return self.sha256 is not None or self.git_blob is not None


def mismatch(stated: RemoteFile | FileEntry, digest: Digest) -> str:
    """Return in what a file is not what its publisher states of it, or an empty string."""
    for kind in ("size", "sha256", "git_blob"):
        expected, found = getattr(stated, kind), getattr(digest, kind)
        if expected is not None and expected != found:
            return f"expected {kind} {expected}, found {found}"
    return ""


@dataclass(frozen=True)
class Watch:
    """Told of the bytes: `total` when a file's size becomes known, `moved` at each step (back: negative)."""

    total: Callable[[int], object] = lambda size: None
    moved: Callable[[int], object] = lambda count: None
    stop: threading.Event = field(default_factory=threading.Event)


class _TemporaryFailure(Exception):
    """An attempt failed for a reason that may pass."""

    def __init__(self, reason: str, wait_s: float | None = None, *, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.wait_s, self.unreachable = wait_s, unreachable


def looks_like_html(head: bytes) -> bool:
    """Whether the first bytes of a body are a web page's, whatever its header says."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")[:14].lower().startswith((b"<!doctype html", b"<html", b"<head"))


def fetch(
    file: RemoteFile, target: Path, client: Client, *, opener: Opener | None = None, watch: Watch | None = None
) -> Digest:
    """Bring a file to `target`; when it returns, the file is whole, verified and on the disk.

    Parameters
    ----------
    file
        The file.
    target
        Its place; the folder exists. What stands there is replaced at the end, in one step.
    client
        Opens addresses; its patience holds for each attempt.
    opener
        How to ask for the file; by default a plain request for its address.
    watch
        Told of progress; its `stop` ends the transfer within a moment.

    Returns
    -------
    Digest
        Of the bytes now at `target`.

    Raises
    ------
    AccessError
        If a person is needed: access denied, file (:class:`GoneError`) or host gone, a web page instead of it.
    TransferError
        If it may work later; what has arrived is kept and the next call goes on from there.
    VerificationError
        If the server has other bytes than the publisher states; they are deleted.
    CspDataError
        If the disk is full.
    """
    try:
        return _Transfer(file, target, client, opener, watch or Watch()).run()
    except (AccessError, RedirectError) as error:
        if file.name in str(error):
            raise
        raise type(error)(f"{file.name}: {str(error).rstrip('.')}. {file.by_hand}") from error


class _Transfer:
    def __init__(
        self, file: RemoteFile, target: Path, client: Client, opener: Opener | None, watch: Watch
    ) -> None:
        self.file, self.target, self.client, self.watch = file, target, client, watch
        self.opener: Opener = opener or (lambda headers: client.open(file.address, headers))
        self.part = part_of(target)
        self.sidecar = sidecar_of(target)
        self.partial = self._read_sidecar()
        self.hasher: Hasher | None = None
        self.spliced = self.partial.have > 0  # the part file holds bytes of more than one answer
        self.announced: int | None = None
        self.jitter = random.Random()

    def run(self) -> Digest:
        failures, most_bytes = 0, self.partial.have
        self.watch.moved(most_bytes)  # what an earlier call brought counts as progress
        while True:
            try:
                if self._attempt():
                    digest = self._finish()
                    if digest is not None:
                        return digest
                    continue
                problem = _TemporaryFailure("the file on disk was not the beginning of the server's")
            except _TemporaryFailure as failure:
                problem = failure
            failures = 1 if self.partial.have > most_bytes else failures + 1
            most_bytes = max(most_bytes, self.partial.have)
            self._wait_or_give_up(problem, failures)

    def _wait_or_give_up(self, problem: _TemporaryFailure, failures: int) -> None:
        """Wait before the next attempt, or give up."""
        patience = self.client.patience
        self._check_stop()
        kept = self._kept()
        if failures >= patience.tries:
            if problem.unreachable:
                raise AccessError(
                    f"{self.file.name}: {self.client.give_up(self.file.address, str(problem))}."
                    f" {UNREACHED} {self.file.by_hand}"
                )
            reason = f"{problem}; gave up after {count_of(failures, 'attempt')}"
            raise TransferError(self.file.name, self.file.address, reason, kept)
        asked_s = problem.wait_s or 0.0
        if asked_s > patience.longest_wait_s:
            reason = f"{problem}, and asks to come back in {asked_s:.0f} s"
            raise TransferError(self.file.name, self.file.address, reason, kept)
        wait_s = max(asked_s, patience.wait_s(failures, self.jitter))
        logger.warning("%s: %s; attempt %d in %.1f s", self.file.name, problem, failures + 1, wait_s)
        self.watch.stop.wait(wait_s)
        self._check_stop()

    def _kept(self) -> str:
        """Say what the next call goes on from."""
        if not self.partial.have:
            return "Run the command again later."
        return f"{self.partial.have} bytes are kept; run the command again to go on from there."

    def _check_stop(self) -> None:
        """End here if the person asked to."""
        if self.watch.stop.is_set():
            raise Stopped(f"{self.file.name}: stopped. {self._kept()}")

    def _attempt(self) -> bool:
        """Ask once and store what comes; return whether the file is whole."""
        headers = request_headers(self.partial, digest_known=self.file.digest_known)
        if self.partial.have and not headers:
            self._discard("its server gives neither ETag nor date, and no digest is known")
        try:
            with self.opener(headers) as response:
                answer = parse_answer(response.status_code, response.headers)
                step = decide(self.partial, headers, answer, self.file.size)
                return self._follow(step, answer, response)
        except NETWORK_ERRORS as error:
            reason, unreachable = describe_network_error(error)
            raise _TemporaryFailure(reason, unreachable=unreachable) from error

    def _follow(self, step: Step, answer: Answer, response: requests.Response) -> bool:
        """Do what was decided; return whether the file is whole."""
        self._check_stop()
        if step.action == "refuse":
            raise self._refusal(step, response.url)
        if step.action == "retry":
            raise _TemporaryFailure(step.reason, step.wait_s)
        if step.action == "discard":
            self._discard(step.reason)
            return False
        if step.action == "whole":
            return True
        if step.action == "start":
            head = _read_at_least(response, HEAD_BYTES)
            if looks_like_html(head):
                raise self._refusal(WEB_PAGE, response.url)
            self._start_part_file(answer)
        else:
            head = b""
            self.spliced = True
        self._report_total(answer.total)
        self._store_body(head, response)
        return self._is_whole()

    def _is_whole(self) -> bool:
        """Compare what came with what was promised, once the connection has ended."""
        have, total = self.partial.have, self.partial.total
        if total is not None and have > total:
            self._discard(f"{have} bytes came, {total} were promised")
            return False
        # where nobody states a size, a connection ends where the file does, or where it breaks
        if self._size is not None and have < self._size:
            raise _TemporaryFailure(f"the connection ended at byte {have} of {self._size}")
        return True

    @property
    def _size(self) -> int | None:
        """Bytes of the whole file, as the server promised or else as its publisher states."""
        return self.file.size if self.partial.total is None else self.partial.total

    def _refusal(self, step: Step, answered: str) -> CspDataError:
        asked = self.client.route(self.file.address)
        led = f", which led to {_bare(answered)}" if _bare(answered) != _bare(asked) else ""
        where = f"{self.file.name}: {step.reason} ({self.file.address}{led})"
        if step.why == "altered":
            return VerificationError(f"{where}. Nothing was stored. {self.file.otherwise}")
        if step.why == "status":
            return TransferError(self.file.name, self.file.address, step.reason, "Try again later.")
        kind = GoneError if step.why == "gone" else AccessError
        return kind(f"{where}. {self.file.by_hand}")

    def _store_body(self, head: bytes, response: requests.Response) -> None:
        """Append the body to the part file, digesting it; of one that is too long, only what shows that."""
        hasher = self._hasher()
        with self._open_part() as part:
            block = head or _read_block(response)
            while block:
                self._check_stop()
                self._write(part, block)
                hasher.update(block)
                self._set_size(self.partial.have + len(block))
                if self._size is not None and self.partial.have > self._size:
                    break  # it may have no end
                block = _read_block(response)
        self._check_stop()  # an end that was made is not the end of the file

    def _open_part(self) -> BinaryIO:
        try:
            part = open(self.part, "r+b", buffering=0, opener=_no_link)  # noqa: SIM115
            part.seek(self.partial.have)
            part.truncate()
        except OSError as error:
            raise self._disk_error(error) from error
        return part

    def _write(self, part: BinaryIO, block: bytes) -> None:
        try:
            view = memoryview(block)
            while view:
                view = view[part.write(view) :]
        except OSError as error:
            raise self._disk_error(error) from error

    def _disk_error(self, error: OSError) -> CspDataError:
        if error.errno not in DISK_FULL:
            return CspDataError(f"cannot write to {self.part}: {error.strerror}. {MAKE_WRITABLE}")
        have = self.part.stat().st_size if self.part.exists() else 0  # of the last block, some were written
        more = "more room" if self._size is None else f"room for {self._size - have} more bytes"
        return CspDataError(
            f"{self.target}: the disk is full ({error.strerror}). Make {more}, or set CSP_DATA_HOME to another"
            f" disk, and run the command again: {have} bytes are kept."
        )

    def _start_part_file(self, answer: Answer) -> None:
        """Empty the part file, then say whose bytes will follow: never the other way round."""
        if answer.total is not None:
            free = shutil.disk_usage(self.part.parent).free + self.partial.have
            if answer.total > free:
                raise CspDataError(
                    f"{self.target}: it has {answer.total} bytes, and only {free} are free. Make room, or set"
                    " CSP_DATA_HOME to another disk."
                )
        self._set_size(0)
        self.hasher, self.spliced = None, False
        self.partial = Partial(0, answer.etag, answer.last_modified, answer.total)
        try:
            open_new(self.part).close()
            row = {"address": self.file.address, **asdict(self.partial)}
            temporary = self.sidecar.with_suffix(".new")
            with open_new(temporary) as file:
                file.write(json.dumps(row).encode())
            temporary.replace(self.sidecar)
        except OSError as error:
            raise self._disk_error(error) from error

    def _read_sidecar(self) -> Partial:
        """Return what an earlier call left; nothing, unless it is of the same address."""
        try:
            row = read_json(self.sidecar)
            if row.pop("address") == self.file.address:
                return Partial(**{**row, "have": self.part.stat().st_size})
            logger.info("%s: its first bytes came from another address and are not used", self.file.name)
        except FileNotFoundError:
            pass
        except JSON_FAULTS as error:
            logger.warning("%s is not used: %s", self.sidecar, error)
        return Partial()

    def _discard(self, reason: str) -> None:
        logger.info("%s: starts again: %s", self.file.name, reason)
        self._set_size(0)
        self.partial, self.hasher, self.spliced = Partial(), None, False
        self.sidecar.unlink(missing_ok=True)
        self.part.unlink(missing_ok=True)

    def _hasher(self) -> Hasher:
        """Return the digest of what is on disk, to go on with."""
        if self.hasher is None:
            self.hasher = Hasher(blob_size=self.partial.total if self.file.git_blob else None)
            if self.partial.have:
                self.hasher.update_from(self.part, self.partial.have)
        return self.hasher

    def _set_size(self, have: int) -> None:
        self.watch.moved(have - self.partial.have)
        self.partial = replace(self.partial, have=have)

    def _report_total(self, total: int | None) -> None:
        if total is not None and self.announced is None:
            self.announced = total
            self.watch.total(total)

    def _finish(self) -> Digest | None:
        """Verify, put on the disk, rename; ``None`` if it must be fetched again from its beginning."""
        digest = self._hasher().digest()
        if self.file.git_blob is not None and digest.git_blob is None:
            hasher = Hasher(blob_size=digest.size)  # its size was not known when it began
            hasher.update_from(self.part, digest.size)
            digest = hasher.digest()
        if wrong := mismatch(self.file, digest):
            spliced = self.spliced
            self._discard(wrong)
            if spliced:  # one of the answers may have been of another version
                return None
            raise VerificationError(
                f"{self.file.name}: what came from {self.file.address} is not {self.file.wanted}: {wrong}."
                f" It was deleted. {self.file.otherwise}"
            )
        try:
            with self.part.open("r+b") as part:
                os.fsync(part.fileno())
            self.part.replace(self.target)
        except OSError as error:
            raise self._disk_error(error) from error
        self.sidecar.unlink(missing_ok=True)
        sync_folder(self.target.parent)
        return digest


def _bare(address: str) -> str:
    """Return an address without what may be secret: a user, a signature."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _no_link(path: str, flags: int) -> int:
    """Open a file, but not through a link, which may lead to any file of ours in a folder that others write to."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))


def _read_block(response: requests.Response) -> bytes:
    """Return what has come, at most a block; empty at the end."""
    data: bytes = response.raw.read1(BLOCK, decode_content=True)
    return data


def _read_at_least(response: requests.Response, count: int) -> bytes:
    """Return the first bytes of a body: `count` or more, or all there are."""
    head = b""
    while len(head) < count and (more := _read_block(response)):
        head += more
    return head
