"""Every code block of README and docs runs, in the order of its page, in a folder of its own.

``python``: one namespace a page; ``console``: lines that begin with ``$`` are run by the shell. A ``text`` block
that follows a ``python`` block is what it prints; lines after a command are what that prints (``...`` stands for
anything). A block under a line ``*Not run by the tests: REASON.*`` is not run, and readers see why. Nothing here
has a network.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from baselines.cli import parse
from csp_data.cli import cli
from csp_data.errors import CspDataError

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
DATA = {"text", "bibtex", "yaml", "json", "csv", "{eval-rst}", "{toctree}", "{include}", "{math}"}
FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>```+)(?P<kind>[^\n`]*)\n(?P<body>.*?)^(?P=indent)(?P=fence) *$", re.M | re.S
)
SKIP = re.compile(r"\*Not run by the tests:\s.{10,}\*\s*\Z", re.S)


@dataclass(frozen=True)
class Block:
    kind: str
    body: str
    line: int
    skipped: bool
    adjacent: bool = False
    """Whether nothing stands between it and the block before."""


def blocks(text: str) -> Iterator[Block]:
    end = -1
    for found in FENCE.finditer(text):
        adjacent = end >= 0 and not text[end : found.start()].strip()
        end = found.end()
        before = text[: found.start()].rstrip().rpartition("\n\n")[2]
        body = re.sub(rf"^{found['indent']}", "", found["body"], flags=re.M)
        line = text.count("\n", 0, found.start()) + 1
        yield Block(found["kind"].strip(), body, line, SKIP.search(before) is not None, adjacent)


def same(expected: str, printed: str) -> bool:
    """Whether what was printed is what the page says, where ``...`` stands for anything."""
    pattern = ".*?".join(
        re.escape(part) for part in "\n".join(map(str.rstrip, expected.strip().split("\n"))).split("...")
    )
    printed = "\n".join(map(str.rstrip, re.sub(r"\x1b\[[0-9;]*m", "", printed).strip().split("\n")))
    return re.fullmatch(pattern, printed, re.S) is not None


@pytest.fixture
def shell(home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "CSP_DATA_HOME": str(home),
        "CSP_DATA_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "115",
    }


def run_console(block: Block, where: str, folder: Path, env: dict[str, str]) -> None:
    """Run the commands of a block, and compare what they print where the page says it."""
    commands: list[tuple[str, list[str]]] = []
    for line in block.body.splitlines():
        if line.startswith("$ "):
            commands.append((line[2:], []))
        elif commands and commands[-1][0].endswith("\\"):
            commands[-1] = (commands[-1][0] + "\n" + line, [])
        elif commands:
            commands[-1][1].append(line)
        else:
            pytest.fail(f"{where}: a console block begins with a command: '$ ...'")
    for command, expected in commands:
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{where}: {command}\n{done.stdout}{done.stderr}"
        wanted = "\n".join(expected)
        if wanted.strip():
            assert same(wanted, done.stdout), f"{where}: {command}\nexpected:\n{wanted}\nprinted:\n{done.stdout}"


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_blocks_of_a_page_run(
    page: Path, shell: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")  # pages speak from the checkout's folder
    monkeypatch.setattr(os, "environ", os.environ.copy())  # what a page sets stays on that page
    names: dict[str, object] = {"__name__": "__page__"}
    printed: str | None = None
    for block in blocks(page.read_text(encoding="utf-8")):
        where = f"{page.name}:{block.line}"
        said, printed = printed, None
        if block.skipped:
            continue
        if block.kind == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile("\n" * block.line + block.body, str(page), "exec"), names)
            printed = out.getvalue()
        elif block.kind == "console":
            run_console(block, where, tmp_path, shell)
        elif block.kind == "text" and block.adjacent and said is not None:
            assert same(block.body, said), f"{where}: the page says\n{block.body}\nbut this is printed\n{said}"
        elif block.kind == "toml":
            tomllib.loads(block.body)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_block_escapes(page: Path) -> None:
    """Blocks say their language, so that none is left out by being called something else."""
    text = page.read_text(encoding="utf-8")
    for block in blocks(text):
        assert block.kind in DATA | {"python", "console", "toml"} or block.kind.startswith("{"), (
            f"{page.name}:{block.line}: {block.kind!r} is not run; call it python, console, toml or text"
        )
    outside = FENCE.sub("", text)
    assert not re.search(r"\n\n    (?:csp|import|from|pip|make|\$)", outside), (
        f"{page.name}: an indented block; fence it"
    )


def ours(body: str) -> Iterator[list[str]]:
    """Yield the words of each call of our programs in a console block."""
    for line in body.replace("\\\n", " ").splitlines():
        if not line.startswith("$ "):
            continue  # what a command prints
        words = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="|&;<>")
        words.whitespace_split = True
        for is_operator, call in itertools.groupby(words, lambda word: word in ("|", "&&", "&", ";", "<", ">")):
            first, *rest = call
            if not is_operator and Path(first).name in ("csp-data", "csp-baselines"):
                yield [first, *rest]


def understood(program: str, *words: str) -> None:
    """Have one of our programs read its arguments; exits where it does not know one."""
    if program == "csp-baselines":
        parse(words)
        return
    command: click.Command = cli
    while isinstance(command, click.Group) and words:
        command, words = command.commands[words[0]], words[1:]
    command.make_context(program, list(words))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_that_cannot_be_run_are_understood(page: Path) -> None:
    """So that a renamed option is noticed there, too."""
    for block in blocks(page.read_text(encoding="utf-8")):
        for call in ours(block.body) if block.kind == "console" and block.skipped else ():
            understood(*call)


def test_the_reader_of_commands_can_fail() -> None:
    calls = list(
        ours("$ sensor | csp-data info x --raw \\\n  y > z  # not csp-data\n$ csp-baselines eval {a}\nprinted\n")
    )
    assert calls == [["csp-data", "info", "x", "--raw", "y"], ["csp-baselines", "eval", "{a}"]]
    with pytest.raises(click.NoSuchOption):
        understood("csp-data", "verify", "sample", "--depe")
    with pytest.raises(KeyError):
        understood("csp-data", "bench", "transfers")
    with pytest.raises((SystemExit, CspDataError)):
        understood("csp-baselines", "train", "sample", "mean", "--epoch", "1")


def test_the_runner_can_fail(tmp_path: Path, shell: dict[str, str]) -> None:
    (block,) = blocks("Text.\n\n```console\n$ echo one\ntwo\n```\n")
    with pytest.raises(AssertionError, match=r"printed:\n *one"):
        run_console(block, "here", tmp_path, shell)
    with pytest.raises(AssertionError, match="exit 3"):
        run_console(Block("console", "$ exit 3\n", 1, False), "here", tmp_path, shell)
    (skipped,) = blocks("*Not run by the tests: needs the publisher's host.*\n\n```console\n$ false\n```\n")
    assert skipped.skipped
    assert same("a ... z", "a b\nc z  \n")
    assert not same("a ... z", "b z")
