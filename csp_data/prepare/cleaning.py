"""What the pipeline does with a recording before it is cut: check its clocks and numbers, repair, leave out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from csp_data.card import Card, StreamCard
from csp_data.errors import DamagedRecordingError, SourceError
from csp_data.protocol import Protocol
from csp_data.recording import Note, Recording, Stream
from csp_data.signal.align import finite_rows, increasing_rows
from csp_data.signal.plausible import RATE_FACTOR, RATE_TOLERANCE, describe_rate, median_step

__all__ = [
    "as_on_card",
    "baseline_and_clip",
    "check_clocks",
    "clean",
    "reasons_to_drop",
    "repeated_times",
]


MANY = 0.1
"""Share of a clock's samples whose loss a person should look at."""


def as_on_card(recording: Recording, names: Iterable[str], card: Card) -> Recording:
    """Return it with its streams' role and kind as the card has them.

    Streams that a reader has left out, or whose times, values and channels are not as many, are refused.
    """
    streams = dict(recording.streams)
    for name in names:
        stream = streams.get(name)
        if stream is None:
            raise SourceError(card.name, f"{recording.id}: there is no stream {name!r}, which is on the card")
        described = card.stream(name)
        streams[name] = replace(stream, role=described.role, kind=described.kind)
        expected = (*stream.time.shape, len(stream.channels))
        if stream.values.shape != expected or len(expected) != 2:
            found = f"time {stream.time.shape} and values {stream.values.shape}"
            needed = f"time (T,) and values (T, {len(stream.channels)}), a column for each channel"
            raise SourceError(card.name, f"{recording.id}: {name}: expected {needed}, found {found}")
    return replace(recording, streams=streams)


def check_clocks(recording: Recording, cards: Iterable[StreamCard]) -> Iterator[Note]:
    """Refuse a clock that is broken or not in seconds; say where an input's rate is unlike the card's."""
    median_steps: dict[int, float] = {}  # of each clock: several streams may share one
    for card in cards:
        time = recording.streams[card.name].time
        if id(time) not in median_steps:
            if not (finite := np.isfinite(time)).all():
                row = int(np.argmin(finite))
                raise DamagedRecordingError(
                    recording.path, f"time of sample {row} of {card.name}", "a finite number", f"{time[row]}"
                )
            median_steps[id(time)] = median_step(time)
        step = median_steps[id(time)]
        if step <= 0 and len(time) > 1:
            found = f"{len(time)} samples, none later than the first"
            raise DamagedRecordingError(recording.path, f"time of {card.name}", "a clock that goes on", found)
        if step > 0 and not 1 / RATE_TOLERANCE < step * card.rate_hz < RATE_TOLERANCE:
            raise DamagedRecordingError(
                recording.path,
                f"rate of {card.name}",
                f"about {card.rate_hz:g} Hz, time in seconds",
                describe_rate(step, card.rate_hz),
                "Bring its time stamps to seconds, or restore the file from its publisher.",
            )
        if step > 0 and card.role == "input" and not 1 / RATE_FACTOR < step * card.rate_hz < RATE_FACTOR:
            detail = (
                f"{card.name}: about {card.rate_hz:g} Hz on the card, found {describe_rate(step, card.rate_hz)}"
            )
            yield Note(recording.id, "rate of an input unlike the card's", detail, "warning")


def reasons_to_drop(recording: Recording, names: Iterable[str], protocol: Protocol) -> Iterator[Note]:
    """Say why the protocol leaves the whole recording out, if it does."""
    for name in names:
        stream = recording.streams[name]
        if protocol.jump_limit is not None and stream.role == "input" and len(stream.values) > 1:
            steps = np.diff(stream.values, axis=0)
            jump = float(max(steps.max(), -steps.min()))
            if jump > protocol.jump_limit:
                detail = f"{name}: {jump:g} {stream.unit} from one sample to the next"
                yield Note(recording.id, "recording with a jump above jump_limit left out", detail, "drop")
        if protocol.recording_s is not None and len(stream.time):
            seconds = stream.span[1] - stream.span[0]
            if not protocol.recording_s[0] <= np.rint(seconds) <= protocol.recording_s[1]:
                detail = f"{name}: {seconds:.2f} s"
                yield Note(recording.id, "recording of a length outside recording_s left out", detail, "drop")


def baseline_and_clip(stream: Stream, name: str, recording: Recording, protocol: Protocol) -> Stream:
    """Subtract the baseline from an input stream and clip it, as the protocol says."""
    if stream.role != "input" or (protocol.baseline == "none" and protocol.raw_clip is None):
        return stream
    clean(stream, name, recording)  # a baseline would spread what is not finite over all samples, a clip hide it
    values = stream.values
    if protocol.baseline != "none":
        rows = values[: protocol.baseline_rows]
        baseline = rows.mean(axis=0) if protocol.baseline == "mean" else np.median(rows, axis=0)
        values = values - baseline
    if protocol.raw_clip is not None:
        values = np.clip(values, -protocol.raw_clip, protocol.raw_clip)
    return replace(stream, values=values)


def repeated_times(recording: Recording, names: Iterable[str]) -> Iterator[Note]:
    """Say how many samples of each clock have a time that does not lie after all earlier ones."""
    by_clock: dict[int, list[str]] = {}
    for name in names:
        by_clock.setdefault(id(recording.streams[name].time), []).append(name)
    for streams in by_clock.values():
        stream = recording.streams[streams[0]]
        dropped = increasing_rows(stream)[1]
        if dropped:
            many = dropped > MANY * len(stream.time)  # one time that is far too late costs all that follow
            detail = f"{', '.join(streams)}: {dropped}{f' of {len(stream.time)}' if many else ''}"
            what = "samples with a repeated or backward time left out"
            yield Note(recording.id, what, detail, "warning" if many else "repair")


def clean(stream: Stream, name: str, recording: Recording) -> Stream:
    """Make a stream's clock strictly increasing and its values finite; an input with NaN is refused."""
    stream, _ = increasing_rows(stream)
    if stream.role == "reference":
        return finite_rows(stream)
    bad = ~np.isfinite(stream.values)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DamagedRecordingError(
            recording.path,
            f"channel {stream.channels[column]} of {name} at {stream.time[row]:.3f} s",
            "finite numbers",
            f"{stream.values[row, column]} ({bad.any(axis=1).sum()} such samples)",
            "Restore the file from its publisher, then run csp-data verify. "
            "If the reader is yours, let it leave these rows out.",
        )
    return stream
