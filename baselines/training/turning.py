"""Turning training windows: one random rotation for inputs and targets alike (``Protocol.augment``).

Where a recording's axes could as well have been others, the recording seen along those is a recording too: along
level axes, whatever the heading at the start; along a sensor's own, however it is mounted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from baselines.errors import OptionError
from csp_data import Dataset
from csp_data.normalization import Affine

__all__ = ["Turning", "VectorRotation", "turning"]

_PLANE, _SPACE = ("_x", "_y"), ("_x", "_y", "_z")
_AXES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "heading": ("inputs and a target along level axes", ("level",), ("level",), _PLANE),
    "mounting": (
        "inputs along the sensor's axes and a target along them or along those at the start",
        ("sensor",),
        ("sensor", "start"),
        _SPACE,
    ),
}
"""What each augmentation expects: in words, of the inputs, of the target; and the axes that turn."""


@dataclass(frozen=True)
class VectorRotation:
    """How normalised channels turn, vector by vector.

    With x = (v - shift) / scale and v' = R v, the turned normalised values are
    x' = (R (scale x + shift) - shift) / scale.

    Parameters
    ----------
    vectors : Tensor, shape (P, d), int64
        Channels along the axes that turn: x and y for a turn about z (d = 2), or x, y and z (d = 3).
    shift, scale : Tensor, shape (P, d)
        Of these channels.
    """

    vectors: Tensor
    shift: Tensor
    scale: Tensor

    def apply(self, values: Tensor, matrices: Tensor) -> Tensor:
        """Return values (B, T, C) turned by a matrix (B, d, d) each; the ones given stay as they are."""
        physical = values[..., self.vectors] * self.scale + self.shift
        turned = torch.einsum("bij,btpj->btpi", matrices.to(values.dtype), physical)
        turned = ((turned - self.shift) / self.scale).flatten(-2)
        return values.index_copy(-1, self.vectors.flatten(), turned)


@dataclass(frozen=True)
class Turning:
    """How the windows of a part may turn.

    Parameters
    ----------
    inputs, targets
        Of the features and of the target channels; both by one matrix.
    """

    inputs: VectorRotation
    targets: VectorRotation

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw rotations (count, d, d) uniformly: over the circle for d = 2, over all of them for d = 3."""
        if self.targets.vectors.shape[1] == 2:
            angle = 2 * math.pi * torch.rand(count, generator=generator)
            cos, sin = angle.cos(), angle.sin()
            return torch.stack([cos, -sin, sin, cos], dim=-1).view(count, 2, 2)
        # normal numbers point everywhere alike, so the unit quaternion made of four is uniform (Marsaglia 1972)
        w, x, y, z = torch.nn.functional.normalize(torch.randn(count, 4, generator=generator)).unbind(-1)
        entries = [
            *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
            *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
            *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
        ]
        return torch.stack(entries, dim=-1).view(count, 3, 3)


def turning(dataset: Dataset, device: torch.device | str = "cpu", augment: str | None = None) -> Turning | None:
    """Return how a data set's windows turn, or None if they do not.

    Parameters
    ----------
    dataset
        What is turned.
    device
        Where its windows are.
    augment
        As :attr:`csp_data.Protocol.augment`, by default that of the data set's protocol.

    Raises
    ------
    OptionError
        If the card does not say that all axes turn together, or channels are along none of x, y and z.
    """
    protocol, norm = dataset.protocol, dataset.normalization
    augment = protocol.augment if augment is None else augment
    if augment == "none":
        return None
    streams, target = dataset.card.inputs(protocol.inputs), dataset.card.target(protocol.target)
    expected, of_inputs, of_target, axes = _AXES[augment]
    along = [
        *((stream.name, stream.along, of_inputs) for stream in streams),
        (target.name, target.along, of_target),
    ]
    for name, axes_of, allowed in along:
        if axes_of not in allowed:
            found = f"{name!r} of {dataset.name} is along {axes_of!r}"
            raise OptionError("augment", augment, f"{expected}, {found}", "Choose augment='none'.")
    inputs = _vectors(dataset.channels.names, axes, augment)
    if protocol.input_deltas:  # which have the channels' order
        inputs = np.concatenate([inputs, inputs + len(dataset.channels.names)])
    targets = _vectors(dataset.targets.names, axes, augment)
    return Turning(_rotation(inputs, norm.inputs, device), _rotation(targets, norm.targets, device))


def _vectors(names: Sequence[str], axes: tuple[str, ...], augment: str) -> np.ndarray:
    """Return the channels (P, d) of each vector, by the ends of their names, one axis after the other.

    Raises
    ------
    OptionError
        If a channel belongs to no vector, nor lies along a z that does not turn.
    """
    first = [
        i
        for i, name in enumerate(names)
        if name.endswith("_x") and list(names[i : i + len(axes)]) == [name[:-2] + axis for axis in axes]
    ]
    vectors = np.add.outer(first, range(len(axes))).astype(np.int64).reshape(-1, len(axes))
    for name in (name for i, name in enumerate(names) if i not in vectors):
        if axes == _SPACE or not name.endswith("_z"):
            both = "..._x, ..._y (one after the other) and ..._z"
            expected = f"channels named {both if axes == _PLANE else '..._x, ..._y, ..._z (one after the other)'}"
            raise OptionError("augment", augment, f"{expected}, found {name!r}", "Choose augment='none'.")
    return vectors


def _rotation(vectors: np.ndarray, affine: Affine, device: torch.device | str) -> VectorRotation:
    shift, scale = (
        torch.from_numpy(values[vectors]).float().to(device) for values in (affine.shift, affine.scale)
    )
    return VectorRotation(torch.from_numpy(vectors).to(device), shift, scale)
