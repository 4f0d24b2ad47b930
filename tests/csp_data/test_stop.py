"""Ctrl-C and kill while something is written: real signals to real processes; nothing half-written is left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import csp_data
from csp_data.errors import CspDataError
from csp_data.home import lock, prepared_dir
from csp_data.output import output, output_folder, temporary_beside


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


ROOT = Path(__file__).parents[2]
PROGRAMS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]


@pytest.mark.parametrize("ignored", [False, True], ids=["", "in the background"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_stop_while_a_program_is_loaded(name: str, ignored: bool, tmp_path: Path) -> None:
    """It ends as other programs do, with nothing said, and goes on where Ctrl-C is not meant for it."""
    (tmp_path / "numpy.py").write_text("print('loading', flush=True); input(); raise SystemExit('went on')")
    module, function = PROGRAMS[name].split(":")
    code = f"import signal, sys; sys.path.insert(0, {str(tmp_path)!r}); "
    code += "signal.signal(signal.SIGINT, signal.SIG_IGN); " if ignored else ""
    code += f"from {module} import {function}; {function}()"
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading\n"
        process.send_signal(signal.SIGINT)
        said = process.communicate("\n")[1]
    assert (process.returncode, said) == ((1, "went on\n") if ignored else (-signal.SIGINT, ""))


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a file system in which no file can be made")
def test_a_lock_that_cannot_be_made_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csp_data.home.WAIT_S", 0.1)
    with pytest.raises(CspDataError, match="cannot write to /proc"), lock(Path("/proc/x.h5")):
        pass


def test_a_lock_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    """As one that another user made in a folder for all: the folder was named, and could be written to."""
    (tmp_path / "x.h5.lock").mkdir()
    with (
        pytest.raises(CspDataError, match=r"cannot write to .*x\.h5\.lock: .*CSP_DATA_HOME"),
        lock(tmp_path / "x.h5"),
    ):
        pass


WRITES_FOR_EVER = """
import sys, time
from pathlib import Path
from csp_data.output import output, output_folder
with {"output": output, "output_folder": output_folder}[sys.argv[1]](Path(sys.argv[2])) as made:
    (made if sys.argv[1] == "output" else made / "inside").write_text("half")
    print(made, flush=True)
    time.sleep(600)
"""


def begin_to_write(kind: str, path: Path) -> tuple[subprocess.Popen[str], Path]:
    command = [sys.executable, "-c", WRITES_FOR_EVER, kind, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().rstrip("\n"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not say safely which processes there are")
@pytest.mark.parametrize("kind", ["output", "output_folder"])
def test_what_a_killed_process_left_is_deleted_by_the_next_that_writes_there(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a figure [1].png"
    (killed, left), (alive, begun) = begin_to_write(kind, path), begin_to_write(kind, path)
    try:
        killed.kill()
        killed.wait()
        assert left.exists()
        number = str(killed.pid)
        others = [
            left.with_name(left.name.replace(number, f"{number}x")),
            left.with_name(left.name.replace("-", "0-")),  # of another machine, whose processes are not known here
            left.with_name(left.name.replace("figure", "picture")),
        ]
        for other in others:
            other.write_text("somebody's")
        if kind == "output":
            with output(path) as made:
                made.write_text("whole")
        else:
            with output_folder(path):
                pass
        assert sorted(tmp_path.iterdir()) == sorted([path, begun, *others])
    finally:
        for process in (killed, alive):
            process.kill()
            process.communicate()


def test_temporary_names_keep_the_ending_that_a_writer_looks_at(tmp_path: Path) -> None:
    made = temporary_beside(tmp_path / "model.onnx", ".onnx")
    assert made.name.startswith(".model.onnx.")
    assert re.search(rf"-{os.getpid()}-[0-9a-f]+\.part\.onnx$", made.name)
    assert made != temporary_beside(tmp_path / "model.onnx", ".onnx")  # nobody can put a link there beforehand
    assert temporary_beside(tmp_path / "not there" / "x").parent == tmp_path / "not there"
