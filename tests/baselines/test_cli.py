from __future__ import annotations

import dataclasses
import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import csp_data
from baselines.cli import main
from baselines.commands.train import _training_options, print_metrics, training_config
from baselines.published import TRAINING
from baselines.runs.run import Run, read_run
from baselines.training.settings import TrainConfig

TINY = ["--set", "dim=8", "hidden=8", "layers=1", "--window-s", "10", "--window-stride-s", "10"]


def _fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert isinstance(caught.value.code, int)
    return caught.value.code, error


def test_of_many_episodes_eval_prints_the_largest_errors(capsys: pytest.CaptureFixture[str]) -> None:
    """The errors of all pushed that of the part, which stands first, out of sight."""

    def values(error: float) -> dict[str, float]:
        return {"mse": error, "rmse": error**0.5, "mae": error}

    for count in (50, 2500):
        episodes = {f"r{i}": values(1.0 + i % 1000 + i / 10000) for i in range(count)}
        print_metrics("test", {**values(1), "channels": {"x": values(2)}, "episodes": episodes}, ["m"])
        lines = capsys.readouterr().out.splitlines()
        assert [line.split(":")[0].strip() for line in lines[:2]] == ["test", "x"]
        named = [line.split(":")[0].strip() for line in lines[2:52]]
        if count == 50:
            assert named == list(episodes)
            assert len(lines) == 52
        else:
            assert named[:3] == ["r1999", "r999", "r1998"]
            assert lines[52:] == ["  and 2,450 more episodes, whose errors are smaller (--json has all)"]


def test_train_eval_table_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, reference = str(tmp_path / "lstm"), str(tmp_path / "mean")
    main(["train", "sample", "flat-lstm", "--epochs", "2", "--out", folder, *TINY])
    said = capsys.readouterr().out
    assert f"run written to {folder}" in said
    assert "real recordings" in said
    assert "test: MSE" in said
    main(["train", "sample", "mean", "--out", reference])
    assert "3 parameters" in capsys.readouterr().out
    held = read_run(Path(folder))
    assert held.environment["command"].startswith("csp-baselines train sample flat-lstm --epochs 2")

    main(["eval", folder, "--part", "val", "--json"])
    assert json.loads(capsys.readouterr().out)["mse"] == pytest.approx(held.results["val"]["mse"], rel=1e-6)
    main(["eval", folder])
    said = capsys.readouterr().out
    assert f"test: MSE {held.results['test']['mse']:.5f} (m/s)²" in said
    assert "vel_x" in said

    main(["table", folder, reference])
    assert "| flat-lstm |" in capsys.readouterr().out
    main(["table", folder, reference, "--json"])
    assert json.loads(capsys.readouterr().out)["kind"] == "real recordings"
    monkeypatch.setattr("baselines.commands.report.at_terminal", lambda stream: True)
    monkeypatch.setenv("COLUMNS", "80")
    main(["table", folder, reference])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80

    main(["report", folder, reference, "-o", str(tmp_path / "report.html")])
    assert f"report written to {tmp_path / 'report.html'}" in capsys.readouterr().out
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


def test_the_same_command_again_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "sample", "mean", "--out", str(tmp_path / "run")]
    main(command)
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "run").iterdir() if p.name != ".lock"}
    capsys.readouterr()
    main(command)
    assert "finished: nothing to do" in capsys.readouterr().out
    assert {p.name: p.stat().st_mtime_ns for p in (tmp_path / "run").iterdir() if p.name != ".lock"} == before


def test_a_prepared_file_instead_of_a_name(
    tmp_path: Path, runs: dict[str, Run], capsys: pytest.CaptureFixture[str]
) -> None:
    path = runs["mean"].environment["prepared"]
    arguments = ["train", path, "mean", "--window-s", "10", "--window-stride-s", "10"]
    main([*arguments, "--json", "--out", str(tmp_path / "a")])
    found = json.loads(capsys.readouterr().out)
    assert found["state"] == "new"
    assert found["test"]["mse"] == runs["mean"].results["test"]["mse"]
    code, error = _fails([*arguments, "--raw", str(tmp_path)], capsys)
    assert code == 2
    assert "no raw" in error


def test_a_prepared_file_is_found_from_another_folder(
    tmp_path: Path, runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also when the run, or the sweep, was given it by a path from where it began."""
    (tmp_path / "mine.h5").symlink_to(runs["mean"].environment["prepared"])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    main(["train", "mine.h5", "mean", "--out", "run"])
    main(["-q", "sweep", "--datasets", "mine.h5", "--models", "mean", "--seeds", "0", "--out", "sweep"])
    (swept,) = (tmp_path / "sweep" / "runs").iterdir()
    assert shlex.split(read_run(swept).environment["command"])[2] == str(tmp_path / "mine.h5")
    monkeypatch.chdir("elsewhere")
    capsys.readouterr()
    for folder in ("../run", str(swept)):
        main(["eval", folder])
        assert "test: MSE" in capsys.readouterr().out


def test_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    main(["train", "sample", "mean", "--seed", "3"])
    assert read_run(Path("runs/sample-mean-3")).config.train.seed == 3


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "sampel", "mean"], 2, "Did you mean 'sample'?"),
        (["train", "sample", "hiss-s4-mambo"], 2, "Did you mean 'hiss-s4-mamba'?"),
        (["train", "sample", "flat-s4", "--preset", "smal"], 2, "Did you mean 'small'?"),
        (["train", "sample", "flat-s4", "--set", "dims=3"], 2, "Did you mean 'dim'?"),
        (["train", "sample", "flat-s4", "--set", "dim"], 2, "KEY=VALUE"),
        (["train", "sample", "flat-s4", "--set", "model.dims=3"], 2, "Did you mean 'dim'?"),
        (["train", "sample", "flat-s4", "--set", "train.epoch=3"], 2, "Did you mean 'epochs'?"),
        (["train", "sample", "flat-s4", "--set", "modle.dim=3"], 2, "train.NAME, model.NAME or data.NAME"),
        (["train", "sample", "flat-s4", "--set", "data.hz=3"], 2, "a field of Protocol"),
        (
            ["train", "sample", "flat-s4", "--set", "train.epochs=3", "--epochs", "4"],
            2,
            "nothing that --epochs says too",
        ),
        (
            ["train", "sample", "hiss-s4-s4-mamba", "--set", "subchunk=half"],
            2,
            "subchunk='half': expected a whole number",
        ),
        (["train", "sample", "hiss-s4-mamba", "--set", "readout=[1]"], 2, "readout=[1]: expected a name"),
        (
            ["train", "sample", "fir", "--set", "taps=1.5"],
            2,
            "FirConfig.taps=1.5: expected a whole number from 1 to",
        ),
        (["train", "sample", "kalman", "--set", "order=x"], 2, "KalmanConfig.order='x': expected a whole number"),
        (["train", "sample", "mean", "--seed", str(2**64)], 2, "below 2^64"),
        (["train", "sample", "mean", "--protocol", "lenient"], 2, "lenient"),
        (["train", "sample", "mean", "--training", "papr"], 2, "--training papr: expected one of paper, strict"),
        (
            ["train", "sample", "mean", "--window-s", "0.3"],
            2,
            "--window-s 0.3: expected a positive multiple of 0.2 s",
        ),
        (["train", "sample", "mean", "--device", "abacus"], 2, "--device abacus: "),
        (["train", "sample", "mean", "--threads", "0"], 2, "--threads 0: "),
        (["train", "sample", "mean", "--window-s", "1", "--window-stride-s", "2"], 2, "at most --window-s 1"),
        (
            ["train", "sample", "fir", "--preset", "small"],
            2,
            "--preset small: expected none for the reference fir",
        ),
        (["eval", "pretrained:broad"], 2, "--data is missing: expected a prepared file"),
        (["faults", "nowhere", "--draws", "x"], 2, "--draws x: expected a whole number"),
        (["results", "-o", "x.csv"], 2, "RUN is missing: expected at least one folder"),
        (["sweep", "--datasets", "sample", "--models", "mean", "--jobs", "0"], 2, "--jobs 0: "),
        (["bench", "--batches", "4", "0"], 2, "--batches 4 0: expected whole numbers of at least 1"),
        (["stream", "pretrained:broad", "--input", "gone.csv"], 2, "--input gone.csv: expected a file"),
        (["train", "nowhere.h5", "mean"], 1, "nowhere.h5"),
        (["train", "broad", "mean", "--raw", "nowhere"], 1, "nowhere"),
        (["eval", "nowhere"], 1, "no such folder"),
        (["table", "nowhere"], 1, "no such folder"),
        (["table", "pretrained:broad"], 1, "pretrained:broad is a model that ships with the package, and no run"),
        (["report", "nowhere", "-o", "x.html"], 1, "no such folder"),
    ],
)
def test_one_line_errors(
    arguments: list[str], code: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    got, error = _fails(arguments, capsys)
    assert got == code, error
    assert message in error
    assert error.startswith("Error: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "line",
    [
        "eval {run} --predictions {file}",
        "report {run} -o {file}/page.html",
        "faults {run} --faults noise --out {file}",
        "sweep --datasets sample --models mean --seeds 0 --out {file}/sweep",
    ],
)
def test_what_cannot_be_written_is_named_without_a_traceback(
    line: str, runs: dict[str, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    arguments = [word.format(run=runs["mean"].folder, file=tmp_path / "file") for word in line.split()]
    code, error = _fails(arguments, capsys)
    assert code == 1
    assert error.startswith(f"Error: {tmp_path / 'file'}")
    assert (tmp_path / "file").read_text() == "mine"


def test_values_out_of_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    code, error = _fails(["train", "sample", "mean", "--lr", "-1"], capsys)
    assert code == 2
    assert "--lr -1: expected a number above 0" in error


def test_training_by_name_and_what_is_given_beside_it(tmp_path: Path) -> None:
    folder = str(tmp_path / "run")
    main(["train", "sample", "mean", "--training", "paper", "--window-s", "10", "--seed", "4", "--out", folder])
    changed = {"window_s": 10.0, "seed": 4}
    assert read_run(Path(folder)).config.train == dataclasses.replace(TRAINING["paper"], **changed)


def test_training_follows_the_protocol_unless_named() -> None:
    assert training_config({}, None, "paper") == TRAINING["paper"]
    assert training_config({"lr": 0.1}, "strict", "paper") == TrainConfig(lr=0.1)
    assert training_config({}, None, "my-own") == TrainConfig()


def test_options_need_no_docstrings(monkeypatch: pytest.MonkeyPatch) -> None:
    documented = _training_options()
    monkeypatch.setattr(TrainConfig, "__doc__", None)  # as python -OO leaves it
    assert list(_training_options()) == list(documented)


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["eval", "--help"], ["table", "--help"]])
def test_help_has_examples(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert "Example" in said
    assert "csp-baselines" in said


def test_a_missing_prepared_file_is_named(
    runs: dict[str, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, error = _fails(["eval", str(runs["a"].folder), "--data", str(tmp_path / "gone.h5")], capsys)
    assert code == 1
    assert "gone.h5" in error
    assert "--data" in error


def test_predictions_do_not_take_the_place_of_a_runs_own(
    runs: dict[str, Run], capsys: pytest.CaptureFixture[str]
) -> None:
    """They may be of another part, and be taken for its own by a report."""
    own = runs["a"].folder / "predictions.npz"
    before = own.read_bytes()
    code, error = _fails(
        ["eval", str(runs["a"].folder), "--part", "val", "--predictions", str(own.parent)], capsys
    )
    assert code == 2
    assert "--predictions" in error
    assert own.read_bytes() == before


def test_a_pretrained_model_runs_on_the_device_that_is_asked_for(
    runs: dict[str, Run], capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", runs["mean"].environment["prepared"]]
    code, error = _fails(["eval", "pretrained:broad", *data, "--device", "abacus"], capsys)
    assert (code, error) == (
        2,
        "Error: --device abacus: expected a device that torch can use here, such as cpu.\n",
    )


def test_a_reader_that_leaves_is_no_error(runs: dict[str, Run]) -> None:
    command = [sys.executable, "-u", "-m", "baselines", "table", str(runs["a"].folder), str(runs["b"].folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait() == 141
    assert "Traceback" not in said


def test_killed_and_started_again_gives_the_same_weights(tmp_path: Path, home: Path) -> None:
    """The real thing: SIGKILL in the middle of a training, then the same command."""
    environment = {**os.environ, "CSP_DATA_HOME": str(home), "OMP_NUM_THREADS": "1"}

    def command(folder: Path) -> list[str]:
        arguments = ["train", "sample", "flat-lstm", "--epochs", "12", "--out", str(folder), *TINY]
        return [sys.executable, "-m", "baselines", *arguments]

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(command(whole), env=environment, check=True, capture_output=True)
    process = subprocess.Popen(command(broken), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    metrics = broken / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.read_text().count("\n") >= 3):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (broken / "results.json").exists()
    subprocess.run(command(broken), env=environment, check=True, capture_output=True)
    assert (whole / "best.safetensors").read_bytes() == (broken / "best.safetensors").read_bytes()
    first, second = read_run(whole).results, read_run(broken).results
    assert (first["epoch"], first["val_loss"]) == (second["epoch"], second["val_loss"])
    for part in ("val", "test"):  # of equal weights; where memory lies can change the last bit of a prediction
        assert first[part]["mse"] == pytest.approx(second[part]["mse"], rel=1e-9)


def test_version_nearest_command_and_no_colours(capsys: pytest.CaptureFixture[str]) -> None:
    """In a terminal of its own, where tyro would colour."""
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"csp-baselines, version {csp_data.__version__}\n"
    code, error = _fails(["trian", "sample"], capsys)
    assert code == 2
    assert "There is no command 'trian'. Did you mean 'train'?" in error
    shown = {}
    for colours in (True, False):
        screen, line = pty.openpty()
        environment = {**os.environ, "TERM": "xterm"} | ({} if colours else {"NO_COLOR": "1"})
        if colours:
            environment.pop("NO_COLOR", None)
        command = [sys.executable, "-m", "baselines", "--help"]
        said = b""
        with subprocess.Popen(command, stdout=line, stderr=line, env=environment) as process:
            os.close(line)
            while True:
                try:
                    said += os.read(screen, 65536)
                except OSError:  # Linux: the other side has closed
                    break
        os.close(screen)
        assert process.returncode == 0
        shown[colours] = said
    assert b"\x1b[" in shown[True]  # or the test shows nothing
    assert b"\x1b[" not in shown[False]
    assert b"subcommands" in shown[False]


def test_a_folder_without_a_card_is_named_as_it_was_typed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = str(tmp_path), str(tmp_path / "out")
    sweep = ["sweep", "--datasets", folder, "--models", "mean"]
    for given, typed in ((["train", folder, "mean"], "DATASET"), (sweep, "--datasets")):
        _, error = _fails([*given, "--out", out], capsys)
        assert error.startswith(f"Error: {typed} {folder}: expected a data set's name")


@pytest.mark.parametrize(
    ("typed", "missing"),
    [
        ("table", "RUN"),
        ("faults", "RUN"),
        ("report -o page.html", "RUN"),
        ("faults sample-fir-0 --draws", "--draws"),
        ("sweep --datasets --models fir", "--datasets"),
        ("sweep --datasets sample --models", "--models"),
        ("ablate chunk --datasets sample --seeds", "--seeds"),
        ("ablate chunk --datasets sample --values", "--values"),
        ("train sample mean --set --lr 1", "--set"),
    ],
)
def test_no_words_where_some_are_needed(typed: str, missing: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, error = _fails(typed.split(), capsys)
    assert (code, error) == (2, f"Error: {missing} is missing: expected at least one.\n")
