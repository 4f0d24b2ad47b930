"""The loops of :mod:`baselines.layers.dropout`, compiled with numba."""

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

from baselines.fastmath import exp
from baselines.parallel import run_ranges

_BLOCK = 4096
_FLAGS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"contract", "arcp"}}


@njit(inline="always")
def _coin(i, seed):  # type: ignore[no-untyped-def]
    """Return 31 bits, a hash of (seed, i): a bijective mixing in which each input bit moves about half of them."""
    v = np.uint32((i * np.uint32(0x9E3779B1)) ^ seed)
    v = np.uint32((v ^ (v >> np.uint32(16))) * np.uint32(0x7FEB352D))
    v = np.uint32((v ^ (v >> np.uint32(15))) * np.uint32(0x846CA68B))
    return np.int32(np.uint32(v ^ (v >> np.uint32(16))) >> np.uint32(1))


@njit(**_FLAGS)
def _apply(start, stop, x, seed, threshold, scale, y):  # type: ignore[no-untyped-def]
    """Keep element i where its coin reaches ``threshold``."""
    zero = y.dtype.type(0)
    for block in range(start, stop):
        first = block * _BLOCK
        x_b, y_b = x[first : first + _BLOCK], y[first : first + _BLOCK]
        for i in range(x_b.shape[0]):
            y_b[i] = x_b[i] * scale if _coin(np.uint32(first) + np.uint32(i), seed) >= threshold else zero


@njit(inline="always")
def _sigmoid(x):  # type: ignore[no-untyped-def]
    """Return 1 / (1 + e^-x); below x = -80 it stays at e^-80, as the vectorised exponential has an upper end."""
    one = type(x)(1)
    return one / (one + exp(min(-x, type(x)(80))))


@njit(**_FLAGS)
def _glu_forward(start, stop, x, z, seed, threshold, scale, y):  # type: ignore[no-untyped-def]
    channels, zero = x.shape[1], x.dtype.type(0)
    for r in range(start, stop):
        first, x_r, y_r, a, b = np.uint32(r * channels), x[r], y[r], z[r, :channels], z[r, channels:]
        for h in range(channels):
            gated = a[h] * scale * _sigmoid(b[h])
            y_r[h] = x_r[h] + (gated if _coin(first + np.uint32(h), seed) >= threshold else zero)


@njit(**_FLAGS)
def _glu_backward(start, stop, z, dy, seed, threshold, scale, dz):  # type: ignore[no-untyped-def]
    channels, zero, one = dy.shape[1], dy.dtype.type(0), dy.dtype.type(1)
    for r in range(start, stop):
        first, g_r, a, b = np.uint32(r * channels), dy[r], z[r, :channels], z[r, channels:]
        da, db = dz[r, :channels], dz[r, channels:]
        for h in range(channels):
            g = g_r[h] * scale if _coin(first + np.uint32(h), seed) >= threshold else zero
            s = _sigmoid(b[h])
            da[h] = g * s
            db[h] = g * a[h] * s * (one - s)


def masked(x: Tensor, p: float, seed: int) -> Tensor:
    """Return ``x`` with a share ``p`` of its elements zeroed and the others scaled by 1 / (1 - p).

    Parameters
    ----------
    x
        Any shape, float32 or float64.
    p
        Probability of a zero.
    seed
        At most 31 bits; the same seed and shape give the same mask.
    """
    x = x.detach().contiguous()
    y = torch.empty_like(x)
    flat_x, flat_y = x.view(-1).numpy(), y.view(-1).numpy()
    run_ranges(_apply, -(-x.numel() // _BLOCK), flat_x, *_coins(p, seed, flat_x.dtype), flat_y)
    return y


class _GatedResidual(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, z: Tensor, p: float, seed: int) -> Tensor:
        x, z = x.detach().contiguous(), z.detach().contiguous()
        y = torch.empty_like(x)
        rows = [t.view(-1, t.shape[-1]).numpy() for t in (x, z, y)]
        coins = _coins(p, seed, rows[0].dtype)
        run_ranges(_glu_forward, len(rows[0]), *rows[:2], *coins, rows[2])
        ctx.save_for_backward(z)
        ctx.coins = coins
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (z,) = ctx.saved_tensors
        dz = torch.empty_like(z)
        rows = [t.view(-1, t.shape[-1]).numpy() for t in (z, dy.contiguous(), dz)]
        run_ranges(_glu_backward, len(rows[1]), *rows[:2], *ctx.coins, rows[2])
        return dy, dz, None, None


def gated_residual(x: Tensor, z: Tensor, p: float, seed: int) -> Tensor:
    """Return ``x + dropout(glu(z))`` in one pass; the backward pass computes the gate again and keeps only ``z``.

    Parameters
    ----------
    x
        (..., H).
    z
        (..., 2 H): what is gated, then the gate before its sigmoid.
    p, seed
        As for :func:`masked`; with p = 0 nothing is dropped.
    """
    return _GatedResidual.apply(x, z, p, seed)


def _coins(p: float, seed: int, dtype: Any) -> tuple[Any, Any, Any]:
    """Return seed, threshold and scale as the loops take them."""
    return np.uint32(seed), np.int32(p * 2**31), dtype.type(1 / (1 - p))
