"""Time training steps on this machine, beside a floor measured in the same run."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from baselines.bench.published_steps import ORIGIN, PublishedStep, published_step
from baselines.bench.stream import measure_stream_latency, render_streams
from baselines.models.factory import build
from baselines.models.model import param_groups
from baselines.runs.environment import describe_environment
from baselines.stream.engine import Model
from baselines.training.step import PlainStep, adam, make_step, masked_mse, uses_cuda_graph
from baselines.training.train import seeded
from csp_data import LowPass
from csp_data.parallel import keep_freed
from csp_data.terminal import count_of

__all__ = ["CASES", "Case", "Rates", "measure", "measure_rates", "measure_step", "render"]

IN_DIM, OUT_DIM = 60, 2


@dataclass(frozen=True)
class Case:
    """A model that is measured.

    Parameters
    ----------
    label
        What the tables call it.
    model, preset
        As :func:`baselines.build` takes them.
    options
        More for :func:`baselines.build`.
    """

    label: str
    model: str
    preset: str
    options: dict[str, int] = field(default_factory=dict)


CASES = (
    Case("HiSS marker", "hiss-s4-mamba", "marker"),
    Case("HiSS ronin", "hiss-s4-s4", "ronin"),
    Case("HiSS vector", "hiss-mamba-mamba", "vector"),
    Case("flat S4", "flat-s4", "paper"),
    Case("flat Mamba", "flat-mamba", "paper"),
)
"""Models that are trained and streamed."""

STREAMED = (
    Case("flat LSTM", "flat-lstm", "small"),
    Case("flat GRU", "flat-gru", "small"),
    Case("flat TCN", "flat-tcn", "small"),
    Case("flat S4D", "flat-s4d", "small"),
    Case("flat LRU", "flat-lru", "small"),
    Case("flat Mamba-2", "flat-mamba2", "small"),
    Case("flat Transformer, 10 s", "flat-transformer", "small", options={"window": 500}),
    Case("HiSS Transformer, 60 s", "hiss-s4-transformer", "small", options={"high_window": 300}),
)
"""Models that are only streamed."""

LOWPASS = LowPass(0.75, 3, "causal")
"""Filter of the streams: the published one but for its phase."""


@dataclass(frozen=True)
class Rates:
    """What the device reaches, measured with torch.

    Parameters
    ----------
    flops
        Floating-point operations per second of a matrix product of two float32 matrices.
    bytes
        Bytes per second, read plus written, of a copy too large for the caches.
    """

    flops: float
    bytes: float


def measure(
    device: torch.device,
    *,
    batches: Sequence[int] = (4, 32),
    cases: Sequence[Case] = CASES,
    streamed: Sequence[Case] = (*CASES, *STREAMED),
    samples: int = 5000,
    paced: bool = False,
    quick: bool = False,
    compile: Sequence[str] = ("eager",),
    precision: str = "fp32",
) -> dict[str, Any]:
    """Measure training steps and streaming of several models.

    Parameters
    ----------
    device
        Where steps run; streaming is measured on the CPU with one thread.
    batches
        Windows a step.
    cases, streamed
        Models whose steps, and models whose streams are measured.
    samples, paced
        Of a stream, as :func:`baselines.bench.stream.measure_stream_latency` takes them.
    quick
        Tiny models, short inputs, few repetitions: to see that it works, not for numbers.
    compile, precision
        Forms of the step, each measured, and its rounding: :func:`baselines.training.step.make_step` and
        :func:`baselines.training.step.numerics`.

    Returns
    -------
    dict
        JSON values: the environment, the device's rates (None without steps), a row a model and batch, a row a
        streamed model.
    """
    length, repeats = (100, 2) if quick else (1500, 7)
    rates = measure_rates(device, *(256, 2**20) if quick else (4096, 2**28)) if cases else None
    steps, streams = [], []
    for case, batch, form in itertools.product(cases, (1,) if quick else batches, compile):
        model = _model(case, device, quick)
        measured = measure_step(model, batch, length, repeats, form, precision)
        floor = rates and max(measured["flops"] / rates.flops, measured["bytes"] / rates.bytes)
        published = None if quick else published_step(case.model, device.type, batch)
        row = {**asdict(case), "batch": batch, "length": length, "compile": form, "precision": precision}
        steps.append(row | measured | {"floor_s": floor} | _published_fields(published, measured["median_s"]))
    for case in streamed:
        model = _model(case, torch.device("cpu"), quick)
        latency = measure_stream_latency(model, 200 if quick else samples, lowpass=LOWPASS, paced=paced)
        size = sum(parameter.numel() for parameter in model.parameters())
        streams.append({**asdict(case), "parameters": size, **latency.to_dict()})
    return {
        "environment": describe_environment(device),
        "quick": quick,
        "inputs": IN_DIM,
        "rates": rates and asdict(rates),
        "steps": steps,
        "streams": streams,
    }


def measure_rates(device: torch.device, side: int = 4096, size: int = 256 * 2**20) -> Rates:
    """Measure a float32 matrix product and a copy, the best of five.

    Parameters
    ----------
    device
        Where.
    side
        Rows and columns of the matrices.
    size
        Bytes copied.
    """
    a, b = torch.randn(2, side, side, device=device).unbind(0)
    source = torch.zeros(size // 4, device=device)
    target = torch.empty_like(source)
    product = min(_timed(lambda: a @ b, device, 5))
    copy = min(_timed(lambda: target.copy_(source), device, 5))
    return Rates(2 * side**3 / product, 2 * source.numel() * 4 / copy)


def measure_step(
    model: Any, batch: int, length: int, repeats: int, compile: str = "eager", precision: str = "fp32"
) -> dict[str, Any]:
    """Measure forward, backward and Adam on random inputs.

    Parameters
    ----------
    model
        On its device.
    batch, length
        Of the inputs (batch, length, 60).
    repeats
        Timed steps, after two that warm up.
    compile, precision
        Form of the step and its rounding. Times are of that form, operations and bytes of the plain one.

    Returns
    -------
    dict
        ``median_s`` and ``min_s`` of the steps; ``cpu_s``, the least processor time of a step, over all threads,
        which a busy machine changes less; ``peak_bytes`` in use during a step beyond weights and Adam
        (torch's allocations; None where it does not tell); and what no arrangement of this step can
        do without: ``flops`` of its products (torch's count: no FFT, scan or elementwise work), ``bytes`` of
        the tensors kept for the backward pass, written and read once, and Adam's (7 passes over the weights).
    """
    keep_freed()  # as training does
    device = next(model.parameters()).device
    model.train()
    x = torch.randn(batch, length, IN_DIM, device=device)
    chunk = model.config.chunk
    y = torch.randn(batch, length // chunk, OUT_DIM, device=device)
    mask = torch.ones(y.shape[:2], dtype=torch.bool, device=device)
    optimizer = adam(param_groups(model, 1e-3), device, graph=uses_cuda_graph(compile))
    plain = PlainStep(model, optimizer, precision=precision)
    form = make_step(plain, compile, device)
    seconds = _timed(lambda: form(x, y, mask), device, repeats)
    cpu_seconds = _timed(lambda: form(x, y, mask), device, repeats, time.process_time)

    def step() -> None:
        plain(x, y, mask)

    with FlopCounterMode(display=False, custom_mapping=_extra_flop_counters()) as counter:
        step()
    weights = {p.untyped_storage().data_ptr(): p.numel() * p.element_size() for p in model.parameters()}
    saved_bytes = _saved_bytes(lambda: masked_mse(model(x), y, mask), weights)
    return {
        "median_s": statistics.median(seconds),
        "min_s": min(seconds),
        "cpu_s": min(cpu_seconds),
        "peak_bytes": _peak_bytes(step, optimizer.zero_grad, device),
        "flops": counter.get_total_flops(),
        "bytes": 2 * saved_bytes + 7 * sum(weights.values()),
    }


def render(measured: dict[str, Any]) -> str:
    """Write what :func:`measure` found as two Markdown tables and a line about the machine."""
    environment, rates = measured["environment"], measured["rates"]
    speed = rates and (
        f": {rates['flops'] / 1e9:.0f} GFLOP/s (float32 product), {rates['bytes'] / 1e9:.1f} GB/s (copy)"
    )
    head = (
        f"{environment['device']}, {count_of(environment['threads'], 'thread')}, torch {environment['torch']}, "
        f"commit {environment['commit']}{speed or ''}"
        + (". QUICK: no numbers to keep." if measured["quick"] else "")
    )
    tables = [head + "\n"]
    if measured["steps"]:
        tables.append(_render_steps(measured["steps"]))
    if measured["streams"]:
        first = measured["streams"][0]
        pace = "as fast as they are taken" if first["paced_hz"] is None else f"{first['paced_hz']:g} a second"
        tables.append(
            f"{first['samples']:,} samples, {pace}, through filter, deltas, normalisation and model, one thread:\n"
        )
        tables.append(render_streams(measured["streams"]))
    return "\n".join(tables)


def _published_fields(published: PublishedStep | None, seconds: float) -> dict[str, Any]:
    """Return the published time, its ratio to ``seconds`` and the target, as fields of a row."""
    if published is None:
        return {"published": None, "ratio": None, "reach": None}
    target = {"seconds": published.target_s, "ratio": published.target_ratio}
    times = {"low_s": published.low_s, "high_s": published.high_s, "origin": ORIGIN}
    return {"published": times, "ratio": [published.low_s / seconds, published.high_s / seconds], "reach": target}


def _render_steps(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| step, ms | batch | median | least | processor | floor | peak MiB | published* | ratio* | to reach |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        peak = "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**20:.0f}"
        times = " | ".join(f"{1e3 * row[key]:.1f}" for key in ("median_s", "min_s", "cpu_s", "floor_s"))
        published_cells = ("", "", "")
        if row["published"]:
            low, high = 1e3 * row["published"]["low_s"], 1e3 * row["published"]["high_s"]
            seconds, ratio = row["reach"]["seconds"], row["reach"]["ratio"]
            target = f"{1e3 * seconds:g}" if seconds else f"ratio {ratio:g}"
            published_cells = (_span(low, high, "g"), _span(row["ratio"][0], row["ratio"][1], ".0f"), target)
        unusual = [row[key] for key, usual in (("compile", "eager"), ("precision", "fp32")) if row[key] != usual]
        label = ", ".join([row["label"], *unusual])
        lines.append(f"| {label} | {row['batch']} | {times} | {peak} | {' | '.join(published_cells)} |")
    if any(row["published"] for row in rows):
        lines += ["", f"*{ORIGIN}."]
    return "\n".join(lines) + "\n"


def _span(low: float, high: float, form: str) -> str:
    return f"{low:{form}}" if low == high else f"{low:{form}} to {high:{form}}"


def _model(case: Case, device: torch.device, quick: bool) -> Model:
    tiny: dict[str, Any] = {"dim": 8, "layers": 1} if quick else {}
    with seeded(0, torch.device("cpu")):
        model: Any = build(case.model, IN_DIM, OUT_DIM, preset=case.preset, **{**case.options, **tiny})
    return model.to(device)


def _timed(
    call: Callable[[], Any], device: torch.device, repeats: int, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Return the seconds of each of ``repeats`` calls, after two that warm up."""
    seconds = []
    for _ in range(repeats + 2):
        _synchronize(device)
        start = clock()
        call()
        _synchronize(device)
        seconds.append(clock() - start)
    return seconds[2:]


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _saved_bytes(forward: Callable[[], Tensor], weights: dict[int, int]) -> int:
    """Return the bytes of the storages that a forward pass keeps for its backward pass, the weights' apart."""
    size_by_storage: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        size_by_storage[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return sum(size for pointer, size in size_by_storage.items() if pointer not in weights)


def _extra_flop_counters() -> dict[Any, Any]:
    """Return how to count the product of oneDNN that torch's counter does not know."""
    linear = getattr(torch.ops.mkldnn, "_linear_pointwise", None)

    def count(x: Sequence[int], weight: Sequence[int], *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
        return 2 * math.prod(x) * weight[0]

    return {} if linear is None else {linear: count}


def _peak_bytes(step: Callable[[], None], free_gradients: Callable[[], None], device: torch.device) -> int | None:
    """Return the most bytes in use during ``step`` beyond those in use after ``free_gradients``."""
    free_gradients()
    if device.type == "cuda":
        allocated = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        return torch.cuda.max_memory_allocated(device) - allocated
    if device.type != "cpu":
        return None
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU],
        profile_memory=True,
        acc_events=True,  # one cycle: without it torch 2.10 warns that it forgets others
    ) as profile:
        step()
    profiler: Any = profile.profiler
    changes = [(e.start_ns(), e.nbytes()) for e in profiler.kineto_results.events() if e.name() == "[memory]"]
    total = np.cumsum([size for _, size in sorted(changes, key=lambda change: change[0])])
    return int(max(0, total.max(initial=0)))
