"""The compiled loops equal the readable steps; their memory does not grow; what they cannot run is refused."""

from __future__ import annotations

import gc
import mmap
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from baselines import build
from baselines.bench.stream import measure_stream_latency
from baselines.errors import OptionError
from baselines.layers import LAYERS, S4
from baselines.layers.pooling import AttentionPool
from baselines.layers.s4 import S4Config
from baselines.presets import INNER_KINDS
from baselines.stream.engine import ReferenceEngine, StateError, make_engine
from baselines.stream.fast import FAST_KINDS, FastEngine, pointwise
from baselines.stream.fast.engine import make_stack
from baselines.stream.fast.stack import f32, in_large_pages

AsTrained = Callable[[Any], Any]

CASES = [
    *((f"flat-{kind}", {}) for kind in FAST_KINDS),
    *((f"hiss-{low}-{high}", {}) for low in INNER_KINDS for high in FAST_KINDS),
    ("flat-s4", {"readout": "first", "prenorm": False}),
    ("flat-s4", {"kernel": "truncated", "kernel_length": 40}),
    ("flat-lstm", {"dim": 8, "hidden": 24, "layers": 3}),
    ("flat-lstm", {"dim": 24, "hidden": 8}),
    ("flat-mamba", {"conv": 1, "dt_rank": 3}),
    ("flat-gru", {"dim": 24, "hidden": 8, "layers": 3}),
    ("flat-tcn", {"taps": 1}),
    ("flat-tcn", {"taps": 5, "layers": 4}),
    ("flat-mamba2", {"heads": 1, "conv": 1, "state": 5}),
    ("flat-mamba2", {"heads": 32}),
    ("flat-lru", {"state": 3}),
    ("flat-lru", {"r_min": 0.99}),
    ("flat-transformer", {"window": 7}),
    ("flat-transformer", {"window": 1, "heads": 4}),
    ("flat-transformer", {"feedforward": 40}),
    ("hiss-tcn-transformer", {"high_window": 3, "overlap": 3}),
    ("hiss-lru-mamba2-gru", {"readout": "attention"}),
    ("hiss-s4-mamba", {"overlap": 13, "readout": "attention"}),
    ("hiss-s4d-s4", {"overlap": 3, "readout": "linear"}),
    ("hiss-s4-mamba", {"chunk": 40}),
    ("hiss-mamba-s4-lstm", {"overlap": 2}),
    ("hiss-lstm-s4", {"chunk": 1}),
    ("hiss-s4-lstm", {"chunk": 2, "low_prenorm": False}),
    ("hiss-s4d-lru", {"chunk": 3, "overlap": 2}),
    ("hiss-s4-gru", {"chunk": 1}),
]


def test_every_kind_of_layer_has_compiled_loops() -> None:
    assert set(FAST_KINDS) == set(LAYERS)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_fast_equals_reference(name: str, options: dict[str, object], as_trained: AsTrained) -> None:
    torch.manual_seed(3)
    model = as_trained(build(name, in_dim=5, out_dim=2, **{"dim": 16, "layers": 2, **options})).eval()
    x = np.random.default_rng(0).normal(size=(240, 5))
    x[100:130] *= 30.0  # gates and exponentials at their ends
    reference, fast = ReferenceEngine(model), make_engine(model, "fast")
    assert isinstance(fast, FastEngine)
    expected = reference.push(x)
    np.testing.assert_allclose(fast.push(x), expected, rtol=1e-5, atol=1e-5)
    fast.reset()
    np.testing.assert_allclose(fast.push(x), expected, rtol=1e-5, atol=1e-5)


def test_attention_to_one_step_alone_stays_finite() -> None:
    """Scores that lie hundreds apart: e to such a difference is no float32."""
    torch.manual_seed(3)
    model = build("flat-transformer", in_dim=5, out_dim=2, dim=16, layers=2).eval()
    with torch.no_grad():
        for block in model.net.layer.blocks:
            block.qkv.weight[:32] *= 12
    x = np.random.default_rng(0).normal(size=(60, 5))
    expected = ReferenceEngine(model).push(x)
    np.testing.assert_allclose(make_engine(model, "fast").push(x), expected, rtol=1e-5, atol=1e-5)


def test_a_readout_of_one_step_alone_stays_finite() -> None:
    torch.manual_seed(3)
    model = build("hiss-s4-lstm", in_dim=5, out_dim=2, dim=16, layers=1, readout="attention").eval()
    (pool,) = (module for module in model.modules() if isinstance(module, AttentionPool))
    with torch.no_grad():
        pool.query += 500
    x = np.random.default_rng(0).normal(size=(60, 5))
    expected = ReferenceEngine(model).push(x)
    np.testing.assert_allclose(make_engine(model, "fast").push(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["hiss-s4-mamba", *(f"flat-{kind}" for kind in FAST_KINDS)])
def test_a_state_taken_up_gives_the_same_bits(name: str) -> None:
    model = build(name, in_dim=5, out_dim=2, dim=16, layers=2).eval()
    x = np.random.default_rng(0).normal(size=(160, 5))
    first, second = make_engine(model, "fast"), make_engine(model, "fast")
    first.push(x[:77])
    second.push(x[:3])
    second.load(first.state())
    np.testing.assert_array_equal(first.push(x[77:]), second.push(x[77:]))


def test_a_past_of_any_length_is_taken_up_and_of_another_shape_refused() -> None:
    model = build("flat-transformer", in_dim=5, out_dim=2, dim=16, layers=2).eval()
    x = np.random.default_rng(0).normal(size=(300, 5))
    short, long = make_engine(model, "fast"), make_engine(model, "fast")
    short.push(x[:10])
    long.push(x[:200])
    kept = short.state()
    expected = short.push(x[10:])
    long.load(kept)  # shorter than its own
    np.testing.assert_array_equal(long.push(x[10:]), expected)
    before = long.state()
    keys = before["high.keys"]
    for bad in (keys[:1], keys[:, :, :8], keys[0], keys[..., None], keys.astype(np.float64)):
        with pytest.raises(StateError, match=r"high\.keys: expected float32 of shape \(2, 512, 16\), found"):
            long.load({**before, "position": before["position"] + 1, "high.keys": bad})
    with pytest.raises(StateError, match="position"):
        long.load({**before, "position": before["position"][None]})
    after = long.state()
    assert all(np.array_equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize("wanted", [{0}, {3}, {4, 5}, {9}, {8, 9}, {1, 6, 9}, set(range(10))])
def test_samples_that_wait_are_taken_before_one_that_is_wanted(wanted: set[int], as_trained: AsTrained) -> None:
    torch.manual_seed(0)
    layer = as_trained(S4(S4Config(dim=6, layers=3))).double().eval()
    x = np.random.default_rng(0).normal(size=(2, 10, 6)).astype(np.float32)
    stack = make_stack(layer, 10)
    for window in x:
        expected = layer(torch.from_numpy(window[None]).double())[0].detach().numpy()
        for position, row in enumerate(window):
            if position in wanted:
                np.testing.assert_allclose(stack.step(row.copy()), expected[position], rtol=1e-5, atol=1e-5)
            else:
                stack.skip(row.copy())
        stack.reset()


def test_the_past_of_a_transformer_grows_only_without_a_window() -> None:
    x = np.random.default_rng(0).normal(size=(1000, 5))
    sizes = {}
    for window in (None, 20):
        model = build("flat-transformer", in_dim=5, out_dim=2, dim=8, layers=1, window=window)
        engine = make_engine(model.eval(), "fast")
        sizes[window] = [sum(a.nbytes for a in engine.state().values())]
        engine.push(x)
        sizes[window].append(sum(a.nbytes for a in engine.state().values()))
        engine.reset()
        sizes[window].append(sum(a.nbytes for a in engine.state().values()))
    assert sizes[20][0] == sizes[20][1] == sizes[20][2]
    assert sizes[None][1] > 1000 * 2 * 8 * 4 > sizes[None][0] == sizes[None][2]


def test_pointwise_functions_are_exact_to_float32() -> None:
    x = np.float32([-1e4, -100, *np.linspace(-30, 30, 20001), 100, 1e4])
    exact = torch.from_numpy(x).double()
    functional = torch.nn.functional
    none = 1e-30  # beside the relative error, even where almost nothing is left
    cases = (
        (pointwise.gelu, functional.gelu, 3e-7),
        (pointwise.sigmoid, torch.sigmoid, none),
        (pointwise.silu, functional.silu, none),
        (pointwise.tanh, torch.tanh, 2e-7),
        (pointwise.softplus, lambda x: torch.logaddexp(x, torch.zeros_like(x)), none),
    )
    for ours, theirs, absolute in cases:
        made = np.array([ours(value) for value in x])
        np.testing.assert_allclose(made, theirs(exact).numpy(), rtol=3e-7, atol=absolute)


@pytest.mark.parametrize("spread", [0.0, 3e-3, 1.0])
def test_norms_of_features_that_are_equal_or_nearly_so(spread: float) -> None:
    """A sensor that reads the same on every channel must not divide by 0."""
    x, weight, bias = np.random.default_rng(0).normal(size=(3, 24)).astype(np.float32)
    x, out = np.float32(spread) * x + np.float32(0.5), np.empty_like(x)
    pointwise.layer_norm(x, weight, bias, np.float32(1e-5), out)
    exact = (torch.from_numpy(array).double() for array in (x, weight, bias))
    expected = torch.nn.functional.layer_norm(next(exact), (24,), *exact, eps=1e-5)
    np.testing.assert_allclose(out, expected.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", FAST_KINDS)
def test_memory_does_not_grow_whatever_the_kind(kind: str) -> None:
    """Ten times the samples: the same peak of traced memory, and a state of the same size."""
    high = {"high_window": 20} if kind == "transformer" else {}
    model = build(f"hiss-s4-{kind}", in_dim=12, out_dim=3, **{"dim": 8, "layers": 1, **high}).eval()
    engine, rng = make_engine(model, "fast"), np.random.default_rng(0)
    size = sum(array.nbytes for array in engine.state().values())
    peaks = []
    tracemalloc.start()
    try:
        for samples in (300, 3000):
            tracemalloc.reset_peak()
            for _ in range(samples):
                engine.push(rng.normal(size=(1, 12)))
            peaks.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 20_000
    assert sum(array.nbytes for array in engine.state().values()) == size


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="no large pages on this system")
def test_large_weights_lie_in_large_pages_and_small_ones_where_they_were() -> None:
    rng = np.random.default_rng(0)
    small, large = (rng.normal(size=(n, 512, 256)).astype(np.float32) for n in (1, 6))
    vector = rng.normal(size=512).astype(np.float32)
    assert in_large_pages(vector) is vector
    assert f32(torch.from_numpy(vector).double()).dtype == np.float32  # half the bytes of what it is made of
    for array in (small, large):
        copied = in_large_pages(array.copy())
        gc.collect()  # the memory lives as long as the copy
        assert np.array_equal(copied, array)
        assert copied.flags.c_contiguous
        assert copied.flags.writeable
        assert copied.ctypes.data % (2 << 20) == 0


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
    double = build("flat-lstm", in_dim=5, out_dim=2, dim=8).double()
    with pytest.raises(OptionError, match=r"'reference' or 'auto' for flat-lstm.*s4"):
        make_engine(double, "fast")
    engine, x = make_engine(double.eval()), np.random.default_rng(0).normal(size=(30, 5))
    assert engine.name == "reference"
    with torch.no_grad():
        expected = double(torch.from_numpy(x[None]))[0].numpy()
    np.testing.assert_allclose(engine.push(x), expected, rtol=1e-9)
    with pytest.raises(OptionError, match="one of auto, reference, fast"):
        make_engine(double, "quick")
