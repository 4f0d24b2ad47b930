"""Habits that CONTRIBUTING.md asks for: hooks are the checks of CI, and pages name what exists."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from dataclasses import fields
from fnmatch import filter as matching
from pathlib import Path

import pytest
import yaml

from csp_data.card import Card, SplitCard, StreamCard, TargetCard
from csp_data.card.types import Access, Citation, FileEntry, Licence, Size

ROOT = Path(__file__).parents[2]
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
BIN = Path(sys.executable).parent


def test_hooks_are_the_checks_of_make_and_of_ci() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for hook in HOOKS:
        command = hook["entry"].replace(".venv/bin/", "$(BIN)/").replace(" --force-exclude", "")
        assert f"\t{command}" in makefile, hook["id"]
    ci = (ROOT / ".ci" / "run").read_text()
    assert all(f"make {target}" in ci for target in ("lint", "types", "test"))
    assert "check: lint types test docs" in makefile
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    assert all(f"`make {target}`" in contributing for target in ("check", "test", "docs", "bench"))


@pytest.mark.parametrize("text", ["import os\n", "x = 1\n"])
def test_a_hook_stops_a_bad_commit(text: str, tmp_path: Path) -> None:
    """In a repository of its own, with a real commit; types are left to the other test, for time."""
    pytest.importorskip("pre_commit", reason="the extra dev is not installed")
    if not (BIN / "ruff").is_file():
        pytest.skip("ruff is not beside this Python")
    names = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
    environment = {**os.environ, **dict.fromkeys(names, "x@example.org"), "SKIP": "types"}
    environment |= {"PRE_COMMIT_HOME": str(tmp_path / "cache")}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    assert run("git", "init", "-q").returncode == 0
    for name in (".pre-commit-config.yaml", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / ".venv").symlink_to(BIN.parent)
    assert run(sys.executable, "-m", "pre_commit", "install").returncode == 0
    (tmp_path / "module.py").write_text(f'"""A module."""\n\n{text}')
    run("git", "add", "module.py", ".pre-commit-config.yaml")
    done = run("git", "commit", "-qm", "Try")
    said = done.stdout + done.stderr
    assert "ruff check" in said
    assert (done.returncode != 0) == (text == "import os\n"), said
    assert (run("git", "log", "--oneline").returncode == 0) == (text == "x = 1\n")


PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_modules_that_pages_name_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    files = re.findall(r"(?<![\w/.{}-])((?:baselines|csp_data|tests|scripts|examples)/[\w/.-]+\.\w+)", text)
    made_up = {"NAME", "KIND", "SOURCE"}  # what recipes call a file that is to be written
    gone = [name for name in files if Path(name).stem not in made_up and not (ROOT / name).is_file()]
    assert not gone
    for name in set(re.findall(r"^(?:>>> )?(?:from|import) ((?:baselines|csp_data)[\w.]*)", text, re.MULTILINE)):
        assert importlib.util.find_spec(name) is not None, name


def test_tests_that_pages_name_are_there() -> None:
    files = list((ROOT / "tests").rglob("test_*.py"))
    known = {file.stem for file in files}.union(
        *(re.findall(r"^ *def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE) for file in files)
    )
    named = {
        name
        for page in PAGES
        for cited in re.findall(r"`(?:[\w/]+::)?(test_[\w.]+)`", page.read_text(encoding="utf-8"))
        for name in [cited.removesuffix(".py").replace("...", "*")]
        if name != "test_seen"  # a part of a data set
    }
    assert len(named) > 40
    assert [name for name in sorted(named) if not matching(known, name)] == []


def test_the_page_of_cards_has_every_field() -> None:
    page = (ROOT / "docs" / "cards.md").read_text(encoding="utf-8")
    said = set(re.findall(r"[`\[](\w+)[`\].]", page))
    kinds = (Card, Licence, Citation, Size, StreamCard, TargetCard, SplitCard, FileEntry, Access)
    names = {field.name for kind in kinds for field in fields(kind)} - {"reader"}  # which is no field of the file
    assert names - said == set()
