"""Sweeps that are killed, share a folder, lose workers: the same table, and nothing ran twice."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import csp_data
from baselines.cli import main
from baselines.presets import MODELS
from baselines.runs.environment import code_version
from baselines.sweeps.sweep import read_sweep, sweep
from baselines.tables.make import make_table
from baselines.training.ledger import count_executed
from csp_data.authoring.template import new_source

SIZES = {
    "data.max_duration_s": [8],
    "train.epochs": [2],
    "train.batch": [16],
    "train.window_s": [4],
    "train.window_stride_s": [4],
    "model.dim": [8],
    "model.layers": [1],
}
Command = Callable[..., dict[str, Any]]


FEW = ("flat-lstm", "flat-mamba", "hiss-s4-mamba", "hiss-lstm-transformer")


def _arguments(out: Path, jobs: int = 2, models: Sequence[str] = ("published",)) -> list[str]:
    settings = [f"{name}={json.dumps(values[0])}" for name, values in SIZES.items()]
    return ["sweep", "--datasets", "sample", "--models", *models, "--seeds", "0-1", "--jobs", str(jobs),
            "--out", str(out), "--set", *settings]  # fmt: skip


def _table(out: Path) -> list[dict[str, Any]]:
    """Everything of the table but the times."""
    found = read_sweep(out)
    assert found.failed == {}
    names = ("model", "parameters", "seeds", "val_mse", "test_mse", "test_mse_std", "test_rmse", "test_rmse_std")
    rows = sorted(make_table(found.runs()).rows, key=lambda row: row.model)
    return [{name: getattr(row, name) for name in names} for row in rows]


def _same_table(out: Path, whole: Path) -> None:
    """Compare to far more digits than are shown; where memory lies can change the last bits of a float32 sum."""
    got = _table(out)
    expected = [row for row in _table(whole) if row["model"] in {row["model"] for row in got}]
    assert [row["model"] for row in got] == [row["model"] for row in expected]
    for row, other in zip(got, expected, strict=True):
        assert row == {k: pytest.approx(v, rel=1e-5) if isinstance(v, float) else v for k, v in other.items()}


def _folders(out: Path) -> list[Path]:
    return sorted((out / "runs").iterdir())


@pytest.fixture(scope="module")
def zygote(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    environment = {**os.environ, "CSP_DATA_HOME": str(home), "OMP_NUM_THREADS": "1"}
    log = tmp_path_factory.mktemp("zygote") / "log"
    script = Path(__file__).with_name("sweep_zygote.py")
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:

        def command(*arguments: list[str], folder: Path, kill_at: int | None = None, delay: float = 0.0) -> Any:
            assert process.stdin is not None
            assert process.stdout is not None
            asked = {"arguments": arguments, "folder": str(folder), "kill_at": kill_at, "delay": delay}
            process.stdin.write(json.dumps({**asked, "log": str(log)}) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            answer["log"] = log.read_text()
            return answer

        yield command
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture(scope="module")
def whole(zygote: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep of 16 models with 2 seeds, never interrupted."""
    out = tmp_path_factory.mktemp("whole") / "sweep"
    csp_data.prepare("sample", max_duration_s=8)  # a forked worker would inherit the lock of a file being written
    answer = zygote(_arguments(out), folder=out)
    assert answer["codes"] == [0], answer["log"]
    executed = count_executed(_folders(out))
    assert (executed.starts, executed.epochs, executed.finished, executed.twice) == (32, 64, 32, ())
    assert len(_table(out)) == len(MODELS) == 16
    return out


def test_killed_ten_times_and_resumed(zygote: Command, whole: Path, tmp_path: Path) -> None:
    rng, out, reached = random.Random(6), tmp_path / "sweep", 0
    kills = 0
    for _ in range(10):
        answer = zygote(
            _arguments(out), folder=out, kill_at=reached + rng.randint(0, 8), delay=rng.uniform(0.0, 0.05)
        )
        kills += answer["codes"] == [-signal.SIGKILL]
        reached = answer["lines"]
    assert kills == 10
    assert len(read_sweep(out).done) < 32  # something was left to do
    answer = zygote(_arguments(out), folder=out)
    assert answer["codes"] == [0], answer["log"]
    _same_table(out, whole)
    assert len(_table(out)) == 16
    executed = count_executed(_folders(out))
    assert executed.twice == ()
    assert executed.finished <= 32
    assert 32 < executed.starts <= 32 + 2 * kills
    # an epoch that was killed between its checkpoint and its line is not run again, and so has no line
    assert 64 - 2 * kills <= executed.epochs <= 64


def test_two_sweeps_in_one_folder_share_the_work(zygote: Command, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    answer = zygote(_arguments(out, 1, FEW), _arguments(out, 1, FEW), folder=out)
    assert answer["codes"] == [0, 0], answer["log"]
    executed = count_executed(_folders(out))
    assert (executed.starts, executed.epochs, executed.finished, executed.twice) == (8, 16, 8, ())
    _same_table(out, whole)
    assert [row["model"] for row in _table(out)] == sorted(FEW)


def test_again_does_nothing(zygote: Command, whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.suffix not in (".lock", ".jsonl")}
    answer = zygote(_arguments(whole), folder=whole)
    assert answer["codes"] == [0]
    assert "32 runs, 0 of them done now; 0 failed" in answer["log"].splitlines()[-2]
    files = [path for path in before if path.is_file()]
    assert {path: path.stat().st_mtime_ns for path in files} == {path: before[path] for path in files}


def test_a_dask_cluster_that_loses_a_worker(whole: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    out = tmp_path / "sweep"
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs=50
    ) as cluster:
        killed: list[int] = []

        def kill() -> None:
            while not killed:
                for folder in (out / "runs").glob("*"):
                    lines = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()] if (
                        folder / "ledger.jsonl").exists() else []  # fmt: skip
                    if lines and lines[-1]["event"] == "epoch" and lines[-1]["pid"] != os.getpid():
                        killed.append(lines[-1]["pid"])
                        os.kill(killed[0], signal.SIGKILL)
                        return
                time.sleep(0.01)

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        done = sweep(["sample"], FEW, seeds=[0, 1], out=out, settings=SIZES,
                     backend=f"dask:{cluster.scheduler_address}")  # fmt: skip
        killer.join(timeout=10)
    assert len(killed) == 1
    assert dict(done.failed) == {}
    assert len(done.done) == 8
    _same_table(out, whole)
    executed = count_executed(_folders(out))
    assert executed.twice == ()
    assert (executed.finished, executed.starts) == (8, 9)


def test_the_table_that_a_sweep_names_is_that_of_its_finished_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["train.epochs=1", "train.lr=1e300", "model.dim=4", "model.hidden=4", "model.layers=1"]
    given = ["--datasets", "sample", "--models", "flat-lstm", "mean", "--seeds", "0", "--set", *settings]
    with pytest.raises(SystemExit) as caught:
        main(["sweep", *given, "--out", str(tmp_path / "a sweep")])
    assert caught.value.code == 1
    (named,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("the table: ")]
    main(shlex.split(named.removeprefix("the table: "))[1:])
    assert "| mean |" in capsys.readouterr().out


def test_a_sweep_of_several_kinds_names_a_table_of_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real and simulated recordings share no table: the folder as a whole would be refused."""
    made = new_source("trolley", tmp_path / "trolley")
    out = tmp_path / "a sweep"
    main(["sweep", "--datasets", "sample", str(made), "--models", "mean", "--out", str(out)])
    named = [line.partition(": csp-baselines ") for line in capsys.readouterr().out.splitlines()[1:]]
    assert [line[0] for line in named] == [
        "the table of real recordings, protocol strict",
        "the table of simulated, protocol strict",
    ]
    for (_, _, command), dataset in zip(named, ("sample", "trolley"), strict=True):
        quoted = subprocess.run(
            ["sh", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True, check=True
        )
        main(quoted.stdout.splitlines())  # as the shell hands them over
        assert f"**{dataset}: " in capsys.readouterr().out


def test_a_sweep_that_another_version_began_says_that_its_runs_are_made_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "sweep"
    for _ in range(2):
        sweep(["sample"], ["mean"], seeds=[0], out=out)
    assert "another version" not in caplog.text
    lines = (out / "sweep.jsonl").read_text()
    (out / "sweep.jsonl").write_text(lines.replace(code_version(), "0123456789ab"))
    sweep(["sample"], ["mean"], seeds=[0], out=out)
    assert f"{out} was begun with another version of csp-data" in caplog.text
