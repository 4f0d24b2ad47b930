from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest

from baselines.runs import Run, RunError
from baselines.table import make_table, render


def _with(
    run: Run, *, test: float | None = None, seed: int | None = None, name: str | None = None, **data: Any
) -> Run:
    """The same run with other values."""
    results = json.loads(json.dumps(run.results))
    if test is not None:
        results["test"] |= {"mse": test, "rmse": test**0.5}
    config = replace(run.config, data=replace(run.config.data, **data), name=name or run.config.name)
    if seed is not None:
        config = replace(config, train=replace(config.train, seed=seed))
    return replace(run, results=results, config=config, folder=run.folder.parent / f"{name}-{seed}-{test}")


def test_mean_and_spread_by_hand(runs: dict[str, Run]) -> None:
    chosen = [_with(runs["a"], test=value, seed=seed) for seed, value in enumerate((0.16, 0.25, 0.36))]
    table = make_table([*chosen, _with(runs["mean"], test=0.5)])
    worst, row = table.rows
    assert (worst.model, worst.test_mse_std, worst.improvement) == ("mean", None, 0.0)
    assert row.model == "flat-lstm"
    assert row.seeds == (0, 1, 2)
    assert row.test_mse == pytest.approx(0.77 / 3)
    assert row.test_mse_std == pytest.approx(
        0.1001665
    )  # sqrt(((.16-m)^2 + (.25-m)^2 + (.36-m)^2) / 2), m = .25667
    assert row.test_rmse == pytest.approx(0.5)
    assert row.test_rmse_std == pytest.approx(0.1)
    assert row.improvement == pytest.approx(1 - 0.77 / 3 / 0.5)


def test_rows_of_real_runs(runs: dict[str, Run]) -> None:
    table = make_table(list(runs.values()))
    assert {row.model for row in table.rows} == {"mean", "fir", "flat-lstm"}
    mean = next(row for row in table.rows if row.model == "mean")
    assert mean.parameters == 3
    assert mean.test_mse == runs["mean"].results["test"]["mse"]
    assert [row.test_mse for row in table.rows] == sorted((row.test_mse for row in table.rows), reverse=True)


def test_heading_says_what_it_is(runs: dict[str, Run]) -> None:
    text = render(make_table([runs["a"]]), "md")
    head = text.splitlines()[0]
    assert "sample: real recordings, not CSP-Bench" in head
    assert "protocol strict" in head
    assert runs["a"].config.data.recipe_hash in head
    assert "windows of 10 s" in head
    assert "simulated, not CSP-Bench" in render(make_table([_with(runs["a"], kind="simulated")]), "md")
    bench = render(make_table([_with(runs["a"], kind="CSP-Bench")]), "md").splitlines()[0]
    assert "CSP-Bench" in bench
    assert "not CSP-Bench" not in bench


@pytest.mark.parametrize(
    "other",
    [{"name_": "marker"}, {"recipe_hash": "0123456789ab"}, {"kind": "simulated"}, {"protocol": {"name": "paper"}}],
)
def test_mixtures_are_refused_naming_both(other: dict[str, Any], runs: dict[str, Run]) -> None:
    changed = dict(other)
    data = replace(
        runs["b"].config.data, **({"name": changed.pop("name_")} if "name_" in changed else {}), **changed
    )
    second = replace(runs["b"], config=replace(runs["b"].config, data=data))
    with pytest.raises(RunError) as caught:
        make_table([runs["a"], second])
    assert str(runs["a"].folder) in str(caught.value)
    assert str(runs["b"].folder) in str(caught.value)
    assert str(next(iter(changed.values()), "marker")) in str(caught.value) or "paper" in str(caught.value)


def test_the_same_run_twice_is_refused(runs: dict[str, Run]) -> None:
    with pytest.raises(RunError, match=r"same run \(flat-lstm, seed 0\)"):
        make_table([runs["a"], runs["a"]])
    with pytest.raises(RunError, match="at least one run"):
        make_table([])


def test_models_that_share_a_name_stay_apart(runs: dict[str, Run]) -> None:
    other = replace(runs["a"].config, model={**runs["a"].config.model, "readout": "first"})
    table = make_table([_with(runs["a"], test=0.2), replace(runs["a"], config=other)])
    assert {row.model for row in table.rows} == {"flat-lstm (1)", "flat-lstm (2)"}


def test_csv_and_json_hold_the_same(runs: dict[str, Run]) -> None:
    table = make_table(list(runs.values()))
    rows = list(csv.DictReader(io.StringIO(render(table, "csv"))))
    plain = json.loads(render(table, "json"))
    assert len(rows) == len(plain["rows"]) == len(table.rows)
    for row, values, expected in zip(rows, plain["rows"], table.rows, strict=True):
        assert row["dataset"] == plain["dataset"] == "sample"
        assert row["kind"] == plain["kind"] == "real recordings"
        assert float(row["test_mse"]) == values["test_mse"] == expected.test_mse
        assert [int(s) for s in row["seeds"].split()] == values["seeds"]


def test_markdown_has_a_cell_for_every_heading(runs: dict[str, Run]) -> None:
    lines = [line for line in render(make_table(list(runs.values())), "md").splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 3
    assert len({line.count("|") for line in lines}) == 1
    lstm = next(line for line in lines if "flat-lstm" in line)
    mean = (runs["a"].results["test"]["mse"] + runs["b"].results["test"]["mse"]) / 2
    assert f"{mean:.4f} ±" in lstm
    assert "| 0, 1 |" in lstm
    assert lines[0].split("|")[1:4] == [" model ", " test MSE (m/s)² ", " vs mean "]
