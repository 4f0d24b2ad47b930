"""The state spaces of S4 and S4D, whichever of the two: what streams make of them once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from baselines.layers.s4 import S4Layer
from baselines.layers.s4_kernel import taps

__all__ = ["filter_taps", "recurrence"]


def recurrence(layer: Any) -> dict[str, Tensor]:
    """Return the coefficients of x' = A x - E Re(F . x) + B u, y = 2 Re(C . x') + D u, complex and (H, N/2) each.

    They are called ``a``, ``e``, ``f``, ``b`` and ``c``; S4D has no E and F. D is the layer's own ``d``.
    """
    if isinstance(layer, S4Layer):
        s4 = layer.coefficients()
        parts = {"a": 2 * s4.g - 1, "e": 2 * s4.e, "f": s4.f, "b": s4.b_bar, "c": s4.c}
    else:
        a, weight = layer.coefficients()
        parts = {"a": a, "b": torch.ones_like(a), "c": weight}
    return {name: part.detach().resolve_conj() for name, part in parts.items()}


def filter_taps(layer: Any, length: int) -> Tensor:
    """Return the kernel (H, length) over a short window, with D in its first tap."""
    kernel = taps(layer.coefficients(), length) if isinstance(layer, S4Layer) else layer.kernel(length)
    return torch.cat((kernel[:, :1] + layer.d[:, None], kernel[:, 1:]), dim=1).detach()
