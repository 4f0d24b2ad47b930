"""The loop of ``csp-baselines stream``: from lines to predictions, until the lines end or somebody stops it."""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt

from baselines.stream.line_protocol import (
    TIME,
    ClockError,
    FirstSteps,
    LatencyHistogram,
    PredictionWriter,
    Sample,
    SampleClock,
    SampleError,
    read_samples,
)
from baselines.stream.resampling import StampedSamples
from csp_data.terminal import count_of, loudness

if TYPE_CHECKING:
    from baselines.commands.stream import Stream
    from baselines.stream.streamer import Streamer

logger = logging.getLogger(__name__)

__all__ = ["EvenSamples", "StreamCounts", "deferred_interrupt", "process_samples", "write_summary"]


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


class EvenSamples:
    """Lines of a stream that is not resampled: its samples are taken to be as far apart as in training.

    Parameters
    ----------
    period
        Seconds from one sample to the next in training.

    Attributes
    ----------
    off_pace
        Times that some 25 samples came at another pace by their own times. Jitter averages out.
    """

    TOLERANCE = 1.2
    instead = "with the last good sample instead"

    def __init__(self, period: float) -> None:
        self.period, self.off_pace = period, 0
        self._first_steps = FirstSteps()
        self._count = 0
        self._latest: npt.NDArray[np.float64] | None = None
        self._paced_from: tuple[float, int] | None = None

    def take(self, stamp: float | None, values: npt.NDArray[np.float64], line: int) -> list[Sample]:
        """Return the sample of a line, from 1.

        Raises
        ------
        ClockError
            At the 25th, if the median of the steps is not the expected one (to 20 %): jitter and single lost
            samples are let through, another rate or another unit of time is not.
        """
        step = None if stamp is None else self._first_steps.median(stamp)
        if step is not None and not self._as_in_training(step):
            raise ClockError(
                line,
                f"samples {self.period:g} s apart ({1 / self.period:g} Hz), the rate of the training data",
                f"a median of {step:g} between the last {FirstSteps.TIMES} times",
                "Pass --resample if the times are right and in seconds, or else leave the column time out.",
            )
        if stamp is None and self._latest is None and loudness.get().notes:
            sys.stderr.write(
                f"Note: samples without a {TIME}: they are taken to be {self.period:g} s apart "
                f"({1 / self.period:g} Hz), as in training.\n"
            )
        self._count, self._latest = self._count + 1, values
        if stamp is not None:
            self._look_at_pace(stamp, line)
        return [(stamp, values)]

    def hold(self) -> list[Sample] | None:
        """Return what stands in for a bad line: the sample before; ``None`` if there is none."""
        if self._latest is None:
            return None
        self._count += 1
        return [(None, self._latest)]

    def _look_at_pace(self, stamp: float, line: int) -> None:
        """Count, and say once, that samples were lost, that the rate has changed, or that the clock was set."""
        if self._paced_from is None:
            self._paced_from = (stamp, self._count)
        start, number = self._paced_from
        samples, seconds = self._count - number, stamp - start
        if samples < FirstSteps.TIMES:
            return
        self._paced_from = (stamp, self._count)
        if self._as_in_training(seconds / samples):
            return
        self.off_pace += 1
        if self.off_pace == 1:
            logger.warning(
                "line %d: %d samples took %g s by their times, and %g s in training. Some are lost, or their rate "
                "has changed; predictions take them to be %g s apart. With --resample their times count.",
                line, samples, seconds, samples * self.period, self.period,
            )  # fmt: skip

    def _as_in_training(self, step: float) -> bool:
        return 1 / self.TOLERANCE < step / self.period < self.TOLERANCE


def process_samples(
    streamer: Streamer,
    source: BinaryIO,
    writer: PredictionWriter,
    counts: StreamCounts,
    timing: EvenSamples | StampedSamples,
    *,
    hold: bool,
) -> None:
    """Pass samples on until they end, or until a signal stops them; `hold` is what to do about bad lines."""
    clock = SampleClock(1 / streamer.preparation.input_hz)
    lines = Arrivals(source)
    for stamp, values in _good_samples(streamer.inputs, lines, timing, counts, hold):
        predictions = streamer.push(values)
        clock.set(stamp, streamer.samples)
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


def _good_samples(
    inputs: Sequence[str], lines: Arrivals, timing: EvenSamples | StampedSamples, counts: StreamCounts, hold: bool
) -> Iterator[Sample]:
    """Give the samples that the model takes; while it has one, Ctrl-C waits.

    Raises
    ------
    SampleError
        If a line is no sample and bad lines stop the stream.
    """
    for sample in read_samples(lines, inputs, timed=isinstance(timing, StampedSamples)):
        counts.busy = True
        try:
            if isinstance(sample, SampleError):
                raise sample
            ready = timing.take(*sample, lines.count)
        except ClockError:
            raise
        except SampleError as error:
            if not hold:
                fix = f"Pass --on-bad hold to go on {timing.instead}."
                raise SampleError(error.line, error.expected, error.found, fix) from None
            held = timing.hold()
            counts.replaced += held is not None
            counts.left_out += held is None
            if held is None and counts.left_out == 1:
                logger.warning("%s There is no sample before it that could be held: it is left out.", error)
            ready = held or []
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


def write_summary(command: Stream, counts: StreamCounts, timing: EvenSamples | StampedSamples) -> None:
    """Say on stderr what the stream has come to, and how long samples took."""
    latencies = {"without": counts.without_prediction, "with": counts.with_prediction}
    samples = sum(latency.total for latency in latencies.values())
    if isinstance(timing, StampedSamples):
        irregular, replaced = {"gaps": timing.gaps}, "left out"
        said = f"begun anew after {count_of(timing.gaps, 'gap')}"
    else:
        irregular, replaced = {"off_pace": timing.off_pace}, "replaced by the sample before"
        said = f"at another pace {count_of(timing.off_pace, 'time')}"
    if command.json:
        totals = {"samples": samples, "predictions": counts.predictions, "held": counts.replaced}
        totals |= ({"left_out": counts.left_out} if counts.left_out else {}) | irregular
        parts = {
            f"{word}_prediction_ms": latency.summary() if latency.total else None
            for word, latency in latencies.items()
        }
        sys.stderr.write(json.dumps(totals | parts) + "\n")
        return
    if not loudness.get().notes:
        return
    if not samples:
        source = "the standard input" if command.input == "-" else command.input
        sys.stderr.write(f"Note: no sample came from {source}, so nothing was predicted.\n")
    sentence = [count_of(samples, "sample"), count_of(counts.predictions, "prediction")]
    if counts.left_out:
        sentence.append(f"{count_of(counts.left_out, 'bad line')} before the first sample left out")
    if counts.replaced:
        sentence.append(f"{count_of(counts.replaced, 'bad line')} {replaced}")
    if any(irregular.values()):
        sentence.append(said)
    sys.stderr.write(", ".join(sentence) + "\n")
    for word, latency in latencies.items():
        if latency.total:
            percentiles = latency.summary()
            sys.stderr.write(
                f"latency of a sample {word} a prediction: p50 {percentiles['p50']:.3f} ms, "
                f"p95 {percentiles['p95']:.3f}, p99 {percentiles['p99']:.3f}, max {percentiles['max']:.3f}\n"
            )
