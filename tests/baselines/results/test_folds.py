"""Cross-validation put together: against errors computed anew from all predictions of all folds."""

from __future__ import annotations

import csv
import json
import logging
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import csp_data
from baselines.ablations.ablate import ablate
from baselines.ablations.variants import KINDS, Base
from baselines.cli import main
from baselines.report import make_report
from baselines.report.build import _groups, _overview_tables, _tasks
from baselines.report.group import Group
from baselines.report.settings import varied
from baselines.results import Result
from baselines.results.folds import across_folds
from baselines.results.studies import add_to_study, read_study, variants_by_key
from baselines.runs.collect import datasets_of, read_runs
from baselines.runs.run import Run, RunError, read_run
from baselines.sweeps.sweep import sweep
from baselines.tables.breakdown import by_recording, by_target, by_variant
from baselines.tables.make import make_table, make_tables
from baselines.tables.render import cells, overview
from baselines.training.metrics import pooled
from baselines.training.settings import TrainConfig
from csp_data.card import load_card
from csp_data.protocol import resolve

FOLDS = 3
TINY = {"train.window_s": [10], "train.window_stride_s": [10], "train.epochs": [1]}


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep over folds of the sample."""
    out = tmp_path_factory.mktemp("folded") / "sweep"
    models = ["references", "flat-lstm"]
    done = sweep(["sample"], models, seeds=[0, 1], out=out, folds=FOLDS, settings=TINY)
    assert dict(done.failed) == {}
    assert len(done.done) == FOLDS * (4 + 2)
    return out


@pytest.fixture(scope="module")
def runs(folded: Path) -> list[Run]:
    return read_runs([folded])


def test_errors_are_those_of_all_predictions_together(runs: list[Run]) -> None:
    together = {(row.model, row.seed): row for row in across_folds([Result.of(run) for run in runs])}
    assert len(together) == 4 + 2
    for (model, seed), row in together.items():
        own = [run for run in runs if run.config.name == model and run.config.train.seed == seed]
        pairs = [(p.true, p.pred) for run in own for p in run.predictions]
        expected = pooled(pairs, row.targets)
        assert row.test_mse == pytest.approx(expected["mse"], rel=1e-9)
        assert row.test_rmse == pytest.approx(expected["rmse"], rel=1e-9)
        assert row.test_mae == pytest.approx(expected["mae"], rel=1e-9)
        assert sum(recording.steps for recording in row.recordings.values()) == expected["steps"]
        for name, target in row.by_target.items():  # m/s already, so SI units are the target's own
            errors = next(found for channel, found in expected["channels"].items() if channel == name)
            assert (target.rmse, target.mae) == pytest.approx((errors["rmse"], errors["mae"]), rel=1e-9)
        assert row.val_mse == pytest.approx(np.mean([run.selected["mse"] for run in own]))
        assert row.val_rmse == pytest.approx(row.val_mse**0.5)
        assert row.val_mae == pytest.approx(np.mean([run.selected["mae"] for run in own]))
        assert row.seconds == pytest.approx(np.mean([run.results["seconds"] for run in own]))
        assert row.parameters == max(run.results["parameters"] for run in own)
        assert row.groups == sum(len(run.reported["groups"]) for run in own)
        assert (row.fold, row.folds, row.epoch) == (None, FOLDS, None)
        assert row.test_ate is None  # velocities in the sensor's frame make no path


def test_trajectory_errors_are_means_over_recordings(runs: list[Run]) -> None:
    rows = [Result.of(run) for run in runs if run.config.name == "mean"]
    rng, known = np.random.default_rng(0), []
    for i, row in enumerate(rows):
        own = {name: replace(r, ate=rng.random(), rte=rng.random()) for name, r in row.recordings.items()}
        known += list(own.values())
        rows[i] = replace(row, recordings=own, test_ate=0.0, test_rte=0.0, published_mse=float(i))
    (row,) = across_folds(rows)
    assert row.test_ate == pytest.approx(np.mean([r.ate for r in known]))
    assert row.test_rte == pytest.approx(np.mean([r.rte for r in known]))
    steps = [sum(r.steps for r in one.recordings.values()) for one in rows]
    assert row.published_mse == pytest.approx(np.average(range(len(rows)), weights=steps))
    name, first = next(iter(rows[0].recordings.items()))
    partly = replace(
        rows[0], recordings={**rows[0].recordings, name: replace(first, ate=None)}, published_mse=None
    )
    (row,) = across_folds([partly, *rows[1:]])
    assert (row.test_ate, row.published_mse) == (None, None)
    assert row.test_rte is not None


def test_each_recording_is_reported_once(runs: list[Run]) -> None:
    everything = {row.recording for row in csp_data.load("sample").episodes}
    for row in across_folds([Result.of(run) for run in runs]):
        assert list(row.recordings) == sorted(everything)
    held = [set(run.reported["recordings"]) for run in runs if run.config.name == "mean"]
    assert sum(map(len, held)) == len(everything)


def test_a_row_of_all_folds_names_their_commits_and_hangs_on_every_run(runs: list[Run]) -> None:
    rows = [Result.of(run) for run in runs if run.config.name == "mean"]
    committed = [replace(row, commit=digit * 40) for row, digit in zip(rows, "212", strict=True)]
    (row,) = across_folds(committed)
    assert row.commit == f"{'1' * 40}, {'2' * 40}"
    (unknown,) = across_folds([replace(one, commit=None) for one in rows])
    assert unknown.commit is None
    (turned,) = across_folds(committed[::-1])
    assert (turned.key, turned.config, turned.recipe_hash) == (row.key, row.config, row.recipe_hash)
    for name in ("key", "recipe_hash"):
        made = {getattr(row, name)}
        for k, one in enumerate(committed):
            (other,) = across_folds([*committed[:k], replace(one, **{name: "0" * 12}), *committed[k + 1 :]])
            made.add(getattr(other, name))
        assert len(made) == 1 + FOLDS
        assert all(len(text) == 12 for text in made)


def test_tables_are_of_all_folds(runs: list[Run]) -> None:
    table = make_table(runs)
    assert table.folds == FOLDS
    assert {row.model: row.seeds for row in table.rows}["flat-lstm"] == (0, 1)
    assert f"; {FOLDS} folds, in which each recording is in test once" in table.heading
    compared = [row.comparison for row in table.rows if row.comparison is not None]
    assert {found.recordings for found in compared} == {13}
    assert [row.test_mse for row in table.rows] == sorted((row.test_mse for row in table.rows), reverse=True)
    assert len(by_recording(runs).header) == 1 + 13
    assert len(by_target(runs).rows) == len(table.rows) == 5


def test_one_fold_alone_is_a_split_like_any_other(runs: list[Run]) -> None:
    own = [run for run in runs if Result.of(run).fold == 1]
    table = make_table(own)
    assert table.folds is None
    assert table.recipe_hash == own[0].config.data.recipe_hash
    assert table.heading.startswith("sample, fold 1 of 3: real recordings")
    assert "folds" not in table.heading
    rows = [Result.of(run) for run in own]
    rows.append(replace(rows[0], settings={}, recipe_hash="0" * 12))  # of a split that is no fold
    assert across_folds(rows) == rows


def test_models_that_lack_a_fold_are_left_out(runs: list[Run], caplog: pytest.LogCaptureFixture) -> None:
    def lacking(*models: str) -> list[Run]:
        return [r for r in runs if not (r.config.name in models and Result.of(r).fold == 2)]

    with caplog.at_level(logging.WARNING):
        table = make_table(lacking("fir"))
    assert {row.model for row in table.rows} == {"mean", "kalman", "strapdown", "flat-lstm"}
    assert caplog.messages == ["sample: left out, as they have not run on all folds: fir seed 0"]
    with pytest.raises(
        RunError, match=r"^sample: no model has run on all folds \(.* and 3 more lack some\)\. Give"
    ):
        make_table(lacking("mean", "fir", "kalman", "strapdown", "flat-lstm"))


def test_a_data_set_whose_folds_are_not_all_there_leaves_the_tables_of_others(
    runs: list[Run], caplog: pytest.LogCaptureFixture
) -> None:
    rows = [Result.of(run) for run in runs]
    begun = [
        replace(row, dataset="other", settings={**row.settings, "data": {**row.settings["data"], "name": "other"}})
        for row in rows
        if row.fold in (0, 2)
    ]
    with caplog.at_level(logging.WARNING):
        (table,) = make_tables([*begun, *rows])
    assert table.dataset == "sample"
    (said,) = caplog.messages
    assert said.startswith("left out: other: no model has run on all folds (")
    assert said.endswith("Give the command of the sweep again, and it goes on.")
    with pytest.raises(RunError, match="other: no model has run on all folds"):
        make_tables(begun)
    first, second = make_tables([*rows, *(row for row in begun if row.fold == 0)])
    assert (first.name, second.name) == ("sample", "other, fold 0 of 3")
    assert any(cell.startswith("other, fold 0 of 3") for cell in overview([first, second]).header)


def test_what_does_not_belong_together_is_refused(runs: list[Run]) -> None:
    with pytest.raises(RunError, match=r"same run \(flat-lstm, seed 1, fold 0\)"):
        make_table([*runs, next(r for r in runs if r.config.train.seed == 1 and Result.of(r).fold == 0)])
    plain = replace(Result.of(runs[0]), settings={}, recipe_hash="0" * 12)
    with pytest.raises(RunError, match="One table holds one data set, recipe and protocol"):
        make_table([*runs, plain])
    bare = [replace(Result.of(run), recordings={}) for run in runs]
    with pytest.raises(RunError, match="no errors by recording"):
        across_folds(bare)


def test_studies_hold_folds(tmp_path: Path, runs: list[Run]) -> None:
    """Rows of runs stay as they are; they are put together where they are tabulated."""
    committed = [replace(Result.of(run), study="folded", commit="0" * 40) for run in runs]
    add_to_study(tmp_path / "folded.csv", committed)
    held = read_study(tmp_path / "folded.csv")
    assert sorted((row.model, row.seed, row.fold) for row in held) == sorted(
        (row.model, row.seed, row.fold) for row in committed
    )
    assert replace(make_table(held), rows=()) == replace(make_table(runs), rows=())
    for one, other in zip(make_table(held).rows, make_table(runs).rows, strict=True):
        assert (one.model, one.seeds) == (other.model, other.seeds)
        assert math.isclose(one.test_mse, other.test_mse, rel_tol=1e-9)


def test_the_page_shows_folds_and_all_of_them(runs: list[Run]) -> None:
    page = make_report(runs, datasets_of(runs))
    titles = ["sample, all 3 folds", *(f"sample, fold {fold} of 3" for fold in range(FOLDS))]
    places = [page.index(f">{title}</h2>") for title in titles]
    assert places == sorted(places)
    assert "What was varied" not in page
    assert make_table(runs).heading in page


def test_the_page_of_a_sweep_that_goes_on_shows_the_folds_that_are_there(runs: list[Run]) -> None:
    known = [run for run in runs if Result.of(run).fold != 2]
    page = make_report(known, datasets_of(known), unfinished=len(runs) - len(known))
    assert (
        "sample, fold 0 of 3 and sample, fold 1 of 3: no model has run on all folds, so they stand apart." in page
    )
    assert page.index(">sample, fold 0 of 3</h2>") < page.index(">sample, fold 1 of 3</h2>")
    assert "all 3 folds" not in page
    assert "Not on this page: 6 unfinished runs." in page


def test_the_overview_has_no_single_fold_and_the_data_as_they_are_where_both_are_there(
    runs: list[Run], sample: csp_data.Dataset
) -> None:
    """It had all folds in the place of the data as they are; while folds went on, the data set was missing."""
    folds = _groups(runs, datasets_of(runs))

    def whole(name: str, error: float) -> Group:
        table = folds[0].table
        row = replace(table.rows[0], test_mse=error, test_mse_std=None)
        return replace(folds[0], dataset=sample, table=replace(table, dataset=name, rows=(row,), fold=None))

    for known in (folds, folds[:2]):
        beside = [replace(group, full=False) for group in known]
        (overview,) = _overview_tables(_tasks([whole("sample", 0.25), *beside, whole("other", 0.5)]))
        assert re.findall(r"<td[^>]*>([^<]+)<", overview) == ["0.2500", "0.5000"]
    others, table = [whole("first", 0.25), whole("second", 0.5)], make_table(runs)
    (overview,) = _overview_tables(_tasks([*folds, *others]))
    assert all(cells(table, row)[1] in overview for row in table.rows)
    (overview,) = _overview_tables(_tasks([*folds[:2], *others]))
    assert "sample" not in overview


def test_folds_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "sweep"
    given = ["--datasets", "sample", "--models", "mean", "fir", "--folds", "4", "--out", str(out), "--json"]
    main(["sweep", *given])
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert len(said["done"]) == 2 * 4
    main(["table", str(out), "--json"])
    table = json.loads(capsys.readouterr().out)
    assert table["folds"] == 4
    assert {row["model"] for row in table["rows"]} == {"mean", "fir"}


def test_ablations_are_of_all_folds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every row equals what the runs' predictions on all recordings give, computed anew."""
    out = tmp_path / "deltas"
    main(["ablate", "deltas", "--datasets", "sample", "--models", "fir", "--folds", "3", "--seeds", "0", "1",
          "--out", str(out)])  # fmt: skip
    said = capsys.readouterr().out
    assert "sample (real recordings), protocol strict, 3 folds: test RMSE (m/s)" in said
    assert "24 runs, 24 of them done now; 0 failed" in said  # four recipes, three folds, two references
    assert "on test, 1 seed, 3 folds" in (out / "deltas.svg").read_text()
    everything = {row.recording for row in csp_data.load("sample").episodes}
    with (out / "deltas.csv").open() as file:
        rows = list(csv.DictReader(file))
    squares = {}
    for row in rows:
        runs = [read_run(out / folder) for folder in row["run"].split()]
        assert [Result.of(run).fold for run in runs] == [0, 1, 2]
        assert {name for run in runs for name in run.reported["recordings"]} == everything
        pairs = [(p.true, p.pred) for run in runs for p in run.predictions]
        expected = pooled(pairs, ("x", "y", "z"))
        squares[row["variant"], row["model"]] = {n: c["mse"] for n, c in expected["channels"].items()}
        assert float(row["mse"]) == pytest.approx(expected["mse"], rel=1e-9)
        assert float(row["rmse"]) == pytest.approx(expected["rmse"], rel=1e-9)
        assert (int(row["steps"]), row["folds"]) == (expected["steps"], "3")
        assert row["recipe"] not in {run.config.data.recipe_hash for run in runs}
    for row in rows:
        model, mean = squares[row["variant"], row["model"]], squares[row["variant"], "mean"]
        assert float(row["relative_mse"]) == pytest.approx(np.mean([model[c] / mean[c] for c in mean]))
    variants = variants_by_key(out / "deltas.csv")
    held = [replace(Result.of(run), variant=variants[run.config.key]) for run in read_runs([out])]
    assert len(held) == 24
    (grid,) = by_variant(held, "choice", lambda variant: (variant.split(",")[0], variant.endswith(", with")))
    root = {(row["variant"], row["model"]): float(row["rmse"]) for row in rows}
    assert {(name, fir) for name, fir, _ in grid.rows} == {
        (name, f"{100 * (root[f'{name}, with', 'fir'] / root[f'{name}, without', 'fir'] - 1):+.1f} %")
        for name in ("input deltas", "averaged inputs", "magnetometer")
    }
    axes = varied(read_runs([out]))  # of a report: not a mean over folds, whose deviation is not that of seeds
    assert {axis.axis.title for axis in axes} == {"input deltas", "resample", "inputs"}
    for axis in axes:
        ((_, errors), *_) = axis.panels["RMSE (m/s)"]
        found = [value for by_value in errors["fir"].values() for values in by_value.values() for value in values]
        assert len(found) == 2
        assert all(
            any(value == pytest.approx(known) for (_, model), known in root.items() if model == "fir")
            for value in found
        )


def test_an_ablation_says_which_fold_is_missing(tmp_path: Path) -> None:
    same: dict[str, Any] = {"seeds": [0], "folds": 3, "settings": {"data.max_duration_s": [12]}, "values": [3]}
    done = ablate("lowpass", ["sample"], ["fir"], out=tmp_path, **same)
    lost = next(folder for folder in done.sweep.done if "-fir-" in folder.name)
    (lost / "config.json").write_text("{}")
    again = ablate("lowpass", ["sample"], ["fir"], out=tmp_path, **same)
    notes = [row.note for row in again.rows if row.note]
    assert len(notes) == 1
    assert notes[0].startswith("failed: ")
    assert len(again.rows) == 3 * 2
    whole = {(row.variant, row.model): row.mse for row in done.rows}
    assert all(row.mse == whole[row.variant, row.model] for row in again.rows if not row.note)


@pytest.mark.parametrize("protocol", ["paper", "strict"])
def test_leaks_of_folds(protocol: str) -> None:
    """Folds have a part to choose on, whatever the protocol: there selection leaks where it is asked to."""
    card = load_card("vector")
    start = resolve(card, protocol).replace(resplit={"fold": 0, "folds": 3})
    found = {v.name: start.replace(**{**v.data, "resplit": {"fold": 0, "folds": 3, **v.data.get("resplit", {})}})
             for v in KINDS["leak"].variants(Base(card, start, TrainConfig()), ())}  # fmt: skip

    def selection(name: str) -> str | None:
        assert found[name].resplit is not None
        return found[name].resplit.selection

    assert (selection("selection, clean"), selection("selection, leaky")) == (None, "report")
    assert (selection("neighbours, clean"), selection("neighbours, leaky")) == (None, None)
    assert (selection("all of these, clean"), selection("all of these, leaky")) == (None, "report")


def test_folds_by_subject_say_so_and_stay_apart(tmp_path: Path, empty_home: Path) -> None:
    """On simulated recordings of TotalCapture: each subject is tested by a model of the others."""
    tree = csp_data.simulate("totalcapture", tmp_path / "tree", hours=0.02, seed=1)
    done = [
        sweep(["totalcapture"], ["mean"], seeds=[0], out=tmp_path / by, raw=str(tree), folds=5, settings=chosen)
        for by, chosen in (("group", {}), ("subject", {"data.resplit": [{"by": "subject"}]}))
    ]
    assert all(dict(sweep.failed) == {} for sweep in done)
    found = [read_runs([sweep.folder]) for sweep in done]
    assert [make_table(runs).heading.split("; ")[-1].split(",")[0] for runs in found] == [
        "5 folds",
        "5 folds by subject",
    ]
    held_groups = {group for run in found[0] for group in run.reported["groups"]}
    assert make_table(found[0]).groups == len(held_groups)
    held = [{recording.split("_")[0] for recording in run.reported["recordings"]} for run in found[1]]
    assert sorted(held, key=min) == [{f"s{number}"} for number in range(1, 6)]
    assert {row.fold_by for row in across_folds([Result.of(run) for run in (*found[0], *found[1])])} == {
        "group",
        "subject",
    }
