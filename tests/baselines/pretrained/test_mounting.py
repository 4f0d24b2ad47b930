"""The error where the sensor is mounted otherwise, of models of which it is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import csp_data
from baselines.pretrained.mounting import mounting_error
from baselines.training.data import load_part
from baselines.training.evaluate import predict
from csp_data import Dataset
from csp_data.normalization import Affine


class Physical(nn.Module):
    """A velocity of the accelerometer's values, or a constant one, in physical units inside."""

    def __init__(self, dataset: Dataset, factor: float, constant: list[float]) -> None:
        super().__init__()
        self.factor, self.constant, self.chunk = factor, torch.tensor(constant), dataset.protocol.chunk
        self.inputs, self.targets = (self._tensors(affine) for affine in vars(dataset.normalization).values())

    @staticmethod
    def _tensors(affine: Affine) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(affine.shift).float()[:3], torch.from_numpy(affine.scale).float()[:3]

    def forward(self, x: Tensor) -> Tensor:
        acc = x[:, self.chunk - 1 :: self.chunk, :3] * self.inputs[1] + self.inputs[0]
        return (self.factor * acc + self.constant - self.targets[0]) / self.targets[1]


def test_a_model_that_turns_with_its_sensor_has_the_same_error(sample: Dataset) -> None:
    model = Physical(sample, 0.03, [0.0, 0.0, 0.0])
    recorded = np.concatenate([e.pred - e.true for e in predict(model, load_part(sample, "val"), 40)])
    assert mounting_error(model, sample, "val", 40) == pytest.approx(np.square(recorded).mean(), rel=1e-4)


def test_a_constant_velocity_is_right_nowhere(sample: Dataset) -> None:
    """Over all rotations the true velocity is 0 on average: |v|^2 and |c|^2 add up."""
    model = Physical(sample, 0.0, [0.0, 0.0, 2.0])
    squares = np.concatenate([episode.targets for episode in sample.val]).astype(float) ** 2
    expected = (squares.sum(axis=1).mean() + 4) / 3
    assert mounting_error(model, sample, "val", None) == pytest.approx(expected, rel=0.05)


def test_there_is_none_where_the_axes_are_not_known(sample: Dataset) -> None:
    magnetic = csp_data.load("sample", inputs=("accelerometer", "magnetometer"))
    assert mounting_error(Physical(sample, 0.0, [0.0, 0.0, 0.0]), magnetic, "test", None) is None
