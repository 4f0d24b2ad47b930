from __future__ import annotations

import re
from pathlib import Path

import pytest

from baselines.errors import OptionError, UnknownNameError
from baselines.models.factory import build
from baselines.presets import MODELS
from baselines.published import (
    BEST,
    DATASETS,
    PUBLISHED,
    STATED_IMPROVEMENT,
    TRAINING,
    improvement,
    published,
    training,
)
from csp_data.card import load_card


def test_the_table_is_complete() -> None:
    cells = {(cell.dataset, cell.model): cell.mse for cell in PUBLISHED}
    assert len(cells) == len(PUBLISHED) == 16 * 6 - 2
    absent = {(dataset, model) for dataset in DATASETS for model in MODELS} - set(cells)
    assert absent == {("ronin", "flat-transformer"), ("totalcapture", "flat-transformer")}
    assert published("ronin", "flat-transformer") is None
    assert published("sample", "flat-s4") is None
    assert {load_card(dataset).kind for dataset in DATASETS} == {"CSP-Bench"}


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_last_row_follows_from_the_cells(dataset: str) -> None:
    """A typing error in a cell would move it by more than the rounding of the cells allows."""
    stated, found = STATED_IMPROVEMENT[dataset], improvement(dataset)
    if dataset == "totalcapture":  # the table's own inconsistency: its last row takes a model with an LSTM below
        low = {model: cell.mse for model in MODELS if (cell := published(dataset, model))}
        found = 1 - low["hiss-lstm-mamba"] / low["flat-lstm"]
        assert improvement(dataset) == pytest.approx(-0.4301, abs=1e-4)
    assert found == pytest.approx(stated, abs=0.0015)


def test_against_the_text_of_the_published_table() -> None:
    """Every number of the table as it was copied from the site, row by row."""
    page = Path(__file__).parent.parent.parent.parent / "shared" / "PROTOCOL.md"
    if not page.is_file():
        pytest.skip(f"{page} is not there")
    rows = re.findall(r"^\| (.*) \|$", page.read_text().split("## 5.")[1].split("## 6.")[0], re.MULTILINE)
    high = ""
    for row in rows[2:-1]:
        kind, low, *values = (cell.strip().lower() for cell in row.split("|"))
        high = kind.removeprefix("high ") if kind.startswith("high") else high
        model = f"flat-{low}" if kind == "flat" else f"hiss-{low.removeprefix('low ')}-{high}"
        for dataset, value in zip(DATASETS, values, strict=True):
            cell = published(dataset, model)
            assert (cell and cell.mse) == (None if value == "-" else float(value)), (dataset, model)


@pytest.mark.parametrize("dataset", BEST)
def test_best_models_can_be_built(dataset: str) -> None:
    assert sum(p.numel() for p in build(BEST[dataset], 12, 3, preset=dataset).parameters()) > 10_000


def test_training_by_name() -> None:
    assert (training("paper").lr, training("paper").batch, training("paper").epochs) == (1e-4, 4, 300)
    assert training("paper").schedule == "constant"
    assert set(TRAINING) == {"paper", "strict"}
    with pytest.raises(OptionError, match="training='papr': expected one of paper, strict"):
        training("papr")
    with pytest.raises(UnknownNameError, match="Known: marker"):
        improvement("sample")
