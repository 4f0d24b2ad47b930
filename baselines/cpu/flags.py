"""Options that the compiled loops share."""

from typing import Any

__all__ = ["GRADIENT_GROUPS", "INLINED", "IN_ORDER", "REORDERED"]

IN_ORDER: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",  # a check for division by zero would keep the loops scalar
    "fastmath": {"contract", "arcp"},
}
"""Sums are taken as they are written; products and sums may be fused."""

REORDERED: dict[str, Any] = {**IN_ORDER, "fastmath": {"reassoc", "contract", "nsz", "arcp", "nnan", "ninf"}}
"""Sums may be taken in vectors, and values are taken to be finite."""

INLINED: dict[str, Any] = {"forceinline": True}
"""Of loops that other loops call: each caller holds a copy, optimised with it. Where calls were left, a process
that compiles and one that finds all compiled were linked with different copies, with other last bits."""

GRADIENT_GROUPS = 16
"""Parts in which gradients of parameters are summed, a fixed number, so that sums do not depend on the threads."""
