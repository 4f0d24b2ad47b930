"""Jobs of SLURM: with submitit's local processes, a stand-in for squeue, and SLURM itself where there is one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from baselines.errors import OptionError
from baselines.sweeps import slurm
from baselines.sweeps.grid import Grid, SweepError, expand, prepare_all
from baselines.sweeps.slurm import SlurmQueue, Submitit
from baselines.sweeps.sweep import sweep
from baselines.sweeps.worker import Place
from baselines.training.ledger import LEDGER, count_executed, read_lines

pytest.importorskip("submitit")

TINY = {"train.window_s": [10], "train.window_stride_s": [10], "train.epochs": [1]}


def _script(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_through_the_local_executor(tmp_path: Path) -> None:
    done = sweep(["sample"], ["mean"], seeds=[0], out=tmp_path / "out", settings=TINY, backend="slurm:local",
                 slurm={"timeout_min": 5})  # fmt: skip
    assert dict(done.failed) == {}
    assert done.runs()[0].results["test"]["mse"] > 0
    assert list((tmp_path / "out" / "slurm").glob("*_log.out"))


@pytest.mark.parametrize("parameters", [{"partitionn": "gpu"}, {"timeout_min": "4:00:00"}])
def test_parameters_that_submitit_does_not_take_are_refused(parameters: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="slurm="):
        sweep(["sample"], ["mean"], seeds=[0], out=tmp_path, settings=TINY, backend="slurm:local",
              slurm=parameters)  # fmt: skip


def test_without_slurm_and_with_one_that_refuses_the_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    monkeypatch.setenv("PATH", str(commands))
    with pytest.raises(OptionError, match=r"backend.*a machine with SLURM's commands"):
        sweep(["sample"], ["mean"], seeds=[0], out=tmp_path / "out", settings=TINY, backend="slurm")
    _script(commands, "srun", "exit 1")
    _script(commands, "sbatch", "echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1")
    with pytest.raises(SweepError, match="invalid partition specified: gpu"):
        sweep(["sample"], ["mean"], seeds=[0], out=tmp_path / "out", settings=TINY, backend="slurm",
              slurm={"slurm_partition": "gpu"})  # fmt: skip


def test_jobs_end_with_the_sweep(tmp_path: Path) -> None:
    settings = {**TINY, "train.epochs": [100_000], "model.dim": [4], "model.hidden": [4]}
    grid = Grid(datasets=("sample",), models=("mean", "flat-lstm"), seeds=(0,), settings=settings)
    short, endless = expand(grid, prepare_all(grid), tmp_path)
    outcomes = Submitit(tmp_path / "slurm", "local", 2).outcomes([short, endless], Place())
    assert next(outcomes).folder == short.folder
    late = time.monotonic() + 60
    while not (lines := read_lines(endless.folder / LEDGER)) and time.monotonic() < late:
        time.sleep(0.05)
    outcomes.close()
    late = time.monotonic() + 60
    while (alive := _is_alive(lines[0]["pid"])) and time.monotonic() < late:
        time.sleep(0.05)
    if alive:
        os.kill(lines[0]["pid"], signal.SIGKILL)
    assert not alive


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_job_has_ended_when_squeue_says_so_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines as SLURM 22.05.8 prints them; sacct is not asked, which fails where no accounts are kept."""
    listing, commands = tmp_path / "listing", tmp_path / "bin"
    _script(
        commands, "squeue", f'test "$SQUEUE_STATES" = "" && while read -r line; do echo "$line"; done < {listing}'
    )
    monkeypatch.setenv("PATH", str(commands))
    monkeypatch.setenv("SQUEUE_STATES", "RUNNING")  # somebody's habit: it would hide what waits
    monkeypatch.setattr(slurm, "LISTING_S", -1.0)

    def list_jobs(*lines: str) -> None:
        listing.write_text("".join(f"{line}\n" for line in lines))

    def ends(queue: SlurmQueue) -> dict[str, str]:
        return {job: end for job in ("7", "8_0", "8_1") if (end := queue.end_of(job))}

    queue = SlurmQueue()
    list_jobs("7 TIMEOUT", "8_0 PENDING", "8_1 COMPLETING")
    assert queue.end_of("7") == ""
    assert ends(queue) == {"7": "TIMEOUT"}
    list_jobs("8_0 RUNNING", "8_1 CANCELLED")
    assert queue.end_of("8_1") == ""
    assert ends(queue) == {"7": "no longer in SLURM's queue", "8_1": "CANCELLED"}
    list_jobs("8_0 OUT_OF_MEMORY", "8_1 PENDING")  # put into the queue again
    assert queue.end_of("8_0") == ""
    assert ends(queue) == {"7": "no longer in SLURM's queue", "8_0": "OUT_OF_MEMORY"}
    unanswered = SlurmQueue()
    listing.unlink()
    assert unanswered.end_of("7") == unanswered.end_of("7") == ""


def _slurm_answers() -> bool:
    if shutil.which("scontrol") is None:
        return False
    try:
        answer = subprocess.run(["scontrol", "ping"], capture_output=True, text=True, timeout=10)
    except subprocess.TimeoutExpired:
        return False
    return "is UP" in answer.stdout


@pytest.mark.skipif(not _slurm_answers(), reason="needs SLURM on this machine")
def test_a_cancelled_job_of_slurm_is_submitted_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    cancelled: list[str] = []

    def cancel() -> None:
        while not cancelled:
            for ledger in (out / "runs").glob("*/ledger.jsonl"):
                if any(line.get("event") == "epoch" for line in read_lines(ledger)):
                    (pickle,) = (out / "slurm").glob("*_submitted.pkl")
                    cancelled.append(pickle.name.split("_submitted")[0])
                    subprocess.run(["scancel", cancelled[0]], check=True)
            time.sleep(0.05)

    thread = threading.Thread(target=cancel, daemon=True)
    thread.start()
    settings = {"train.epochs": [200], "model.dim": [8], "model.hidden": [8]}
    done = sweep(["sample"], ["flat-lstm"], seeds=[0], out=out, settings=settings, backend="slurm",
                 slurm={"timeout_min": 5})  # fmt: skip
    thread.join(timeout=10)
    assert dict(done.failed) == {}
    executed = count_executed(done.done)
    assert (executed.starts, executed.epochs, executed.finished, executed.twice) == (2, 200, 1, ())
