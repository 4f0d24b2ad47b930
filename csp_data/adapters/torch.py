"""Parts as map-style torch data sets, and batches of unequal length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, overload

import numpy as np

from csp_data.errors import MissingExtraError
from csp_data.normalization import features

try:
    import torch
    from torch.nn.utils.rnn import pad_sequence
except ImportError as error:
    raise MissingExtraError("to_torch()", "torch", "baselines") from error

if TYPE_CHECKING:
    from csp_data.dataset import Split

__all__ = ["Batch", "TorchDataset", "collate"]


class TorchDataset(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """The windows (or whole episodes) of a part, as pairs of float32 tensors.

    Item i is a pair ``(inputs, targets)`` of shapes (T, F) and (T / chunk, D); F is 2 C with input deltas, else C.
    The change of a window's first sample is that from the sample before the window, as in the episode. It can be
    pickled, so it works with loader workers.

    Parameters
    ----------
    split
        The part.
    normalized
        Give features (with input deltas and clipping as the protocol says) and targets, shifted and scaled;
        otherwise inputs and targets in physical units.
    """

    def __init__(self, split: Split, *, normalized: bool = True) -> None:
        self.windows = split.windows
        self.normalized = normalized

    def __len__(self) -> int:
        return len(self.windows)

    def __repr__(self) -> str:
        kind = "normalised" if self.normalized else "physical units"
        return f"<TorchDataset of {self.windows.dataset.name}: {len(self)} items, {kind}>"

    @overload
    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[torch.Tensor, torch.Tensor]]: ...
    def __getitem__(
        self, index: int | slice
    ) -> tuple[torch.Tensor, torch.Tensor] | list[tuple[torch.Tensor, torch.Tensor]]:
        """Return one window, or several."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        dataset = self.windows.dataset
        row, start, stop = self.windows.span(index)
        before = int(start > row.target_start)  # one step: what the first sample has changed from is in it
        episode = dataset.read(row, start - before, stop)
        inputs, targets = episode.inputs, episode.targets[before:]
        protocol, norm = dataset.protocol, dataset.normalization
        if self.normalized:
            inputs = norm.inputs.apply(features(inputs, deltas=protocol.input_deltas, clip=protocol.clip))
            targets = norm.targets.apply(targets)
        inputs = inputs[before * protocol.chunk :]
        return torch.from_numpy(np.ascontiguousarray(inputs)), torch.from_numpy(np.ascontiguousarray(targets))

    def loader(
        self, batch: int, *, seed: int | None = None, workers: int = 0
    ) -> torch.utils.data.DataLoader[tuple[torch.Tensor, torch.Tensor]]:
        """Return a ``DataLoader`` that gives a :class:`Batch` of padded items at a time.

        Parameters
        ----------
        batch
            Items a batch; the last may be smaller.
        seed
            Shuffle, in an order that depends on the seed and the number of epochs so far alone (not on `workers`
            or torch's global generator); ``None`` keeps the order of the file.
        workers
            Processes that read; each opens the file for itself.
        """
        generator = None if seed is None else torch.Generator().manual_seed(int(seed))
        return torch.utils.data.DataLoader(
            self,
            batch_size=batch,
            shuffle=seed is not None,
            generator=generator,
            collate_fn=collate,
            num_workers=workers,
        )


class Batch(NamedTuple):
    """Several items of a :class:`TorchDataset`, padded with zeros at the end to the longest.

    A tuple, so that what handles any batch (``pin_memory=True``, or code that moves a batch to a device) finds the
    tensors in it.
    """

    inputs: torch.Tensor
    """Shape (B, T, F), float32: one row per input sample."""
    targets: torch.Tensor
    """Shape (B, N, D), float32: one row per chunk, N = T / chunk."""
    mask: torch.Tensor
    """Shape (B, N), bool: True where a target is real, False where it is padding."""


def collate(items: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> Batch:
    """Pad items to the longest, as the ``collate_fn`` of a ``DataLoader``.

    Parameters
    ----------
    items
        Pairs ``(inputs, targets)`` as :class:`TorchDataset` gives them, of any lengths.

    Returns
    -------
    Batch
        All of them, with a mask that tells real targets from padding.
    """
    inputs, targets = [item[0] for item in items], [item[1] for item in items]
    return Batch(
        inputs=pad_sequence(inputs, batch_first=True),
        targets=pad_sequence(targets, batch_first=True),
        mask=pad_sequence([torch.ones(len(t), dtype=torch.bool) for t in targets], batch_first=True),
    )
