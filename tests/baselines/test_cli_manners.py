"""``csp-baselines`` behaves as ``csp-data`` does: loudness, JSON, pipes, completion, examples, nearest names."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest

import csp_data
from baselines.cli import commands, main, parse
from baselines.commands.completion import click_commands
from baselines.cpu import threads as parallel
from baselines.cpu.threads import compiling_note
from baselines.presets import REFERENCES
from baselines.runs.run import Run
from baselines.sweeps import worker
from baselines.training.ledger import read_lines

PROGRAM = (sys.executable, "-m", "baselines")
TINY = ["--set", "dim=8", "hidden=8", "layers=1", "--window-s", "10", "--window-stride-s", "10", "--epochs", "2"]
Terminal = Callable[..., tuple[int, str]]


def said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code: object = 0
    try:
        main(arguments)
    except SystemExit as stop:
        code = stop.code or 0
    assert isinstance(code, int)
    return code, *capsys.readouterr()


def typed(line: str) -> list[str]:
    """Return the arguments that a line of a shell gives to the program."""
    inside = re.search(r"\$\((csp-baselines [^)]*)\)", line)
    words = shlex.split(inside[1] if inside else line, comments=True)
    start = next(i for i, word in enumerate(words) if word in ("csp-baselines", "baselines"))
    end = next((i for i, word in enumerate(words) if word in (">", "|") and i > start), None)
    return words[start + 1 : end]


@pytest.mark.parametrize("words", [[], *([name] for name in commands())], ids=" ".join)
def test_help_of_every_command_ends_in_examples_that_parse(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for flag in ("--help", "-h"):
        code, out, _ = said([*words, flag], capsys)
        assert code == 0
        assert "--quiet" in out
        assert "--verbose" in out
        assert "(default: )" not in out
    text = commands()[words[0]].help if words else out
    lines = re.split(r"Examples?:\n", text)[1].split("\n\n")[0].splitlines()
    calls = [typed(line) for line in lines]
    assert calls[0][: len(words)] == words
    for call in calls:
        parse(call)  # raises on options or values that do not exist


@pytest.mark.parametrize("name", commands())
def test_help_fits_the_terminal(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = said([name, "--help"], capsys)[1].splitlines()
    assert any(line.startswith("╭─ options") for line in lines)
    assert [line for line in lines if len(line) > 80 and line[:1].isalnum() and line[:6] != "usage:"] == []


@pytest.mark.parametrize("typed_before", [["ablate", "leak"], ["train", "sample", "flat-s4", "--lr", "1"]])
def test_help_is_whole_whatever_was_typed_before_it(
    typed_before: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    whole = said([typed_before[0], "--help"], capsys)
    assert whole[1].splitlines()[0].endswith({"ablate": "KIND", "train": "DATASET MODEL"}[typed_before[0]])
    for flag in ("--help", "-h"):
        assert said([*typed_before, flag], capsys) == whole


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said([], capsys)
    assert code == 0
    assert "--version" in out
    assert said(["-q"], capsys) == (0, out, "")
    assert all(f"• {name}" in out and row.line.split()[0] in out for name, row in commands().items())


@pytest.mark.parametrize("flags", [["--version"], ["-q", "--version"]])
def test_version(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert said(flags, capsys) == (0, f"csp-baselines, version {csp_data.__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["-q", "trian", "sample", "mean"], "train"),
        (["train", "sample", "mean", "--epoch", "2"], "--epochs"),
        (["train", "sample", "mean", "--quite"], "--quiet"),
        (["train", "smaple", "mean"], "sample"),
        (["sweep", "--datasets", "sample", "--models", "hiss-s4-mamb", "--out", "nowhere"], "hiss-s4-mamba"),
        (["completion", "basj"], "bash"),
    ],
)
def test_near_misses_are_told_what_was_meant(
    arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, error = said(arguments, capsys)
    assert (code, out) == (2, "")
    assert meant in error


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("train", "DATASET and MODEL are missing."),
        ("-q train sample", "MODEL is missing."),
        ("train train", "MODEL is missing."),
        ("export", "RUN and --out are missing."),
        ("stream", "RUN is missing."),
        ("sweep --seeds 0 1 2", "--datasets and --models are missing."),
        ("ablate leak", "--datasets is missing."),
        ("report runs", "--out is missing."),
        ("train sample mean mean", "Got unexpected extra argument (mean)."),
        ("train sample mean --train.epochs 3", "No such option '--train.epochs'."),
        ("train sample mean --set a=1 b=2 --lr", "Option '--lr' requires an argument."),
        ("train sample mean --window_s 3 --epochs x", "Invalid value for '--epochs': 'x' is not a valid integer."),
        ("train sample mean --clip-norm None --lr x", "Invalid value for '--lr': 'x' is not a valid float."),
        (
            "table x --format mdd",
            "Invalid value for '--format': 'mdd' is not one of 'auto', 'text', 'md', 'latex', ",
        ),
        ("bench --parts streams stepps", "Invalid value for '--parts': 'stepps' is not one of 'steps', "),
    ],
)
def test_a_line_that_cannot_be_read_is_told_in_one(
    line: str, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, error = said(line.split(), capsys)
    assert (code, out) == (2, "")
    assert error.startswith(f"Error: {wrong}")
    command = next(word for word in line.split() if word != "-q")
    assert error.endswith(f" More: csp-baselines {command} --help\n")
    assert error.count("\n") == 1


def test_json_is_all_of_stdout_for_every_command_that_reports(
    runs: dict[str, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, mean = str(runs["a"].folder), str(runs["mean"].folder)
    samples, predictions = tmp_path / "samples.csv", tmp_path / "predictions.csv"
    samples.write_text("")
    lines = (f"{p.id},{time},0,0,0\n" for p in runs["a"].predictions for time in p.time)
    predictions.write_text("episode,time,vel_x,vel_y,vel_z\n" + "".join(lines))
    calls = {
        "train": ["sample", "mean", "-o", str(tmp_path / "run")],
        "eval": [run],
        "score": ["sample", str(predictions)],
        "table": [run, mean],
        "results": [],
        "report": [run, mean, "-o", str(tmp_path / "x.html")],
        "sweep": ["--datasets", "sample", "--models", "mean", "--seeds", "0", "--out", str(tmp_path / "sweep")],
        "ablate": ["lowpass", "--datasets", "sample", "--models", "mean", "--values", "5", "--seeds", "0"],
        "faults": [mean, "--faults", "saturation", "--out", str(tmp_path / "faults")],
        "bench": ["--quick", "--models", "flat-s4", "--batches", "1", "--threads", "1"],
        "export": [run, "-o", str(tmp_path / "x.pt2")],
    }
    calls["ablate"] += ["--out", str(tmp_path / "ablation")]
    for name, arguments in calls.items():
        code, out, error = said([name, *arguments, "--json", "--quiet"], capsys)
        assert code == 0, (name, error)
        assert error == "", name
        json.loads(out)
    assert zipfile.is_zipfile(tmp_path / "x.pt2")  # a program of torch, as its name says, and no ONNX
    listed = {name for name, row in commands().items() if "json" in row.options.__dataclass_fields__}
    assert listed == {*calls, "stream"}  # whose stdout are predictions: its summary goes to stderr
    assert said(["eval", "nowhere", "--json"], capsys)[:2] == (1, "")


def test_progress_is_shown_on_a_terminal_only_and_not_when_quiet(tmp_path: Path, terminal: Terminal) -> None:
    def train(*flags: str) -> tuple[str, ...]:
        return "train", "sample", "flat-lstm", "--out", str(tmp_path / f"run{len(flags)}"), *TINY, *flags

    code, shown = terminal(PROGRAM, *train())
    assert code == 0
    assert "2/2" in shown
    code, shown = terminal(PROGRAM, *train("-q"))
    assert code == 0
    assert "2/2" not in shown
    assert "test: MSE" in shown
    piped = subprocess.run([*PROGRAM, *train("--seed", "1")], capture_output=True, text=True, check=True)
    assert piped.stderr == ""


BRIEF = ["dim=4", "layers=1", "train.window_s=10", "train.window_stride_s=10", "train.epochs=1"]


def test_compiling_is_told_before_a_training_begins(tmp_path: Path) -> None:
    pytest.importorskip("numba", reason="it compiles")
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    for said in (
        [compiling_note()],
        [],
    ):  # the second time it is read from the cache; loops of LRU compile soonest
        out = str(tmp_path / f"run{len(said)}")
        call = [*PROGRAM, "train", "sample", "flat-lru", "--set", *BRIEF, "--out", out]
        done = subprocess.run(call, env=environment, capture_output=True, text=True, check=True)
        assert done.stderr.splitlines() == said


def test_compiling_is_not_told_when_quiet_and_in_a_sweep_by_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def compiles(say: Callable[[], object]) -> Iterator[None]:
        yield
        say()

    for module in (parallel, worker):
        monkeypatch.setattr(module, "before_compiling", compiles)
    for flags, wanted in (([], [compiling_note()]), (["-q"], [])):
        out = str(tmp_path / f"run{len(flags)}")
        code, _, error = said(["train", "sample", "flat-lstm", *TINY, "--out", out, *flags], capsys)
        assert (code, error.splitlines()) == (0, wanted)
    call = ["sweep", "--datasets", "sample", "--models", "mean", "--seeds", "0", "--out", str(tmp_path / "sweep")]
    assert said([*call, "--quiet"], capsys)[::2] == (0, "")
    (ledger,) = (tmp_path / "sweep").glob("runs/*/ledger.jsonl")
    assert [line["event"] for line in read_lines(ledger)] == ["start", "finish", "compile"]


def test_a_sweep_says_what_is_done_unless_quiet(tmp_path: Path) -> None:
    """Off a terminal: a line for each run, and no bar while the data is prepared."""
    call = [*PROGRAM, "sweep", "--datasets", "sample", "--models", "mean", "--seeds", "0", "--out"]
    for flags, wanted in (([], ["[1/1] sample"]), (["--quiet"], [])):
        folder = str(tmp_path / f"sweep{len(flags)}")
        done = subprocess.run([*call, folder, *flags], capture_output=True, text=True, check=True)
        assert [line.partition(" strict")[0] for line in done.stderr.splitlines()] == wanted
        assert ": 1 run, 1 of them done now; 0 failed" in done.stdout


@pytest.mark.parametrize("flags", [[], ["-q"], ["--verbose"]])
def test_notes_and_logs_follow_the_loudness(
    flags: list[str], runs: dict[str, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs" / "half").mkdir(parents=True)
    (tmp_path / "runs" / "half" / "config.json").write_text((runs["a"].folder / "config.json").read_text())
    shutil.copytree(runs["a"].folder, tmp_path / "runs" / "whole")
    for arguments in ([*flags, "table", str(tmp_path / "runs")], ["table", str(tmp_path / "runs"), *flags]):
        code, out, error = said(arguments, capsys)
        assert code == 0, error
        assert "| flat-lstm |" in out
        assert ("1 of 2 runs are unfinished" in error) == (flags != ["-q"])


@pytest.mark.parametrize("arguments", [["--help"], ["completion", "bash"]])
def test_a_pipe_that_closes_is_no_error(arguments: list[str]) -> None:
    with subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


@pytest.mark.parametrize(
    "settings",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=["output", "locale"],
)
def test_what_an_encoding_does_not_have_is_escaped(settings: dict[str, str], tmp_path: Path) -> None:
    """As in a pipe on Windows, or in a container without a locale."""
    call = [*PROGRAM, "train", "sample", "mean", "--out", str(tmp_path / "läuft")]
    done = subprocess.run(call, capture_output=True, env={**os.environ, **settings}, check=False)
    assert done.returncode == 0, done.stderr
    assert b" (m/s)\\xb2, RMSE" in done.stdout
    name = "läuft".encode() if "LC_ALL" in settings else b"l\\xe4uft"  # bytes of a name are left as they are
    assert done.stdout.splitlines()[-1].endswith(b"/" + name)
    assert (tmp_path / "läuft" / "results.json").is_file()


def test_a_stream_that_is_closed_is_no_error(runs: dict[str, Run]) -> None:
    for closed in (">&-", "<&- >&- 2>&-"):
        line = f"{shlex.join([*PROGRAM, 'table', str(runs['a'].folder)])} {closed}"
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_file_that_does_not_fit_is_named(runs: dict[str, Run], tmp_path: Path) -> None:
    """As on a full disk: a process may write files of so many KiB."""
    page = tmp_path / "page.html"
    command = shlex.join([*PROGRAM, "report", str(runs["mean"].folder), "-o", str(page)])
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 8; {command}"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert f"Error: {page}: File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("csp-baselines train sam", ["sample"]),
        ("csp-baselines train sample hiss-lstm-t", ["hiss-lstm-transformer", "hiss-lstm-tcn"]),
        ("csp-baselines train sample fir --precision b", ["bf16"]),
        ("csp-baselines train sample fir --compile i", ["inductor", "inductor-graph"]),
        ("csp-baselines train sample fir --track w", ["wandb"]),
        ("csp-baselines --ver", ["--verbose", "--version"]),
        ("csp-baselines eval x --qui", ["--quiet"]),
        ("csp-baselines sweep --datasets bro", ["broad"]),
        ("csp-baselines sweep --models publ", ["published"]),
    ],
)
def test_bash_completes(line: str, offered: list[str], completions: Callable[..., list[str]]) -> None:
    assert completions(PROGRAM, line) == offered


@pytest.mark.parametrize("name", commands())
def test_completion_knows_every_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that the help shows, and no others."""
    out = said([name, "--help"], capsys)[1]
    shown = set(re.findall(r"^\W*(?:-\w(?: [A-Z]+)?, )*(--[a-z][a-z0-9-]+)", out, re.MULTILINE))
    options = (p for p in click_commands(commands()).commands[name].params if isinstance(p, click.Option))
    assert {flag for option in options for flag in option.opts if flag.startswith("--")} | {"--help"} == shown


@pytest.mark.parametrize("asked", ["train --help", "--version", "train sample hiss-s"])
def test_help_and_completion_do_not_wait_for_torch(asked: str) -> None:
    code = f"""
import os, sys
words = {asked!r}.split()
if words[-1] == "hiss-s":
    words = ["csp-baselines", *words]
    os.environ.update(_CSP_BASELINES_COMPLETE="bash_complete", COMP_WORDS=" ".join(words), COMP_CWORD="3")
from baselines.cli import main
try:
    main(words)
except SystemExit as stop:
    assert not stop.code, stop.code
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
    assert len(done.stdout.splitlines()) > 1


@pytest.mark.parametrize(
    ("asked", "spared"),
    [
        ("table RUN MEAN", ("torch", "scipy.stats", "scipy.linalg")),
        ("table RUN MEAN --by recording", ("torch", "scipy.stats", "scipy.linalg")),
        ("results", ("torch", "scipy")),
        ("report RUN MEAN -o PAGE", ("torch",)),
        ("eval RUN", ("numba", "scipy.signal", "scipy.linalg")),
        ("train sample flat-lstm --epochs 1 --window-s 10 --out NEW", ("scipy.signal", "scipy.linalg")),
        ("train sample mean --out NEW", ("numba", "scipy.signal", "scipy.linalg", "torch._dynamo")),
        ("stream RUN --engine reference", ("numba", "scipy.signal", "torch._dynamo")),
    ],
)
def test_commands_do_not_wait_for_what_they_have_no_use_for(
    asked: str, spared: tuple[str, ...], runs: dict[str, Run], tmp_path: Path
) -> None:
    given = {"RUN": runs["a"].folder, "MEAN": runs["mean"].folder}
    given |= {"PAGE": tmp_path / "page.html", "NEW": tmp_path / "new"}
    words = [str(given.get(word, word)) for word in asked.split()]
    code = f"""
import sys
from baselines.cli import main
try:
    main({words!r})
except SystemExit as stop:
    assert not stop.code, stop.code
print([name for name in {spared!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, input="", check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_completion_knows_every_reference() -> None:
    from baselines.references import methods as references

    assert tuple(references.REFERENCES) == tuple(REFERENCES)
