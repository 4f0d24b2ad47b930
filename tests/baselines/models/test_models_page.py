"""What docs/models.md says: its examples run, its parameter counts are the models'."""

import re
from pathlib import Path

import pytest
import torch

from baselines import ALL_MODELS, build
from baselines.commands.train import TRAIN
from baselines.layers import LAYERS
from baselines.presets import KINDS
from baselines.references.methods import REFERENCES

PAGE = Path(__file__).parents[3] / "docs" / "models.md"


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
    for row in rows[start + 2 : start + 2 + len(LAYERS)]:
        for kind, count in zip(kinds, row[1:], strict=True):
            stated[f"flat-{kind}" if row[0] == "flat" else f"hiss-{row[0]}-{kind}"] = int(count.replace(",", ""))
    assert stated == {
        name: sum(p.numel() for p in build(name, 12, 3, preset="small").parameters()) for name in ALL_MODELS
    }


def test_every_kind_has_its_row(text):
    section = text.partition("## Layers")[2].partition("## Presets")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)) == set(LAYERS)


def test_help_of_train_names_every_kind_and_reference() -> None:
    said = " ".join(TRAIN.split())
    assert tuple(LAYERS) == KINDS
    assert f"<kind> and <high> are {', '.join(LAYERS)}, <low> and <mid> the same without transformer." in said
    assert all(f" {name} (" in said for name in REFERENCES)
