"""Imports run the way the data goes (docs/architecture.md), and the picture is drawn from them."""

from __future__ import annotations

import importlib.util
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
    path = ROOT / "scripts" / "make_architecture.py"
    spec = importlib.util.spec_from_file_location("make_architecture", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_import_runs_against_the_arrows(drawing: ModuleType) -> None:
    column = {box: i for i, (_, boxes) in enumerate(drawing.COLUMNS) for box in boxes}
    found = drawing.graph()
    assert not set(found) - set(column), "a new module: give it a column in scripts/make_architecture.py"
    against = {(user, box) for user, used in found.items() for box in used if column[box] > column[user]}
    assert against <= LAZY, f"imports against the arrows: {sorted(against - LAZY)}"
    assert {"store", "card", "errors"} <= found["dataset"]  # the graph is not empty


def test_the_toolkit_does_not_know_the_models(drawing: ModuleType) -> None:
    for path in (ROOT / "csp_data").rglob("*.py"):
        assert not any(name.startswith("baselines") for name in drawing.imports(path, "csp_data")), path


def test_every_box_is_in_the_picture(drawing: ModuleType) -> None:
    root = ET.fromstring(drawing.svg(drawing.graph()))
    texts = {"".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert set(drawing.graph()) <= texts


def test_every_box_is_in_the_listing(drawing: ModuleType) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"(\w+)(?:/|\.py)", page.split("```text")[1].split("```")[0]))
    assert set(drawing.graph()) - {"_version", "baselines"} <= listed


def test_imports_are_seen(drawing: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "made.py"
    path.write_text(
        "import csp_data.store\nfrom csp_data.card import Card\n"
        "if TYPE_CHECKING:\n    from csp_data.api import load\n"
        "def late():\n    from baselines import build\n"
    )
    assert set(drawing.imports(path, "csp_data")) == {"csp_data.store", "csp_data.card", "baselines.build"}
