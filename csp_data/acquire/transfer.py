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
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

import requests

from csp_data.acquire.client import MIRROR, NETWORK_ERRORS, Client, RedirectError, what_broke
from csp_data.acquire.decide import Answer, Partial, Step, answer_of, decide, question
from csp_data.acquire.manifest import BLOCK, Digest, Hasher, sync_folder
from csp_data.errors import AccessError, CspDataError, TransferError, VerificationError
from csp_data.files import read_json

__all__ = ["Opener", "Stopped", "Wanted", "Watch", "fetch", "looks_like_html", "part_of", "sidecar_of"]

logger = logging.getLogger(__name__)

FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SNIFFED: Final = 512
WRITABLE: Final = "Check the folder's rights, or set CSP_DATA_HOME to a folder you own."

Opener = Callable[[Mapping[str, str]], AbstractContextManager[requests.Response]]
"""Asks for the file with these headers, and gives the answer whose body is the file."""


class Stopped(CspDataError):
    """The person asked to stop; what has arrived is kept."""


@dataclass(frozen=True)
class Wanted:
    """A file to fetch: name for messages, address, what its publisher says of it, how to get it by hand."""

    name: str
    address: str
    size: int | None = None
    sha256: str | None = None
    git_blob: str | None = None
    by_hand: str = "Get it by hand and import it with csp-data import."

    @property
    def digest_known(self) -> bool:
        """Whether its bytes can be told from others."""
        return self.sha256 is not None or self.git_blob is not None

    def differs(self, digest: Digest) -> str:
        """Return what is wrong with a digest of the arrived file, or an empty string."""
        for kind in ("size", "sha256", "git_blob"):
            expected, found = getattr(self, kind), getattr(digest, kind)
            if expected is not None and expected != found:
                return f"expected {kind} {expected}, found {found}"
        return ""


@dataclass(frozen=True)
class Watch:
    """Told of the bytes: `total` when a file's size becomes known, `moved` at each step (back: negative)."""

    total: Callable[[int], object] = lambda size: None
    moved: Callable[[int], object] = lambda count: None
    stop: threading.Event = field(default_factory=threading.Event)


class _Passing(Exception):
    """An attempt failed for a reason that may pass."""

    def __init__(self, reason: str, wait_s: float | None = None, *, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.wait_s, self.unreachable = wait_s, unreachable


def part_of(target: Path) -> Path:
    """Return where a file's bytes lie until it is whole."""
    return target.with_name(target.name + ".part")


def sidecar_of(target: Path) -> Path:
    """Return what remembers whose bytes a part file holds."""
    return target.with_name(target.name + ".part.json")


def looks_like_html(head: bytes) -> bool:
    """Whether the first bytes of a body are a web page's, whatever its header says."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")[:14].lower().startswith((b"<!doctype html", b"<html", b"<head"))


def fetch(
    wanted: Wanted, target: Path, client: Client, *, opener: Opener | None = None, watch: Watch | None = None
) -> Digest:
    """Bring a file to `target`; when it returns, the file is whole, verified and on the disk.

    Parameters
    ----------
    wanted
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
        If a person is needed: access denied, file or host gone, a web page instead of the file.
    TransferError
        If it may work later; what has arrived is kept and the next call goes on from there.
    VerificationError
        If the server has other bytes than the publisher states; they are deleted.
    CspDataError
        If the disk is full.
    """
    try:
        return _Transfer(wanted, target, client, opener, watch or Watch()).run()
    except (AccessError, RedirectError) as error:
        if wanted.name in str(error):
            raise
        raise type(error)(f"{wanted.name}: {str(error).rstrip('.')}. {wanted.by_hand}") from error


class _Transfer:
    def __init__(self, wanted: Wanted, target: Path, client: Client, opener: Opener | None, watch: Watch) -> None:
        self.wanted, self.target, self.client, self.watch = wanted, target, client, watch
        self.opener: Opener = opener or (lambda headers: client.open(wanted.address, headers))
        self.part = part_of(target)
        self.sidecar = sidecar_of(target)
        self.partial = self._read_sidecar()
        self.hasher: Hasher | None = None
        self.mended = self.partial.have > 0  # holds bytes of more than one answer
        self.announced: int | None = None
        self.jitter = random.Random()

    def run(self) -> Digest:
        failures, best = 0, self.partial.have
        self.watch.moved(best)  # what an earlier call brought counts as progress
        while True:
            try:
                if self._attempt():
                    digest = self._finish()
                    if digest is not None:
                        return digest
                    continue
                problem = _Passing("the file on disk was not the beginning of the server's")
            except _Passing as passing:
                problem = passing
            failures = 1 if self.partial.have > best else failures + 1
            best = max(best, self.partial.have)
            self._pause(problem, failures)

    def _pause(self, problem: _Passing, failures: int) -> None:
        """Wait before the next attempt, or give up."""
        patience = self.client.patience
        kept = f"{self.partial.have} bytes are kept; run the command again to go on from there."
        if self.watch.stop.is_set():
            raise self._stopped()
        if failures >= patience.tries:
            if problem.unreachable:
                raise AccessError(
                    f"{self.wanted.name}: {self.client.give_up(self.wanted.address, str(problem))}."
                    f" Try again later, or use {MIRROR}. {self.wanted.by_hand}"
                )
            raise TransferError(
                self.wanted.name, self.wanted.address, f"{problem}; gave up after {failures} attempts", kept
            )
        wait = patience.wait_s(failures, self.jitter)
        if problem.wait_s is not None:
            wait = problem.wait_s
            if wait > patience.longest_wait_s:
                raise TransferError(
                    self.wanted.name,
                    self.wanted.address,
                    f"{problem}, and asks to come back in {wait:.0f} s",
                    kept,
                )
        logger.info("%s: %s; attempt %d in %.1f s", self.wanted.name, problem, failures + 1, wait)
        if self.watch.stop.wait(wait):
            raise self._stopped()

    def _stopped(self) -> Stopped:
        kept = f"{self.partial.have} bytes are kept"
        return Stopped(f"{self.wanted.name}: stopped; {kept}. Run the command again to go on from there.")

    def _attempt(self) -> bool:
        """Ask once and store what comes; return whether the file is whole."""
        asked = question(self.partial, digest_known=self.wanted.digest_known)
        if self.partial.have and not asked:
            self._discard("its server gives neither ETag nor date, and no digest is known")
        try:
            with self.opener(asked) as response:
                answer = answer_of(response.status_code, response.headers)
                step = decide(self.partial, asked, answer, self.wanted.size)
                return self._act(step, answer, response)
        except NETWORK_ERRORS as error:
            reason, unreachable = what_broke(error)
            raise _Passing(reason, unreachable=unreachable) from error

    def _act(self, step: Step, answer: Answer, response: requests.Response) -> bool:
        if self.watch.stop.is_set():
            raise self._stopped()
        if step.action == "refuse":
            raise self._refusal(step)
        if step.action == "retry":
            raise _Passing(step.reason, step.wait_s)
        if step.action == "discard":
            self._discard(step.reason)
            return False
        if step.action == "whole":
            return True
        if step.action == "start":
            head = _at_least(response, SNIFFED)
            if looks_like_html(head):
                raise self._refusal(Step("refuse", "a web page came instead of the file", "page"))
            self._begin(answer)
        else:
            head = b""
            self.mended = True
        self._announce(answer.total)
        self._store(head, response)
        if self.partial.total is None:
            return True  # the end of the connection is the end of the file; size and digest decide
        if self.partial.have > self.partial.total:
            self._discard(f"{self.partial.have} bytes came, {self.partial.total} were promised")
            return False
        if self.partial.have < self.partial.total:
            raise _Passing(f"the connection ended at byte {self.partial.have} of {self.partial.total}")
        return True

    def _refusal(self, step: Step) -> CspDataError:
        where = f"{self.wanted.name}: {step.reason} ({self.wanted.address})"
        if step.why == "altered":
            return VerificationError(f"{where}. Nothing was stored. Use another mirror, or tell its publisher.")
        if step.why == "status":
            return TransferError(self.wanted.name, self.wanted.address, step.reason, "Try again later.")
        return AccessError(f"{where}. {self.wanted.by_hand}")

    def _store(self, head: bytes, response: requests.Response) -> None:
        """Append the body to the part file, digesting it."""
        hasher = self._hasher()
        with self._open_part() as file:
            block = head or _read(response)
            while block:
                if self.watch.stop.is_set():
                    raise self._stopped()
                self._write(file, block)
                hasher.update(block)
                self._moved_to(self.partial.have + len(block))
                block = _read(response)
        if self.watch.stop.is_set():  # an end that was made is not the end of the file
            raise self._stopped()

    def _open_part(self) -> BinaryIO:
        try:
            file = self.part.open("r+b", buffering=0)
            file.seek(self.partial.have)
            file.truncate()
        except OSError as error:
            raise CspDataError(f"cannot write to {self.part}: {error.strerror}. {WRITABLE}") from error
        return file

    def _write(self, file: BinaryIO, block: bytes) -> None:
        try:
            view = memoryview(block)
            while view:
                view = view[file.write(view) :]
        except OSError as error:
            raise self._disk(error) from error

    def _disk(self, error: OSError) -> CspDataError:
        if error.errno not in FULL:
            return CspDataError(f"cannot write to {self.part}: {error.strerror}. {WRITABLE}")
        size = self.partial.total if self.partial.total is not None else self.wanted.size
        more = "more room" if size is None else f"room for {size - self.partial.have} more bytes"
        return CspDataError(
            f"{self.target}: the disk is full ({error.strerror}). Make {more}, or set CSP_DATA_HOME to another"
            f" disk, and run the command again: {self.partial.have} bytes are kept."
        )

    def _begin(self, answer: Answer) -> None:
        """Empty the part file, then say whose bytes will follow: never the other way round."""
        if answer.total is not None:
            free = shutil.disk_usage(self.part.parent).free + self.partial.have
            if answer.total > free:
                raise CspDataError(
                    f"{self.target}: it has {answer.total} bytes, and only {free} are free. Make room, or set"
                    " CSP_DATA_HOME to another disk."
                )
        self._moved_to(0)
        self.hasher, self.mended = None, False
        self.partial = Partial(0, answer.etag, answer.last_modified, answer.total)
        try:
            self.part.write_bytes(b"")
            row = {"address": self.wanted.address, **asdict(self.partial)}
            temporary = self.sidecar.with_suffix(".new")
            temporary.write_text(json.dumps(row), encoding="utf-8")
            temporary.replace(self.sidecar)
        except OSError as error:
            raise self._disk(error) from error

    def _read_sidecar(self) -> Partial:
        """Return what an earlier call left; nothing, unless it is of the same address."""
        try:
            row = read_json(self.sidecar)
            if row.pop("address") == self.wanted.address:
                return Partial(**{**row, "have": self.part.stat().st_size})
            logger.info("%s: its first bytes came from another address and are not used", self.wanted.name)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            logger.warning("%s is not used: %s", self.sidecar, error)
        return Partial()

    def _discard(self, reason: str) -> None:
        logger.info("%s: starts again: %s", self.wanted.name, reason)
        self._moved_to(0)
        self.partial, self.hasher, self.mended = Partial(), None, False
        self.sidecar.unlink(missing_ok=True)
        self.part.unlink(missing_ok=True)

    def _hasher(self) -> Hasher:
        """Return the digest of what is on disk, to go on with."""
        if self.hasher is None:
            size = self.partial.total if self.wanted.git_blob else None
            self.hasher = Hasher(blob_size=size)
            if self.partial.have:
                self.hasher.update_from(self.part, self.partial.have)
        return self.hasher

    def _moved_to(self, have: int) -> None:
        self.watch.moved(have - self.partial.have)
        self.partial = Partial(have, self.partial.etag, self.partial.last_modified, self.partial.total)

    def _announce(self, total: int | None) -> None:
        if total is not None and self.announced is None:
            self.announced = total
            self.watch.total(total)

    def _finish(self) -> Digest | None:
        """Verify, put on the disk, rename; ``None`` if it must be fetched again from its beginning."""
        digest = self._hasher().digest()
        if self.wanted.git_blob is not None and digest.git_blob is None:
            hasher = Hasher(blob_size=digest.size)  # its size was not known when it began
            hasher.update_from(self.part, digest.size)
            digest = hasher.digest()
        if wrong := self.wanted.differs(digest):
            mended = self.mended
            self._discard(wrong)
            if mended:
                return None
            raise VerificationError(
                f"{self.wanted.name}: what came from {self.wanted.address} is not the publisher's file: {wrong}."
                " It was deleted. Use another mirror, or tell its publisher."
            )
        try:
            with self.part.open("r+b") as file:
                os.fsync(file.fileno())
            self.part.replace(self.target)
        except OSError as error:
            raise self._disk(error) from error
        self.sidecar.unlink(missing_ok=True)
        sync_folder(self.target.parent)
        return digest


def _read(response: requests.Response) -> bytes:
    """Return what has come, at most a block; empty at the end."""
    data: bytes = response.raw.read1(BLOCK, decode_content=True)
    return data


def _at_least(response: requests.Response, count: int) -> bytes:
    """Return the first bytes of a body: `count` or more, or all there are."""
    head = b""
    while len(head) < count and (more := _read(response)):
        head += more
    return head
