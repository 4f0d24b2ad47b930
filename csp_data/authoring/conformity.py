"""Check that a data set's card, reader and recordings keep what the pipeline relies on."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from csp_data.acquire.rawtree import copies, raw_root
from csp_data.acquire.report import Report, path_inside
from csp_data.acquire.verify import how_to_get, verify_tree
from csp_data.authoring.report import Check, SourceReport
from csp_data.authoring.watching import read_and_watch
from csp_data.card import Card, load_card
from csp_data.card.splits import is_pattern
from csp_data.dataset import Dataset
from csp_data.errors import CspDataError, MissingDataError
from csp_data.options import check_count
from csp_data.prepare import prepare_card
from csp_data.prepare.examples import examples
from csp_data.protocol import resolve
from csp_data.recording import FloatArray, Recording, Stream
from csp_data.signal.align import common_intervals, finite_rows, increasing_rows
from csp_data.signal.moving import compare_moving, differences, move_alike
from csp_data.signal.plausible import (
    RATE_FACTOR,
    RATE_TOLERANCE,
    TURNS,
    describe_rate,
    doubtful,
    implausible,
    sentinels,
)
from csp_data.signal.turning import ALIKE, compare_turning, disagreements, doubts_of_gravity, force_in_room
from csp_data.sources import Found, Source, TargetFunction, find_in, load_source, read_found
from csp_data.splits import assign
from csp_data.terminal import count_of

__all__ = ["check_source"]

REPEATED = 0.01
"""Share of samples whose time does not lie after all earlier ones, above which a clock is broken."""
OVERLAP = 0.5
"""Share of a recording's shortest stream that all its streams must have in common."""
HALF_TURN = 3.2
"""Angles in rad seldom go beyond it, angles in deg nearly always do."""


class _Warning(str):
    """A problem that a person should look at, and that may be all right."""


@dataclass
class _State:
    """What the checks so far have found; a check that needs more is skipped."""

    card: Card
    root: Path
    limit: int
    source: Source | None = None
    verified: Report | None = None
    found: list[Found] = field(default_factory=list)
    recordings: list[Recording] = field(default_factory=list)
    summary: str = ""

    def streams(self) -> Iterator[tuple[str, str, Stream]]:
        """Yield recording, name and stream of all that were read."""
        for recording in self.recordings:
            for name, stream in recording.streams.items():
                yield recording.id, name, stream


def check_source(name: Path | str, *, raw: Path | str | None = None, limit: int = 20) -> SourceReport:
    """Check a data set's card, reader and recordings: of your own, or of this package.

    Parameters
    ----------
    name
        Data set, as in :func:`csp_data.names`, or a folder with ``card.toml`` and ``reader.py``.
    raw
        Folder of its raw files, as in :func:`csp_data.prepare`.
    limit
        Recordings to read one by one, spread over all; the round trip prepares all of them.

    Returns
    -------
    SourceReport
        ``print`` it; ``ok`` says whether all is well.

    Raises
    ------
    UnknownNameError
        If there is no such data set.
    MissingDataError
        If there is no folder of raw files.
    OptionError
        If `limit` is below 1.
    """
    check_count("limit", limit)
    card = load_card(name)
    root = raw_root(card, raw)
    if not root.is_dir():
        raise MissingDataError(f"The raw files of {card.name}", root, how_to_get(card, root))
    state = _State(card, root, limit)
    return SourceReport(card.name, root, tuple(_run(state, *row) for row in CHECKS))


def _run(state: _State, name: str, needs: str, check: Callable[[_State], Iterator[str]]) -> Check:
    if needs and not getattr(state, needs):
        return Check(name, "skipped", ("an earlier check failed",))
    state.summary = ""
    problems: list[str] = []
    try:
        for problem in check(state):
            problems.append(problem)
    except CspDataError as error:
        problems.append(str(error))
    except Exception as error:  # whatever a reader does wrong belongs into the report
        problems.append(f"{type(error).__name__}: {error}")
    if not problems:
        return Check(name, "ok", (state.summary,) if state.summary else ())
    failed = [problem for problem in problems if not isinstance(problem, _Warning)]
    shown = [*(failed or problems)][:SHOWN]
    unlisted = len(failed or problems) - len(shown)
    return Check(
        name, "failed" if failed else "warning", (*shown, *([f"and {unlisted} more"] if unlisted else ()))
    )


SHOWN = 5
"""Problems of one check that are listed; the others are counted."""


def _reader(state: _State) -> Iterator[str]:
    state.source = load_source(state.card)
    state.summary = state.source.layout
    yield from ()


def _recordings(state: _State) -> Iterator[str]:
    assert state.source is not None
    found = find_in(state.card, state.root)
    if not found:
        yield f"find() finds nothing in {state.root} ({state.source.layout})"
    for recording in found:
        if not recording.id or not recording.group:
            yield f"expected a Found with id and group, got {recording!r}"
            return
        if not (main := recording.files[0]).is_file():
            yield f"{recording.id}: the main file {main} is {'no file' if main.exists() else 'not there'}"
    ids = [recording.id for recording in found]
    if len(set(ids)) < len(ids):
        yield f"the id {next(id_ for id_ in ids if ids.count(id_) > 1)!r} stands twice"
    yield from _not_listed(state.card, state.root, found)
    if found != find_in(state.card, state.root):
        yield "find() gives another order the second time; sort what it returns"
    state.found = found
    state.summary = f"{len(found)} in {count_of(len({recording.group for recording in found}), 'group')}"


def _not_listed(card: Card, root: Path, found: Sequence[Found]) -> Iterator[str]:
    """Say what a list of files leaves out, where it is meant to be whole: users would not get it."""
    if not card.files or card.unlisted == "used":
        return
    listed = {entry.path for entry in card.files}
    left_out = []
    for recording in found:
        main, *others = (path_inside(file, root) for file in recording.files)
        if main not in listed:
            left_out.append(recording.id)
        elif lacking := [name for name in others if name not in listed and (root / name).exists()]:
            yield f"{recording.id}: the card lists {main}, and not {lacking[0]}, which download would not bring"
    if left_out:
        yield _Warning(
            f"left out: {count_of(len(left_out), 'recording')}, as the card does not list {_some(left_out)}"
        )


def _reading(state: _State) -> Iterator[str]:
    assert state.source is not None
    protocol = resolve(state.card)
    state.verified = verified = verify_tree(state.card, state.root, extra=False)
    read = []
    for found in _spread(state.found, state.limit):
        if failure := verified.failure_of(found):
            yield f"{found.id}: {failure}"
            continue
        try:
            recording = read_found(state.source, found, state.card, protocol)
        except Exception as error:
            kind = "" if isinstance(error, CspDataError) else f"{type(error).__name__}: "
            yield f"{found.id}: {kind}{error}"
            continue
        state.recordings.append(recording)
        read.append(found)
    state.summary = f"{len(state.recordings)} of {len(state.found)} read"
    if read and read_found(state.source, read[0], state.card, protocol).streams != state.recordings[0].streams:
        yield f"{read[0].id}: read() gives other numbers the second time"


def _spread(found: Sequence[Found], limit: int) -> list[Found]:
    count = min(limit, len(found))
    return [found[int(i)] for i in np.linspace(0, len(found) - 1, count)]


def _streams(state: _State) -> Iterator[str]:
    promised = {stream.name: stream for stream in state.card.streams}
    good = []
    for recording in state.recordings:
        problems = [
            f"stream {name!r} of the card is missing" for name in promised if name not in recording.streams
        ]
        for name, stream in recording.streams.items():
            if name not in promised:
                problems.append(f"stream {name!r} is not on the card")
            else:
                problems += [f"{name}: {problem}" for problem in _differences_from_card(stream, promised[name])]
        if not problems:
            good.append(recording)
        yield from (f"{recording.id}: {problem}" for problem in problems)
    state.recordings = good
    state.summary = ", ".join(promised)


def _differences_from_card(stream: Stream, card: Any) -> Iterator[str]:
    time, values = stream.time, stream.values
    if time.ndim != 1 or values.ndim != 2 or len(time) != len(values):
        yield f"expected time (T,) and values (T, C), found {time.shape} and {values.shape}"
        return
    if len(time) < 2:
        yield f"expected at least 2 samples, found {len(time)}"
    if time.dtype != np.float64:
        yield f"expected times in float64, found {time.dtype} (a clock since 1970 loses its digits)"
    if values.shape[1] != len(stream.channels):
        yield f"expected {len(stream.channels)} columns, one a channel, found {values.shape[1]}"
    has_patterns = any("*" in channel for channel in card.channels)
    fits = all(any(fnmatchcase(name, pattern) for pattern in card.channels) for name in stream.channels)
    if not fits or not (has_patterns or stream.channels == card.channels):
        yield f"expected the channels {_some(card.channels)}, found {_some(stream.channels)}"
    for what in ("unit", "role", "kind"):
        if getattr(stream, what) != getattr(card, what):
            yield f"expected {what} {getattr(card, what)!r}, found {getattr(stream, what)!r}"


def _some(names: Sequence[str]) -> str:
    """Give names in one line, of many the first and the last: a skin has dozens of channels."""
    if len(names) <= 12:
        return ", ".join(names)
    return ", ".join([*names[:6], "...", *names[-3:]]) + f" ({len(names)})"


def _clocks(state: _State) -> Iterator[str]:
    for id_, name, stream in state.streams():
        if not np.isfinite(stream.time).all():
            yield f"{id_}: {name}: {np.count_nonzero(~np.isfinite(stream.time))} times are not finite"
            continue
        back = int(np.count_nonzero(stream.time[1:] <= np.maximum.accumulate(stream.time)[:-1]))
        if back:
            line = f"{id_}: {name}: {back} of {len(stream.time)} times do not lie after all earlier ones"
            yield line if back > REPEATED * len(stream.time) else _Warning(line)
        step = float(np.median(np.diff(stream.time)))
        hz, factor = state.card.stream(name).rate_hz, RATE_FACTOR if stream.role == "input" else RATE_TOLERANCE
        if step > 0 and not 1 / factor < step * hz < factor:
            yield f"{id_}: {name}: expected about {hz:g} Hz with time in seconds, found {describe_rate(step, hz)}"


def _values(state: _State) -> Iterator[str]:
    ranges: dict[str, FloatArray] = {}  # of each stream's columns, over all recordings
    channels: dict[str, tuple[str, ...]] = {}
    for id_, name, stream in state.streams():
        finite = np.isfinite(stream.values)
        if stream.role == "input" and not finite.all():
            count = np.count_nonzero(~finite.all(axis=1))
            yield f"{id_}: {name}: {count} input rows are not finite; leave them out in read"
        elif finite.all(axis=1).mean() < 0.5:
            yield f"{id_}: {name}: {1 - finite.all(axis=1).mean():.0%} of the reference rows hold no value"
        if finite.any():
            spread = np.nanmax(np.where(finite, stream.values, np.nan), axis=0, initial=-np.inf)
            spread = spread - np.nanmin(np.where(finite, stream.values, np.nan), axis=0, initial=np.inf)
            before = ranges.get(name, np.zeros_like(spread))
            ranges[name] = np.maximum(spread, before) if before.shape == spread.shape else spread
            channels[name] = stream.channels
        yield from (_Warning(f"{id_}: {name}: {problem}; does it mean none?") for problem in sentinels(stream))
    for name, spread in ranges.items():
        if constant := [channels[name][i] for i in np.flatnonzero(spread == 0)]:
            verb = "never changes" if len(constant) == 1 else "never change"
            yield _Warning(f"{name}: {', '.join(constant)} {verb} in any recording")


def _units(state: _State) -> Iterator[str]:
    degrees: dict[str, float] = {}  # the largest angle of each stream, over all recordings
    for id_, name, stream in state.streams():
        yield from (f"{id_}: {name}: {problem}" for problem in implausible(stream))
        yield from (_Warning(f"{id_}: {name}: {problem}") for problem in doubtful(stream))
        if TURNS.get(stream.unit) == 360:
            degrees[name] = float(np.nanmax(np.abs(stream.values), initial=degrees.get(name, 0.0)))
    for name, largest in degrees.items():
        if 0 < largest < HALF_TURN:
            yield _Warning(f"{name}: no value in any recording is beyond {largest:.3g} deg; are these rad?")
    state.summary = ", ".join(dict.fromkeys(stream.unit for stream in state.card.streams))


def _alignment(state: _State) -> Iterator[str]:
    alike: Counter[str] = Counter()
    for recording in state.recordings:
        spans = {name: stream.span for name, stream in recording.streams.items()}
        common = min(stop for _, stop in spans.values()) - max(start for start, _ in spans.values())
        shortest = min(stop - start for start, stop in spans.values())
        if common < OVERLAP * shortest:
            rows = ", ".join(f"{name} {start:.3f} to {stop:.3f} s" for name, (start, stop) in spans.items())
            hint = "; if their clocks differ, subtract the difference from one of them in read"
            yield f"{recording.id}: the streams have {max(common, 0):.3f} s in common: {rows}{hint}"
        elif (kept := _between_gaps(recording, state.card)) < OVERLAP * common:
            yield _Warning(
                f"{recording.id}: gaps leave {kept:.1f} of the {common:.1f} s in common: longer ones than "
                "max_gap_s end an episode, and none may be shorter than min_episode_s"
            )
        what, problems = _compare_motion(recording, state.card)
        alike.update([what] if what else [])
        for problem, wrong in problems:
            yield f"{recording.id}: {problem}" if wrong else _Warning(f"{recording.id}: {problem}")
    state.summary = ", ".join(f"{what} in {count} of {len(state.recordings)}" for what, count in alike.items())


def _between_gaps(recording: Recording, card: Card) -> float:
    """Return the seconds in which all streams that are used have samples, in pieces that are long enough."""
    protocol = resolve(card)
    inputs = {stream.name for stream in card.inputs(protocol.inputs)}
    streams = [
        increasing_rows(finite_rows(stream))[0]
        for name, stream in recording.streams.items()
        if stream.role == "reference" or name in inputs
    ]
    pieces = (stop - start for start, stop in common_intervals(streams, protocol.max_gap_s))
    return sum(piece for piece in pieces if piece >= protocol.min_episode_s)


def _compare_motion(recording: Recording, card: Card) -> tuple[str, list[tuple[str, bool]]]:
    """Return what of sensor and reference is alike, and what should not be, each with whether it is an error."""
    gyroscope = _only(recording, "input", "vector", 3, ("rad/s",))
    orientation = _only(recording, "reference", "rotation", 4)
    if gyroscope and orientation and (turning := compare_turning(gyroscope, orientation)) is not None:
        problems = list(disagreements(turning))
        force = None if problems else _force(recording, card, orientation)
        if force is not None:
            problems = [(problem, False) for problem in doubts_of_gravity(force)]
        return "gyroscope and orientation turn alike" if turning.correlation >= ALIKE else "", problems
    accelerometer = _only(recording, "input", "vector", 3, ("m/s^2", "m/s²"))
    position = _only(recording, "reference", "vector", 3, ("m",))
    if accelerometer and position and (moving := compare_moving(accelerometer, position)) is not None:
        gravity = any(recording.streams[name] is accelerometer for name in _specific_forces(card))
        problems = list(differences(moving, gravity=gravity))
        return "accelerometer and position move alike" if move_alike(moving) else "", problems
    return "", []


def _only(recording: Recording, role: str, kind: str, width: int, units: Sequence[str] = ()) -> Stream | None:
    """Return the stream of a role, a kind, so many channels and one of some units, where there is just one."""
    streams = [s for s in recording.streams.values() if (s.role, s.kind, s.values.shape[1]) == (role, kind, width)]
    streams = [s for s in streams if not units or s.unit in units]
    return streams[0] if len(streams) == 1 else None


def _specific_forces(card: Card) -> list[str]:
    return [stream.name for stream in card.streams if stream.quantity == "specific force"]


def _force(recording: Recording, card: Card, orientation: Stream) -> FloatArray | None:
    """Return the mean of what the card calls a specific force, along the axes of the room."""
    names = _specific_forces(card)
    if len(names) != 1 or recording.streams[names[0]].values.shape[1] != 3:
        return None
    return force_in_room(recording.streams[names[0]], orientation)


def _targets(state: _State) -> Iterator[str]:
    assert state.source is not None
    for target in state.card.targets:
        varies = False
        for recording in state.recordings:
            compute, edges = state.source.targets[target.name], _sampled_references(recording)
            values = compute(edges)
            expected = (len(next(iter(edges.values()))) - 1, len(target.channels))
            if np.shape(values) != expected:
                yield f"{recording.id}: {target.name}: expected shape {expected}, found {np.shape(values)}"
                break
            if not np.isfinite(values).all():
                count = np.count_nonzero(~np.isfinite(values))
                yield f"{recording.id}: {target.name}: {count} values are not finite"
            varies = varies or bool(np.ptp(values, axis=0).max() > 0)
            if _depends_on_later(compute, edges, values):
                yield f"{recording.id}: {target.name}: a target depends on what comes after its step"
        if state.recordings and not varies:
            yield f"{target.name} never changes"


def _depends_on_later(compute: TargetFunction, edges: dict[str, FloatArray], values: FloatArray) -> bool:
    """Whether the first half of the targets changes when the references stand still from its end on."""
    half = len(values) // 2
    halted = {name: np.concatenate([v[: half + 1], np.repeat(v[half : half + 1], len(v) - half - 1, axis=0)])
              for name, v in edges.items()}  # fmt: skip
    return not np.allclose(compute(halted)[:half], values[:half], equal_nan=True)


def _sampled_references(recording: Recording) -> dict[str, FloatArray]:
    """Give the reference streams at a few common times, by the samples before them."""
    streams = {name: s for name, s in recording.streams.items() if s.role == "reference"}
    finite = {name: np.flatnonzero(np.isfinite(s.values).all(axis=1)) for name, s in streams.items()}
    start = max(float(s.time[finite[name][0]]) for name, s in streams.items())
    stop = min(float(s.time[finite[name][-1]]) for name, s in streams.items())
    edges = {}
    for name, s in streams.items():
        rows = finite[name]
        at = np.searchsorted(s.time[rows], np.linspace(start, max(start, stop), 65), side="right") - 1
        edges[name] = s.values[rows][np.clip(at, 0, None)]
    return edges


def _splits(state: _State) -> Iterator[str]:
    found_ids = {recording.id for recording in state.found}
    described = []
    for name, split in state.card.splits.items():
        parts = assign(state.card, name, state.found)
        if empty := [part for part in split.parts if part not in parts.values()]:
            yield f"{name}: the {' and '.join(empty)} part has no recording"
        listed = {id_ for id_ in split.part_of() if not is_pattern(id_)}
        if absent := sorted(listed - found_ids):
            yield _Warning(f"{name}: {len(absent)} listed recordings are not here, such as {absent[0]!r}")
        for copy, other in copies(state.found, state.verified) if state.verified else ():
            if copy.id in parts and other.id in parts:
                both = f"{copy.id} in {parts[copy.id]} is a copy of {other.id} in {parts[other.id]}"
                line = f"{name}: {both} (the same bytes); remove one of them"
                yield line if parts[copy.id] != parts[other.id] else _Warning(line)
        if unassigned := sorted(found_ids - set(parts)):
            yield _Warning(
                f"{name}: {count_of(len(unassigned), 'recording')} in no part, such as {unassigned[0]!r}"
            )
        trained, others = (
            {one.subject for one in state.found if one.id in parts and (parts[one.id] == "train") == is_train}
            for is_train in (True, False)
        )
        known = _some(sorted((trained & others) - {""}))
        described.append(f"{name} (other parts share {known} with train)" if known else name)
    state.summary = ", ".join(described)


def _another_process(state: _State) -> Iterator[str]:
    first = state.recordings[0]
    found = next(found for found in state.found if found.id == first.id)
    ((elsewhere, opened),) = joblib.Parallel(n_jobs=2)([joblib.delayed(read_and_watch)(state.card, found)])
    if elsewhere.streams != first.streams:
        yield f"{first.id}: another process reads other numbers"
    root = state.root.absolute()
    for path in sorted({Path(name).absolute() for name in opened} - {file.absolute() for file in found.files}):
        if path.is_relative_to(root):
            what = f"{first.id}: read opens {path_inside(path, root)}, which find does not list among its files"
            yield f"{what}: when it changes, data prepared before would still be used"


def _round_trip(state: _State) -> Iterator[str]:
    assert state.source is not None
    protocol = resolve(state.card)
    with tempfile.TemporaryDirectory(prefix="csp-data-check-") as folder:
        path = prepare_card(state.card, protocol, raw=state.root, out=Path(folder) / "check.h5")
        dataset = Dataset(path)
        rows = {row.id: row for row in dataset.episodes}
        for recording in state.recordings:
            made_again, _ = examples(recording, state.card, state.source, protocol)
            for example in (example.stored() for example in made_again if example.id in rows):
                row = rows[example.id]
                episode = dataset.read(row, row.target_start, row.target_stop)
                same = np.array_equal(episode.inputs, example.inputs) and np.array_equal(
                    episode.targets, example.targets
                )
                if not same or (row.group, dataset.channels.names) != (example.group, example.columns):
                    yield f"{example.id}: the file holds something else than was written"
                if not (np.isfinite(episode.inputs).all() and np.isfinite(episode.targets).all()):
                    yield f"{example.id}: the file holds values that are not finite"
        parts = ", ".join(f"{part} {len(dataset.split(part))}" for part in dataset.parts)
        state.summary = f"{parts} episodes under the protocol {protocol.name}"
        dataset.close()


CHECKS: tuple[tuple[str, str, Callable[[_State], Iterator[str]]], ...] = (
    ("reader", "", _reader),
    ("recordings", "source", _recordings),
    ("reading", "found", _reading),
    ("streams", "recordings", _streams),
    ("clocks", "recordings", _clocks),
    ("values", "recordings", _values),
    ("units", "recordings", _units),
    ("alignment", "recordings", _alignment),
    ("targets", "recordings", _targets),
    ("splits", "found", _splits),
    ("another process", "recordings", _another_process),
    ("round trip", "recordings", _round_trip),
)
"""Name, what it needs of the state, and the check, in order."""
