"""Convolution and gates of a Mamba block compiled with numba: one pass each way over (x', z) = W_in LayerNorm(x).

    u_t = silu(s_t),  s_t = bias + sum_j w_j x'_{t-j}        gate_t = silu(z_t)

Time is cut into tiles that stay in the first-level cache. The backward pass computes s again, tile by tile from
the last to the first, as the gradient of x'_t needs those of s_t, ..., s_{t+W-1}.
"""

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

from baselines.cpu.flags import GRADIENT_GROUPS, IN_ORDER, INLINED
from baselines.cpu.gate import sigmoid
from baselines.cpu.threads import run_ranges


@njit(**INLINED, **IN_ORDER)
def _convolve(xz, lo, rows, w, bias, s):  # type: ignore[no-untyped-def]
    """Write s_t for t = lo, ..., lo + rows - 1 to the rows of ``s``; xz (L, 2 C), w (W, C), newest tap first."""
    channels = bias.shape[0]
    for r in range(rows):
        s_r = s[r]
        for c in range(channels):
            s_r[c] = bias[c]
    for j in range(w.shape[0]):
        w_j = w[j]
        for r in range(max(0, j - lo), rows):
            s_r, x_r = s[r], xz[lo + r - j, :channels]
            for c in range(channels):
                s_r[c] += w_j[c] * x_r[c]


@njit(**INLINED, **IN_ORDER)
def _silu_row(x, y):  # type: ignore[no-untyped-def]
    for c in range(y.shape[0]):
        y[c] = x[c] * sigmoid(x[c])


@njit(**INLINED, **IN_ORDER)
def _silu_gradient_row(x, dy, dx):  # type: ignore[no-untyped-def]
    one = x.dtype.type(1)
    for c in range(dx.shape[0]):
        p = sigmoid(x[c])
        dx[c] = dy[c] * p * (one + x[c] * (one - p))


@njit(**IN_ORDER)
def _forward(start, stop, xz, w, bias, u, gate):  # type: ignore[no-untyped-def]
    length, channels, tile = u.shape[1], u.shape[2], max(16, w.shape[0])
    s = np.empty((tile, channels), u.dtype)
    for i in range(start, stop):
        for lo in range(0, length, tile):
            rows = min(tile, length - lo)
            _convolve(xz[i], lo, rows, w, bias, s)
            for r in range(rows):
                _silu_row(s[r], u[i, lo + r])
                _silu_row(xz[i, lo + r, channels:], gate[i, lo + r])


@njit(**INLINED, **IN_ORDER)
def _add_products(xz, lo, rows, ds, dw, dbias):  # type: ignore[no-untyped-def]
    channels = dbias.shape[0]
    for r in range(rows):
        ds_r = ds[r]
        for c in range(channels):
            dbias[c] += ds_r[c]
    for j in range(dw.shape[0]):
        dw_j = dw[j]
        for r in range(max(0, j - lo), rows):
            ds_r, x_r = ds[r], xz[lo + r - j, :channels]
            for c in range(channels):
                dw_j[c] += ds_r[c] * x_r[c]


@njit(**IN_ORDER)
def _backward(start, stop, xz, w, bias, du, dgate, dxz, sums):  # type: ignore[no-untyped-def]
    length, channels, width = du.shape[1], du.shape[2], w.shape[0]
    zero, tile = du.dtype.type(0), max(16, width)
    per_group = (du.shape[0] + sums.shape[0] - 1) // sums.shape[0]
    s = np.empty((tile, channels), du.dtype)
    ds = np.empty((tile + width - 1, channels), du.dtype)  # a tile's, then those of the W - 1 steps after it
    for group in range(start, stop):
        sums[group] = zero
        dbias, dw = sums[group, 0], sums[group, 1:]
        for i in range(group * per_group, min(du.shape[0], (group + 1) * per_group)):
            ds[:] = zero
            for lo in range((length - 1) // tile * tile, -1, -tile):
                rows = min(tile, length - lo)
                for r in range(width - 1):
                    ds[rows + r] = ds[r]
                _convolve(xz[i], lo, rows, w, bias, s)
                for r in range(rows):
                    _silu_gradient_row(s[r], du[i, lo + r], ds[r])
                    _silu_gradient_row(xz[i, lo + r, channels:], dgate[i, lo + r], dxz[i, lo + r, channels:])
                    dx_r, w_0, ds_r = dxz[i, lo + r, :channels], w[0], ds[r]
                    for c in range(channels):
                        dx_r[c] = w_0[c] * ds_r[c]
                for j in range(1, width):
                    w_j = w[j]
                    for r in range(rows):
                        dx_r, ds_r = dxz[i, lo + r, :channels], ds[r + j]
                        for c in range(channels):
                            dx_r[c] += w_j[c] * ds_r[c]
                _add_products(xz[i], lo, rows, ds, dw, dbias)


class _ConvolvedAndGate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, xz: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        xz, w, bias = (t.detach().contiguous() for t in (xz, weight.flip(1).t(), bias))
        u, gate = (xz.new_empty(*xz.shape[:2], len(bias)) for _ in range(2))
        run_ranges(_forward, len(xz), *(t.numpy() for t in (xz, w, bias, u, gate)))
        ctx.save_for_backward(xz, w, bias)
        return u, gate

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, du: Tensor, dgate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        xz, w, bias = ctx.saved_tensors
        dxz, sums = torch.empty_like(xz), xz.new_empty(GRADIENT_GROUPS, 1 + len(w), len(bias))
        arrays = (t.contiguous().numpy() for t in (du, dgate, dxz, sums))
        run_ranges(_backward, GRADIENT_GROUPS, xz.numpy(), w.numpy(), bias.numpy(), *arrays)
        total = sums.sum(0)
        return dxz, total[1:].t().flip(1), total[0]


def convolved_and_gate(xz: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return silu(bias + causal convolution of x') and silu(z).

    Parameters
    ----------
    xz
        x', then z: (B, L, 2 C).
    weight
        (C, W), oldest tap first, as in :class:`baselines.layers.mamba.CausalConv`.
    bias
        (C,).

    Returns
    -------
    tuple
        Both (B, L, C).
    """
    return _ConvolvedAndGate.apply(xz, weight, bias)
