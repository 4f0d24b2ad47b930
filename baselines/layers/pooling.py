"""How the outputs of a layer over one window of samples become one vector, at once or sample by sample.

Glossary
--------
=============== ==========================================================================
``h``            h_j, the layer's output at sample j of the window, (B, W, D)
``W D``          samples in a window, width of the layer
=============== ==========================================================================

    last         h_{W-1}                                                as published for HiSS (arXiv 2402.10211)
    linear       sum_j w_j o h_j,   w (W, D)                            starts as ``last``
    attention    sum_j p_j h_j,     p = softmax(q . h_j / sqrt(D) + b_j)   one learned query, starts as the mean

Attention with a single learned query is that of Yang et al., "Hierarchical Attention Networks", NAACL 2016,
with the scaled product of Vaswani et al. 2017 in place of the tanh layer and a bias for each sample.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from baselines.layers.base import ALL

__all__ = ["POOLS", "AttentionPool", "LastPool", "LinearPool", "Pool", "PoolState", "make_pool"]

PoolState = tuple[Tensor, ...]


class Pool(nn.Module, ABC):
    """Maps the outputs over a window to one vector.

    Attributes
    ----------
    steps
        The outputs of the window that :meth:`forward` wants.
    """

    steps: slice

    @abstractmethod
    def forward(self, h: Tensor) -> Tensor:
        """Map (B, number of ``steps``, D) to (B, D)."""

    @abstractmethod
    def initial_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> PoolState:
        """Return the state before the first sample of a window."""

    @abstractmethod
    def step(self, h_j: Tensor, j: int, state: PoolState) -> PoolState:
        """Take the output (B, D) at sample ``j`` of the window; the state does not grow."""

    @abstractmethod
    def result(self, state: PoolState) -> Tensor:
        """Return (B, D) after the last sample: equal to :meth:`forward`'s."""


class LastPool(Pool):
    """The last output of the window; no parameters."""

    def __init__(self, window: int, width: int) -> None:
        super().__init__()
        self.window, self.width = window, width
        self.steps = slice(window - 1, window)

    def forward(self, h: Tensor) -> Tensor:
        """Map (B, 1, D) to (B, D)."""
        return h.squeeze(1)

    def initial_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> PoolState:
        """Return zeros (B, D)."""
        return (torch.zeros(batch_size, self.width, device=device, dtype=dtype),)

    def step(self, h_j: Tensor, j: int, state: PoolState) -> PoolState:
        """Keep the newest output."""
        return (h_j,)

    def result(self, state: PoolState) -> Tensor:
        """Return the newest output."""
        return state[0]


class LinearPool(Pool):
    """A learned weight for each sample of the window and each channel."""

    def __init__(self, window: int, width: int) -> None:
        super().__init__()
        self.steps = ALL
        start = torch.zeros(window, width)
        start[-1] = 1.0
        self.weight = nn.Parameter(start)

    def forward(self, h: Tensor) -> Tensor:
        """Map (B, W, D) to (B, D)."""
        return torch.einsum("bwd,wd->bd", h, self.weight)

    def initial_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> PoolState:
        """Return an empty sum (B, D)."""
        return (torch.zeros(batch_size, self.weight.shape[1], device=device, dtype=dtype),)

    def step(self, h_j: Tensor, j: int, state: PoolState) -> PoolState:
        """Add one term to the sum."""
        return (state[0] + self.weight[j] * h_j,)

    def result(self, state: PoolState) -> Tensor:
        """Return the sum."""
        return state[0]


class AttentionPool(Pool):
    """A convex combination of the window's outputs, weighted by their product with a learned query."""

    def __init__(self, window: int, width: int) -> None:
        super().__init__()
        self.steps = ALL
        self.query = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(window))

    def forward(self, h: Tensor) -> Tensor:
        """Map (B, W, D) to (B, D)."""
        p = torch.softmax(self._scores(h) + self.bias, dim=1)
        return torch.einsum("bw,bwd->bd", p, h)

    def initial_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> PoolState:
        """Return the largest score so far (B, 1), the sum of exp(score - largest), and that times h (B, D)."""
        zeros = torch.zeros(batch_size, self.query.numel() + 1, device=device, dtype=dtype)
        return torch.full_like(zeros[:, :1], -torch.inf), zeros[:, :1], zeros[:, 1:]

    def step(self, h_j: Tensor, j: int, state: PoolState) -> PoolState:
        """Add one term to both sums, relative to the largest score, so that no exponential overflows."""
        largest, total, weighted = state
        score = self._scores(h_j).unsqueeze(1) + self.bias[j]
        new_largest = torch.maximum(largest, score)
        shrink, term = torch.exp(largest - new_largest), torch.exp(score - new_largest)
        return new_largest, shrink * total + term, shrink * weighted + term * h_j

    def result(self, state: PoolState) -> Tensor:
        """Return the weighted mean."""
        return state[2] / state[1]

    def _scores(self, h: Tensor) -> Tensor:
        return h @ self.query * self.query.numel() ** -0.5


POOLS: dict[str, type[Pool]] = {"last": LastPool, "linear": LinearPool, "attention": AttentionPool}
"""Name of a readout to its class."""


def make_pool(name: str, window: int, width: int) -> Pool:
    """Return the readout of windows of ``window`` outputs of ``width`` channels; ``name`` is a key of POOLS."""
    return POOLS[name](window, width)  # type: ignore[call-arg, arg-type]
