"""Fetch a data set: plan, ask for consent, transfer several files at once, unpack, verify, lock."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn, get_args

from tqdm import tqdm

from csp_data.acquire.client import MIRROR, UNREACHED, Client, Patience, offline
from csp_data.acquire.consent import AskLicence, AskPassword, credentials_for, require_licence
from csp_data.acquire.digests import Digest, Stamps, digest_file
from csp_data.acquire.drive import ADVICE as DRIVE
from csp_data.acquire.importing import bring, files_to_bring, unpack_into, verify_and_lock
from csp_data.acquire.leftovers import incoming_dir, part_of, sidecar_of
from csp_data.acquire.lockfile import RECEIPTS_NAME, Locked, LockedSet, lock_path, read_lock
from csp_data.acquire.place import lists_contents, place, unpacked_files
from csp_data.acquire.plan import Item, Variant, local_file, mirror_of, plan
from csp_data.acquire.receipts import outdated_archives, read_receipts
from csp_data.acquire.report import Report, failure_lines
from csp_data.acquire.transfer import (
    GoneError,
    RemoteFile,
    Stopped,
    Watch,
    fetch,
    mismatch,
)
from csp_data.acquire.verify import how_to_get, verify_tree
from csp_data.card import Card, FileEntry, bundled_root
from csp_data.errors import (
    AccessError,
    CspDataError,
    MissingDataError,
    TransferError,
    UnsafeArchiveError,
    VerificationError,
)
from csp_data.home import lock, raw_dir, writable_dir
from csp_data.options import check_choice, check_count
from csp_data.output import write_json
from csp_data.simulate.stamp import STAMP, carry_stamp
from csp_data.terminal import amount

__all__ = ["Options", "download_card"]

logger = logging.getLogger(__name__)

LISTED = 12
"""Failed files that a message lists one by one."""


@dataclass(frozen=True)
class Options:
    """How to fetch a data set.

    Parameters
    ----------
    raw
        Where to; by default the home's ``raw/<name>``.
    mirror
        Address of a copy that serves the same relative names; by default ``CSP_DATA_MIRROR``.
    jobs
        Files at once.
    accept_licence
        The terms are accepted.
    variant
        Which version, where the publisher has two.
    lock_file
        The lock file; by default the one in the raw folder.
    keep_archives
        Keep archives, in ``<raw>.incoming``, after they are unpacked.
    progress
        Show a progress bar on stderr.
    patience
        Time-outs and attempts.
    ask_licence, ask_password
        Ask a person; ``None`` where there is none.
    """

    raw: Path | str | None = None
    mirror: str | None = None
    jobs: int = 4
    accept_licence: bool = False
    variant: Variant = "compact"
    lock_file: Path | str | None = None
    keep_archives: bool = False
    progress: bool = False
    patience: Patience = field(default_factory=Patience)
    ask_licence: AskLicence | None = None
    ask_password: AskPassword | None = None


def download_card(card: Card, options: Options) -> Report:
    """Fetch what is missing of a data set. Two processes that want the same set fetch it once.

    Returns
    -------
    Report
        What is there, verified.

    Raises
    ------
    AccessError
        If a person is needed; the message says for what.
    TransferError
        If it may work later; what has arrived is kept.
    VerificationError
        If something is not what the publisher or the lock file states.
    """
    check_choice("variant", options.variant, get_args(Variant))
    check_count("jobs", options.jobs)
    shipped = bundled_root(card)
    if shipped is not None:
        return verify_tree(card, shipped)
    mirror_of(card.name, options.mirror)  # refused before a folder is made
    root = writable_dir(raw_dir(card.name, options.raw))
    with lock(root):
        return _Download(card, options, root).run()


class _Download:
    def __init__(self, card: Card, options: Options, root: Path) -> None:
        self.card, self.options, self.root = card, options, root
        self.expected: LockedSet = read_lock(lock_path(root, options.lock_file), card.name)
        self.mirror = mirror_of(card.name, options.mirror)
        self.incoming = incoming_dir(root)
        self.receipts = read_receipts(root)
        self.archives: dict[str, Locked] = {}
        self.stamps: list[Path] = []  # of a mirror of simulated files
        self.mutex = threading.Lock()
        self.stop = threading.Event()

    def run(self) -> Report:
        if offline() and local_file(self.mirror or "") is None:
            return self._offline()
        if old := list(outdated_archives(self.card, self.root, self.expected, how_to_get(self.card, self.root))):
            raise VerificationError("\n".join(failure_lines(old)))
        # what there is to fetch is on the card, or must be asked for
        listed = self.card.access.drive_folder is not None or (self.mirror is not None and not self.card.files)
        missing = [] if listed else self._missing(self._plan(Client()))
        if not (listed or missing):
            return verify_and_lock(self.card, self.root, self.options.lock_file)
        require_licence(self.card, accepted=self.options.accept_licence, ask=self.options.ask_licence)
        client = self._client()
        writable_dir(self.incoming)
        try:
            if listed:
                missing = self._missing(self._plan(client))
            self._ask_for_stamp(missing, client)
        except BaseException:
            with suppress(OSError):
                self.incoming.rmdir()
            raise
        failures = self._fetch_missing(missing, client)
        report = verify_and_lock(self.card, self.root, self.options.lock_file, self.archives)
        if failures:
            with suppress(OSError):  # parts of archives stay there for the next run
                self.incoming.rmdir()
            raise _combined_error(self.card, failures, report, missing[0].by_hand)
        if not self.options.keep_archives:
            shutil.rmtree(self.incoming, ignore_errors=True)
        return report

    def _offline(self) -> Report:
        report = verify_and_lock(self.card, self.root, self.options.lock_file)
        if report.failures or not report.present:
            raise AccessError(
                f"{self.card.name}: raw files are missing ({len(report.failures) or 'all'}), and CSP_DATA_OFFLINE"
                f" is set. Unset it, use {MIRROR} at file://..., or csp-data import."
            )
        return report

    def _plan(self, client: Client) -> list[Item]:
        lock_file = lock_path(self.root, self.options.lock_file)
        return plan(self.card, client, self.mirror, self.options.variant, self.expected, lock_file, self.incoming)

    def _client(self) -> Client:
        publisher = next((e.url for e in (*self.card.files, *self.card.downloads) if e.url), None)
        client = Client(self.options.patience)
        address = self.mirror or publisher
        if address is None or local_file(address) is not None:
            return client
        return Client(
            self.options.patience, credentials_for(self.card, client.route(address), self.options.ask_password)
        )

    def _missing(self, items: Sequence[Item]) -> list[Item]:
        """Leave out what is there as it should be."""
        wrong = self._compare([item.entry for item in items if not item.archive])
        missing = []
        lacking = self._lacking() if lists_contents(self.card) else None
        for item in items:
            path = item.entry.path
            if item.archive:
                if self._is_needed(path, lacking):
                    missing.append(item)
            elif path not in wrong:
                missing.append(item)
            elif wrong[path]:
                logger.warning("%s is fetched again: %s", self.root / path, wrong[path])
                missing.append(item)
            else:
                with suppress(OSError):  # a folder that can only be read may be whole
                    # a process killed between its last two steps left this
                    sidecar_of(self.root / path).unlink(missing_ok=True)
        return missing

    def _lacking(self) -> set[str]:
        """Return which files that the card lists of its archives are not here as it states them."""
        inside = [entry for entry in self.card.files if not (entry.url or entry.drive)]
        wrong = self._compare(inside)
        return {entry.path for entry in inside if wrong.get(entry.path, "missing")}

    def _compare(self, entries: Sequence[FileEntry]) -> dict[str, str]:
        """Return, by path, in what each file that is here is not what is stated of it; empty if in nothing."""
        here = {entry.path: entry for entry in entries if (self.root / entry.path).is_file()}
        blobs = {path for path, entry in here.items() if entry.git_blob}
        digests = Stamps(self.root).digests(list(here), git_blobs=blobs)
        return {path: mismatch(entry, digests[path]) for path, entry in here.items()}

    def _is_needed(self, archive: str, lacking: set[str] | None) -> bool:
        """Whether an archive is to be fetched: what came out of it is gone, or not what the card lists.

        Parameters
        ----------
        archive
            Its path.
        lacking
            Listed files that are not here as stated; ``None`` if the card does not list what is inside.
        """
        unpacked = self.receipts.get(archive)
        if lacking is None:
            return not unpacked or not all((self.root / file).is_file() for file in unpacked)
        unknown = lacking.difference(*self.receipts.values())  # what was unpacked may have been another version
        return bool(lacking if unpacked is None else unknown or lacking.intersection(unpacked))

    def _ask_for_stamp(self, items: Sequence[Item], client: Client) -> None:
        """Bring the stamp of a mirror that says that it is simulated; published digests would tell that, too."""
        entries = (*self.card.files, *self.card.downloads)
        published = {entry.path for entry in entries if entry.sha256 or entry.git_blob}
        if self.mirror is None or all(item.entry.path in published for item in items):
            return
        place = local_file(self.mirror + STAMP)
        if place is None:
            place = self.incoming / STAMP
            try:
                fetch(RemoteFile(STAMP, self.mirror + STAMP), place, client)
            except AccessError:  # most mirrors have none, and some do not say so with 404
                return
        self.stamps = [place]

    def _fetch_missing(self, items: Sequence[Item], client: Client) -> dict[str, CspDataError]:
        """Fetch all; a mirror may have archives or what is in them, so that these are asked for first."""
        archives = [item for item in items if item.archive]
        if self.mirror is None or not archives or not lists_contents(self.card):
            return self._fetch_all(items, client)
        failures = self._fetch_all(archives, client)
        rest = self._missing([item for item in items if not item.archive])
        failed = self._fetch_all(rest, client)
        return {**failures, **failed} if failed else {}

    def _check_room(self, items: Sequence[Item]) -> None:
        needed = 0
        for item in items:
            size = item.entry.size or 0
            needed += max(0, size - self._arrived(item))
            needed += size if item.archive else 0  # what comes out of it lies there together with it
        free = shutil.disk_usage(self.root).free
        if needed > free:
            raise CspDataError(
                f"{self.card.name} needs about {amount(needed)} in {self.root}, and {amount(free)} are free."
                " Make room, or set CSP_DATA_HOME to another disk."
            )

    def _target(self, item: Item) -> Path:
        return (self.incoming if item.archive else self.root) / item.entry.path

    def _arrived(self, item: Item) -> int:
        """Return how many bytes of it an earlier run left."""
        target = self._target(item)
        for path in (part_of(target), *([target] if item.archive else [])):
            with suppress(OSError):
                return path.stat().st_size
        return 0

    def _fetch_all(self, items: Sequence[Item], client: Client) -> dict[str, CspDataError]:
        """Fetch several at once; return what failed. Ctrl-C stops all of them, and what has arrived is kept."""
        self._check_room(items)
        failures: dict[str, CspDataError] = {}
        digests: dict[str, Digest] = {}
        with self._bar(items) as bar, ThreadPoolExecutor(self.options.jobs) as pool:
            try:  # Ctrl-C can come between two submissions too
                fetching: dict[Future[Digest | None], Item] = {
                    pool.submit(self._fetch_item, item, client, self._watch(bar, item)): item for item in items
                }
                for future, item in fetching.items():
                    try:
                        digest = future.result()
                        if digest is not None:
                            digests[item.entry.path] = digest
                    except Stopped:
                        raise
                    except CspDataError as error:
                        failures[item.entry.path] = error
            except BaseException:
                self.stop.set()
                client.abort()
                pool.shutdown(cancel_futures=True)
                raise
            finally:
                Stamps(self.root).add(digests)
        return failures

    def _fetch_item(self, item: Item, client: Client, watch: Watch) -> Digest | None:
        """Fetch one item; an archive is unpacked, and its files put in their places."""
        target = self._target(item)
        writable_dir(target.parent)
        source = local_file(item.address)
        if source is not None:
            digest = _copy(item, source, target)
        elif item.archive and self._unpack_kept(item, watch):
            return None
        else:
            digest = _fetch(item, target, client, watch)
        if not item.archive:
            with self.mutex:
                carry_stamp(self.stamps, self.root)
            return digest
        self._unpack(item, digest, watch)
        return None

    def _unpack_kept(self, item: Item, watch: Watch) -> bool:
        """Unpack an archive that an earlier run brought but did not unpack; return whether that is done."""
        target = self._target(item)
        if item.entry.path in self.receipts or target.is_symlink() or not target.is_file():
            return False
        digest = digest_file(target, git_blob=item.entry.git_blob is not None)
        if mismatch(item.entry, digest):
            return False
        watch.total(digest.size)
        watch.moved(digest.size)
        try:
            self._unpack(item, digest, watch)
        except (UnsafeArchiveError, VerificationError, MissingDataError) as error:  # perhaps it came damaged
            logger.info("%s is fetched again: %s", item.entry.path, error)
            watch.moved(-digest.size)
            return False
        return True

    def _unpack(self, item: Item, digest: Digest, watch: Watch) -> None:
        target = self._target(item)
        scratch = self.incoming / "unpacked" / item.entry.path.replace("/", "_")
        folder = unpack_into(target, scratch, watch.stop)
        with self.mutex:
            files = unpacked_files(self.card, folder)
            new = files_to_bring(self.card, files, self.root, self.expected)
            carry_stamp([*files.values(), *self.stamps], self.root)
            bring(new, self.root, "move")
            if not lists_contents(self.card):
                self.archives[item.entry.path] = Locked(digest.size, digest.sha256)
            self.receipts[item.entry.path] = sorted(files)
            write_json(self.root / RECEIPTS_NAME, self.receipts)
        shutil.rmtree(scratch, ignore_errors=True)
        if not self.options.keep_archives:
            target.unlink()

    def _bar(self, items: Sequence[Item]) -> tqdm[NoReturn]:
        """Return one bar over the bytes of all files."""
        return tqdm(
            total=sum(item.entry.size or 0 for item in items),
            desc=f"download {self.card.name}",
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            disable=not self.options.progress,
        )

    def _watch(self, bar: tqdm[NoReturn], item: Item) -> Watch:
        """Return what moves the bar for one file; a size that the card does not know is added when it is told."""

        def total(size: int) -> None:
            with self.mutex:
                if item.entry.size is None:
                    bar.total = (bar.total or 0) + size

        def moved(count: int) -> None:
            with self.mutex:
                bar.update(count)

        return Watch(total, moved, self.stop)


def _fetch(item: Item, target: Path, client: Client, watch: Watch) -> Digest:
    """Fetch a file; an archive that is not there is asked for with the other case of its first letter too."""
    try:
        return fetch(item.remote_file, target, client, opener=item.opener(client), watch=watch)
    except GoneError as error:
        if not item.archive:
            raise
        folder, _, name = item.address.rpartition("/")
        try:
            other_case = replace(item.remote_file, address=f"{folder}/{name[0].swapcase()}{name[1:]}")
            return fetch(other_case, target, client, watch=watch)
        except AccessError:
            raise error from None


def _copy(item: Item, source: Path, target: Path) -> Digest:
    """Bring a file from a mirror on disk."""
    if not source.is_file():
        raise AccessError(f"{item.entry.path}: not found at {source}. {item.by_hand}")
    digest = digest_file(source, git_blob=item.entry.git_blob is not None)
    if wrong := mismatch(item.entry, digest):
        file = item.remote_file
        raise VerificationError(f"{source} is not {file.wanted}: {wrong}. {file.otherwise}")
    place(source, target, "copy")
    return digest


def _combined_error(card: Card, failures: dict[str, CspDataError], report: Report, by_hand: str) -> CspDataError:
    """Return one error for all files that did not come: the worst that needs a person's attention."""
    if len(failures) == 1:
        return next(iter(failures.values()))
    texts = [str(error) for error in failures.values()]
    shared = [advice for advice in (UNREACHED, *DRIVE, by_hand) if any(advice in text for text in texts)]
    for advice in shared:  # said once, after the files
        texts = [text.replace(advice, "").strip() for text in texts]
    lines = [f"  {text}" for text in texts]
    heading = f"{len(failures)} files of {card.name} did not come, {len(report.present)} are here and verified:"
    message = [heading, *lines[:LISTED]]
    if len(lines) > LISTED:
        message.append(f"  and {len(lines) - LISTED} more: {', '.join(list(failures)[LISTED:])}")
    message += shared
    damaged = [file for file in report.failures if file.status != "missing"]
    if damaged:
        message.append("Still here, and in the way of prepare and load:")
        message += [f"  {line}" for line in failure_lines(damaged)]
    elif report.present:
        message.append("What is here can be used as it is: prepare and load leave out what is missing.")
    text = "\n".join(message)
    for kind in (VerificationError, AccessError):
        if any(isinstance(error, kind) for error in failures.values()):
            return kind(text)
    if all(isinstance(error, TransferError) for error in failures.values()):
        return CspDataError(text + "\nRun the command again later; what has arrived is kept.")
    return CspDataError(text)
