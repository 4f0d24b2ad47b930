"""Find the folder of a data set's raw files, and the recordings in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from csp_data.acquire.nearby import contents, other_places
from csp_data.acquire.report import Report, path_inside
from csp_data.acquire.verify import how_to_get, verify_tree
from csp_data.card import Card, bundled_root
from csp_data.errors import CardError, DamagedRecordingError, MissingDataError
from csp_data.home import check_accessible, raw_dir
from csp_data.recording import Note
from csp_data.simulate.stamp import read_stamp, simulates
from csp_data.sources import Found, load_source
from csp_data.terminal import with_control

__all__ = [
    "SKIPPED",
    "copies",
    "find_recordings",
    "raw_bytes",
    "raw_kind",
    "raw_root",
    "recordings_of",
    "separate_failed",
]

SKIPPED = "damaged recording skipped"


def raw_root(card: Card, raw: Path | str | None) -> Path:
    """Return where a data set's raw files are: what was passed, what ships with the package, or the home."""
    return (bundled_root(card) if raw is None else None) or check_accessible(raw_dir(card.name, raw))


def raw_kind(card: Card, root: Path) -> str:
    """Return what the recordings in a folder are: the card's kind, or ``"simulated"``."""
    return card.kind if read_stamp(root) is None else "simulated"


def find_recordings(card: Card, root: Path) -> list[Found]:
    """Return the raw recordings of a folder in the source's order, verified as before preparing."""
    report = verify_tree(card, root, extra=False)
    report.raise_for_failures(allow_missing=True)
    return recordings_of(card, report)


def recordings_of(card: Card, report: Report) -> list[Found]:
    """Find the recordings whose main file is known, or explain what the folder holds instead."""
    known = {file.path for file in report.files if file.status not in ("missing", "unlisted")}
    found = [r for r in report.found if path_inside(r.files[0], report.root) in known]
    foreign = card.reader is None and simulates(report.root) not in (None, card.name, card.source)
    if found and not foreign:
        _check_ids(found)
        return found
    if report.found and not foreign and not card.files:
        raise CardError(
            card.name,
            f"it lists no files and leaves out recordings that it does not list: all {len(report.found)} in "
            f'{report.root}. List their files (csp-data files prints the list), or write unlisted = "used"',
        )
    advice = other_places(card, report.root) or how_to_get(card, report.root)
    what = f"Recordings of {card.name} ({load_source(card).layout})"
    raise MissingDataError(what, report.root, f"{contents(card, report.root)} {advice}")


def _check_ids(found: Sequence[Found]) -> None:
    by_id: dict[str, Found] = {}
    for recording in found:
        if recording.id.encode(errors="ignore").decode() != recording.id:
            raise DamagedRecordingError(
                recording.files[0], "the recording's name", "text in UTF-8", ascii(recording.id), "Rename it."
            )
        if (text := with_control((recording.id, recording.group))) is not None:
            raise DamagedRecordingError(
                recording.files[0], "the recording's name", "no control characters", repr(text), "Rename it."
            )
        if (other := by_id.setdefault(recording.id, recording)) is not recording:
            raise DamagedRecordingError(
                recording.files[0],
                f"recording {recording.id!r}",
                "one of that id",
                f"another at {other.files[0]}",
                "Delete one of them, or pass a folder that holds only one.",
            )


def separate_failed(recordings: Sequence[Found], report: Report) -> tuple[list[Note], list[Found]]:
    """Separate recordings with a file that failed verification from those to be read."""
    notes, readable = [], []
    for recording in recordings:
        if failure := report.failure_of(recording):
            notes.append(Note(recording.id, SKIPPED, failure, "skip"))
        else:
            readable.append(recording)
    return notes, readable


def copies(recordings: Sequence[Found], report: Report) -> Iterator[tuple[Found, Found]]:
    """Yield each recording whose main file holds the same bytes as that of an earlier one, with that one."""
    first: dict[str, Found] = {}
    for recording in recordings:
        name = path_inside(recording.files[0], report.root)
        if name in report.digests:
            other = first.setdefault(report.digests[name].sha256, recording)
            if other.files[0] != recording.files[0]:  # one file may hold several
                yield recording, other


def raw_bytes(recording: Found, report: Report) -> int:
    """Return the bytes of a recording's files that are there."""
    names = (path_inside(file, report.root) for file in recording.files)
    return sum(report.digests[name].size for name in names if name in report.digests)
