"""The pipeline: from raw files to one prepared HDF5 file, one recording at a time."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from csp_data.acquire.digests import Stamps
from csp_data.acquire.rawtree import copies, raw_bytes, raw_kind, raw_root, recordings_of, separate_failed
from csp_data.acquire.report import Report, path_inside
from csp_data.acquire.verify import verify_tree
from csp_data.card import Card, stored_card
from csp_data.errors import MissingDataError, OptionError, StoreError, UnknownNameError
from csp_data.home import lock, prepared_dir, prepared_files_of
from csp_data.normalization import Moments, Normalization
from csp_data.options import check_count
from csp_data.output import output_path
from csp_data.prepare.cutting import Settings, cut_recordings
from csp_data.prepare.examples import Example
from csp_data.prepare.recipe import INPUT_CHECKS, recipe_hash
from csp_data.prepare.reporting import (
    against_short,
    check_parts,
    columns_differ,
    log_incomplete,
    log_lost,
    log_notes,
    same_episode,
)
from csp_data.protocol import STRICT, Protocol
from csp_data.recording import Note
from csp_data.resplit import UNUSED
from csp_data.simulate.stamp import read_stamp
from csp_data.sources import Found
from csp_data.splits import PartsByRecording, divide, part_of_each_episode
from csp_data.store import Channels, EpisodeRow, Header, Prepared, Writer, read_recipe
from csp_data.windows import IntArray, window_table

__all__ = ["channels_of", "prepare_card"]

logger = logging.getLogger(__name__)


def prepare_card(
    card: Card,
    protocol: Protocol,
    *,
    raw: Path | str | None = None,
    out: Path | str | None = None,
    jobs: int = 1,
    progress: bool = False,
    skip_damaged: bool = False,
    check: bool = True,
) -> Path:
    """Prepare a data set, or return the file that an equal recipe made before.

    The raw files are verified first. Two processes that want the same file make it once; a killed one leaves
    nothing that looks complete.

    Parameters
    ----------
    card
        The data set.
    protocol
        Every choice on the way, as :func:`~csp_data.protocol.resolve` gives it.
    raw
        Folder of its raw files; by default what ships with the package or the home's ``raw/<name>``.
    out
        The file to write; by default the home's ``prepared/<name>-<recipe>.h5``.
    jobs
        Processes that read recordings, at most: one where there is so little to read that starting more costs
        more than it saves. The result does not depend on it.
    progress
        Show a progress bar on stderr.
    skip_damaged
        Go on without recordings that are damaged, and list them in the provenance. The part of every other
        recording stays what it would have been.
    check
        Read a file that is there, and make it again if it is damaged; otherwise only its recipe is looked at.

    Returns
    -------
    Path
        The prepared file.

    Raises
    ------
    MissingDataError
        If there is no recording, or a whole part has none.
    VerificationError
        If a raw file is not the publisher's.
    DamagedRecordingError
        If a recording cannot be used; nothing is written.
    """
    _check_served(card, protocol)
    check_count("jobs", jobs)
    root = raw_root(card, raw)
    with _naming_prepared(card):
        report = verify_tree(card, root, extra=False)
    if not skip_damaged:
        report.raise_for_failures(allow_missing=True)
    key = recipe_hash(card, protocol, report.source_digest(), skip_damaged=skip_damaged)
    path = output_path(out) if out is not None else prepared_dir() / f"{card.name}-{key}.h5"
    # looked at without the lock, which nobody has in a folder that can only be read
    if not _made_before(path, key, check, level=logging.WARNING):
        with lock(path):
            if not _made_before(path, key, check):  # by another process meanwhile
                _write(path, card, protocol, report, key, Settings(jobs, progress, skip_damaged))
    Stamps(report.root).set_prepared(report.digests)
    return path


def _check_served(card: Card, protocol: Protocol) -> None:
    """Refuse a protocol that the card cannot serve, before anything is read."""
    card.inputs(protocol.inputs)
    card.target(protocol.target)
    if protocol.split_name not in card.splits:
        raise UnknownNameError(f"split of {card.name}", protocol.split_name, card.splits)
    recorded = max(stream.rate_hz for stream in card.streams)
    if protocol.input_hz > (most := max(UPSAMPLING * recorded, STRICT.input_hz)):
        raise OptionError(
            "input_hz",
            protocol.input_hz,
            f"at most {most:g} Hz of {card.name}, whose fastest stream has {recorded:g} Hz on its card",
            "Between samples values are interpolated: a higher rate takes more room and tells nothing new."
            " Choose a lower one, or correct rate_hz if the card is yours.",
        )


UPSAMPLING = 10
"""How many times the rate of the fastest stream the inputs may have; the usual rate may always be."""

OLDER_CHECKS = (
    "%s is made again: an earlier version made it, which took raw files that this one refuses. Until that is done"
    " it stays as it is, and can be loaded by its path"
)


@contextmanager
def _naming_prepared(card: Card) -> Iterator[None]:
    """Let the error of raw files that are gone name what was prepared before, the latest of several.

    By the name of the data set it is not taken: which recipe is wanted depends on what the raw files hold.
    """
    try:
        yield
    except MissingDataError as error:
        files = [path for path in prepared_files_of(card.name) if path.stem[: -len("-0123456789ab")] == card.name]
        if not files:
            raise
        ways = "What was prepared before can be loaded by its path (in Python load(path=...))"
        raise error.or_else(f"{ways}: {files[0]}") from None  # whose text it repeats


def _made_before(path: Path, key: str, check: bool, *, level: int = logging.DEBUG) -> bool:
    """Whether the file exists and was made by an equal recipe; if it must be made again, log why at `level`."""
    if not path.exists():
        return False
    try:
        recipe, checks = read_recipe(path)
        if check and recipe == key and checks >= INPUT_CHECKS:
            with closing(Prepared(path)) as prepared:
                prepared.check()
    except StoreError as error:
        logger.log(level, "%s is made again: it %s", path, error.problem)
        return False
    if recipe == key and checks < INPUT_CHECKS:
        logger.log(level, OLDER_CHECKS, path)
        return False
    if recipe == key:
        logger.debug("%s is there already, made by an equal recipe", path)
    return recipe == key


def _write(path: Path, card: Card, protocol: Protocol, report: Report, key: str, settings: Settings) -> None:
    """Read the recordings, and write their episodes, parts, windows and statistics to a new file."""
    split = card.splits[protocol.split_name]
    with _naming_prepared(card):
        found = recordings_of(card, report)
    parts: PartsByRecording = {}
    selected: Sequence[Found] = found
    if split.among == "found":
        parts = divide(card, protocol.split_name, found, protocol.resplit)
        check_parts(card, protocol, report, {part for episodes in parts.values() for part in episodes})
        selected = [recording for recording in found if recording.id in parts]
    in_pieces = frozenset(id_ for id_, episodes in parts.items() if len(episodes) > 1)
    settings = replace(settings, in_pieces=in_pieces)
    notes, readable = separate_failed(selected, report)
    notes += _copies(readable, report)
    logger.debug("%s: reading %d recordings in %s", card.name, len(readable), report.root)
    with Writer(path) as writer:
        moments = _write_episodes(writer, readable, card, protocol, settings, report, notes)
        if split.among == "kept":
            parts = _divide_kept(card, protocol, selected, notes)
        writer.assign(part_of_each_episode([row.recording for row in writer.rows], parts))
        used = {row.recording for row in writer.rows}
        check_parts(card, protocol, report, {row.split for row in writer.rows}, notes)
        dropped = {note.recording for note in notes if note.kind == "drop"}
        counts = {
            "promised": card.promised,
            "found": len(found),
            "used": len(used),
            "in_no_part": len({recording.id for recording in found} - parts.keys() - dropped),
        }
        provenance = {**_provenance(card, report, selected, notes), "recordings": counts}
        header = Header(
            dataset=card.name,
            protocol=protocol.to_json(),
            recipe_hash=key,
            input_checks=INPUT_CHECKS,
            source_digest=report.source_digest(),
            provenance=json.dumps(provenance, sort_keys=True),
        )
        windows = _windows(writer.rows, protocol, in_pieces)
        writer.finish(header, _normalization(writer, moments, protocol), windows)
        logger.debug("%d episodes of %d recordings written to %s", len(writer.rows), counts["used"], path)
    log_notes(notes)
    log_lost(card, selected, used, notes)
    log_incomplete(card, provenance["kind"], len(found))


def _divide_kept(
    card: Card, protocol: Protocol, recordings: Sequence[Found], notes: Sequence[Note]
) -> PartsByRecording:
    """Divide the recordings that the protocol did not drop, which is known only after they are read."""
    dropped = {note.recording for note in notes if note.kind == "drop"}
    kept = [recording for recording in recordings if recording.id not in dropped]
    parts = divide(card, protocol.split_name, kept, protocol.resplit)
    if any(len(episodes) > 1 for episodes in parts.values()):
        needed = "a split among all found recordings, where neighbours are pieces"
        raise OptionError("resplit.neighbours", protocol.split_name, needed)
    return parts


def _write_episodes(
    writer: Writer,
    readable: Sequence[Found],
    card: Card,
    protocol: Protocol,
    settings: Settings,
    report: Report,
    notes: list[Note],
) -> list[tuple[Moments, Moments]]:
    """Write all episodes and add to the notes; return each episode's statistics."""
    recording_of: dict[str, str] = {}  # by the episode's id
    moments: list[tuple[Moments, Moments]] = []
    sizes = [raw_bytes(recording, report) for recording in readable]
    bar = tqdm(
        cut_recordings(readable, sizes, card, protocol, settings),
        f"prepare {card.name}",
        len(readable),
        unit="rec",
        disable=not settings.progress,
    )
    for examples, new_notes in bar:
        notes += new_notes
        for example, input_moments, target_moments in examples:
            if not writer.rows:
                writer.begin(*channels_of(card, protocol, example))
            elif example.columns != writer.inputs.names:
                raise columns_differ(report, example, writer.rows[0].recording, writer.inputs.names)
            if (other := recording_of.setdefault(example.id, example.recording)) != example.recording:
                raise same_episode(report, example, other)
            moments.append((input_moments, target_moments))
            writer.append(
                example.id, example.group, example.start_s, example.inputs, example.targets, example.recording
            )
    return moments


def _normalization(
    writer: Writer, moments: Sequence[tuple[Moments, Moments]], protocol: Protocol
) -> Normalization:
    """Merge the episodes' statistics in the order of the file, so that the number of jobs changes nothing."""
    counted = [
        of_episode
        for of_episode, row in zip(moments, writer.rows, strict=True)
        if row.split == "train" or (protocol.statistics == "all" and row.split != UNUSED)
    ]
    inputs, targets = (reduce(Moments.merge, column) for column in zip(*counted, strict=True))
    return Normalization(inputs.affine(protocol.input_scaling), targets.affine(protocol.target_scaling))


def _copies(recordings: Sequence[Found], report: Report) -> list[Note]:
    """Say of each recording that is a copy of another: in two parts, what is reported would have been learned."""
    notes = []
    for recording, other in copies(recordings, report):
        names = [path_inside(found.files[0], report.root) for found in (recording, other)]
        detail = f"{names[0]} holds the same bytes as {names[1]}"
        notes.append(Note(recording.id, "recording that is a copy of another", detail, "warning"))
    return notes


def channels_of(card: Card, protocol: Protocol, first: Example) -> tuple[Channels, Channels]:
    """Return what the columns of inputs and targets are, given one example of them."""
    target = card.target(protocol.target)
    per_second = "/s" if target.increment and protocol.target_per == "second" else ""
    units = target.units or (target.unit,) * len(target.channels)
    return (
        Channels(first.columns, first.units, protocol.input_hz),
        Channels(target.channels, tuple(unit + per_second for unit in units), protocol.target_hz),
    )


def _windows(rows: Sequence[EpisodeRow], protocol: Protocol, in_pieces: Container[str]) -> IntArray | None:
    """Return the rows of ``/windows``: episode, input and target extents in the file's arrays."""
    if protocol.window is None:
        return None
    used = [(index, row) for index, row in enumerate(rows) if row.split != UNUSED]
    indices = np.array([index for index, _ in used], dtype=np.int64)
    starts = np.array([row.target_start for _, row in used], dtype=np.int64)
    lengths = np.array([row.target_stop for _, row in used], dtype=np.int64) - starts

    def advice(position: int) -> str:
        return against_short(used[position][1], rows, protocol, in_pieces)

    table = window_table(lengths, [row.id for _, row in used], protocol.window, protocol.target_hz, advice)
    spans = table[:, 1:] + starts[table[:, 0]][:, None]
    return np.concatenate([indices[table[:, :1]], spans * protocol.chunk, spans], axis=1)


def _provenance(card: Card, report: Report, recordings: Sequence[Found], notes: Sequence[Note]) -> dict[str, Any]:
    """Return what the file says of where its numbers come from (docs/format.md)."""
    used = {path_inside(file, report.root) for recording in recordings for file in recording.files}
    files = [
        {"path": file.path, "trust": file.trust, **report.digests[file.path]._asdict()}
        for file in report.present
        if file.path in used
    ]
    return {
        "kind": raw_kind(card, report.root),
        "simulated": read_stamp(report.root),
        "files": files,
        "card": stored_card(card),
        "missing": [file.path for file in report.failures if file.status == "missing"],
        "unlisted": [file.path for file in report.files if file.status == "unlisted"],
        "counts": dict(sorted(Counter(note.what for note in notes).items())),
        "notes": [vars(note) for note in notes],
    }
