"""What one run's failure does to the others of a sweep, and the loss of a worker to its run."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from baselines.cli import main
from baselines.errors import CspDataError, OptionError
from baselines.runs.run import failure_of, lock_folder, read_run
from baselines.sweeps.execute import execute
from baselines.sweeps.grid import Grid, PlannedRun, expand, prepare_all
from baselines.sweeps.slots import device_slot
from baselines.sweeps.sweep import read_sweep, sweep
from baselines.sweeps.worker import Outcome, Place, WorkerLostError, work_on
from baselines.training.ledger import append_event, count_executed

TINY = {"train.window_s": [10], "train.window_stride_s": [10], "train.epochs": [1]}


def test_failures_say_why_and_stop_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One run diverges, one folder is damaged, one is somebody else's: the others finish, all are told."""
    out = tmp_path / "out"
    arguments = ["sweep", "--datasets", "sample", "--models", "mean", "fir", "flat-lstm", "--seeds", "0", "--out",
                 str(out), "--set", "train.window_s=10", "train.window_stride_s=10", "train.epochs=1",
                 "model.dim=8", "model.hidden=8", "model.layers=1", "train.lr=1e-3,1e30"]  # fmt: skip
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 1
    said = capsys.readouterr()
    assert "3 runs, 3 of them done now; 1 failed" in said.out
    assert "[4/4]" in said.err
    assert "The loss" in said.err
    found = read_sweep(out)
    assert [run.folder for run in found.runs()] == list(found.done)
    assert (len(found.done), len(found.failed), found.executed) == (3, 1, 0)
    damaged, foreign = found.done[:2]
    (damaged / "results.json").write_text("{}")
    (foreign / "config.json").write_text('{"my": "settings"}')
    before = {path: path.read_bytes() for path in [damaged / "results.json", foreign / "config.json"]}
    with pytest.raises(SystemExit):
        main([*arguments, "--json"])
    failed = json.loads(capsys.readouterr().out)["failed"]
    assert len(failed) == 3
    assert "damaged" in failed[str(damaged)]
    assert "not the folder of a run" in failed[str(foreign)]
    assert {path: path.read_bytes() for path in before} == before
    assert set(read_sweep(out).failed) == {damaged, foreign, *found.failed}


def test_a_file_that_cannot_be_written_is_named_without_a_traceback(
    planned: list[PlannedRun], tmp_path: Path
) -> None:
    """As on a full disk or beyond a quota: a limit that the system keeps for each file."""
    resource = pytest.importorskip("resource")
    mean = dataclasses.replace(next(p for p in planned if p.model == "mean"), folder=tmp_path / "run")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        outcome = work_on(mean, Place())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (outcome.state, outcome.error) == ("failed", f"{mean.folder / 'config.json'}: File too large")


def test_a_run_that_another_process_holds_is_waited_for(planned: list[PlannedRun], tmp_path: Path) -> None:
    """No worker is asked meanwhile, nor for what that process finishes: for SLURM each would be one more job."""
    (mean,) = (p for p in planned if p.model == "mean")
    other = sweep(["sample"], ["mean"], seeds=[0], out=tmp_path / "other", settings=TINY).done[0]
    config = read_run(other).config
    left, completed = (
        dataclasses.replace(mean, folder=tmp_path / f"{name}-{config.key}", train=config.train)
        for name in ("left", "completed")
    )
    entered, released = threading.Event(), threading.Event()

    def hold() -> None:
        with lock_folder(left.folder, config), lock_folder(completed.folder, config):
            entered.set()
            time.sleep(0.5)
            shutil.copytree(other, completed.folder, dirs_exist_ok=True)
            released.set()

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(timeout=30)
    asked: list[Path] = []

    class Here:
        def outcomes(self, runs: Sequence[PlannedRun], place: Place) -> Iterator[Outcome]:
            assert released.is_set()
            asked.extend(planned.folder for planned in runs)
            yield from (work_on(planned, place) for planned in runs)

    states = {outcome.folder: outcome.state for outcome in execute([left, completed], Here(), Place())}
    thread.join()
    assert states == {left.folder: "done", completed.folder: "skipped"}
    assert asked == [left.folder]
    assert count_executed([left.folder]).finished == 1


def test_a_run_that_always_loses_its_worker_fails(planned: list[PlannedRun], tmp_path: Path) -> None:
    """The first run kills whoever takes it up; the second is only beside it."""
    bad, good = (
        dataclasses.replace(p, folder=tmp_path / name) for p, name in zip(planned, ("bad", "good"), strict=False)
    )
    for made in (bad, good):
        made.folder.mkdir()

    class Kills:
        def outcomes(self, runs: Sequence[PlannedRun], place: Place) -> Iterator[Outcome]:
            append_event(runs[0].folder, "start")
            if runs[0] is bad:
                raise WorkerLostError("exit code -9")
            yield from (Outcome(run.folder, "done") for run in runs)

    outcomes = {o.folder.name: o for o in execute([bad, good], Kills(), Place())}
    assert outcomes["bad"].state == "failed"
    assert "3 times without finishing an epoch" in outcomes["bad"].error
    assert failure_of(bad.folder) == outcomes["bad"].error  # as it is told later, of the folder
    assert outcomes["good"].state == "done"

    class Never:
        asked = 0

        def outcomes(self, runs: Sequence[PlannedRun], place: Place) -> Iterator[Outcome]:
            Never.asked += 1
            raise WorkerLostError("no module named torch")
            yield

    with pytest.raises(CspDataError, match=r"before they begin a run, 3 times.*no module named torch"):
        list(execute([good], Never(), Place()))
    assert Never.asked == 3


MORTAL = """
import json, os
from pathlib import Path
from torch import nn

class Mortal(nn.Module):
    # sends a signal to its process at the first step after an epoch; or also after one of a process before it

    def __init__(self, in_dim, out_dim, chunk, sweep, again, signal):
        super().__init__()
        self.sweep, self.again, self.signal = sweep, again, signal
        self.read = nn.Conv1d(in_dim, out_dim, chunk, stride=chunk)

    def forward(self, x):
        for ledger in Path(self.sweep).glob("runs/*/ledger.jsonl") if self.training else ():
            lines = [json.loads(line) for line in ledger.read_text().splitlines()]
            here = [line["event"] for line in lines if line["pid"] == os.getpid()]
            if here and (here[-1] == "epoch" or self.again and "epoch" in [line["event"] for line in lines]):
                os.kill(os.getpid(), self.signal)
        return self.read(x.mT).mT
"""


def _mortal(
    folder: Path, *, again: bool, epochs: int, signalled: signal.Signals = signal.SIGKILL
) -> dict[str, Any]:
    """Settings of a sweep in ``folder / "out"`` whose one run, of a file beside it, kills its workers."""
    (folder / "mortal.py").write_text(MORTAL)
    given = {"sweep": str(folder / "out"), "again": again, "signal": int(signalled)}
    settings = {**TINY, "train.epochs": [epochs], **{f"model.{name}": [value] for name, value in given.items()}}
    return {"models": (f"{folder / 'mortal.py'}:Mortal",), "seeds": (0,), "settings": settings}


@pytest.mark.parametrize(("again", "state", "starts", "epochs"), [(False, "done", 4, 4), (True, "failed", 3, 1)])
def test_killed_once_an_epoch_it_is_done_and_three_times_in_one_it_has_failed(
    again: bool, state: str, starts: int, epochs: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Forks:
        def outcomes(self, runs: Sequence[PlannedRun], place: Place) -> Iterator[Outcome]:
            for planned in runs:
                child = os.fork()
                if child == 0:
                    try:
                        os._exit(work_on(planned, place).state != "done")
                    finally:
                        os._exit(2)
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                if code:
                    raise WorkerLostError(f"exit code {code}")
                yield Outcome(planned.folder, "done")

    grid = Grid(datasets=("sample",), **_mortal(tmp_path, again=again, epochs=4))
    (mortal,) = expand(grid, prepare_all(grid), tmp_path / "out")
    (outcome,) = execute([mortal], Forks(), Place())
    executed = count_executed([mortal.folder])
    assert (outcome.state, executed.starts, executed.epochs, executed.twice) == (state, starts, epochs, ())
    assert outcome.error.endswith("exit code -9" if again else "")
    told = [record.message for record in caplog.records if record.message.startswith("a worker was lost")]
    assert len(told) == 3


@pytest.mark.parametrize("backend", ["loky", "slurm:local"])
def test_a_run_whose_worker_is_killed_goes_on_from_its_checkpoint(backend: str, tmp_path: Path) -> None:
    """The real pools; dask's is in test_sweep.py."""
    if backend != "loky":
        pytest.importorskip("submitit")
    mortal = _mortal(tmp_path, again=False, epochs=2)
    done = sweep(["sample"], **mortal, out=tmp_path / "out", jobs=2, backend=backend)
    assert dict(done.failed) == {}
    executed = count_executed(done.done)
    assert (executed.starts, executed.epochs, executed.finished, executed.twice) == (2, 2, 1, ())


def test_the_signal_before_the_time_limit_of_a_job_does_not_end_its_run(tmp_path: Path) -> None:
    """SLURM sends it as submitit asks; submitit's handler raised an error in the step, and the run had failed."""
    submitit = pytest.importorskip("submitit")
    warning = signal.Signals[f"SIG{submitit.JobEnvironment.USR_SIG}"]
    mortal = _mortal(tmp_path, again=False, epochs=2, signalled=warning)
    done = sweep(["sample"], **mortal, out=tmp_path / "out", backend="slurm:local")
    assert dict(done.failed) == {}
    executed = count_executed(done.done)
    assert (executed.starts, executed.epochs, executed.finished, executed.twice) == (1, 2, 1, ())


def test_runs_share_devices_evenly_and_never_too_many(tmp_path: Path) -> None:
    now: dict[str, int] = {"a": 0, "b": 0}
    most: list[dict[str, int]] = []
    mutex = threading.Lock()

    def take() -> None:
        with device_slot(tmp_path, ["a", "b"], 2) as device:
            with mutex:
                now[device] += 1
                most.append(dict(now))
            time.sleep(0.05)
            with mutex:
                now[device] -= 1

    threads = [threading.Thread(target=take) for _ in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 7
    assert all(used <= 2 for state in most for used in state.values())
    assert now == {"a": 0, "b": 0}
    assert [path.name for path in tmp_path.iterdir()] == [socket.gethostname()]  # machines may share the folder
    with device_slot(tmp_path, ["a", "b"], 2) as one, device_slot(tmp_path, ["a", "b"], 2) as other:
        assert {one, other} == {"a", "b"}
    with pytest.raises(OptionError, match="a GPU"), device_slot(tmp_path, [], 1):
        pass
