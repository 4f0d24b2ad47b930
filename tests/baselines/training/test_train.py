from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import baselines
from baselines.errors import OptionError
from baselines.training.checkpoint import CheckpointError, load_weights, read_checkpoint, write_checkpoint
from baselines.training.data import Part, load_part
from baselines.training.ledger import LEDGER, count_executed
from baselines.training.settings import BEST, LAST, METRICS, TrainConfig
from baselines.training.step import masked_mse
from baselines.training.team import ALONE, Team
from baselines.training.train import (
    TrainingError,
    _TrainingLoop,
    seeded,
    train,
    validate,
)
from csp_data import Dataset
from csp_data.adapters.torch import collate

MakePart = Callable[..., Part]
CPU = torch.device("cpu")
CONFIG = TrainConfig(epochs=5, batch=4, lr=1e-2, window_s=1.0, window_stride_s=0.4)


class Stop(Exception):
    """Stands for whatever ends a process between two epochs."""


def _gru(gru: type[Any], part: Part, seed: int = 0) -> nn.Module:
    with seeded(seed, CPU):
        return gru(*part.dims, part.chunk)


def _hiss(gru: type[Any], part: Part, seed: int = 0) -> nn.Module:
    with seeded(seed, CPU):
        return baselines.build("hiss-s4-mamba", *part.dims, chunk=part.chunk, dim=8, layers=1)


def _lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


def _timeless(folder: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in _lines(folder)]


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_loss_counts_valid_values_only() -> None:
    rng = np.random.default_rng(0)
    pred, true = rng.normal(size=(2, 3, 4, 2))
    mask = np.array([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]], dtype=bool)
    squares = [
        (pred[b, t, d] - true[b, t, d]) ** 2 for b in range(3) for t in range(4) for d in range(2) if mask[b, t]
    ]
    got = masked_mse(*(torch.from_numpy(a) for a in (pred, true, mask)))
    assert got.item() == pytest.approx(sum(squares) / len(squares))


def test_a_loop_by_hand_has_the_same_losses(sample: Dataset, tmp_path: Path) -> None:
    config = TrainConfig(epochs=2, batch=3, window_s=None, window_stride_s=None)
    parts = [load_part(sample, name) for name in ("train", "val")]

    def build() -> nn.Module:
        with seeded(config.seed, CPU):
            return baselines.build("flat-gru", *parts[0].dims, chunk=parts[0].chunk, dim=8, layers=2)

    train(build(), *parts, config, tmp_path)

    model, items = build(), sample.to_torch("train")
    order = torch.Generator().manual_seed(config.seed)
    optimizer, steps = torch.optim.Adam(model.parameters()), math.ceil(len(items) / config.batch)
    with seeded(config.seed, CPU):  # dropout
        for line in _lines(tmp_path):
            model.train()
            squares: list[Tensor] = []
            for step, rows in enumerate(torch.randperm(len(items), generator=order).split(config.batch)):
                inputs, targets, mask = collate([items[int(row)] for row in rows])
                done = (line["epoch"] - 1) / config.epochs + step / (steps * config.epochs)
                optimizer.param_groups[0]["lr"] = config.lr * 0.5 * (1 + math.cos(math.pi * done))
                squares.append((model(inputs) - targets)[mask].square())
                optimizer.zero_grad()
                squares[-1].mean().backward()
                optimizer.step()
            assert line["train_loss"] == pytest.approx(torch.cat(squares).mean().item(), rel=1e-5)
            model.eval()
            with torch.no_grad():
                errors = torch.cat([model(x[None])[0] - y for x, y in sample.to_torch("val")])
            assert line["val_loss"] == pytest.approx(errors.square().mean().item(), rel=1e-5)


def test_it_learns_a_filter_it_can_represent(make_part: MakePart, tmp_path: Path) -> None:
    part, val = make_part((40, 40), chunk=5), make_part((30,), chunk=5, seed=1)

    class Chunk(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(5 * 4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x.reshape(len(x), -1, 5 * 4))

    with seeded(0, CPU):
        model = Chunk()
    fit = train(model, part, val, TrainConfig(epochs=150, lr=3e-2, window_s=2.0, window_stride_s=1.0), tmp_path)
    assert fit.val_loss < 1e-4  # of a variance of about 0.5; the truth is in the model's class
    first = model.linear.weight.reshape(2, 5, 4)[:, :, 0].detach().numpy()
    np.testing.assert_allclose(first, np.array([[0.2], [-0.4]]) * np.ones(5), atol=0.02)


@pytest.mark.parametrize("make", [_gru, _hiss])
@pytest.mark.parametrize("stop_at", [1, 3])
def test_resumed_equals_uninterrupted(
    make: Callable[..., nn.Module], stop_at: int, gru: type[Any], make_part: MakePart, tmp_path: Path
) -> None:
    part, val = make_part((17, 22)), make_part((9,), seed=1)
    whole, broken = _folder(tmp_path / "whole"), _folder(tmp_path / "broken")
    expected = train(make(gru, part), part, val, CONFIG, whole)

    def stop(line: dict[str, Any]) -> None:
        if line["epoch"] == stop_at:
            raise Stop

    with pytest.raises(Stop):
        train(make(gru, part), part, val, CONFIG, broken, on_epoch=stop)
    # a process killed later still: it had written metrics of an epoch that no checkpoint holds
    with (broken / METRICS).open("a") as file:
        file.write('{"epoch": 99, "train_l')
    torch.manual_seed(12345)
    model = make(gru, part, seed=7)  # whatever weights it begins with are replaced
    resumed = train(model, part, val, CONFIG, broken)
    assert (resumed.epoch, resumed.val_loss) == (expected.epoch, expected.val_loss)
    assert (whole / BEST).read_bytes() == (broken / BEST).read_bytes()
    ended, other = read_checkpoint(whole / LAST), read_checkpoint(broken / LAST)
    for name, tensor in ended.model.items():
        assert torch.equal(tensor, other.model[name]), name
    for number, held in ended.optimizer.items():
        assert all(torch.equal(held[key], other.optimizer[number][key]) for key in held)
    assert _timeless(whole) == _timeless(broken)
    # two trainings that agree because nothing depends on anything would pass all of the above
    assert len({line["val_loss"] for line in _lines(whole)}) == CONFIG.epochs


def test_a_finished_training_is_not_repeated(gru: type[Any], make_part: MakePart, tmp_path: Path) -> None:
    part, val = make_part(), make_part(seed=1)
    first = train(_gru(gru, part), part, val, CONFIG, tmp_path)
    epochs: list[dict[str, Any]] = []
    second = train(_gru(gru, part, seed=5), part, val, CONFIG, tmp_path, on_epoch=epochs.append)
    assert epochs == []
    assert first == second


def test_best_epoch_is_the_lowest_on_val_and_its_weights_are_kept(
    gru: type[Any], make_part: MakePart, tmp_path: Path
) -> None:
    part, val = make_part((17, 22)), make_part((9,), seed=1)
    config = TrainConfig(epochs=12, batch=4, lr=0.1, schedule="constant", window_s=1.0, window_stride_s=None)
    model = _gru(gru, part)
    fit = train(model, part, val, config, tmp_path)
    losses = [line["val_loss"] for line in _lines(tmp_path)]
    assert fit.val_loss == min(losses)
    assert fit.epoch == losses.index(min(losses)) + 1
    assert fit.epoch < config.epochs  # so that best and last differ
    assert validate(model, val, 5) == fit.val_loss
    other = _gru(gru, part, seed=3)
    load_weights(tmp_path / BEST, other)
    assert validate(other, val, 5) == fit.val_loss


@pytest.mark.parametrize("patience", [1, 2, 3, 40])
def test_patience_ends_a_training_without_other_effects(
    patience: int, gru: type[Any], make_part: MakePart, tmp_path: Path
) -> None:
    part, val = make_part((17, 22)), make_part((9,), seed=1)
    config = TrainConfig(epochs=14, batch=4, lr=0.1, window_s=1.0, window_stride_s=None)
    whole = train(_gru(gru, part), part, val, config, _folder(tmp_path / "whole"))
    losses = [line["val_loss"] for line in _lines(tmp_path / "whole")]
    since_best = [n - losses.index(min(losses[:n])) - 1 for n in range(1, 15)]
    passes = next((n for n, since in enumerate(since_best, 1) if since == patience), 14)
    assert (passes < 14) == (patience < 40)
    patient = replace(config, patience=patience)
    stopped = train(_gru(gru, part), part, val, patient, _folder(tmp_path / "stopped"))
    assert _timeless(tmp_path / "stopped") == _timeless(tmp_path / "whole")[:passes]
    assert (stopped.epoch, stopped.val_loss) == min(enumerate(losses[:passes], 1), key=lambda pair: pair[1])
    assert stopped.val_loss >= whole.val_loss

    def stop(line: dict[str, Any]) -> None:
        if line["epoch"] == 2:
            raise Stop

    with pytest.raises(Stop):
        train(_gru(gru, part), part, val, patient, _folder(tmp_path / "broken"), on_epoch=stop)
    for _ in range(2):  # resumed, and when it is finished
        train(_gru(gru, part), part, val, patient, tmp_path / "broken")
        assert _timeless(tmp_path / "broken") == _timeless(tmp_path / "stopped")


def test_patience_counts_from_the_weights_that_a_training_begins_with(
    gru: type[Any], make_part: MakePart, tmp_path: Path
) -> None:
    part, val = make_part((17, 22)), make_part((9,), seed=1)
    model = _gru(gru, part)
    train(model, part, val, CONFIG, _folder(tmp_path / "before"))
    harmful = replace(CONFIG, lr=10.0, epochs=9, patience=2)
    fit = train(model, part, val, harmful, _folder(tmp_path / "after"), trained=True)
    assert (fit.epoch, len(_lines(tmp_path / "after"))) == (0, 2)


def test_of_equal_epochs_the_first_is_best(gru: type[Any], make_part: MakePart, tmp_path: Path) -> None:
    part = make_part()
    fit = train(_gru(gru, part), part, part, replace(CONFIG, lr=1e-30), tmp_path)  # which moves no weight
    assert len({line["val_loss"] for line in _lines(tmp_path)}) == 1
    assert fit.epoch == 1


def test_seeds(gru: type[Any], make_part: MakePart, tmp_path: Path) -> None:
    part, val = make_part((17, 22)), make_part((9,), seed=1)

    def weights(name: str, seed: int) -> bytes:
        folder = _folder(tmp_path / name)
        torch.manual_seed(len(name))  # the caller's state must not matter
        config = TrainConfig(**{**CONFIG.__dict__, "seed": seed})
        train(_gru(gru, part), part, val, config, folder)
        return (folder / BEST).read_bytes()

    assert weights("one", 0) == weights("three", 0)
    assert weights("other", 1) != weights("again", 0)


def test_the_callers_random_numbers_are_left_alone(gru: type[Any], make_part: MakePart, tmp_path: Path) -> None:
    part, val = make_part(), make_part(seed=1)
    torch.manual_seed(42)
    expected = torch.rand(3)
    torch.manual_seed(42)
    train(_gru(gru, part), part, val, CONFIG, tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_trainings_in_threads_have_the_numbers_of_each_alone(
    gru: type[Any], make_part: MakePart, tmp_path: Path
) -> None:
    part = make_part()
    configs = [replace(CONFIG, epochs=2, seed=seed) for seed in (0, 1)]
    alone = [train(_gru(gru, part, c.seed), part, part, c, _folder(tmp_path / f"alone{c.seed}")) for c in configs]
    together: list[Any] = [None, None]
    second_began, first_ended = threading.Event(), threading.Event()

    def pause_second(_: dict[str, Any]) -> None:
        second_began.set()
        first_ended.wait(timeout=10)

    def second() -> None:
        folder = _folder(tmp_path / "second")
        together[1] = train(_gru(gru, part, 1), part, part, configs[1], folder, on_epoch=pause_second)

    thread = threading.Thread(target=second)

    def begin_second(_: dict[str, Any]) -> None:
        if not thread.ident:
            thread.start()
            second_began.wait(timeout=0.3)  # time for an epoch, if it is let

    folder = _folder(tmp_path / "first")
    together[0] = train(_gru(gru, part, 0), part, part, configs[0], folder, on_epoch=begin_second)
    first_ended.set()
    thread.join()
    assert [fit.val_loss for fit in together] == [fit.val_loss for fit in alone]


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_learning_rate_follows_the_schedule(
    schedule: Any, gru: type[Any], make_part: MakePart, tmp_path: Path
) -> None:
    part, val = make_part((20,)), make_part(seed=1)
    config = TrainConfig(
        epochs=4, batch=2, lr=0.01, schedule=schedule, window_s=1.0, window_stride_s=None
    )  # 4 windows, 2 steps an epoch
    train(_gru(gru, part), part, val, config, tmp_path)
    cosine = [0.01 * 0.5 * (1 + math.cos(math.pi * step / 8)) for step in (1, 3, 5, 7)]
    expected = cosine if schedule == "cosine" else [0.01] * 4
    assert [line["lr"] for line in _lines(tmp_path)] == pytest.approx(expected)
    assert [line["step"] for line in _lines(tmp_path)] == [2, 4, 6, 8]


def test_gradients_are_clipped_only_when_asked(make_part: MakePart, tmp_path: Path) -> None:
    """With plain Adam a first step has the size of lr whatever the gradient; what its moments hold tells."""
    part, val = make_part((5,)), make_part(seed=1)

    def gradient_norm(name: str, clip: float | None) -> float:
        with seeded(0, CPU):
            model = nn.Sequential(nn.Unflatten(1, (-1, part.chunk)), nn.Flatten(2), nn.Linear(part.chunk * 4, 2))
        config = TrainConfig(epochs=1, window_s=1.0, window_stride_s=None, clip_norm=clip)
        train(model, part, val, config, _folder(tmp_path / name))
        moments = read_checkpoint(tmp_path / name / LAST).optimizer
        # after one step the first moment is (1 - beta1) of the gradient
        return math.sqrt(sum((held["exp_avg"] / 0.1).square().sum().item() for held in moments.values()))

    free = gradient_norm("free", None)
    assert free > 0.1
    assert gradient_norm("clipped", 0.1) == pytest.approx(0.1, rel=1e-3)
    assert gradient_norm("loose", 10 * free) == pytest.approx(free, rel=1e-5)


def test_a_loss_that_is_no_number_stops_with_the_last_good_checkpoint(
    gru: type[Any], make_part: MakePart, tmp_path: Path
) -> None:
    part, val = make_part((17, 22)), make_part((9,), seed=1)

    class Breaks(nn.Module):
        """Right for two epochs of steps, then not a number."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = _gru(gru, part)
            self.calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += self.training
            return self.inner(x) * (math.nan if self.calls == 12 else 1.0)

    with pytest.raises(TrainingError, match=r"The loss is nan at step 12 \(epoch 3\).*episode-0") as caught:
        train(Breaks(), part, val, CONFIG, tmp_path)
    assert str(tmp_path / LAST) in str(caught.value)
    held = read_checkpoint(tmp_path / LAST)
    assert held.progress["epoch"] == 2
    assert all(torch.isfinite(tensor).all() for tensor in held.model.values())
    assert len(_lines(tmp_path)) == 2


@pytest.mark.parametrize("interval", [1, 3, 1000])
def test_losses_looked_at_now_and_then_all_count(
    interval: int, gru: type[Any], make_part: MakePart, tmp_path: Path
) -> None:
    """As on a GPU. The weights stay what they are: every target step of a window counts once in the mean."""
    part = make_part((17, 22, 3))
    config = replace(CONFIG, lr=1e-30, schedule="constant")
    windows, _ = config.windows(part)
    assert len(set(windows.lengths.tolist())) > 1
    model = gru(*part.dims, part.chunk, dropout=0.0)
    squares = []
    for start, steps in zip(windows.starts, windows.lengths, strict=True):
        inputs = part.inputs[None, start * part.chunk : (start + steps) * part.chunk]
        squares += (model(inputs)[0] - part.targets[start : start + steps]).square().flatten().tolist()

    def loop(model: nn.Module) -> _TrainingLoop:
        made = _TrainingLoop(model, config, tmp_path, part, windows, ALONE)
        made.loss_check_interval = interval
        return made

    assert loop(model).run_epoch(1) == pytest.approx(math.fsum(squares) / len(squares), rel=1e-5)
    calls = iter(range(100))
    model.register_forward_hook(lambda module, inputs, y: y * (math.nan if next(calls) == 1 else 1.0))
    with pytest.raises(TrainingError, match=r"nan at step 2 \(epoch 1\)"):
        loop(model).run_epoch(1)


def test_the_time_is_what_all_epochs_took(gru: type[Any], make_part: MakePart, tmp_path: Path) -> None:
    part, val = make_part(), make_part(seed=1)
    start = time.perf_counter()

    def stop(line: dict[str, Any]) -> None:
        if line["epoch"] == 3:
            raise Stop

    with pytest.raises(Stop):
        train(_gru(gru, part), part, val, CONFIG, tmp_path, on_epoch=stop)
    fit = train(_gru(gru, part), part, val, CONFIG, tmp_path)
    seconds = [line["seconds"] for line in _lines(tmp_path)]
    assert 0 < seconds[0] <= seconds[2] <= seconds[-1] == pytest.approx(fit.seconds, abs=1e-3)
    assert sorted(seconds) == seconds
    assert fit.seconds <= time.perf_counter() - start


def test_what_is_compiled_once_on_a_machine_is_no_time_of_the_training(
    gru: type[Any], make_part: MakePart, tmp_path: Path
) -> None:
    """The first seed would seem to be a hundred times slower than the others."""
    numba = pytest.importorskip("numba", reason="it compiles")
    from numba.core import event

    part, model = make_part(), _gru(gru, make_part())

    def compile_(module: nn.Module, inputs: Any) -> None:
        hook.remove()
        inner = numba.njit(lambda x: np.sort(x)[::-1].copy())
        numba.njit(lambda x: inner(x) + inner(x[::-1]).sum())(np.arange(5.0))

    hook = model.register_forward_pre_hook(compile_)
    start = time.perf_counter()
    with event.install_recorder("numba:compile") as recorded:
        fit = train(model, part, make_part(seed=1), CONFIG, tmp_path)
    wall = time.perf_counter() - start
    events = recorded.buffer
    assert sum(one.is_start for _, one in events) > 1  # the inner one within the outer one, which counts once
    compiled = depth = 0.0
    for (at, one), (then, _) in pairwise(events):
        depth += 1 if one.is_start else -1
        compiled += (then - at) * (depth > 0)
    assert 0 < fit.seconds <= wall - 0.9 * compiled
    assert _lines(tmp_path)[0]["seconds"] > 0


def test_of_a_team_the_leader_alone_writes(gru: type[Any], make_part: MakePart, tmp_path: Path) -> None:
    part = make_part()
    windows, _ = CONFIG.windows(part)
    for rank, written in ((1, set()), (0, {BEST, LAST, METRICS, LEDGER})):
        loop = _TrainingLoop(_gru(gru, part), CONFIG, tmp_path, part, windows, Team(rank, 2))
        assert loop.store(1, 0.5, 0.25)["val_loss"] == loop.state["best_loss"] == 0.25
        assert {path.name for path in tmp_path.iterdir()} == written


def test_a_team_does_not_pad_batches_to_few_shapes(gru: type[Any], make_part: MakePart, tmp_path: Path) -> None:
    part = make_part()
    with pytest.raises(OptionError, match=r"compile='inductor'.*eager with several processes"):
        train(_gru(gru, part), part, part, replace(CONFIG, compile="inductor"), tmp_path, team=Team(0, 2))


@pytest.mark.parametrize(
    ("others", "broken", "value"), [(0, math.nan, "nan"), (0, 1e19, "inf"), (2e18, 4e18, "inf")]
)
def test_a_loss_on_val_that_is_no_number_names_its_episodes(
    others: float, broken: float, value: str, gru: type[Any], make_part: MakePart, tmp_path: Path
) -> None:
    """In the last case no episode's loss overflows, their sum does: the largest is named."""
    part, val = make_part((17, 22)), replace(make_part((29, 8, 10), seed=1), name="val")
    val.targets[:] = others
    val.targets[29:37] = broken
    steps = math.ceil(len(CONFIG.windows(part)[0]) / CONFIG.batch)
    for trained, where in ((False, f"step {steps} (epoch 1)"), (True, "step 0 (epoch 0)")):
        with pytest.raises(TrainingError) as caught:
            train(_gru(gru, part), part, val, CONFIG, tmp_path, trained=trained)
        expected = f"The loss on val is {value} after {where}, on: episode-1. No epoch was finished."
        assert expected in str(caught.value)
        assert not (tmp_path / LAST).exists()


def test_another_configuration_is_refused(gru: type[Any], make_part: MakePart, tmp_path: Path) -> None:
    part, val = make_part(), make_part(seed=1)
    train(_gru(gru, part), part, val, CONFIG, tmp_path)
    before = (tmp_path / LAST).read_bytes()
    with pytest.raises(CheckpointError, match=r"lr was 0\.01, is 0\.5\. Use another folder"):
        train(_gru(gru, part), part, val, TrainConfig(**{**CONFIG.__dict__, "lr": 0.5}), tmp_path)
    with pytest.raises(CheckpointError, match="another model"):
        train(_hiss(gru, part), part, val, CONFIG, tmp_path)
    assert (tmp_path / LAST).read_bytes() == before
    held = read_checkpoint(tmp_path / LAST)
    del held.progress["config"]["patience"]  # as before there was any
    write_checkpoint(tmp_path / LAST, held)
    train(_gru(gru, part), part, val, CONFIG, tmp_path)
    with pytest.raises(CheckpointError, match=r"patience was None, is 3\. Use another folder"):
        train(_gru(gru, part), part, val, replace(CONFIG, patience=3), tmp_path)


def test_an_epoch_is_noted_only_once_its_checkpoint_is_kept(
    gru: type[Any], make_part: MakePart, tmp_path: Path
) -> None:
    model, part = _gru(gru, make_part()), make_part()
    model.register_forward_hook(lambda *_: (tmp_path / LAST).mkdir(exist_ok=True))  # in its place
    with pytest.raises(OSError, match="something that is no file"):
        train(model, part, part, CONFIG, tmp_path)
    assert (len(_lines(tmp_path)), count_executed([tmp_path]).epochs) == (1, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such paths")
def test_a_path_that_is_not_utf8(gru: type[Any], make_part: MakePart, tmp_path: Path) -> None:
    """What had been trained was called damaged, with the advice to delete it."""
    part, folder = make_part(), tmp_path / os.fsdecode(b"K\xe4se")
    folder.mkdir()
    model = _gru(gru, part)
    train(model, part, make_part(seed=1), CONFIG, folder)
    load_weights(folder / BEST, _gru(gru, part))
    assert read_checkpoint(folder / LAST).progress


def test_damaged_files_are_named(gru: type[Any], make_part: MakePart, tmp_path: Path) -> None:
    part, val = make_part(), make_part(seed=1)
    train(_gru(gru, part), part, val, CONFIG, tmp_path)
    assert set(load_file(tmp_path / BEST)) == set(_gru(gru, part).state_dict())
    with pytest.raises(CheckpointError, match="without the state of a training"):
        read_checkpoint(tmp_path / BEST)
    (tmp_path / LAST).write_bytes((tmp_path / LAST).read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"last\.safetensors: damaged"):
        train(_gru(gru, part), part, val, CONFIG, tmp_path)
    with pytest.raises(CheckpointError, match="no such file"):
        load_weights(tmp_path / "other.safetensors", _gru(gru, part))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("epochs", -1),
        ("patience", 0),
        ("patience", 2.5),
        ("batch", 0),
        ("lr", 0.0),
        ("lr", math.nan),
        ("clip_norm", -1.0),
        ("lr", None),
        ("lr", "1e-3"),
        ("epochs", 1.5),
        ("window_s", 0),
        ("schedule", "step"),
        ("seed", -1),
        ("seed", 2**64),
        ("seed", 0.5),
        ("lr", math.inf),
        ("clip_norm", 0),
        ("precision", "fp64"),
    ],
)
def test_bounds_of_the_configuration(option: str, value: Any) -> None:
    with pytest.raises(OptionError, match=f"^{option}="):
        TrainConfig(**{option: value})


def test_the_largest_seed_is_one_for_torch() -> None:
    with seeded(TrainConfig(seed=2**64 - 1).seed, CPU):
        assert torch.rand(1) < 1


def test_equal_numbers_are_equal_configurations() -> None:
    """Also in what a run's key is made of."""
    written = {
        json.dumps(asdict(TrainConfig(lr=lr, window_s=s, epochs=epochs)))
        for lr, s, epochs in ((1, 10, 3), (1.0, 10.0, np.int64(3)), (np.float32(1), np.int64(10), 3))
    }
    assert len(written) == 1


def test_the_protocols_windows(make_part: MakePart) -> None:
    part = make_part((12,))
    whole, length = TrainConfig(window_s=None, window_stride_s=None).windows(part)
    assert (length, whole.lengths.tolist()) == (None, [12])
    own = Part(**{**part.__dict__, "window": (6, 3)})
    windows, length = TrainConfig(window_s=None, window_stride_s=None).windows(own)
    assert (length, windows.starts.tolist()) == (6, [0, 3, 6])
    with pytest.raises(OptionError, match="window_stride_s"):
        TrainConfig(window_s=None)


def test_no_epoch_keeps_what_was_trained_before(gru: type[Any], make_part: MakePart, tmp_path: Path) -> None:
    part, config = make_part(), replace(CONFIG, epochs=0)
    model = _gru(gru, part)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(OptionError, match="epochs=0: expected at least 1 for a model that was not trained before"):
        train(model, part, part, config, tmp_path)
    fit = train(model, part, part, config, tmp_path, trained=True)
    assert (fit.epoch, fit.val_loss) == (0, validate(model, part, config.windows(part)[1]))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_changed_bit_of_weights_or_of_a_state_is_found(
    gru: type[Any], make_part: MakePart, tmp_path: Path
) -> None:
    """Models would predict, and trainings go on, with other numbers, or end in a traceback."""
    part = make_part()
    model = _gru(gru, part)
    train(model, part, part, CONFIG, tmp_path)
    for path, read in (
        (tmp_path / BEST, lambda path: load_weights(path, model)),
        (tmp_path / LAST, read_checkpoint),
    ):
        whole = path.read_bytes()
        for bit in np.random.default_rng(0).integers(0, 8 * len(whole), 100).tolist():
            changed = bytearray(whole)
            changed[bit // 8] ^= 1 << bit % 8
            path.write_bytes(changed)
            with pytest.raises(CheckpointError, match=rf"{path.name}: damaged"):
                read(path)
        path.write_bytes(whole)
        read(path)


def test_weights_of_other_programs_have_no_digest(gru: type[Any], make_part: MakePart, tmp_path: Path) -> None:
    model = _gru(gru, make_part())
    save_file(model.state_dict(), tmp_path / BEST)
    load_weights(tmp_path / BEST, model)
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(tmp_path / BEST)
