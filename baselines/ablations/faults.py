"""Simulated sensor faults: noise, bias drift, lost channels, dropped packets, saturation, clock jitter.

Each fault is a function of the raw input streams of one recording, before baseline, resampling and filter. Times
stay as they are, so that episodes and targets stay too; what a clock or a link does wrong shows in the values that
stand at these times.

Severities are in units that compare across sensors: sigma is a channel's standard deviation over the training
part. The same seed gives the same draws at every severity, only scaled, so that a curve over severity is one fault
getting worse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from csp_data.recording import FloatArray, Stream
from csp_data.signal.resample import linear
from csp_data.signal.rotation import slerp

__all__ = ["BURST_S", "FAULTS", "Fault", "Streams", "bursts"]

Streams = Mapping[str, Stream]
Sigma = Mapping[str, FloatArray]
"""Standard deviation of each channel of a stream, shape (C,), by the stream's name."""

BURST_S = 0.1
"""Mean length of a burst of lost packets, in seconds."""


@dataclass(frozen=True)
class Fault:
    """A fault at five severities.

    Parameters
    ----------
    apply
        ``(streams, sigma, value, generator) -> streams``. Streams that it leaves alone are not in the result.
    values
        Of the five severities, the mildest first.
    axis, unit
        What the values are, and in which unit.
    """

    apply: Callable[[Streams, Sigma, float, np.random.Generator], dict[str, Stream]]
    values: tuple[float, float, float, float, float]
    axis: str
    unit: str


def _vector_streams(streams: Streams) -> dict[str, Stream]:
    """Return the streams whose columns are measured one by one; a rotation is a fused estimate, left alone."""
    return {name: stream for name, stream in streams.items() if stream.kind == "vector"}


def noise(streams: Streams, sigma: Sigma, value: float, generator: np.random.Generator) -> dict[str, Stream]:
    """Add white Gaussian noise of `value` sigma to every raw sample."""
    return {
        name: replace(
            stream, values=stream.values + value * sigma[name] * generator.standard_normal(stream.values.shape)
        )
        for name, stream in _vector_streams(streams).items()
    }


def drift(streams: Streams, sigma: Sigma, value: float, generator: np.random.Generator) -> dict[str, Stream]:
    """Add a random walk to every channel, 0 at the start, of standard deviation ``value * sigma`` after 60 s."""
    faulty = {}
    for name, stream in _vector_streams(streams).items():
        steps = np.sqrt(np.diff(np.maximum.accumulate(stream.time), prepend=stream.time[:1]) / 60.0)
        walk = np.cumsum(steps[:, None] * generator.standard_normal(stream.values.shape), axis=0)
        faulty[name] = replace(stream, values=stream.values + value * sigma[name] * walk)
    return faulty


def channel_loss(
    streams: Streams, sigma: Sigma, value: float, generator: np.random.Generator
) -> dict[str, Stream]:
    """Let `value` per cent of all channels, at least one, read 0; those lost at one severity are lost at worse."""
    vectors = _vector_streams(streams)
    columns = [(name, column) for name, stream in vectors.items() for column in range(stream.values.shape[1])]
    lost = generator.permutation(len(columns))[: max(1, round(value / 100 * len(columns)))]
    faulty = {name: stream.values.copy() for name, stream in vectors.items()}
    for index in lost:
        name, column = columns[index]
        faulty[name][:, column] = 0.0
    return {name: replace(stream, values=faulty[name]) for name, stream in vectors.items()}


def dropped_packets(
    streams: Streams, sigma: Sigma, value: float, generator: np.random.Generator
) -> dict[str, Stream]:
    """Lose `value` per cent of the time in bursts, all streams at once; a receiver repeats what came last."""
    start = min(float(stream.time[0]) for stream in streams.values())
    stop = max(float(stream.time[-1]) for stream in streams.values())
    edges = bursts(start, stop, value / 100, generator)
    faulty = {}
    for name, stream in streams.items():
        lost = np.searchsorted(edges, stream.time, side="right") % 2 == 1
        # before the first that is received, what stands at index 0
        last_received = np.maximum.accumulate(np.where(lost, 0, np.arange(len(lost))))
        faulty[name] = replace(stream, values=stream.values[last_received])
    return faulty


def bursts(start: float, stop: float, share: float, generator: np.random.Generator) -> FloatArray:
    """Return when a link is down: begin, end, begin, end, ..., in seconds.

    Times up and down are exponential, :data:`BURST_S` down on average, so that the link is down for `share` of the
    time. Draws are the same for every share.
    """
    if not share:
        return np.zeros(0)
    down, up = BURST_S, BURST_S * (1 - share) / share
    count = int(4 * (stop - start) / down) + 16
    lengths = generator.exponential(size=(count, 2)) * (up, down)
    edges = start + np.cumsum(lengths.ravel())
    return edges[: np.searchsorted(edges, stop) + 1]


def saturation(streams: Streams, sigma: Sigma, value: float, generator: np.random.Generator) -> dict[str, Stream]:
    """Clip every channel to `value` sigma on either side of its mean over the recording."""
    faulty = {}
    for name, stream in _vector_streams(streams).items():
        mean = stream.values.mean(axis=0)
        clipped = np.clip(stream.values, mean - value * sigma[name], mean + value * sigma[name])
        faulty[name] = replace(stream, values=clipped)
    return faulty


def jitter(streams: Streams, sigma: Sigma, value: float, generator: np.random.Generator) -> dict[str, Stream]:
    """Sample `value` ms (Gaussian) beside the stamps; streams of one clock share the errors."""
    errors: dict[int, FloatArray] = {}
    faulty = {}
    for name, stream in streams.items():
        clock = id(stream.time)
        if clock not in errors:
            errors[clock] = generator.standard_normal(len(stream.time))
        latest = np.maximum.accumulate(stream.time)
        keep = np.concatenate([[True], stream.time[1:] > latest[:-1]])
        clean = stream.select(keep)
        sampled_at = np.clip(clean.time + value / 1e3 * errors[clock][keep], clean.time[0], clean.time[-1])
        values = stream.values.astype(np.float64)
        resample = slerp if stream.kind == "rotation" else linear
        values[keep] = resample(clean.time, clean.values, sampled_at)
        faulty[name] = replace(stream, values=values)
    return faulty


FAULTS = {
    "noise": Fault(noise, (0.05, 0.1, 0.2, 0.4, 0.8), "standard deviation", "sigma"),
    "drift": Fault(drift, (0.05, 0.1, 0.2, 0.4, 0.8), "random walk after 60 s", "sigma"),
    "channel-loss": Fault(channel_loss, (10, 20, 30, 40, 50), "channels that read 0", "%"),
    "dropped-packets": Fault(dropped_packets, (5, 10, 20, 40, 80), "time without packets", "%"),
    "saturation": Fault(saturation, (4, 3, 2, 1.5, 1), "range on either side", "sigma"),
    "jitter": Fault(jitter, (1, 2, 5, 10, 20), "errors of sampling times", "ms"),
}
"""Faults by name."""
