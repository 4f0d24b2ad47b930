"""Planned runs that tests of sweeps share."""

from __future__ import annotations

import pytest

from baselines.sweeps.grid import Grid, PlannedRun, expand, prepare_all


@pytest.fixture(scope="package")
def planned(tmp_path_factory: pytest.TempPathFactory) -> list[PlannedRun]:
    grid = Grid(datasets=("sample",), models=("mean", "flat-lstm"), seeds=(0, 1))
    return expand(grid, prepare_all(grid), tmp_path_factory.mktemp("planned"))
