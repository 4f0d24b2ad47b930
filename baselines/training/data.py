"""A part of a data set on a device, and the windows cut from it.

Everything a model sees is made once: features of whole episodes (deltas before any cut), shifted and scaled.
Windows are index tables over it, batches are gathered from it on the device; there are no loader processes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from baselines.errors import OptionError
from csp_data import Dataset
from csp_data.normalization import Affine, features

__all__ = [
    "Batch",
    "Part",
    "Windows",
    "batches",
    "bucket_length",
    "cut_windows",
    "load_part",
    "normalized_features",
    "pad_batch",
]


@dataclass(frozen=True)
class HeadingRotation:
    """How normalised values turn about the vertical: y = A(angle) x + b(angle), pair by pair of channels.

    With x = (v - shift) / scale and v' = R(angle) v, the turned normalised values are
    x' = (R(angle) (scale x + shift) - shift) / scale.

    Parameters
    ----------
    pairs : Tensor, shape (P, 2), int64
        Channels along the two horizontal axes, x before y, z up.
    shift, scale : Tensor, shape (P, 2)
        Of these channels.
    """

    pairs: Tensor
    shift: Tensor
    scale: Tensor

    def apply(self, values: Tensor, angle: Tensor) -> Tensor:
        """Return values (B, T, C) turned by an angle (B,) in rad each; the ones given stay as they are."""
        physical = values[..., self.pairs] * self.scale + self.shift
        cos, sin = (table.view(-1, 1, 1).to(values.dtype) for table in (angle.cos(), angle.sin()))
        x, y = physical.unbind(dim=-1)
        turned = torch.stack([cos * x - sin * y, sin * x + cos * y], dim=-1)
        turned = ((turned - self.shift) / self.scale).flatten(-2)
        return values.index_copy(-1, self.pairs.flatten(), turned)


@dataclass(frozen=True)
class Part:
    """A part of a data set, normalised, all episodes end to end.

    Parameters
    ----------
    name
        ``"train"``, ``"val"`` or ``"test"``.
    ids
        Id of each of the E episodes.
    inputs : Tensor, shape (N * chunk, F), float32
        Features, shifted and scaled.
    targets : Tensor, shape (N, D), float32
        Shifted and scaled.
    starts, lengths : arrays, shape (E,), int64
        First target step and number of target steps of each episode.
    times : tuple of arrays, shape (lengths[e],)
        End of each target step on the recording's clock, in seconds.
    chunk
        Input samples per target step.
    target_hz
        Target steps per second.
    scaling
        What turned physical targets into normalised ones.
    window
        Length and stride in target steps of the protocol's own windows, where it has some.
    heading
        How inputs and targets turn about the vertical, where the protocol has its trainings do so.
    """

    name: str
    ids: tuple[str, ...]
    inputs: Tensor
    targets: Tensor
    starts: np.ndarray
    lengths: np.ndarray
    times: tuple[np.ndarray, ...]
    chunk: int
    target_hz: float
    scaling: Affine
    window: tuple[int, int] | None = None
    heading: tuple[HeadingRotation, HeadingRotation] | None = None

    @property
    def dims(self) -> tuple[int, int]:
        """Number of features and of target channels, what ``baselines.build`` needs."""
        return self.inputs.shape[1], self.targets.shape[1]

    def physical(self, targets: Tensor) -> np.ndarray:
        """Turn normalised targets (..., D) into physical units, float64."""
        return self.scaling.invert(targets.detach().cpu().numpy().astype(np.float64))


@dataclass(frozen=True)
class Windows:
    """Pieces of episodes, as indices into a :class:`Part`.

    Parameters
    ----------
    episodes, starts, lengths : arrays, shape (W,), int64
        Episode, first target step (of the part) and number of target steps of each window.
    """

    episodes: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.episodes)


@dataclass(frozen=True)
class Batch:
    """Several windows, padded with zeros at the end to the longest.

    Parameters
    ----------
    inputs : Tensor, shape (B, T * chunk, F)
    targets : Tensor, shape (B, T, D)
    mask : Tensor, shape (B, T), bool
        True where a target is real.
    rows : array, shape (B,)
        Which windows these are.
    """

    inputs: Tensor
    targets: Tensor
    mask: Tensor
    rows: np.ndarray


def load_part(dataset: Dataset, name: str, device: torch.device | str = "cpu") -> Part:
    """Read a part, make its features episode by episode, and put it on a device.

    Parameters
    ----------
    dataset
        What ``csp_data.load`` returned.
    name
        ``"train"``, ``"val"`` or ``"test"``.
    device
        Where batches are needed.
    """
    protocol, scaling = dataset.protocol, dataset.normalization.targets
    split = dataset.split(name)
    lengths = np.array([row.target_stop - row.target_start for row in split.rows], dtype=np.int64)
    starts = np.cumsum(lengths) - lengths
    # filled episode by episode: joining them afterwards would take the memory twice
    total, widths = int(lengths.sum()), [len(affine.shift) for affine in vars(dataset.normalization).values()]
    inputs = np.empty((total * protocol.chunk, widths[0]), dtype=np.float32)
    targets = np.empty((total, widths[1]), dtype=np.float32)
    times = []
    for episode, start, stop in zip(split, starts, starts + lengths, strict=True):
        inputs[start * protocol.chunk : stop * protocol.chunk] = normalized_features(dataset, episode.inputs)
        targets[start:stop] = scaling.apply(episode.targets)
        times.append(episode.target_time)
    return Part(
        name=name,
        ids=tuple(row.id for row in split.rows),
        inputs=torch.from_numpy(inputs).to(device),
        targets=torch.from_numpy(targets).to(device),
        starts=starts,
        lengths=lengths,
        times=tuple(times),
        chunk=protocol.chunk,
        target_hz=protocol.target_hz,
        scaling=scaling,
        window=protocol.window.steps(protocol.target_hz) if protocol.window else None,
        heading=_heading(dataset, device) if protocol.augment == "heading" else None,
    )


def normalized_features(dataset: Dataset, inputs: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Return what a model sees of the inputs (T, C) of one episode: features (T, F), shifted and scaled."""
    protocol = dataset.protocol
    made = features(inputs, deltas=protocol.input_deltas, clip=protocol.clip)
    return dataset.normalization.inputs.apply(made)


def _heading(dataset: Dataset, device: torch.device | str) -> tuple[HeadingRotation, HeadingRotation]:
    """Return how features and targets turn about the vertical, by what the card says of their axes."""
    protocol, norm = dataset.protocol, dataset.normalization
    target = dataset.card.target(protocol.target)
    streams = dataset.card.inputs(protocol.inputs)
    for name, along in (*((stream.name, stream.along) for stream in streams), (target.name, target.along)):
        if along != "level":
            raise OptionError(
                "augment",
                protocol.augment,
                f"inputs and a target along level axes, {name!r} of {dataset.name} is along {along!r}",
                "Choose augment='none'.",
            )
    input_x = _x_channels(dataset.channels.names)
    if protocol.input_deltas:  # which have the channels' order
        input_x = np.concatenate([input_x, input_x + len(dataset.channels.names)])
    return (
        _heading_rotation(input_x, norm.inputs, device),
        _heading_rotation(_x_channels(dataset.targets.names), norm.targets, device),
    )


def _x_channels(names: Sequence[str]) -> np.ndarray:
    """Return which channels are along x and followed by theirs along y, by the ends of their names.

    Raises
    ------
    OptionError
        If a channel is neither one of such a pair nor along z.
    """
    x = [i for i, name in enumerate(names[:-1]) if name.endswith("_x") and names[i + 1] == f"{name[:-2]}_y"]
    turned = {*x, *(i + 1 for i in x)}
    for i, name in enumerate(names):
        if i not in turned and not name.endswith("_z"):
            expected = "channels named ..._x, ..._y (one after the other) and ..._z"
            raise OptionError("augment", "heading", f"{expected}, found {name!r}", "Choose augment='none'.")
    return np.array(x, dtype=np.int64)


def _heading_rotation(x_channels: np.ndarray, affine: Affine, device: torch.device | str) -> HeadingRotation:
    """Return the rotation of pairs of channels that begin at ``x_channels``, each followed by its y."""
    pairs = np.stack([x_channels, x_channels + 1], axis=1)
    shift, scale = (torch.from_numpy(values[pairs]).float().to(device) for values in (affine.shift, affine.scale))
    return HeadingRotation(torch.from_numpy(pairs).to(device), shift, scale)


def cut_windows(part: Part, length: int | None, stride: int | None = None) -> Windows:
    """Cut all episodes into windows that together cover every step.

    Parameters
    ----------
    part
        What to cut.
    length
        Target steps of a window; ``None`` for whole episodes.
    stride
        Steps from the start of one window to that of the next; by default the length (consecutive windows).

    Returns
    -------
    Windows
        In the episodes' order. The last window of an episode is as long as what is left for it.

    Raises
    ------
    OptionError
        If the stride would leave steps out.
    """
    if length is None:
        return Windows(np.arange(len(part.ids)), part.starts, part.lengths)
    stride = length if stride is None else stride
    if stride > length:
        raise OptionError(
            "window_stride_s",
            stride / part.target_hz,
            f"at most window_s={length / part.target_hz:g}, or steps between windows would never be seen",
        )
    rows = [
        (episode, start + offset, min(length, steps - offset))
        for episode, (start, steps) in enumerate(zip(part.starts, part.lengths, strict=True))
        for offset in range(0, max(1, steps - length + stride), stride)
    ]
    return Windows(*np.array(rows, dtype=np.int64).reshape(-1, 3).T)


def batches(
    part: Part,
    windows: Windows,
    size: int,
    generator: torch.Generator | None = None,
    *,
    angle_generator: torch.Generator | None = None,
) -> Iterator[Batch]:
    """Gather batches of windows.

    Parameters
    ----------
    part, windows
        From :func:`load_part` and :func:`cut_windows`.
    size
        Windows in a batch; the last one may be smaller.
    generator
        Shuffles the windows; ``None`` keeps their order.
    angle_generator
        Draws the angle, uniform over the circle, by which each window's inputs and targets are turned about the
        vertical, if the part has a heading; ``None`` turns nothing. The part stays as it is: turns never add up.
    """
    count = len(windows)
    order = np.arange(count) if generator is None else torch.randperm(count, generator=generator).numpy()
    for first in range(0, count, size):
        rows = order[first : first + size]
        angles = None
        if angle_generator is not None and part.heading is not None:
            angles = (2 * math.pi * torch.rand(len(rows), generator=angle_generator)).to(part.inputs.device)
        yield _gather(part, windows, rows, angles)


def _gather(part: Part, windows: Windows, rows: np.ndarray, angles: Tensor | None = None) -> Batch:
    device = part.inputs.device
    # a GPU is sent two numbers a window and need not be waited for; all indices are made there
    bounds = torch.from_numpy(np.stack((windows.starts[rows], windows.lengths[rows]))).to(device)
    starts, lengths = bounds.unsqueeze(-1)
    step = torch.arange(int(windows.lengths[rows].max()), device=device)
    mask = step < lengths
    # padded steps point at the window's first one, and are zeroed
    index = torch.where(mask, starts + step, starts)
    samples = (index.unsqueeze(-1) * part.chunk + torch.arange(part.chunk, device=device)).flatten(1)
    inputs, targets = part.inputs[samples], part.targets[index]
    if angles is not None and part.heading is not None:
        input_rotation, target_rotation = part.heading
        inputs, targets = input_rotation.apply(inputs, angles), target_rotation.apply(targets, angles)
    return Batch(
        inputs=inputs * mask.repeat_interleave(part.chunk, dim=1).unsqueeze(-1),
        targets=targets * mask.unsqueeze(-1),
        mask=mask,
        rows=rows,
    )


def pad_batch(batch: Batch, rows: int, steps: int) -> Batch:
    """Pad a batch with zeros, and with steps that do not count, to ``rows`` windows of ``steps`` target steps."""
    extra_rows, extra_steps = rows - len(batch.mask), steps - batch.mask.shape[1]
    chunk = batch.inputs.shape[1] // batch.mask.shape[1]
    return Batch(
        inputs=F.pad(batch.inputs, (0, 0, 0, extra_steps * chunk, 0, extra_rows)),
        targets=F.pad(batch.targets, (0, 0, 0, extra_steps, 0, extra_rows)),
        mask=F.pad(batch.mask, (0, extra_steps, 0, extra_rows)),
        rows=batch.rows,
    )


def bucket_length(steps: int, longest: int, classes: int = 4) -> int:
    """Round a number of target steps up to one of ``classes`` lengths, the last of them ``longest``."""
    return next(n for n in (-(-longest * k // classes) for k in range(1, classes + 1)) if n >= steps)
