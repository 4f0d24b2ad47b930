"""How recordings are worked through: in how many processes, and with what memory."""

from __future__ import annotations

import numpy as np

__all__ = ["keep_freed", "processes"]

WORTH_PROCESSES = 256 << 20
"""Raw bytes below which starting processes (half a second) costs more than they save."""

LARGEST_KEPT = (32 << 20) - (1 << 16)
"""Just below the largest block, 32 MiB, from which glibc learns (``M_MMAP_THRESHOLD`` in mallopt(3))."""


def processes(jobs: int, size: int) -> int:
    """Return how many processes to use, of `jobs` allowed ones, to read `size` bytes."""
    return jobs if size >= WORTH_PROCESSES else 1


def keep_freed() -> None:
    """Make the C library keep the memory of freed arrays for the next ones, up to 64 MB.

    Recordings are read one after the other into arrays of the same few sizes. glibc gives blocks of that size back
    to the system as soon as they are free, and each of their pages costs a fault when it comes again: a tenth to
    two fifths of the time of preparing. It raises its bounds to the size of a large block that is freed; this
    frees one, never written to. Other allocators are left as they are.
    """
    np.empty(LARGEST_KEPT, dtype=np.uint8)
