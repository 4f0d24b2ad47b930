"""Predictions of recordings in no prepared file are those of the evaluation; with a truth, so are their errors."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import baselines
import csp_data
from baselines.cli import main
from baselines.errors import CspDataError, OptionError, UnknownNameError
from baselines.experiment import run
from baselines.prediction import _require_truth, chosen_recordings
from baselines.runs.interface import interface_of
from baselines.runs.run import Run
from baselines.trained import evaluate
from baselines.training.settings import TrainConfig
from csp_data import Dataset, LowPass, Protocol, Recording
from csp_data.acquire.rawtree import find_recordings, raw_root
from csp_data.authoring.template import new_source
from csp_data.card import load_card
from csp_data.errors import DamagedRecordingError
from csp_data.predictions import read_predictions

Rows = Callable[..., list[dict[str, str]]]


def without_truth(id_: str, protocol: Protocol | None = None) -> Recording:
    recording = csp_data.read_recording("sample", id_, protocol=protocol)
    return replace(recording, streams={n: s for n, s in recording.streams.items() if s.role == "input"})


@pytest.mark.parametrize("name", ["mean", "fir", "a"])
def test_predictions_are_those_of_the_evaluation(name: str, runs: dict[str, Run]) -> None:
    predictor = baselines.Predictor.of(runs[name].folder)
    for evaluated in read_predictions(runs[name].folder / "predictions.npz"):
        (prediction,) = predictor.predict(without_truth(evaluated.id))
        assert prediction.id == evaluated.id
        assert np.array_equal(prediction.time, evaluated.time)
        assert prediction.values == pytest.approx(evaluated.pred, rel=1e-5, abs=1e-5)


def test_whatever_the_protocol_does_to_recordings(tmp_path: Path) -> None:
    """A filter that looks ahead, a baseline, a clip, other rates: a run remembers them all."""
    dataset = csp_data.load(
        "sample",
        lowpass=LowPass(hz=4, phase="zero"),
        baseline="median",
        baseline_rows=30,
        raw_clip=9.0,
        clip=5.0,
        resample="mean",
        input_hz=40,
        target_hz=4,
        look_ahead_s=0.25,
        input_deltas=False,
    )
    options = {"dim": 8, "hidden": 8, "layers": 1}
    trained, _ = run(dataset, "flat-lstm", TrainConfig(epochs=1, window_s=5.0), tmp_path / "run", options=options)
    predictor = baselines.Predictor.of(trained)
    for evaluated in read_predictions(tmp_path / "run" / "predictions.npz"):
        (prediction,) = predictor.predict(without_truth(evaluated.id))
        assert np.array_equal(prediction.time, evaluated.time)
        assert prediction.values == pytest.approx(evaluated.pred, rel=1e-5, abs=1e-5)
    shipped = replace(baselines.load_pretrained("broad"), interface=interface_of(trained))
    assert baselines.Predictor.of(shipped).protocol == trained.protocol  # as its interface says


def test_the_model_that_ships_predicts_as_in_its_evaluation_or_as_a_stream(sample: Dataset) -> None:
    shipped = baselines.load_pretrained("broad")
    episode = sample.test[1]
    for window_s, given in ((20.0, "trained"), (None, None), (4.0, 4.0)):
        predictor = baselines.Predictor.of(shipped, window_s=given)
        (prediction,) = predictor.predict(without_truth(episode.id))
        assert np.array_equal(prediction.time, episode.target_time)
        expected = shipped.predict(episode.inputs, window_s=window_s)
        assert prediction.values == pytest.approx(expected, rel=1e-4, abs=1e-5)
    streamed = shipped.streamer().push(episode.inputs)
    (prediction,) = baselines.Predictor.of("pretrained:broad", window_s=None).predict(without_truth(episode.id))
    assert prediction.values == pytest.approx(streamed, rel=1e-4, abs=1e-5)


def test_samples_without_their_offset(tmp_path: Path) -> None:
    dataset = csp_data.load("sample", baseline="mean", baseline_rows=5)
    trained, _ = run(dataset, "fir", TrainConfig(), tmp_path / "run", options={"taps": 5})
    given = without_truth(dataset.test[0].id)
    offsets = {n: s.values[:5].mean(axis=0) for n, s in given.streams.items()}
    levelled = replace(
        given, streams={n: replace(s, values=s.values - offsets[n]) for n, s in given.streams.items()}
    )
    (usual,) = baselines.Predictor.of(trained).predict(given)
    (told,) = baselines.Predictor.of(trained, baseline="none").predict(levelled)
    (wrong,) = baselines.Predictor.of(trained, baseline="none").predict(given)
    assert told.values == pytest.approx(usual.values, rel=1e-5, abs=1e-6)
    assert np.abs(wrong.values - usual.values).max() > 0.05


def test_what_is_refused(runs: dict[str, Run]) -> None:
    given = without_truth("02_undisturbed_slow_rotation_B")
    names = [name for name in given.streams if name != "gyroscope"]
    predictor = baselines.Predictor.of(runs["a"])
    with pytest.raises(CspDataError, match="channel 'gyr_x' is in none of its input streams"):
        predictor.predict(replace(given, streams={name: given.streams[name] for name in names}))
    short = {name: stream.select(slice(0, 40)) for name, stream in given.streams.items()}
    with pytest.raises(CspDataError, match=r"nothing to predict, since no stretch fills a step of 0\.2 s"):
        predictor.predict(replace(given, streams=short, active=None))
    for option, value in (("window_s", "5"), ("window_s", 0.3), ("baseline", "first")):
        with pytest.raises(OptionError, match=option):
            baselines.Predictor.of(runs["a"], **{option: value})  # type: ignore[arg-type]


def test_masked_values_are_none(runs: dict[str, Run]) -> None:
    """What lies under the mask was taken for measured."""
    given, predictor = without_truth("02_undisturbed_slow_rotation_B"), baselines.Predictor.of(runs["a"])
    stream = given.streams["accelerometer"]
    lost = np.arange(len(stream.time)) == len(stream.time) // 2
    masked = np.ma.masked_array(stream.values, np.repeat(lost[:, None], stream.values.shape[1], axis=1))
    streams = {**given.streams, "accelerometer": replace(stream, values=masked)}
    with pytest.raises(DamagedRecordingError, match="found nan"):
        predictor.predict(replace(given, streams=streams))


@pytest.fixture(scope="module")
def walk() -> Recording:
    """A recording at 286 Hz, with a gap of two seconds."""
    given = without_truth("33_disturbed_attached_magnet_2cm")
    streams = {}
    for name in ("accelerometer", "gyroscope"):
        time = given.streams[name].time
        streams[name] = given.streams[name].select((time < 8) | (time > 10))
    return replace(given, id="walk", streams=streams, active=None)


def table(recording: Recording, form: str = "csv", time: bool = True) -> str:
    """The recording as a file of samples; columns in another order, and one that nobody knows."""
    streams = [recording.streams[name] for name in ("gyroscope", "accelerometer")]
    names = [*(channel for stream in streams for channel in stream.channels), "temperature"]
    values = np.concatenate([stream.values for stream in streams], axis=1)
    rows = np.column_stack([values, np.full(len(values), 21.5)])
    if time:
        names, rows = ["time", *names], np.column_stack([streams[0].time, rows])
    if form == "jsonl":
        return "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows.tolist())
    return "\n".join([",".join(names), *(",".join(map(repr, row)) for row in rows.tolist())]) + "\n"


@pytest.fixture
def predicted(capfd: pytest.CaptureFixture[str]) -> Rows:
    """The rows that the command prints."""

    def rows(*arguments: object) -> list[dict[str, str]]:
        capfd.readouterr()
        main(["predict", *map(str, arguments)])
        out, err = capfd.readouterr()
        sys.stderr.write(err)  # for the test to look at
        return list(csv.DictReader(io.StringIO(out)))

    return rows


def agree(rows: list[dict[str, str]], walk: Recording, run: Run | str, id_: str = "walk") -> None:
    """Whether rows are the predictions of the recording, in order."""
    predictions = baselines.Predictor.of(run if isinstance(run, str) else run.folder).predict(walk)
    assert [row["recording"] for row in rows] == [
        f"{id_}.{i}" for i, p in enumerate(predictions, 1) for _ in p.time
    ]
    time = np.concatenate([p.time for p in predictions])
    values = np.concatenate([p.values for p in predictions])
    assert np.array([row["time"] for row in rows], dtype=float) == pytest.approx(time, abs=1e-9)
    for column, name in enumerate(("vel_x", "vel_y", "vel_z")):
        assert np.array([row[name] for row in rows], dtype=float) == pytest.approx(values[:, column], rel=1e-6)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_files_of_samples(
    form: str,
    walk: Recording,
    runs: dict[str, Run],
    tmp_path: Path,
    predicted: Rows,
    capfd: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / f"walk.{form}"
    file.write_text(table(walk, form))
    rows = predicted(runs["a"].folder, file)
    assert "walk: gap ends an episode: 2.006 s at 7.997 s" in capfd.readouterr().err
    agree(rows, walk, runs["a"])


def test_several_files_and_the_standard_input(
    walk: Recording, tmp_path: Path, predicted: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "a" / "walk.csv", tmp_path / "b" / "walk.csv"
    for file in (first, second):
        file.parent.mkdir()
        file.write_text(table(walk))
    rows = predicted("pretrained:broad", first, second)
    half = len(rows) // 2
    agree(rows[:half], walk, "pretrained:broad", str(first))
    agree(rows[half:], walk, "pretrained:broad", str(second))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(table(walk).encode())))
    agree(predicted("pretrained:broad", "-"), walk, "pretrained:broad", "stdin")


def test_a_file_of_predictions_is_there_whole_or_not_at_all(
    walk: Recording, tmp_path: Path, predicted: Rows
) -> None:
    (tmp_path / "walk.csv").write_text(table(walk))
    (tmp_path / "bad.csv").write_text(table(walk) + "1,2\n")
    out = tmp_path / "predictions.jsonl"
    with pytest.raises(SystemExit, match="1"):
        main(
            ["predict", "pretrained:broad", *(str(tmp_path / f"{n}.csv") for n in ("walk", "bad")), "-o", str(out)]
        )
    assert not list(tmp_path.glob("*predictions*"))
    expected = predicted("pretrained:broad", tmp_path / "walk.csv")
    assert predicted("pretrained:broad", tmp_path / "walk.csv", "-o", out, "--format", "jsonl") == []
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["recording"] for row in rows] == [row["recording"] for row in expected]
    for name in ("time", "vel_x", "vel_y", "vel_z"):
        assert [row[name] for row in rows] == pytest.approx([float(row[name]) for row in expected], rel=1e-8)


def test_without_times_samples_are_as_far_apart_as_in_training(
    sample: Dataset, tmp_path: Path, predicted: Rows, capfd: pytest.CaptureFixture[str]
) -> None:
    """The grid begins at the first sample, whose value is that of no step of its own."""
    episode = sample.test[0]
    lines = [",".join(sample.channels.names), *(",".join(map(repr, row)) for row in episode.inputs.tolist())]
    (tmp_path / "walk.csv").write_text("\n".join(lines) + "\n")
    rows = predicted("pretrained:broad", tmp_path / "walk.csv", "--whole")
    said = "walk.csv: no column time; its samples are taken to be 0.02 s apart, as in training"
    assert said in capfd.readouterr().err
    shipped = baselines.load_pretrained("broad")
    expected = shipped.predict(episode.inputs[1:])
    assert np.array([[row[c] for c in ("vel_x", "vel_y", "vel_z")] for row in rows], float) == pytest.approx(
        expected[: len(rows)], rel=1e-4, abs=1e-5
    )
    assert len(rows) == (len(episode.inputs) - 1) // 10


HEADER = "acc_x,acc_y,acc_z,gyr_x,gyr_y,gyr_z"
VALUES = "0,0,9.8,0,0,0.1"


def timed(*times: object) -> str:
    return "".join(f"{line}\n" for line in (f"time,{HEADER}", *(f"{time},{VALUES}" for time in times)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "walk.csv: no sample. Expected a header"),
        ("time,acc_x\n", f"walk.csv, line 1: expected a CSV header with the channels {HEADER}"),
        (
            timed(0) + f"0.1,{VALUES[:-3]}nan\n",
            "walk.csv, line 3: expected a finite number for gyr_z, found 'nan'.\n",
        ),
        (timed(0, ""), "walk.csv: sample 2 is without a time, the ones before it are with one"),
        (timed("", 0), "walk.csv: sample 2 is with a time, the ones before it are without one"),
        (timed(0) + "1,2\n", "walk.csv, line 3: expected 7 values"),
        (timed(*range(0, 3600, 12)), "looks like milliseconds"),
        (timed(*[5] * 300), "a clock that goes on"),
        (timed(0, 0.02), "nothing to predict"),
        *(
            (
                timed(0).replace("time", name),
                f"line 1: expected times in seconds, named time, found {name}. Call it so",
            )
            for name in ("Time (s)", "timestamp", "SampleTimeFine", "seconds_elapsed", "t")
        ),
        (
            '{"t": 5, "acc_x": 1, "acc_y": 1, "acc_z": 1, "gyr_x": 1, "gyr_y": 1, "gyr_z": 1}',
            "named time, found t.",
        ),
        (
            "// MT Manager\n",
            "Files of another layout are read by the reader of a data set: --dataset and --raw.\n",
        ),
    ],
)
def test_files_that_are_no_recording(
    text: str, message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "walk.csv").write_text(text)
    with pytest.raises(SystemExit):
        main(["predict", "pretrained:broad", str(tmp_path / "walk.csv")])
    out, err = capfd.readouterr()
    assert out == ""
    assert message in err


def test_values_that_contradict_the_unit_of_the_training_are_noticed(
    walk: Recording, tmp_path: Path, predicted: Rows, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "walk.csv"
    path.write_text(table(walk))
    predicted("pretrained:broad", path)
    assert "looks like" not in capfd.readouterr().err
    in_degrees = replace(walk.streams["gyroscope"], values=np.degrees(walk.streams["gyroscope"].values))
    path.write_text(table(replace(walk, streams={**walk.streams, "gyroscope": in_degrees})))
    assert predicted("pretrained:broad", path)
    said = capfd.readouterr().err
    assert "walk.csv: gyr_x, gyr_y, gyr_z: 1 % of the norms are above" in said
    assert "that looks like deg/s" in said
    assert "acc_x" not in said


def test_of_several_recordings_short_ones_are_left_out_and_damaged_ones_on_request(
    walk: Recording, tmp_path: Path, predicted: Rows, capfd: pytest.CaptureFixture[str]
) -> None:
    files = {"short": timed(0, 0.02), "bad": timed(0) + "1,2\n", "other": "time;x\n", "walk": table(walk)}
    paths = {name: tmp_path / f"{name}.csv" for name in files}
    for name, path in paths.items():
        path.write_text(files[name])
    agree(predicted("pretrained:broad", paths["short"], paths["walk"]), walk, "pretrained:broad")
    assert f"left out: {paths['short']}: nothing to predict" in capfd.readouterr().err
    with pytest.raises(SystemExit):
        main(["predict", "pretrained:broad", str(paths["bad"]), str(paths["walk"])])
    assert "expected 7 values" in (said := capfd.readouterr().err)
    assert "--skip-damaged lists them" in said
    agree(predicted("pretrained:broad", *paths.values(), "--skip-damaged"), walk, "pretrained:broad")
    said = capfd.readouterr().err
    assert [said.count(f"left out: {path}") for path in paths.values()] == [1, 1, 1, 0]
    with pytest.raises(SystemExit):
        main(["predict", "pretrained:broad", str(paths["short"]), str(paths["bad"]), "--skip-damaged"])
    out, err = capfd.readouterr()
    assert (out, err.splitlines()[-1].count("nothing to predict")) == ("", 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either files of recordings, or --dataset"),
        (["walk.csv", "--dataset", "sample"], "either files of recordings, or --dataset"),
        (["walk.csv", "--raw", "here"], "--dataset too"),
        (["walk.csv", "--recording", "here"], "--dataset too"),
        (["nowhere.csv"], "nowhere.csv"),
        (["--dataset", "sample", "--recording", "nobody"], "no recording 'nobody' of sample"),
    ],
)
def test_what_is_asked_for_wrongly(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["predict", "pretrained:broad", *arguments])
    out, err = capfd.readouterr()
    assert out == ""
    assert message in err


def test_recordings_of_a_reader_of_ones_own_without_its_truth(tmp_path: Path, predicted: Rows) -> None:
    folder = new_source("cart", tmp_path / "cart")
    main(["train", str(folder), "fir", "--set", "taps=5", "--out", str(tmp_path / "run")])
    new = tmp_path / "new"
    shutil.copytree(folder / "recordings", new)
    for truth in new.glob("*/truth.csv"):
        truth.unlink()
    rows = predicted(tmp_path / "run", "--dataset", folder, "--raw", new)
    assert len({row["recording"] for row in rows}) == 4
    for evaluated in read_predictions(tmp_path / "run" / "predictions.npz"):
        own = {round(float(row["time"]), 6): row for row in rows if row["recording"] == evaluated.id}
        # sensor and truth do not begin together: without a truth there are more steps, on a grid of their own
        (prediction,) = baselines.Predictor.of(tmp_path / "run").predict(
            csp_data.read_recording(folder, evaluated.id, raw=new)
        )
        assert [round(float(time), 6) for time in prediction.time] == list(own)
        assert len(own) >= len(evaluated.time)
    alone = predicted(tmp_path / "run", "--dataset", folder, "--raw", new, "--recording", rows[-1]["recording"])
    assert alone == [row for row in rows if row["recording"] == rows[-1]["recording"]]


def test_errors_on_recordings_of_the_test_part_are_those_of_its_evaluation(
    sample: Dataset, runs: dict[str, Run], capfd: pytest.CaptureFixture[str]
) -> None:
    ids = list(dict.fromkeys(row.recording for row in sample.test.rows))
    capfd.readouterr()
    main(["eval", str(runs["a"].folder), "--dataset", "sample", "--recording", *ids, "--json"])
    found = json.loads(capfd.readouterr().out)
    assert found.pop("run") == str(runs["a"].folder)
    assert (found.pop("dataset"), found.pop("kind")) == ("sample", "real recordings")
    assert found == evaluate(runs["a"], sample, "test")
    baselines.Predictor.of(runs["a"]).evaluate("sample", recordings=ids, progress=True)
    assert f"read sample: 100%|██████████| {len(ids)}/{len(ids)}" in capfd.readouterr().err


def test_predicting_shows_how_far_it_is_unless_predictions_go_to_the_terminal(
    runs: dict[str, Run], terminal: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    program = (sys.executable, "-m", "baselines", "predict", str(runs["mean"].folder), "--dataset", "sample")
    code, shown = terminal(program, "-o", str(tmp_path / "predictions.csv"))
    assert (code, "predict: 100%" in shown) == (0, True)
    code, shown = terminal(program)
    assert (code, "predict:" in shown) == (0, False)


def test_errors_on_new_recordings_are_those_by_hand(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A cart that swings as none of the training did, its truth from a formula; one recording has a gap."""
    folder = new_source("wagon", tmp_path / "wagon")
    main(["train", str(folder), "fir", "--set", "taps=5", "--out", str(tmp_path / "run")])
    new = tmp_path / "new"
    for name, hz, gap in (("monday", 0.3, (9, 9)), ("tuesday", 0.7, (6.1, 7.9))):
        (new / name).mkdir(parents=True)
        for file, column, rate, values in (
            ("sensor", "acc_x", 100, lambda t, w: -0.4 * w**2 * np.sin(w * t)),
            ("truth", "pos_x", 50, lambda t, w: 0.4 * np.sin(w * t)),
        ):
            time = np.arange(12 * rate + 1) / rate
            time = time[(time <= gap[0]) | (time >= gap[1])]
            rows = np.column_stack([time, values(time, 2 * np.pi * hz)])
            header = f"time,{column}"
            np.savetxt(new / name / f"{file}.csv", rows, fmt="%.9f", delimiter=",", header=header, comments="")
    main(["eval", str(tmp_path / "run"), "--dataset", str(folder), "--raw", str(new), "--predictions", str(new)])
    printed = capfd.readouterr().out
    predictor = baselines.Predictor.of(tmp_path / "run")
    metrics = predictor.evaluate(folder, raw=new)
    kept = read_predictions(new / "predictions.npz")
    assert [p.id for p in kept] == ["monday", "tuesday.1", "tuesday.2"]
    predicted = {p.id: p for id_ in ("monday", "tuesday") for p in predictor.predict(read(folder, id_, new))}
    squares = []
    for p in kept:
        position = lambda t, w=2 * np.pi * (0.3 if p.id == "monday" else 0.7): 0.4 * np.sin(w * t)  # noqa: E731
        velocity = (position(p.time) - position(p.time - 0.2)) / 0.2
        assert p.true[:, 0] == pytest.approx(velocity, abs=0.02)  # edges between two samples are interpolated
        assert p.pred == pytest.approx(predicted[p.id].values, rel=1e-5, abs=1e-5)
        squares.append(np.square(p.true - p.pred).ravel())
        assert metrics["episodes"][p.id]["mse"] == pytest.approx(squares[-1].mean())
    mse = np.concatenate(squares).mean()
    assert metrics["mse"] == pytest.approx(mse)
    assert metrics["recordings"]["tuesday"]["mse"] == pytest.approx(np.concatenate(squares[1:]).mean())
    assert f"2 recordings of wagon (simulated): MSE {mse:.5f} (m/s)²" in printed


def read(folder: Path, id_: str, raw: Path) -> Recording:
    """A recording of a data set of one's own, without its truth."""
    recording = csp_data.read_recording(folder, id_, raw=raw)
    return replace(recording, streams={n: s for n, s in recording.streams.items() if s.role == "input"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--raw", "here"], "--raw here: expected --dataset too"),
        (["--recording", "a"], "--recording a: expected --dataset too"),
        (["--dataset", "sample"], "--raw is missing: expected a folder, or recordings by name"),
        (["--dataset", "sample", "--part", "val", "--raw", "x"], "--part val: expected nothing with --dataset"),
        (["--dataset", "sample", "--recording", "nobody"], "no recording 'nobody' of sample"),
        (["--dataset", "{eflesh}", "--recording", "{one}"], "its inputs are"),
    ],
)
def test_what_cannot_be_evaluated(arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    eflesh = Path(csp_data.__file__).parents[1] / "examples" / "eflesh"
    one = csp_data.read_recording(eflesh).id
    with pytest.raises(SystemExit):
        main(["eval", "pretrained:broad", *(a.format(eflesh=eflesh, one=one) for a in arguments)])
    out, err = capfd.readouterr()
    assert out == ""
    assert message in err


def test_without_a_truth_there_is_no_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = new_source("lorry", tmp_path / "lorry")
    main(["train", str(folder), "fir", "--set", "taps=5", "--out", str(tmp_path / "run")])
    new = tmp_path / "new"
    shutil.copytree(folder / "recordings", new)
    (new / "r2" / "truth.csv").unlink()
    capfd.readouterr()
    with pytest.raises(SystemExit):
        main(["eval", str(tmp_path / "run"), "--dataset", str(folder), "--raw", str(new)])
    said = (
        "recording r2: expected its position, of which the truth is made, found none. csp-baselines predict does"
    )
    assert said in capfd.readouterr().err


def test_of_what_a_truth_is_made_are_references_alone() -> None:
    """A protocol need not use every input."""
    card, recording = load_card("sample"), csp_data.read_recording("sample")
    truth = {name: stream for name, stream in recording.streams.items() if stream.role == "reference"}
    _require_truth(card, replace(recording, streams=truth))
    with pytest.raises(DamagedRecordingError, match=f"expected its {next(iter(truth))}, of which"):
        _require_truth(card, without_truth(recording.id))


def test_a_model_starts_afresh_as_in_its_training(runs: dict[str, Run]) -> None:
    """Training has windows of its own, or those that its data were cut into; the sample has 5 targets a second."""

    def window(train_s: float | None, cut_s: float | None, asked: float | str | None = "trained") -> int | None:
        config = runs["a"].config
        cut = None if cut_s is None else csp_data.Window(cut_s, cut_s)
        protocol = csp_data.Protocol.from_json(json.dumps(config.data.protocol)).replace(window=cut)
        data = replace(config.data, protocol=json.loads(protocol.to_json()))
        changed = replace(config, data=data, train=replace(config.train, window_s=train_s, window_stride_s=None))
        return baselines.Predictor.of(replace(runs["a"], config=changed), window_s=asked).window

    assert [window(2, None), window(None, 4), window(2, 4), window(None, None)] == [10, 20, 10, None]
    assert [window(None, 4, None), window(2, None, 3)] == [None, 15]


def test_recordings_of_a_reader_that_are_damaged_are_left_out_on_request(
    tmp_path: Path, predicted: Rows, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = new_source("dray", tmp_path / "dray")
    main(["train", str(folder), "fir", "--set", "taps=5", "--out", str(tmp_path / "run")])
    shutil.copytree(folder / "recordings", new := tmp_path / "new")
    sensor = new / "r1" / "sensor.csv"
    sensor.write_text(sensor.read_text().replace(",", ",x", 5))
    (new / "r2" / "truth.csv").unlink()
    given = ["--dataset", str(folder), "--raw", str(new)]
    for command in ("predict", "eval"):
        with pytest.raises(SystemExit):
            main([command, str(tmp_path / "run"), *given])
        assert "--skip-damaged" in capfd.readouterr().err
    rows = predicted(tmp_path / "run", *given, "--skip-damaged")
    assert list(dict.fromkeys(row["recording"] for row in rows)) == ["r0", "r2", "r3"]
    assert f"left out: {sensor}" in capfd.readouterr().err
    errors = {}
    for chosen in (["--skip-damaged"], ["--recording", "r0", "r3"]):
        main(["eval", str(tmp_path / "run"), *given, *chosen, "--json"])
        out, err = capfd.readouterr()
        errors[chosen[0]] = json.loads(out)
        skipped = [id_ for id_ in ("r0", "r1", "r2", "r3") if f"{id_}: damaged recording skipped" in err]
        assert skipped == (["r1", "r2"] if chosen == ["--skip-damaged"] else [])
    assert errors["--skip-damaged"] == errors["--recording"]
    with pytest.raises(SystemExit):
        main(["eval", str(tmp_path / "run"), *given, "--recording", "r1", "--skip-damaged"])
    assert f"nothing to evaluate; damaged recording skipped: {sensor}" in capfd.readouterr().err
    with pytest.raises(SystemExit):
        main(["eval", str(tmp_path / "run"), "--skip-damaged"])
    assert "--dataset too" in capfd.readouterr().err


def test_recordings_with_other_bytes_than_the_publishers_are_left_out_on_request(
    sample: Dataset, tmp_path: Path, predicted: Rows, capfd: pytest.CaptureFixture[str]
) -> None:
    ids = list(dict.fromkeys(row.recording for row in sample.test.rows))[:2]
    shutil.copytree(raw_root(sample.card, None), root := tmp_path / "raw")
    (changed,) = (found.files[0] for found in find_recordings(sample.card, root) if found.id == ids[0])
    content = bytearray(changed.read_bytes())
    content[len(content) // 2] ^= 1
    changed.write_bytes(content)
    given = ["--dataset", "sample", "--raw", str(root), "--recording", *ids]
    with pytest.raises(SystemExit):
        main(["predict", "pretrained:broad", *given])
    assert "1 of " in capfd.readouterr().err
    rows = predicted("pretrained:broad", *given, "--skip-damaged")
    assert {row["recording"].removesuffix(".1") for row in rows} == {ids[1]}
    assert f"{ids[0]}: damaged recording skipped" in capfd.readouterr().err


def test_recordings_are_chosen_by_id_or_pattern(sample: Dataset) -> None:
    def chosen(*ids: str) -> list[str]:
        found, _ = chosen_recordings(sample.card, raw_root(sample.card, None), ids)
        return [recording.id for recording in found]

    every = chosen()
    slow = [id_ for id_ in every if "_slow_" in id_]
    assert 1 < len(slow) < len(every)
    assert chosen("*_slow_*") == slow
    assert chosen(every[-1], "*_slow_*", every[-1]) == list(dict.fromkeys([every[-1], *slow]))
    with pytest.raises(UnknownNameError, match=r"no recording 'slow_\*' of sample"):
        chosen("slow_*")


def test_another_target_in_the_same_unit_is_refused(runs: dict[str, Run]) -> None:
    """Velocity in another frame has the same channels and units."""
    predictor = baselines.Predictor.of(runs["fir"].folder)
    predictor.protocol = predictor.protocol.replace(target="velocity-in-start-frame")
    with pytest.raises(CspDataError, match="its target is velocity-in-start-frame"):
        predictor.evaluate("sample", recordings=["03_undisturbed_slow_rotation_C"])


def test_recordings_that_the_run_has_seen_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the folder: by their bytes. A new recording may have the name of an old one."""
    folder = new_source("barrow", tmp_path / "barrow")
    dataset = csp_data.load(folder)
    trained, _ = run(dataset, "mean", TrainConfig(), tmp_path / "run")
    (tested,) = {row.recording for row in dataset.test.rows}
    first, *others = (row.recording for part in (dataset.train, dataset.val) for row in part.rows)
    shutil.copytree(folder / "recordings", new := tmp_path / "new")
    sensor = new / first / "sensor.csv"
    sensor.write_text(sensor.read_text().replace("\n0.00,-", "\n0.00,"))
    predictor = baselines.Predictor.of(trained)
    predictor.evaluate(folder, raw=new)
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith(f"the run seems to be trained or chosen on {len(others)} of these 4 recordings")
    assert set(warning.rpartition(": ")[2].split(", ")) == set(others)
    caplog.clear()
    predictor.evaluate(folder, raw=new, recordings=[tested, first])
    predictor.evaluate(folder, recordings=[tested])
    baselines.Predictor.of("pretrained:broad").evaluate("sample", recordings=["03_undisturbed_slow_rotation_C"])
    dataset.path.unlink()
    predictor.evaluate(folder, raw=new)  # nobody knows
    assert not caplog.records


def test_recordings_that_a_shipped_model_has_seen_are_named(caplog: pytest.LogCaptureFixture) -> None:
    """By their ids, which is all that its file says of them."""
    trained, chosen = "02_undisturbed_slow_rotation_B", "12_undisturbed_slow_translation_C"
    tested = "03_undisturbed_slow_rotation_C"  # as the model's card says
    baselines.Predictor.of("pretrained:broad").evaluate("sample", recordings=[tested, trained, chosen])
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith("the model seems to be trained or chosen on 2 of these 3 recordings")
    assert set(warning.rpartition(": ")[2].split(", ")) == {trained, chosen}


def test_a_recording_is_seen_if_a_piece_of_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its pieces are in test, train and test: the last was taken for all of it."""
    dataset = csp_data.load("sample", resplit={"neighbours": "both"}, max_duration_s=30)
    pieces = [row.split for row in dataset.episodes if row.recording == "03_undisturbed_slow_rotation_C"]
    assert pieces == ["test", "train", "test"]
    trained, _ = run(dataset, "mean", TrainConfig(), tmp_path / "run")
    baselines.Predictor.of(trained).evaluate("sample", recordings=["03_undisturbed_slow_rotation_C"])
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.endswith("03_undisturbed_slow_rotation_C")
