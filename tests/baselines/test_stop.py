"""Ctrl-C: a real signal to a real process and its workers ends them; the same command goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from baselines.ledger import count
from baselines.sweeps import read_sweep

TRAINING = {"window_s": 10, "window_stride_s": 10, "epochs": 500}
SIZES = {"dim": 8, "hidden": 8, "layers": 1}
HANGS_S = 120
"""After this a process that should have begun, or ended, hangs."""


def _stopped(arguments: list[str], home: Path, begun: Callable[[], bool]) -> tuple[int, str]:
    """Start a command, send its process group what Ctrl-C sends as soon as it is at work, return how it ended."""
    environment = {**os.environ, "CSP_DATA_HOME": str(home), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "baselines", *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        since = time.monotonic()
        while not begun():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() - since < HANGS_S
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=HANGS_S)[1]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return process.returncode, said


def _epochs(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def test_stop_of_a_training(tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "run"
    options = [text for name, value in TRAINING.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    sizes = [f"{name}={value}" for name, value in SIZES.items()]
    arguments = ["train", "sample", "flat-lstm", *options, "--set", *sizes, "--out", str(folder)]
    for epochs in (2, 4):  # the second time it goes on
        code, said = _stopped(arguments, home, lambda epochs=epochs: _epochs(folder) >= epochs)  # type: ignore[misc]
        assert code == 1, said
        assert "Traceback" not in said
        assert "goes on from the last finished epoch" in said
    assert count([folder]).twice == ()
    assert count([folder]).finished == 0


def test_stop_of_a_sweep(tmp_path: Path, home: Path) -> None:
    """Two workers, which Ctrl-C reaches too."""
    settings = [f"train.{name}={value}" for name, value in TRAINING.items()]
    settings += [f"model.{name}={value}" for name, value in SIZES.items()]
    arguments = ["sweep", "--datasets", "sample", "--models", "flat-lstm", "--seeds", "0-2", "--jobs", "2"]
    code, said = _stopped(
        [*arguments, "--set", *settings, "--out", str(tmp_path)],
        home,
        lambda: sum(_epochs(folder) >= 1 for folder in tmp_path.glob("runs/*")) == 2,
    )
    assert code == 1, said
    assert "Traceback" not in said
    runs, left = read_sweep(tmp_path)
    assert runs == []
    assert len(left) == 2
    assert all("unfinished" in why for why in left.values())
