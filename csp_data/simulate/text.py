"""Numbers to text in bulk: whole arrays become the bytes that printing each number would give.

Every number is cut into groups of three digits, and every group is looked up in a table of four-byte words. What a
shorter number does not need stays a zero byte, and all zero bytes are dropped at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Block", "fixed", "integers", "join", "literal"]

Block = npt.NDArray[np.uint8]
"""Text of T rows, (T, W): bytes of equal width, in which zero bytes count for nothing."""


def _words(places: int, pad: bool, first: int) -> npt.NDArray[np.uint32]:
    """Return the words of 0 .. 999: their first `places` digits from byte `first` on, padded with zeros or not."""
    table = np.zeros((1000, 4), dtype=np.uint8)
    for n in range(1000):
        text = f"{n:03d}" if pad else str(n).rjust(3, "\0")
        table[n, first : first + places] = np.frombuffer(text.encode(), dtype=np.uint8)[:places]
    return table.view(np.uint32)[:, 0]


def _byte(position: int, character: bytes) -> np.uint32:
    """Return a word that holds a character at one of its four bytes."""
    word = np.zeros(4, dtype=np.uint8)
    word[position] = character[0]
    return np.uint32(word.view(np.uint32)[0])


PADDED = _words(3, pad=True, first=1)
LEADING = _words(3, pad=False, first=1)
# where a higher group has digits, the group below shows all of its zeros: rows from 1000 on
HEAD = np.concatenate([np.where(np.arange(1000) > 0, LEADING, 0), PADDED]).astype(np.uint32)
LAST = np.concatenate([LEADING, PADDED])
POINT = PADDED | _byte(0, b".")
TAIL = {places: _words(places, pad=True, first=0) for places in (1, 2, 3)}


def _whole(numbers: npt.NDArray[np.int64], out: npt.NDArray[np.uint32]) -> None:
    """Fill the last axis of `out` with the words of whole numbers, 0 or above, without leading zeros."""
    groups = out.shape[-1]
    if groups == 1:
        out[..., 0] = LEADING[numbers]
        return
    seen = np.zeros(numbers.shape, dtype=np.int64)
    for k in range(groups - 1, -1, -1):
        group = numbers // 1000**k % 1000
        out[..., groups - 1 - k] = (HEAD if k else LAST)[group + seen]
        seen[group > 0] = 1000


def fixed(values: npt.NDArray[np.floating[Any]], decimals: int, ends: Sequence[bytes], groups: int = 1) -> Block:
    """Format numbers with a fixed number of decimals, as ``"%.6f"`` does, each with a character behind it.

    Parameters
    ----------
    values : array, shape (T, C)
        Finite numbers. Their fractions are multiplied by a power of ten in double precision before rounding: a
        number within 1e-16 of a tie may come out one last decimal away from the exact rounding.
    decimals
        4, 5 or 6.
    ends
        The character behind each of the C columns.
    groups
        Groups of three digits before the point: 1 for numbers under 1000.

    Raises
    ------
    ValueError
        If a number does not fit in its groups.
    """
    size = np.abs(values)
    floor = np.floor(size)
    part = np.rint((size - floor) * 10.0**decimals).astype(np.int64)
    carry = part == 10**decimals
    whole = floor.astype(np.int64) + carry
    part[carry] = 0
    if whole.size and whole.max() >= 1000**groups:
        raise ValueError(f"expected numbers under {1000**groups}, got one of {whole.max()}")
    words = np.empty((*values.shape, groups + 2), dtype=np.uint32)
    _whole(whole, words[..., :groups])
    words[..., 0] |= np.where(np.signbit(values), _byte(0, b"-"), np.uint32(0))
    upper = part // 10 ** (decimals - 3)
    lower = (part - upper * 10 ** (decimals - 3)) * 10 ** (6 - decimals)
    words[..., groups] = POINT[upper]
    words[..., groups + 1] = TAIL[decimals - 3][lower] | np.array([_byte(3, end) for end in ends])
    return words.view(np.uint8).reshape(len(values), -1)


def integers(numbers: npt.NDArray[np.int64], end: bytes, groups: int = 2) -> Block:
    """Format whole numbers (T,), 0 or above and under ``1000 ** groups``, each with a character behind it."""
    words = np.empty((len(numbers), groups + 1), dtype=np.uint32)
    _whole(numbers, words[:, :groups])
    words[:, groups] = _byte(0, end)
    return words.view(np.uint8)


def literal(text: bytes, rows: int) -> Block:
    """Return the same text in every row."""
    return np.broadcast_to(np.frombuffer(text, dtype=np.uint8), (rows, len(text)))


def join(*blocks: Block) -> bytes:
    """Put blocks side by side and return their text, row after row."""
    return np.concatenate(blocks, axis=1).tobytes().translate(None, b"\0")
