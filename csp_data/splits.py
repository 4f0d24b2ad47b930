"""Assign recordings to train, val, test or another part: by a card's lists, or by its rule."""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from csp_data.card import Card
from csp_data.card.splits import PARTS, REPORT, SplitCard, is_pattern
from csp_data.errors import CardError, OptionError
from csp_data.resplit import UNUSED, Resplit
from csp_data.sources import Found

__all__ = ["PARTS", "PartsByRecording", "assign", "divide", "natural_key", "part_of_each_episode", "permutation"]

PartsByRecording = dict[str, tuple[str, ...]]
"""Parts of each recording's episodes in turn: nearly always one part, several where it is cut into pieces."""


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
    parts_of_group: dict[str, set[str]] = {}
    for recording in found:
        if recording.id in parts:
            parts_of_group.setdefault(recording.group, set()).add(parts[recording.id])
    for group, its_parts in parts_of_group.items():
        if len(its_parts) > 1 and its_parts & set(split.held_out):
            listing = ", ".join(sorted(its_parts))
            listed = "put them all into one, or write held_out = [] to divide a group"
            advice = listed if split.rule == "lists" else 'rule = "groups" keeps them together'
            raise CardError(card.name, f"splits.{name} puts group {group!r} into the parts {listing}; {advice}")
    return parts


def _by_lists(split: SplitCard, found: Sequence[Found]) -> dict[str, str]:
    part_of = split.part_of()
    patterns = [(pattern, part) for pattern, part in part_of.items() if is_pattern(pattern)]
    parts = {}
    for id_ in (recording.id for recording in found):
        fitting = (part for pattern, part in patterns if fnmatch.fnmatchcase(id_, pattern))
        if part := part_of.get(id_) or next(fitting, None):
            parts[id_] = part
    return parts


def _by_shares(split: SplitCard, found: Sequence[Found]) -> dict[str, str]:
    if split.rule == "groups":
        groups = sorted({recording.group for recording in found}, key=natural_key)
        part_of_group = dict(zip(groups, _parts_in_a_row(split, len(groups)), strict=True))
        return {recording.id: part_of_group[recording.group] for recording in found}
    ids = [recording.id for recording in found]
    if split.order == "recorded":
        ids.sort(key=natural_key)
    if split.rule == "random":
        ids = [ids[i] for i in permutation(len(ids), split.seed)]
    return dict(zip(ids, _parts_in_a_row(split, len(ids)), strict=True))


def _parts_in_a_row(split: SplitCard, count: int) -> list[str]:
    """Return the part of each of `count` things in a row."""
    share_out = _rounded_down if "eval" in split.shares else _by_largest_remainders
    return [part for part, size in share_out(split.shares, count).items() for _ in range(size)]


def _by_largest_remainders(shares: Mapping[str, float], count: int) -> dict[str, int]:
    """Return how many things each part gets: whole numbers near the shares, which add up to `count`.

    Every part gets one, training and the larger shares first where there are not enough. Each of the others goes
    to the part that is then furthest below its share: the method of largest remainders, if every share is worth at
    least one thing.
    """
    by_size = sorted(shares, key=lambda part: (part != "train", -shares[part]))
    sizes = {part: int(part in by_size[:count]) for part in shares}
    for _ in range(count - sum(sizes.values())):
        # max takes the first of parts that lack as much; the rounding keeps sums of shares from deciding it
        sizes[max(by_size, key=lambda part: round(shares[part] * count - sizes[part], 9))] += 1
    return sizes


def _rounded_down(shares: Mapping[str, float], count: int) -> dict[str, int]:
    """Return how many things each part gets as the published code cuts: rounded down, and the last takes the rest.

    A part that would have none takes one from the largest.
    """
    parts = list(shares)
    sizes = {part: int(shares[part] * count) for part in parts[:-1]}
    sizes[parts[-1]] = count - sum(sizes.values())
    while count >= len(parts) and 0 in sizes.values():
        sizes[max(parts, key=sizes.__getitem__)] -= 1
        sizes[next(part for part in parts if not sizes[part])] += 1
    return sizes


def natural_key(name: str) -> tuple[list[tuple[int, str]], str]:
    """Return a sort key that puts demonstration_2 before demonstration_10, and always 01 before 1."""
    pieces = filter(None, re.split(r"(\d+)", name))
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces], name


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


def divide(card: Card, name: str, found: Sequence[Found], change: Resplit | None = None) -> PartsByRecording:
    """Assign recordings to parts as :func:`assign` does, then change that.

    Returns
    -------
    dict
        Parts of each recording by id. One that has none is not in it; episodes of a recording that is cut into
        pieces can be :data:`~csp_data.resplit.UNUSED`.

    Raises
    ------
    OptionError
        If the change leaves a part without recordings, or asks for more folds than there are groups or subjects.
    """
    parts = assign(card, name, found)
    if change is None:
        return {id_: (part,) for id_, part in parts.items()}
    split = card.splits[name]
    if change.fold is not None:
        part_of_fold = {change.fold: "test", (change.fold + 1) % change.folds: "val"}
        folds = enumerate(_deal_folds(parts, found, card, split, change))
        parts = {id_: part_of_fold.get(fold, "train") for fold, ids in folds for id_ in ids}
    parts = _apply_selection(parts, split, change)
    in_pieces: PartsByRecording = {}
    if change.neighbours is not None:
        parts, in_pieces = _apply_neighbours(parts, found, split, change)
    order = _training_order(parts, change.seed)
    for id_ in order[max(1, round(change.share * len(order))) :]:
        del parts[id_]
    if not order:
        raise OptionError("resplit", change, f"a change that leaves recordings of {card.name} to train on")
    return {id_: in_pieces.get(id_, (part,)) for id_, part in parts.items()}


def part_of_each_episode(recordings: Sequence[str], parts: PartsByRecording) -> list[str]:
    """Return the part of each episode, by its recording and its number within that."""
    episodes_before: Counter[str] = Counter()
    part_of_episode = []
    for recording in recordings:
        in_turn = parts.get(recording, (UNUSED,))
        part_of_episode.append(in_turn[episodes_before[recording] % len(in_turn)])
        episodes_before[recording] += 1
    return part_of_episode


def _training_order(parts: Mapping[str, str], seed: int) -> list[str]:
    """Return the training recordings in the order in which they are taken: the last are left out first."""
    train = sorted((id_ for id_, part in parts.items() if part == "train"), key=natural_key)
    return [train[i] for i in permutation(len(train), seed)]


def _deal_folds(
    parts: Mapping[str, str], found: Sequence[Found], card: Card, split: SplitCard, change: Resplit
) -> list[list[str]]:
    """Deal the recordings of a split into folds of nearly as many; a group, or a subject, is in one of them."""
    groups: dict[str, list[str]] = {}
    for recording in sorted((r for r in found if r.id in parts), key=lambda r: natural_key(r.id)):
        group: str = getattr(recording, change.by)
        if not group:
            needed = f"'group': the reader of {card.name} does not say whose recording {recording.id} is"
            raise OptionError("resplit.by", change.by, needed)
        groups.setdefault(group, []).append(recording.id)
    if len(groups) < change.folds:
        most = f"at most {len(groups)}, as there are so many {change.by}s"
        raise OptionError("resplit.folds", change.folds, most)
    folds: list[list[str]] = [[] for _ in range(change.folds)]
    if split.rule == "sequential":
        for i, ids in enumerate(groups.values()):
            folds[i * change.folds // len(groups)] += ids
    else:
        names = list(groups)
        shuffled = [groups[names[i]] for i in permutation(len(names), change.seed)]
        for ids in sorted(shuffled, key=len, reverse=True):
            min(folds, key=len).extend(ids)
    return folds


def _apply_selection(parts: dict[str, str], split: SplitCard, change: Resplit) -> dict[str, str]:
    """Apply `selection`: choose on the reported part, or on a part of its own."""
    present = set(parts.values())
    if change.selection == "report" and "eval" not in present:
        return {id_: "eval" if part == "test" else part for id_, part in parts.items() if part != "val"}
    if change.selection == "apart" and "val" not in present:
        order = _training_order(parts, split.seed)
        if split.rule != "random":  # a block of the training recordings, as the reported part is one
            order.sort(key=natural_key)
        chosen = set(order[-max(1, len(order) // 8) :])
        return {id_: "val" if id_ in chosen else "test" if part == "eval" else part for id_, part in parts.items()}
    return parts


def _apply_neighbours(
    parts: dict[str, str], found: Sequence[Found], split: SplitCard, change: Resplit
) -> tuple[dict[str, str], PartsByRecording]:
    """Apply `neighbours`: report every second recording or piece, and train on the others or leave them out."""
    reported = next(part for part in REPORT if part in parts.values())
    neighbours_part = "train" if change.neighbours == "both" else UNUSED
    neighbourhoods = _neighbourhoods(parts, found, split, reported)
    parts = dict(parts)
    in_pieces: PartsByRecording = {}
    if neighbourhoods:
        neighbours = [id_ for ids in neighbourhoods for id_ in ids[1::2]]
        count = len(neighbours)
        parts |= dict.fromkeys(neighbours, neighbours_part)
    else:
        reported_ids = [id_ for id_, part in parts.items() if part == reported]
        in_pieces = dict.fromkeys(reported_ids, (reported, neighbours_part))
        count = round(len(reported_ids) / 2)
    if neighbours_part == "train":  # in place of as many other recordings
        near = {id_ for ids in neighbourhoods for id_ in ids}
        others = [id_ for id_ in _training_order(parts, change.seed) if id_ not in near]
        for id_ in others[max(1, len(others) - count) :]:
            del parts[id_]
    return {id_: part for id_, part in parts.items() if part != UNUSED}, in_pieces


def _neighbourhoods(
    parts: Mapping[str, str], found: Sequence[Found], split: SplitCard, reported: str
) -> list[list[str]]:
    """Return the recordings of the reported part by neighbourhood; none where only pieces can be neighbours."""
    recordings = sorted((r for r in found if parts.get(r.id) == reported), key=lambda r: natural_key(r.id))
    groups: dict[str, list[str]] = {}
    for recording in recordings:
        groups.setdefault(recording.group, []).append(recording.id)
    if any(len(ids) > 1 for ids in groups.values()):
        return list(groups.values())
    in_order = split.rule == "sequential" and len(recordings) > 1
    return [[recording.id for recording in recordings]] if in_order else []
