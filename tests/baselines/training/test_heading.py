"""Turning windows about the vertical: one angle for inputs and targets, by the generator given, never stored."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import csp_data
from baselines.errors import OptionError
from baselines.training.data import HeadingRotation, Part, batches, cut_windows, load_part
from baselines.training.settings import TrainConfig
from baselines.training.train import train
from csp_data import Dataset
from csp_data.authoring.template import new_source
from csp_data.normalization import Affine
from csp_data.simulate import simulate


def _turning(channels: int, first: list[int], rng: np.random.Generator) -> tuple[HeadingRotation, Affine]:
    affine = Affine(rng.normal(size=channels), rng.uniform(0.5, 3.0, size=channels))
    pairs = np.stack([first, np.add(first, 1)], axis=1)
    shift, scale = (torch.from_numpy(v[pairs]) for v in (affine.shift, affine.scale))
    return HeadingRotation(torch.from_numpy(pairs), shift, scale), affine


def _part(lengths: list[int], seed: int) -> tuple[Part, Affine, Affine]:
    """A part with features acc, gyr and their changes, and two targets, in double precision."""
    rng = np.random.default_rng(seed)
    count = np.array(lengths)
    of_inputs, inputs = _turning(12, [0, 3, 6, 9], rng)
    of_targets, targets = _turning(2, [0], rng)
    part = Part(
        name="train",
        ids=tuple(map(str, range(len(lengths)))),
        inputs=torch.from_numpy(rng.normal(size=(count.sum() * 5, 12))),
        targets=torch.from_numpy(rng.normal(size=(count.sum(), 2))),
        starts=np.cumsum(count) - count,
        lengths=count,
        times=(),
        chunk=5,
        target_hz=5.0,
        scaling=targets,
        heading=(of_inputs, of_targets),
    )
    return part, inputs, targets


def _by_hand(values: Tensor, affine: Affine, angle: float) -> np.ndarray:
    """Rotation matrices on physical vectors, triple by triple (or the one pair)."""
    physical = affine.invert(values.numpy().copy())
    matrix = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    for first in range(0, physical.shape[1], 3 if physical.shape[1] % 3 == 0 else 2):
        physical[:, first : first + 2] = physical[:, first : first + 2] @ matrix.T
    return affine.apply(physical)


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    length=st.integers(1, 6),
    size=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_inputs_and_targets_turn_by_one_angle_and_nothing_adds_up(
    lengths: list[int], length: int, size: int, seed: int
) -> None:
    part, inputs, targets = _part(lengths, seed)
    stored = part.inputs.clone(), part.targets.clone()
    windows = cut_windows(part, length)
    for epoch in range(3):
        turns, again = (torch.Generator().manual_seed(seed + epoch) for _ in range(2))
        for batch in batches(part, windows, size, angle_generator=turns):
            angles = 2 * math.pi * torch.rand(len(batch.rows), generator=again)
            for i, row in enumerate(batch.rows):
                start, steps = int(windows.starts[row]), int(windows.lengths[row])
                own = part.inputs[start * 5 : (start + steps) * 5], part.targets[start : start + steps]
                angle = float(angles[i])
                got = batch.inputs[i, : steps * 5].numpy(), batch.targets[i, :steps].numpy()
                np.testing.assert_allclose(got[0], _by_hand(own[0], inputs, angle), atol=1e-6)
                np.testing.assert_allclose(got[1], _by_hand(own[1], targets, angle), atol=1e-6)
                assert not batch.inputs[i, steps * 5 :].any()
                assert not batch.targets[i, steps:].any()
    assert torch.equal(part.inputs, stored[0])
    assert torch.equal(part.targets, stored[1])


def test_without_a_generator_or_a_heading_nothing_turns() -> None:
    part, _, _ = _part([4, 7], 0)
    windows = cut_windows(part, None)
    plain = next(batches(part, windows, 2))
    unused = torch.Generator().manual_seed(0)  # or the windows of the next epoch would come in another order
    for other in (
        next(batches(replace(part, heading=None), windows, 2, angle_generator=unused)),
        next(batches(part, windows, 2, torch.Generator().manual_seed(0))),
    ):
        order = np.argsort(other.rows)
        assert torch.equal(other.inputs[order], plain.inputs)
    assert torch.equal(unused.get_state(), torch.Generator().manual_seed(0).get_state())


def test_the_angles_fill_the_circle() -> None:
    part, _, targets = _part([1] * 4000, 1)
    turned = torch.cat(
        [b.targets[:, 0] for b in batches(part, cut_windows(part, None), 64, angle_generator=torch.Generator())]
    )
    before, after = (targets.invert(v.numpy()) for v in (part.targets, turned))
    angle = np.angle((after[:, 0] + 1j * after[:, 1]) / (before[:, 0] + 1j * before[:, 1])) % (2 * np.pi)
    counts = np.histogram(angle, bins=8, range=(0, 2 * np.pi))[0]
    assert (np.abs(counts - 500) < 5 * np.sqrt(500)).all()


def test_a_training_turns_its_windows_anew_in_every_epoch_and_those_of_val_never(tmp_path: Path) -> None:
    part, inputs, _ = _part([6], 2)
    seen: dict[bool, list[np.ndarray]] = {True: [], False: []}

    class Sees(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(2, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            seen[self.training].append(inputs.invert(x[0].numpy().copy()))
            return x[:, ::5, :2] + self.bias

    train(Sees(), part, part, TrainConfig(epochs=4, window_s=None, window_stride_s=None), tmp_path)
    stored = inputs.invert(part.inputs.numpy().copy())
    assert all(np.allclose(x, stored) for x in seen[False])
    ratios = [(x[:, 0] + 1j * x[:, 1]) / (stored[:, 0] + 1j * stored[:, 1]) for x in seen[True]]
    for ratio in ratios:
        np.testing.assert_allclose(ratio, ratio[0], atol=1e-6)
        assert abs(ratio[0]) == pytest.approx(1)
    assert len({complex(np.round(ratio[0], 3)) for ratio in ratios}) == 4


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Path:
    return simulate("ronin", tmp_path_factory.mktemp("trees") / "ronin", hours=0.02, seed=0)


@pytest.fixture(scope="module")
def phone(tree: Path) -> Dataset:
    return csp_data.load("ronin", raw=tree, protocol="paper")


def test_ronin_turns_because_its_card_says_so(phone: Dataset) -> None:
    """Features of a turned recording are the turned features of the recording, changes included."""
    assert phone.protocol.augment == "heading"
    part = load_part(phone, "train")
    assert part.heading is not None
    assert part.heading[0].pairs.tolist() == [[0, 1], [3, 4], [6, 7], [9, 10]]
    assert part.heading[1].pairs.tolist() == [[0, 1]]
    angle = torch.tensor([1.1])
    batch = next(batches(part, cut_windows(part, None), 1))
    seen = part.heading[0].apply(batch.inputs, angle)[0].numpy()
    episode, norm = phone.train[0], phone.normalization.inputs
    cos, sin = math.cos(1.1), math.sin(1.1)
    turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    rotated = np.hstack([episode.inputs[:, :3] @ turn.T, episode.inputs[:, 3:] @ turn.T])
    deltas = np.diff(rotated, axis=0, prepend=rotated[:1])
    np.testing.assert_allclose(seen, norm.apply(np.hstack([rotated, deltas])), atol=2e-4)
    lengths = [
        np.hypot(*part.physical(v)[0].T) for v in (batch.targets, part.heading[1].apply(batch.targets, angle))
    ]
    np.testing.assert_allclose(lengths[0], lengths[1], atol=1e-5)


def test_without_changes_only_the_vectors_turn(tree: Path) -> None:
    part = load_part(csp_data.load("ronin", raw=tree, protocol="paper", input_deltas=False), "train")
    assert part.heading is not None
    assert part.heading[0].pairs.tolist() == [[0, 1], [3, 4]]
    assert part.inputs.shape[1] == 6


def test_axes_that_are_not_level_are_refused(sample: Dataset) -> None:
    turning = csp_data.load("sample", augment="heading")
    with pytest.raises(OptionError, match=r"augment='heading': expected .* level axes.*of sample.*'sensor'"):
        load_part(turning, "train")
    assert load_part(sample, "train").heading is None


def test_the_prepared_file_of_others_keeps_its_name(sample: Dataset) -> None:
    """The field came later than files that people have: only where it says something is it part of the recipe."""
    assert csp_data.load("sample", augment="none").path == sample.path
    assert csp_data.load("sample", augment="heading").path != sample.path


def level_cart(folder: Path, inputs: list[str], targets: list[str]) -> Path:
    """A data set of one's own along level axes; all channels of a stream hold the same numbers."""
    new_source(folder.name, folder)
    card, reader = folder / "card.toml", folder / "reader.py"
    text = card.read_text().replace('["acc_x"]', str(inputs)).replace('["vel_x"]', str(targets))
    text = text.replace('role = "input"', 'role = "input"\nalong = "level"')
    card.write_text(text.replace("increment = true", 'along = "level"\nincrement = true'))
    text = reader.read_text().replace("t[:, 1:])", "np.repeat(t[:, 1:], len(card.stream(name).channels), axis=1))")
    reader.write_text(text.replace("return np.diff(", f"return np.repeat(1, {len(targets)}) * np.diff("))
    return folder


def test_axes_are_known_by_name(tmp_path: Path, home: Path) -> None:
    """Three pairs are no two triples."""
    feet = ["left_x", "left_y", "right_x", "right_y"]
    cart = level_cart(tmp_path / tmp_path.name, feet, ["height_z", "a_x", "a_y", "b_x", "b_y", "b_z"])
    heading = load_part(csp_data.load(cart, augment="heading"), "train").heading
    assert heading is not None
    assert heading[0].pairs.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert heading[1].pairs.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("targets", [["vel_x"], ["vel_y", "vel_x"], ["a_x", "b_y"], ["a_1", "a_y"]])
def test_channels_of_no_known_axis_are_not_turned(targets: list[str], tmp_path: Path, home: Path) -> None:
    cart = level_cart(tmp_path / tmp_path.name, ["acc_x", "acc_y"], targets)
    with pytest.raises(OptionError, match=rf"augment='heading'.*found '{targets[0]}'"):
        load_part(csp_data.load(cart, augment="heading"), "train")
