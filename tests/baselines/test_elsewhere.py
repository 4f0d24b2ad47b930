"""Predictions that were made elsewhere: errors as of any run, and a run beside the others."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import baselines
import csp_data
from baselines.cli import main
from baselines.elsewhere import read_csv
from baselines.errors import OptionError, UnknownNameError
from baselines.runs.run import Run, RunError
from baselines.tables.render import notes
from baselines.trained import load_model
from csp_data import Dataset
from csp_data.predictions import PredictionsError

Arrays = dict[str, np.ndarray]
OFF = np.array([0.1, -0.2, 0.3])
"""What made-up predictions are off by, so that their errors can be told without computing them from data."""
ASKED: dict[str, Any] = {"name": "ridge", "parameters": 903, "seconds": 2.5}


@pytest.fixture
def predictions(sample: Dataset) -> Arrays:
    parts = (sample.split(part) for part in sample.parts[1:])
    return {episode.id: episode.targets.astype(float) + OFF for part in parts for episode in part}


def write_csv(path: Path, sample: Dataset, predictions: Arrays, moved: float = 0.0) -> Path:
    times = {e.id: e.target_time for part in sample.parts for e in sample.split(part)}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "note", "vel_z", "episode", "vel_x", "vel_y"])
        for id_, values in predictions.items():
            for time, (x, y, z) in zip(times[id_], values, strict=True):
                writer.writerow([time + moved, "", z, id_, x, y])
    return path


def test_errors_are_those_that_were_put_in(sample: Dataset, predictions: Arrays) -> None:
    for part in ("val", "test"):
        errors = baselines.score(sample, predictions, part)
        np.testing.assert_allclose(errors["mse"], np.square(OFF).mean(), rtol=1e-9)
        np.testing.assert_allclose([c["mae"] for c in errors["channels"].values()], np.abs(OFF), rtol=1e-9)
        assert errors["channels"].keys() == set(sample.targets.names)
        assert [*errors["episodes"]] == [row.id for row in sample.split(part).rows]
    assert baselines.score(sample, predictions) == baselines.score(sample, predictions, sample.report)


def test_errors_are_those_of_a_run_with_the_same_predictions(sample: Dataset, runs: dict[str, Run]) -> None:
    run = runs["fir"]
    errors = baselines.score(sample, {p.id: p.pred for p in run.predictions})
    own = {name: value for name, value in run.reported.items() if name != "predict_seconds"}

    def compare(one: Any, other: Any) -> None:
        if isinstance(one, dict):
            assert one.keys() == other.keys()
            for name in one:
                compare(one[name], other[name])
        else:
            assert one == (other if isinstance(other, str | None) else pytest.approx(other, rel=1e-5))

    compare(errors, own)


def test_a_run_of_predictions_stands_in_tables_and_reports(
    sample: Dataset, predictions: Arrays, runs: dict[str, Run], tmp_path: Path
) -> None:
    seeds = [
        baselines.record(
            sample,
            {id_: torch.from_numpy(values + seed) for id_, values in predictions.items()},
            tmp_path / f"ridge-{seed}",
            **ASKED,
            seed=seed,
            window_s=10.0,
            settings={"taps": 50},
            about="scikit-learn, Ridge",
        )
        for seed in (0, 1)
    ]
    table = baselines.make_table([*seeds, runs["mean"], runs["fir"]])
    row = next(row for row in table.rows if row.model == "own-ridge")
    expected = [np.square(OFF + seed).mean() for seed in (0, 1)]
    np.testing.assert_allclose([row.test_mse, row.val_mse], [np.mean(expected)] * 2, rtol=1e-9)
    assert (row.parameters, row.seconds, row.seeds, row.kind) == (903, 2.5, (0, 1), "own")
    assert table.context == (10.0,)
    assert table.elsewhere == ("own-ridge",)
    assert table.against == "own-ridge"  # the learned one
    assert any("own-ridge: predictions that were made elsewhere" in note for note in notes(table))
    assert not baselines.make_table([runs["mean"], runs["fir"]]).elsewhere
    main(["report", *(str(run.folder) for run in (*seeds, runs["a"])), "-o", str(tmp_path / "report.html")])
    page = (tmp_path / "report.html").read_text()
    assert "own-ridge" in page
    assert "scikit-learn, Ridge" in page
    assert seeds[0].predictions[0].id == runs["a"].predictions[0].id


def test_there_is_no_model_to_load(sample: Dataset, predictions: Arrays, tmp_path: Path) -> None:
    run = baselines.record(sample, predictions, tmp_path / "run", **ASKED)
    for use in (load_model, baselines.Predictor.of, lambda run: baselines.evaluate(run, sample)):
        with pytest.raises(RunError, match="holds predictions that were made elsewhere, and no model"):
            use(run)


def test_the_same_predictions_are_kept_and_others_refused(
    sample: Dataset, predictions: Arrays, tmp_path: Path
) -> None:
    first = baselines.record(sample, predictions, tmp_path / "run", **ASKED)
    times = {path.name: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    assert baselines.record(sample, predictions, tmp_path / "run", **ASKED) == first
    assert {path.name: path.stat().st_mtime_ns for path in first.folder.iterdir()} == times
    other = {id_: values + 1 for id_, values in predictions.items()}
    with pytest.raises(RunError, match="holds other predictions of own-ridge with seed 0"):
        baselines.record(sample, other, tmp_path / "run", **ASKED)
    with pytest.raises(RunError, match=r"train\.seed"):
        baselines.record(sample, other, tmp_path / "run", **ASKED, seed=1)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda values: values[:-1], PredictionsError, r"expected predictions \(\d+, 3\), a row for each of"),
        (lambda values: values[:, :2], PredictionsError, r"a column for each of vel_x, vel_y, vel_z, found"),
        (
            lambda values: np.where(np.arange(len(values))[:, None] == 7, np.nan, values),
            PredictionsError,
            "step 7",
        ),
        (lambda values: np.ma.masked_greater(values, values.max() - 1e-9), PredictionsError, "is not finite"),
        (lambda values: "all of them", PredictionsError, "expected an array of numbers"),
        (lambda values: None, PredictionsError, r"1 of \d+ episodes of test have no predictions, such as 03_"),
    ],
)
def test_predictions_that_cannot_be_scored(
    sample: Dataset,
    predictions: Arrays,
    tmp_path: Path,
    change: Callable[[np.ndarray], Any],
    error: type[Exception],
    message: str,
) -> None:
    id_ = sample.test[0].id
    changed = {**predictions, id_: change(predictions[id_])}
    if changed[id_] is None:
        del changed[id_]
    with pytest.raises(error, match=message):
        baselines.score(sample, changed)
    with pytest.raises(error, match=message):
        baselines.record(sample, changed, tmp_path / "run", **ASKED)
    assert not (tmp_path / "run").exists()


def test_names_and_numbers_of_a_run_are_checked(sample: Dataset, predictions: Arrays, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="There is no episode '04' of sample"):
        baselines.score(sample, {**predictions, "04": OFF})
    for changed in (
        {"name": "my model"},
        {"parameters": 1.5},
        {"parameters": -1},
        {"seconds": -1.0},
        {"seed": -1},
    ):
        with pytest.raises(OptionError, match=f"{next(iter(changed))}="):
            baselines.record(sample, predictions, tmp_path / "run", **{**ASKED, **changed})
    assert not (tmp_path / "run").exists()


def test_a_csv_file_is_read_by_names_and_times(sample: Dataset, predictions: Arrays, tmp_path: Path) -> None:
    shuffled = dict(reversed(predictions.items()))
    path = write_csv(tmp_path / "p.csv", sample, shuffled, moved=0.01)
    header, *lines = path.read_text().splitlines()
    text = "\n".join([header, *np.random.default_rng(0).permutation(lines)])
    for written in (text, text.replace(",", ", "), "\ufeff" + text.replace("\n", "\r\n")):  # as other programs do
        path.write_text(written, encoding="utf-8", newline="")
        read = read_csv(path, sample)
        assert read.keys() == predictions.keys()
        for id_, values in predictions.items():
            np.testing.assert_array_equal(read[id_], values)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", PredictionsError, "found none; episode is missing"),
        ("episode,time,vel_x,vel_y\n", PredictionsError, "vel_z is missing"),
        (
            "episode;time;vel_x;vel_y;vel_z\n",
            PredictionsError,
            "separated by commas, found .*; episode is missing",
        ),
        ("# by R\nepisode,time,vel_x,vel_y,vel_z\n", PredictionsError, "expected a first line .*, found # by R;"),
        ("episode,time,vel_x,vel_y,vel_z\n", PredictionsError, "holds no predictions"),
        ("episode,time,vel_x,vel_y,vel_z\n03,0.2,1,2,x\n", PredictionsError, "line 2: could not convert"),
        ("episode,time,vel_x,vel_y,vel_z\n03,0.2,1,2\n", PredictionsError, "line 2"),
        ("episode,time,vel_x,vel_y,vel_z\n03,0.2,1,2,3\n", UnknownNameError, "There is no episode '03' of sample"),
    ],
)
def test_a_csv_file_that_cannot_be_read(
    sample: Dataset, tmp_path: Path, text: str, error: type[Exception], message: str
) -> None:
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(error, match=message):
        read_csv(path, sample)
    with pytest.raises(PredictionsError, match="cannot be read"):
        read_csv(tmp_path / "nowhere.csv", sample)


@pytest.mark.parametrize("packed", [lambda text: text.encode("utf-16"), lambda text: gzip.compress(text.encode())])
def test_a_file_that_is_not_utf_8_is_told(sample: Dataset, tmp_path: Path, packed: Callable[[str], bytes]) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(packed("episode,time,vel_x,vel_y,vel_z\n03,0.2,1,2,3\n"))
    with pytest.raises(PredictionsError, match=r"p\.csv: is not text in UTF-8\. Save it as CSV in UTF-8, not"):
        read_csv(path, sample)


def test_messages_tell_times_of_clocks_that_count_from_1970_apart(
    sample: Dataset, predictions: Arrays, tmp_path: Path
) -> None:
    shutil.copy(sample.path, tmp_path / "late.h5")
    with h5py.File(tmp_path / "late.h5", "r+") as file:
        file["episodes/start_s"][...] += 1.7e9
        file.attrs.pop("tables_crc32")
    late = csp_data.load(path=tmp_path / "late.h5")
    path = write_csv(tmp_path / "p.csv", late, predictions, moved=0.2)
    steps = r"ends at 1700000000\.201 s; the nearest is at 1700000000\.401 s"
    with pytest.raises(PredictionsError, match=steps):
        read_csv(path, late)
    header, *lines = (line.split(",", 1) for line in path.read_text().splitlines())
    path.write_text("\n".join([",".join(header), *(f"{float(time):g},{rest}" for time, rest in lines)]))
    with pytest.raises(PredictionsError, match=r"two predictions at 1700000000 s\..* too few digits"):
        read_csv(path, late)
    write_csv(path, late, predictions, moved=-1.7e9 - 0.001)  # target_time of Parquet
    with pytest.raises(PredictionsError, match=r"nearest is at .*in Parquet and hf, target_time counts from"):
        read_csv(path, late)


def test_the_example_in_r_predicts_what_numpy_does(sample: Dataset, tmp_path: Path) -> None:
    rscript = shutil.which("Rscript")
    if rscript is None or subprocess.run([rscript, "-e", "library(rhdf5)"], capture_output=True).returncode:
        pytest.skip("needs R with rhdf5")
    example = Path(__file__).parents[2] / "examples" / "ridge.R"
    subprocess.run([rscript, str(example), str(sample.path), str(tmp_path / "p.csv")], check=True)

    def means(episode: csp_data.Episode) -> np.ndarray:
        return np.stack([[*chunk.mean(0, float), 1] for chunk in np.split(episode.inputs, len(episode.targets))])

    x, y = np.concatenate([means(e) for e in sample.train]), np.concatenate([e.targets for e in sample.train])
    weights = np.linalg.solve(x.T @ x + 0.1 * np.eye(x.shape[1]), x.T @ y)
    read = read_csv(tmp_path / "p.csv", sample)
    assert read.keys() == {e.id for part in ("val", "test") for e in sample.split(part)}
    for part in ("val", "test"):
        for episode in sample.split(part):
            np.testing.assert_allclose(read[episode.id], means(episode) @ weights, rtol=0, atol=1e-12)


def test_two_predictions_of_one_step_are_refused(sample: Dataset, predictions: Arrays, tmp_path: Path) -> None:
    """As of two seeds in one file, one of which would be scored."""
    path = write_csv(tmp_path / "p.csv", sample, predictions)
    path.write_text(path.read_text() + path.read_text().partition("\n")[2])
    with pytest.raises(PredictionsError, match=r"has two predictions at .* s\. Score one method and seed"):
        read_csv(path, sample)


def test_numbers_of_numpy_are_kept_as_plain_ones(sample: Dataset, predictions: Arrays, tmp_path: Path) -> None:
    asked = {"name": "ridge", "parameters": np.prod((3, 7)), "seconds": np.float32(0.5)}
    run = baselines.record(
        sample, predictions, tmp_path / "run", **asked, settings={"taps": np.int64(50), "at": np.array([1, 2])}
    )
    assert (run.results["parameters"], run.results["seconds"]) == (21, 0.5)
    assert run.config.model == {"family": "predictions", "taps": 50, "at": [1, 2]}


@pytest.mark.parametrize("moved", [0.1, -0.2, 3600.0])
def test_predictions_at_other_times_are_refused(
    sample: Dataset, predictions: Arrays, tmp_path: Path, moved: float
) -> None:
    """A step early or late, errors would be those of something else."""
    path = write_csv(tmp_path / "p.csv", sample, predictions, moved)
    with pytest.raises(PredictionsError, match="has no prediction for the target step that ends at"):
        read_csv(path, sample)


def test_the_command_scores_a_file_and_makes_a_run(
    sample: Dataset, predictions: Arrays, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test_alone = {row.id: predictions[row.id] for row in sample.split("test").rows}
    path = write_csv(tmp_path / "p.csv", sample, test_alone)
    main(["score", str(sample.path), str(path), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert said == json.loads(json.dumps({"test": baselines.score(sample, test_alone)}))
    line = ["score", str(sample.path), str(path), "--out", str(tmp_path / "run"), "--name", "ridge"]
    for more, wrong in (
        ([], "--parameters is missing"),
        (["--parameters", "9", "--seconds", "1"], "of val have no"),
    ):
        with pytest.raises(SystemExit):
            main([*line, *more])
        assert wrong in capsys.readouterr().err
    write_csv(path, sample, predictions)
    main([*line, "--parameters", "9", "--seconds", "1", "--set", "taps=50", "--seed", "3", "--about", "by hand"])
    assert f"run written to {tmp_path / 'run'}" in capsys.readouterr().out
    run = baselines.read_run(tmp_path / "run")
    assert run.config.model == {"family": "predictions", "taps": 50}
    assert run.config.train.seed == 3
    assert run.environment["command"].startswith("csp-baselines score")
    assert run.environment["about"] == "by hand"
    np.testing.assert_allclose(run.reported["mse"], np.square(OFF).mean(), rtol=1e-9)
