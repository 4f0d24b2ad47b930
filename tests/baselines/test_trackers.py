from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import pytest

from baselines.cli import main
from baselines.errors import MissingExtraError, OptionError
from baselines.experiment import run
from baselines.runs import read_run
from baselines.train import TrainConfig
from csp_data import Dataset

CONFIG = TrainConfig(epochs=2, window_s=10.0, window_stride_s=10.0)
SIZES = {"dim": 8, "hidden": 8, "layers": 1}


def test_tensorboard_has_what_the_folder_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorboard")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tensorboard's own dependencies
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        sizes = [f"{name}={value}" for name, value in SIZES.items()]
        options = ["--epochs", "2", "--window-s", "10", "--window-stride-s", "10", "--set", *sizes]
        main(["train", "sample", "flat-lstm", *options, "--track", "tensorboard", "--out", str(tmp_path / "run")])
        seen = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    lines = read_run(tmp_path / "run").epochs
    for name in ("train_loss", "val_loss", "lr"):
        events = seen.Scalars(name)
        assert [event.step for event in events] == [1, 2]
        assert [event.value for event in events] == pytest.approx([line[name] for line in lines], rel=1e-6)


def test_a_tracker_that_is_not_there_is_refused_before_training(sample: Dataset, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="tensorboard, trackio, wandb"):
        run(sample, "flat-lstm", CONFIG, tmp_path / "run", options=SIZES, track="notebook")
    for name in ("trackio", "wandb"):
        if importlib.util.find_spec(name) is None:
            with pytest.raises(MissingExtraError, match=rf"pip install 'csp-data\[{name}\]'"):
                run(sample, "flat-lstm", CONFIG, tmp_path / "run", options=SIZES, track=name)
    assert not (tmp_path / "run").exists()
