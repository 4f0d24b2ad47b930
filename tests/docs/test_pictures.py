"""The pictures of the explanations show what they say, and the pages show all of them."""

from __future__ import annotations

import importlib
import re
import runpy
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import csp_data

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def drawing() -> ModuleType:
    return importlib.import_module("make_pictures")


def test_hiss_shows_the_recording(drawing: ModuleType) -> None:
    sample = csp_data.load("sample")
    curves = drawing.hiss().curves
    assert np.array_equal(curves["inputs"], sample.train[0].inputs[600:630].astype(float))
    assert np.array_equal(curves["targets"], sample.train[0].targets[60:63].astype(float))


def test_s4_is_the_same_both_ways(drawing: ModuleType) -> None:
    curves = drawing.s4().curves
    signal, kernel, y = curves["signal"], curves["kernels"][1], curves["convolved"]
    assert np.allclose(y, curves["recurrent"], rtol=0, atol=1e-9)
    plain = np.array([kernel[: t + 1] @ signal[t::-1] for t in range(len(signal))])
    skip = (y - plain)[np.abs(signal) > 0.1] / signal[np.abs(signal) > 0.1]
    assert np.ptp(skip) < 1e-8  # y = K * u + D u, with one D


def test_mamba_takes_the_marked_and_holds_it(drawing: ModuleType) -> None:
    curves = drawing.mamba().curves
    values, marked, delta = curves["values"], curves["marked"], curves["delta"]
    held = np.zeros(len(values))
    for start, stop in zip(marked, [*marked[1:], len(values)], strict=True):
        held[start:stop] = values[start]
    assert np.abs(curves["chosen"] - held).max() < 0.03
    state, naive = 0.0, []
    for u, step in zip(values, delta, strict=True):
        state = np.exp(-step) * state + (1 - np.exp(-step)) * u
        naive.append(state)
    assert np.allclose(curves["chosen"], naive, rtol=0, atol=1e-12)
    assert np.abs(curves["fixed"] - held).max() > 0.5


def test_only_the_zero_phase_output_comes_early(drawing: ModuleType) -> None:
    curves = drawing.causality().curves
    early = curves["seconds"] < 0
    assert np.array_equal(curves["causal"][early], np.zeros(early.sum()))
    assert 0.4 < curves["zero"][early].max() < 0.6


def test_the_plots_in_the_docs_are_those_of_today(tmp_path: Path) -> None:
    """As pictures, not as bytes: letters may be drawn a little otherwise by another version."""
    from matplotlib.image import imread

    runpy.run_path(str(ROOT / "scripts" / "screenshots.py"))["plots"](tmp_path)
    made = sorted(tmp_path.iterdir())
    assert len(made) == 3
    for path in made:
        now, shown = (imread(folder / path.name)[..., :3] for folder in (tmp_path, ROOT / "docs" / "images"))
        assert now.shape == shown.shape, f"{path.name}: python scripts/screenshots.py"
        differs = (np.abs(now - shown).max(axis=-1) > 0.25).mean()
        assert differs < 0.01, f"{path.name}: {differs:.1%} differ; python scripts/screenshots.py"


def test_equal_runs_give_equal_pictures_and_the_pages_show_them(drawing: ModuleType) -> None:
    assert drawing.to_svg(drawing.causality().figure) == drawing.to_svg(drawing.causality().figure)
    text = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))
    shown = set(re.findall(r"!\[[^\]]{40,}\]\(generated/(\w+)\.svg\)", text))  # with words for who cannot see them
    assert shown == {"hiss", "s4", "mamba", "causality"}
    assert set(re.findall(r"!\[[^\]]+\]\(images/([^)]+)\)", text)) == {
        path.name for path in (ROOT / "docs" / "images").iterdir()
    }
