"""A part of a data set on a device, and the windows cut from it.

Everything a model sees is made once: features of whole episodes (deltas before any cut), shifted and scaled.
Windows are index tables over it, batches are gathered from it on the device; there are no loader processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from baselines.errors import OptionError
from baselines.training.turning import Turning, turning
from csp_data import Dataset
from csp_data.dataset import check_dataset
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
    "turned",
]


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
    turning
        How inputs and targets turn together, where the protocol has its trainings do so.
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
    turning: Turning | None = None

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

    Raises
    ------
    UnknownNameError
        If there is no such part.
    """
    check_dataset(dataset)
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
        turning=turning(dataset, device),
    )


def normalized_features(dataset: Dataset, inputs: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Return what a model sees of the inputs (T, C) of one episode: features (T, F), shifted and scaled."""
    protocol = dataset.protocol
    made = features(inputs, deltas=protocol.input_deltas, clip=protocol.clip)
    return dataset.normalization.inputs.apply(made)


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
    turns: torch.Generator | None = None,
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
    turns
        Draws the rotation by which each window's inputs and targets are turned, if the part's windows turn;
        ``None`` turns nothing. The part stays as it is: turns never add up.
    """
    count = len(windows)
    order = np.arange(count) if generator is None else torch.randperm(count, generator=generator).numpy()
    for first in range(0, count, size):
        rows = order[first : first + size]
        rotations = None
        if turns is not None and part.turning is not None:
            rotations = part.turning.draw(len(rows), turns).to(part.inputs.device)
        yield _gather(part, windows, rows, rotations)


def _gather(part: Part, windows: Windows, rows: np.ndarray, rotations: Tensor | None = None) -> Batch:
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
    if rotations is not None and part.turning is not None:
        inputs = part.turning.inputs.apply(inputs, rotations)
        targets = part.turning.targets.apply(targets, rotations)
    return Batch(
        inputs=inputs * mask.repeat_interleave(part.chunk, dim=1).unsqueeze(-1),
        targets=targets * mask.unsqueeze(-1),
        mask=mask,
        rows=rows,
    )


def turned(part: Part, turning: Turning, generator: torch.Generator) -> Part:
    """Return a part whose episodes have each been turned, inputs and targets alike, by a rotation of their own."""
    inputs, targets = torch.empty_like(part.inputs), torch.empty_like(part.targets)
    rotations = turning.draw(len(part.ids), generator).to(part.inputs.device).unsqueeze(1)
    for rotation, start, steps in zip(rotations, part.starts, part.lengths, strict=True):
        rows, samples = slice(start, start + steps), slice(start * part.chunk, (start + steps) * part.chunk)
        inputs[samples] = turning.inputs.apply(part.inputs[None, samples], rotation)[0]
        targets[rows] = turning.targets.apply(part.targets[None, rows], rotation)[0]
    return replace(part, inputs=inputs, targets=targets)


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
