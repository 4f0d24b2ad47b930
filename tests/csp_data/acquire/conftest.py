"""Patience and data for the tests of getting files."""

from __future__ import annotations

import numpy as np
import pytest

from csp_data.acquire.client import Client, Patience

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
