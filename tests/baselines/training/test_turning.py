"""Turning windows: one rotation for inputs and targets, by the generator given, never stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

import csp_data
from baselines.errors import OptionError
from baselines.training.data import Part, batches, cut_windows, load_part
from baselines.training.settings import TrainConfig
from baselines.training.train import train
from baselines.training.turning import Turning, VectorRotation
from csp_data import Dataset
from csp_data.authoring.template import new_source
from csp_data.normalization import Affine
from csp_data.simulate import simulate


def _rotation(
    channels: int, size: int, first: list[int], rng: np.random.Generator
) -> tuple[VectorRotation, Affine]:
    affine = Affine(rng.normal(size=channels), rng.uniform(0.5, 3.0, size=channels))
    vectors = np.add.outer(first, range(size))
    shift, scale = (torch.from_numpy(v[vectors]) for v in (affine.shift, affine.scale))
    return VectorRotation(torch.from_numpy(vectors), shift, scale), affine


def _part(lengths: list[int], seed: int, size: int) -> tuple[Part, Affine, Affine]:
    """A part with features acc, gyr and their changes, and two or three targets, in double precision."""
    rng = np.random.default_rng(seed)
    count = np.array(lengths)
    of_inputs, inputs = _rotation(12, size, [0, 3, 6, 9], rng)
    of_targets, targets = _rotation(size, size, [0], rng)
    part = Part(
        name="train",
        ids=tuple(map(str, range(len(lengths)))),
        inputs=torch.from_numpy(rng.normal(size=(count.sum() * 5, 12))),
        targets=torch.from_numpy(rng.normal(size=(count.sum(), size))),
        starts=np.cumsum(count) - count,
        lengths=count,
        times=(),
        chunk=5,
        target_hz=5.0,
        scaling=targets,
        turning=Turning(of_inputs, of_targets),
    )
    return part, inputs, targets


def _turned(values: Tensor, affine: Affine, matrix: np.ndarray) -> np.ndarray:
    """Rotation matrices on physical vectors, triple by triple (or the one pair)."""
    physical = affine.invert(values.numpy().copy())
    for first in range(0, physical.shape[1], 3 if physical.shape[1] % 3 == 0 else 2):
        columns = slice(first, first + len(matrix))
        physical[:, columns] = physical[:, columns] @ matrix.T
    return affine.apply(physical)


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    length=st.integers(1, 6),
    batch_size=st.integers(1, 5),
    seed=st.integers(0, 1000),
    size=st.sampled_from([2, 3]),
)
def test_inputs_and_targets_turn_by_one_rotation_and_nothing_adds_up(
    lengths: list[int], length: int, batch_size: int, seed: int, size: int
) -> None:
    part, inputs, targets = _part(lengths, seed, size)
    assert part.turning is not None
    stored = part.inputs.clone(), part.targets.clone()
    windows = cut_windows(part, length)
    for epoch in range(3):
        turns, again = (torch.Generator().manual_seed(seed + epoch) for _ in range(2))
        for batch in batches(part, windows, batch_size, turns=turns):
            matrices = part.turning.draw(len(batch.rows), again).numpy()
            for i, row in enumerate(batch.rows):
                start, steps = int(windows.starts[row]), int(windows.lengths[row])
                own = part.inputs[start * 5 : (start + steps) * 5], part.targets[start : start + steps]
                got = batch.inputs[i, : steps * 5].numpy(), batch.targets[i, :steps].numpy()
                np.testing.assert_allclose(got[0], _turned(own[0], inputs, matrices[i]), atol=1e-6)
                np.testing.assert_allclose(got[1], _turned(own[1], targets, matrices[i]), atol=1e-6)
                assert not batch.inputs[i, steps * 5 :].any()
                assert not batch.targets[i, steps:].any()
    assert torch.equal(part.inputs, stored[0])
    assert torch.equal(part.targets, stored[1])


def test_without_a_generator_or_a_turning_nothing_turns() -> None:
    part, _, _ = _part([4, 7], 0, 2)
    windows = cut_windows(part, None)
    plain = next(batches(part, windows, 2))
    unused = torch.Generator().manual_seed(0)  # or the windows of the next epoch would come in another order
    for other in (
        next(batches(replace(part, turning=None), windows, 2, turns=unused)),
        next(batches(part, windows, 2, torch.Generator().manual_seed(0))),
    ):
        order = np.argsort(other.rows)
        assert torch.equal(other.inputs[order], plain.inputs)
    assert torch.equal(unused.get_state(), torch.Generator().manual_seed(0).get_state())


def _turned_targets(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Physical targets of 4000 windows of one step each, before and after."""
    part, _, targets = _part([1] * 4000, 1, size)
    turned = torch.cat(
        [b.targets[:, 0] for b in batches(part, cut_windows(part, None), 64, turns=torch.Generator())]
    )
    return targets.invert(part.targets.numpy()), targets.invert(turned.numpy())


def test_the_headings_fill_the_circle() -> None:
    before, after = _turned_targets(2)
    angle = np.angle((after[:, 0] + 1j * after[:, 1]) / (before[:, 0] + 1j * before[:, 1])) % (2 * np.pi)
    counts = np.histogram(angle, bins=8, range=(0, 2 * np.pi))[0]
    assert (np.abs(counts - 500) < 5 * np.sqrt(500)).all()


def test_the_mountings_fill_the_sphere_and_are_no_mirrors() -> None:
    """Archimedes: a coordinate of a point that is uniform on the sphere is uniform; so is the trace's own law."""
    before, after = _turned_targets(3)
    np.testing.assert_allclose(np.linalg.norm(after, axis=1), np.linalg.norm(before, axis=1), atol=1e-5)
    for axis in after.T / np.linalg.norm(after, axis=1):
        counts = np.histogram(axis, bins=8, range=(-1, 1))[0]
        assert (np.abs(counts - 500) < 5 * np.sqrt(500)).all()
    part, _, _ = _part([1], 0, 3)
    assert part.turning is not None
    matrices = part.turning.draw(4000, torch.Generator().manual_seed(1)).double().numpy()
    np.testing.assert_allclose(matrices @ matrices.transpose(0, 2, 1), np.tile(np.eye(3), (4000, 1, 1)), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(matrices), 1, atol=1e-5)
    turn = np.arccos(np.clip((np.trace(matrices, axis1=1, axis2=2) - 1) / 2, -1, 1))  # density (1 - cos) / pi
    share = (turn - np.sin(turn)) / np.pi
    counts = np.histogram(share, bins=8, range=(0, 1))[0]
    assert (np.abs(counts - 500) < 5 * np.sqrt(500)).all()


def test_a_training_turns_its_windows_anew_in_every_epoch_and_those_of_val_never(tmp_path: Path) -> None:
    part, inputs, _ = _part([6], 2, 2)
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
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate("ronin", tmp_path_factory.mktemp("trees") / "ronin", hours=0.02, seed=0)


@pytest.fixture(scope="module")
def phone(tree: Path) -> Dataset:
    return csp_data.load("ronin", raw=tree, protocol="paper")


def _check_turned(dataset: Dataset, turn: np.ndarray, size: int) -> None:
    """Features and targets of a turned recording are its turned features and targets, changes included."""
    part = load_part(dataset, "train")
    assert part.turning is not None
    batch, matrix = next(batches(part, cut_windows(part, None), 1)), torch.from_numpy(turn[None, :size, :size])
    episode, norm = dataset.train[0], dataset.normalization
    rotated = np.hstack([episode.inputs[:, :3] @ turn.T, episode.inputs[:, 3:] @ turn.T])
    deltas = np.diff(rotated, axis=0, prepend=rotated[:1])
    seen = part.turning.inputs.apply(batch.inputs, matrix)[0].numpy()
    np.testing.assert_allclose(seen, norm.inputs.apply(np.hstack([rotated, deltas])), atol=2e-4)
    seen = part.turning.targets.apply(batch.targets, matrix)[0].numpy()
    np.testing.assert_allclose(seen, norm.targets.apply(episode.targets @ turn[:size, :size].T), atol=2e-4)


def test_ronin_turns_because_its_card_says_so(phone: Dataset) -> None:
    assert phone.protocol.augment == "heading"
    part = load_part(phone, "train")
    assert part.turning is not None
    assert part.turning.inputs.vectors.tolist() == [[0, 1], [3, 4], [6, 7], [9, 10]]
    assert part.turning.targets.vectors.tolist() == [[0, 1]]
    _check_turned(phone, Rotation.from_rotvec([0, 0, 1.1]).as_matrix(), 2)


@pytest.mark.parametrize("target", ["velocity", "velocity-in-start-frame"])
def test_a_sensor_could_have_been_mounted_otherwise(target: str) -> None:
    """Also along the axes at the start: they are the sensor's own."""
    mounted = csp_data.load("sample", augment="mounting", target=target)
    part = load_part(mounted, "train")
    assert part.turning is not None
    assert part.turning.inputs.vectors.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert part.turning.targets.vectors.tolist() == [[0, 1, 2]]
    _check_turned(mounted, Rotation.from_rotvec([0.3, -1.2, 0.7]).as_matrix(), 3)


def test_without_changes_only_the_vectors_turn(tree: Path) -> None:
    part = load_part(csp_data.load("ronin", raw=tree, protocol="paper", input_deltas=False), "train")
    assert part.turning is not None
    assert part.turning.inputs.vectors.tolist() == [[0, 1], [3, 4]]
    assert part.inputs.shape[1] == 6


def test_axes_that_do_not_turn_so_are_refused(sample: Dataset, tree: Path) -> None:
    turning = csp_data.load("sample", augment="heading")
    with pytest.raises(OptionError, match=r"augment='heading': expected .* level axes.*of sample.*'sensor'"):
        load_part(turning, "train")
    with pytest.raises(OptionError, match=r"augment='mounting': expected .* sensor's axes.*of ronin.*'level'"):
        load_part(csp_data.load("ronin", raw=tree, augment="mounting"), "train")
    assert load_part(sample, "train").turning is None


def test_the_prepared_file_of_others_keeps_its_name(sample: Dataset) -> None:
    """The field came later than files that people have: only where it says something is it part of the recipe."""
    assert csp_data.load("sample", augment="none").path == sample.path
    assert csp_data.load("sample", augment="heading").path != sample.path


def cart(folder: Path, inputs: list[str], targets: list[str], along: str = "level") -> Path:
    """A data set of one's own along such axes; all channels of a stream hold the same numbers."""
    new_source(folder.name, folder)
    card, reader = folder / "card.toml", folder / "reader.py"
    text = card.read_text().replace('["acc_x"]', str(inputs)).replace('["vel_x"]', str(targets))
    text = text.replace('role = "input"', f'role = "input"\nalong = "{along}"')
    card.write_text(text.replace("increment = true", f'along = "{along}"\nincrement = true'))
    files = {"accelerometer": "acc_x", "position": "pos_x"}  # one column in each, which all channels repeat
    text = reader.read_text().replace("*card.stream(name).channels", f"{files}[name]")
    text = text.replace("t[:, 1:])", "np.repeat(t[:, 1:], len(card.stream(name).channels), axis=1))")
    reader.write_text(text.replace("return np.diff(", f"return np.repeat(1, {len(targets)}) * np.diff("))
    return folder


def test_axes_are_known_by_name(tmp_path: Path) -> None:
    """Three pairs are no two triples."""
    feet = ["left_x", "left_y", "right_x", "right_y"]
    source = cart(tmp_path / tmp_path.name, feet, ["height_z", "a_x", "a_y", "b_x", "b_y", "b_z"])
    turning = load_part(csp_data.load(source, augment="heading"), "train").turning
    assert turning is not None
    assert turning.inputs.vectors.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert turning.targets.vectors.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("targets", [["vel_x"], ["vel_y", "vel_x"], ["a_x", "b_y"], ["a_1", "a_y"]])
def test_channels_of_no_known_axis_are_not_turned(targets: list[str], tmp_path: Path) -> None:
    source = cart(tmp_path / tmp_path.name, ["acc_x", "acc_y"], targets)
    with pytest.raises(OptionError, match=rf"augment='heading'.*found '{targets[0]}'"):
        load_part(csp_data.load(source, augment="heading"), "train")


@pytest.mark.parametrize("channels", [["v_x", "v_y"], ["v_x", "v_z", "v_y"], ["v_x", "v_y", "w_z"]])
def test_only_whole_vectors_turn_in_space(channels: list[str], tmp_path: Path) -> None:
    source = cart(tmp_path / tmp_path.name, ["acc_x", "acc_y", "acc_z"], channels, along="sensor")
    with pytest.raises(OptionError, match=r"augment='mounting'.*one after the other\), found 'v_x'"):
        load_part(csp_data.load(source, augment="mounting"), "train")
