"""Ctrl-C while a data set is prepared: a real signal to a real process; nothing half-written is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import csp_data
from csp_data.home import lock, prepared_dir


def test_stop_of_preparing(empty_home: Path) -> None:
    """It waits for the prepared file's lock, so that the signal finds it at a known place."""
    path = csp_data.prepare("sample")
    path.unlink()
    command = [sys.executable, "-m", "csp_data", "prepare", "sample"]
    environment = {**os.environ, "CSP_DATA_HOME": str(empty_home)}
    pipe = subprocess.PIPE
    with lock(path), subprocess.Popen(command, stderr=pipe, stdout=pipe, text=True, env=environment) as process:
        assert process.stderr is not None
        assert any("Ctrl-C stops the waiting" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait() == 1, said
        assert "Traceback" not in said
    assert [left.suffix for left in prepared_dir().iterdir()] == [".lock"]
    assert csp_data.prepare("sample") == path
