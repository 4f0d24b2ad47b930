"""What a sweep refuses before anything starts, and what one run's failure does to the others."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import shlex
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import csp_data
from baselines.cli import main
from baselines.cpu.threads import COMPILING
from baselines.errors import CspDataError, OptionError, UnknownNameError
from baselines.experiment import run
from baselines.presets import MODELS
from baselines.published import TRAINING
from baselines.references.strapdown import NotApplicableError
from baselines.runs.run import lock_folder, read_run
from baselines.sweeps import progress
from baselines.sweeps.grid import Grid, PlannedRun, SweepError, expand, prepare_all
from baselines.sweeps.pool import Outcome, Place, WorkerLostError, execute, work_on
from baselines.sweeps.progress import Progress
from baselines.sweeps.slots import device_slot
from baselines.sweeps.sweep import read_sweep, sweep
from baselines.training.ledger import append_event, count_executed
from baselines.training.settings import TrainConfig
from csp_data import LowPass, Resplit
from csp_data.acquire.rawtree import raw_root
from csp_data.card import load_card

TINY = {"train.window_s": [10], "train.window_stride_s": [10], "train.epochs": [1]}


def _grid(**changes: Any) -> Grid:
    return Grid(**{"datasets": ("sample",), "models": ("mean", "flat-lstm"), "seeds": (0, 1), **changes})


@pytest.fixture(scope="module")
def planned(home: Path, tmp_path_factory: pytest.TempPathFactory) -> list[PlannedRun]:
    grid = _grid()
    return expand(grid, prepare_all(grid), tmp_path_factory.mktemp("planned"))


def test_a_grid_is_every_combination(tmp_path: Path, home: Path) -> None:
    grid = _grid(models=("published", "mean"), settings={"train.lr": [1e-3, 1e-2], "model.dim": [8, 16]})
    runs = expand(grid, prepare_all(grid), tmp_path)
    assert len(runs) == len({planned.key for planned in runs}) == 16 * 2 * 2 * 2 + 1
    assert {planned.model for planned in runs} == {*MODELS, "mean"}
    assert {planned.train.seed for planned in runs if planned.model == "mean"} == {0}
    again = expand(grid, prepare_all(grid), tmp_path)
    assert again == runs
    assert runs[0].train == dataclasses.replace(TRAINING["strict"], lr=1e-3)
    assert len({planned.label for planned in runs}) == len(runs)
    assert runs[0].label == f"sample strict {runs[0].model} seed 0 lr=0.001 dim=8"


def test_settings_and_seeds_are_those_of_lists_where_numpy_gives_them(tmp_path: Path, home: Path) -> None:
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
def test_counts_are_whole_numbers(home: Path, make: Callable[[], object], message: str) -> None:
    prepare_all(_grid())
    with pytest.raises(OptionError, match=message):
        make()
    assert not Path("never-made").exists()


def test_references_stand_once_in_a_sweep_over_trainings(tmp_path: Path, home: Path) -> None:
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
    alone = _grid(models=("fir",), settings={"model.taps": [20]})
    with pytest.raises(OptionError, match=r"set='model\.taps': expected no sizes, as all models are references"):
        expand(alone, prepare_all(alone), tmp_path)


def test_variants_of_the_data_are_prepared_once(tmp_path: Path, home: Path) -> None:
    grid = _grid(models=("mean",), settings={"data.lowpass": [None, {"hz": 5, "order": 3, "phase": "causal"}]})
    first = prepare_all(grid)
    assert [dataset.protocol.lowpass is None for dataset in first] == [True, False]
    written = [dataset.path.stat().st_mtime_ns for dataset in first]
    assert [dataset.path.stat().st_mtime_ns for dataset in prepare_all(grid)] == written
    assert len({planned.key for planned in expand(grid, first, tmp_path)}) == 2


def test_a_prepared_file_is_found_from_other_folders(tmp_path: Path, home: Path, monkeypatch: Any) -> None:
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


def test_folds_multiply_the_data(tmp_path: Path, home: Path) -> None:
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
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
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


def test_references_are_those_that_apply(tmp_path: Path, home: Path) -> None:
    """Nothing can be integrated without a gyroscope; asked for by name, that is said."""
    settings = {"data.inputs": [("accelerometer",)]}
    grid = _grid(models=("references",), settings=settings)
    assert [p.model for p in expand(grid, prepare_all(grid), tmp_path)] == ["mean", "fir", "kalman"]
    by_name = _grid(models=("references", "strapdown"), settings=settings)
    with pytest.raises(NotApplicableError, match=r"specific force \(m/s\^2\) and angular rate"):
        expand(by_name, prepare_all(by_name), tmp_path)


def test_the_published_training_by_name(tmp_path: Path, planned: list[PlannedRun]) -> None:
    grid = _grid(training="paper")
    assert {p.train for p in expand(grid, prepare_all(grid), tmp_path)} == {
        dataclasses.replace(TRAINING["paper"], seed=seed) for seed in (0, 1)
    }


@pytest.mark.parametrize("training", [None, "paper"])
def test_the_command_of_a_run_makes_that_run(training: str | None, tmp_path: Path, home: Path) -> None:
    """Of a reference a run of the same numbers, which the sweep then keeps."""
    sizes = {"model.dim": [4], "model.hidden": [4], "model.layers": [1]}
    changed = {"train.window_s": [10, 20], "train.clip_norm": [2.0 if training == "paper" else None]}
    grid = _grid(models=("flat-lstm", "fir"), seeds=(3,), training=training, settings={**TINY, **sizes, **changed})
    runs = expand(grid, prepare_all(grid), tmp_path / "it's a folder")
    assert len(runs) == 4
    for planned in runs:
        main(shlex.split(planned.command)[1:])
        made = read_run(planned.folder)
        assert (made.config.key == planned.key) == (planned.model == "flat-lstm")
        assert made.config.train.window_s == planned.train.window_s
        numbers = made.results["test"]
        held, state = run(
            csp_data.load(path=planned.prepared),
            planned.model,
            planned.train,
            planned.folder,
            preset=planned.preset,
            options=planned.options,
        )
        assert (state, held.results["test"]) == ("finished", numbers)


def test_train_takes_the_settings_of_a_sweep(tmp_path: Path, home: Path) -> None:
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
    assert not (tmp_path / "out").exists()
    assert not empty_home.exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(SweepError, match="Nothing was started"):
        sweep(["broad"], ["mean"], out=tmp_path / "out", raw=str(tmp_path / "empty"))
    (tmp_path / "broad").mkdir()
    (tmp_path / "broad" / "a.hdf5").touch()
    with pytest.raises(SweepError, match="can be trained by a sweep of their own into the same folder"):
        sweep(["broad", "sample"], ["mean"], out=tmp_path / "out", raw=str(tmp_path / "{name}"))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"datasets": ("sampel",)}, UnknownNameError, "Did you mean 'sample'"),
        ({"models": ("flat-lstn",)}, UnknownNameError, "Did you mean 'flat-lstm'"),
        ({"models": ()}, OptionError, "models=''"),
        ({"preset": "smal"}, UnknownNameError, "Did you mean 'small'"),
        ({"protocol": "strikt"}, UnknownNameError, "strikt"),
        ({"training": "papr"}, OptionError, "paper, strict"),
        ({"settings": {"lr": [1]}}, OptionError, "train.NAME, model.NAME or data.NAME"),
        ({"settings": {"train.lrr": [1]}}, UnknownNameError, "Did you mean 'lr'"),
        ({"settings": {"train.lr": [-1]}}, OptionError, "lr=-1"),
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


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("ten years of work")
    with pytest.raises(SweepError, match="not the folder of a sweep"):
        sweep(["sample"], ["mean"], out=tmp_path)
    with pytest.raises(SweepError, match="not the folder of a sweep"):
        read_sweep(tmp_path)
    with pytest.raises(SweepError, match="is a file"):
        sweep(["sample"], ["mean"], out=tmp_path / "thesis.tex")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_failures_say_why_and_stop_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One run diverges, one folder is damaged, one is somebody else's: the others finish, all are told."""
    out = tmp_path / "out"
    arguments = ["sweep", "--datasets", "sample", "--models", "mean", "fir", "flat-lstm", "--seeds", "0", "--out",
                 str(out), "--set", "train.window_s=10", "train.window_stride_s=10", "train.epochs=1",
                 "model.dim=8", "model.hidden=8", "model.layers=1", "train.lr=1e-3,1e30"]  # fmt: skip
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 1
    said = capsys.readouterr()
    assert "3 runs, 3 of them done now; 1 failed" in said.out
    assert "[4/4]" in said.err
    assert "The loss" in said.err
    found = read_sweep(out)
    assert [run.folder for run in found.runs()] == list(found.done)
    assert (len(found.done), len(found.failed), found.executed) == (3, 1, 0)
    damaged, foreign = found.done[:2]
    (damaged / "results.json").write_text("{}")
    (foreign / "config.json").write_text('{"my": "settings"}')
    before = {path: path.read_bytes() for path in [damaged / "results.json", foreign / "config.json"]}
    with pytest.raises(SystemExit):
        main([*arguments, "--json"])
    failed = json.loads(capsys.readouterr().out)["failed"]
    assert len(failed) == 3
    assert "damaged" in failed[str(damaged)]
    assert "not the folder of a run" in failed[str(foreign)]
    assert {path: path.read_bytes() for path in before} == before
    assert set(read_sweep(out).failed) == {damaged, foreign, *found.failed}


def test_a_file_that_cannot_be_written_is_named_without_a_traceback(
    planned: list[PlannedRun], tmp_path: Path
) -> None:
    """As on a full disk or beyond a quota: a limit that the system keeps for each file."""
    resource = pytest.importorskip("resource")
    mean = dataclasses.replace(next(p for p in planned if p.model == "mean"), folder=tmp_path / "run")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        outcome = work_on(mean, Place())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (outcome.state, outcome.error) == ("failed", f"{mean.folder / 'config.json'}: File too large")


def test_a_run_that_another_process_holds_is_waited_for(planned: list[PlannedRun], tmp_path: Path) -> None:
    """No worker is asked meanwhile, nor for what that process finishes: for SLURM each would be one more job."""
    (mean,) = (p for p in planned if p.model == "mean")
    other = sweep(["sample"], ["mean"], seeds=[0], out=tmp_path / "other", settings=TINY).done[0]
    config = read_run(other).config
    left, completed = (
        dataclasses.replace(mean, folder=tmp_path / f"{name}-{config.key}", train=config.train)
        for name in ("left", "completed")
    )
    entered, released = threading.Event(), threading.Event()

    def hold() -> None:
        with lock_folder(left.folder, config), lock_folder(completed.folder, config):
            entered.set()
            time.sleep(0.5)
            shutil.copytree(other, completed.folder, dirs_exist_ok=True)
            released.set()

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(timeout=30)
    asked: list[Path] = []

    class Here:
        def outcomes(self, runs: Sequence[PlannedRun], place: Place) -> Iterator[Outcome]:
            assert released.is_set()
            asked.extend(planned.folder for planned in runs)
            yield from (work_on(planned, place) for planned in runs)

    states = {outcome.folder: outcome.state for outcome in execute([left, completed], Here(), Place())}
    thread.join()
    assert states == {left.folder: "done", completed.folder: "skipped"}
    assert asked == [left.folder]
    assert count_executed([left.folder]).finished == 1


def test_a_run_that_always_loses_its_worker_fails(planned: list[PlannedRun], tmp_path: Path) -> None:
    """The first run kills whoever takes it up; the second is only beside it."""
    bad, good = (
        dataclasses.replace(p, folder=tmp_path / name) for p, name in zip(planned, ("bad", "good"), strict=False)
    )
    for made in (bad, good):
        made.folder.mkdir()

    class Kills:
        def outcomes(self, runs: Sequence[PlannedRun], place: Place) -> Iterator[Outcome]:
            append_event(runs[0].folder, "start")
            if runs[0] is bad:
                raise WorkerLostError("exit code -9")
            yield from (Outcome(run.folder, "done") for run in runs)

    outcomes = {o.folder.name: o for o in execute([bad, good], Kills(), Place())}
    assert outcomes["bad"].state == "failed"
    assert "3 times without finishing an epoch" in outcomes["bad"].error
    assert outcomes["good"].state == "done"

    class Never:
        asked = 0

        def outcomes(self, runs: Sequence[PlannedRun], place: Place) -> Iterator[Outcome]:
            Never.asked += 1
            raise WorkerLostError("no module named torch")
            yield

    with pytest.raises(CspDataError, match=r"before they begin a run, 3 times.*no module named torch"):
        list(execute([good], Never(), Place()))
    assert Never.asked == 3


MORTAL = """
import json, os
from pathlib import Path
from torch import nn

class Mortal(nn.Module):
    # sends a signal to its process at the first step after an epoch; or also after one of a process before it

    def __init__(self, in_dim, out_dim, chunk, sweep, again, signal):
        super().__init__()
        self.sweep, self.again, self.signal = sweep, again, signal
        self.read = nn.Conv1d(in_dim, out_dim, chunk, stride=chunk)

    def forward(self, x):
        for ledger in Path(self.sweep).glob("runs/*/ledger.jsonl") if self.training else ():
            lines = [json.loads(line) for line in ledger.read_text().splitlines()]
            here = [line["event"] for line in lines if line["pid"] == os.getpid()]
            if here and (here[-1] == "epoch" or self.again and "epoch" in [line["event"] for line in lines]):
                os.kill(os.getpid(), self.signal)
        return self.read(x.mT).mT
"""


def _mortal(
    folder: Path, *, again: bool, epochs: int, signalled: signal.Signals = signal.SIGKILL
) -> dict[str, Any]:
    """Settings of a sweep in ``folder / "out"`` whose one run, of a file beside it, kills its workers."""
    (folder / "mortal.py").write_text(MORTAL)
    given = {"sweep": str(folder / "out"), "again": again, "signal": int(signalled)}
    settings = {**TINY, "train.epochs": [epochs], **{f"model.{name}": [value] for name, value in given.items()}}
    return {"models": (f"{folder / 'mortal.py'}:Mortal",), "seeds": (0,), "settings": settings}


@pytest.mark.parametrize(("again", "state", "starts", "epochs"), [(False, "done", 4, 4), (True, "failed", 3, 1)])
def test_killed_once_an_epoch_it_is_done_and_three_times_in_one_it_has_failed(
    again: bool, state: str, starts: int, epochs: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Forks:
        def outcomes(self, runs: Sequence[PlannedRun], place: Place) -> Iterator[Outcome]:
            for planned in runs:
                child = os.fork()
                if child == 0:
                    try:
                        os._exit(work_on(planned, place).state != "done")
                    finally:
                        os._exit(2)
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                if code:
                    raise WorkerLostError(f"exit code {code}")
                yield Outcome(planned.folder, "done")

    grid = _grid(**_mortal(tmp_path, again=again, epochs=4))
    (mortal,) = expand(grid, prepare_all(grid), tmp_path / "out")
    (outcome,) = execute([mortal], Forks(), Place())
    executed = count_executed([mortal.folder])
    assert (outcome.state, executed.starts, executed.epochs, executed.twice) == (state, starts, epochs, ())
    assert outcome.error.endswith("exit code -9" if again else "")
    told = [record.message for record in caplog.records if record.message.startswith("a worker was lost")]
    assert len(told) == 3


@pytest.mark.parametrize("backend", ["loky", "slurm:local"])
def test_a_run_whose_worker_is_killed_goes_on_from_its_checkpoint(
    backend: str, tmp_path: Path, home: Path
) -> None:
    """The real pools; dask's is in test_sweep.py."""
    if backend != "loky":
        pytest.importorskip("submitit")
    mortal = _mortal(tmp_path, again=False, epochs=2)
    done = sweep(["sample"], **mortal, out=tmp_path / "out", jobs=2, backend=backend)
    assert dict(done.failed) == {}
    executed = count_executed(done.done)
    assert (executed.starts, executed.epochs, executed.finished, executed.twice) == (2, 2, 1, ())


def test_the_signal_before_the_time_limit_of_a_job_does_not_end_its_run(tmp_path: Path, home: Path) -> None:
    """SLURM sends it as submitit asks; submitit's handler raised an error in the step, and the run had failed."""
    submitit = pytest.importorskip("submitit")
    warning = signal.Signals[f"SIG{submitit.JobEnvironment.USR_SIG}"]
    mortal = _mortal(tmp_path, again=False, epochs=2, signalled=warning)
    done = sweep(["sample"], **mortal, out=tmp_path / "out", backend="slurm:local")
    assert dict(done.failed) == {}
    executed = count_executed(done.done)
    assert (executed.starts, executed.epochs, executed.finished, executed.twice) == (1, 2, 1, ())


def test_runs_share_devices_evenly_and_never_too_many(tmp_path: Path) -> None:
    now: dict[str, int] = {"a": 0, "b": 0}
    most: list[dict[str, int]] = []
    mutex = threading.Lock()

    def take() -> None:
        with device_slot(tmp_path, ["a", "b"], 2) as device:
            with mutex:
                now[device] += 1
                most.append(dict(now))
            time.sleep(0.05)
            with mutex:
                now[device] -= 1

    threads = [threading.Thread(target=take) for _ in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 7
    assert all(used <= 2 for state in most for used in state.values())
    assert now == {"a": 0, "b": 0}
    with pytest.raises(OptionError, match="a GPU"), device_slot(tmp_path, [], 1):
        pass


def test_progress_on_a_terminal_and_elsewhere(planned: list[PlannedRun], tmp_path: Path) -> None:
    runs = [dataclasses.replace(p, folder=tmp_path / str(i)) for i, p in enumerate(planned)]
    assert len(runs) == 3

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    plain, terminal = io.StringIO(), Terminal()
    shown = [Progress(runs, 1, file=file) for file in (plain, terminal)]
    runs[1].folder.mkdir()
    append_event(runs[1].folder, "start")
    append_event(runs[1].folder, "epoch", epoch=1)
    with shown[1].live():
        for one in shown:
            one.add(Outcome(runs[0].folder, "done", seconds=30.0))
    epochs = TrainConfig().epochs
    assert plain.getvalue().splitlines() == [
        "[1/3] sample strict mean seed 0: done in 30.0 s; about 1 min 0 s left"
    ]
    table = terminal.getvalue().split("\x1b[J")[-1].splitlines()
    assert [line.split() for line in table[:3]] == [
        ["model", "done", "running", "failed", "waiting"],
        ["mean", "1", "0", "0", "0"],
        ["flat-lstm", "0", "1", "0", "1"],
    ]
    assert table[3] == f"  {runs[1].label}: epoch 1 of {epochs}"
    assert table[4] == "3 runs: 1 done, 0 failed, 2 left; about 1 min 0 s left"
    append_event(runs[1].folder, "compile")
    assert shown[1].table()[3] == f"  {runs[1].label}: compiling loops, once on this machine"
    shown[0].add(Outcome(runs[1].folder, "failed", "a reason\nthe last line"))
    assert plain.getvalue().splitlines()[1].endswith("seed 0: FAILED: the last line; about 0 min 30 s left")


def test_a_sweep_in_a_pipe_says_once_that_loops_are_compiled(
    planned: list[PlannedRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "REFRESH_S", 0.01)
    runs = [dataclasses.replace(p, folder=tmp_path / str(i)) for i, p in enumerate(planned)]

    def said(wanted: str, *, shown: bool = True) -> str:
        file = io.StringIO()
        with Progress(runs, 1, shown=shown, file=file).live():
            until = time.monotonic() + (10 if wanted else 0.1)
            while file.getvalue() == "" and time.monotonic() < until:
                time.sleep(0.01)
            time.sleep(0.1)
        return file.getvalue()

    for planned_ in runs[:2]:
        planned_.folder.mkdir()
        append_event(planned_.folder, "start")
    assert said("") == ""
    for planned_ in runs[:2]:
        append_event(planned_.folder, "compile")
    assert said(COMPILING) == COMPILING + "\n"
    assert said("", shown=False) == ""
