"""The runs of a sweep, and what it refuses before anything starts."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baselines.cli import main
from baselines.errors import CspDataError, OptionError, UnknownNameError
from baselines.presets import MODELS
from baselines.published import TRAINING
from baselines.references.strapdown import NotApplicableError
from baselines.runs.run import read_run
from baselines.sweeps.grid import Grid, SweepError, expand, prepare_all
from baselines.sweeps.pool import make_pool
from baselines.sweeps.sweep import read_sweep, sweep
from baselines.sweeps.worker import Place, work_on
from csp_data import LowPass, Resplit
from csp_data.acquire.rawtree import raw_root
from csp_data.card import load_card

TINY = {"train.window_s": [10], "train.window_stride_s": [10], "train.epochs": [1]}


def _grid(**changes: Any) -> Grid:
    return Grid(**{"datasets": ("sample",), "models": ("mean", "flat-lstm"), "seeds": (0, 1), **changes})


def test_a_grid_is_every_combination(tmp_path: Path) -> None:
    grid = _grid(models=("published", "mean"), settings={"train.lr": [1e-3, 1e-2], "model.dim": [8, 16]})
    runs = expand(grid, prepare_all(grid), tmp_path)
    assert len(runs) == len({planned.key for planned in runs}) == 16 * 2 * 2 * 2 + 1
    assert {planned.model for planned in runs} == {*MODELS, "mean"}
    assert {planned.train.seed for planned in runs if planned.model == "mean"} == {0}
    seeds = [planned.train.seed for planned in runs]
    assert seeds == sorted(seeds)  # a sweep that is stopped early has whole tables
    again = expand(grid, prepare_all(grid), tmp_path)
    assert again == runs
    assert runs[0].train == dataclasses.replace(TRAINING["strict"], lr=1e-3)
    assert len({planned.label for planned in runs}) == len(runs)
    assert runs[0].label == f"sample strict {runs[0].model} seed 0 lr=0.001 dim=8"


def test_settings_and_seeds_are_those_of_lists_where_numpy_gives_them(tmp_path: Path) -> None:
    """As of ``settings={"train.lr": np.geomspace(1e-4, 1e-2, 3)}``."""
    plain = {"train.lr": [0.5, 0.25], "train.epochs": [3], "model.dim": [8], "data.input_hz": [20, 50]}
    numpy = {"train.lr": np.array([0.5, 0.25]), "train.epochs": [np.int16(3)], "model.dim": np.array([8])}
    numpy["data.input_hz"] = np.array([20, 50])
    runs = [
        expand(grid, prepare_all(grid), tmp_path)
        for grid in (_grid(settings=plain), _grid(settings=numpy, seeds=tuple(np.arange(2))))
    ]
    assert runs[0] == runs[1]
    trainings = [[json.dumps(dataclasses.asdict(planned.train)) for planned in found] for found in runs]
    assert trainings[0] == trainings[1]


@pytest.mark.parametrize("values", ["cosine", 0.1, None, {"cosine"}])
def test_settings_take_lists(values: object) -> None:
    with pytest.raises(OptionError, match=re.escape(f"train.schedule={values!r}: expected a list of values")):
        _grid(settings={"train.schedule": values})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: _grid(folds=3.0), r"folds=3\.0: expected a whole number of at least 3"),
        (lambda: Place(threads=0), r"threads=0: expected a whole number of at least 1"),
        (lambda: Place(per_device=1.5), r"per_device=1\.5: expected a whole number of at least 1"),
        (lambda: sweep(["sample"], ["mean"], out="never-made", jobs=0), r"jobs=0: expected a whole number"),
        (lambda: sweep("sample", ["mean"], out="never-made"), r"datasets='sample': expected a list"),
        (lambda: sweep(["sample"], "mean", out="never-made"), r"models='mean': expected a list"),
        (lambda: sweep(["sample"], ["mean"], seeds=3, out="never-made"), r"seeds=3: expected a list"),  # type: ignore[arg-type]
    ],
)
def test_counts_are_whole_numbers(make: Callable[[], object], message: str) -> None:
    prepare_all(_grid())
    with pytest.raises(OptionError, match=message):
        make()
    assert not Path("never-made").exists()


def test_the_page_says_how_many_runs_a_sweep_of_all_models_has(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "howto-cluster.md").read_text()
    said = re.search(r"(\d+) runs take hours.*\n\n.*\n.*--models published references --seeds 0-4 ", page)
    grid = _grid(models=("published", "references"), seeds=range(5))
    assert said is not None
    assert int(said[1]) == len(expand(grid, prepare_all(grid), tmp_path))


def test_references_stand_once_in_a_sweep_over_trainings(tmp_path: Path) -> None:
    """They use none of the settings but the windows; twice in a table, they would count as two comparisons."""
    settings = {"train.lr": [1e-3, 1e-2], "train.window_s": [10, 20], "train.epochs": [2, 3], "model.dim": [8, 16]}
    grid = _grid(models=("mean", "fir", "flat-lstm"), settings=settings)
    runs = expand(grid, prepare_all(grid), tmp_path)
    assert sum(planned.model == "flat-lstm" for planned in runs) == 2 * 16
    fir = [planned for planned in runs if planned.model == "fir"]
    assert [planned.label for planned in fir] == [
        f"sample strict fir seed 0 window_s={length}.0" for length in (10, 20)
    ]
    assert {(planned.train.lr, planned.train.epochs) for planned in fir} == {(1e-3, 2)}
    typed = [shlex.split(planned.command)[4:-2] for planned in fir]
    assert typed == [["--window-s", "10.0"], []]  # nothing that it does not use; 20 s is the training's own
    whole = _grid(models=("fir",), settings={"train.window_s": [None], "train.window_stride_s": [None]})
    (fir_on_episodes,) = expand(whole, prepare_all(whole), tmp_path)
    assert shlex.split(fir_on_episodes.command)[4:-2] == ["--window-s", "None", "--window-stride-s", "None"]
    alone = _grid(models=("fir",), settings={"model.taps": [20]})
    with pytest.raises(
        OptionError, match=r"settings='model\.taps': expected no sizes, as all models are references"
    ):
        expand(alone, prepare_all(alone), tmp_path)


def test_variants_of_the_data_are_prepared_once(tmp_path: Path) -> None:
    grid = _grid(models=("mean",), settings={"data.lowpass": [None, {"hz": 5, "order": 3, "phase": "causal"}]})
    first = prepare_all(grid)
    assert [dataset.protocol.lowpass is None for dataset in first] == [True, False]
    written = [dataset.path.stat().st_mtime_ns for dataset in first]
    assert [dataset.path.stat().st_mtime_ns for dataset in prepare_all(grid)] == written
    assert len({planned.key for planned in expand(grid, first, tmp_path)}) == 2


def test_a_prepared_file_is_found_from_other_folders(tmp_path: Path, monkeypatch: Any) -> None:
    """By other processes, and by the command of a run; and the name of a data set stays one."""
    (file,) = (dataset.path for dataset in prepare_all(_grid()))
    shutil.copy(file, tmp_path / "renamed")
    (tmp_path / "sample").write_text("A file of that name.")
    monkeypatch.chdir(tmp_path)
    grid = _grid(datasets=("renamed", "sample"), models=("mean",))
    own, named = prepare_all(grid)
    assert named.path == file
    (planned,) = expand(grid, [own], tmp_path)
    assert planned.prepared == tmp_path / "renamed"
    assert shlex.split(planned.command)[2] == str(planned.prepared)
    with pytest.raises(CspDataError, match=r"^missing\.h5"):
        prepare_all(_grid(datasets=("missing.h5",)))


def test_folds_multiply_the_data(tmp_path: Path) -> None:
    grid = _grid(models=("mean",), folds=3, settings={"data.resplit": [{"seed": 1}], "data.clip": [None, 100.0]})
    datasets = prepare_all(grid)
    assert [(d.protocol.clip, d.protocol.resplit) for d in datasets] == [
        (clip, Resplit(fold=fold, folds=3, seed=1)) for clip in (None, 100.0) for fold in range(3)
    ]
    runs = expand(grid, datasets, tmp_path)
    assert len({planned.key for planned in runs}) == 6
    assert [planned.label for planned in runs] == [
        f"sample strict mean seed 0 fold {fold} clip={clip}" for clip in ("null", "100.0") for fold in range(3)
    ]
    objects = {
        "data.resplit": [Resplit(seed=1, share=0.5), None],
        "data.lowpass": [LowPass(5.0, 3, "causal")],
    }
    changed = [d.protocol.resplit for d in prepare_all(_grid(models=("mean",), folds=3, settings=objects))]
    assert changed == [
        Resplit(fold=f, folds=3, seed=s, share=h) for s, h in ((1, 0.5), (0, 1.0)) for f in range(3)
    ]
    with pytest.raises(OptionError, match=r"data\.resplit=7: expected a Resplit"):
        prepare_all(_grid(folds=3, settings={"data.resplit": [7]}))
    with pytest.raises(OptionError, match="folds=2: expected a whole number of at least 3"):
        _grid(folds=2)
    for changes in ({"folds": 3}, {"protocol": "strict"}, {"skip_damaged": True}):
        with pytest.raises(OptionError, match=r"datasets=.*expected the name of a data set"):
            prepare_all(_grid(datasets=(str(datasets[0].path),), **changes))


def test_damaged_recordings_are_skipped_in_every_fold_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trees, out = tmp_path / "trees", tmp_path / "out"
    shutil.copytree(raw_root(load_card("sample"), None), trees)
    victim, *whole = sorted(trees.glob("*.hdf5"))
    victim.write_bytes(victim.read_bytes()[:1000])
    line = ["sweep", "--datasets", "sample", "--models", "mean", "--raw", str(trees), "--folds", "3"]
    with pytest.raises(SystemExit):
        main([*line, "--out", str(out)])
    assert victim.name in capsys.readouterr().err
    assert not out.exists()
    main([*line, "--out", str(out), "--skip-damaged"])
    runs = [read_run(folder) for folder in (out / "runs").iterdir()]
    reported = {id_.partition(".")[0] for run in runs for id_ in run.results["test"]["episodes"]}
    assert reported == {file.stem for file in whole}
    for fold in range(3):
        resplit = f'data.resplit={{"fold": {fold}, "folds": 3}}'
        train = ["train", "sample", "mean", "--raw", str(trees), "--set", resplit]
        main([*train, "--skip-damaged", "--out", str(tmp_path / f"fold-{fold}")])
        assert read_run(tmp_path / f"fold-{fold}").config.data in [run.config.data for run in runs]


def test_references_are_those_that_apply(tmp_path: Path) -> None:
    """Nothing can be integrated without a gyroscope; asked for by name, that is said."""
    settings = {"data.inputs": [("accelerometer",)]}
    grid = _grid(models=("references",), settings=settings)
    assert [p.model for p in expand(grid, prepare_all(grid), tmp_path)] == ["mean", "fir", "kalman"]
    by_name = _grid(models=("references", "strapdown"), settings=settings)
    with pytest.raises(NotApplicableError, match=r"specific force \(m/s\^2\) and angular rate"):
        expand(by_name, prepare_all(by_name), tmp_path)


def test_the_published_training_by_name(tmp_path: Path) -> None:
    grid = _grid(training="paper")
    assert {p.train for p in expand(grid, prepare_all(grid), tmp_path)} == {
        dataclasses.replace(TRAINING["paper"], seed=seed) for seed in (0, 1)
    }
    with pytest.raises(OptionError, match="paper, strict"):
        _grid(training="papr")  # before anything is prepared


@pytest.mark.parametrize("training", [None, "paper"])
def test_the_command_of_a_run_makes_that_run(training: str | None, tmp_path: Path) -> None:
    """Of a reference a run of the same numbers, which the sweep then keeps."""
    sizes = {"model.dim": [4], "model.hidden": [4], "model.layers": [1]}
    changed = {"train.window_s": [10, 20], "train.clip_norm": [2.0 if training == "paper" else None]}
    settings = {**TINY, **sizes, **changed}
    names = {"training": training, "preset": training or "small"}
    grid = _grid(models=("flat-lstm", "fir"), seeds=(3,), settings=settings, **names)
    runs = expand(grid, prepare_all(grid), tmp_path / "it's a folder")
    assert len(runs) == 4
    for planned in runs:
        main(shlex.split(planned.command)[1:])
        made = read_run(planned.folder)
        assert (made.config.key == planned.key) == (planned.model == "flat-lstm")
        assert made.config.train.window_s == planned.train.window_s
        numbers = made.results["test"]
        assert work_on(planned, Place()).state == "skipped"
        assert read_run(planned.folder).results["test"] == numbers


def test_train_takes_the_settings_of_a_sweep(tmp_path: Path) -> None:
    typed = {**TINY, "data.input_hz": [25.0], "model.dim": [4], "model.hidden": [4], "model.layers": [1]}
    grid = _grid(models=("flat-lstm",), seeds=(0,), settings=typed)
    (planned,) = expand(grid, prepare_all(grid), tmp_path)
    given = [f"{name}={value}" for name, (value,) in typed.items()]
    for words in (given, [word.removeprefix("model.") for word in given]):
        main(["train", "sample", "flat-lstm", "--set", *words, "--out", str(planned.folder)])
    assert read_run(planned.folder).config.key == planned.key


def test_data_that_are_not_there_are_refused_before_anything_starts(empty_home: Path, tmp_path: Path) -> None:
    told = r"(?s)Nothing was started.*csp-data download broad.*csp-data download vector"
    with pytest.raises(SweepError, match=told) as caught:
        sweep(["sample", "broad", "vector"], ["mean"], out=tmp_path / "out")
    assert "totalcapture" not in str(caught.value)
    elsewhere = "can be trained by a sweep of their own into the same folder"
    assert elsewhere not in str(caught.value)  # no folder was given
    assert not (tmp_path / "out").exists()
    assert not empty_home.exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(SweepError, match="Nothing was started") as caught:
        sweep(["broad"], ["mean"], out=tmp_path / "out", raw=str(tmp_path / "empty"))
    assert elsewhere not in str(caught.value)  # there are no others
    (tmp_path / "broad").mkdir()
    (tmp_path / "broad" / "a.hdf5").touch()
    with pytest.raises(SweepError, match=elsewhere):
        sweep(["broad", "sample"], ["mean"], out=tmp_path / "out", raw=str(tmp_path / "{name}"))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"datasets": ("sampel",)}, UnknownNameError, "Did you mean 'sample'"),
        ({"models": ("flat-lstn",)}, UnknownNameError, "Did you mean 'flat-lstm'"),
        ({"models": ("publishd",)}, UnknownNameError, "Did you mean 'published'"),
        ({"models": ()}, OptionError, "models=''"),
        ({"preset": "smal"}, UnknownNameError, "Did you mean 'small'"),
        ({"protocol": "strikt"}, UnknownNameError, "strikt"),
        ({"settings": {"lr": [1]}}, OptionError, "train.NAME, model.NAME or data.NAME"),
        ({"settings": {"train.lrr": [1]}}, UnknownNameError, "Did you mean 'lr'"),
        ({"settings": {"train.seed": [1]}}, UnknownNameError, "no setting 'seed' of the training"),
        ({"settings": {"train.lr": []}}, OptionError, "train.lr='': expected at least one value"),
        ({"settings": {"train.lr": [-1]}}, OptionError, "lr=-1: expected a number above 0."),
        ({"settings": {"train.window_s": ["none"]}}, OptionError, "expected a number above 0, or None"),
        (
            {"settings": {"train.window_s": [0.3]}},
            OptionError,
            "window_s=0.3: expected a positive multiple of 0.2 s",
        ),
        ({"settings": {"model.dimm": [1]}}, UnknownNameError, "Did you mean 'dim'"),
        ({"settings": {"data.hz": [1]}}, OptionError, "a field of Protocol"),
        ({"datasets": ("sample", "broad"), "raw": "trees"}, OptionError, "{name} in it"),
    ],
)
def test_what_does_not_exist_is_refused(
    changes: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error) as caught:
        (lambda grid: expand(grid, prepare_all(grid), tmp_path))(_grid(**changes))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "4-x"], "--seeds 4-x: "),
        (["--jobs", "0"], "--jobs 0: "),
        (["--backend", "abacus"], "dask:tcp://HOST:PORT"),
        (["--slurm", "timeout_min=5"], "--slurm timeout_min=5: expected nothing without --backend slurm"),
        (["--set", "train.lr"], "KEY=VALUE"),
        (["--per-device", "0"], "--per-device 0: "),
    ],
)
def test_command_line_errors(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["sweep", "--datasets", "sample", "--models", "mean", "--out", str(tmp_path / "out"), *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "runs").exists()


@pytest.mark.parametrize("backend", ["loky:2", "dask", "dask:", "slurm:cluster"])
def test_other_names_of_pools_are_refused(backend: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="loky, dask:tcp://HOST:PORT, slurm or slurm:local"):
        make_pool(backend, 1, tmp_path, {}).__enter__()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:port", "abacus://127.0.0.1:8786", "127.0.0.1"])
def test_what_is_no_address_of_a_scheduler_leaves_nothing_behind(address: str, tmp_path: Path) -> None:
    """The command waited 20 s for the client after its error, and ended with that one's traceback."""
    pytest.importorskip("distributed")
    before = threading.enumerate()
    with pytest.raises(OptionError, match=re.escape(f"backend='dask:{address}': expected the address of a dask")):
        make_pool(f"dask:{address}", 1, tmp_path, {}).__enter__()
    assert threading.enumerate() == before


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("ten years of work")
    with pytest.raises(SweepError, match="not the folder of a sweep"):
        sweep(["sample"], ["mean"], out=tmp_path)
    with pytest.raises(SweepError, match="not the folder of a sweep"):
        read_sweep(tmp_path)
    with pytest.raises(SweepError, match="is a file"):
        sweep(["sample"], ["mean"], out=tmp_path / "thesis.tex")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
