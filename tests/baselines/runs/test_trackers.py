from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import pytest

from baselines.cli import main
from baselines.errors import MissingExtraError, OptionError
from baselines.experiment import run
from baselines.runs.run import read_run
from baselines.sweeps.sweep import sweep
from baselines.training.settings import TrainConfig
from csp_data import Dataset

CONFIG = TrainConfig(epochs=2, window_s=10.0, window_stride_s=10.0)
SIZES = {"dim": 8, "hidden": 8, "layers": 1}


def _seen(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Read the event files of a run's folder as tensorboard does."""
    pytest.importorskip("tensorboard")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tensorboard's own dependencies
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        seen = EventAccumulator(str(folder / "tensorboard")).Reload()
        names = ("train_loss", "val_loss", "lr")
        return {name: [(event.step, event.value) for event in seen.Scalars(name)] for name in names}


def _expected(folder: Path) -> dict[str, list[tuple[int, float]]]:
    lines = read_run(folder).epochs
    assert len(lines) == 2
    return {
        name: [(line["epoch"], pytest.approx(line[name], rel=1e-6)) for line in lines]
        for name in ("train_loss", "val_loss", "lr")
    }


def test_tensorboard_has_what_the_folder_has(tmp_path: Path) -> None:
    sizes = [f"{name}={value}" for name, value in SIZES.items()]
    options = ["--epochs", "2", "--window-s", "10", "--window-stride-s", "10", "--set", *sizes]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main(["train", "sample", "flat-lstm", *options, "--track", "tensorboard", "--out", str(tmp_path / "run")])
    assert _seen(tmp_path / "run") == _expected(tmp_path / "run")


def test_a_sweep_is_followed_run_by_run(tmp_path: Path) -> None:
    """In its worker processes."""
    pytest.importorskip("tensorboard")
    settings = {"train.epochs": [2], "train.window_s": [10.0], "train.window_stride_s": [10.0]}
    settings |= {f"model.{name}": [value] for name, value in SIZES.items()}
    done = sweep(["sample"], ["flat-lstm"], seeds=[0, 1], out=tmp_path, settings=settings, track="tensorboard")
    assert len(done.done) == 2
    for folder in done.done:
        assert _seen(folder) == _expected(folder)
    with pytest.raises(OptionError, match="tensorboard, trackio, wandb"):
        sweep(["sample"], ["mean"], out=tmp_path / "other", track="notebook")
    assert not (tmp_path / "other").exists()


def test_a_tracker_that_is_not_there_is_refused_before_training(sample: Dataset, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="tensorboard, trackio, wandb"):
        run(sample, "flat-lstm", CONFIG, tmp_path / "run", options=SIZES, track="notebook")
    for name in ("trackio", "wandb"):
        if importlib.util.find_spec(name) is None:
            with pytest.raises(MissingExtraError, match=rf"pip install 'csp-data\[{name}\]'"):
                run(sample, "flat-lstm", CONFIG, tmp_path / "run", options=SIZES, track=name)
    assert not (tmp_path / "run").exists()
