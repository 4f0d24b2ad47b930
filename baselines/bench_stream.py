"""How long a sample of a stream takes, and whether memory grows."""

from __future__ import annotations

import gc
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from baselines.engine import Model
from baselines.stream import Streamer
from baselines.stream_io import Latency
from csp_data import LowPass, Normalization
from csp_data.normalization import Affine

__all__ = ["StreamLatency", "measure_stream_latency"]


@dataclass(frozen=True)
class StreamLatency:
    """What was measured.

    Parameters
    ----------
    engine
        What ran the model.
    samples
        Number of samples that were timed.
    without_ms, with_ms
        ``p50``, ``p95``, ``p99`` and ``max`` of a sample without and with a prediction, in ms of wall time.
    cpu_ms
        Mean time of the CPU a sample, in ms.
    grown_kb
        Growth of the resident memory over the second half of the samples, in kB; NaN where the system does
        not say.
    """

    engine: str
    samples: int
    without_ms: dict[str, float]
    with_ms: dict[str, float]
    cpu_ms: float
    grown_kb: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def measure_stream_latency(
    model: Model,
    samples: int = 5000,
    *,
    engine: str = "auto",
    deltas: bool = True,
    lowpass: LowPass | None = None,
    input_hz: float = 50.0,
    warmup: int = 100,
    seed: int = 0,
) -> StreamLatency:
    """Stream made-up samples (white noise) through a model, as fast as they are taken, and time each.

    Measured is :meth:`Streamer.push`: filter, deltas, normalisation and model, physical units on both sides, on
    one thread.

    Parameters
    ----------
    model
        Any model.
    samples
        How many to time; an hour at 50 Hz is 180,000.
    engine, deltas, lowpass, input_hz
        As for :class:`Streamer`.
    warmup
        Samples before the timing begins (loops are compiled at the first).
    seed
        Of the noise.
    """
    config = model.config
    ones = [Affine(np.zeros(n), np.ones(n)) for n in (config.in_dim, config.out_dim)]
    stream = Streamer(
        model, Normalization(*ones), deltas=deltas, lowpass=lowpass, input_hz=input_hz, engine=engine
    )
    rng = np.random.default_rng(seed)
    latencies, half, cpu = (Latency(), Latency()), 0.0, 0.0
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for k in range(-warmup, samples):
            if k in (0, samples // 2):
                gc.collect()
                half, cpu = resident_kb(), cpu if k else time.process_time()
            row = rng.normal(size=stream.channels)
            begin = time.perf_counter()
            made = stream.push(row)
            seconds = time.perf_counter() - begin
            if k >= 0:
                latencies[len(made) > 0].add(seconds)
    finally:
        torch.set_num_threads(threads)
    spent = time.process_time() - cpu
    gc.collect()
    return StreamLatency(
        engine=stream.engine.name,
        samples=samples,
        without_ms=latencies[0].summary(),
        with_ms=latencies[1].summary(),
        cpu_ms=1e3 * spent / samples,
        grown_kb=resident_kb() - half,
    )


def resident_kb() -> float:
    """Return the resident memory of this process in kB; NaN where the system does not say."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    return next(float(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS"))
