from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner

import baselines
import csp_data
from baselines.ablations.ablate import ablate
from baselines.cli import main
from baselines.errors import OptionError, UnknownNameError
from baselines.experiment import plan, run
from baselines.models.factory import build
from baselines.models.model import FlatModel
from baselines.presets import MODELS
from baselines.report import write_report
from baselines.results import Result, write_study
from baselines.runs.collect import read_runs
from baselines.runs.environment import code_version, commit
from baselines.runs.interface import Interface, dataset_of, interface_of
from baselines.runs.run import Run, RunError, lock_folder, read_run
from baselines.stream.export import export
from baselines.stream.streamer import Streamer, load_state, save_state
from baselines.tables.make import make_table
from baselines.trained import evaluate, load_model
from baselines.training.ledger import Executed, append_event, count_executed
from baselines.training.settings import TrainConfig
from baselines.training.train import TrainingError
from csp_data import Dataset
from csp_data.card import registry
from csp_data.cli import cli

CONFIG = TrainConfig(epochs=2, window_s=10.0, window_stride_s=10.0)
SIZES = {"dim": 8, "hidden": 8, "layers": 1}


@pytest.fixture
def copy(runs: dict[str, Run], tmp_path: Path) -> Path:
    """A finished run that a test may damage."""
    return Path(shutil.copytree(runs["a"].folder, tmp_path / "copy"))


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_says_all_about_its_run(runs: dict[str, Run], sample: Dataset) -> None:
    found = read_run(runs["a"].folder)
    assert found.config.data.name == "sample"
    assert found.config.data.kind == "real recordings"
    assert found.config.data.recipe_hash == sample.provenance["recipe_hash"]
    assert found.config.data.units == ["m/s"] * 3
    assert found.config.train == CONFIG
    assert found.config.model["layer"]["dim"] == 8
    assert found.environment["torch"] == torch.__version__
    assert found.environment["command"] == "command of a"
    assert [line["epoch"] for line in found.epochs] == [1, 2]
    assert found.results["parameters"] == sum(p.numel() for p in load_model(found).parameters())
    assert found.results["epoch"] == min(found.epochs, key=lambda line: line["val_loss"])["epoch"]
    assert set(found.results["test"]["episodes"]) == {row.id for row in sample.test.rows}


def test_results_and_predictions_agree(runs: dict[str, Run], sample: Dataset) -> None:
    for made in runs.values():
        pairs = {p.id: p for p in made.predictions}
        assert set(pairs) == {row.id for row in sample.test.rows}
        for episode in sample.test:
            np.testing.assert_allclose(pairs[episode.id].true, episode.targets, atol=1e-6)
            np.testing.assert_array_equal(pairs[episode.id].time, episode.target_time)
        errors = np.concatenate([np.square(p.pred - p.true).ravel() for p in pairs.values()])
        assert made.results["test"]["mse"] == pytest.approx(errors.mean())


def test_the_mean_predicts_the_training_mean(runs: dict[str, Run], sample: Dataset) -> None:
    expected = np.concatenate([e.targets for e in sample.train]).astype(np.float64).mean(axis=0)
    for prediction in runs["mean"].predictions:
        np.testing.assert_allclose(prediction.pred, np.broadcast_to(expected, prediction.pred.shape), atol=1e-6)


def test_evaluating_again_gives_the_same(runs: dict[str, Run], sample: Dataset) -> None:
    for made in runs.values():
        for part in ("val", "test"):
            assert evaluate(made, sample, part)["mse"] == pytest.approx(made.results[part]["mse"], rel=1e-6)


def _measured(results: dict[str, Any]) -> dict[str, Any]:
    """Leave out the time that predicting took, which no two runs share."""
    return {
        name: {k: v for k, v in value.items() if k != "predict_seconds"} if isinstance(value, dict) else value
        for name, value in results.items()
    }


def test_training_never_looks_at_the_test_part(sample: Dataset, tmp_path: Path) -> None:
    altered = Path(shutil.copy(sample.path, tmp_path / "altered.h5"))
    with h5py.File(altered, "r+") as file:
        del file["episodes/input_crc32"], file["episodes/target_crc32"]
        for row in sample.test.rows:
            file["inputs"][row.input_start : row.input_stop] = 1e3
            file["targets"][row.target_start : row.target_stop] = -1e3
    first, _ = run(sample, "flat-lstm", CONFIG, tmp_path / "a", options=SIZES)
    second, _ = run(csp_data.load(path=altered), "flat-lstm", CONFIG, tmp_path / "b", options=SIZES)
    weights = [(tmp_path / folder / "best.safetensors").read_bytes() for folder in "ab"]
    assert weights[0] == weights[1]
    assert _measured(first.results)["val"] == _measured(second.results)["val"]
    assert second.results["test"]["mse"] > 100 * first.results["test"]["mse"]


def test_a_finished_run_is_read_and_left_alone(copy: Path, sample: Dataset) -> None:
    before = _contents(copy)
    found, state = run(sample, "flat-lstm", CONFIG, copy, options=SIZES, command="another command")
    assert state == "finished"
    assert found.results == read_run(copy).results
    assert _contents(copy) == before


def test_a_finished_run_that_cannot_be_written_is_read(
    copy: Path, sample: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from a disk of results that may only be read."""

    def refused(*given: object, **more: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(filelock.FileLock, "acquire", refused)
    assert run(sample, "flat-lstm", CONFIG, copy, options=SIZES)[1] == "finished"
    (copy / "results.json").unlink()
    with pytest.raises(RunError, match="cannot be written"):
        run(sample, "flat-lstm", CONFIG, copy, options=SIZES)


def test_folders_and_files_may_be_text(
    runs: dict[str, Run], sample: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(sample, "mean", CONFIG, "mean")[0].folder == Path("mean")
    held = read_run("mean")
    assert len(read_runs([str(runs["a"].folder), "mean"])) == 2
    evaluate(held, sample, keep="mean.npz")
    write_report([held], [sample], "report")
    write_study("mean.csv", [Result.of(held)])
    lstm, interface = load_model(runs["a"]), Interface.of(sample)
    assert isinstance(lstm, FlatModel)
    export(lstm, interface, "step.pt2", "pt2")
    stream = Streamer.of(lstm, interface, "reference")
    save_state("state.safetensors", stream)
    load_state("state.safetensors", stream)
    short = {"data.max_duration_s": [12]}
    ablation = ablate("lowpass", ["sample"], ["mean"], seeds=[0], settings=short, out="ablation", values=[3])
    assert repr(ablation).startswith("<Ablation lowpass, 3 rows: <Sweep ")
    made = ["mean.npz", "report/index.html", "mean.csv", "step.pt2", "state.safetensors", "ablation/lowpass.csv"]
    assert [name for name in made if not Path(name).is_file()] == []


def test_a_run_that_ended_with_an_error_says_which(
    sample: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = dataclasses.replace(CONFIG, lr=1e30)
    for _ in range(2):
        with pytest.raises(TrainingError, match="The loss is nan at step") as ended:
            run(sample, "flat-lstm", config, tmp_path / "runs" / "nan", options=SIZES)
    reason = str(ended.value)
    assert reason.endswith("Try a smaller lr, or clip_norm=1.")
    with pytest.raises(RunError, match="this run has no results, as it ended with an error") as told:
        read_run(tmp_path / "runs" / "nan")
    assert reason in str(told.value)
    run(sample, "mean", config, tmp_path / "runs" / "mean")
    assert len(read_runs([tmp_path / "runs"])) == 1
    assert caplog.messages[-1].endswith("1 of 2 runs are unfinished, 1 of them as they ended with an error")


def test_an_unfinished_run_goes_on(copy: Path, sample: Dataset) -> None:
    expected = read_run(copy).results
    (copy / "results.json").unlink()
    (copy / "predictions.npz").unlink()
    with pytest.raises(RunError, match=r"unfinished.*command that began it again"):
        read_run(copy)
    found, state = run(sample, "flat-lstm", CONFIG, copy, options=SIZES)
    assert state == "unfinished"
    assert _measured(found.results) == _measured(expected)


def test_a_run_tells_of_its_epochs_and_goes_on_where_it_was_told_to_stop(
    runs: dict[str, Run], sample: Dataset, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As in a notebook, which draws a curve and whose stderr is no terminal."""
    told: list[dict[str, Any]] = []

    def stop(metrics: dict[str, Any]) -> None:
        told.append(metrics)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(sample, "flat-lstm", CONFIG, tmp_path / "run", options=SIZES, on_epoch=stop)
    assert "epoch" not in capfd.readouterr().err
    options = {"options": SIZES, "progress": True, "on_epoch": told.append}
    made, state = run(sample, "flat-lstm", CONFIG, tmp_path / "run", **options)  # type: ignore[arg-type]
    assert "train: 100%" in capfd.readouterr().err
    assert state == "unfinished"
    assert told == list(made.epochs)
    assert made.results["test"]["mse"] == runs["a"].results["test"]["mse"]


def test_what_a_run_cannot_take_is_named(sample: Dataset, tmp_path: Path) -> None:
    """Each was an AttributeError from within."""
    for given, message in (
        (("sample", "fir", CONFIG), r"dataset='sample': expected a data set: csp_data\.load\('sample'\)"),
        ((sample, "fir", {"epochs": 2}), r"config=\{'epochs': 2\}: expected a baselines\.TrainConfig"),
        ((sample, FlatModel, CONFIG), r"model=<class .*FILE\.py:NAME\. In a notebook, %%writefile"),
    ):
        with pytest.raises(OptionError, match=message):
            run(*given, tmp_path / "run")
    with pytest.raises(OptionError, match=r"FILE\.py:NAME"):
        build(FlatModel, 12, 3)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_another_run_in_the_folder_is_refused_with_the_difference(copy: Path, sample: Dataset) -> None:
    before = _contents(copy)
    other = TrainConfig(epochs=3, window_s=10.0, window_stride_s=10.0)
    with pytest.raises(RunError, match=r"train\.epochs is 2 there, 3 here\. Choose another folder \(--out\)"):
        run(sample, "flat-lstm", other, copy, options=SIZES)
    with pytest.raises(RunError, match=r"model\.layer\.hidden is 8 there, 4 here"):
        run(sample, "flat-lstm", CONFIG, copy, options={**SIZES, "hidden": 4})
    assert _contents(copy) == before


def test_a_reference_of_another_training_is_the_same_run(tmp_path: Path, sample: Dataset) -> None:
    """The command that a sweep records for a reference has none of the settings that it does not use."""
    train = TrainConfig(epochs=2, lr=0.5, seed=3, window_s=10, window_stride_s=10)
    _, state = run(sample, "mean", train, tmp_path / "mean")
    assert state == "new"
    held, state = run(sample, "mean", TrainConfig(window_s=10), tmp_path / "mean")
    assert state == "finished"
    assert held.config.train == train
    with pytest.raises(RunError, match=r"holds another run: train\.window_s is 10\.0 there, 20\.0 here"):
        run(sample, "mean", TrainConfig(), tmp_path / "mean")
    with pytest.raises(
        RunError, match=r"another run: name is 'mean' there, 'flat-lstm' here; .*; and \d+ more sett"
    ):
        run(sample, "flat-lstm", CONFIG, tmp_path / "mean", options=SIZES)


def test_one_of_a_folder_of_runs_is_asked_for(runs: dict[str, Run], tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to(runs["a"].folder.parent)
    for folder in (tmp_path, tmp_path / "runs"):
        with pytest.raises(RunError, match=rf"holds \d: name one, such as {tmp_path / 'runs'}/\w+\."):
            read_run(folder)


def test_a_foreign_folder_is_left_alone(tmp_path: Path, sample: Dataset) -> None:
    (tmp_path / "thesis.tex").write_text("ten years of work")
    with pytest.raises(RunError, match="not the folder of a run"):
        run(sample, "mean", CONFIG, tmp_path)
    (tmp_path / "config.json").write_text('{"my": "settings"}')
    with pytest.raises(RunError, match="not the folder of a run"):
        run(sample, "mean", CONFIG, tmp_path)
    with pytest.raises(RunError, match="not the folder of a run"):
        read_run(tmp_path)
    assert _contents(tmp_path) == {"thesis.tex": b"ten years of work", "config.json": b'{"my": "settings"}'}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b'{"format": "csp-base'),
        ("config.json", b'{"format": "csp-baselines-run", "format_version": 1, "data": {}}'),
        ("results.json", b"{}"),
        ("results.json", b"[1, 2]"),
        ("environment.json", b"\xff\xfe\x00"),
        ("metrics.jsonl", b'{"epoch": 1}\n{"epo'),
    ],
)
def test_a_damaged_folder_is_named_and_left_alone(copy: Path, name: str, content: bytes) -> None:
    (copy / name).write_bytes(content)
    before = _contents(copy)
    with pytest.raises(RunError, match=rf"{name}: damaged"):
        read_run(copy)
    assert _contents(copy) == before


WRONG: tuple[Any, ...] = (None, "x", [1], {"a": 1}, float("nan"))


def _places(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Give the ways to all values of a JSON object; of episodes and channels, to the first's."""
    if isinstance(value, dict):
        alike = place[-1:] in {("episodes",), ("recordings",), ("groups",), ("channels",), ("si",)}
        for name in list(value)[: 1 if alike else None]:
            yield (*place, name)
            yield from _places(value[name], (*place, name))


def _refusal(folder: Path, *, model: bool) -> str:
    """Return why a run is refused, ``""`` if it is not."""
    try:
        made = read_run(folder)
        Result.of(made)
        repr(made)
        interface_of(made)
        if model:
            load_model(made)
    except csp_data.CspDataError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", ["config.json", "results.json", "environment.json", "interface.json"])
def test_values_of_other_types_are_refused_in_a_line_with_file_and_field(copy: Path, name: str) -> None:
    """Each could end in a traceback, of whatever came to use the value first."""
    plain, refused = json.loads((copy / name).read_text()), set()
    for place in _places(plain):
        for wrong in WRONG:
            altered = json.loads(json.dumps(plain))
            inner = altered
            for step in place[:-1]:
                inner = inner[step]
            inner[place[-1]] = wrong
            (copy / name).write_text(json.dumps(altered))
            if told := _refusal(copy, model=place[0] == "model"):
                assert "\n" not in told
                known = place[0] in ("format", "format_version") or "best.safetensors: these weights" in told
                assert known or (f"{copy / name}: damaged" in told and place[-1] in told)
                refused.add(".".join(place))
    expected = {
        "config.json": {"data.protocol", "data.channels", "model.layer.dim", "train.lr", "code"},
        "results.json": {"parameters", "epoch", "test.mse", "test.recordings", "val.si.vel_x.unit"},
        "environment.json": {"prepared", "threads", "device"},
        "interface.json": {"inputs", "target_hz", "lowpass", "normalization.inputs.shift", "deltas"},
    }[name]
    assert expected <= refused


@pytest.mark.parametrize(
    ("name", "place", "value", "problem"),
    [
        ("config.json", ("data", "units"), "m/s", r"data\.units is 'm/s', not a list"),
        ("config.json", ("data", "protocol", "window"), 3, r"window=3: expected a csp_data\.Window"),
        ("config.json", ("data", "report"), "exam", r"data\.report is 'exam', not train or val or test"),
        ("results.json", ("test", "mse"), -1.0, r"test\.mse is -1\.0, not at least 0"),
        ("results.json", ("val", "trajectory"), {"unit": "m", "ate": 1}, r"val\.trajectory\.rte is missing"),
        ("interface.json", ("input_units",), ["m/s^2"], r"input_units has 1 values, not 6"),
        ("interface.json", ("target_hz",), 7, r"target_hz=7: expected a rate that divides input_hz=50"),
        ("interface.json", ("baseline",), "first", r"baseline='first': expected one of none, mean, median"),
        (
            "interface.json",
            ("normalization", "targets", "scale"),
            [1, 0, 1],
            r"normalization\.targets\.scale has a",
        ),
        (
            "interface.json",
            ("future",),
            1,
            r"future is unknown\)\. If a later version .*environment\.json says which",
        ),
        ("metrics.jsonl", ("train_loss",), "x", r"line 1: train_loss is 'x', not a number"),
    ],
)
def test_a_value_that_cannot_be_is_told_with_what_should_be(
    copy: Path, name: str, place: tuple[str, ...], value: object, problem: str
) -> None:
    first, *rest = (copy / name).read_text().splitlines() if name.endswith("l") else [(copy / name).read_text()]
    plain = inner = json.loads(first)
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    (copy / name).write_text("\n".join([json.dumps(plain), *rest]))
    with pytest.raises(csp_data.CspDataError, match=rf"{name}: damaged \(.*{problem}"):
        interface_of(read_run(copy))


def test_sizes_that_no_memory_holds_are_told_in_a_line(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As torch runs out of memory, which it says with a RuntimeError; a run of a stranger may ask for it."""
    plain = json.loads((copy / "config.json").read_text())
    for size, told in (
        (
            10**9,
            r"config\.json: damaged \(LSTMConfig\.hidden=1000000000: expected a whole number from",
        ),
        (10**6, r"There is not enough memory \(tried to allocate \d+ bytes\)\."),
    ):
        plain["model"]["layer"]["hidden"] = size
        (copy / "config.json").write_text(json.dumps(plain))
        with pytest.raises(SystemExit):
            main(["eval", str(copy)])
        assert re.fullmatch(rf"Error: .*{told}.*\n", capsys.readouterr().err)


def _change(folder: Path, *path: str, value: Any) -> None:
    settings = json.loads((folder / "config.json").read_text())
    inner = settings
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    (folder / "config.json").write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (("later",), "no setting 'later' of a run"),
        (("data", "later"), "no setting 'later' of a run's data"),
        (("train", "later"), "no setting 'later' of a training"),
        (("train", "precision"), "precision='new'"),
        (("data", "protocol", "augment"), "augment='new'"),
        (("model", "layer", "later"), "no entry 'later'"),
    ],
)
def test_a_run_of_a_later_version_need_not_be_deleted(copy: Path, path: tuple[str, ...], told: str) -> None:
    _change(copy, *path, value="new")
    before = _contents(copy)
    with pytest.raises(RunError, match=rf"{told}.* if a later version of csp-data made it \(environment\.json"):
        load_model(copy)
    assert _contents(copy) == before


def test_a_run_that_another_version_began_is_told_from_one_with_other_settings(
    copy: Path, sample: Dataset
) -> None:
    _change(copy, "code", value="0123456789ab")
    with pytest.raises(
        RunError, match=r"code is '0123456789ab' there, '\w{12}' here\. Another version of csp-data"
    ):
        run(sample, "flat-lstm", CONFIG, copy, options=SIZES)


def test_settings_that_would_command_a_terminal_are_damaged(copy: Path) -> None:
    settings = json.loads((copy / "config.json").read_text())
    settings["name"] += "\x1b[2J"
    (copy / "config.json").write_text(json.dumps(settings))
    with pytest.raises(RunError, match=r"config\.json: damaged \(control characters in 'flat-lstm\\x1b\[2J'"):
        read_run(copy)


def test_devices_in_place_of_metrics_and_weights(copy: Path) -> None:
    """Of a pipe, or of a device that has no end, in somebody else's run there was no end either."""
    for name in ("best.safetensors", "metrics.jsonl"):
        run = read_run(copy)
        (copy / name).unlink()
        (copy / name).symlink_to(os.devnull)
        with pytest.raises(csp_data.CspDataError, match=rf"{name}: damaged \(.*it is a device"):
            _ = read_run(copy) if name == "metrics.jsonl" else load_model(run)


def test_damaged_predictions_and_missing_weights(copy: Path) -> None:
    (copy / "predictions.npz").write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(RunError, match=r"predictions\.npz: damaged"):
        _ = read_run(copy).predictions
    (copy / "best.safetensors").unlink()
    with pytest.raises(RunError, match=r"no best\.safetensors"):
        read_run(copy)


@pytest.mark.parametrize("where", [("si",), ("recordings", 0, "steps"), ("mae",)])
def test_results_without_what_a_row_needs_are_damaged(copy: Path, where: tuple[str | int, ...]) -> None:
    plain = json.loads((copy / "results.json").read_text())
    inner = plain["test"]
    *way, last = where
    for step in way:
        inner = list(inner.values())[step] if isinstance(step, int) else inner[step]
    if last == "mae":
        del inner[last]
    else:
        inner[last] = "x"
    (copy / "results.json").write_text(json.dumps(plain))
    with pytest.raises(RunError, match=rf"{copy}/results\.json: damaged"):
        make_table([read_run(copy)])


def test_a_newer_format_is_refused(copy: Path) -> None:
    plain = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**plain, "format_version": 99}))
    with pytest.raises(RunError, match="format 99, this version reads 1"):
        read_run(copy)


def test_two_processes_cannot_share_a_folder(tmp_path: Path, runs: dict[str, Run]) -> None:
    with lock_folder(tmp_path / "run", runs["a"].config) as state:
        assert state == "new"
        with pytest.raises(RunError, match="another process"), lock_folder(tmp_path / "run", runs["a"].config):
            pass
    with lock_folder(tmp_path / "run", runs["a"].config) as state:
        assert state == "unfinished"


def test_evaluating_on_other_data_is_refused(runs: dict[str, Run]) -> None:
    other = csp_data.load("sample", input_deltas=False)
    with pytest.raises(RunError, match=f"recipe {runs['a'].config.data.recipe_hash}.*csp-baselines eval"):
        evaluate(runs["a"], other)


def test_a_run_of_another_machine_finds_its_data_in_the_home(
    runs: dict[str, Run], sample: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = f"/home/another/csp-data/prepared/{sample.path.name}"
    moved = dataclasses.replace(runs["a"], environment={**runs["a"].environment, "prepared": elsewhere})
    assert dataset_of(moved).path == sample.path
    with pytest.raises(RunError, match=r"nowhere\.h5: the prepared file of"):
        dataset_of(moved, tmp_path / "nowhere.h5")
    monkeypatch.setenv("CSP_DATA_HOME", str(tmp_path))
    with pytest.raises(RunError, match=f"{elsewhere}: the prepared file of .* is not there") as caught:
        dataset_of(moved)
    found = re.search(r"csp_data\.load\(.*\.protocol\)", str(caught.value))
    assert found is not None
    again = eval(found[0], {"csp_data": csp_data, "baselines": baselines})  # what the message says to do
    assert again.path == dataset_of(moved).path
    assert again.path.is_relative_to(tmp_path)
    assert evaluate(moved, dataset_of(moved))["mse"] == runs["a"].results["test"]["mse"]


def test_a_run_of_a_folder_says_how_its_data_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name alone would not be found on another machine."""
    result = CliRunner().invoke(cli, ["new", "cart", "--out", str(tmp_path / "cart")])
    assert result.exit_code == 0, result.output
    run(csp_data.load(tmp_path / "cart"), "mean", CONFIG, tmp_path / "run")
    made = read_run(tmp_path / "run")
    monkeypatch.setattr(registry, "_added", {})  # as in another process
    monkeypatch.setenv("CSP_DATA_HOME", str(tmp_path / "another"))
    elsewhere = f"/nowhere/{Path(made.environment['prepared']).name}"
    moved = dataclasses.replace(made, environment={**made.environment, "prepared": elsewhere})
    with pytest.raises(RunError, match="of the folder that has its card, reader and recordings") as caught:
        dataset_of(moved)
    found = re.search(r"csp_data\.load\(.*\.protocol\)", str(caught.value))
    assert found is not None
    names = {"csp_data": csp_data, "baselines": baselines, "FOLDER": tmp_path / "cart"}
    assert eval(found[0], names).path == dataset_of(moved).path
    card = tmp_path / "cart" / "card.toml"  # the publisher's next version, and of the run's nothing is left
    card.write_text('version = "1.1"\n' + card.read_text().replace("rate_hz = 50", "rate_hz = 50.5"))
    csp_data.register(tmp_path / "cart")
    monkeypatch.setenv("CSP_DATA_HOME", str(tmp_path / "third"))
    with pytest.raises(RunError, match=r"version of cart that it was trained on \(none stated; here is 1\.1\)"):
        dataset_of(moved)


def test_what_the_data_decides_cannot_be_set(sample: Dataset, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="chunk=5: expected nothing: the data set decides"):
        run(sample, "flat-lstm", CONFIG, tmp_path / "a", options={"chunk": 5})
    with pytest.raises(UnknownNameError, match="Did you mean 'hiss-s4-mamba'"):
        run(sample, "his-s4-mamba", CONFIG, tmp_path / "a")
    with pytest.raises(OptionError, match="device='abacus'"):
        run(sample, "mean", CONFIG, tmp_path / "a", device="abacus")
    assert not (tmp_path / "a").exists()


def test_commit_of_a_checkout(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    assert commit(package) is None
    git("init", "-q")
    assert commit(package) is None  # it lies in a checkout, but is no part of it
    git("add", ".")
    git("commit", "-q", "-m", "first")
    index = (tmp_path / ".git" / "index").read_bytes()
    os.utime(package / "__init__.py", (0, 0))  # git would note in its index, under a lock, that it is as before
    assert commit(package) == git("rev-parse", "HEAD")
    assert (tmp_path / ".git" / "index").read_bytes() == index
    (package / "__init__.py").write_text("changed = True")
    assert commit(package) == git("rev-parse", "HEAD") + "+dirty"


def test_commit_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release, and what pip installs from a commit, can be traced as a checkout can; a folder cannot."""
    package, info = tmp_path / "baselines" / "runs", tmp_path / "csp_data-7.1.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: csp-data\nVersion: 7.1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert commit(package) == "v7.1"
    for origin, wanted in (
        ({"url": "https://lab.example/csp-data", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}}, "c0ffee"),
        ({"url": "file:///home/ann/csp-data", "dir_info": {}}, None),
        ("no JSON", None),
    ):
        text = origin if isinstance(origin, str) else json.dumps(origin)
        (info / "direct_url.json").write_text(text)
        assert commit(package) == wanted
    (info / "direct_url.json").unlink()
    assert commit(tmp_path.parent) is None  # not what is installed there


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_small_sizes(name: str) -> None:
    count = sum(p.numel() for p in build(name, 12, 3, preset="small").parameters())
    assert 30_000 < count < 150_000


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((f"flat-{kind}", {}) for kind in ("gru", "tcn", "mamba2", "s4d", "lru")),
        ("hiss-tcn-gru", {"overlap": 5, "readout": "attention"}),
        ("hiss-s4-gru-mamba", {"subchunk": 5, "readout": "linear"}),
    ],
)
def test_models_beyond_the_published_run_as_well(
    name: str, options: dict[str, object], sample: Dataset, tmp_path: Path
) -> None:
    """From training to the stored run, and back to a model that gives the same predictions."""
    config = TrainConfig(epochs=1, window_s=10.0, window_stride_s=10.0)
    made, _ = run(sample, name, config, tmp_path, options={"dim": 8, "layers": 1, **options})
    assert made.config.name == name
    assert evaluate(made, sample)["mse"] == pytest.approx(made.results["test"]["mse"], rel=1e-6)


def test_unknown_models_are_told_from_references_too(sample: Dataset, tmp_path: Path) -> None:
    with pytest.raises(
        UnknownNameError, match=r"no model 'hiss-gru-mean'.*hiss-<low>-<mid>-<high>.*Also: mean, fir"
    ):
        run(sample, "hiss-gru-mean", CONFIG, tmp_path)


def test_a_killed_beginning_is_no_foreign_folder(tmp_path: Path, runs: dict[str, Run]) -> None:
    """SIGKILL while the very first file was being written leaves a part of it, which is cleared."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".config.json.123.part").write_text('{"form')
    with lock_folder(folder, runs["a"].config) as state:
        assert state == "new"
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "config.json"]


def test_a_run_of_other_code_is_refused(copy: Path, sample: Dataset) -> None:
    plain = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**plain, "code": "0123456789ab"}))
    (copy / "results.json").unlink()
    with pytest.raises(RunError, match=rf"code is '0123456789ab' there, '{code_version()}' here"):
        run(sample, "flat-lstm", CONFIG, copy, options=SIZES)


def test_a_plan_is_what_a_run_becomes(runs: dict[str, Run], sample: Dataset) -> None:
    planned = plan(sample, "flat-lstm", CONFIG, options=SIZES)
    assert planned == runs["a"].config
    assert planned.key == read_run(runs["a"].folder).config.key
    others = [
        plan(sample, "flat-lstm", dataclasses.replace(CONFIG, lr=0.5), options=SIZES),
        plan(sample, "flat-lstm", CONFIG, options={**SIZES, "dim": 4}),
        plan(csp_data.load("sample", input_deltas=False), "flat-lstm", CONFIG, options=SIZES),
        dataclasses.replace(planned, code="0123456789ab"),
    ]
    assert len({planned.key, *(other.key for other in others)}) == 5


def test_sizes_are_small_where_none_are_named(sample: Dataset) -> None:
    """In Python as on the command line."""
    for model in ("flat-lstm", "hiss-s4-mamba", "hiss-s4-gru-mamba"):
        assert plan(sample, model, CONFIG) == plan(sample, model, CONFIG, preset="small")
    assert plan(sample, "flat-lstm", CONFIG, preset="paper") != plan(sample, "flat-lstm", CONFIG)


def test_small_models_have_one_thread_and_torch_as_many_as_before(sample: Dataset, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for given, count in (({}, 1), ({"preset": "paper"}, 2), ({"threads": 3}, 3)):
            made, _ = run(sample, "flat-lstm", CONFIG, tmp_path / str(count), options=SIZES, **given)
            assert json.loads((made.folder / "environment.json").read_text())["threads"] == count
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    with pytest.raises(OptionError, match="threads=0: expected a whole number of at least 1"):
        run(sample, "flat-lstm", CONFIG, tmp_path / "none", options=SIZES, threads=0)


def test_the_ledger_says_what_was_executed(runs: dict[str, Run], copy: Path, sample: Dataset) -> None:
    assert count_executed([made.folder for made in runs.values()]) == Executed(
        starts=4, epochs=4, finished=4, twice=()
    )
    (copy / "results.json").unlink()  # as if it had been killed just before: no epoch is run again
    run(sample, "flat-lstm", CONFIG, copy, options=SIZES)
    assert (count_executed([copy]).starts, count_executed([copy]).epochs) == (2, 2)
    append_event(copy, "epoch", epoch=2)
    assert count_executed([copy]).twice == (f"{copy}: epoch 2", f"{copy}: finish")
