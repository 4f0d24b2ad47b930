"""The end of a gated block, x + dropout(glu(g W^T + b)), with loops compiled by numba around its products.

Kept for the backward pass are g and z = g W^T + b; the gate and the mask are computed again.
"""

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

from baselines.cpu.dropout import coin, mask_parameters
from baselines.cpu.fastmath import exp
from baselines.cpu.flags import GRADIENT_GROUPS, IN_ORDER
from baselines.cpu.threads import run_ranges


@njit(inline="always")
def sigmoid(x):  # type: ignore[no-untyped-def]
    """Return 1 / (1 + e^-x); below x = -80 it stays at e^-80, as the vectorised exponential has an upper end."""
    one = type(x)(1)
    return one / (one + exp(min(-x, type(x)(80))))


@njit(**IN_ORDER)
def _forward(start, stop, x, z, seed, threshold, scale, y):  # type: ignore[no-untyped-def]
    channels, zero = x.shape[1], x.dtype.type(0)
    for r in range(start, stop):
        first, x_r, y_r, a, b = np.uint32(r * channels), x[r], y[r], z[r, :channels], z[r, channels:]
        for h in range(channels):
            gated = a[h] * scale * sigmoid(b[h])
            y_r[h] = x_r[h] + (gated if coin(first + np.uint32(h), seed) >= threshold else zero)


@njit(**IN_ORDER)
def _backward(start, stop, z, dy, seed, threshold, scale, dz, d_bias):  # type: ignore[no-untyped-def]
    """Write dz; each group of rows adds up its part of a bias's gradient in a row of ``d_bias``."""
    channels, zero, one = dy.shape[1], dy.dtype.type(0), dy.dtype.type(1)
    per_group = (dy.shape[0] + d_bias.shape[0] - 1) // d_bias.shape[0]
    for group in range(start, stop):
        sum_a, sum_b = d_bias[group, :channels], d_bias[group, channels:]
        for r in range(group * per_group, min(dy.shape[0], (group + 1) * per_group)):
            first, dy_r, a, b = np.uint32(r * channels), dy[r], z[r, :channels], z[r, channels:]
            da, db = dz[r, :channels], dz[r, channels:]
            for h in range(channels):
                g = dy_r[h] * scale if coin(first + np.uint32(h), seed) >= threshold else zero
                s = sigmoid(b[h])
                da[h] = g * s
                db[h] = g * a[h] * s * (one - s)
            for h in range(channels):
                sum_a[h] += da[h]
                sum_b[h] += db[h]


class _GatedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, g: Tensor, weight: Tensor, bias: Tensor, p: float, seed: int) -> Tensor:
        channels = x.shape[-1]
        rows, gated_input = x.detach().reshape(-1, channels), g.detach().reshape(-1, g.shape[-1])
        z = _product(gated_input, weight.detach(), bias.detach())
        y = rows.new_empty(rows.shape)
        ctx.coins = mask_parameters(p, seed, rows.numpy().dtype)
        run_ranges(_forward, len(rows), rows.contiguous().numpy(), z.numpy(), *ctx.coins, y.numpy())
        ctx.save_for_backward(gated_input, z, weight)
        return y.view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        gated_input, z, weight = ctx.saved_tensors
        rows = dy.reshape(-1, dy.shape[-1]).contiguous()
        dz, d_bias = torch.empty_like(z), z.new_zeros(GRADIENT_GROUPS, z.shape[1])
        run_ranges(_backward, GRADIENT_GROUPS, z.numpy(), rows.numpy(), *ctx.coins, dz.numpy(), d_bias.numpy())
        d_gated_input = _product(dz, weight.t()).view(*dy.shape[:-1], -1)
        return dy, d_gated_input, dz.t() @ gated_input, d_bias.sum(0), None, None


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x W^T + b; in float32 by oneDNN, if torch has it: on AMD faster by a sixth."""
    if (
        x.dtype == torch.float32
        and torch.backends.mkldnn.enabled
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    ):
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return torch.nn.functional.linear(x, weight, bias)


def gated_linear(x: Tensor, g: Tensor, weight: Tensor, bias: Tensor, p: float, seed: int) -> Tensor:
    """Return ``x + dropout(glu(g W^T + b))``.

    Parameters
    ----------
    x
        (..., H).
    g
        (..., K).
    weight, bias
        (2 H, K) and (2 H,): first what is gated, then the gate before its sigmoid.
    p, seed
        As for :func:`baselines.cpu.dropout.apply_mask`; with p = 0 nothing is dropped.
    """
    return _GatedLinear.apply(x, g, weight, bias, p, seed)
