"""The loop of ``csp-baselines stream``: from lines to predictions, until the lines end or somebody stops it."""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, BinaryIO

from baselines.stream.line_protocol import (
    TIME,
    ClockError,
    LatencyHistogram,
    PredictionWriter,
    Sample,
    SampleClock,
    SampleError,
    read_samples,
)
from csp_data.terminal import count_of, loudness

if TYPE_CHECKING:
    from baselines.commands.stream import Stream
    from baselines.stream.resampling import StampedSamples
    from baselines.stream.streamer import Streamer

logger = logging.getLogger(__name__)

__all__ = ["StreamCounts", "deferred_interrupt", "process_samples", "write_summary"]


@dataclass
class StreamCounts:
    """What a stream has come to."""

    without_prediction: LatencyHistogram = field(default_factory=LatencyHistogram)
    """Of the samples without a prediction."""
    with_prediction: LatencyHistogram = field(default_factory=LatencyHistogram)
    """Of the samples with one."""
    predictions: int = 0
    """Predictions written: a sample that makes the baseline known may bring several."""
    replaced: int = 0
    """Bad lines replaced by the sample before, or left out where samples are resampled."""
    left_out: int = 0
    """Bad lines before the first sample, with none that could be held."""
    gaps: int = 0
    """Times that the stream began anew, after a gap or since the clock was set back."""
    off_pace: int = 0
    """Times that samples which are not resampled came at another pace than in training, by their own times."""
    busy: bool = False
    """A sample is being taken, the state neither that before it nor that after it; or the state is being kept."""
    stopped: int = 0
    """Signal that ended the stream: Ctrl-C, SIGTERM (a service is stopped) or SIGHUP (a terminal is lost)."""
    unwritten: OSError | None = None
    """Why a prediction could not be written; the rest of its line is still taken, so that the state is whole."""


@contextmanager
def deferred_interrupt(counts: StreamCounts) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP wait until the sample at work is done, so that the state can be kept.

    Only the first of them interrupts: a shell sends SIGHUP to its jobs once more, people press Ctrl-C twice.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        interrupts = not counts.busy and not counts.stopped
        counts.stopped = counts.stopped or number
        if interrupts:
            raise KeyboardInterrupt

    ends = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:  # as under nohup
        ends.append(hangup)
    previous = {number: signal.signal(number, stop) for number in ends}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def process_samples(
    command: Stream,
    streamer: Streamer,
    source: BinaryIO,
    inputs: tuple[str, ...],
    writer: PredictionWriter,
    counts: StreamCounts,
    grid: StampedSamples | None,
) -> None:
    """Pass samples on until they end, or until a signal stops them."""
    clock = SampleClock(1 / streamer.preparation.input_hz)
    lines = Arrivals(source)
    samples = read_samples(lines, inputs, timed=command.resample)
    for stamp, values in _good_samples(command, samples, lines, clock, counts, grid):
        predictions = streamer.push(values)
        clock.set(stamp, streamer.samples)
        if grid is None and (pace := clock.off_pace(stamp, streamer.samples)) is not None:
            _note_pace(*pace, clock.period, lines.count, counts)
        seconds = time.perf_counter() - lines.latest
        (counts.with_prediction if len(predictions) else counts.without_prediction).add(seconds)
        try:
            for behind, prediction in enumerate(predictions, start=1 - len(predictions)):
                due = streamer.answered + behind * streamer.model.config.chunk
                writer.write(clock.time(due), prediction, seconds)
                counts.predictions += 1
        except OSError as error:
            counts.unwritten = counts.unwritten or error
    if counts.unwritten is not None:
        raise counts.unwritten


def _note_pace(samples: int, seconds: float, period: float, line: int, counts: StreamCounts) -> None:
    """Count that samples came at another pace than in training; the first time, say so."""
    counts.off_pace += 1
    if counts.off_pace == 1:
        logger.warning(
            "line %d: %d samples took %g s by their times, and %g s in training. Some are lost, or their rate has "
            "changed; predictions take them to be %g s apart. With --resample their times count.",
            line, samples, seconds, samples * period, period,
        )  # fmt: skip


def _good_samples(
    command: Stream,
    samples: Iterator[Sample | SampleError],
    lines: Arrivals,
    clock: SampleClock,
    counts: StreamCounts,
    grid: StampedSamples | None,
) -> Iterator[Sample]:
    """Give the samples that the model takes; while it has one, Ctrl-C waits.

    Raises
    ------
    SampleError
        If a line is no sample and bad lines stop the stream.
    """
    last_values = None
    tell_rate = grid is None and loudness.get().notes
    for sample in samples:
        counts.busy = True
        try:
            if isinstance(sample, SampleError):
                raise sample
            stamp, values = sample
            if grid is None:
                clock.check(stamp, lines.count)
            ready = [sample] if grid is None else grid.take(stamp, values, lines.count)
            if tell_rate and stamp is None:
                sys.stderr.write(
                    f"Note: samples without a {TIME}: they are taken to be {clock.period:g} s apart "
                    f"({1 / clock.period:g} Hz), as in training.\n"
                )
            tell_rate, last_values = False, values
        except SampleError as error:
            if isinstance(error, ClockError):
                raise
            if command.on_bad == "stop":
                instead = "without it" if command.resample else "with the last good sample instead"
                fix = f"Pass --on-bad hold to go on {instead}."
                raise SampleError(error.line, error.expected, error.found, fix) from None
            ready = []
            held: list[Sample] = [] if last_values is None else [(None, last_values)]
            begun = held if grid is None else grid.resampler.latest is not None  # also that of a state
            if not begun:
                counts.left_out += 1
                if counts.left_out == 1:
                    logger.warning("%s There is no sample before it that could be held: it is left out.", error)
            else:
                counts.replaced += 1
                ready = held if grid is None else []
        yield from ready
        counts.busy = False
        if counts.stopped or counts.unwritten is not None:
            return


class Arrivals:
    """The lines of a source, how many there were, and when the latest of them was there."""

    def __init__(self, source: BinaryIO) -> None:
        self._source, self.latest, self.count = source, 0.0, 0

    def __iter__(self) -> Iterator[bytes]:
        try:
            for raw in self._source:
                self.latest = time.perf_counter()
                self.count += 1
                yield raw
        except OSError as error:  # the sensor was unplugged
            raise SampleError(self.count + 1, "a line, or the end", f"{error.strerror}") from error


def write_summary(command: Stream, counts: StreamCounts) -> None:
    """Say on stderr what the stream has come to, and how long samples took."""
    without_prediction, with_prediction = counts.without_prediction, counts.with_prediction
    samples, replaced = without_prediction.total + with_prediction.total, counts.replaced
    if command.json:
        totals = {"samples": samples, "predictions": counts.predictions, "held": replaced}
        totals |= {"left_out": counts.left_out} if counts.left_out else {}
        totals |= {"gaps": counts.gaps} if command.resample else {"off_pace": counts.off_pace}
        parts = {"without_prediction_ms": without_prediction, "with_prediction_ms": with_prediction}
        summary = totals | {name: latency.summary() if latency.total else None for name, latency in parts.items()}
        sys.stderr.write(json.dumps(summary) + "\n")
        return
    if not loudness.get().notes:
        return
    if not samples:
        source = "the standard input" if command.input == "-" else command.input
        sys.stderr.write(f"Note: no sample came from {source}, so nothing was predicted.\n")
    sys.stderr.write(
        f"{count_of(samples, 'sample')}, {count_of(counts.predictions, 'prediction')}"
        + (
            f", {count_of(counts.left_out, 'bad line')} before the first sample left out"
            if counts.left_out
            else ""
        )
        + (
            f", {replaced:,} bad line{'' if replaced == 1 else 's'} "
            f"{'left out' if command.resample else 'replaced by the sample before'}"
            if replaced
            else ""
        )
        + (f", begun anew after {counts.gaps:,} gap{'' if counts.gaps == 1 else 's'}" if counts.gaps else "")
        + (
            f", at another pace {counts.off_pace:,} time{'' if counts.off_pace == 1 else 's'}"
            if counts.off_pace
            else ""
        )
        + "\n"
    )
    for word, latency in (("without", without_prediction), ("with", with_prediction)):
        if latency.total:
            percentiles = latency.summary()
            sys.stderr.write(
                f"latency of a sample {word} a prediction: p50 {percentiles['p50']:.3f} ms, "
                f"p95 {percentiles['p95']:.3f}, p99 {percentiles['p99']:.3f}, max {percentiles['max']:.3f}\n"
            )
