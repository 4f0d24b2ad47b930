"""What docs/models.md says: its examples run, its parameter counts are the models', its modes those of HiPPO."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import torch

from baselines import ALL_MODELS, build
from baselines.commands.train import TRAIN
from baselines.layers import LAYERS
from baselines.presets import INNER_KINDS, KINDS, STATE_SPACES
from baselines.references.methods import REFERENCES

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "models.md"


@pytest.fixture(scope="module")
def text():
    return PAGE.read_text(encoding="utf-8")


def test_examples_run(text):
    (block,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    shared: dict = {}
    lines = block.splitlines()
    models = [line for line in lines if line.startswith("model = ")]
    assert len(models) >= 5
    for line in lines:
        exec(line, shared)  # the page's own code
        if line in models:
            assert shared["model"](torch.zeros(2, 20, 12)).shape == (2, 2, 3)


def test_parameter_counts(text):
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines() if "|" in line]
    start = next(i for i, row in enumerate(rows) if row[0] == "low \\ high")
    kinds, stated = rows[start][1:], {}
    assert kinds == [*LAYERS], "the columns of the table of sizes"
    table = rows[start + 2 : start + 3 + len(INNER_KINDS)]
    assert [row[0] for row in table] == ["flat", *INNER_KINDS], "the rows of the table of sizes"
    for row in table:
        for kind, count in zip(kinds, row[1:], strict=True):
            stated[f"flat-{kind}" if row[0] == "flat" else f"hiss-{row[0]}-{kind}"] = int(count.replace(",", ""))
    assert stated == {
        name: sum(p.numel() for p in build(name, 12, 3, preset="small").parameters()) for name in ALL_MODELS
    }


def test_every_kind_has_its_row(text):
    section = text.partition("## Layers")[2].partition("## Presets")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)) == set(LAYERS)


def test_every_kind_is_a_state_space_model_or_none() -> None:
    others = {"lstm", "gru", "tcn", "transformer"}
    assert {*KINDS} - others == {*STATE_SPACES}, "a new kind belongs to STATE_SPACES of presets.py or to these"


def test_help_of_train_names_every_kind_and_reference() -> None:
    said = " ".join(TRAIN.split())
    assert tuple(LAYERS) == KINDS
    assert f"<kind> and <high> are {', '.join(LAYERS)}, <low> and <mid> the same without transformer." in said
    assert all(f" {name} (" in said for name in REFERENCES)


@pytest.mark.parametrize("length", [10, 150, 1500])
def test_amplification_by_the_truncated_parametrisation(text: str, length: int) -> None:
    """The LegS matrix is triangular, so scipy's bilinear rule leaves its discrete eigenvalues on the diagonal."""
    script = importlib.import_module("s4_parametrisations")
    n = np.arange(script.STATE)
    legs = -np.sqrt(np.outer(2 * n + 1, 2 * n + 1)) * np.tri(len(n), k=-1) - np.diag(n + 1.0)
    system = legs, np.sqrt(2 * n + 1)[:, None], np.eye(len(n)), np.zeros((len(n), 1))
    steps = torch.exp(script.make(None).log_dt.detach()).flatten().tolist()
    mu = np.stack([np.diag(scipy.signal.cont2discrete(system, dt, method="bilinear")[0]) for dt in steps])
    expected = 1 / np.abs(1 - mu**length)
    np.testing.assert_allclose(script.amplification(length).numpy(), expected, rtol=1e-9)
    assert f"l = {length:5d}: " + "  ".join(f"{v:8.3g}" for v in np.quantile(expected, (0.5, 0.9, 1.0))) in text
