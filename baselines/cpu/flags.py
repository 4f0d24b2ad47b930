"""Options that the compiled loops share."""

import logging
from typing import Any

from numba import njit

__all__ = ["GRADIENT_GROUPS", "INLINED", "IN_ORDER", "KEPT", "REORDERED"]

logger = logging.getLogger(__name__)


def _nothing() -> None:
    """Do nothing: a function to ask numba about."""


def _can_be_kept() -> bool:
    """Whether numba finds a folder for compiled code: beside its module, or in the user's cache folder."""
    try:
        njit(cache=True)(_nothing)
    except RuntimeError:  # it would not compile at all
        logger.warning(
            "Compiled loops cannot be kept, and every process compiles its own, for up to half a minute: neither "
            "this package's folder nor your cache can be written to. Set NUMBA_CACHE_DIR to a folder you own."
        )
        return False
    return True


KEPT = _can_be_kept()
"""Whether compiled code is kept for later processes."""

IN_ORDER: dict[str, Any] = {
    "nogil": True,
    "cache": KEPT,
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
