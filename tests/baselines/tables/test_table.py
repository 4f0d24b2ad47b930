from __future__ import annotations

import csv
import io
import json
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from baselines import experiment
from baselines.cli import main
from baselines.errors import OptionError, UnknownNameError
from baselines.results.rows import Result, as_results
from baselines.runs.collect import read_runs
from baselines.runs.run import Run, RunError
from baselines.tables.make import make_table, make_tables
from baselines.tables.render import grid_of, notes, overview, render, render_all
from baselines.tables.table import Table
from csp_data import Dataset


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
    assert "| 0-2 |" in render(table, "md")
    assert "| -48.7 % |" in render(table, "md")  # against the mean
    gap = [_with(runs["a"], test=0.2, seed=seed) for seed in (3, 0, 1)]
    assert "| 0, 1, 3 |" in render(make_table(gap), "md")


def test_rows_of_real_runs(runs: dict[str, Run]) -> None:
    table = make_table(list(runs.values()))
    assert {row.model for row in table.rows} == {"mean", "fir", "flat-lstm"}
    mean = next(row for row in table.rows if row.model == "mean")
    assert mean.parameters == 3
    assert mean.test_mse == runs["mean"].results["test"]["mse"]
    assert mean.val_mse == runs["mean"].results["val"]["mse"] != mean.test_mse
    assert [row.test_mse for row in table.rows] == sorted((row.test_mse for row in table.rows), reverse=True)


def test_a_table_shows_itself(runs: dict[str, Run]) -> None:
    """In a notebook and at a prompt: every model with its error, under the heading."""
    table = make_table(list(runs.values()))
    page = ET.fromstring(f"<div>{table._repr_html_()}</div>")
    shown = [["".join(cell.itertext()) for cell in row] for row in page.iter("tr")][1:]
    assert [name for name, *_ in shown] == [row.model for row in table.rows]
    for row, cells in zip(table.rows, shown, strict=True):
        assert cells[1].split()[0] == f"{row.test_mse:.4f}"
        line = next(line for line in repr(table).splitlines() if line.startswith(row.model))
        assert cells[1] in line.replace("*", "")
    assert "sample: real recordings, not CSP-Bench" in repr(table)


def test_heading_says_what_it_is(runs: dict[str, Run]) -> None:
    table = make_table([runs["a"]])
    assert not grid_of(table).best  # one row alone is no best one
    whole = replace(runs["a"].config.train, window_s=None, window_stride_s=None)
    both = make_table([replace(runs["a"], config=replace(runs["a"].config, train=whole)), runs["a"]])
    assert both.context_label == "windows of 10 s or whole episodes"
    head = render(table, "md").splitlines()[0]
    assert "sample: real recordings, not CSP-Bench" in head
    assert "protocol strict" in head
    assert runs["a"].config.data.recipe_hash in head
    assert "windows of 10 s" in head
    assert "simulated, not CSP-Bench" in render(make_table([_with(runs["a"], kind="simulated")]), "md")
    bench = render(make_table([_with(runs["a"], kind="CSP-Bench")]), "md").splitlines()[0]
    assert "CSP-Bench" in bench
    assert "not CSP-Bench" not in bench


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", "marker", "marker"),
        ("recipe_hash", "0123456789ab", "0123456789ab"),
        ("kind", "simulated", "simulated"),
        ("protocol", {"name": "paper"}, "paper"),
    ],
)
def test_mixtures_are_refused_naming_both(field: str, value: Any, said: str, runs: dict[str, Run]) -> None:
    data = replace(runs["b"].config.data, **{field: value})
    second = replace(runs["b"], config=replace(runs["b"].config, data=data))
    with pytest.raises(RunError) as caught:
        make_table([runs["a"], second])
    assert str(runs["a"].folder) in str(caught.value)
    assert str(runs["b"].folder) in str(caught.value)
    assert said in str(caught.value)


def test_the_same_run_twice_is_refused(runs: dict[str, Run]) -> None:
    with pytest.raises(RunError, match=r"same run \(flat-lstm, seed 0\)"):
        make_table([runs["a"], runs["a"]])
    for make in (make_table, make_tables):
        with pytest.raises(RunError, match="at least one run"):
            make([])


def test_models_that_share_a_name_stay_apart(runs: dict[str, Run]) -> None:
    other = replace(runs["a"].config, model={**runs["a"].config.model, "readout": "first"})
    table = make_table([_with(runs["a"], test=0.2), replace(runs["a"], config=other)])
    assert {row.model for row in table.rows} == {"flat-lstm (readout last)", "flat-lstm (readout first)"}
    assert {row.kind for row in table.rows} == {"flat"}
    rates = [
        replace(run, config=replace(run.config, train=replace(run.config.train, lr=lr)))
        for run in (runs["a"], runs["b"])
        for lr in (1e-3, 0.5)
    ]
    assert {row.model: row.seeds for row in make_table(rates).rows} == {
        "flat-lstm (lr 0.001)": (0, 1),
        "flat-lstm (lr 0.5)": (0, 1),
    }


def test_a_name_tells_three_settings_and_the_note_below_eight(runs: dict[str, Run]) -> None:
    config = runs["a"].config

    def beside(model: dict[str, Any], **train: Any) -> Table:
        other = replace(config, model={**config.model, **model}, train=replace(config.train, **train))
        return make_table([runs["a"], replace(runs["a"], config=other)])

    three = {"batch": 3, "window_s": None, "window_stride_s": None}
    labels = {row.model for row in beside({}, **three).rows}
    assert "flat-lstm (batch 3, window_s none, window_stride_s none)" in labels
    eight = {**three, "epochs": 7, "lr": 0.5, "schedule": "constant", "clip_norm": 1.0, "precision": "bf16"}
    for more, end in (
        ({}, "train.precision bf16."),
        ({"a": 1}, "; and 1 more setting differs."),
        ({"a": 1, "b": 2}, "; and 2 more settings differ."),
    ):
        (said,) = beside(more, **eight).numbered
        assert said.endswith(end)
        assert said.count("train.precision ") == 2  # in either row


def test_rows_that_differ_in_much_are_numbered(runs: dict[str, Run]) -> None:
    train = replace(runs["a"].config.train, lr=0.5, batch=3, epochs=7, window_s=4.0)
    other = replace(runs["a"], config=replace(runs["a"].config, train=train))
    table = make_table([runs["a"], other])
    assert {row.model for row in table.rows} == {"flat-lstm (1)", "flat-lstm (2)"}
    (said,) = (note for note in notes(table) if "(1)" in note and "(2)" in note and ";" in note)
    assert said.split("; ")[1] == "flat-lstm (2): train.epochs 7, train.batch 3, train.lr 0.5, train.window_s 4."


def test_rows_whose_choices_read_alike_stay_apart(runs: dict[str, Run]) -> None:
    """Also in older runs, whose keys tell 0 from 0.0 and nothing at all from None."""
    model = runs["a"].config.model
    level = {**model["layer"], "dropout": 0}
    others = [{**model, "layer": level}, {**model, "layer": {**level, "dropout": 0.0}}, {**model, "more": None}]
    made = [replace(runs["a"], config=replace(runs["a"].config, model=other)) for other in others]
    table = make_table([runs["a"], *made])
    assert {row.model for row in table.rows} == {f"flat-lstm ({number})" for number in (1, 2, 3, 4)}
    assert make_table([runs["a"], made[-1]]).numbered == ()  # no setting can be shown to differ


def test_a_training_mean_without_an_error_is_nothing_to_compare_with(runs: dict[str, Run]) -> None:
    table = make_table([runs["a"], _with(runs["mean"], test=0.0)])
    assert {row.improvement for row in table.rows} == {None}


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
        for name in ("difference", "low", "high", "p", "p_holm", "recordings"):
            said = None if expected.comparison is None else getattr(expected.comparison, name)
            assert (float(row[name]) if row[name] else None) == said


def test_markdown_has_a_cell_for_every_heading(runs: dict[str, Run]) -> None:
    lines = [line for line in render(make_table(list(runs.values())), "md").splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 3
    assert len({line.count("|") for line in lines}) == 1
    lstm = next(line for line in lines if line.startswith("| flat-lstm"))
    mean = (runs["a"].results["test"]["mse"] + runs["b"].results["test"]["mse"]) / 2
    assert f"{mean:.4f} ±" in lstm
    assert "| 0, 1 |" in lstm
    assert lines[0].split("|")[1:4] == [" model ", " test MSE (m/s)² ", " vs mean "]


def _recordings(run: Run, errors: dict[str, float], **options: Any) -> Run:
    """The same run with errors of its recordings, 10 steps each."""
    made = _with(run, test=sum(errors.values()) / len(errors), **options)
    made.results["test"]["recordings"] = {name: {"steps": 10, "mse": e, "mae": e} for name, e in errors.items()}
    made.results["val"]["mse"] = made.results["test"]["mse"]
    return made


@pytest.fixture
def pair(runs: dict[str, Run]) -> list[Run]:
    """A flat and a hierarchical model, two seeds each, on eight recordings: the second is better on every one."""
    names = [f"r{i}" for i in range(8)]
    flat = [{n: 1.0 + 0.1 * i + 0.01 * s for i, n in enumerate(names)} for s in range(2)]
    hiss = [{n: 0.5 * e for n, e in errors.items()} for errors in flat]
    return [
        *(_recordings(runs["a"], errors, seed=s) for s, errors in enumerate(flat)),
        *(_recordings(runs["a"], errors, seed=s, name="hiss-s4-mamba") for s, errors in enumerate(hiss)),
    ]


def test_hierarchy_over_flat_and_statistics_by_hand(pair: list[Run]) -> None:
    table = make_table(pair)
    assert table.against == "hiss-s4-mamba"
    flat, hiss = table.rows
    assert hiss.comparison is None
    assert flat.comparison is not None
    assert flat.comparison.difference == pytest.approx(0.5 * 1.355)  # half of the mean of the flat errors
    assert flat.comparison.p == pytest.approx(2 / 2**8)
    assert flat.comparison.significant
    found = table.hierarchy
    assert found is not None
    assert (found.hiss, found.flat) == ("hiss-s4-mamba", "flat-lstm")
    assert found.improvement == pytest.approx(0.5)
    assert found.published is None
    assert found.comparison is not None
    assert found.comparison.difference == pytest.approx(-0.5 * 1.355)
    better = [
        _recordings(pair[0], {f"r{i}": 0.1 for i in range(8)}, name=n) for n in ("hiss-lstm-s4", "hiss-s4-lstm")
    ]
    worse = [_recordings(pair[0], {f"r{i}": 3.0 for i in range(8)}, name=n) for n in ("hiss-s4-s4", "flat-gru")]
    for run in worse:
        run.results["val"]["mse"] = 0.01  # the reported part chooses, as published
    again = make_table([*pair, *better, *worse]).hierarchy
    assert again is not None
    # the best of each; and a hierarchy with an LSTM in it is not HiSS, however good
    assert (again.hiss, again.flat) == ("hiss-s4-mamba", "flat-lstm")
    lost = make_table([*pair, replace(better[0], config=replace(better[0].config, name="flat-s4"))]).hierarchy
    assert lost is not None
    assert (lost.hiss, lost.flat) == ("hiss-s4-mamba", "flat-s4")
    assert lost.improvement == pytest.approx(1 - 0.6775 / 0.1)
    text = render(table, "md")
    assert "With 8 recordings no p can be below 0.0078 before" in text  # 1 / 2^7
    assert "| **0.6775 ± 0.0035** |" in text
    assert "| *1.3550 ± 0.0071* |" in text
    assert "+50.0 %" in text
    assert "8 recordings" in text
    assert "0.0078 * |" in text
    assert ", p 0.0078" in text.split("|")[-1]  # of the one comparison, in the note


def test_differences_are_over_all_steps_whatever_the_order_of_recordings(pair: list[Run]) -> None:
    flat, hiss = pair[0], pair[-1]
    before = flat.results["test"]["recordings"]
    before["r0"]["steps"] = hiss.results["test"]["recordings"]["r0"]["steps"] = 90  # of 1.0 against 0.505
    hiss.results["test"]["recordings"] = dict(reversed(hiss.results["test"]["recordings"].items()))
    difference = sum(r["steps"] * (r["mse"] - 0.5 * (r["mse"] + 0.01)) for r in before.values()) / 160
    for runs in ([flat, hiss], [hiss, flat]):
        compared, _ = make_table(runs).rows
        assert compared.comparison is not None
        assert compared.comparison.difference == pytest.approx(difference)
        assert compared.comparison.p == pytest.approx(2 / 2**8)


def test_others_are_compared_with_a_learned_model_where_there_is_one(
    pair: list[Run], runs: dict[str, Run]
) -> None:
    """However good a reference is; among references alone the lowest on the part for choosing."""
    fir, mean = (
        _recordings(runs[name], {f"r{i}": error for i in range(8)})
        for name, error in (("fir", 0.1), ("mean", 0.2))
    )
    table = make_table([*pair, fir, mean])
    assert table.rows[-1].model == "fir"
    assert table.against == "hiss-s4-mamba"
    assert {row.model for row in table.rows if row.comparison is None} == {"hiss-s4-mamba"}
    assert "Differences in MSE to hiss-s4-mamba, the learned model with the lowest error on val" in render(
        table, "md"
    )
    named = make_table([*pair, fir, mean], against="flat-lstm")
    before, after = (
        next(row.comparison for row in t.rows if row.model == other)
        for t, other in ((table, "flat-lstm"), (named, "hiss-s4-mamba"))
    )
    assert before is not None
    assert after is not None
    assert (after.difference, after.p) == (pytest.approx(-before.difference), before.p)
    assert "Differences in MSE to flat-lstm, the model that was named" in render(named, "md")
    with pytest.raises(UnknownNameError, match="no model 'flat-lst' in the table of sample"):
        make_table([*pair, fir], against="flat-lst")
    assert make_table([mean, fir]).against == "fir"
    fir.results["val"]["mse"] = 0.3
    assert make_table([mean, fir]).against == "mean"
    assert make_table([fir]).against is None
    assert make_table([fir], against="fir").against is None
    bare = [replace(Result.of(run), recordings={}) for run in (*pair, fir)]
    assert make_table(bare).against is None
    with pytest.raises(OptionError, match=r"against='fir': .* all hold errors by recording"):
        make_table(bare, against="fir")  # it was left out without a word


def test_published_number_stands_beside_the_real_benchmark_alone(pair: list[Run]) -> None:
    def on(kind: str, protocol: str) -> list[Run]:
        out = []
        for run in pair:
            data = replace(run.config.data, name="marker", kind=kind, protocol={"name": protocol})
            results = json.loads(json.dumps(run.results))
            results["test"]["published"] = {"unit": "(cm/s)²", "mse": 0.6}
            out.append(replace(run, config=replace(run.config, data=data), results=results))
        return out

    table = make_table(on("CSP-Bench", "paper"))
    hiss = table.rows[-1]
    assert (hiss.published, hiss.converted) == (0.5663, 0.6)
    assert table.hierarchy is not None
    assert table.hierarchy.published == pytest.approx(0.3587, abs=1e-4)
    assert f"| 0.5663 | 0.6000 | {100 * (0.6 / 0.5663 - 1):+.1f} % |" in render(table, "md")
    assert "; published +35.9 %." in render(table, "md")
    assert "their unit is inferred" in render(table, "md")
    partly = on("CSP-Bench", "paper")
    partly[-1].results["test"]["published"] = None  # of one seed the error in that unit is not known
    assert "| 0.5663 |  |  |" in render(make_table(partly), "md")
    for kind, protocol in (("simulated", "paper"), ("CSP-Bench", "strict")):
        other = make_table(on(kind, protocol))
        assert all(row.published is None for row in other.rows)
        assert other.hierarchy is not None
        assert other.hierarchy.published is None
        assert "published MSE" not in render(other, "md")


def test_several_data_sets_make_an_overview(pair: list[Run]) -> None:
    other = [replace(run, config=replace(run.config, data=replace(run.config.data, name="broad"))) for run in pair]
    tables = make_tables([*pair, *other])
    assert [table.dataset for table in tables] == ["sample", "broad"]
    assert [plain["dataset"] for plain in json.loads(render_all(tables, "json"))] == ["sample", "broad"]
    text = render_all(tables, "md")
    assert text.splitlines()[0] == "**real recordings, not CSP-Bench; protocol strict; mean squared error**"
    assert "| Improvement of HiSS over best flat | +50.0 % | +50.0 % |" in text
    slow = [
        replace(run, config=replace(run.config, data=replace(data, protocol={**data.protocol, "input_hz": 25.0})))
        for run in other
        for data in (run.config.data,)
    ]
    assert [table.name for table in make_tables([*pair, *slow])] == ["sample", "broad"]  # no variants of one
    partly = render_all(make_tables([*pair, *other[:2]]), "md")
    assert "| Improvement of HiSS over best flat | +50.0 % |  |" in partly
    simulated = [
        replace(run, config=replace(run.config, data=replace(run.config.data, name="marker", kind="simulated")))
        for run in pair
    ]
    with pytest.raises(RunError, match=r"real recordings, .*simulated, .*runs/DATASET-PROTOCOL-\*"):
        make_tables([*pair, *simulated])
    paper = [
        replace(run, config=replace(run.config, data=replace(run.config.data, protocol={"name": "paper"})))
        for run in other
    ]
    with pytest.raises(RunError, match=r"protocol strict, .*protocol paper"):
        make_tables([*pair, *paper])


def test_recipes_of_a_data_set_have_a_table_each(pair: list[Run]) -> None:
    """As after a sweep over fields of the protocol: each is called after what most others do not share."""

    def of(recipe: str, **changes: object) -> list[Run]:
        data = pair[0].config.data
        data = replace(data, recipe_hash=recipe, protocol={**data.protocol, **changes})
        return [replace(run, config=replace(run.config, data=data)) for run in pair]

    def names(*found: list[Run]) -> list[str]:
        return [table.name for table in make_tables([run for runs in found for run in runs])]

    plain, deltas = of("0" * 12), of("1" * 12, input_deltas=False)
    assert names(plain) == ["sample"]
    assert names(plain, deltas) == ["sample, input deltas yes", "sample, input deltas no"]
    filtered = of("2" * 12, lowpass={"hz": 3.0, "order": 3, "phase": "causal"})
    assert names(plain, deltas, filtered) == ["sample", "sample, input deltas no", "sample, low-pass 3 Hz causal"]
    much = of("3" * 12, input_deltas=False, clip=3.0, input_hz=25.0, target_hz=2.5)
    assert names(plain, deltas, filtered, much)[-1] == f"sample, recipe {'3' * 12}"
    assert names(plain, of("4" * 12), filtered) == [
        "sample",
        f"sample, recipe {'4' * 12}",
        "sample, low-pass 3 Hz causal",
    ]
    text = render_all(make_tables([*plain, *filtered]), "md")
    assert "| model | sample, low-pass none (m/s)² | sample, low-pass 3 Hz causal (m/s)² |" in text
    assert (
        f"**sample, low-pass 3 Hz causal: real recordings, not CSP-Bench; protocol strict, recipe {'2' * 12};"
        in text
    )


def test_latex_and_html_escape_and_mark(pair: list[Run]) -> None:
    table = make_table(pair)
    latex = render(table, "latex")
    assert r"\textbf{0.6775 $\pm$ 0.0035}" in latex
    assert r"\underline{1.3550 $\pm$ 0.0071}" in latex
    rows = [line for line in latex.splitlines() if line.endswith(r" \\")]
    assert len(rows) == 3
    (gaps,) = {line.count("&") - line.count(r"\&") for line in rows}
    assert rf"\begin{{tabular}}{{l{'r' * gaps}}}" in latex
    assert latex.count("{") - latex.count(r"\{") == latex.count("}") - latex.count(r"\}")
    c = table.rows[0].comparison
    assert c is not None
    assert 0.1 <= (c.high - c.low) / 2 < 0.11  # two digits of half of it: two decimals
    assert f" & +0.68 [{c.low:+.2f}, {c.high:+.2f}] & " in latex
    assert "corrected for 1 comparison (Holm)" in latex
    odd = render(replace(table, dataset="my_set & 5 % of µT, -1"), "latex")
    assert r"\caption{my\_set \& 5 \% of $\mu$T, $-$1: real" in odd
    assert "not CSP-Bench" in latex
    assert r"Means $\pm$ standard deviations over seeds. Bold: lowest error, underlined: second lowest." in latex
    one_seed = render(make_table([pair[0], pair[-1]]), "latex")
    assert r"$\pm$" not in one_seed
    html = render(table, "html")
    assert "<strong>0.6775 ± 0.0035</strong>" in html
    assert "<caption>sample: real recordings, not CSP-Bench" in html
    assert html.count('<th scope="row">') == len(table.rows)
    assert r"| a\|b |" in render(replace(table, names={"flat-lstm": "a|b"}), "md")


def test_runs_without_recordings_have_no_statistics(runs: dict[str, Run]) -> None:
    old = [_with(runs["a"]), _with(runs["mean"]), _with(runs["a"], name="hiss-s4-mamba")]
    for run in old:
        del run.results["test"]["recordings"]
    table = make_table(old)
    assert table.against is None
    assert table.hierarchy is not None
    assert table.hierarchy.comparison is None
    assert make_table(old[:2]).hierarchy is make_table(old[1:]).hierarchy is None  # it takes both
    assert "p (Holm)" not in render(table, "md")
    more = _with(runs["a"], name="hiss-s4-mamba")  # of other recordings, so that nothing is paired
    more.results["test"]["recordings"]["another"] = {"steps": 10, "mse": 1.0, "mae": 1.0}
    assert make_table([runs["a"], more]).against is make_table([more, runs["a"]]).against is None


def test_a_folder_of_runs_is_read_whole(runs: dict[str, Run], tmp_path: Path) -> None:
    assert [run.folder for run in read_runs([runs["a"].folder.parent])] == sorted(r.folder for r in runs.values())
    with pytest.raises(RunError, match="neither a run nor a folder that holds finished runs"):
        read_runs([tmp_path])


def test_a_reference_that_two_sweeps_ran_stands_once(
    runs: dict[str, Run], sample: Dataset, tmp_path: Path
) -> None:
    """Whatever their trainings: only the window changes what a reference predicts."""
    own = runs["fir"].config.train
    others = [
        replace(own, epochs=7, lr=0.5, batch=3, window_stride_s=2.0),
        replace(own, window_s=5.0, window_stride_s=5.0),
        replace(own, epochs=7, lr=0.5),
    ]
    for number, train in enumerate(others):
        experiment.run(sample, "fir", train, tmp_path / str(number) / "fir", options={"taps": 20})
    shutil.copytree(runs["a"].folder, tmp_path / "0" / "lstm")
    again = read_runs([tmp_path / "0" / "fir"])[0]
    assert again.reported["recordings"] == runs["fir"].reported["recordings"]
    repeated = [tmp_path / "0" / "fir", tmp_path / "2", runs["fir"].folder]
    found = read_runs([runs["fir"].folder.parent, tmp_path / "1", *repeated])
    firs = [row for row in as_results(found) if row.model == "fir"]
    assert [row.source for row in firs] == [str(runs["fir"].folder), str(tmp_path / "1" / "fir")]  # other windows
    assert len(make_table(found).rows) == len(make_table([*found, *found[-3:], *firs]).rows) == 4
    with pytest.raises(RunError, match="the same run"):  # a trained model is not counted twice silently
        make_table(read_runs([runs["fir"].folder.parent, tmp_path / "0"]))


@pytest.fixture(scope="module")
def folders(runs: dict[str, Run]) -> list[str]:
    return [str(run.folder) for run in runs.values()]


@pytest.mark.parametrize("form", ["md", "latex", "html", "text"])
def test_rows_are_called_as_they_are_renamed_wherever_they_are_named(
    form: str, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Names as long as the old ones, so that a text breaks at the same places: all else stays as it is."""
    command = ["table", *folders, "--format", form]
    main([*command, "--against", "flat-lstm"])
    usual = capsys.readouterr().out
    assert usual.count("flat-lstm") > 2
    for against in ("flat-lstm", "our-model"):
        main([*command, "--rename", "flat-lstm=our-model", "fir=FIR", "--against", against])
        renamed = capsys.readouterr().out
        assert renamed == usual.replace("flat-lstm", "our-model").replace("fir ", "FIR ").replace("fir<", "FIR<")
    table = make_table(read_runs(folders), names={"fir": "FIR"})
    assert [row.model for row in table.rows if row.kind == "reference"] == ["mean", "fir"]


def test_a_name_that_a_number_explained_needs_no_explanation(runs: dict[str, Run]) -> None:
    several = [
        replace(
            runs["a"],
            config=replace(runs["a"].config, train=replace(runs["a"].config.train, **settings)),
            folder=runs["a"].folder.parent / str(settings),
        )
        for settings in ({"lr": 0.5, "batch": 2, "epochs": 3, "clip_norm": 1.0}, {})
    ]
    table = make_table(several)
    assert [row.model for row in table.rows] == ["flat-lstm (1)", "flat-lstm (2)"]
    assert table.numbered[0].startswith("flat-lstm (1): ")
    assert "flat-lstm (2): " in table.numbered[0]
    named = make_table(several, names={"flat-lstm (1)": "fast", "flat-lstm (2)": "slow"})
    assert named.numbered == ()
    assert "| fast |" in render(named, "md")


def test_a_model_of_ones_own_is_neither_hiss_nor_flat_and_that_is_said(pair: list[Run]) -> None:
    """It has the lowest error of all: whoever reads the improvement must not take it for one over that model."""
    best = _recordings(pair[0], {f"r{i}": 0.1 for i in range(8)}, seed=0, name="own-Mine")
    for runs, said in ((pair, False), ([*pair, best], True)):
        table = make_table(runs)
        (improvement,) = [note for note in notes(table) if note.startswith("Improvement of HiSS over best flat")]
        assert "(hiss-s4-mamba, of" in improvement
        assert "over flat-lstm; both" in improvement
        assert ("as published; own-Mine counts as neither): +50.0 %" in improvement) is said
        (below,) = overview([table, table]).notes
        assert below.endswith("counts as neither.") is said
    named = make_table([*pair, best], names={"own-Mine": "Ours"})
    assert any("; Ours counts as neither" in note for note in notes(named))
    assert [row[0] for row in overview([named, named]).rows][-2:] == ["Ours", "Improvement of HiSS over best flat"]
    assert overview([make_table(pair[:2])]).notes == ()


def test_a_caption_and_a_label_for_a_paper(folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    command = ["table", *folders, "--format", "latex"]
    main(command)
    usual = capsys.readouterr().out
    heading = usual.partition(r"\caption{")[2].partition("}\n")[0]
    assert "real recordings, not CSP-Bench" in heading
    main([*command, "--label", "tab:a_b"])
    assert capsys.readouterr().out == usual.replace(f"{{{heading}}}\n", f"{{{heading}}}\n\\label{{tab:a_b}}\n")
    main([*command, "--caption", r"All of \cite{me}, $n=3$", "--label", "tab:a_b"])
    out = capsys.readouterr().out
    assert "\\caption{All of \\cite{me}, $n=3$}\n\\label{tab:a_b}\n" in out
    assert rf"\scriptsize {heading} Means $\pm$" in out  # what the recordings are is still said
    main([*command, "--rename", "fir=[1]", "mean=*"])
    rows = capsys.readouterr().out.partition(r"\midrule")[2].partition(r"\bottomrule")[0].splitlines()[1:]
    assert {row.partition(" &")[0] for row in rows} == {
        "{}[1]",
        "{}*",
        "flat-lstm",
    }  # no argument of \\ or \midrule


def test_the_overview_alone(sweeps: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    main(["table", str(sweeps["simulated"])])
    overview, _, _ = capsys.readouterr().out.partition("\n\n**")
    main(["table", str(sweeps["simulated"]), "--by", "data"])
    alone = capsys.readouterr().out
    assert alone.strip() == overview.strip()
    assert alone.count("| model |") == 1
    main(["table", str(sweeps["simulated"]), "--by", "data", "--format", "latex", "--label", "tab:all"])
    assert capsys.readouterr().out.count(r"\begin{table}") == 1
    command = ["table", str(sweeps["filter"]), "--by", "data", "--transpose"]
    main(command)
    usual = capsys.readouterr().out
    main([*command, "--rename", "sample, low-pass 5 Hz causal=5 Hz"])
    assert capsys.readouterr().out == usual.replace("| sample, low-pass 5 Hz causal (", "| 5 Hz (")
    assert "| sample, low-pass 5 Hz causal (m/s)² |" in usual


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rename", "lstm=Ours"], "no row to rename 'lstm'"),
        (["--rename", "fir=mean"], "--rename fir=mean: expected a name that no other row has"),
        (["--rename", "fir=A", "mean=A"], "--rename mean=A: expected NAME=OTHER"),
        (["--rename", "fir="], "--rename fir=: expected NAME=OTHER"),
        (["--rename", "fir"], "--rename fir: expected KEY=VALUE, such as own-Mine=Ours"),
        (["--rename", "fir=A", "--json"], "--rename fir=A: expected nothing with --format json"),
        (["--transpose", "--format", "csv"], "--transpose: expected nothing with --format csv"),
        (["--by", "data", "--json"], "--format json: expected text, md, latex or html with --by"),
        (["--caption", "All"], "--caption All: expected --format latex too"),
        (["--label", "tab:a", "--format", "html"], "--label tab:a: expected --format latex too"),
    ],
)
def test_what_a_table_has_no_place_for_is_refused(
    arguments: list[str], message: str, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["table", *folders, *arguments])
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err


def test_a_label_is_of_one_table(sweeps: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["table", str(sweeps["simulated"]), "--format", "latex", "--label", "tab:a"])
    assert "--label tab:a: expected one table, not 3" in capsys.readouterr().err
