"""What a model's file imports from its own folder belongs to the model: run as it lies there, kept, and named."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

import baselines
import csp_data
from baselines.cli import main
from baselines.errors import ModelError
from baselines.models import own_program
from baselines.runs.run import Run, RunError
from baselines.sweeps.grid import Grid, expand
from baselines.sweeps.worker import Place, work_on
from baselines.tables.labels import by_label
from baselines.trained import load_model
from baselines.training.settings import TrainConfig
from csp_data.terminal import stdout_is_result

SHORT = TrainConfig(epochs=1, window_s=None, window_stride_s=None, seed=3)

FILE = """
from torch import nn
import helper
import layers.blocks
from helper import SCALE

print("running the file")

class Mine(nn.Module):
    def __init__(self, in_dim, out_dim, chunk, late=False):
        super().__init__()
        self.read, self.out = layers.blocks.read(in_dim, chunk), nn.Linear(4, out_dim)
        self.late = late

    def forward(self, x):
        print("running its forward")
        if self.late:
            import later
            import helper as again
            assert again is helper
        y = SCALE * self.out(self.read(x.mT).mT)
        if y.requires_grad:
            y.register_hook(lambda gradient: print("going back"))
        return y
"""
BESIDE = {
    "helper.py": "SCALE = 2.0\n",
    "layers/blocks.py": "from torch import nn\nfrom layers.inner.deep import WIDTH\n\n"
    "def read(in_dim, chunk):\n    return nn.Conv1d(in_dim, WIDTH, chunk, stride=chunk)\n",
    "layers/inner/__init__.py": "",
    "layers/inner/deep.py": "WIDTH = 4\n",
}
OTHERS = {"later.py": "X = 1\n", "unused.py": "raise ValueError\n", "layers/unused.py": "raise ValueError\n"}


def write(folder: Path) -> Path:
    for name, text in {"mine.py": FILE, **BESIDE, **OTHERS}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder / "mine.py"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path)


@pytest.fixture(scope="module")
def moved(sample: csp_data.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run whose folder was moved, and whose model's files are gone."""
    folder = tmp_path_factory.mktemp("own program")
    file = write(folder / "it was made here")
    run, _ = baselines.run(sample, f"{file}:Mine", SHORT, folder / "run")
    shutil.rmtree(file.parent)
    return baselines.read_run(shutil.move(run.folder, folder / "and moved here"))


def test_a_run_keeps_what_its_file_imports_and_nothing_else(moved: Run) -> None:
    kept = moved.folder / "model"
    assert {path.relative_to(kept).as_posix(): path.read_text() for path in kept.rglob("*") if path.is_file()} == {
        "mine.py": FILE,
        **BESIDE,
    }
    assert moved.config.model["beside"].keys() == BESIDE.keys()
    assert not (moved.folder / "model.py").exists()


@pytest.mark.parametrize("where", ["source", "beside"])
def test_a_run_brings_no_file_of_elsewhere_to_run(moved: Run, where: str, tmp_path: Path) -> None:
    """What to look at before a stranger's model is run is the run's folder, not what its settings name."""
    folder, place = shutil.copytree(moved.folder, tmp_path / "run"), tmp_path / "elsewhere.py"
    place.write_text("raise SystemExit('this was run')\n")
    digest = hashlib.sha256(place.read_bytes()).hexdigest()[:16]
    for path in ("../../elsewhere.py", str(place)):
        settings = json.loads((folder / "config.json").read_text())
        if where == "source":
            settings["model"] |= {"source": f"{path}:Mine", "digest": digest}
        else:
            settings["model"]["beside"] = {path: digest}
        (folder / "config.json").write_text(json.dumps(settings))
        with pytest.raises(RunError, match=r"config\.json: damaged \(.* expected .* in the run's folder, found"):
            load_model(folder)


def test_a_moved_run_predicts_the_same_in_another_process_whose_stdout_is_its_result(
    moved: Run, sample: csp_data.Dataset, tmp_path: Path
) -> None:
    for name in ("helper.py", "layers.py"):  # python -m looks there first
        (tmp_path / name).write_text("raise ValueError\n")
    words = ["eval", str(moved.folder), "--data", str(sample.path), "--predictions", "out", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "baselines", *words], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["mse"] == pytest.approx(moved.reported["mse"], rel=1e-6)
    assert {*done.stderr.splitlines()} == {"running the file", "running its forward"}
    with (
        np.load(tmp_path / "out" / "predictions.npz") as again,
        np.load(moved.folder / "predictions.npz") as before,
    ):
        for name in before.files:
            np.testing.assert_array_equal(again[name], before[name])


def test_the_results_of_a_training_are_all_that_it_prints(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "sample", f"{file}:Mine", "--epochs", "1", "--out", str(file.parent / "run"), "--json"])
    out, err = capsys.readouterr()
    assert json.loads(out)["state"] == "new"
    assert {"running the file", "running its forward", "going back"} <= {*err.splitlines()}


def test_a_changed_import_is_another_model_and_the_run_before_keeps_its_own(
    sample: csp_data.Dataset, file: Path
) -> None:
    run, _ = baselines.run(sample, f"{file}:Mine", SHORT, file.parent / "run")
    (file.parent / "helper.py").write_text("SCALE = 3.0\n")  # within a second, and of the same size
    with pytest.raises(RunError, match=r"holds another run: model\.beside\.helper\.py is '\w+' there, '\w+' here"):
        baselines.run(sample, f"{file}:Mine", SHORT, run.folder)
    other, _ = baselines.run(sample, f"{file}:Mine", SHORT, file.parent / "other")
    digests = [one.config.model["beside"]["helper.py"] for one in (run, other)]
    assert [*by_label([run, other])] == [f"own-Mine (helper.py {digest})" for digest in digests]
    x = torch.randn(1, 20, 12)
    outputs = []
    for helper in (3.0, 2.0):
        (file.parent / "helper.py").write_text(f"SCALE = {helper}\n")
        torch.manual_seed(0)
        outputs.append(baselines.build(f"{file}:Mine", 12, 3)(x))
    torch.testing.assert_close(2 * outputs[0], 3 * outputs[1])
    assert baselines.run(sample, f"{file}:Mine", SHORT, run.folder)[1] == "finished"
    (file.parent / "helper.py").unlink()
    assert baselines.evaluate(run, sample)["mse"] == pytest.approx(run.reported["mse"], rel=1e-6)
    copy = run.folder / "model" / "layers" / "blocks.py"
    copy.write_text(copy.read_text() + "\n")
    with pytest.raises(ModelError, match=r"blocks\.py: expected the file that mine\.py:Mine was trained from"):
        baselines.load_model(run)


def test_what_a_function_imports_belongs_to_the_model_that_called_it(file: Path) -> None:
    for late in (False, True, False):
        model = baselines.build(f"{file}:Mine", 12, 3, late=late)
        assert ("later.py" in model.config.beside) is late  # type: ignore[union-attr]


def test_models_that_take_turns_import_each_its_own(tmp_path: Path) -> None:
    text = FILE.replace("import later", "import later; x = later.X * x")
    models = []
    for k, folder in enumerate((tmp_path / "a", tmp_path / "b"), start=1):
        write(folder).write_text(text)
        (folder / "later.py").write_text(f"X = {k}\n")
        torch.manual_seed(0)
        models.append(baselines.build(f"{folder / 'mine.py'}:Mine", 12, 3, late=True).eval())
    x = torch.randn(1, 10, 12)
    for _ in range(2):
        torch.testing.assert_close(models[1](x), models[0](2 * x))


def test_a_file_that_imports_nothing_of_its_folder_has_the_name_that_it_always_had() -> None:
    plain = {"family": "own", "in_dim": 12, "out_dim": 3, "chunk": 10, "source": "one.py:One", "digest": "0" * 16}
    plain |= {"options": {}, "looks_ahead": False}
    assert baselines.config_to_dict(baselines.config_from_dict(plain)) == plain


def test_a_run_from_before_files_were_kept_finds_them_where_they_lay(sample: csp_data.Dataset, file: Path) -> None:
    run, _ = baselines.run(sample, f"{file}:Mine", SHORT, file.parent / "run")
    shutil.move(run.folder / "model" / "mine.py", run.folder / "model.py")
    shutil.rmtree(run.folder / "model")
    config = json.loads((run.folder / "config.json").read_text())
    del config["model"]["beside"]
    (run.folder / "config.json").write_text(json.dumps(config))
    again = baselines.evaluate(baselines.read_run(run.folder), sample)
    assert again["mse"] == pytest.approx(run.reported["mse"], rel=1e-6)


def test_nothing_of_python_or_installed_is_hidden(
    file: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("types.py", "packaging.py"):
        (file.parent / name).write_text("raise ValueError\n")
    (file.parent / "plain").mkdir()  # no package of the folder's, and elsewhere there is one
    (elsewhere := tmp_path_factory.mktemp("elsewhere") / "plain").mkdir()
    (elsewhere / "__init__.py").write_text("X = 1\n")
    monkeypatch.syspath_prepend(str(elsewhere.parent))
    file.write_text("import types, packaging.version\nfrom plain import X\n" + FILE)
    assert baselines.build(f"{file}:Mine", 12, 3).config.beside.keys() == BESIDE.keys()  # type: ignore[union-attr]


def test_pythons_own_modules_are_not_those_of_a_folder_above_them(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where Python was installed into the home folder, and the file lies there."""
    stdlib = file.parent / "lib" / "python"
    (stdlib / "json").mkdir(parents=True)
    (stdlib / "json" / "not_loaded_yet.py").write_text("")
    monkeypatch.setattr(own_program, "STDLIB", stdlib)
    monkeypatch.setattr(json, "__path__", [*json.__path__, str(stdlib / "json")])
    file.write_text("import json.not_loaded_yet\n" + FILE)
    try:
        model = baselines.build(f"{file}:Mine", 12, 3)
        assert "json.not_loaded_yet" in sys.modules
        assert model.config.beside.keys() == BESIDE.keys()  # type: ignore[union-attr]
    finally:
        sys.modules.pop("json.not_loaded_yet", None)
        vars(json).pop("not_loaded_yet", None)


def test_packages_that_are_installed_below_are_not_the_models(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = file.parent / ".venv" / "lib" / "site-packages"
    installed.mkdir(parents=True)
    (installed / "of_a_package.py").write_text("")
    monkeypatch.syspath_prepend(str(installed))
    file.write_text("import of_a_package\n" + FILE)
    assert baselines.build(f"{file}:Mine", 12, 3).config.beside.keys() == BESIDE.keys()  # type: ignore[union-attr]


@pytest.mark.parametrize("place", [".", "elsewhere"])
def test_the_callers_module_of_the_same_name_is_left_to_the_caller(file: Path, place: str) -> None:
    callers = types.ModuleType("helper")
    callers.SCALE, callers.__file__ = 7.0, str(file.parent / place / "helper.py")  # type: ignore[attr-defined]
    sys.modules["helper"] = callers
    try:
        model = baselines.build(f"{file}:Mine", 12, 3)
        assert sys.modules["helper"] is callers
    finally:
        del sys.modules["helper"]
    assert "helper.py" in model.config.beside  # type: ignore[union-attr]
    x = torch.randn(1, 10, 12)
    inner = model.inner  # type: ignore[union-attr]
    torch.testing.assert_close(model(x), 2.0 * inner.out(inner.read(x.mT).mT))  # type: ignore[operator, union-attr]


def test_modules_below_that_the_file_finds_by_its_own_place_are_kept(sample: csp_data.Dataset, file: Path) -> None:
    (file.parent / "lib").mkdir()
    shutil.move(file.parent / "helper.py", file.parent / "lib" / "helper.py")
    place = "import sys, pathlib\nsys.path.insert(0, str(pathlib.Path(__file__).parent / 'lib'))\n"
    file.write_text(place + FILE + "\nsys.path.pop(0)\n")
    run, _ = baselines.run(sample, f"{file}:Mine", SHORT, file.parent / "run")
    assert "lib/helper.py" in run.config.model["beside"]
    shutil.rmtree(file.parent / "lib")
    assert baselines.evaluate(run, sample)["mse"] == pytest.approx(run.reported["mse"], rel=1e-6)


def test_a_model_that_prints_and_compiles_in_a_sweep_does_so_beside_its_results(
    sample: csp_data.Dataset, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is made, and so compiles, before its run has a folder that could say so."""
    pytest.importorskip("numba", reason="it compiles")
    made = "super().__init__()\n        "
    file.write_text(FILE.replace(made, f"{made}import numba\n        numba.njit(lambda x: x)(1)\n        "))
    settings = {"train.epochs": [1], "train.window_s": [10], "train.window_stride_s": [10]}
    grid = Grid(datasets=("sample",), models=(f"{file}:Mine",), seeds=(0,), settings=settings)
    (planned,) = expand(grid, [sample], file.parent / "sweep")
    stdout_is_result.set(False)  # commands of tests before have set it
    capsys.readouterr()
    outcome = work_on(planned, Place(threads=2))
    assert (outcome.state, outcome.error) == ("done", "")
    assert json.loads((outcome.folder / "environment.json").read_text())["threads"] == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "running its forward" in err
    assert not stdout_is_result.get()


def test_a_run_of_a_sweep_refuses_an_import_that_changed_since_it_was_planned(
    sample: csp_data.Dataset, file: Path
) -> None:
    grid = Grid(datasets=("sample",), models=(f"{file}:Mine",), seeds=(0,), settings={"train.epochs": [1]})
    (planned,) = expand(grid, [sample], file.parent / "sweep")
    (file.parent / "layers" / "blocks.py").write_text(BESIDE["layers/blocks.py"] + "\n")
    outcome = work_on(planned, Place())
    assert "layers/blocks.py has changed since this run was planned" in outcome.error
    assert not planned.folder.exists()


def test_a_folder_that_may_not_be_looked_into_has_no_modules(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a model's file on the machine of somebody else may be."""

    def refuse(path: Path) -> bool:
        raise PermissionError(path)

    baselines.build(f"{file}:Mine", 12, 3)
    hook = sys.path_hooks[0]
    assert hook(str(file.parent)).find_spec("helper") is not None  # type: ignore[attr-defined]
    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(ImportError):
        hook(str(file.parent))
