"""Imports run the way the data goes (docs/architecture.md), and the picture is drawn from them."""

from __future__ import annotations

import importlib
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
LAZY = {("dataset", "adapters"), ("dataset", "plot")}
"""Imported inside a method, only when it is asked for: ``Dataset.to_torch()``, ``Dataset.plot()``, ... ."""


@pytest.fixture(scope="module")
def drawing() -> ModuleType:
    return importlib.import_module("make_architecture")


@pytest.mark.parametrize("package", ["csp_data", "baselines"])
def test_no_import_runs_against_the_arrows(drawing: ModuleType, package: str) -> None:
    column = {box: i for i, (_, boxes) in enumerate(drawing.COLUMNS[package]) for box in boxes}
    found = drawing.graph(package)
    assert set(found) == set(column), "give each module and folder a column in scripts/make_architecture.py"
    against = {(user, box) for user, used in found.items() for box in used if column[box] > column[user]}
    assert against <= LAZY, f"imports against the arrows: {sorted(against - LAZY)}"


def test_the_graph_is_not_empty(drawing: ModuleType) -> None:
    assert {"store", "card", "errors"} <= drawing.graph("csp_data")["dataset"]
    assert {"training", "models", "runs"} <= drawing.graph("baselines")["experiment"]


@pytest.mark.parametrize("package", ["csp_data", "baselines"])
def test_no_two_folders_need_each_other(drawing: ModuleType, package: str) -> None:
    """Not within a column either: take away what imports nothing that is left, again and again."""
    left = {
        user: {box for box in used if (user, box) not in LAZY} for user, used in drawing.graph(package).items()
    }
    while free := {user for user, used in left.items() if not used & left.keys()}:
        left = {user: used for user, used in left.items() if user not in free}
    assert not left


def test_the_toolkit_does_not_know_the_models(drawing: ModuleType) -> None:
    for path in (ROOT / "csp_data").rglob("*.py"):
        assert not any(name.startswith("baselines") for name in drawing.imports(path, "csp_data")), path


@pytest.mark.parametrize("package", ["csp_data", "baselines"])
def test_every_box_is_in_the_picture(drawing: ModuleType, package: str) -> None:
    root = ET.fromstring(drawing.svg(package))
    texts = {"".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert set(drawing.graph(package)) <= texts


@pytest.mark.parametrize(("package", "listing"), [("csp_data", 1), ("baselines", 2)])
def test_every_box_is_in_the_listing(drawing: ModuleType, package: str, listing: int) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"(\w+)(?:/|\.py)", page.split("```text")[listing].split("```")[0]))
    assert set(drawing.graph(package)) - {"_version", "baselines"} <= listed


def test_imports_are_seen(drawing: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "made.py"
    path.write_text(
        "import csp_data.store\nfrom csp_data.card import Card\n"
        "if TYPE_CHECKING:\n    from csp_data.api import load\n"
        "def late():\n    from baselines import build\n"
    )
    assert set(drawing.imports(path, "csp_data")) == {"csp_data.store", "csp_data.card", "baselines.build"}
