"""Measure how long a streamed sample takes, from raw values to the prediction, and whether memory grows."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from baselines.stream.engine import streamable
from baselines.stream.line_protocol import LatencyHistogram
from baselines.stream.streamer import Streamer
from csp_data import LowPass, Normalization
from csp_data.normalization import Affine

__all__ = ["StreamLatency", "measure_stream_latency", "render_streams", "resident_kb"]


@dataclass(frozen=True)
class StreamLatency:
    """What was measured.

    Parameters
    ----------
    engine
        What ran the model.
    samples
        Number of samples that were timed.
    paced_hz
        Samples per second of real time; None if each came as soon as the one before was done.
    without_ms, with_ms
        ``p50``, ``p95``, ``p99`` and ``max`` of a sample without and with a prediction, in ms of wall time; None
        where there was none.
    cpu_without_ms, cpu_with_ms
        The same of the processor's time, which other processes on a busy machine change less.
    grown_kb
        Growth of the resident memory over the second half of the samples, in kB; NaN where the system does
        not say.
    """

    engine: str
    samples: int
    paced_hz: float | None
    without_ms: dict[str, float] | None
    with_ms: dict[str, float] | None
    cpu_without_ms: dict[str, float] | None
    cpu_with_ms: dict[str, float] | None
    grown_kb: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def measure_stream_latency(
    model: nn.Module,
    samples: int = 5000,
    *,
    engine: str = "auto",
    deltas: bool = True,
    lowpass: LowPass | None = None,
    input_hz: float = 50.0,
    paced: bool = False,
    warmup: int = 100,
    seed: int = 0,
) -> StreamLatency:
    """Stream made-up samples (white noise) through a model and time each.

    Measured is :meth:`Streamer.push` as a whole: check, filter, deltas, normalisation and model, physical units on
    both sides, on one thread.

    Parameters
    ----------
    model
        Any model.
    samples
        How many to time; an hour at 50 Hz is 180,000.
    engine, deltas, lowpass, input_hz
        As for :class:`Streamer`.
    paced
        Sleep until the next sample is due, as with a sensor: caches are then cold and the core may have slowed
        down. Otherwise samples are taken as fast as they can be.
    warmup
        Samples before the timing begins.
    seed
        Of the noise.
    """
    model = streamable(model)
    config = model.config
    ones = [Affine(np.zeros(n), np.ones(n)) for n in (config.in_dim, config.out_dim)]
    stream = Streamer(
        model, Normalization(*ones), deltas=deltas, lowpass=lowpass, input_hz=input_hz, engine=engine
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        wall_times, cpu_times, grown_kb = _time_samples(stream, samples, warmup, input_hz if paced else None, seed)
    finally:
        torch.set_num_threads(threads)
    without_prediction, with_prediction, cpu_without, cpu_with = (
        times.summary() if times.total else None for times in (*wall_times, *cpu_times)
    )
    return StreamLatency(
        engine=stream.engine.name,
        samples=samples,
        paced_hz=input_hz if paced else None,
        without_ms=without_prediction,
        with_ms=with_prediction,
        cpu_without_ms=cpu_without,
        cpu_with_ms=cpu_with,
        grown_kb=grown_kb,
    )


Times = tuple[LatencyHistogram, LatencyHistogram]
"""Of samples without and with a prediction."""


def _time_samples(
    stream: Streamer, samples: int, warmup: int, paced_hz: float | None, seed: int
) -> tuple[Times, Times, float]:
    """Return wall times, processor times, and the growth of memory over the second half, in kB."""
    rng = np.random.default_rng(seed)
    wall_times = LatencyHistogram(), LatencyHistogram()
    cpu_times = LatencyHistogram(), LatencyHistogram()
    halfway_kb = 0.0
    due = time.perf_counter()
    for k in range(-warmup, samples):
        if k in (0, samples // 2):
            gc.collect()
            halfway_kb = resident_kb()
        row = rng.normal(size=stream.channels)
        if paced_hz is not None:
            due += 1 / paced_hz
            time.sleep(max(0.0, due - time.perf_counter()))
        cpu_start, start = time.thread_time(), time.perf_counter()
        predictions = stream.push(row)
        seconds, cpu_seconds = time.perf_counter() - start, time.thread_time() - cpu_start
        if k >= 0:
            cpu_times[len(predictions) > 0].add(cpu_seconds)
            wall_times[len(predictions) > 0].add(seconds)
    gc.collect()
    return wall_times, cpu_times, resident_kb() - halfway_kb


def render_streams(rows: Sequence[dict[str, Any]]) -> str:
    """Write measured streams as a Markdown table: each has its ``label``, ``parameters`` and what was measured."""
    lines = [
        "| stream, ms a sample | parameters | without a prediction, p50 | p95 | p99 | max | processor, p99 "
        "| with one, p50 | p95 | p99 | max | processor, p99 |",
        "|---|" + "---:|" * 11,
    ]
    columns: list[tuple[str, str]] = []
    for kind in ("without", "with"):
        columns += [(f"{kind}_ms", key) for key in ("p50", "p95", "p99", "max")] + [(f"cpu_{kind}_ms", "p99")]
    for row in rows:
        values = " | ".join(f"{part[key]:.3f}" if (part := row[kind]) else "" for kind, key in columns)
        lines.append(f"| {row['label']} | {row['parameters'] / 1e6:.2f} M | {values} |")
    return "\n".join(lines) + "\n"


def resident_kb() -> float:
    """Return the resident memory of this process in kB; NaN where the system does not say."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    return next(
        float(line.split()[1]) for line in status.read_text("utf-8").splitlines() if line.startswith("VmRSS")
    )
