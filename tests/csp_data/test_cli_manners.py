"""What people expect of a command line, in real processes where it matters: pipes, terminals, shells."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import csp_data
from csp_data.card import bundled_root
from csp_data.cli import cli

HANGS = 60
Terminal = Callable[..., tuple[int, str]]


def commands(
    group: click.Group = cli, before: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*before, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*before, name))


ALL = dict(commands())
PROGRAM = (sys.executable, "-m", "csp_data")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_of_every_command_ends_in_examples_that_parse(words: tuple[str, ...]) -> None:
    for flag in ("--help", "-h"):
        result = run(*words, flag)
        assert result.exit_code == 0
    lines = re.split(r"Examples?:\n", result.stdout)[1].splitlines()
    calls = [match[0] for line in lines for match in re.finditer(r"csp-data [^#>)|\"]+", line)]
    assert calls
    for call in calls:
        arguments = shlex.split(call)[1:]
        assert arguments[: len(words)] == list(words)
        ALL[words].make_context(call, arguments[len(words) :])  # raises on options or values that do not exist


def test_what_the_system_refuses_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose root is read-only, where there is no folder for temporary files."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    done = run("bench", "prepare", "vector")
    assert done.exit_code == 1
    assert re.fullmatch(r"Error: \S+/gone/\w+: No such file or directory\..+another place\.\n", done.stderr)


def test_the_list_of_commands_says_whole_sentences() -> None:
    for words in ((), ("bench",)):
        listed = run(*words, "--help").stdout.split("Commands:\n")[1].split("\n\n")[0].splitlines()
        assert len(listed) >= 2
        assert not [line for line in listed if line.endswith("...")]


def test_version_and_no_arguments() -> None:
    assert run("--version").stdout == f"csp-data, version {csp_data.__version__}\n"
    assert "Usage: csp-data" in CliRunner().invoke(cli, [], prog_name="csp-data").output


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["prepair", "sample"], "prepare"),
        (["prepare", "sample", "--lowpas", "2"], "--lowpass"),
        (["info", "smaple"], "sample"),
        (["simulate", "vektor", "x"], "vector"),
    ],
)
def test_near_misses_are_told_what_was_meant(arguments: list[str], meant: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert re.search(rf"Did you mean.*{meant}", result.stderr)


def test_json_is_all_of_stdout_for_every_command_that_reports(empty_home: Path, tmp_path: Path) -> None:
    tree = str(tmp_path / "tree")
    calls = {
        "list": [],
        "info": ["sample", "--prepared"],
        "verify": ["sample", "--deep"],
        "prepare": ["sample"],
        "plot": ["sample", "-o", str(tmp_path / "x.png")],
        "export": ["sample", "-o", str(tmp_path / "x.npz")],
        "cite": ["broad"],
        "path": ["broad"],
        "simulate": ["vector", tree, "--hours", "0.01"],
        "import": ["vector", tree],
        "download": ["sample"],
        "doctor": [],
        "check": ["sample", "--limit", "1"],
        "files": ["sample"],
        "new": ["mine", "--out", str(tmp_path / "mine")],
        "clean": ["--prepared", "--yes"],
    }
    for name, arguments in calls.items():
        result = run(name, *arguments, "--json")
        assert result.exit_code == 0, (name, result.stderr)
        json.loads(result.stdout)
    assert {name for (name, *_), command in ALL.items() if "as_json" in {p.name for p in command.params}} == {
        *calls,
        "bench",
    }
    failed = run("prepare", "broad", "--json")
    assert (failed.exit_code, failed.stdout) == (1, "")


@pytest.mark.parametrize("before", [True, False])
def test_quiet_and_verbose_stand_before_or_behind_the_command(tmp_path: Path, before: bool) -> None:
    tree = shutil.copytree(csp_data.verify("sample").root, tmp_path / "raw")
    (tree / "notes.txt").write_text("mine")

    def verify(*flags: str) -> str:
        front, behind = (list(flags), []) if before else ([], list(flags))
        result = run(*front, "verify", "sample", "--raw", str(tree), *behind)
        assert result.exit_code == 0
        return result.stderr

    assert "notes.txt: extra" in verify()
    assert verify("--quiet") == verify("-q") == ""


def test_verbose_says_what_was_done(empty_home: Path) -> None:
    said = run("prepare", "sample", "--verbose").stderr
    assert "reading 13 recordings" in said
    assert "reference samples without a value interpolated" in said
    assert "made by an equal recipe" in run("prepare", "sample", "--verbose").stderr
    assert run("prepare", "sample").stderr == ""


@pytest.mark.parametrize("name", ["./nothing", "folder", "x.h5"])
def test_a_place_without_a_card_is_no_misspelt_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    said = run("check", name)
    assert said.exit_code == 2
    assert f"NAME {name}: expected a data set's name, or a folder that holds card.toml; th" in said.stderr
    for way in ("csp_data.load(path='x.h5')", "csp-data info, plot, view or export"):
        assert (way in said.stderr) == (name == "x.h5")


def test_a_prepared_file_stands_for_its_data_set(tmp_path: Path) -> None:
    path = str(csp_data.prepare("sample", lowpass=csp_data.LowPass(3.0)))
    assert run("plot", path, "-o", str(tmp_path / "x.svg"), "--lowpass", "2").exit_code == 0
    said = run("info", path)
    assert said.exit_code == 0
    assert "13 found, 13 used" in said.stdout
    assert json.loads(run("info", path, "--json").stdout)["prepared"]["path"] == path
    assert "data set's name" in run("plot", path, "-o", "x.svg", "--figure", "clocks").stderr
    for given in (["--lowpass", "2"], ["--skip-damaged"]):
        assert "The file has its own" in run("view", path, *given, "--no-browser").stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("plot", "sample", "-o"),
        ("export", "sample", "--format", "npz", "-o"),
        ("export", "sample", "--format", "hf", "-o"),
        ("export", "sample", "--format", "parquet", "-o"),
        ("simulate", "joystick", "--hours", "0.01"),
    ],
    ids=" ".join,
)
def test_results_are_written_whole_and_where_asked(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Folders above are made; a file in the way is one line, not a traceback, and leaves nothing."""
    (tmp_path / "file").write_bytes(b"")
    failed = run(*arguments, str(tmp_path / "file" / "x.png"))
    assert failed.exit_code == 1
    assert "cannot be written" in failed.stderr
    assert run(*arguments, str(tmp_path / "new" / "folder" / "x.png")).exit_code == 0
    assert [path.name for path in tmp_path.rglob("*") if path.name.startswith(".")] == []
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["x.png"]


def test_a_pipe_that_closes_is_no_error() -> None:
    """``csp-data info totalcapture | head -1``, and a reader that takes nothing at all."""
    for arguments in (["info", "totalcapture"], ["info", "totalcapture", "--json"], ["list"], ["--help"]):
        with subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            assert process.stderr.read() == b""
            process.wait(HANGS)
        assert process.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said_in_one_line() -> None:
    for arguments in ("list", "path", "info totalcapture --json"):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [*PROGRAM, *arguments.split()], stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert done.returncode == 1
        assert (
            done.stderr
            == "Error: what this command prints or writes finds no room. Make room, and run it again.\n"
        )


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_no_error(closed: str, empty_home: Path) -> None:
    for arguments in ("list", "prepare sample", "clean sample --prepared --yes"):
        line = f"{shlex.join(PROGRAM)} {arguments} {closed}"
        done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""


def test_names_of_files_command_no_terminal(tmp_path: Path) -> None:
    raw = shutil.copytree(bundled_root(csp_data.info("sample")), tmp_path / "raw")
    for name in ("x\x1b]0;x\x07.hdf5", "x\x1b]0;x\x07.part"):
        (raw / name).touch()
    for line in ("verify sample", "clean broad", "clean broad --yes"):
        said = CliRunner().invoke(cli, [*line.split(), "--raw", str(raw)]).output
        assert "x\\x1b]0;x\\x07." in said
        assert "\x1b" not in said


def test_a_log_commands_no_terminal() -> None:
    """Names of files and headers of servers come into it."""
    code = "import logging, csp_data.terminal as t; t.Loudness().apply(); logging.warning('a%s', '\\x1b]0;x\\x07')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "WARNING: a\\x1b]0;x\\x07\n"


def test_a_log_stands_on_a_line_of_its_own_beside_a_progress_bar() -> None:
    code = (
        "import logging, csp_data.terminal as t; from tqdm import tqdm; t.Loudness().apply()\n"
        "for _ in tqdm(range(2), ncols=40): logging.warning('left out')"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stderr.decode()
    before, *between = said.split("WARNING: left out\n")
    assert len(between) == 2
    for drawn in (before, between[0]):
        *_, bar, blank = drawn.rstrip("\r").split("\r")
        assert "|" in bar
        assert len(blank) >= len(bar)
        assert not blank.strip()


def test_progress_is_shown_on_a_terminal_only(empty_home: Path, terminal: Terminal) -> None:
    """And without colours; a bar that is piped would fill a log."""
    code, said = terminal(PROGRAM, "prepare", "sample", environment={"NO_COLOR": "1"})
    assert code == 0
    assert "13/13" in said
    assert "\x1b[3" not in said  # colours
    code, said = terminal(PROGRAM, "prepare", "sample", "--lowpass", "3", "--quiet")
    assert code == 0
    assert "13/13" not in said
    piped = subprocess.run(
        [*PROGRAM, "prepare", "sample", "--lowpass", "4"], capture_output=True, text=True, check=True
    )
    assert piped.stderr == ""
    assert Path(piped.stdout.strip()).is_file()


@pytest.mark.parametrize("answer", ["y", "n", ""])
def test_clean_asks_before_it_deletes(empty_home: Path, answer: str, terminal: Terminal) -> None:
    path = csp_data.prepare("sample")
    (empty_home / "raw" / "broad.incoming").mkdir(parents=True)
    (empty_home / "raw" / "broad.incoming" / "x.part").write_bytes(bytes(1000))
    code, said = terminal(PROGRAM, "clean", "broad", answer=answer or "\n")
    assert "Delete these 1 (1 kB)?" in said
    assert code == (0 if answer == "y" else 1)
    assert (empty_home / "raw" / "broad.incoming").exists() == (answer != "y")
    assert terminal(PROGRAM, "clean", "--prepared", answer=answer or "\n")[0] == (0 if answer == "y" else 1)
    assert path.exists() == (answer != "y")


def test_clean_needs_to_know_what(empty_home: Path) -> None:
    assert run("clean").exit_code == 2
    assert run("clean", "sample").exit_code == 2
    assert run("clean", "broad").stdout == "There is nothing to delete.\n"
    path = csp_data.prepare("sample")
    assert json.loads(run("clean", "broad", "--prepared", "--yes", "--json").stdout) == {"deleted": [], "bytes": 0}
    size = path.stat().st_size
    assert json.loads(run("clean", "sample", "--prepared", "-y", "--json").stdout) == {
        "deleted": [str(path)],
        "bytes": size,
    }
    assert csp_data.verify("sample").present


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("csp-data pre", ["prepare"]),
        ("csp-data info sam", ["sample"]),
        ("csp-data clean v", ["vector"]),
        ("csp-data verify sample --de", ["--deep"]),
        ("csp-data completion z", ["zsh"]),
    ],
)
def test_bash_completes(line: str, offered: list[str], completions: Callable[..., list[str]]) -> None:
    assert completions(PROGRAM, line) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_for_this_program(shell: str) -> None:
    script = run("completion", shell).stdout
    assert "_CSP_DATA_COMPLETE" in script
    assert "csp-data" in script


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["info", "sample", "--lowpass", "5"], "Options of the protocol, and --skip-damaged, need --prepared."),
        (["info", "sample", "--skip-damaged"], "Options of the protocol, and --skip-damaged, need --prepared."),
        (
            ["plot", "made.h5", "-o", "x.png", "--input-hz", "5"],
            "NAME made.h5: expected the name of a data set with",
        ),
        (
            ["export", "made.h5", "-o", "x.npz", "--window", "5"],
            "NAME made.h5: expected the name of a data set with",
        ),
        (
            ["verify", "sample", "--lock", "none.json"],
            "The lock file of sample: not found at none.json. Nothing",
        ),
        (
            ["simulate", "vector", "x", "--hours", "76"],
            "--hours 76: expected at most 75 h, 100 times as",
        ),
        (["prepare", "sample", "--lowpass", "1e-9"], "--lowpass 1e-09: expected a higher cut-off"),
    ],
)
def test_options_without_an_effect_are_refused(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were ignored, or a filter's overflow was told first, or memory was full first."""
    monkeypatch.chdir(tmp_path)
    csp_data.prepare("sample", out="made.h5")
    done = run(*words)
    assert done.exit_code == (3 if "--lock" in words else 2)
    *usage, told = done.stderr.strip().splitlines()
    assert told.startswith(f"Error: {message}")
    assert bool(usage) == ("need --prepared" in message)  # of options that do not go together
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made.h5", "made.h5.lock"]
