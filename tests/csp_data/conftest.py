"""The module of small raw trees, for the tests of this folder."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def trees() -> ModuleType:
    """Return tests/csp_data/trees.py (test folders are no packages)."""
    spec = importlib.util.spec_from_file_location("trees", Path(__file__).with_name("trees.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def originals(trees: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: trees.write(name, tmp_path_factory.mktemp(name)) for name in trees.NAMES}


@pytest.fixture
def tree(originals: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a small tree that a test may damage."""
    return lambda name: Path(shutil.copytree(originals[name], tmp_path / name))
