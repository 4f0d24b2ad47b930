"""What verification says of the raw files of a data set."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from unicodedata import normalize

from csp_data.acquire.digests import Digest
from csp_data.errors import SourceError, VerificationError
from csp_data.sources import Found
from csp_data.terminal import visible

__all__ = ["A_RECORDING", "FileReport", "Report", "Status", "Trust", "failure_lines", "path_inside"]

Status = Literal["ok", "missing", "truncated", "altered", "unreadable", "unlisted", "extra"]
Trust = Literal["published", "locked", "structure"]


A_RECORDING = "a recording"
"""What a row expects that stands for one or more recordings of which no file is known."""


@dataclass(frozen=True)
class FileReport:
    """What verification says of one file.

    ``trust`` says on what grounds a file is ok: ``"published"``: its bytes agree with a digest of the publisher;
    ``"locked"``: with that of the first arrival (:mod:`csp_data.acquire.lockfile`); ``"structure"``: it was read,
    and what it holds is possible; ``None``: it is there, and was not checked yet, or ``beside`` names the failed
    file of the same recording, without which it cannot be read as what it is. ``changed``: no digest vouches for
    it, and it holds other bytes than when data were last prepared from it. ``fix`` says how to mend what failed.
    An ``"unlisted"`` recording is one that the card does not know, an ``"extra"`` file is no part of any.
    """

    path: str
    status: Status
    trust: Trust | None = None
    expected: str = ""
    found: str = ""
    fix: str = ""
    beside: str = ""
    changed: bool = False

    @property
    def failed(self) -> bool:
        """Whether the file cannot be used as it is."""
        return self.status not in ("ok", "unlisted", "extra")

    def __str__(self) -> str:
        if self.changed:
            return visible(f"{self.path}: changed since data were last prepared from it")
        known = not self.expected or (self.status, self.found) == ("missing", "nothing")  # "missing" says it
        detail = "" if known else f": expected {self.expected}, found {self.found}"
        return visible(f"{self.path}: {self.status}{detail}{'. ' + self.fix if self.fix else ''}")


@dataclass(frozen=True)
class Report:
    """What verification says of a data set.

    Parameters
    ----------
    name
        Data set.
    root
        Folder of its raw files.
    files
        One entry for each listed file, and for each recording that the card does not list.
    digests
        Of the files that are there, by path.
    found
        The recordings there, as the source lists them.
    """

    name: str
    root: Path
    files: tuple[FileReport, ...]
    digests: dict[str, Digest]
    found: tuple[Found, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no file is missing, truncated, altered or unreadable."""
        return not self.failures

    @property
    def failures(self) -> tuple[FileReport, ...]:
        """Files that are missing, truncated, altered or unreadable."""
        return tuple(file for file in self.files if file.failed)

    @property
    def present(self) -> tuple[FileReport, ...]:
        """Files that are there and verified."""
        return tuple(file for file in self.files if file.status == "ok")

    def failure_of(self, found: Found) -> str:
        """Return what failed of those of a recording's files that are there, ``""`` if nothing did."""
        names = [path_inside(file, self.root) for file in found.files] if self._failed else ()
        return "; ".join(self._failed[name] for name in names if name in self._failed)

    @cached_property
    def _failed(self) -> dict[str, str]:
        return {file.path: str(file) for file in self.failures if file.status != "missing"}

    def source_digest(self) -> str:
        """Return one SHA-256 over names (NFC, whatever the disk writes) and contents of what is there."""
        files = sorted((normalize("NFC", name), digest.sha256) for name, digest in self.digests.items())
        lines = "".join(f"{name} {digest}\n" for name, digest in files)
        return hashlib.sha256(os.fsencode(lines)).hexdigest()

    def raise_for_failures(self, *, allow_missing: bool = False) -> None:
        """Raise if a file failed.

        Parameters
        ----------
        allow_missing
            Accept files that are not there.

        Raises
        ------
        VerificationError
            Listing every failed file.
        """
        bad = [file for file in self.failures if not (allow_missing and file.status == "missing")]
        if bad:
            lines = "\n".join(f"  {line}" for line in failure_lines(bad))
            raise VerificationError(
                f"{len(bad)} of {len(self.files)} files of {self.name} in {self.root} failed:\n{lines}"
            )

    def summary(self) -> str:
        """Return one line: what is there, and on what grounds it is trusted."""
        unread = {
            True: "of a recording with a failed file",
            False: "not checked yet; --deep, in Python deep=True, opens them",
        }
        grounds = Counter(file.trust or unread[bool(file.beside)] for file in self.present)
        counts = ", ".join(f"{count} {trust}" for trust, count in sorted(grounds.items()))
        changed = sum(file.changed for file in self.present)
        extra = sum(file.status == "extra" for file in self.files)
        failed = sum(file.expected != A_RECORDING for file in self.failures)
        return (
            f"{self.name} in {self.root}: {len(self.present)} of {len(self.present) + failed} files"
            f" {'there' if unread[False] in grounds else 'verified'}{f' ({counts})' if counts else ''}"
            f"{f', {changed} changed since data were last prepared from them' if changed else ''}"
            f"{f', {extra} other files' if extra else ''}"
        )

    def __repr__(self) -> str:
        return "\n  ".join((self.summary(), *failure_lines(self.failures)))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON."""
        return {
            "name": self.name,
            "root": str(self.root),
            "ok": not self.failures,
            "files": [{**asdict(file), "failed": file.failed} for file in self.files],
        }


def failure_lines(failures: Sequence[FileReport]) -> list[str]:
    """Return one line for each file; what mends several of them is said once, after all files."""
    times = Counter(file.fix for file in failures)
    lines = [str(file if times[file.fix] == 1 else replace(file, fix="")) for file in failures]
    return lines + [f"For {count} of these: {fix}" for fix, count in times.items() if fix and count > 1]


def path_inside(file: Path, root: Path) -> str:
    """Return the path below the root, with slashes, as the card and the report have it.

    Raises
    ------
    SourceError
        If it does not lie there.
    """
    # relative_to takes ten times as long, and there may be thousands of files
    above, parts = root.parts, file.parts
    if parts[: len(above)] != above:
        raise SourceError(file, f"find gives a file outside the folder that it was asked about, {root}")
    return "/".join(parts[len(above) :])
