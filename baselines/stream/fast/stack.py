"""A stack of layers packed for the compiled loops: weights once, shared by all windows, and the state of one."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

__all__ = ["Floats32", "Norms", "Stack", "f32", "norms", "stacked"]

Floats32 = npt.NDArray[np.float32]
Norms = tuple[Floats32, Floats32, np.float32]
"""Weights and biases of LayerNorms (K, H), and their epsilon."""


class Stack(ABC):
    """A stack of layers with its state; copies made by :meth:`fresh` share the weights.

    Attributes
    ----------
    out
        The output at the latest sample, (out_dim,), overwritten by the next.
    state
        Arrays that are changed in place, by name.
    growing
        Names of the entries of ``state`` whose second axis is time and grows.
    """

    out: Floats32
    state: dict[str, npt.NDArray[Any]]
    growing: frozenset[str] = frozenset()

    @abstractmethod
    def step(self, x: Floats32) -> Floats32:
        """Take a sample (in_dim,), which may be overwritten; return :attr:`out`."""

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
    """Return a tensor as an array of float32."""
    return np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32)


def stacked(tensors: list[Tensor]) -> Floats32:
    """Return tensors of one shape as one array, with a first axis more."""
    return f32(torch.stack([t.detach() for t in tensors]))


def norms(layers: list[nn.LayerNorm]) -> Norms:
    """Return the LayerNorms of all layers of a stack."""
    weights, biases = ([getattr(norm, name) for norm in layers] for name in ("weight", "bias"))
    return stacked(weights), stacked(biases), np.float32(layers[0].eps)
