"""Faults of the sensors: each against a plain loop, statistics that theory gives, and trained runs under them."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import csp_data
from baselines.ablations.fault_runs import (
    COLUMNS,
    _mse_ratio,
    default_lowpass,
    disturbed,
    faulty,
    training_deviation,
    with_inputs,
)
from baselines.ablations.faults import BURST_S, FAULTS, bursts
from baselines.cli import main
from baselines.errors import OptionError, UnknownNameError
from baselines.runs.run import Run, RunError
from baselines.trained import evaluate
from csp_data import Dataset, LowPass
from csp_data.acquire.rawtree import raw_root
from csp_data.dataset.remake import RawPart, read_part
from csp_data.errors import DamagedRecordingError, VerificationError
from csp_data.recording import Recording, Stream

SIGMA = {"a": np.array([1.0, 0.5, 2.0]), "b": np.array([3.0, 1.0])}


def streams(seconds: float = 20.0, rate: float = 100.0, seed: int = 0) -> dict[str, Stream]:
    """Two streams of one irregular clock, and a rotation of another."""
    rng = np.random.default_rng(seed)
    time = np.cumsum(rng.uniform(0.5, 1.5, int(seconds * rate)) / rate)
    slow = np.arange(int(seconds * 10)) / 10 + 0.03
    quaternions = rng.normal([1, 0, 0, 0], 0.1, (len(slow), 4))
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    return {
        "a": Stream(time, rng.normal([0, 10, -3], 1, (len(time), 3)), ("x", "y", "z"), "m/s^2", "input"),
        "b": Stream(time, rng.normal(size=(len(time), 2)), ("u", "v"), "rad/s", "input"),
        "q": Stream(slow, quaternions, ("qw", "qx", "qy", "qz"), "1", "input", "rotation"),
    }


def apply(name: str, value: float, seed: int = 1, given: dict[str, Stream] | None = None) -> dict[str, Stream]:
    before = given or streams()
    return {**before, **FAULTS[name].apply(before, SIGMA, value, np.random.default_rng(seed))}


@pytest.mark.parametrize("name", FAULTS)
def test_times_stay_and_the_same_seed_is_the_same_fault(name: str) -> None:
    before = streams()
    kept = {key: stream.values.copy() for key, stream in before.items()}
    once, again, other = (apply(name, FAULTS[name].values[-1], seed, before) for seed in (1, 1, 2))
    for key, stream in before.items():
        np.testing.assert_array_equal(stream.values, kept[key])  # what was given is not written to
        np.testing.assert_array_equal(once[key].time, stream.time)
        np.testing.assert_array_equal(once[key].values, again[key].values)
        assert once[key].values.shape == stream.values.shape
    changed = {key for key in before if not np.array_equal(once[key].values, before[key].values)}
    assert changed == ({"a", "b", "q"} if name in ("dropped-packets", "jitter") else {"a", "b"})
    if name != "saturation":
        assert any(not np.array_equal(once[key].values, other[key].values) for key in before)
    assert len(FAULTS[name].values) == 5


def test_noise_is_white_and_scales_with_sigma() -> None:
    before = streams(200)
    mild, strong = (apply("noise", value, given=before) for value in (0.1, 0.8))
    for key in ("a", "b"):
        small, large = (made[key].values - before[key].values for made in (mild, strong))
        np.testing.assert_allclose(large, 8 * small, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(large.std(axis=0), 0.8 * SIGMA[key], rtol=0.03)
        neighbours = (large[1:] * large[:-1]).mean(axis=0) / large.var(axis=0)
        assert np.abs(neighbours).max() < 0.03  # 4 / sqrt(20000)


def test_drift_is_a_random_walk() -> None:
    """Against a loop; and over many draws its standard deviation grows with the root of time."""
    before = streams()
    drawn = np.random.default_rng(1)
    for key in ("a", "b"):
        z = drawn.standard_normal(before[key].values.shape)
        expected, bias = before[key].values.copy(), np.zeros(z.shape[1])
        for i, time in enumerate(before[key].time):
            step = time - before[key].time[i - 1] if i else 0.0
            bias = bias + 0.4 * SIGMA[key] * np.sqrt(step / 60) * z[i]
            expected[i] += bias
        np.testing.assert_allclose(apply("drift", 0.4, given=before)[key].values, expected, atol=1e-9)
    ends = np.array([apply("drift", 0.4, s, before)["a"].values - before["a"].values for s in range(400)])
    for row in (499, 1999):
        seconds = before["a"].time[row] - before["a"].time[0]
        np.testing.assert_allclose(ends[:, row].std(axis=0), 0.4 * SIGMA["a"] * np.sqrt(seconds / 60), rtol=0.12)
    assert not ends[:, 0].any()


def test_lost_channels_read_zero_and_stay_lost() -> None:
    before: set[tuple[str, int]] = set()
    for value, count in ((10, 1), (20, 1), (40, 2), (60, 3), (100, 5)):
        made = apply("channel-loss", value)
        lost = {
            (k, c) for k in ("a", "b") for c in range(made[k].values.shape[1]) if not made[k].values[:, c].any()
        }
        assert len(lost) == count
        assert before <= lost
        kept = [(k, c) for k in ("a", "b") for c in range(made[k].values.shape[1]) if (k, c) not in lost]
        assert all(np.array_equal(made[k].values[:, c], streams()[k].values[:, c]) for k, c in kept)
        before = lost


@pytest.mark.parametrize("value", FAULTS["dropped-packets"].values)
def test_dropped_packets_repeat_what_came_last(value: float) -> None:
    before = streams(600)
    made = apply("dropped-packets", value, given=before)
    start, stop = (f(s.time[i] for s in before.values()) for f, i in ((min, 0), (max, -1)))
    edges = bursts(start, stop, value / 100, np.random.default_rng(1))
    assert (np.diff(edges) >= 0).all()
    assert edges[-1] >= stop
    begins, ends = edges[0::2], [*edges[1::2], np.inf]
    for key, stream in before.items():
        held, burst = stream.values[0], 0
        for i, time in enumerate(stream.time[:3000]):
            while burst < len(begins) and ends[burst] <= time:
                burst += 1
            if i == 0 or burst == len(begins) or time < begins[burst]:
                held = stream.values[i]
            assert np.array_equal(made[key].values[i], held), (key, i)
    same = (made["a"].values[1:] == made["a"].values[:-1]).all(axis=1).mean()
    assert same == pytest.approx(value / 100, abs=0.06)  # of 600 s in bursts of 0.1 s
    assert (edges[1::2] - begins[: len(edges) // 2]).mean() == pytest.approx(BURST_S, rel=0.25)
    assert not bursts(0, 10, 0, np.random.default_rng(0)).size


def test_without_anything_received_the_first_sample_stands() -> None:
    """A link that is down from the first stamp on repeats that stamp's sample, and none from the end."""
    before = {"a": Stream(np.arange(8) / 1e3, np.arange(16.0).reshape(8, 2), ("x", "y"), "1", "input")}
    for seed in range(20):
        made = FAULTS["dropped-packets"].apply(before, {}, 99.9, np.random.default_rng(seed))["a"].values
        np.testing.assert_array_equal(made[0], before["a"].values[0])
        assert (np.diff(made[:, 0]) >= 0).all()


def test_saturation_clips_around_the_mean_and_never_grows() -> None:
    before = streams()
    widths = []
    for value in FAULTS["saturation"].values:
        made = apply("saturation", value, given=before)["a"].values
        for column in range(3):
            original = before["a"].values[:, column]
            low, high = (original.mean() + sign * value * SIGMA["a"][column] for sign in (-1, 1))
            expected = [min(max(x, low), high) for x in original]
            np.testing.assert_allclose(made[:, column], expected, atol=1e-12)
        widths.append(np.abs(made - before["a"].values).sum())
    assert widths == sorted(widths)


def test_jitter_samples_beside_the_stamps() -> None:
    """A straight line moves by slope times error; streams of one clock share the errors; ends are not left."""
    before = streams()
    time = before["a"].time
    line = dataclasses.replace(before["a"], values=np.stack([time, -2 * time, 0 * time], axis=1))
    other = dataclasses.replace(before["b"], values=np.stack([3 * time, time], axis=1))
    made = apply("jitter", 20, given={"a": line, "b": other, "q": before["q"]})
    errors = np.random.default_rng(1).standard_normal(len(time)) * 0.020
    expected = np.clip(time + errors, time[0], time[-1])
    np.testing.assert_allclose(made["a"].values, np.stack([expected, -2 * expected, 0 * time], 1), atol=1e-9)
    np.testing.assert_allclose(made["b"].values, np.stack([3 * expected, expected], 1), atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(made["q"].values, axis=1), 1, atol=1e-9)


def test_jitter_leaves_samples_of_a_broken_clock_alone() -> None:
    before = streams()
    time = before["a"].time.copy()
    time[50] = time[48]  # goes back
    time[80] = time[79]  # stands twice
    given = {"a": dataclasses.replace(before["a"], time=time)}
    made = FAULTS["jitter"].apply(given, SIGMA, 5, np.random.default_rng(0))["a"]
    same = (made.values == given["a"].values).all(axis=1)
    assert same[[50, 80]].all()
    assert same.mean() < 0.1


@pytest.fixture(scope="module")
def held(sample: Dataset) -> RawPart:
    return read_part(sample, "test")


def test_without_a_fault_inputs_are_those_of_the_file(held: RawPart, sample: Dataset) -> None:
    for made, episode in zip(held.inputs(), sample.test, strict=True):
        np.testing.assert_array_equal(made, episode.inputs)
    filtered = csp_data.load("sample", lowpass=LowPass(hz=5))
    for made, episode in zip(held.inputs(lowpass=LowPass(hz=5)), filtered.test, strict=True):
        np.testing.assert_array_equal(made, episode.inputs)
    # with shorter gaps a recording has two episodes, and a piece the id that one of them would have
    for resplit, max_gap_s in (
        ({"neighbours": "apart"}, 0.1),
        ({"neighbours": "apart"}, 0.02),
        ({"share": 0.5}, 0.02),
    ):
        changed = csp_data.load("sample", resplit=resplit, max_gap_s=max_gap_s, min_episode_s=1)
        for made, episode in zip(read_part(changed, "test").inputs(), changed.test, strict=True):
            np.testing.assert_array_equal(made, episode.inputs)


def test_recordings_that_were_left_out_as_damaged_are_not_asked_for(tmp_path: Path) -> None:
    """Their file still fails, and no part has them."""
    raw = shutil.copytree(raw_root(csp_data.info("sample"), None), tmp_path / "raw")
    sound = csp_data.load("sample", raw=raw)
    victim = raw / f"{sound.train.rows[0].recording}.hdf5"
    victim.write_bytes(victim.read_bytes()[:1000])
    left = csp_data.load("sample", raw=raw, skip_damaged=True)
    assert len(left.train) == len(sound.train) - 1
    for made, episode in zip(read_part(left, "train", raw).inputs(), left.train, strict=True):
        np.testing.assert_array_equal(made, episode.inputs)
    with pytest.raises(VerificationError, match=victim.name):  # other files than these: its damage comes first
        read_part(sound, "train", raw)


def test_raw_recordings_that_do_not_give_the_rows_of_the_file_are_refused(held: RawPart) -> None:
    def shorter(recording: Recording) -> Recording:
        streams = {name: s.select(slice(None, -200)) for name, s in recording.streams.items()}
        return dataclasses.replace(recording, streams=streams)

    first, *others = held.recordings
    for recordings in (others, [shorter(first), *others]):
        with pytest.raises(DamagedRecordingError, match=rf"inputs of {first.id}: expected \d+ rows, found \d+"):
            dataclasses.replace(held, recordings=tuple(recordings)).inputs()


def test_a_fault_comes_before_the_filter(held: RawPart, sample: Dataset) -> None:
    """Filtering what the fault left is what comes out, not a fault over filtered inputs."""
    sigma = training_deviation(sample)
    calls = []

    def fault(recording: Recording) -> dict[str, Stream]:
        calls.append(recording.id)
        return disturbed(recording, sample, sigma, "noise", 0.8, 0)

    plain, filtered = held.inputs(fault, lowpass=None), held.inputs(fault, lowpass=LowPass(hz=5))
    for rough, smooth in zip(plain, filtered, strict=True):
        np.testing.assert_allclose(smooth, LowPass(hz=5).apply(rough, 50.0), atol=2e-5)
    assert calls == [row.recording for row in sample.test.rows] * 2


def test_draws_do_not_hang_on_the_order_of_recordings(held: RawPart, sample: Dataset) -> None:
    sigma = training_deviation(sample)
    backwards = dataclasses.replace(held, recordings=held.recordings[::-1])
    one, other = (
        part.inputs(lambda r: disturbed(r, sample, sigma, "dropped-packets", 40, 3)) for part in (held, backwards)
    )
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
    first, second = held.recordings[:2]
    signs = set()
    for recording, draw in ((first, 3), (second, 3), (first, 4)):
        made = disturbed(recording, sample, sigma, "noise", 1.0, draw)["accelerometer"].values
        signs.add(tuple(np.sign(made - recording.streams["accelerometer"].values)[:30, 0]))
    assert len(signs) == 3  # each has draws of its own


def test_sigma_is_that_of_the_training_part(sample: Dataset) -> None:
    expected = np.concatenate([e.inputs for e in sample.train]).astype(np.float64).std(axis=0, ddof=1)
    assert list(training_deviation(sample)) == list(sample.channels.names)
    np.testing.assert_allclose(list(training_deviation(sample).values()), expected, rtol=1e-9)
    filtered = csp_data.load("sample", lowpass=LowPass(hz=2))
    np.testing.assert_allclose(list(training_deviation(filtered).values()), expected, rtol=1e-6)


def test_a_channel_that_is_no_column_has_the_sigma_of_its_recording(held: RawPart, sample: Dataset) -> None:
    recording = held.recordings[0]
    inputs = {name: recording.streams[name] for name in ("accelerometer", "gyroscope")}
    own = {c: x.std() for s in inputs.values() for c, x in zip(s.channels, s.values.T, strict=True)}
    for name in inputs:
        given, taken = (disturbed(recording, sample, sigma, "noise", 0.8, 0)[name].values for sigma in (own, {}))
        np.testing.assert_allclose(given, taken, rtol=1e-9)


def test_trained_runs_under_faults(runs: dict[str, Run], sample: Dataset) -> None:
    rows = faulty([runs["a"], runs["fir"]], faults=["noise", "dropped-packets"], draws=[0, 1])
    assert len(rows) == 2 * 2 * (2 * 1 + 2 * 5 * 2)
    for run in (runs["a"], runs["fir"]):
        own = [row for row in rows if row.config == run.config.key]
        clean = {row.mse for row in own if row.severity == 0 and row.as_trained}
        assert clean == {evaluate(run, sample)["mse"]}  # exactly
        assert {row.ratio for row in own if row.severity == 0 and row.as_trained} == {1.0}
        assert {(row.lowpass, row.as_trained) for row in own} == {("none", True), ("causal 5 Hz", False)}
    fir = [row for row in rows if row.model == "fir" and row.as_trained and row.fault == "noise"]
    by_severity = [np.mean([row.mse for row in fir if row.severity == s]) for s in range(6)]
    assert by_severity[5] > by_severity[4] > by_severity[3] > by_severity[0]
    twice = {"faults": ["noise", "dropped-packets", "noise"], "draws": [0, 1, 1]}  # are one
    assert rows == faulty([runs["a"], runs["fir"]], **twice)
    assert default_lowpass(sample) == LowPass(hz=5.0)
    row, *_ = faulty([runs["mean"]], faults=["saturation"], part="val")
    assert (row.part, row.mse) == ("val", runs["mean"].selected["mse"])


def test_models_of_one_name_are_told_apart_by_what_differs(
    runs: dict[str, Run], sample: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from baselines.ablations.fault_figure import draw
    from baselines.experiment import run
    from baselines.training.settings import TrainConfig
    from csp_data.plot.style import GREYS

    folder = tmp_path_factory.mktemp("others")
    config = TrainConfig(epochs=2, window_s=10.0, window_stride_s=10.0)
    longer, _ = run(sample, "fir", config, folder / "longer", options={"taps": 40})
    filters = [csp_data.load("sample", lowpass=LowPass(hz=2, order=order)) for order in (3, 2)]
    filtered = [run(f, "fir", config, folder / f"{i}", options={"taps": 40})[0] for i, f in enumerate(filters)]
    rows = faulty([runs["fir"], longer, *filtered], faults=["noise"])
    said = {(row.model, row.trained_lowpass) for row in rows}
    other = "fir (taps 40)"
    filters_said = ["none", "causal 2 Hz", "causal 2 Hz, order 2"]
    assert said == {("fir (taps 20)", "none"), *((other, called) for called in filters_said)}
    (legend,) = draw(rows).legends
    drawn = {
        text.get_text(): line.get_color()
        for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True)
    }
    assert {drawn[f"{model}, trained with low-pass {called}"] for model, called in said} <= set(GREYS)
    seeds = faulty([runs["a"], runs["b"]], faults=["noise"])
    assert {(row.model, row.seed) for row in seeds} == {("flat-lstm", 0), ("flat-lstm", 1)}
    with pytest.raises(RunError, match="the same run"):
        faulty([runs["a"], dataclasses.replace(runs["a"], folder=folder / "copy")])
    again = dataclasses.replace(longer.config, train=dataclasses.replace(config, lr=0.5, seed=3))
    repeated = [longer, dataclasses.replace(longer, config=again, folder=folder / "copy")]
    assert {(row.run, row.seed) for row in faulty(repeated, faults=["noise"])} == {(str(longer.folder), 0)}


def test_targets_of_several_units_get_worse_alike(runs: dict[str, Run]) -> None:
    """By hand: four times the error in millimetres and the same in radians is 2.5 times worse."""
    from baselines.ablations.fault_figure import draw

    def metrics(mse: float, unit: str, **rmse: float) -> dict[str, object]:
        units = {"x": "m", "angle": unit}
        return {"mse": mse, "si": {name: {"unit": units[name], "rmse": e, "mae": e} for name, e in rmse.items()}}

    for unit, ratio in (("rad", 2.5), ("m", (0.5 + 2e-6) / (0.5 + 5e-7))):
        clean, faulty_ = metrics(0.5 + 5e-7, unit, x=1e-3, angle=1.0), metrics(0.5 + 2e-6, unit, x=2e-3, angle=1.0)
        assert _mse_ratio(faulty_, clean) == pytest.approx(ratio)
    assert _mse_ratio(faulty_, clean | {"mse": 0.0}) is None
    rows = [
        dataclasses.replace(row, rmse=None, rmse_unit="", ratio=1.0 + row.severity)
        for row in faulty([runs["fir"]], faults=["noise"])
    ]
    (ax,) = draw(rows).axes
    assert ax.get_ylabel() == "MSE / MSE without fault"
    assert ax.lines[0].get_ydata().tolist() == [1, 2, 3, 4, 5, 6]


def test_the_figure_draws_references_in_grey_and_models_in_colour(runs: dict[str, Run]) -> None:
    from baselines.ablations.fault_figure import draw
    from csp_data.plot.style import COLOURS, GREYS

    rows = faulty([runs["fir"], runs["a"], runs["mean"]], faults=["noise"], draws=[0])
    twice = [dataclasses.replace(row, trained_lowpass="causal 2 Hz") for row in rows if row.model == "fir"]
    names = {run: runs[run].config.name for run in ("fir", "a", "mean")}
    for drawn, said in ((rows, ""), ([*rows, *twice], ", trained with low-pass none")):
        figure = draw(drawn)
        ((ax,), (legend,)) = figure.axes, figure.legends
        looks = {
            text.get_text(): (handle.get_color(), handle.get_marker())
            for text, handle in zip(legend.get_texts(), legend.get_lines(), strict=True)
            if not text.get_text().startswith("low-pass")
        }
        assert len(set(looks.values())) == len(looks) == len({(row.model, row.trained_lowpass) for row in drawn})
        assert looks[names["a"] + said][0] == COLOURS[0]
        assert {color for label, (color, _) in looks.items() if not label.startswith(names["a"])} == set(GREYS)
        for name in names.values():
            expected = [row.rmse for row in rows if row.model == name and row.as_trained]
            lines = [line for line in ax.get_lines() if np.array_equal(line.get_ydata(), expected)]
            assert looks[name + said] in [(line.get_color(), line.get_marker()) for line in lines]


def test_a_run_with_a_filter_of_its_own_is_also_shown_what_has_none(
    runs: dict[str, Run], tmp_path_factory: pytest.TempPathFactory
) -> None:
    from baselines.experiment import run
    from baselines.training.settings import TrainConfig

    filtered = csp_data.load("sample", lowpass=LowPass(hz=2))
    config = TrainConfig(window_s=10.0, window_stride_s=10.0)
    own, _ = run(filtered, "fir", config, tmp_path_factory.mktemp("filtered") / "fir", options={"taps": 20})
    rows = faulty([runs["fir"], own], faults=["noise"], lowpass=LowPass(hz=7))
    arms = {(row.trained_lowpass, row.lowpass, row.as_trained) for row in rows}
    assert arms == {
        ("none", "none", True),
        ("none", "causal 7 Hz", False),
        ("causal 2 Hz", "causal 2 Hz", True),
        ("causal 2 Hz", "none", False),
    }
    kept = {row.trained_lowpass: row.mse for row in rows if row.severity == 0 and row.as_trained}
    assert kept == {"none": runs["fir"].reported["mse"], "causal 2 Hz": own.reported["mse"]}
    worst = {row.trained_lowpass: row.ratio for row in rows if row.severity == 5 and row.as_trained}
    assert worst["causal 2 Hz"] < worst["none"]  # the filter averages white noise away


def test_white_noise_costs_a_linear_model_what_theory_says(runs: dict[str, Run]) -> None:
    """Excess error grows with the square of the noise: 4 times from 0.2 to 0.4 sigma."""
    rows = faulty([runs["fir"]], faults=["noise"], draws=range(4))
    own = [row for row in rows if row.as_trained]
    clean = next(row.mse for row in own if row.severity == 0)
    excess = [np.mean([row.mse - clean for row in own if row.severity == s]) for s in (4, 5)]
    assert excess[1] / excess[0] == pytest.approx(4, rel=0.25)


def test_the_command_writes_a_table_and_a_figure(
    runs: dict[str, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["faults", str(runs["a"].folder), "--faults", "jitter", "saturation", "--lowpass", "3",
          "--out", str(tmp_path / "out")])  # fmt: skip
    assert "jitter: MSE times up to" in capsys.readouterr().out
    with (tmp_path / "out" / "faults.csv").open() as file:
        reader = csv.DictReader(file)
        found = list(reader)
    assert tuple(reader.fieldnames or ()) == COLUMNS
    assert len(found) == 2 * 2 * 6
    assert {row["lowpass"] for row in found} == {"none", "causal 3 Hz"}
    assert {(row["fault"], row["value"]) for row in found if row["severity"] == "5"} == {
        ("jitter", "20.0"), ("saturation", "1.0"),
    }  # fmt: skip
    svg = (tmp_path / "out" / "faults.svg").read_text()
    for text in ("sample: real recordings, not CSP-Bench", "errors of sampling times (ms)", "RMSE (m/s)",
                 "low-pass none (as trained)", "low-pass causal 3 Hz (not trained on)"):  # fmt: skip
        assert text in svg
    main(["faults", str(runs["a"].folder), "--faults", "jitter", "--out", str(tmp_path / "out"), "--json"])
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 2 * 6
    main(
        ["faults", str(runs["fir"].folder), str(runs["mean"].folder), "--faults", "noise", "--out", str(tmp_path)]
    )
    (row,) = [row for row in faulty([runs["fir"]], faults=["noise"]) if row.severity == 5 and row.as_trained]
    assert row.ratio > 1.01  # what sees no input keeps its error, and comes last
    said = f"noise: MSE times up to {row.ratio:.2f} at 0.8 sigma (fir, seed 0)"
    assert capsys.readouterr().out.startswith(said)


def test_a_file_that_moved_is_given(
    runs: dict[str, Run], sample: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(runs["mean"].folder, folder)
    told = {**runs["mean"].environment, "prepared": str(tmp_path / "gone.h5")}
    (folder / "environment.json").write_text(json.dumps(told))
    asked = ["faults", str(folder), "--faults", "noise", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit):
        main(asked)
    assert "gone.h5" in (error := capsys.readouterr().err)
    assert "--data" in error
    main([*asked, "--data", str(shutil.copy(sample.path, tmp_path / "moved.h5"))])
    assert (tmp_path / "out" / "faults.csv").exists()
    other = csp_data.load("sample", input_deltas=False)
    with pytest.raises(OptionError, match=runs["a"].config.data.recipe_hash):
        faulty([runs["a"]], data=[other.path])


def test_what_cannot_be_evaluated_is_refused(
    runs: dict[str, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'noise'"):
        faulty([runs["a"]], faults=["nois"])
    with pytest.raises(OptionError, match="at least one run"):
        faulty([])
    with pytest.raises(OptionError, match="draws=-1: expected whole numbers of at least 0"):
        faulty([runs["a"]], draws=[0, -1])
    data = dataclasses.replace(runs["b"].config.data, kind="simulated")
    other = dataclasses.replace(runs["b"], config=dataclasses.replace(runs["b"].config, data=data))
    with pytest.raises(RunError, match=r"sample \(real recordings\) and sample \(simulated\)"):
        faulty([runs["a"], other])
    held = runs["b"].config.data
    data = dataclasses.replace(held, protocol={**held.protocol, "lowpass": {"hz": 5}, "resplit": {"share": 0.5}})
    other = dataclasses.replace(runs["b"], config=dataclasses.replace(runs["b"].config, data=data))
    with pytest.raises(RunError, match="differ in resplit"):
        faulty([runs["a"], other])
    data = dataclasses.replace(held, recipe_hash="0123")
    other = dataclasses.replace(runs["b"], config=dataclasses.replace(runs["b"].config, data=data))
    with pytest.raises(RunError, match=f"differ in their recipes, {held.recipe_hash} and 0123"):
        faulty([runs["a"], other])
    raw = Path(str(csp_data.info("sample").bundled))
    assert raw.name == "broad"
    tree = tmp_path / "raw"
    tree.mkdir()
    from csp_data.acquire.rawtree import raw_root

    for file in sorted(raw_root(csp_data.info("sample"), None).glob("*.hdf5"))[1:]:
        (tree / file.name).symlink_to(file)
    with pytest.raises(OptionError, match="was prepared from"):
        faulty([runs["a"]], raw=str(tree))
    with pytest.raises(SystemExit) as caught:
        main(["faults", str(runs["a"].folder), "--faults", "rust", "--out", str(tmp_path / "out")])
    assert caught.value.code == 2
    assert "There is no fault 'rust'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_inputs_become_features_as_in_training(sample: Dataset, held: RawPart) -> None:
    from baselines.training.data import load_part

    part = load_part(sample, "test")
    made = with_inputs(part, sample, held.inputs())
    assert bool((made.inputs == part.inputs).all())
    assert made.targets is part.targets
