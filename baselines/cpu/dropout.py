"""Dropout masks compiled with numba, for :mod:`baselines.layers.dropout`."""

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from baselines.cpu.flags import IN_ORDER
from baselines.cpu.threads import run_ranges

_BLOCK = 4096


@njit(inline="always")
def coin(i, seed):  # type: ignore[no-untyped-def]
    """Return 31 bits, a hash of (seed, i): a bijective mixing in which each input bit moves about half of them."""
    v = np.uint32((i * np.uint32(0x9E3779B1)) ^ seed)
    v = np.uint32((v ^ (v >> np.uint32(16))) * np.uint32(0x7FEB352D))
    v = np.uint32((v ^ (v >> np.uint32(15))) * np.uint32(0x846CA68B))
    return np.int32(np.uint32(v ^ (v >> np.uint32(16))) >> np.uint32(1))


@njit(**IN_ORDER)
def _mask_blocks(start, stop, x, seed, threshold, scale, y):  # type: ignore[no-untyped-def]
    """Keep element i where its coin reaches ``threshold``."""
    zero = y.dtype.type(0)
    for block in range(start, stop):
        first = block * _BLOCK
        x_b, y_b = x[first : first + _BLOCK], y[first : first + _BLOCK]
        for i in range(x_b.shape[0]):
            y_b[i] = x_b[i] * scale if coin(np.uint32(first) + np.uint32(i), seed) >= threshold else zero


def apply_mask(x: Tensor, p: float, seed: int) -> Tensor:
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
    x = x.contiguous()
    y = torch.empty_like(x)
    flat_x, flat_y = x.view(-1).numpy(), y.view(-1).numpy()
    run_ranges(_mask_blocks, -(-x.numel() // _BLOCK), flat_x, *mask_parameters(p, seed, flat_x.dtype), flat_y)
    return y


def mask_parameters(p: float, seed: int, dtype: Any) -> tuple[Any, Any, Any]:
    """Return seed, threshold and scale as the loops take them."""
    return np.uint32(seed), np.int32(p * 2**31), dtype.type(1 / (1 - p))
