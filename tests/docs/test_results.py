"""The tables of README and docs are those of the results that ship."""

from __future__ import annotations

import importlib
import json
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from scipy import stats

from baselines import build, config_to_dict, load_results
from baselines.presets import MODELS
from baselines.results import Results, studies

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return importlib.import_module("make_results")


def test_pages_say_what_the_results_say(script: ModuleType) -> None:
    held = set()
    for page in script.PAGES:
        text = page.read_text()
        held |= {found["name"] for found in script.BLOCK.finditer(text)}
        assert script.rendered(text) == text, f"{page.name}: run python scripts/make_results.py"
        other = re.sub(r"(\| \S+ \| [*]*0\.\d)(\d)", lambda m: m[1] + str((int(m[2]) + 1) % 10), text)
        assert other != text or page.name == "quirks.md"  # whose cells are per cent
        assert script.rendered(other) == text
    assert held == set(script.BLOCKS)


def test_numbers_of_the_demo_by_hand(script: ModuleType) -> None:
    shown = {
        cells[1].strip(): cells
        for line in script.demo().splitlines()
        if len(cells := line.split("|")) > 3 and cells[1].strip() in MODELS
    }
    assert len(shown) == 2
    for row in load_results("sample", model=list(shown)):
        assert shown[row.model][2].strip() == f"{row.test_mse:.4f}"
        assert f"{row.parameters:,}" in [cell.strip() for cell in shown[row.model]]


def test_findings_by_another_way(script: ModuleType) -> None:
    """From the CSV files alone, with pandas and scipy: neither the rows' classes nor the table's code."""
    folder = ROOT / "baselines" / "results"
    runs, parts = pd.read_csv(folder / "broad.csv"), pd.read_csv(folder / "broad.recordings.csv")
    means = runs.groupby("model")[["val_mse", "test_mse"]].mean()
    learned = means[means.index.str.match("flat-|hiss-")]
    said = script.of_one_split(load_results("broad"))
    on_val, on_test = learned.val_mse.idxmin(), learned.test_mse.idxmin()
    place = int(learned.test_mse.rank()[on_val])
    assert f"{on_val} has the lowest error on val ({learned.val_mse.min():.4f}) and comes {place}" in said.replace(
        "comes first", "comes 1"
    )
    assert f"{on_test} has the lowest on test ({learned.test_mse.min():.4f})" in said
    others = means.drop(index=learned.index)
    better = int((learned.test_mse < others.test_mse.min()).sum())
    assert f"{better} of the {len(learned)} learned models have a lower error" in said
    rho = stats.spearmanr(learned.val_mse, learned.test_mse).statistic
    assert f"on val and on test with {rho:.2f}" in said
    squares = parts[parts.key.isin(runs[runs.model == on_test].key)].eval("mse * steps")
    shares = squares.groupby(parts.recording).sum() / squares.sum()
    assert f"{shares.idxmax()}, holds {100 * shares.max():.0f} % of the squared error" in said
    table = script.table_of("broad")
    by_model = parts.merge(runs[["key", "model"]]).groupby(["model", "recording"]).mse.mean().unstack()
    raw = {m: stats.wilcoxon(by_model.loc[m] - by_model.loc[on_val]).pvalue for m in means.index if m != on_val}
    lowest = min(raw, key=lambda m: raw[m])
    corrected = min(1.0, raw[lowest] * len(raw))
    line = next(line for line in table.splitlines() if line.startswith(f"| {lowest} |"))
    assert f"| {corrected:.2g} |" in line.replace(" * |", " |")


def test_findings_of_folds_by_another_way(script: ModuleType) -> None:
    """From the CSV files alone: every recording once, its error by a model of the fold that it is tested in."""
    folder = ROOT / "baselines" / "results"
    runs, parts = pd.read_csv(folder / "broad-folds.csv"), pd.read_csv(folder / "broad-folds.recordings.csv")
    rows = parts.merge(runs[["key", "model", "seed"]])
    counts = rows.groupby(["model", "seed"]).recording.agg(["size", "nunique"])
    assert (counts == 18).all(axis=None)
    rows["square"] = rows.mse * rows.steps
    sums = rows.groupby(["model", "seed"])[["square", "steps"]].sum()
    means = (sums.square / sums.steps).groupby("model").mean().sort_values()
    learned = means[means.index.str.match("flat-|hiss-")]
    said = script.BLOCKS["broad-folds-findings"][1]()
    assert f"{learned.index[0]} has the lowest on test ({learned.iloc[0]:.4f})" in said
    better = int((learned < means.drop(index=learned.index).min()).sum())
    assert f"{better} of the {len(learned)} learned models have a lower error" in said
    split = pd.read_csv(folder / "broad.csv").groupby("model").test_mse.mean()
    rho = stats.spearmanr(learned, split[learned.index]).statistic
    assert f"correlates with {rho:.2f} (Spearman)" in said
    by_model = rows.groupby(["model", "recording"]).mse.mean().unstack()
    differences = by_model.loc[learned.index] - by_model.loc["strapdown"]
    best = learned.index[0]
    assert f"{best} has a lower error than strapdown on {int((differences.loc[best] < 0).sum())} of 18" in said
    vals = runs[runs.model.isin(learned.index)].groupby("model").val_mse.mean()
    for other, among, pattern in (
        (vals.idxmin(), means.index, r"are significant\. Worse: (?P<higher>[^.]*)\. Better: (?P<lower>[^.]*)\."),
        ("strapdown", learned.index, r"are significant: lower (?P<lower>[^;]*); higher (?P<higher>[^.]*)\."),
    ):
        found = re.search(pattern, said)
        assert found is not None
        for side, models in _carrying(by_model, means, other, list(among)).items():
            assert {name for name in found[side].split(", ") if name != "none"} == models


def _carrying(
    by_model: pd.DataFrame, means: pd.Series[float], other: str, among: list[str]
) -> dict[str, set[str]]:
    """Return the models with a lower and with a higher error than another, by Wilcoxon's test and Holm's rule."""
    raw = {
        model: float(stats.wilcoxon(by_model.loc[model] - by_model.loc[other], method="exact").pvalue)
        for model in among
        if model != other
    }
    found: dict[str, set[str]] = {"lower": set(), "higher": set()}
    for i, model in enumerate(sorted(raw, key=lambda model: raw[model])):
        if (len(raw) - i) * raw[model] >= 0.05:
            break
        found["lower" if means[model] < means[other] else "higher"].add(model)
    return found


def test_unknown_block(script: ModuleType) -> None:
    with pytest.raises(SystemExit, match="no block 'braod'"):
        script.rendered("<!-- results: braod -->\n<!-- results: end -->")


def test_sizes_are_chosen_on_val_and_fairly(script: ModuleType) -> None:
    rows = load_results("sample", model=("flat-s4", "hiss-s4-mamba"))
    both = Results(
        [replace(row, variant="small", val_mse=0.1, test_mse=9.0) for row in rows]
        + [replace(row, variant="half", val_mse=0.2, test_mse=0.0) for row in rows]
    )
    assert {row.variant for row in script.chosen(both).values()} == {"small"}
    with pytest.raises(SystemExit, match="no fair choice"):
        script.chosen(Results([*both, replace(both[0], seed=1, val_mse=0.0)]))
    assert len(script.chosen(both[:-1])) == 1  # the other has not run in both sizes


@pytest.mark.parametrize("model", MODELS)
def test_half_is_half(script: ModuleType, model: str) -> None:
    options = {
        key.removeprefix("model."): int(value) for key, value in (s.split("=") for s in script._half(model))
    }
    small, half = (config_to_dict(build(model, 12, 3, preset="small", **extra).config) for extra in ({}, options))
    for level in ("layer", "low", "high"):
        if level in small:
            assert 2 * half[level]["dim"] == small[level]["dim"]
            assert half[level] == {
                **small[level],
                **{k: half[level][k] for k in ("dim", "hidden") if k in half[level]},
            }
    if script.SIZES in studies():
        expected = {"small": json.loads(json.dumps(small)), "half": json.loads(json.dumps(half))}
        for row in load_results(script.SIZES, model=model):
            assert row.settings["model"] == expected[row.variant]


def test_leaks_are_pairs_of_one_seed(script: ModuleType) -> None:
    """Each model's ratio within a seed, then mean and spread over seeds; a run can stand for two variants."""
    (row,) = load_results("sample", model="mean")
    made = [
        replace(row, model="a", seed=seed, key=f"{seed}{variant}", variant=variant, test_mse=rmse**2)
        for seed, clean, statistics, selection in ((0, 1.0, 0.9, 1.1), (1, 2.0, 1.6, 2.0))
        for variant, rmse in (
            ("statistics, clean; selection, clean", clean),
            ("statistics, leaky", statistics),
            ("selection, leaky", selection),
        )
    ]
    made.append(replace(made[0], model="b", seed=5, key="alone", variant="filter, clean"))  # its pair failed
    text = script.leaks(Results(made))
    lines = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if line.startswith("|")]
    assert [line[1:-1] for line in lines if line[1] in ("leak", "statistics", "selection", "filter")] == [
        ["leak", "a"],
        ["statistics", "-15.0 ± 7.1 %"],
        ["selection", "+5.0 ± 7.1 %"],
    ]
    assert "real recordings" in text


def test_filters_are_compared_with_none(script: ModuleType) -> None:
    (row,) = load_results("sample", model="mean")
    made = [
        replace(row, key=variant, variant=variant, test_mse=rmse**2)
        for variant, rmse in (("no filter", 2.0), ("causal, 3 Hz", 2.2), ("zero-phase, 3 Hz", 1.0))
    ]
    text = script.filters(Results(made))
    assert "| causal, 3 Hz | +10.0 % |" in text
    assert "| zero-phase, 3 Hz | -50.0 % |" in text


@pytest.mark.parametrize("study", [study for study in studies() if study.startswith("simulated")])
def test_what_is_simulated_is_called_so(script: ModuleType, study: str) -> None:
    assert {row.kind for row in load_results(study)} == {"simulated"}
    headings = [line for line in script.BLOCKS[study][1]().splitlines() if line.startswith("**")]
    assert headings
    assert all("simulated" in heading and "real recordings" not in heading for heading in headings)


def test_how_often_a_linear_reference_is_ahead() -> None:
    """What docs/results-simulated.md says in short, before its tables."""
    ahead = {}
    for protocol in ("strict", "paper"):
        runs = pd.read_csv(ROOT / "baselines" / "results" / f"simulated-{protocol}.csv")
        means = runs.groupby(["dataset", "model"]).test_mse.mean().unstack()
        ahead[protocol] = int(means.idxmin(axis=1).isin(["fir", "kalman"]).sum())
    words = ("none", "one", "two", "three", "four", "five", "six")
    text = " ".join((ROOT / "docs" / "results-simulated.md").read_text().split())
    assert (
        f"a linear reference (`fir` or `kalman`) has the lowest error on {words[ahead['strict']]} of the six sets "
        f"under `strict` and on {words[ahead['paper']]} under `paper`" in text
    )


def test_tables_beside_each_other_by_another_way(script: ModuleType) -> None:
    runs = pd.read_csv(ROOT / "baselines" / "results" / "simulated-strict.csv")
    lines = [
        line.split("|")[1:-1] for line in script.beside_each_other("simulated-strict").splitlines() if "|" in line
    ]
    header, body = lines[0], lines[2:]
    for column, name in enumerate(header[1:], start=1):
        own = runs[runs.dataset == name.split()[0]].groupby("model").test_mse.mean()
        shown = {cells[0].strip(): cells[column].strip(" *") for cells in body if cells[column].strip()}
        assert set(own.index) == set(shown) - {"Improvement of HiSS over best flat"}
        power = re.search(r" in 10⁻([⁰¹²³⁴⁵⁶⁷⁸⁹])", name)
        scale = 10.0 ** -"⁰¹²³⁴⁵⁶⁷⁸⁹".index(power[1]) if power else 1
        for model, mse in own.items():
            assert float(shown[str(model)].split(" ")[0]) * scale == pytest.approx(mse, rel=0.02)
        best = (
            1
            - own[own.index.str.fullmatch("hiss-(s4|mamba)-(s4|mamba)")].min()
            / own[own.index.str.startswith("flat")].min()
        ) * 100
        assert shown["Improvement of HiSS over best flat"] == f"{best:+.1f} %"
