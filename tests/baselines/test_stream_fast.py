"""The compiled loops equal the readable steps; their memory does not grow; what they cannot run is refused."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch

from baselines import build
from baselines.bench_stream import measure_stream_latency
from baselines.engine import ReferenceEngine, make_engine
from baselines.errors import OptionError
from baselines.fast import FAST_KINDS, FastEngine, kernels

CASES = [
    *((f"flat-{kind}", {}) for kind in FAST_KINDS),
    *((f"hiss-{low}-{high}", {}) for low in FAST_KINDS for high in FAST_KINDS),
    ("flat-s4", {"readout": "first", "prenorm": False}),
    ("flat-s4", {"kernel": "truncated", "kernel_length": 40}),
    ("flat-lstm", {"dim": 8, "hidden": 24, "layers": 3}),
    ("flat-lstm", {"dim": 24, "hidden": 8}),
    ("flat-mamba", {"conv": 1, "dt_rank": 3}),
    ("hiss-s4-mamba", {"overlap": 13, "readout": "attention"}),
    ("hiss-s4d-s4", {"overlap": 3, "readout": "linear"}),
    ("hiss-s4-mamba", {"chunk": 40}),
    ("hiss-mamba-s4-lstm", {"overlap": 2}),
    ("hiss-lstm-s4", {"chunk": 1}),
]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_fast_equals_reference(name: str, options: dict[str, object]) -> None:
    torch.manual_seed(3)
    model = build(name, in_dim=5, out_dim=2, **{"dim": 16, "layers": 2, **options}).eval()
    x = np.random.default_rng(0).normal(size=(240, 5))
    x[100:130] *= 30.0  # gates and exponentials at their ends
    reference, fast = ReferenceEngine(model), make_engine(model, "fast")
    assert isinstance(fast, FastEngine)
    expected = reference.push(x)
    np.testing.assert_allclose(fast.push(x), expected, rtol=1e-5, atol=1e-5)
    fast.reset()
    np.testing.assert_allclose(fast.push(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["hiss-s4-mamba", "flat-lstm", "hiss-s4d-s4"])
def test_a_state_taken_up_gives_the_same_bits(name: str) -> None:
    model = build(name, in_dim=5, out_dim=2, dim=16, layers=2).eval()
    x = np.random.default_rng(0).normal(size=(60, 5))
    first, second = make_engine(model, "fast"), make_engine(model, "fast")
    first.push(x[:27])
    second.load(first.state())
    np.testing.assert_array_equal(first.push(x[27:]), second.push(x[27:]))


def test_pointwise_functions_are_exact_to_float32() -> None:
    x = np.linspace(-30, 30, 20001, dtype=np.float32)
    exact = torch.from_numpy(x).double()
    for ours, theirs in ((kernels.gelu, torch.nn.functional.gelu), (kernels.sigmoid, torch.sigmoid)):
        made = np.array([ours(value) for value in x])
        np.testing.assert_allclose(made, theirs(exact).numpy(), rtol=3e-7, atol=1e-6)


def test_memory_does_not_grow_and_every_sample_is_counted() -> None:
    model = build("hiss-s4-mamba", in_dim=12, out_dim=3, dim=16, layers=2)
    measure_stream_latency(model, 200)
    tracemalloc.start()
    try:
        short = measure_stream_latency(model, 500)
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        long = measure_stream_latency(model, 5000)
        grown = tracemalloc.get_traced_memory()[1] - held
    finally:
        tracemalloc.stop()
    assert grown < 100_000, f"ten times the samples took {grown} more bytes at the peak"
    assert (short.engine, long.engine, long.samples) == ("fast", "fast", 5000)
    assert 0 < long.without_ms["p50"] <= long.without_ms["p99"] <= long.without_ms["max"]


def test_what_has_no_compiled_loops_is_refused_by_name_and_run_by_auto() -> None:
    model = build("flat-transformer", in_dim=5, out_dim=2, dim=16, layers=1)
    with pytest.raises(OptionError, match=r"'reference' or 'auto' for flat-transformer.*s4"):
        make_engine(model, "fast")
    assert make_engine(model).name == "reference"
    double = build("flat-lstm", in_dim=5, out_dim=2, dim=8).double()
    assert make_engine(double).name == "reference"
    with pytest.raises(OptionError, match="one of auto, reference, fast"):
        make_engine(model, "quick")
