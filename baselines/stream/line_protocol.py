"""Parse lines of text into samples, write predictions as lines, and measure how long each took."""

from __future__ import annotations

import csv
import json
import math
import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from baselines.errors import CspDataError

__all__ = [
    "TIME",
    "ClockError",
    "FirstSteps",
    "LatencyHistogram",
    "PredictionWriter",
    "Sample",
    "SampleClock",
    "SampleError",
    "cells",
    "read_samples",
]

LARGEST = float(np.finfo(np.float32).max)
"""Models compute in float32."""
TIME = "time"
"""Name of the optional column of the samples' time, in seconds."""
OTHER_TIMES = re.compile("time|stamp|epoch|elapsed|^t$", re.I)
"""What other programs call it: Time (s), timestamp, SampleTimeFine, seconds_elapsed."""


class SampleError(CspDataError):
    """A line that is no sample.

    Parameters
    ----------
    line
        Its number, from 1.
    expected, found
        What should be there and what is.
    fix
        The next step.
    """

    def __init__(self, line: int, expected: str, found: str, fix: str = "") -> None:
        self.line, self.expected, self.found, self.fix = line, expected, found, fix
        super().__init__(f"line {line}: expected {expected}, found {found}.{' ' + fix if fix else ''}")


class ClockError(SampleError):
    """Times that no sample can be held or left out for: all of them are in another unit, or at another rate."""


Sample = tuple[float | None, npt.NDArray[np.float64]]
"""Time in seconds, where the line has one, and the values (C,)."""


def read_samples(
    lines: Iterable[bytes], channels: Sequence[str], *, timed: bool = False, whole: bool = False
) -> Iterator[Sample | SampleError]:
    """Read samples from CSV with a header, or from JSON lines; each is given as soon as its line is there.

    Parameters
    ----------
    lines
        CSV: the header names the channels, in any order, and may name ``time``; other columns are not looked at.
        JSON lines: objects with the channels' names as keys, or arrays of the channels in order. Empty lines are
        skipped.
    channels
        Names of the channels, in the order of the samples.
    timed
        The header must name ``time``, too: without it no line could be used.
    whole
        They are a whole recording: times of any other name are refused, since in them lies at which rate it was
        recorded. Samples that come one by one have the rate of the training data.

    Yields
    ------
    tuple or SampleError
        Time (None where there is none) and values, (C,); or, for a line that is no sample, the error, unraised, so
        that the caller may go on.

    Raises
    ------
    SampleError
        If the first line is neither JSON nor a header with all that is needed.
    """
    header: list[str] | None = None
    json_lines = False
    for number, raw in enumerate(lines, start=1):
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError:
            yield SampleError(number, "text in UTF-8", repr(raw[:40]))
            continue
        if not text:
            continue
        if header is None and not json_lines:
            json_lines = text[0] in "{["
            if not json_lines:
                header = _parse_header(number, text, (TIME, *channels) if timed else channels)
                if whole:
                    _refuse_other_times(number, tuple(header), channels)
                continue
        try:
            yield (
                _parse_json(number, text, channels, whole=whole)
                if header is None
                else _parse_csv(number, text, header, channels)
            )
        except SampleError as error:
            yield error


def _parse_header(number: int, text: str, channels: Sequence[str]) -> list[str]:
    names = [name.strip() for name in _split_csv(number, text)]
    missing = [name for name in channels if name not in names]
    repeated = sorted({name for name in names if names.count(name) > 1 and name in (*channels, TIME)})
    if missing or repeated:
        problem = f"{_shorten(', '.join(missing))} missing" if missing else f"{', '.join(repeated)} twice"
        raise SampleError(
            number,
            f"a CSV header with the channels {_shorten(','.join(channels))} (or JSON lines)",
            f"{_shorten(text)} ({problem})",
        )
    return names


def _refuse_other_times(number: int, names: tuple[str, ...], channels: Sequence[str]) -> None:
    """Refuse names of which one is a time's, and none is ``time``."""
    others = [name for name in names if name not in channels and OTHER_TIMES.search(name)]
    if TIME not in names and others:
        fix = "Call it so once it is in seconds. Without a time, samples lie as far apart as in training."
        raise SampleError(number, f"times in seconds, named {TIME}", _shorten(", ".join(others)), fix)


def _parse_csv(number: int, text: str, header: list[str], channels: Sequence[str]) -> Sample:
    cells = _split_csv(number, text)
    if len(cells) != len(header):
        raise SampleError(number, f"{len(header)} values ({_shorten(','.join(header))})", f"{len(cells)}")
    by_name = dict(zip(header, cells, strict=True))
    time = by_name.get(TIME, "").strip()
    return _parse_number(number, TIME, time) if time else None, _channel_values(number, by_name, channels)


def _split_csv(number: int, text: str) -> list[str]:
    try:
        return next(csv.reader([text]))
    except csv.Error as error:  # a carriage return inside the line, or a cell without end
        raise SampleError(
            number, "values between commas, and a line feed at the end", repr(_shorten(text))
        ) from error


def _parse_json(number: int, text: str, channels: Sequence[str], *, whole: bool) -> Sample:
    expected = f"a JSON object with {_shorten(','.join(channels))}, or an array of {len(channels)} numbers"
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SampleError(number, expected, _shorten(text)) from error
    if isinstance(values, list) and len(values) == len(channels):
        return None, _channel_values(number, dict(zip(channels, values, strict=True)), channels)
    if not isinstance(values, dict):
        raise SampleError(
            number, expected, f"an array of {len(values)}" if isinstance(values, list) else _shorten(text)
        )
    missing = [name for name in channels if name not in values]
    if missing:
        raise SampleError(number, expected, f"{_shorten(text)} ({_shorten(', '.join(missing))} missing)")
    if whole:
        _refuse_other_times(number, tuple(values), channels)
    time = values.get(TIME)
    return None if time is None else _parse_number(number, TIME, time), _channel_values(number, values, channels)


def _channel_values(number: int, by_name: dict[str, Any], channels: Sequence[str]) -> npt.NDArray[np.float64]:
    return np.array([_parse_number(number, name, by_name[name]) for name in channels])


def _parse_number(number: int, name: str, value: Any) -> float:
    try:
        parsed = math.nan if value is None else float(value)
    except OverflowError:  # an integer of more than 308 digits
        parsed = math.inf
    except (TypeError, ValueError):
        raise SampleError(number, f"a number for {name}", repr(value)) from None
    if isinstance(value, bool) or not abs(parsed) <= LARGEST:
        expected = (
            "a finite number" if isinstance(value, bool) or not math.isfinite(parsed) else "a number in float32"
        )
        raise SampleError(number, f"{expected} for {name}", _shorten(repr(value)))
    return parsed


def _shorten(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."


class FirstSteps:
    """The steps between the first times of a stream, by which it is seen that all of them are wrong."""

    TIMES = 25

    def __init__(self) -> None:
        self._times: list[float] = []

    def median(self, time: float) -> float | None:
        """Take the next time in s; return the median of the steps when it is the 25th, else ``None``."""
        if len(self._times) == self.TIMES:
            return None
        self._times.append(time)
        if len(self._times) < self.TIMES:
            return None
        return statistics.median(later - earlier for earlier, later in pairwise(self._times))


class SampleClock:
    """Times of samples: their own where lines have one, else counted on at the rate of the training data.

    Parameters
    ----------
    period
        Seconds from one sample to the next, as the model expects them.
    """

    def __init__(self, period: float) -> None:
        self.period = period
        self._last_stamped = (0.0, 0)

    def set(self, stamp: float | None, number: int) -> None:
        """Note the time in s of sample ``number``, from 1, if it is known."""
        if stamp is not None:
            self._last_stamped = (stamp, number)

    def time(self, number: int) -> float:
        """Return the time of a sample in s, counted from the last known one, or else from 0 before the first."""
        stamp, number_then = self._last_stamped
        return stamp + (number - number_then) * self.period


def cells(time: float, values: Iterable[float]) -> list[str]:
    """Return a time in s and values as cells of CSV."""
    # of a time in seconds since 1970 nine digits are not enough
    return [f"{round(time, 9):.15g}", *(f"{value:.9g}" for value in values)]


class PredictionWriter:
    """Writes predictions, flushed one by one.

    Parameters
    ----------
    out
        Where to.
    targets
        Names of the target channels.
    form
        ``"csv"`` (with a header) or ``"jsonl"``.
    """

    def __init__(self, out: TextIO, targets: Sequence[str], form: str) -> None:
        self.out, self.form = out, form
        self.names = (TIME, *targets, "latency_ms")
        if form == "csv":
            self._write_line(",".join(self.names))

    def write(self, time: float, prediction: npt.NDArray[np.float64], seconds: float) -> None:
        """Write a prediction (D,), with the time of its last sample in s and how long it took in s."""
        values = [*map(float, prediction), round(1e3 * seconds, 4)]
        if self.form == "csv":
            self._write_line(",".join(cells(time, values)))
        else:
            self._write_line(json.dumps(dict(zip(self.names, (round(time, 9), *values), strict=True))))

    def _write_line(self, text: str) -> None:
        self.out.write(text + "\n")
        self.out.flush()


class LatencyHistogram:
    """Percentiles of durations in a memory that does not grow: counts in steps of 1 % from 0.1 us to 1,000 s."""

    _SHORTEST, _LOG_RATIO, _BINS = 1e-7, math.log(1.01), 2315

    def __init__(self) -> None:
        self.counts = np.zeros(self._BINS, dtype=np.int64)
        self.longest = 0.0

    def add(self, seconds: float) -> None:
        """Count a duration."""
        bin = int(math.log(max(seconds, self._SHORTEST) / self._SHORTEST) / self._LOG_RATIO)
        self.counts[min(bin, self._BINS - 1)] += 1
        self.longest = max(self.longest, seconds)

    @property
    def total(self) -> int:
        """Number of durations."""
        return int(self.counts.sum())

    def percentile(self, percent: float) -> float:
        """Return a percentile in seconds, right to 1 %; NaN if nothing was counted."""
        if not self.total:
            return math.nan
        bin = int(np.searchsorted(np.cumsum(self.counts), percent / 100 * self.total))
        return min(self._SHORTEST * math.exp((bin + 0.5) * self._LOG_RATIO), self.longest)

    def summary(self) -> dict[str, float]:
        """Return ``p50``, ``p95``, ``p99`` and ``max``, in ms."""
        percentiles = {f"p{p}": round(1e3 * self.percentile(p), 4) for p in (50, 95, 99)}
        return percentiles | {"max": round(1e3 * self.longest, 4)}
