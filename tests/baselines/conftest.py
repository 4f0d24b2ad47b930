"""Fixtures for the baselines: a made-up part, the sample, and a few finished runs on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from baselines.experiment import run
from baselines.runs.collect import read_runs
from baselines.runs.run import Run
from baselines.sweeps.sweep import sweep
from baselines.training.data import Part
from baselines.training.settings import TrainConfig
from csp_data import Dataset
from csp_data.normalization import Affine
from csp_data.simulate import simulate


class Gru(nn.Module):
    """A small model with dropout, so that the order of random numbers matters."""

    def __init__(self, in_dim: int, out_dim: int, chunk: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.chunk = chunk
        self.gru = nn.GRU(in_dim, 8, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(8, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.dropout(self.gru(x)[0][:, self.chunk - 1 :: self.chunk]))


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Models this small gain nothing from more threads, and wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def gru() -> type[Gru]:
    return Gru


@pytest.fixture(scope="session")
def as_trained() -> Callable[[nn.Module], nn.Module]:
    """Move all parameters of a model: new ones are such that norms, biases and readouts could be left out."""

    def move(model: nn.Module) -> nn.Module:
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator).to(parameter)
        return model

    return move


@pytest.fixture
def make_part() -> Callable[..., Part]:
    """A part of made-up episodes; their target is the mean of the first feature over each chunk."""

    def make(lengths: tuple[int, ...] = (7, 12, 3), *, features: int = 4, chunk: int = 5, seed: int = 0) -> Part:
        rng = np.random.default_rng(seed)
        count = np.array(lengths)
        inputs = rng.normal(size=(count.sum() * chunk, features)).astype(np.float32)
        first = inputs[:, 0].reshape(-1, chunk).mean(axis=1)
        targets = np.stack([first, -2 * first], axis=1).astype(np.float32)
        return Part(
            name="train",
            ids=tuple(f"episode-{i}" for i in range(len(lengths))),
            inputs=torch.from_numpy(inputs),
            targets=torch.from_numpy(targets),
            starts=np.cumsum(count) - count,
            lengths=count,
            times=tuple(np.arange(1, n + 1) / 5 for n in lengths),
            chunk=chunk,
            target_hz=5.0,
            scaling=Affine(shift=np.array([1.0, -3.0]), scale=np.array([2.0, 0.5])),
        )

    return make


@pytest.fixture(scope="session")
def runs(sample: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Finished runs on the sample: both references, and a small model with two seeds."""
    folder = tmp_path_factory.mktemp("runs")
    made = {}
    for name, model, seed in (
        ("mean", "mean", 0),
        ("fir", "fir", 0),
        ("a", "flat-lstm", 0),
        ("b", "flat-lstm", 1),
    ):
        config = TrainConfig(epochs=2, window_s=10.0, window_stride_s=10.0, seed=seed)
        options = {"mean": {}, "fir": {"taps": 20}}.get(model, {"dim": 8, "hidden": 8, "layers": 1})
        made[name], _ = run(sample, model, config, folder / name, options=options, command=f"command of {name}")
    return made


SMALL = {"train.epochs": [2], "train.window_s": [10.0], "train.window_stride_s": [10.0]}
SIZES = {"model.dim": [8], "model.hidden": [8], "model.layers": [1]}


@pytest.fixture(scope="session")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Sweeps over the chunk and the low-pass of the sample, and over two simulated data sets."""
    folder = tmp_path_factory.mktemp("sweeps")
    for name in ("marker", "slip"):
        simulate(name, folder / "trees" / name, hours=0.02, seed=0)
    filters = [None, {"hz": 5}, {"hz": 5, "phase": "zero"}, {"hz": 10}]
    asked: dict[str, tuple[list[str], list[str], tuple[int, ...], dict[str, list[Any]]]] = {
        "chunk": (["sample"], ["mean", "flat-lstm"], (0, 1), {"data.target_hz": [5, 10, 25]}),
        "filter": (["sample"], ["flat-lstm"], (0,), {"data.lowpass": filters}),
        "simulated": (["marker", "slip"], ["mean", "flat-lstm"], (0,), {}),
    }
    for name, (datasets, models, seeds, settings) in asked.items():
        raw = str(folder / "trees" / "{name}") if name == "simulated" else None
        settings = {**SMALL, **SIZES, **settings}
        done = sweep(datasets, models, seeds=seeds, out=folder / name, raw=raw, settings=settings)
        assert not done.failed
    return {name: folder / name for name in asked}


@pytest.fixture(scope="session")
def short_page(runs: dict[str, Run], sample: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a few runs on one data set."""
    from baselines.report import write_report

    return write_report(list(runs.values()), [sample], tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="session")
def long_page(sweeps: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of sweeps over several data sets and settings."""
    from baselines.report import write_report
    from baselines.runs.collect import datasets_of

    found = read_runs(list(sweeps.values()))
    return write_report(found, datasets_of(found), tmp_path_factory.mktemp("report"), unfinished=3)
