"""Which recording belongs to train, val, test or another part: by a card's lists, or by its rule."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence

import numpy as np

from csp_data.card import Card
from csp_data.errors import CardError
from csp_data.sources import Found
from csp_data.splitcard import PARTS, SplitCard

__all__ = ["PARTS", "assign", "natural_key", "permutation"]


def assign(card: Card, name: str, found: Sequence[Found]) -> dict[str, str]:
    """Assign recordings to parts.

    Parameters
    ----------
    card
        Holds the splits.
    name
        Name of the split.
    found
        Recordings to assign, as the source lists them.

    Returns
    -------
    dict
        Part of each recording by id; one that belongs to no part is not in it.

    Raises
    ------
    CardError
        If the split puts a group that a part holds out into another part too.
    """
    split = card.splits[name]
    parts = _by_lists(split, found) if split.rule == "lists" else _by_shares(split, found)
    groups: dict[str, set[str]] = {}
    for recording in found:
        if recording.id in parts:
            groups.setdefault(recording.group, set()).add(parts[recording.id])
    for group, held in groups.items():
        if len(held) > 1 and held & set(split.held_out):
            raise CardError(
                card.name, f"splits.{name} puts group {group!r} into the parts {', '.join(sorted(held))}"
            )
    return parts


def _by_lists(split: SplitCard, found: Sequence[Found]) -> dict[str, str]:
    listed = split.part_of()
    patterns = [(pattern, part) for pattern, part in listed.items() if set(pattern) & set("*?")]
    parts = {}
    for recording in found:
        matches = [listed[recording.id]] if recording.id in listed else []
        matches += [part for pattern, part in patterns if fnmatch.fnmatchcase(recording.id, pattern)]
        if matches:
            parts[recording.id] = matches[0]
    return parts


def _by_shares(split: SplitCard, found: Sequence[Found]) -> dict[str, str]:
    if split.rule == "groups":
        groups = sorted({recording.group for recording in found}, key=natural_key)
        of_group = dict(zip(groups, _cut(split, len(groups)), strict=True))
        return {recording.id: of_group[recording.group] for recording in found}
    ids = [recording.id for recording in found]
    if split.order == "recorded":
        ids.sort(key=natural_key)
    if split.rule == "random":
        ids = [ids[i] for i in permutation(len(ids), split.seed)]
    return dict(zip(ids, _cut(split, len(ids)), strict=True))


def _cut(split: SplitCard, count: int) -> list[str]:
    """Return the part of each of `count` things in a row; every part gets at least one while there are enough."""
    parts = list(split.shares)
    sizes = [int(split.shares[part] * count) for part in parts[:-1]]
    sizes.append(count - sum(sizes))
    while count >= len(parts) and 0 in sizes:
        sizes[sizes.index(max(sizes))] -= 1
        sizes[sizes.index(0)] += 1
    return [part for part, size in zip(parts, sizes, strict=True) for _ in range(size)]


def natural_key(name: str) -> list[tuple[int, str]]:
    """Return a sort key that puts demonstration_2 before demonstration_10."""
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in re.split(r"(\d+)", name) if piece]


def permutation(count: int, seed: int) -> list[int]:
    """Return what ``torch.randperm(count, generator=torch.Generator().manual_seed(seed))`` gives, without torch.

    PyTorch seeds a 32-bit Mersenne Twister (Matsumoto, Nishimura 1998) and shuffles in place: the element at i
    changes places with the one ``draw mod (count - i)`` further on. NumPy's legacy generator is the same twister
    with the same seeding, and its stream is frozen.
    """
    draws = np.frombuffer(np.random.RandomState(seed).bytes(4 * count), dtype="<u4").tolist()
    order = list(range(count))
    for i in range(count - 1):
        other = i + draws[i] % (count - i)
        order[i], order[other] = order[other], order[i]
    return order
