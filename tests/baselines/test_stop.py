"""Real signals to a real process end it and its workers; the same command goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import joblib
import pytest
from joblib.externals.loky import get_reusable_executor

from baselines.sweeps.pool import make_pool
from baselines.sweeps.sweep import read_sweep
from baselines.training.ledger import count_executed

TRAINING = {"window_s": 10, "window_stride_s": 10, "epochs": 500}
SIZES = {"dim": 8, "hidden": 8, "layers": 1}
HANGS_S = 120
"""After this a process that should have begun, or ended, hangs."""


STOPPED = "Stopped. The same command goes on from the last finished epoch."


def _stopped(
    arguments: list[str], home: Path, begun: Callable[[int], bool], stop: Callable[[int], None] | None = None
) -> tuple[int, str]:
    """Start a command, stop it once it has begun, given its id, by default as Ctrl-C does; return how it ended.

    It has ended when the processes that it started have: they share its stderr.
    """
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
        while not begun(process.pid):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() - since < HANGS_S
            time.sleep(0.01)
        (stop or (lambda pid: os.killpg(pid, signal.SIGINT)))(process.pid)
        said = process.communicate(timeout=HANGS_S)[1]
    finally:
        with suppress(ProcessLookupError):
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
        code, said = _stopped(arguments, home, lambda _, epochs=epochs: _epochs(folder) >= epochs)  # type: ignore[misc]
        assert code == 1, said
        assert "Traceback" not in said
        assert "goes on from the last finished epoch" in said
    assert count_executed([folder]).twice == ()
    assert count_executed([folder]).finished == 0


def _workers(pid: int) -> list[int]:
    """Return which of loky's processes a process has."""
    children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return [child for child in children if b"popen_loky" in Path(f"/proc/{child}/cmdline").read_bytes()]


NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for workers in Linux's /proc")
SWEEP = ["sweep", "--datasets", "sample", "--models", "flat-lstm", "--seeds", "0-2", "--jobs", "2", "--set"]
SWEEP += [f"train.{name}={value}" for name, value in TRAINING.items()]
SWEEP += [f"model.{name}={value}" for name, value in SIZES.items()]


@NEEDS_PROC
@pytest.mark.parametrize("when", ["workers start", "workers train"])
def test_stop_of_a_sweep(when: str, tmp_path: Path, home: Path) -> None:
    """Ctrl-C reaches two workers too: they leave no traceback, and nothing that a tracker has to clean up."""
    code, said = _stopped(
        [*SWEEP, "--out", str(tmp_path)],
        home,
        lambda pid: _training(tmp_path) if when == "workers train" else len(_workers(pid)) == 2,
    )
    assert (code, said.splitlines()) == (1, [STOPPED])
    found = read_sweep(tmp_path)
    assert found.done == ()
    assert len(found.failed) == (2 if when == "workers train" else 0)
    assert all("unfinished" in why for why in found.failed.values())


def _training(folder: Path) -> bool:
    """Tell whether two runs of a sweep have begun."""
    return sum(_epochs(run) >= 1 for run in folder.glob("runs/*")) == 2


@NEEDS_PROC
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_a_sweep_that_is_ended(number: signal.Signals, tmp_path: Path, home: Path) -> None:
    """The signal goes to the first process alone, as from a batch system, or when memory is short."""

    def stop(pid: int) -> None:
        assert len(_workers(pid)) == 2
        os.kill(pid, number)

    code, _ = _stopped([*SWEEP, "--out", str(tmp_path)], home, lambda _: _training(tmp_path), stop)
    assert code == -number
    assert len(read_sweep(tmp_path).failed) == 2  # unfinished: they did not go on to their last epochs


def test_a_worker_replaced_between_runs_is_no_warning(tmp_path: Path) -> None:
    pytest.importorskip("psutil", reason="loky looks at a worker's memory with it")

    def grow() -> int:  # by 320 MB for ever, and past loky's next look
        os.__dict__.setdefault("kept", []).append(b"x" * (320 << 20))
        time.sleep(1.1)
        return os.getpid()

    with warnings.catch_warnings(record=True) as seen, make_pool("loky", 2, tmp_path, {}):
        with joblib.parallel_config("loky", n_jobs=2):
            pids = joblib.Parallel(batch_size=1)(joblib.delayed(grow)() for _ in range(6))
        get_reusable_executor().shutdown(kill_workers=True)  # they are large
    assert len(set(pids)) > 2
    assert seen == []
