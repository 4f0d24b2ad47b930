"""Patience, data and small raw trees for the tests of getting files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from csp_data.acquire.client import Client, Patience
from csp_data.acquire.download import Options, download_card
from csp_data.acquire.report import Report
from csp_data.api import datasets, raw
from csp_data.card import bundled_root, load_card
from csp_data.cli import cli
from csp_data.commands import acquire as commands
from csp_data.simulate import simulate

from .servers import Server, tree

QUICK = Patience(connect_s=2.0, stall_s=0.8, tries=3, first_wait_s=0.001, longest_wait_s=2.0)


@pytest.fixture(autouse=True)
def _no_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, no offline switch, no credentials of whoever runs the tests."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("NETRC", "/nonexistent")
    for name in ("CSP_DATA_OFFLINE", "CSP_DATA_MIRROR", "CSP_DATA_REROUTE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def client() -> Client:
    return Client(QUICK)


def noise(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def fetch(name: str, **options: Any) -> Report:
    """Download as the library does it, in a hurry."""
    return download_card(load_card(name), Options(**{"patience": QUICK, **options}))


def run(*arguments: object) -> Result:
    """Run the command line."""
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def vector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate("vector", tmp_path_factory.mktemp("sim") / "vector", hours=0.01, seed=0)


@pytest.fixture(scope="session")
def marker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate("marker", tmp_path_factory.mktemp("sim") / "marker", hours=0.005, seed=0)


@pytest.fixture(scope="session")
def ronin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate("ronin", tmp_path_factory.mktemp("sim") / "ronin", hours=0.01, seed=0, archives=True)


@pytest.fixture(scope="session")
def totalcapture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate("totalcapture", tmp_path_factory.mktemp("sim") / "tc", hours=0.005, seed=0, archives=True)


@pytest.fixture
def sample_mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A data set like broad whose files are the shipped sample's: all there, all with published digests."""
    card = load_card("sample")
    folder = bundled_root(card)
    mine = dataclasses.replace(card, name="excerpt", bundled=None)
    for module in (datasets, raw, commands):
        monkeypatch.setattr(module, "load_card", lambda name: mine if name == "excerpt" else load_card(name))
    with Server(tree(folder)) as server:
        yield server
