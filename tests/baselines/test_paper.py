"""A published protocol from a tree of raw files to the report: one part chooses the epoch and is reported."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import csp_data
from baselines.cli import main
from baselines.errors import CspDataError, UnknownNameError
from baselines.runs.run import read_run
from baselines.tables.make import make_table
from baselines.training.data import load_part
from csp_data import Dataset
from csp_data.simulate import simulate

TINY = ["--set", "low_dim=4", "low_layers=1", "high_dim=4", "high_layers=1", "--epochs", "4"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate("marker", tmp_path_factory.mktemp("trees") / "marker", hours=0.05, seed=0)


@pytest.fixture(scope="module")
def paper(tree: Path) -> Dataset:
    return csp_data.load("marker", raw=tree, protocol="paper")


def test_what_a_model_is_given_is_what_the_protocol_names(paper: Dataset) -> None:
    """Deltas, then clipping at 3000 of both, then the shift and scale of all parts: written out here."""
    assert paper.protocol.clip == 3000.0
    assert paper.protocol.statistics == "all"
    rows = []
    for name in ("train", "eval"):
        for episode in paper.split(name):
            x = episode.inputs.astype(np.float64)
            delta = np.zeros_like(x)
            delta[1:] = x[1:] - x[:-1]
            rows.append(np.concatenate([x, delta], axis=1))
    together = np.concatenate(rows)
    shift, scale = together.mean(axis=0), 3 * np.maximum(together.std(axis=0, ddof=1), 1e-5)
    first = len(list(paper.train))
    for name, own in (("train", rows[:first]), ("eval", rows[first:])):
        expected = (np.clip(np.concatenate(own), -3000, 3000) - shift) / scale
        np.testing.assert_allclose(load_part(paper, name).inputs.numpy(), expected, rtol=1e-5, atol=2e-5)


def test_train_selects_and_reports_on_eval_and_says_so(
    tree: Path, paper: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, reference = tmp_path / "hiss", tmp_path / "mean"
    data = ["--protocol", "paper", "--raw", str(tree)]
    main(["train", "marker", "hiss-s4-mamba", *data, *TINY, "--out", str(folder)])
    said = capsys.readouterr().out
    assert re.search(r"^eval: MSE .* m²", said, re.MULTILINE)
    assert "chosen on eval itself, as published" in said
    assert "test:" not in said
    main(["train", "marker", "mean", *data, "--out", str(reference)])

    run = read_run(folder)
    held = json.loads((folder / "config.json").read_text())["data"]
    assert (held["selection"], held["report"], held["kind"]) == ("eval", "eval", "simulated")
    assert {"val", "test"}.isdisjoint(run.results)
    losses = [line["val_loss"] for line in run.epochs]
    assert run.results["epoch"] == 1 + int(np.argmin(losses))
    # the loss that chose is the reported error, in units of the targets' scale
    scale = paper.normalization.targets.scale
    squares = np.concatenate([np.square((p.pred - p.true) / scale) for p in run.predictions])
    assert squares.mean() == pytest.approx(min(losses), rel=1e-4)
    assert {p.id for p in run.predictions} == {row.id for row in paper.split("eval").rows}

    capsys.readouterr()
    main(["eval", str(folder), "--json"])
    again = json.loads(capsys.readouterr().out)
    assert again["part"] == "eval"
    assert again["mse"] == pytest.approx(run.reported["mse"], rel=1e-6)
    main(["table", str(folder), str(reference)])
    head, *lines = capsys.readouterr().out.splitlines()
    assert "chosen on the reported part itself" in head
    assert re.match(r"\| model \| eval MSE( in 10⁻\S+)? \(m²\) \| vs mean \|", lines[1])
    assert re.search(r"\| eval RMSE( in 10⁻\S+)? \(m\) \| parameters \|", lines[1])
    assert "| 0.0000 |" not in "".join(lines)
    page = tmp_path / "report.html"
    main(["report", str(folder), str(reference), "-o", str(page)])
    assert "Its epoch was chosen on eval too" in page.read_text()
    assert "loss on eval, with the chosen epoch" in page.read_text()


def test_parts_that_are_not_there(paper: Dataset, sample: Dataset) -> None:
    assert (paper.selection, paper.report) == ("eval", "eval")
    assert (sample.selection, sample.report) == ("val", "test")
    with pytest.raises(UnknownNameError, match=r"part 'test' of marker \(paper\).*train, eval"):
        _ = paper.test


def test_runs_of_both_kinds_of_choice_make_no_table(tree: Path, tmp_path: Path) -> None:
    for name in ("paper", "strict"):
        main(["train", "marker", "mean", "--protocol", name, "--raw", str(tree), "--out", str(tmp_path / name)])
    runs = [read_run(tmp_path / name) for name in ("paper", "strict")]
    assert make_table(runs[1:]).report == "test"
    with pytest.raises(CspDataError, match="One table holds one data set, recipe and protocol"):
        make_table(runs)
