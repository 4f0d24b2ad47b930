"""The residual block that S4D and the LRU share with S4, around any linear recurrence, and stacks of such blocks.

    block: x + Linear_GLU(gelu(recurrence(LayerNorm(x))))

The same norm, gate and skip around every recurrence, so that a comparison of two kinds compares the recurrences.
"""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.layers.base import ALL, BlockStack
from baselines.layers.dropout import Dropout, gated_linear

__all__ = ["Coefficients", "GatedBlock", "GatedStack", "GatedState", "Recurrence"]

Coefficients = tuple[Tensor, ...]
GatedState = tuple[tuple[Tensor, Coefficients], ...]


class Recurrence(nn.Module, ABC):
    """A linear time-invariant map from sequences to sequences of the same width, with a state between samples."""

    @abstractmethod
    def forward(self, u: Tensor, readout: slice = ALL) -> Tensor:
        """Map u (B, L, H) to y (B, steps in ``readout``, H)."""

    @abstractmethod
    def coefficients(self) -> Coefficients:
        """Return what :meth:`step` needs beside the state; made from the parameters, once a stream."""

    @abstractmethod
    def zeros(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return the state before the first sample; ``dtype`` is the real one of the inputs."""

    @abstractmethod
    def step(self, u_t: Tensor, x: Tensor, coefficients: Coefficients) -> tuple[Tensor, Tensor]:
        """Map u_t (B, H) and the state to y_t (B, H) and the next state."""

    @abstractmethod
    def dynamics(self) -> list[nn.Parameter]:
        """Return the parameters of the recurrence proper, for which a configuration's ``learning_rate`` is."""


class GatedBlock(nn.Module):
    """One residual block around a recurrence."""

    def __init__(self, recurrence: Recurrence, dim: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.layer = recurrence
        self.linear = nn.Linear(dim, 2 * dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, readout: slice = ALL) -> Tensor:
        """Map (B, L, dim) to (B, steps in ``readout``, dim)."""
        return self._output(x[:, readout], self.layer(self.norm(x), readout))

    def step(self, x_t: Tensor, state: tuple[Tensor, Coefficients]) -> tuple[Tensor, tuple[Tensor, Coefficients]]:
        """Map (B, dim) and (state, coefficients) to the output and the next pair."""
        hidden, coefficients = state
        y, hidden = self.layer.step(self.norm(x_t), hidden, coefficients)
        return self._output(x_t, y), (hidden, coefficients)

    def _output(self, x: Tensor, y: Tensor) -> Tensor:
        return gated_linear(x, self.dropout(F.gelu(y)), self.linear, self.dropout)


class GatedStack(BlockStack):
    """A stack of residual blocks, each around a recurrence, its ``layer``."""

    def initial_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> GatedState:
        """Return, for each block, the state before the first sample and the recurrence's coefficients.

        The coefficients are made here, once a stream; begin a new state after a change of the weights.
        """
        layers = [block.layer for block in self.blocks]
        return tuple((layer.zeros(batch_size, device, dtype), layer.coefficients()) for layer in layers)
