"""Every example in a docstring is run, and what it says it prints is compared."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

import baselines
import csp_data

ROOT = Path(__file__).parents[2]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in ("csp_data", "baselines")
    for path in sorted((ROOT / package).rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings(name: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 0  # or an example stands where doctest does not look
    assert found.failed == 0


def test_there_are_examples() -> None:
    assert {"csp_data.api.datasets", "baselines.models.factory"} <= set(MODULES)


@pytest.mark.parametrize(("package", "page"), [(csp_data, "api.md"), (baselines, "api-baselines.md")])
def test_every_public_name_stands_in_the_reference(package: ModuleType, page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    entries = set(re.findall(r"^   (?:\w+\.)*(\w+)$", text, re.MULTILINE))
    for name in set(package.__all__) - {"__version__"}:
        described = isinstance(getattr(package, name), type | FunctionType)
        assert name in entries if described else re.search(rf"`(?:csp_data\.)?{name}`", text), name
