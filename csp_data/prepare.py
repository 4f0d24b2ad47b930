"""The pipeline: from raw files to one prepared HDF5 file, one recording at a time."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from tqdm import tqdm

from csp_data.acquire.verify import Report, verify_tree
from csp_data.card import Card, TargetCard, bundled_root
from csp_data.errors import CspDataError, DamagedRecordingError, MissingDataError
from csp_data.home import lock, prepared_dir, raw_dir
from csp_data.normalization import Normalization, features, fit
from csp_data.protocol import Protocol
from csp_data.recording import FloatArray, Note, Recording, Stream
from csp_data.signal.align import chunk_grid, common_intervals, finite_rows, increasing_rows
from csp_data.signal.resample import interval_mean, linear
from csp_data.signal.rotation import slerp
from csp_data.sources import Found, Source, load_source
from csp_data.splits import PARTS, assign
from csp_data.store import FORMAT_VERSION, Channels, Header, Writer, read_header
from csp_data.windows import IntArray, window_table

__all__ = ["Example", "examples", "prepare_card", "raw_root", "recipe_hash"]

logger = logging.getLogger(__name__)

REVISION = 1
"""Raised when the pipeline gives other numbers for the same recipe, so that old prepared files are not taken."""


@dataclass(frozen=True)
class Example:
    """One episode, ready to be stored.

    Parameters
    ----------
    id, group
        Of the episode; pieces of one recording share its group.
    recording
        Id of the recording it is a piece of.
    start_s
        Beginning of the first chunk on the recording's clock, in seconds.
    inputs : array, shape (N * chunk, C)
    targets : array, shape (N, D)
    """

    id: str
    group: str
    recording: str
    start_s: float
    inputs: FloatArray
    targets: FloatArray


def raw_root(card: Card, raw: Path | str | None) -> Path:
    """Return where a data set's raw files are: what was passed, what ships with the package, or the home."""
    if raw is not None:
        return Path(raw).expanduser()
    return bundled_root(card) or raw_dir(card.name)


def recipe_hash(card: Card, protocol: Protocol, source_digest: str) -> str:
    """Return 12 hexadecimal digits that name everything the prepared file's numbers depend on."""
    recipe = {
        "dataset": card.name,
        "protocol": json.loads(protocol.to_json()),
        "splits": asdict(card.splits[protocol.name]),
        "source": source_digest,
        "format": FORMAT_VERSION,
        "revision": REVISION,
    }
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]


def prepare_card(
    card: Card,
    protocol: Protocol,
    *,
    raw: Path | str | None = None,
    out: Path | str | None = None,
    jobs: int = 1,
    progress: bool = False,
) -> Path:
    """Prepare a data set, or return the file that an equal recipe made before.

    The raw files are verified first. Two processes that want the same file make it once; a killed one leaves
    nothing that looks complete.

    Parameters
    ----------
    card
        The data set.
    protocol
        Every choice on the way.
    raw
        Folder of its raw files; by default what ships with the package or the home's ``raw/<name>``.
    out
        The file to write; by default the home's ``prepared/<name>-<recipe>.h5``.
    jobs
        Recordings read at once. The result does not depend on it.
    progress
        Show a progress bar on stderr.

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
    load_checks(card, protocol)
    report = verify_tree(card, raw_root(card, raw))
    report.raise_for_failures(allow_missing=True)
    key = recipe_hash(card, protocol, report.source_digest())
    path = Path(out).expanduser() if out is not None else prepared_dir() / f"{card.name}-{key}.h5"
    with lock(path):
        if not _made_before(path, key):
            _write(path, card, protocol, report, key, jobs, progress)
    return path


def load_checks(card: Card, protocol: Protocol) -> None:
    """Refuse a protocol that the card cannot serve, before anything is read."""
    card.inputs(protocol.inputs)
    card.target(protocol.target)
    assign(card, protocol.name, [])


def _made_before(path: Path, key: str) -> bool:
    if not path.exists():
        return False
    try:
        return read_header(path).recipe_hash == key
    except CspDataError as error:
        logger.warning("%s is made again: %s", path, error)
        return False


def _write(
    path: Path, card: Card, protocol: Protocol, report: Report, key: str, jobs: int, progress: bool
) -> None:
    source = load_source(card)
    trusted = {file.path for file in report.present}
    found = [r for r in source.find(report.root) if r.files[0].relative_to(report.root).as_posix() in trusted]
    parts = assign(card, protocol.name, found)
    found = [recording for recording in found if recording.id in parts]
    if empty := [part for part in PARTS if part not in parts.values()]:
        raise MissingDataError(
            f"A recording for the {' and '.join(empty)} part of {card.name} ({protocol.name})",
            report.root,
            " ".join(card.obtain.split()),
        )
    notes: list[Note] = []
    with Writer(path, *_channels(card, protocol)) as writer:
        for made, more in _examples_of(found, card, source, protocol, jobs, progress):
            notes += more
            for example in made:
                part = parts[example.recording]
                writer.append(example.id, example.group, part, example.start_s, example.inputs, example.targets)
        header = Header(
            dataset=card.name,
            protocol=protocol.to_json(),
            recipe_hash=key,
            source_digest=report.source_digest(),
            provenance=_provenance(card, report, found, notes),
        )
        writer.finish(header, _normalization(writer, protocol), _windows(writer, protocol))


def _examples_of(
    found: Sequence[Found], card: Card, source: Source, protocol: Protocol, jobs: int, progress: bool
) -> Iterator[tuple[list[Example], list[Note]]]:
    """Read and cut the recordings, in order, `jobs` at a time; a generator, so that memory stays bounded."""
    work = (joblib.delayed(_read_and_cut)(recording, card, source, protocol) for recording in found)
    results = joblib.Parallel(n_jobs=jobs, return_as="generator", pre_dispatch="2*n_jobs")(work)
    yield from tqdm(results, total=len(found), desc=f"prepare {card.name}", unit="rec", disable=not progress)


def _read_and_cut(
    found: Found, card: Card, source: Source, protocol: Protocol
) -> tuple[list[Example], list[Note]]:
    recording = source.read(found, card)
    made, notes = examples(recording, card, source, protocol)
    return made, [*recording.notes, *notes]


def examples(
    recording: Recording, card: Card, source: Source, protocol: Protocol
) -> tuple[list[Example], list[Note]]:
    """Turn a recording into episodes: align, cut at gaps, resample, filter, compute the target.

    Returns
    -------
    examples
        One for each stretch without a long gap.
    notes
        What was repaired or left out.
    """
    target = card.target(protocol.target)
    chosen = [stream.name for stream in card.inputs(protocol.inputs)]
    references = [stream.name for stream in card.streams if stream.role == "reference"]
    notes: list[Note] = []
    streams = {name: _clean(recording, name, notes) for name in [*chosen, *references]}
    intervals = _intervals(recording, streams, protocol, notes)
    notes += _interpolated(recording, references, intervals)
    made = []
    for i, interval in enumerate(intervals, start=1):
        grid = chunk_grid(interval, protocol.target_hz, protocol.chunk)
        inputs = np.concatenate([_resample(streams[name], grid.inputs, protocol) for name in chosen], axis=1)
        if protocol.lowpass is not None:
            inputs = protocol.lowpass.apply(inputs, protocol.input_hz)
        edges = {name: _resample(streams[name], grid.edges, protocol) for name in references}
        made.append(
            Example(
                id=recording.id if len(intervals) == 1 else f"{recording.id}.{i}",
                group=recording.group,
                recording=recording.id,
                start_s=float(grid.edges[0]),
                inputs=inputs,
                targets=_target(source, target, edges, protocol),
            )
        )
    return made, notes


def _clean(recording: Recording, name: str, notes: list[Note]) -> Stream:
    """Make a stream's clock strictly increasing and its values finite; an input with NaN is refused."""
    stream, dropped = increasing_rows(recording.streams[name])
    if dropped:
        notes.append(Note(recording.id, "samples with a repeated or backward time left out", f"{name}: {dropped}"))
    if stream.role == "reference":
        return finite_rows(stream)[0]
    bad = ~np.isfinite(stream.values)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DamagedRecordingError(
            recording.path,
            f"channel {stream.channels[column]} of {name} at {stream.time[row]:.3f} s",
            "finite numbers",
            f"{stream.values[row, column]} ({bad.any(axis=1).sum()} such samples)",
        )
    return stream


def _intervals(
    recording: Recording, streams: dict[str, Stream], protocol: Protocol, notes: list[Note]
) -> list[tuple[float, float]]:
    """Return where episodes lie: rest trimmed, cut at long gaps, short pieces left out."""
    pieces = common_intervals(streams.values(), protocol.max_gap_s)
    if protocol.trim_rest_s is not None and recording.active is not None:
        first, last = recording.active[0] - protocol.trim_rest_s, recording.active[1] + protocol.trim_rest_s
        pieces = [(max(a, first), min(b, last)) for a, b in pieces if a < last and b > first]
    for (_, end), (begin, _) in pairwise(pieces):
        notes.append(Note(recording.id, "gap ends an episode", f"{begin - end:.3f} s at {end:.3f} s"))
    least = max(protocol.min_episode_s, 1 / protocol.target_hz)
    for start, stop in pieces:
        if stop - start < least:
            notes.append(Note(recording.id, "piece shorter than min_episode_s left out", f"{stop - start:.3f} s"))
    return [(start, stop) for start, stop in pieces if stop - start >= least]


def _interpolated(
    recording: Recording, references: Iterable[str], intervals: Iterable[tuple[float, float]]
) -> Iterator[Note]:
    """Say how many reference samples within the episodes had no value and were interpolated."""
    for name in references:
        stream = recording.streams[name]
        lost = stream.time[~np.isfinite(stream.values).all(axis=1)]
        count = sum(int(((lost >= start) & (lost <= stop)).sum()) for start, stop in intervals)
        if count:
            yield Note(recording.id, "reference samples without a value interpolated", f"{name}: {count}")


def _resample(stream: Stream, grid: FloatArray, protocol: Protocol) -> FloatArray:
    if stream.kind == "rotation":
        return slerp(stream.time, stream.values, grid)
    if stream.role == "input" and protocol.resample == "mean":
        return interval_mean(stream.time, stream.values, grid, 1 / protocol.input_hz)
    return linear(stream.time, stream.values, grid)


def _target(source: Source, target: TargetCard, edges: dict[str, FloatArray], protocol: Protocol) -> FloatArray:
    values = source.targets[target.name](edges)
    return values * protocol.target_hz if target.increment and protocol.target_per == "second" else values


def _channels(card: Card, protocol: Protocol) -> tuple[Channels, Channels]:
    streams = card.inputs(protocol.inputs)
    target = card.target(protocol.target)
    unit = f"{target.unit}/s" if target.increment and protocol.target_per == "second" else target.unit
    return (
        Channels(
            tuple(name for stream in streams for name in stream.channels),
            tuple(stream.unit for stream in streams for _ in stream.channels),
            protocol.input_hz,
        ),
        Channels(target.channels, tuple(unit for _ in target.channels), protocol.target_hz),
    )


def _normalization(writer: Writer, protocol: Protocol) -> Normalization:
    """Fit shift and scale on what was written, so that anyone can compute them again from the file."""
    parts = PARTS if protocol.statistics == "all" else ("train",)
    inputs = (features(block, deltas=protocol.input_deltas) for block in writer.blocks("inputs", parts))
    return Normalization(
        inputs=fit(inputs, protocol.input_scaling),
        targets=fit(writer.blocks("targets", parts), protocol.target_scaling),
    )


def _windows(writer: Writer, protocol: Protocol) -> IntArray | None:
    if protocol.window is None:
        return None
    starts = np.array([row.target_start for row in writer.rows], dtype=np.int64)
    lengths = np.array([row.target_stop for row in writer.rows], dtype=np.int64) - starts
    table = window_table(lengths, [row.id for row in writer.rows], protocol.window, protocol.target_hz)
    spans = table[:, 1:] + starts[table[:, 0]][:, None]
    return np.concatenate([table[:, :1], spans * protocol.chunk, spans], axis=1)


def _provenance(card: Card, report: Report, found: Sequence[Found], notes: Sequence[Note]) -> dict[str, Any]:
    used = {recording.files[0].relative_to(report.root).as_posix() for recording in found}
    files = [
        {"path": file.path, "trust": file.trust, **asdict(report.digests[file.path])}
        for file in report.present
        if file.path in used
    ]
    return {
        "kind": card.kind,
        "files": files,
        "missing": [file.path for file in report.failures if file.status == "missing"],
        "unlisted": [file.path for file in report.files if file.status == "unlisted"],
        "counts": dict(sorted(Counter(note.what for note in notes).items())),
        "notes": [asdict(note) for note in notes],
    }
