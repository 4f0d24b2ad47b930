"""Models that ship: the run's own predictions, offline, in windows and as a stream."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import csp_data
from baselines import load_pretrained, load_results
from baselines.cli import main
from baselines.errors import OptionError, UnknownNameError
from baselines.pretrained import Pretrained, PretrainedError, card_text, pretrained_names, read_pretrained
from baselines.pretrained.card import SECTIONS
from baselines.pretrained.make import can_stream, pretrained_from
from baselines.pretrained.model import LIMIT, SHIPPED, digest, write_pretrained
from baselines.runs.run import Run
from baselines.trained import load_model
from csp_data import Dataset
from csp_data.predictions import read_predictions
from csp_data.view.selection import Selection, find_runs

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def folder(runs: dict[str, Run], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies of the runs, as if their code had been committed."""
    made = tmp_path_factory.mktemp("committed")
    for name, run in runs.items():
        shutil.copytree(run.folder, made / name)
        path = made / name / "environment.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"commit": COMMIT}))
    return made


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Pretrained:
    path = tmp_path_factory.mktemp("made") / "tiny.safetensors"
    write_pretrained(path, pretrained_from("tiny", [folder]))
    assert path.with_suffix(".md").read_text() == read_pretrained(path).card
    return read_pretrained(path)


@pytest.fixture(scope="module")
def best(runs: dict[str, Run]) -> Run:
    return min((runs["a"], runs["b"]), key=lambda run: run.results["val"]["mse"])


def test_it_predicts_what_the_run_predicted(made: Pretrained, best: Run, sample: Dataset) -> None:
    found = {p.id: p for p in made.predict_part(sample, "test", window_s=best.config.train.window_s)}
    assert found.keys() == {p.id for p in best.predictions}
    for expected in best.predictions:
        np.testing.assert_allclose(found[expected.id].pred, expected.pred, atol=2e-5)
        np.testing.assert_allclose(found[expected.id].time, expected.time)
    assert made.evaluate(sample, "val")["mse"] == pytest.approx(best.results["val"]["mse"], rel=1e-5)


def test_the_best_on_val_is_taken_whatever_the_test_error(made: Pretrained, best: Run) -> None:
    assert made.about["run"]["key"] == best.config.key
    assert made.about["candidates"] == 2
    weights = load_model(best).state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in made.model.state_dict().items())


def test_transformers_without_a_window_do_not_stream(runs: dict[str, Run]) -> None:
    from baselines import build, config_to_dict

    def of(name: str, **options: Any) -> Run:
        model = build(name, 12, 3, dim=8, layers=1, **options)
        return replace(runs["a"], config=replace(runs["a"].config, name=name, model=config_to_dict(model.config)))

    assert not can_stream(of("flat-transformer"))
    assert not can_stream(of("hiss-s4-transformer"))
    assert can_stream(of("flat-transformer", window=5))
    assert can_stream(of("hiss-s4-mamba"))
    assert not can_stream(runs["fir"])


def test_raw_samples_are_prepared_as_a_stream_prepares_them(made: Pretrained, sample: Dataset) -> None:
    """Baseline, clip and low-pass of the protocol are applied to raw samples, and not to a data set's again."""
    smooth = csp_data.load("sample", lowpass=csp_data.LowPass(5, 3, "causal"))
    other = replace(made, interface=replace(made.interface, lowpass=smooth.protocol.lowpass))
    inputs = sample.test[0].inputs[:555]
    np.testing.assert_allclose(other.predict(inputs), other.streamer().push(inputs), atol=1e-5)
    filtered = other.predict_part(smooth, "test")[0].pred[:55]
    np.testing.assert_allclose(other.predict(inputs), filtered, atol=1e-4)
    assert np.abs(made.predict(inputs) - filtered).max() > 0.01
    rough = replace(made, interface=replace(made.interface, baseline="median", baseline_rows=30, raw_clip=3.0))
    np.testing.assert_allclose(rough.predict(inputs), rough.streamer().push(inputs), atol=1e-5)
    clipped = replace(made, interface=replace(made.interface, clip=2.0))  # the features, a data set's too
    np.testing.assert_allclose(clipped.predict(inputs, prepared=True), clipped.streamer().push(inputs), atol=1e-5)


@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_a_stream_equals_the_whole_recording(engine: str, made: Pretrained, sample: Dataset) -> None:
    for model in [made, *map(load_pretrained, pretrained_names())]:
        inputs = sample.test[0].inputs[:1234]
        stream = model.streamer(engine)
        pushed = np.concatenate([stream.push(row) for row in inputs])
        np.testing.assert_allclose(pushed, model.predict(inputs), atol=1e-5)


def test_bad_samples(made: Pretrained) -> None:
    for samples in (np.zeros((20, 5)), np.zeros((9, 6)), np.zeros(6), np.full((20, 6), np.nan)):
        with pytest.raises(OptionError, match="samples"):
            made.predict(samples)


def test_data_of_other_channels_are_refused(made: Pretrained) -> None:
    slower = csp_data.load("sample", input_hz=25)
    with pytest.raises(PretrainedError, match=r"does not fit sample .*input_hz is 25.*trained with 50"):
        made.predict_part(slower, "test")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"look_ahead_s": 0.1}, r"look_ahead_s is 0\.1 there, the model was trained with 0\.0"),
        ({"grid": "own-start"}, r"look_ahead_s is 0\.18 there, the model was trained with 0\.0"),
        (
            {"target": "velocity-in-start-frame"},
            "target is velocity-in-start-frame there, .* trained with velocity",
        ),
        ({"rotations": "componentwise"}, "rotations is componentwise there, .* trained with slerp"),
        ({"orientation": "gyro-integration"}, "orientation is gyro-integration there, .* trained with game-rv"),
        ({"truth_quaternions": "wxyz"}, "truth_quaternions is wxyz there, .* trained with xyzw"),
    ],
)
def test_data_whose_targets_mean_something_else_are_refused(
    made: Pretrained, change: dict[str, Any], message: str
) -> None:
    """Their channels, units and rates are the same."""
    other = csp_data.load("sample", **change)
    for model in [made, *map(load_pretrained, pretrained_names())]:
        with pytest.raises(PretrainedError, match=message):
            model.evaluate(other, "test")
        model.check(csp_data.load("sample", look_ahead_s=0.0))


def test_rows_of_a_baseline_count_only_where_there_is_one(made: Pretrained, sample: Dataset) -> None:
    """Without a baseline no rows are looked at, whatever their number; data and predictions are the same."""
    other = csp_data.load("sample", baseline_rows=7)
    assert made.interface.baseline == other.protocol.baseline == "none"
    one, two = (made.predict_part(dataset, "test")[0].pred for dataset in (sample, other))
    np.testing.assert_array_equal(one, two)
    with pytest.raises(PretrainedError, match="baseline is mean there, the model was trained with none"):
        made.check(csp_data.load("sample", baseline="mean", baseline_rows=7))
    rough = replace(made, interface=replace(made.interface, baseline="mean", baseline_rows=5))
    with pytest.raises(PretrainedError, match="baseline_rows is 7 there, the model was trained with 5"):
        rough.check(csp_data.load("sample", baseline="mean", baseline_rows=7))


def test_damage_is_refused(made: Pretrained, tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    write_pretrained(path, made)
    whole = path.read_bytes()
    for content in (
        whole[:-1],
        whole[:-1] + bytes([whole[-1] ^ 1]),  # one bit of one weight
        whole.replace(b"vel_x", b"vel_y", 1),
        b"",
        b"<html>not found</html>",
    ):
        path.write_bytes(content)
        with pytest.raises(PretrainedError, match=r"tiny\.safetensors: cannot be read"):
            read_pretrained(path)
    path.unlink()
    with pytest.raises(PretrainedError, match="cannot be read"):
        read_pretrained(path)
    path.write_bytes(whole)
    assert read_pretrained(path).about == made.about


def test_a_newer_format_is_named(made: Pretrained, tmp_path: Path) -> None:
    import safetensors.torch

    path = tmp_path / "tiny.safetensors"
    write_pretrained(path, made)
    with safetensors.safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata() | {"format_version": "2"}
    safetensors.torch.save_file(tensors, path, metadata | {"digest": digest(tensors, metadata)})
    with pytest.raises(PretrainedError, match="of format 2, this version reads 1"):
        read_pretrained(path)


def test_too_large_is_refused(made: Pretrained, tmp_path: Path) -> None:
    from baselines import build

    large = build("flat-lstm", 12, 3, dim=256, hidden=256, layers=3)
    with pytest.raises(PretrainedError, match="expected at most 2,097,152"):
        write_pretrained(tmp_path / "large.safetensors", replace(made, model=large))
    assert not list(tmp_path.iterdir())


def test_unknown_name() -> None:
    with pytest.raises(UnknownNameError, match=r"no pretrained model 'braod'. Did you mean 'broad'"):
        load_pretrained("braod")
    with pytest.raises(SystemExit, match="2"):
        main(["stream", "pretrained:braod"])


@pytest.mark.parametrize("name", pretrained_names())
def test_what_ships(name: str) -> None:
    path = SHIPPED / f"{name}.safetensors"
    assert path.stat().st_size <= LIMIT
    model = load_pretrained(name)
    assert model.name == name
    assert re.fullmatch(rf"Pretrained\({name}: \S+, [\d,]+ values; .* at 50 Hz -> .* at 5 Hz\)", repr(model))
    assert len(model.about["run"]["commit"]) == 40
    card = path.with_suffix(".md").read_text()
    assert card == model.card == card_text(model.about)
    assert [line[3:] for line in card.splitlines() if line.startswith("## ")] == list(SECTIONS)
    data, run = model.about["data"], model.about["run"]
    for said in (
        data["kind_label"],
        data["licence"],
        data["recipe_hash"],
        run["commit"],
        f"seed {run['seed']}",
        f"{run['parameters']:,} values",
        f"{model.about['errors']['test']['windows']:.4f}",
        f"{model.about['references']['mean']:.4f}",
        *data["parts"]["train"]["recordings"],
    ):
        assert said in card
    assert run["parameters"] == sum(p.numel() for p in model.model.parameters())
    held = [set(part["recordings"]) for part in data["parts"].values()]
    assert sum(map(len, held)) == len(set.union(*held))


def test_references_on_the_card_are_those_of_the_results_that_ship() -> None:
    """Which change when a reference is improved, while the model stays."""
    told = load_pretrained("broad").about["references"]
    now = {row.model: row.test_mse for row in load_results("broad", model=list(told))}
    assert told == now


def test_it_streams_in_an_empty_folder_without_a_home(tmp_path: Path) -> None:
    (tmp_path / "samples.csv").write_text("acc_x,acc_y,acc_z,gyr_x,gyr_y,gyr_z\n" + "0.1,0.2,9.8,0,0,0.1\n" * 30)
    done = subprocess.run(
        [sys.executable, "-m", "baselines", "stream", "pretrained:broad", "--input", "samples.csv"],
        cwd=tmp_path,
        env={**os.environ, "CSP_DATA_HOME": str(tmp_path / "home"), "CSP_DATA_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "time,vel_x,vel_y,vel_z,latency_ms"
    expected = load_pretrained("broad").predict(np.tile([0.1, 0.2, 9.8, 0, 0, 0.1], (30, 1)))
    made = np.array([[float(cell) for cell in line.split(",")[1:-1]] for line in lines[1:]])
    np.testing.assert_allclose(made, expected, atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["samples.csv"]


def test_the_viewer_shows_its_predictions(
    sample: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = tmp_path / "shown" / "pretrained"
    main(["eval", "pretrained:broad", "--data", str(sample.path), "--part", "val", "--predictions", str(shown)])
    assert "val: MSE" in capsys.readouterr().out
    selection = Selection(
        sample, find_runs(tmp_path / "shown"), figure="targets", part="val", episode=1, run="pretrained"
    )
    predicted = selection.prediction()
    assert predicted is not None
    model = load_pretrained("broad")
    expected = model.predict(sample.val[1].inputs, window_s=model.about["run"]["window_s"])
    np.testing.assert_allclose(predicted, expected, atol=1e-5)
    assert len(read_predictions(shown / "predictions.npz")) == len(sample.val)
    with pytest.raises(SystemExit, match="2"):
        main(["eval", "pretrained:broad"])


def test_example(home: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parents[3] / "examples" / "stream_pretrained.py")],
        cwd=tmp_path,
        env={**os.environ, "CSP_DATA_HOME": str(home), "CSP_DATA_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    model, ds = load_pretrained("broad"), csp_data.load("sample")
    error = np.sqrt(np.mean(np.square(model.predict(ds.test[1].inputs) - ds.test[1].targets)))
    assert f"RMSE {error:.3f} m/s" in done.stdout
