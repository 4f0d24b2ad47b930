"""Resampling against polynomials and quadrature, alignment against hand-made clocks."""

from __future__ import annotations

import sys
import tracemalloc
from types import FrameType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from csp_data.errors import OptionError
from csp_data.recording import Stream
from csp_data.signal import resample
from csp_data.signal.align import chunk_grid, common_intervals, finite_rows, increasing_rows, own_start_grids
from csp_data.signal.resample import interval_mean, interval_means, linear


def clock(seed: int, length: int = 60) -> np.ndarray:
    """An irregular clock like those of tactile boards: two typical steps."""
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.choice([0.035, 0.073], size=length) * rng.uniform(0.9, 1.1, size=length)) + 1.7e9


@given(seed=st.integers(0, 2**31), slope=st.floats(-5, 5), offset=st.floats(-100, 100))
@settings(max_examples=50, deadline=None)
def test_linear_is_exact_on_lines(seed: int, slope: float, offset: float) -> None:
    time = clock(seed)
    grid = np.linspace(time[0], time[-1], 97)
    line = np.stack([offset + slope * (time - time[0]), np.full_like(time, offset)], axis=1)
    expected = np.stack([offset + slope * (grid - time[0]), np.full_like(grid, offset)], axis=1)
    np.testing.assert_allclose(linear(time, line, grid), expected, rtol=1e-6, atol=1e-5)


def test_linear_hits_samples_and_stays_below_the_quadratic_error_bound() -> None:
    time = clock(1) - 1.7e9
    cubic = np.stack([time**2, time**3], axis=1)
    np.testing.assert_allclose(linear(time, cubic, time), cubic, rtol=1e-12)
    grid = np.linspace(time[0], time[-1], 500)
    error = np.abs(linear(time, cubic, grid) - np.stack([grid**2, grid**3], axis=1))
    step = np.diff(time).max()
    assert error[:, 0].max() <= step**2 / 8 * 2 * 1.0001  # max |f''| h^2 / 8
    assert error[:, 1].max() <= step**2 / 8 * 6 * time[-1] * 1.0001
    for kind in (np.int16, np.float32):  # as a reader of one's own may hand them over
        counts = np.arange(len(time))[:, None].astype(kind)
        np.testing.assert_allclose(
            linear(time, counts, grid)[:, 0], np.interp(grid, time, counts[:, 0]), rtol=1e-12
        )


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_interval_mean_equals_quadrature_of_the_interpolant(seed: int) -> None:
    time = clock(seed) - 1.7e9
    values = np.random.default_rng(seed).normal(size=(len(time), 1))
    width = 0.1
    grid = np.arange(time[0] + width, time[-1], 0.1)
    means = interval_mean(time, values, grid, width)
    for at, got in zip(grid, means[:, 0], strict=True):
        knots = time[(time > at - width) & (time < at)]
        area, _ = quad(lambda x: np.interp(x, time, values[:, 0]), at - width, at, points=knots, limit=200)
        assert got == pytest.approx(area / width, abs=1e-9)
    with pytest.MonkeyPatch.context() as patch:
        at_once = linear(time, values, grid)
        patch.setattr(resample, "AT_ONCE", 7)
        np.testing.assert_array_equal(linear(time, values, grid), at_once)
    pieces = interval_means(time, values, np.split(grid, [3, 3, 20]), width)
    np.testing.assert_array_equal(np.concatenate(pieces), means)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resample, "AT_ONCE", 7)
        np.testing.assert_array_equal(interval_mean(time, values, grid, width), means)


def test_between_a_signal_and_its_means_there_is_little_in_memory() -> None:
    """There were seven arrays of the signal's size, and a day at 1 kHz has a thousand million values."""
    time = np.arange(200_000) / 1000
    values = np.random.default_rng(0).normal(size=(len(time), 12))
    tracemalloc.start()
    (means,) = interval_means(time, values, [time[1:]], 1 / 1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(means, (values[1:] + values[:-1]) / 2, atol=1e-9)
    assert peak < 3 * values.nbytes  # the means, the integral from the first sample, and what is worked on
    tracemalloc.start()
    same = linear(time, values, time)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(same, values, atol=1e-12)
    assert peak < 2 * values.nbytes
    few = values.astype(np.float32)
    tracemalloc.start()
    sampled = linear(time, few, np.arange(1000) / 50)  # of one episode among many
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(sampled, few[:20000:20], rtol=1e-12)
    assert peak < few.nbytes / 10


def test_interval_mean_removes_what_linear_sampling_aliases() -> None:
    time = np.arange(0, 20, 1 / 285.714)
    tone = np.sin(2 * np.pi * 50.0 * time + 0.3)[:, None]  # at the new rate: aliases to a constant
    grid = np.arange(1, 19, 1 / 50)
    assert np.abs(linear(time, tone, grid)).max() > 0.2
    assert np.abs(interval_mean(time, tone, grid, 1 / 50)).max() < 0.02


@pytest.mark.parametrize(("target_hz", "short_s"), [(5, 1.5e-7), (0.5, 1.5e-6), (0.2, 4e-6), (0.01, 4e-6)])
def test_a_span_that_rounding_makes_short_of_whole_chunks(target_hz: float, short_s: float) -> None:
    """A clock that ends some microseconds early gives all chunks, and its grid can be sampled."""
    time = np.append(np.arange(0, 100, 0.25), 100 - short_s)
    grid = chunk_grid((time[0], time[-1]), target_hz, 10)
    assert len(grid.edges) == 100 * target_hz + 1
    sampled = linear(time, time[:, None], grid.inputs)[:, 0]
    assert sampled == pytest.approx(np.arange(1, 1000 * target_hz + 1) / target_hz / 10, abs=1e-5)


@pytest.mark.parametrize("grid", [[1.0, 2.1], [-0.1, 1.0], [-0.1, 2.1], [-0.1]])
def test_nothing_is_extrapolated(grid: list[float]) -> None:
    time, values = np.array([0.0, 1.0, 2.0]), np.array([[3.0], [4.0], [8.0]])
    with pytest.raises(OptionError, match="no extrapolation"):
        linear(time, values, np.array(grid))
    rounded = linear(time, values, np.array([-1e-12, 2 + 1e-12]))
    np.testing.assert_array_equal(rounded, [[3.0], [8.0]])
    assert linear(time, values, np.array([])).shape == (0, 1)
    with pytest.raises(OptionError, match="no extrapolation"):
        linear(
            time + 1.7e9, values, np.array([1.7e9 + 2.001])
        )  # seconds since 1970: a millisecond is one there too
    for width in (0.0, -0.5, np.nan):
        with pytest.raises(OptionError, match="width="):
            interval_mean(time, values, np.array([1.0]), width)


def stream(time: list[float], values: list[float] | None = None) -> Stream:
    column = np.zeros(len(time)) if values is None else np.array(values)
    return Stream(np.array(time, dtype=float), column[:, None], ("x",), "1", "input")


def test_repeated_and_backward_times_are_dropped_the_first_stays() -> None:
    kept, dropped = increasing_rows(stream([0, 1, 1, 0.5, 2, 2, 3], [0, 1, 2, 3, 4, 5, 6]))
    assert dropped == 3
    np.testing.assert_array_equal(kept.time, [0, 1, 2, 3])
    np.testing.assert_array_equal(kept.values[:, 0], [0, 1, 4, 6])
    again, dropped = increasing_rows(kept)
    assert (again.time.tolist(), dropped) == ([0, 1, 2, 3], 0)


def test_rows_with_nan_or_infinity_are_dropped() -> None:
    kept = finite_rows(stream([0, 1, 2, 3], [1, np.nan, np.inf, 4]))
    np.testing.assert_array_equal(kept.time, [0, 3])
    np.testing.assert_array_equal(kept.values[:, 0], [1, 4])
    np.testing.assert_array_equal(finite_rows(kept).time, [0, 3])


def test_intervals_are_cut_at_gaps_longer_than_the_bound_only() -> None:
    rate = 100.0
    full = np.arange(0, 10, 1 / rate)
    # 10 samples lost: a gap of exactly 0.1 s beyond the usual step; 12 samples lost: longer
    bridged = np.delete(full, slice(300, 310))
    broken = np.delete(full, slice(600, 612))
    intervals = common_intervals([stream(list(bridged)), stream(list(broken))], 0.1)
    np.testing.assert_allclose(intervals, [(0, 5.99), (6.12, 9.99)], atol=1e-9)
    assert common_intervals([stream(list(broken))], None) == [(0.0, full[-1])]
    assert common_intervals([stream([0.0, 1.0]), stream([2.0, 3.0])], None) == []
    alone = stream([0.0, 0.1, 0.2, 5.0, 10.0, 10.1])  # one sample between two gaps is no interval
    assert common_intervals([alone], 1.0) == [(0.0, 0.2), (10.0, 10.1)]
    for bound in (0.1, None):
        assert common_intervals([stream([0.0, 1.0])], bound) == [(0.0, 1.0)]
        for few in ([], [1.0]):
            assert common_intervals([stream(few)], bound) == []
            assert common_intervals([stream([0.0, 2.0]), stream(few)], bound) == []


def test_intervals_of_streams_with_many_gaps_are_compared_in_one_pass() -> None:
    """Each was with each: two streams that lose their link every few seconds, for a day, have 10**8 pairs."""
    rng = np.random.default_rng(0)
    streams = [stream(list(np.arange(4000.0)[rng.random(4000) < 0.9])) for _ in range(2)]
    calls = 0

    def count(_frame: FrameType, event: str, _value: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        found = common_intervals(streams, 0.5)
    finally:
        sys.setprofile(None)
    assert calls < 4000
    one, other = (common_intervals([alone], 0.5) for alone in streams)
    pairs = [(max(a, c), min(b, d)) for a, b in one for c, d in other]
    assert found == sorted((start, stop) for start, stop in pairs if start < stop)


@given(
    start=st.floats(0, 1e6),
    seconds=st.floats(0, 30),
    rates=st.sampled_from([(5.0, 10), (5.0, 1), (4.0, 25), (10.0, 3)]),
    longest=st.none() | st.floats(0, 30),
)
@settings(max_examples=100, deadline=None)
def test_chunks_tile_the_interval(
    start: float, seconds: float, rates: tuple[float, int], longest: float | None
) -> None:
    hz, chunk = rates
    grid = chunk_grid((start, start + seconds), hz, chunk, longest)
    count = len(grid.edges) - 1
    seconds = seconds if longest is None or longest > seconds else longest
    assert grid.edges[0] == start
    assert len(grid.inputs) == count * chunk
    assert seconds * hz - 1 - 1e-3 <= count <= seconds * hz + 1e-3
    if count:
        np.testing.assert_allclose(
            grid.inputs[chunk - 1 :: chunk], grid.edges[1:], rtol=0, atol=1e-9 * (1 + start)
        )
        assert grid.inputs[0] > grid.edges[0]


@given(
    clocks=st.lists(
        st.tuples(st.floats(0, 3), st.lists(st.floats(0.05, 3), min_size=1, max_size=9)), min_size=1, max_size=3
    ),
    epoch=st.sampled_from([0.0, 1.7e9]),
    rates=st.sampled_from([(5.0, 10), (4.0, 25), (10.0, 3)]),
    longest=st.none() | st.floats(0.1, 9),
)
@settings(max_examples=100, deadline=None)
def test_grids_from_each_streams_own_start(
    clocks: list[tuple[float, list[float]]], epoch: float, rates: tuple[float, int], longest: float | None
) -> None:
    """A second that all streams fill has so many steps, each with its inputs; the first edge stands twice."""
    hz, chunk = rates
    times = {str(i): epoch + start + np.cumsum([0.0, *steps]) for i, (start, steps) in enumerate(clocks)}
    start, stop = max(time[0] for time in times.values()), min(time[-1] for time in times.values())
    grids = own_start_grids(times, (start, stop), hz, chunk, longest)
    inside = {name: [t for t in time if start <= t < stop] for name, time in times.items()}
    seconds = 0
    while all(own and own[-1] - own[0] >= seconds + 1 for own in inside.values()) and (
        longest is None or longest >= seconds + 1
    ):
        seconds += 1
    for name, grid in grids.items():
        steps = int(seconds * hz)
        np.testing.assert_allclose(grid.edges, [0.0, *(k / hz for k in range(steps))], rtol=1e-12)
        np.testing.assert_allclose(grid.inputs, [k / (hz * chunk) for k in range(steps * chunk)], rtol=1e-12)
        assert grid.origin == (inside[name][0] if inside[name] else start)
