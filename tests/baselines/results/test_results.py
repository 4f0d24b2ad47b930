"""Finished runs as CSV: nothing is lost on the way, nothing that cannot be traced gets in."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest

import csp_data
from baselines import load_results
from baselines.ablations.rows import COLUMNS, Row
from baselines.cli import main
from baselines.errors import OptionError, UnknownNameError
from baselines.experiment import plan
from baselines.results import Result, Results, ResultsError, collect, merged, studies, write_study
from baselines.results.studies import SHIPPED, add_to_study, read_study, variants_by_key
from baselines.results.text import columns, write_rows
from baselines.runs.config import RunConfig, digest
from baselines.runs.run import Run, RunError
from baselines.tables.make import make_table
from baselines.tables.render import render
from baselines.training.settings import TrainConfig

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def _committed(folder: Path, commit: str | None = COMMIT) -> None:
    path = folder / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"commit": commit}))


@pytest.fixture
def folder(runs: dict[str, Run], tmp_path: Path) -> Path:
    """Copies of the runs, as if their code had been committed."""
    for name, run in runs.items():
        shutil.copytree(run.folder, tmp_path / "sweep" / name)
        _committed(tmp_path / "sweep" / name)
    return tmp_path / "sweep"


@pytest.fixture
def rows(folder: Path) -> list[Result]:
    return collect([folder], "first")


def test_every_number_comes_back_with_all_its_digits(rows: list[Result], tmp_path: Path) -> None:
    write_study(tmp_path / "first.csv", rows)
    again = read_study(tmp_path / "first.csv")
    assert sorted(again, key=lambda r: r.key) == sorted(rows, key=lambda r: r.key)
    assert all(row.recordings and row.by_target and row.settings for row in again)


def test_a_row_is_the_run(rows: list[Result], runs: dict[str, Run]) -> None:
    run = runs["a"]
    row = next(row for row in rows if row.key == run.config.key)
    assert (row.dataset, row.kind, row.protocol) == ("sample", "real recordings", "strict")
    assert (row.model, row.seed, row.epochs, row.window_s) == ("flat-lstm", 0, 2, 10.0)
    assert (row.val_mse, row.test_mse) == (run.results["val"]["mse"], run.results["test"]["mse"])
    assert row.commit == COMMIT
    assert row.by_target["vel_x"].rmse == run.results["test"]["si"]["vel_x"]["rmse"]
    assert (row.val_mae, row.test_mae) == (run.results["val"]["mae"], run.results["test"]["mae"])
    held = run.results["test"]["recordings"]
    assert {n: (e.steps, e.mse, e.mae) for n, e in row.recordings.items()} == {
        n: (v["steps"], v["mse"], v["mae"]) for n, v in held.items()
    }
    reference = next(row for row in rows if row.model == "mean")
    assert (reference.epochs, reference.epoch) == (None, None)
    assert row.hours == pytest.approx(run.results["seconds"] / 3600)
    assert (row.unit, replace(row, units=("m/s", "m/s", "rad/s")).unit) == ("m/s", None)
    twin = next(row for row in rows if row.key == runs["b"].config.key)
    assert (row.config == twin.config, row.key == twin.key) == (True, False)


def test_a_row_has_what_not_every_run_has(runs: dict[str, Run]) -> None:
    run = runs["a"]
    path, (name, errors) = {"ate": 1.5, "rte": 2.5}, next(iter(run.reported["recordings"].items()))
    test = {
        **run.reported,
        "trajectory": {**path, "unit": "m"},
        "recordings": {name: {**errors, "trajectory": path}},
    }
    train = replace(run.config.train, window_stride_s=5.0)
    row = Result.of(
        replace(
            run, config=replace(run.config, train=train), results={**run.results, "test": {**test, "groups": {}}}
        )
    )
    assert (row.test_ate, row.test_rte, row.path_unit) == (1.5, 2.5, "m")
    assert (row.recordings[name].ate, row.recordings[name].rte) == (1.5, 2.5)
    assert (row.window_s, row.groups) == (10.0, None)


def test_runs_of_ones_own_are_read_from_their_folder(
    folder: Path, runs: dict[str, Run], caplog: pytest.LogCaptureFixture
) -> None:
    """Numbers are those that the runs wrote, also of code that nobody committed, which is not filed."""
    _committed(folder / "a", None)
    (folder / "b" / "results.json").unlink()
    rows = load_results(str(folder))
    assert {row.key for row in rows} == {run.config.key for name, run in runs.items() if name != "b"}
    assert "1 of 4 runs are unfinished" in caplog.text
    written = json.loads((folder / "a" / "results.json").read_text())
    (row,) = load_results(folder, model="flat-lstm", seed=0)
    assert (row.test_mse, row.val_mse, row.study) == (written["test"]["mse"], written["val"]["mse"], "sweep")
    assert list(load_results(folder / "a")) == [replace(row, study="a")]
    with pytest.raises(ResultsError, match="no such file or folder"):
        load_results("sweeps/none")


def test_a_run_is_shown_in_a_line(runs: dict[str, Run]) -> None:
    run = runs["a"]
    error = run.results["test"]["mse"]
    assert repr(run) == (
        f"<Run flat-lstm on sample (real recordings), protocol strict, seed 0: test MSE {error:.4g}; {run.folder}>"
    )


def test_runs_that_ship_have_the_names_of_their_settings() -> None:
    """What a configuration is called must not change: a sweep would take none of its finished runs for its own."""
    for row in load_results():
        named = {**row.settings, "train": {**row.settings["train"], "seed": row.seed}}
        assert RunConfig.from_dict(named).key == row.key, row.source


def test_table_of_rows_equals_table_of_runs(rows: list[Result], runs: dict[str, Run], tmp_path: Path) -> None:
    write_study(tmp_path / "first.csv", rows)
    from_file = make_table(load_results(tmp_path / "first.csv"))
    from_folders = make_table(sorted(runs.values(), key=lambda r: (r.config.name, r.config.train.seed)))
    assert from_file == from_folders
    assert render(from_file, "md") == render(from_folders, "md")
    assert from_file.groups == from_folders.groups == len(runs["a"].results["test"]["groups"])


def test_filters(rows: list[Result], tmp_path: Path) -> None:
    write_study(tmp_path / "first.csv", rows)
    every = load_results(tmp_path / "first.csv")
    assert {row.seed for row in every.where(model="flat-lstm")} == {0, 1}
    assert len(every.where(model=("mean", "fir"), seed=range(2))) == 2
    assert len(load_results(tmp_path / "first.csv", model="flat-lstm", seed=1)) == 1
    with pytest.raises(UnknownNameError, match=r"no model 'flat-lst' in these results. Did you mean 'flat-lstm'"):
        every.where(model="flat-lst")
    with pytest.raises(UnknownNameError, match="no seed '7' in these results"):
        every.where(seed=(0, 7))
    with pytest.raises(UnknownNameError, match=r"filter 'modle' of results. Did you mean 'model'"):
        every.where(modle="mean")
    with pytest.raises(UnknownNameError, match="There is no study 'frist'"):
        load_results("frist")
    assert "real recordings" in repr(every)
    assert list(every[1:].where(model="flat-lstm")) == [row for row in every[1:] if row.model == "flat-lstm"]


def test_frame(rows: list[Result], tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    write_study(tmp_path / "first.csv", rows)
    frame = load_results(tmp_path / "first.csv").to_pandas()
    assert list(frame.columns) == list(columns(Result))
    assert frame.groupby("model").test_mse.mean()["flat-lstm"] == pytest.approx(
        sum(row.test_mse for row in rows if row.model == "flat-lstm") / 2
    )
    parts = load_results(tmp_path / "first.csv").to_pandas(by="recording")
    assert len(parts) == sum(len(row.recordings) for row in rows)
    squares = (parts.mse * parts.steps).groupby(parts.key).sum() / parts.steps.groupby(parts.key).sum()
    for row in rows:
        assert squares[row.key] == pytest.approx(row.test_mse)
    by_setting = Results(rows).to_pandas(by="target", settings=["train.lr", "model.taps"])
    assert {*by_setting["train.lr"]} == {0.003}
    assert by_setting.groupby("model")["model.taps"].max().dropna().to_dict() == {"fir": 20}
    with pytest.raises(
        UnknownNameError, match=r"no setting 'train\.l' in these results.*Did you mean 'train\.lr'"
    ):
        Results(rows).to_pandas(settings=["train.l"])
    with pytest.raises(OptionError, match="by='recordings': expected run, recording or target"):
        Results(rows).to_pandas(by="recordings")  # type: ignore[arg-type]
    targets = load_results(tmp_path / "first.csv").to_pandas(by="target")
    assert set(targets.target) == {"vel_x", "vel_y", "vel_z"}
    without = [replace(row, recordings={}) for row in rows]
    assert list(Results(without).to_pandas(by="recording").columns) == list(parts.columns)  # it had none


def test_what_cannot_be_traced_is_refused(folder: Path) -> None:
    for commit in (None, f"{COMMIT}+dirty"):
        _committed(folder / "fir", commit)
        with pytest.raises(ResultsError, match=r"1 of 4 runs are of code that no commit holds \(.*fir\)"):
            collect([folder], "first")
    _committed(folder / "fir")
    (folder / "fir" / "results.json").unlink()
    with pytest.raises(ResultsError, match=r"1 of 4 runs are unfinished \(.*fir\)"):
        collect([folder], "first")
    with pytest.raises(RunError, match="no such folder"):
        collect([folder / "none"], "first")


def test_a_processor_is_named_where_the_run_did_not_record_it(folder: Path) -> None:
    path = folder / "fir" / "environment.json"
    recorded = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in recorded.items() if name != "cpu"}))
    cpus = {row.model: row.cpu for row in collect([folder], "first", cpu="A 100")}
    assert cpus == {"fir": "A 100", "mean": recorded["cpu"], "flat-lstm": recorded["cpu"]}


def test_contradictions_are_refused(rows: list[Result], tmp_path: Path) -> None:
    path = tmp_path / "first.csv"
    assert len(add_to_study(path, rows)) == len(add_to_study(path, rows)) == 4  # the same again changes nothing
    before = path.read_bytes()
    other = replace(rows[0], test_mse=0.5, source="elsewhere")
    with pytest.raises(
        ResultsError, match=r"first\.csv, run \w+ and elsewhere are the same run .* test_mse is .* and 0\.5"
    ):
        add_to_study(path, [other])
    with pytest.raises(ResultsError, match=r"elsewhere are both sample, strict, .* Name variants"):
        add_to_study(path, [replace(other, key="0" * 12, config="1" * 12)])
    with pytest.raises(ResultsError, match="Name variants"):
        add_to_study(path, [replace(other, key="0" * 12, config="1" * 12, seed=7)])  # nor with another seed
    with pytest.raises(ResultsError, match=r"of real recordings, .* of simulated"):
        add_to_study(path, [replace(other, key="0" * 12, dataset="marker", kind="simulated")])
    with pytest.raises(OptionError, match="study='First Study': expected small letters"):
        add_to_study(path, [replace(other, study="First Study")])
    assert path.read_bytes() == before
    paper = replace(other, key="0" * 12, config="1" * 12, protocol="paper")
    assert merged(rows, [paper]) == [*rows, paper]  # of another protocol, which tells them apart
    # the same seconds later is the same run: times are no results
    assert merged(rows, [replace(rows[0], seconds=99.0)]) == rows


def test_variants_stand_beside_each_other(rows: list[Result]) -> None:
    smaller = [replace(row, variant="half", config=row.config[::-1], key=row.key[::-1]) for row in rows]
    both = merged(rows, smaller)
    labels = {row.model for row in make_table(both).rows}
    assert {"flat-lstm", "flat-lstm (half)"} <= labels


def test_an_ablation_names_its_variants(folder: Path, rows: list[Result], tmp_path: Path) -> None:
    table = tmp_path / "lowpass.csv"
    point = Row(
        ablation="x", dataset="sample", kind="", protocol="strict", series="", variant="", arm="", value=1, unit=""
    )
    names = {row.key: f"{row.model} {row.seed}" for row in rows}
    lines = [replace(point, variant=name, config=key) for key, name in names.items()]
    again = replace(point, variant="none, clean", arm="clean", config=rows[0].key)
    write_rows(table, COLUMNS, map(asdict, [*lines, again, replace(point, variant="not applicable")]))
    found = {row.key: row.variant for row in collect([folder], "first", variant=variants_by_key(table))}
    assert found == names | {rows[0].key: f"{names[rows[0].key]}; none, clean"}
    write_rows(table, COLUMNS, map(asdict, lines[1:]))
    with pytest.raises(ResultsError, match="1 of 4 runs are no variant"):
        collect([folder], "first", variant=variants_by_key(table))
    with pytest.raises(ResultsError, match="not the table of an ablation"):
        variants_by_key(folder / "mean" / "config.json")


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("first.csv", lambda text: text.replace(",10.0,", ",ten,", 1), "line 2: window_s cannot be 'ten'"),
        ("first.csv", lambda text: text.replace("seed", "sead", 1), "expected the columns"),
        ("first.csv", lambda text: text + text.splitlines()[1] + "\n", "stands in it twice"),
        ("first.csv", lambda text: text.rstrip() + ",7\n", "more cells than columns"),
        ("first.csv", lambda text: text[: text.rindex("flat-lstm")] + "flat-lstm", "line 4: seed cannot be None"),
        ("first.recordings.csv", lambda text: "key\n", "expected the columns"),
        ("first.recordings.csv", lambda text: text + "0123456789ab,x,1,0.1,0.1,,\n", "holds the run 0123456789ab"),
        ("first.configs.json", lambda text: text.replace('"epochs": 2', '"epochs": 3', 1), "it was changed"),
        ("first.configs.json", lambda text: "{}", "lacks the configuration"),
        ("first.configs.json", lambda text: "[", "cannot be read"),
        ("first.configs.json", lambda text: "[" * 100_000, "cannot be read"),
    ],
)
def test_damage_is_named(name: str, change: Any, problem: str, rows: list[Result], tmp_path: Path) -> None:
    write_study(tmp_path / "first.csv", rows)
    path = tmp_path / name
    path.write_text(change(path.read_text()))
    with pytest.raises(ResultsError, match=problem) as caught:
        load_results(tmp_path / "first.csv")
    assert str(tmp_path) in str(caught.value)
    path.unlink()
    with pytest.raises(ResultsError, match="cannot be read"):
        load_results(tmp_path / "first.csv")


def test_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "first.csv"
    main(["results", str(folder), "-o", str(out), "--cpu", "A 100"])
    assert "4 runs, 3 models, seeds 0 1; sample (real recordings)" in capsys.readouterr().out
    with out.open() as file:
        lines = list(csv.DictReader(file))
    assert {line["study"] for line in lines} == {"first"}
    main(["table", str(out), "--json"])
    shown = json.loads(capsys.readouterr().out)
    main(["table", str(folder), "--json"])
    assert {r["model"]: r["test_mse"] for r in shown["rows"]} == {
        r["model"]: r["test_mse"] for r in json.loads(capsys.readouterr().out)["rows"]
    }
    for wrong in (["-o", str(out)], [str(folder)], [str(folder), "-o", str(tmp_path)]):
        with pytest.raises(SystemExit, match=str(OptionError.exit_code)):
            main(["results", *wrong])


def test_a_reference_of_two_sweeps_is_filed_once(rows: list[Result]) -> None:
    mean = next(row for row in rows if row.model == "mean")
    training = {**mean.settings["train"], "epochs": 7, "lr": 0.5}
    settings = {**mean.settings, "train": training}
    again = replace(mean, seed=4, settings=settings, config=digest(settings), key="0123456789ab")
    assert merged(rows, [again]) == rows
    settings = {**settings, "train": {**training, "window_s": 3.0}}
    other = replace(again, seed=mean.seed, window_s=3.0, settings=settings, config=digest(settings))
    with pytest.raises(ResultsError, match="Name variants to tell them apart"):
        merged(rows, [other])


@pytest.mark.parametrize("name", studies())
def test_what_ships_can_be_traced(name: str) -> None:
    rows = load_results(name)
    assert len(rows)
    assert {row.study for row in rows} == {name}
    assert merged([], rows) == list(rows)  # no contradictions
    for row in rows:
        assert row.commit is not None
        assert len(row.commit) == 40
        assert row.device
        assert bool(row.recordings) == (
            row.kind != "simulated"
        )  # hundreds of simulated ones would be all that ships
        alike = rows.where(dataset=row.dataset, protocol=row.protocol)
        assert row.recordings.keys() == next(r for r in alike if r.fold == row.fold).recordings.keys()
        assert row.settings["train"]["window_s"] == row.window_s


def test_what_ships_of_the_sample_is_what_is_trained_today_if_no_option_is_given(sample: csp_data.Dataset) -> None:
    """README's table: another default of the data, of a model or of the training would give other numbers."""
    for row in load_results("sample"):
        today = plan(sample, row.model, TrainConfig()).to_dict()
        del today["train"]["seed"]
        assert row.settings == {**today, "code": row.code}, row.model


@pytest.mark.parametrize("name", studies())
def test_what_ships_is_what_would_be_written_whatever_the_order(name: str, tmp_path: Path) -> None:
    """Equal rows make equal files, so that a study's history shows what came in and nothing else."""
    new = tmp_path / "new" / "folder"
    write_study(new / f"{name}.csv", load_results(name)[::-1])
    written = {path.name: path.read_bytes() for path in new.iterdir()}
    assert len(written) == 4
    assert written == {file: (SHIPPED / file).read_bytes() for file in written}


def test_only_studies_lie_there() -> None:
    """Each file belongs to a study, so that no half of one ships."""
    kinds = {".csv", ".recordings.csv", ".targets.csv", ".configs.json"}
    found = {path.name for path in SHIPPED.iterdir() if path.suffix in (".csv", ".json")}
    assert found == {name + kind for name in studies() for kind in kinds}


def test_columns_are_fields() -> None:
    assert set(columns(Result)) < {field.name for field in fields(Result)}
