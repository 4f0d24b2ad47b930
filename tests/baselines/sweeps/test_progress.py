"""What a sweep shows while it runs."""

from __future__ import annotations

import contextvars
import dataclasses
import io
import time
from functools import partial
from pathlib import Path

import pytest

from baselines import sweep
from baselines.cpu.threads import compiling_note
from baselines.sweeps import progress
from baselines.sweeps.grid import PlannedRun
from baselines.sweeps.progress import Progress
from baselines.sweeps.worker import Outcome
from baselines.training.ledger import append_event
from baselines.training.settings import TrainConfig


def test_preparing_shows_a_bar_where_python_asks_for_progress(
    empty_home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The stderr of a notebook is no terminal."""
    asked = partial(sweep, ["sample"], ["mean"], seeds=[0], out=tmp_path / "sweep", progress=True)
    done = contextvars.Context().run(asked)  # in which no command of another test has run
    assert len(done.done) == 1
    assert "prepare sample: 100%" in capfd.readouterr().err


def test_progress_on_a_terminal_and_elsewhere(planned: list[PlannedRun], tmp_path: Path) -> None:
    runs = [dataclasses.replace(p, folder=tmp_path / str(i)) for i, p in enumerate(planned)]
    assert len(runs) == 3

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    plain, terminal = io.StringIO(), Terminal()
    shown = [Progress(runs, 1, file=file) for file in (plain, terminal)]
    runs[1].folder.mkdir()
    append_event(runs[1].folder, "start")
    append_event(runs[1].folder, "epoch", epoch=1)
    with shown[1].live():
        for one in shown:
            one.add(Outcome(runs[0].folder, "done", seconds=30.0))
    epochs = TrainConfig().epochs
    assert plain.getvalue().splitlines() == [
        "[1/3] sample strict mean seed 0: done in 30.0 s; about 1 min 0 s left"
    ]
    table = terminal.getvalue().split("\x1b[J")[-1].splitlines()
    assert [line.split() for line in table[:3]] == [
        ["model", "done", "running", "failed", "waiting"],
        ["mean", "1", "0", "0", "0"],
        ["flat-lstm", "0", "1", "0", "1"],
    ]
    assert table[3] == f"  {runs[1].label}: epoch 1 of {epochs}"
    assert table[4] == "3 runs: 1 done, 0 failed, 2 left; about 1 min 0 s left"
    append_event(runs[1].folder, "compile")
    assert shown[1].table()[3] == f"  {runs[1].label}: compiling loops"
    shown[0].add(Outcome(runs[1].folder, "failed", "a reason\nthe last line"))
    assert plain.getvalue().splitlines()[1].endswith("seed 0: FAILED: the last line; about 0 min 30 s left")


def test_a_sweep_in_a_pipe_says_once_that_loops_are_compiled(
    planned: list[PlannedRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "REFRESH_S", 0.01)
    runs = [dataclasses.replace(p, folder=tmp_path / str(i)) for i, p in enumerate(planned)]

    def said(wanted: str, *, shown: bool = True) -> str:
        file = io.StringIO()
        with Progress(runs, 1, shown=shown, file=file).live():
            until = time.monotonic() + (10 if wanted else 0.1)
            while file.getvalue() == "" and time.monotonic() < until:
                time.sleep(0.01)
            time.sleep(0.1)
        return file.getvalue()

    for planned_ in runs[:2]:
        planned_.folder.mkdir()
        append_event(planned_.folder, "start")
    assert said("") == ""
    for planned_ in runs[:2]:
        append_event(planned_.folder, "compile")
    assert said(compiling_note()) == compiling_note() + "\n"
    assert said("", shown=False) == ""
