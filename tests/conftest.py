"""Fixtures for all tests: a home of their own, reference data where there is some, a terminal, a shell."""

from __future__ import annotations

import logging
import os
import pty
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

import csp_data
from csp_data.card import registry

# Processes that tests start import the tests' functions by name; at the end, for what is installed comes first.
sys.path.append(str(Path(__file__).parents[1]))


@pytest.fixture(autouse=True, scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One empty home for the whole run: no test touches the user's."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CSP_DATA_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def sample() -> csp_data.Dataset:
    """The real recordings that ship with the package."""
    return csp_data.load("sample")


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_is_heard() -> None:
    """What a script starts in the background ignores Ctrl-C, and so do its children: the programs tested here."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """A command that runs in this process sets how loud its log is: not for the tests after it."""
    loggers = [logging.getLogger(name) for name in (None, "csp_data", "baselines", "urllib3")]
    levels, handlers = [logger.level for logger in loggers], loggers[0].handlers[:]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    for handler in set(loggers[0].handlers) - set(handlers):
        loggers[0].removeHandler(handler)


@pytest.fixture(autouse=True)
def _data_sets_as_before() -> Iterator[None]:
    """A data set that a test registers, by naming its folder for instance, is not there for the tests after it."""
    before = registry._added
    registry._added = dict(before)
    yield
    registry._added = before


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home for one test alone."""
    monkeypatch.setenv("CSP_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def untar() -> Callable[[Path, Path], None]:
    """Unpack a tar archive into a folder, by Python's own means."""
    safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # not before Python 3.11.4

    def unpack(archive: Path, folder: Path) -> None:
        with tarfile.open(archive) as members:
            members.extractall(folder, **safely)

    return unpack


@pytest.fixture(scope="session")
def reference_dir() -> Path:
    """The folder of reference data (golden outputs, original recordings), which is not part of the repository."""
    default = Path(__file__).parent.parent.parent / "shared"
    folder = Path(os.environ.get("CSP_DATA_REFERENCE", default))
    if not (folder / "golden").is_dir():
        pytest.skip(f"reference data not found at {folder} (set CSP_DATA_REFERENCE)")
    return folder


HANGS = 300
"""Seconds; on a machine that has much else to do, programs that compile loops take more than a minute."""


@pytest.fixture
def terminal() -> Callable[..., tuple[int, str]]:
    """Run a program in a terminal of its own; return the exit code, and all that stood there."""

    def run(
        program: Sequence[str], *arguments: str, answer: str = "", environment: dict[str, str] | None = None
    ) -> tuple[int, str]:
        screen, line = pty.openpty()
        termios.tcsetwinsize(line, (24, 100))
        with subprocess.Popen(
            [*program, *arguments],
            stdin=line,
            stdout=line,
            stderr=line,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        ) as process:
            os.close(line)
            said, answered, begun = b"", False, time.monotonic()
            while time.monotonic() - begun < HANGS:
                if select.select([screen], [], [], 0.1)[0]:
                    try:
                        said += os.read(screen, 65536)
                    except OSError:  # Linux: the other side has closed
                        break
                if answer and not answered and b"[y/N]" in said:
                    os.write(screen, answer.encode() + b"\n")
                    answered = True
            else:
                process.kill()
        os.close(screen)
        return process.returncode, said.decode()

    return run


@cache
def _completion_script(program: tuple[str, ...]) -> str:
    return subprocess.run([*program, "completion", "bash"], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def completions(tmp_path: Path) -> Callable[[Sequence[str], str], list[str]]:
    """Let a real bash complete the last word of a line, with the script that the program prints."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")

    def complete(program: Sequence[str], line: str) -> list[str]:
        words = line.split(" ")
        name = words[0]
        script = _completion_script(tuple(program))
        (tmp_path / name).write_text(f'#!/bin/sh\nexec {shlex.join(program)} "$@"\n')
        (tmp_path / name).chmod(0o755)
        call = f"""{script}
COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}
_{name.replace("-", "_")}_completion {name} {shlex.quote(words[-1])} {shlex.quote(words[-2])}
printf '%s\\n' "${{COMPREPLY[@]}}" """
        path = f"{tmp_path}:{os.environ['PATH']}"
        done = subprocess.run([bash, "-c", call], capture_output=True, text=True, env={**os.environ, "PATH": path})
        assert done.stderr == ""
        return done.stdout.split()

    return complete
