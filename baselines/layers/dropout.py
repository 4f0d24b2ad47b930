"""Dropout whose mask is a function of a seed and the position, never stored, and cheap on the CPU.

torch draws a CPU mask from one sequential generator, slower than the matrix products around it. Here
one number a call is drawn from torch's generator (``torch.manual_seed`` rules), and each element's coin is a hash
of that number and the element's index; the backward pass hashes again.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from baselines.parallel import compiled_for


class Dropout(nn.Module):
    """Zero each element with probability ``p`` in training, and scale the others by 1 / (1 - p).

    Parameters
    ----------
    p
        Probability, in [0, 1).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Map a tensor of any shape to one of the same shape."""
        if not self.training or self.p == 0:
            return x
        if compiled_for(x):
            seed = int(torch.randint(1 << 31, ()))
            return _HashedDropout.apply(x, self.p, seed)
        return nn.functional.dropout(x, self.p)


class _HashedDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float, seed: int) -> Tensor:
        ctx.p, ctx.seed = p, seed
        return _masked(x, p, seed)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None]:
        return _masked(dy, ctx.p, ctx.seed), None, None


def _masked(x: Tensor, p: float, seed: int) -> Tensor:
    from baselines.layers.dropout_cpu import masked  # numba is imported only where it is used

    return masked(x, p, seed)


def gated_residual(x: Tensor, z: Tensor, dropout: Dropout) -> Tensor:
    """Return ``x + dropout(glu(z))``, the end of a gated block.

    Parameters
    ----------
    x
        (..., H).
    z
        (..., 2 H).
    dropout
        Acts if it is in training.
    """
    if compiled_for(x) and x.dtype == z.dtype:
        from baselines.layers import dropout_cpu  # numba is imported only where it is used

        p = dropout.p if dropout.training else 0.0
        return dropout_cpu.gated_residual(x, z, p, int(torch.randint(1 << 31, ())) if p else 0)
    return x + dropout(nn.functional.glu(z, dim=-1))
