"""Live samples at a rate of their own: the same points as of the whole recording, gaps, times that cannot be."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import baselines
import csp_data
from baselines.cli import main
from baselines.errors import OptionError
from baselines.stream.engine import StateError
from baselines.stream.line_protocol import ClockError, SampleError
from baselines.stream.resampling import Resampler, StampedSamples
from csp_data.signal.resample import interval_mean, linear

SINCE_1970 = 1.764e9


def pushed(resampler: Resampler, times: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    points = [point for time, row in zip(times, rows, strict=True) for point in resampler.push(time, row)]
    return np.array([time for time, _ in points]), np.array([row for _, row in points])


@pytest.mark.parametrize("start", [0.0, SINCE_1970])
@pytest.mark.parametrize("sensor_hz", [83.0, 50.0, 23.0])
@pytest.mark.parametrize("kind", ["linear", "mean"])
def test_a_stream_is_resampled_like_a_whole_recording(kind: str, sensor_hz: float, start: float) -> None:
    rng = np.random.default_rng(0)
    times = start + np.cumsum(rng.uniform(0.5, 1.5, 400) / sensor_hz)
    rows = rng.normal(size=(400, 3))
    got_times, got = pushed(Resampler(50, kind), times, rows)
    count = int((times[-1] - times[0]) * 50)
    grid = times[0] + np.arange(1, count + 1) / 50
    np.testing.assert_allclose(got_times, grid, rtol=0, atol=1e-6)
    whole = linear(times, rows, grid) if kind == "linear" else interval_mean(times, rows, grid, 1 / 50)
    # integrals over times since 1970 have a rounding of their own
    np.testing.assert_allclose(got, whole, atol=1e-3 if start else 1e-9)


def test_points_come_as_soon_as_they_are_known_and_little_is_kept() -> None:
    resampler = Resampler(10, "mean", max_gap_s=1)
    assert [len(list(resampler.push(k / 8, [0.0]))) for k in range(9)] == [0, 1, 1, 1, 2, 1, 1, 1, 2]
    assert len(resampler._times) <= 3


@pytest.mark.parametrize("start", [0.0, SINCE_1970])
def test_samples_on_the_grid_give_their_own_points(start: float) -> None:
    """Not one sample later, although times are rounded, or summed up by the device."""
    resampler, times = Resampler(50), start + np.cumsum(np.full(500, 0.02))
    assert [len(list(resampler.push(time, [0.0]))) for time in times] == [0] + 499 * [1]


def test_what_is_no_sample_changes_nothing() -> None:
    """A time that is no number, or a packet cut short, was kept: each sample after it was refused."""
    resampler = Resampler(10)
    for good in (0.0, 0.1, 0.2):
        for time, values in ((np.nan, [1.0, 1.0]), (np.inf, [1.0, 1.0]), (good, [[1.0, 1.0]])):
            with pytest.raises(OptionError, match=r"^(time=.* a finite number|values=.* shape \(2,\))"):
                resampler.push(time, values)
        assert len(list(resampler.push(good, [1.0, 1.0]))) == (good > 0)
        with pytest.raises(OptionError, match=r"^values=\(1,\): expected shape \(2,\)"):
            resampler.push(good + 0.05, [1.0])


def test_a_gap_begins_anew_and_time_does_not_run_backwards() -> None:
    resampler = Resampler(10, max_gap_s=0.5)
    times = np.array([0, 0.2, 0.4, 3.05, 3.25])
    got, _ = pushed(resampler, times, np.zeros((5, 1)))
    np.testing.assert_allclose(got, [0.1, 0.2, 0.3, 0.4, 3.15, 3.25])
    assert resampler.gaps == 1
    with pytest.raises(OptionError, match=r"time=3\.25: expected a time after 3\.25 s"):
        resampler.push(3.25, [0.0])
    for name, value in (("rate_hz", 0), ("kind", "cubic"), ("max_gap_s", float("nan"))):
        with pytest.raises(OptionError, match=rf"^{name}="):
            Resampler(**{"rate_hz": 50, name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("start", [0.0, SINCE_1970])
def test_a_gap_of_just_the_bound_is_bridged_whatever_the_rounding_of_the_clock(start: float) -> None:
    """That of one lost sample at 20 Hz, and the step at 10 Hz: as in training, where one step more is bridged."""
    resampler = Resampler(50, max_gap_s=0.1)
    samples = StampedSamples(resampler, lambda: None)
    times = start + np.arange(60) / 10
    assert (np.diff(times) > 0.1).any()
    made = [sample for line, time in enumerate(times) for sample in samples.take(float(time), np.zeros(1), line)]
    assert (len(made), resampler.gaps) == (295, 0)
    samples.take(times[-1] + 0.1001, np.zeros(1), 60)
    assert resampler.gaps == 1


def test_a_clock_that_is_set_back_or_has_one_time_far_too_late_begins_anew() -> None:
    begun: list[int] = []
    samples = StampedSamples(Resampler(50), lambda: begun.append(len(times)))
    times: list[float] = []

    def take(stamps: np.ndarray) -> int:
        """Return how many of them are left out."""
        left_out = 0
        for stamp in stamps:
            try:
                times.extend(time for time, _ in samples.take(float(stamp), np.zeros(1), len(times)))
            except SampleError:
                left_out += 1
        return left_out

    second = np.arange(100) / 100
    assert take(np.repeat(SINCE_1970 + second, 2)) == 100  # each comes twice
    assert take(SINCE_1970 + 0.9 + second[:50] / 10) == 50  # packets that come late, in time and out of it
    assert take(np.full(200, SINCE_1970)) == 200  # a clock that stands still says nothing
    assert take(SINCE_1970 + 1 + second) == 0
    assert begun == []
    # since the device was started anew: those of the first second, and what comes twice
    assert take(np.repeat(5 + np.arange(300) / 100, 2)) == 400
    np.testing.assert_allclose(times[-99:], 6 + np.arange(1, 100) / 50)
    assert take(np.array([8.0, 3600.0])) == 0
    assert take(np.append(12.0, 8.01 + np.arange(300) / 100)) == 101
    np.testing.assert_allclose(times[-99:], 9.01 + np.arange(1, 100) / 50)
    assert samples.gaps == len(begun) == 3  # one of them after the gap before 3600


def test_times_that_are_no_seconds() -> None:
    samples, begun = StampedSamples(Resampler(50), lambda: None), np.zeros(1)
    with pytest.raises(
        SampleError, match="line 1: expected a time in s, by which samples are resampled, found none"
    ):
        samples.take(None, begun, 1)
    for line in range(24):
        samples.take(20.0 * line, begun, line)
    with pytest.raises(ClockError, match=r"at most 0\.1 s apart \(--max-gap\).* a median of 20 between"):
        samples.take(20.0 * 24, begun, 24)
    slow = StampedSamples(Resampler(1, max_gap_s=30), lambda: None)
    assert sum(len(slow.take(20.0 * line, begun, line)) for line in range(30)) == 20 * 29
    samples = StampedSamples(Resampler(50), lambda: None)
    for line in range(24):  # since 1970 in nanoseconds: no sample is made of them until they are refused
        assert samples.take(1.764e18 + 1e7 * line, begun, line) == []
    with pytest.raises(ClockError, match="a median of"):
        samples.take(1.764e18 + 1e7 * 24, begun, 24)


@pytest.fixture(scope="module")
def recording() -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return times and values of samples at 40 Hz, with a gap, and their names."""
    ds = csp_data.load("sample")
    inputs = ds.test[1].inputs[:300]
    times = np.arange(0, 5.9, 1 / 40)
    times = times[(times < 2) | (times > 3)]
    rows = np.stack([np.interp(times, np.arange(300) / 50, channel) for channel in inputs.T], axis=1)
    return times, rows, tuple(ds.channels.names)


def test_the_command(
    recording: tuple[np.ndarray, np.ndarray, tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    times, rows, names = recording
    lines = [",".join(["time", *names]), *(",".join(map(repr, map(float, row))) for row in np.c_[times, rows])]
    lines.insert(50, lines[40])  # a packet that came late

    def stream(*flags: str) -> tuple[list[list[float]], str]:
        source = io.TextIOWrapper(io.BytesIO("\n".join(lines).encode()))
        monkeypatch.setattr(sys, "stdin", source)
        main(["stream", "pretrained:broad", "--engine", "reference", *flags])
        said = capsys.readouterr()
        return [[float(cell) for cell in line.split(",")] for line in said.out.splitlines()[1:]], said.err

    with pytest.raises(SystemExit):
        stream("--resample")
    said = capsys.readouterr().err
    assert "expected a time after" in said
    assert "Pass --on-bad hold to go on without it." in said
    got, said = stream("--resample", "--on-bad", "hold")
    assert "1 bad line left out" in said
    assert "begun anew after 1 gap" in said
    shipped = baselines.load_pretrained("broad")
    expected = []
    for piece in (times < 2, times > 3):
        points, values = pushed(Resampler(50), times[piece], rows[piece])
        predictions = shipped.streamer("reference").push(values)
        expected += [[points[10 * k + 9], *row] for k, row in enumerate(predictions)]
    assert len(got) == len(expected) > 20
    np.testing.assert_allclose(np.array(got)[:, :-1], np.array(expected), rtol=1e-5, atol=1e-6)
    _, said = stream("--resample", "--on-bad", "hold", "--json")
    assert json.loads(said)["gaps"] == 1

    lines[0] = lines[0].replace("time", "t")
    for flags in ([], ["--on-bad", "hold"]):  # which would have held every line, for ever
        with pytest.raises(SystemExit):
            stream("--resample", *flags)
        assert "line 1: expected a CSV header with the channels time,acc_x" in (said := capsys.readouterr().err)
        assert "(time missing)" in said

    with pytest.raises(SystemExit) as stopped:
        stream("--max-gap", "1")
    assert stopped.value.code == 2


@pytest.mark.parametrize("cut", [1, 30, 80, 83, 150])
def test_a_stream_goes_on_with_the_same_bits(
    cut: int,
    recording: tuple[np.ndarray, np.ndarray, tuple[str, ...]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    times, rows, names = recording
    header, *lines = [
        ",".join(["time", *names]),
        *(",".join(map(repr, map(float, row))) for row in np.c_[times, rows]),
    ]
    state = tmp_path / "state"

    def stream(piece: list[str], *flags: str) -> list[list[str]]:
        (tmp_path / "in.csv").write_text("\n".join([header, *piece]) + "\n")
        run = ["stream", "pretrained:broad", "--engine", "reference", "--input", str(tmp_path / "in.csv")]
        main([*run, "--resample", *flags])
        return [line.split(",")[:-1] for line in capsys.readouterr().out.splitlines()[1:]]  # without latency

    whole = stream(lines)
    first = stream(lines[:cut], "--save-state", str(state))
    assert first + stream(lines[cut:], "--load-state", str(state)) == whole
    assert len(whole) > 20


def test_a_state_goes_on_although_the_clock_has_begun_anew(
    recording: tuple[np.ndarray, np.ndarray, tuple[str, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times, rows, names = recording
    times, rows = times[times < 2], rows[times < 2]

    def stream(clock: np.ndarray, *flags: str) -> tuple[np.ndarray, str]:
        header = ",".join(["time", *names])
        np.savetxt(tmp_path / "in.csv", np.c_[clock, rows], "%.9g", ",", header=header, comments="")
        run = ["stream", "pretrained:broad", "--engine", "reference", "--input", str(tmp_path / "in.csv")]
        main([*run, "--resample", "--on-bad", "hold", *flags])
        said = capsys.readouterr()
        return np.genfromtxt(said.out.splitlines(), delimiter=",", skip_header=1)[:, :-1], said.err

    state = str(tmp_path / "state")
    stream(500 + times, "--save-state", state)
    got, said = stream(times, "--load-state", state)
    assert "40 bad lines left out" in said
    assert "times have gone on from 0 to 1 s, before 501.975 s" in said
    from_then_on = baselines.load_pretrained("broad").streamer("reference")
    expected = from_then_on.push(pushed(Resampler(50), times[40:], rows[40:])[1])
    np.testing.assert_allclose(got[:, 0], 1 + 0.2 * np.arange(1, len(expected) + 1))
    np.testing.assert_allclose(got[:, 1:], expected, rtol=1e-5, atol=1e-6)


def test_a_state_belongs_to_a_grid(tmp_path: Path) -> None:
    shipped, row = baselines.load_pretrained("broad"), np.ones(6)
    grid, plain, resampled = Resampler(50), tmp_path / "plain", tmp_path / "resampled"
    streamer = shipped.streamer("reference")
    for time in (3.0, 3.03):
        for _, values in grid.push(time, row):
            streamer.push(values)
    baselines.save_state(plain, streamer)
    baselines.save_state(resampled, streamer, grid)

    fresh = shipped.streamer("reference")
    for path, other, message in (
        (plain, Resampler(50), "plain: state of a stream that was not resampled"),
        (resampled, None, "resampled: state of a stream that was resampled"),
        (resampled, Resampler(40), "expected linear at 40 Hz"),
        (resampled, Resampler(50, "mean"), "expected mean at 50 Hz"),
    ):
        with pytest.raises(StateError, match=message):
            baselines.load_state(path, fresh, other)
        assert fresh.samples == 0
    unbegun, state = Resampler(50), grid.state_dict()
    for name, values in state.items():
        with pytest.raises(StateError, match="another grid"):
            unbegun.load_state_dict({**state, name: values[:-1]})
    for time in (0.0, 9.0):
        unbegun.push(time, row)
    unbegun.load_state_dict(Resampler(50).state_dict())
    assert (unbegun.latest, unbegun.gaps) == (None, 0)
    baselines.load_state(resampled, fresh, unbegun)
    assert (fresh.samples, unbegun.latest) == (1, 3.03)


@pytest.mark.parametrize("at_rest", [1.0, 0.0])
def test_a_known_baseline_outlives_a_gap(at_rest: float) -> None:
    """That of a sensor that was set to 0, too."""
    ds = csp_data.load("sample")
    model = baselines.build("flat-lstm", 12, 3, preset="small")
    rows = ds.test[0].inputs[:100].astype(float)
    rows[:7] *= at_rest
    kept = baselines.Streamer(model, ds.normalization, deltas=True, baseline="mean", baseline_rows=7)
    kept.push(rows[:20])
    kept.reset(keep_baseline=True)
    known = baselines.Streamer(model, ds.normalization, deltas=True, baseline=rows[:7].mean(axis=0))
    np.testing.assert_array_equal(kept.push(rows[50:]), known.push(rows[50:]))
    assert kept.answered == known.answered > 0
    kept.reset()
    assert len(kept.push(rows[20:26])) == 0
    assert kept.answered == 0
    other = baselines.Streamer(model, ds.normalization, deltas=True, baseline=rows[20:27].mean(axis=0))
    np.testing.assert_array_equal(kept.push(rows[26:]), other.push(rows[20:]))
