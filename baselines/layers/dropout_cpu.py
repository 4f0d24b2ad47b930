"""The loop of :mod:`baselines.layers.dropout`, compiled with numba."""

import numpy as np
import torch
from numba import njit
from torch import Tensor

from baselines.parallel import run_ranges

_BLOCK = 4096


@njit(nogil=True, cache=True, fastmath={"contract"})
def _apply(start, stop, x, seed, threshold, scale, y):  # type: ignore[no-untyped-def]
    """Keep element i where the upper 31 bits of the hash of (seed, i) reach ``threshold``."""
    for block in range(start, stop):
        for i in range(block * _BLOCK, min(x.shape[0], (block + 1) * _BLOCK)):
            # a bijective mixing of 32 bits: shifts and products by odd constants, so that each input bit moves
            # about half of the output bits
            v = np.uint32(i) * np.uint32(0x9E3779B1) ^ seed
            v = np.uint32(v ^ (v >> np.uint32(16))) * np.uint32(0x7FEB352D)
            v = np.uint32(v)
            v = np.uint32(v ^ (v >> np.uint32(15))) * np.uint32(0x846CA68B)
            v = np.uint32(v)
            v = np.uint32(v ^ (v >> np.uint32(16)))
            keep = np.int32(v >> np.uint32(1)) >= threshold
            y[i] = x[i] * scale if keep else y.dtype.type(0)


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
    scale = flat_x.dtype.type(1 / (1 - p))
    run_ranges(_apply, -(-x.numel() // _BLOCK), flat_x, np.uint32(seed), np.int32(p * 2**31), scale, flat_y)
    return y
