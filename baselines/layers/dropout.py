"""Dropout whose mask is a function of a seed and the position, never stored, and cheap on the CPU.

torch draws a CPU mask from one sequential generator, slower than the matrix products around it. Here
one number a call is drawn from torch's generator (``torch.manual_seed`` rules), and each element's coin is a hash
of that number and the element's index; the backward pass hashes again.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from baselines.cpu.threads import compiled_for, runs_its_weights


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
            return _HashedDropout.apply(x, *self.draw())
        return nn.functional.dropout(x, self.p)

    def draw(self) -> tuple[float, int]:
        """Return the probability that holds now and the seed of a new mask, from torch's generator."""
        if not self.training or self.p == 0:
            return 0.0, 0
        return self.p, int(torch.randint(1 << 31, ()))


class _HashedDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float, seed: int) -> Tensor:
        ctx.p, ctx.seed = p, seed
        return _apply_mask(x, p, seed)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None]:
        return _apply_mask(dy, ctx.p, ctx.seed), None, None


def _apply_mask(x: Tensor, p: float, seed: int) -> Tensor:
    from baselines.cpu.dropout import apply_mask  # numba is imported only where it is used

    return apply_mask(x, p, seed)


def gated_linear(x: Tensor, g: Tensor, linear: nn.Linear, dropout: Dropout) -> Tensor:
    """Return ``x + dropout(glu(linear(g)))``, the end of a gated block.

    Parameters
    ----------
    x
        (..., H).
    g
        (..., K).
    linear
        Of K to 2 H channels, with a bias.
    dropout
        Acts if it is in training.
    """
    if (
        compiled_for(x)
        and runs_its_weights(linear, nn.Linear)
        and x.dtype == g.dtype == linear.weight.dtype
        and not torch.is_autocast_enabled("cpu")
    ):
        from baselines.cpu import gate as compiled  # numba is imported only where it is used

        return compiled.gated_linear(x, g, linear.weight, linear.bias, *dropout.draw())
    return x + dropout(nn.functional.glu(linear(g), dim=-1))
