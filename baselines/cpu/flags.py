"""Options that the compiled loops share."""

import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from numba import njit

__all__ = ["GRADIENT_GROUPS", "INLINED", "IN_ORDER", "KEPT", "REORDERED"]

logger = logging.getLogger(__name__)

ROOM: Final = 32 << 20
"""Bytes that must be free to keep compiled code: a few times what all loops take."""


def _nothing() -> None:
    """Do nothing: a function to ask numba about."""


def _obstacle() -> str:
    """Return why numba can keep no code beside its module or in the user's cache folder; ``""`` if it can."""
    try:
        loop = njit(cache=True)(_nothing)
    except RuntimeError:  # it would not compile at all
        return "neither this package's folder nor your cache can be written to"
    folder = Path(loop.stats.cache_path or "")
    if folder.parts[:1] == ("~",):  # it has made a folder of that name where the program runs
        with suppress(OSError):
            os.removedirs(folder)
        return "this user has no home folder, and this package's folder cannot be written to"
    if shutil.disk_usage(folder).free < ROOM:  # it would fail once it has compiled
        return f"there is too little room in {folder}"
    return ""


def _can_be_kept() -> bool:
    if why := _obstacle():
        logger.warning(
            "Compiled loops cannot be kept, and every process compiles its own, for up to half a minute: %s."
            " Set NUMBA_CACHE_DIR to a folder you own that has room.",
            why,
        )
    return not why


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
