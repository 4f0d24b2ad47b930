"""A stack of layers packed for the compiled loops: weights once, shared by all windows, and the state of one."""

from __future__ import annotations

import copy
import mmap
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

__all__ = ["Floats32", "Norms", "Stack", "f32", "in_large_pages", "norms", "parameters", "stacked"]

Floats32 = npt.NDArray[np.float32]
Norms = tuple[Floats32, Floats32, np.float32]
"""Weights and biases of LayerNorms (K, H), and their epsilon."""

LARGE_PAGE = 2 << 20
"""Bytes of a large page on most machines with 4 KiB pages."""


class Stack(ABC):
    """A stack of layers with its state; copies made by :meth:`fresh` share the weights.

    Attributes
    ----------
    state
        Arrays that are changed in place, by name.
    growing
        Names of the entries of ``state`` whose second axis is time and grows.
    """

    state: dict[str, npt.NDArray[Any]]
    growing: frozenset[str] = frozenset()

    @abstractmethod
    def step(self, x: Floats32) -> Floats32:
        """Take a sample (in_dim,), and return the output (out_dim,), which may overwrite it.

        The next sample overwrites the output.
        """

    def skip(self, x: Floats32) -> None:
        """Take a sample whose output nobody reads: what only makes the output can be left out."""
        self.step(x)

    def fresh(self) -> Stack:
        """Return a stack with the same weights and a state of its own, at its start."""
        clone = copy.copy(self)
        clone.state = {name: np.zeros_like(array) for name, array in self.state.items()}
        return clone

    def reset(self) -> None:
        """Return to the state before the first sample."""
        for array in self.state.values():
            array[...] = 0


def f32(tensor: Tensor) -> Floats32:
    """Return a tensor as an array of float32, in large pages if it is large."""
    return in_large_pages(np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32))


def in_large_pages(array: Floats32) -> Floats32:
    """Return a copy in pages of 2 MiB where the system has them; the array itself if it is small, or has none.

    Between two samples of a sensor a core forgets where pages lie. Weights of 3 MB are 770 small pages to look up
    again, a quarter of the time of a prediction.
    """
    if array.nbytes < LARGE_PAGE // 8 or not hasattr(mmap, "MADV_HUGEPAGE"):
        return array
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # the system has other rules for shared memory
    memory = mmap.mmap(-1, array.nbytes + 2 * LARGE_PAGE, flags=private)  # whole large pages around the array
    try:
        memory.madvise(mmap.MADV_HUGEPAGE)
    except OSError:  # a kernel without them
        return array
    address = np.frombuffer(memory, np.uint8).ctypes.data
    copied = np.frombuffer(memory, array.dtype, array.size, offset=-address % LARGE_PAGE).reshape(array.shape)
    copied[...] = array
    return copied


def stacked(tensors: list[Tensor]) -> Floats32:
    """Return tensors of one shape as one array, with a first axis more."""
    return f32(torch.stack([t.detach() for t in tensors]))


def parameters(blocks: list[Any], *names: str) -> tuple[Floats32, ...]:
    """Return the parameters of these names, such as ``linear.weight``, of all blocks of a stack."""
    return tuple(stacked([block.get_parameter(name) for block in blocks]) for name in names)


def norms(layers: list[nn.LayerNorm]) -> Norms:
    """Return the LayerNorms of all layers of a stack."""
    weights, biases = ([getattr(norm, name) for norm in layers] for name in ("weight", "bias"))
    return stacked(weights), stacked(biases), np.float32(layers[0].eps)
