"""Fixtures for all tests: a home of their own, and the folder of reference data where there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One empty home for the whole run: no test touches the user's."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CSP_DATA_HOME", str(folder))
        yield folder


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home for one test alone."""
    monkeypatch.setenv("CSP_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def reference_dir() -> Path:
    """The folder of reference data (golden outputs, original recordings), which is not part of the repository."""
    default = Path(__file__).parent.parent.parent / "shared"
    folder = Path(os.environ.get("CSP_DATA_REFERENCE", default))
    if not (folder / "golden").is_dir():
        pytest.skip(f"reference data not found at {folder} (set CSP_DATA_REFERENCE)")
    return folder
