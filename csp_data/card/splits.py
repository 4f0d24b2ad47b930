"""The part of a card that divides recordings: names of parts, with a list or a rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from unicodedata import normalize

from csp_data.errors import CardError

__all__ = ["LARGEST_SEED", "PARTS", "REPORT", "SELECTION", "SplitCard", "check_split", "is_pattern"]

PARTS = ("train", "val", "test", "test_seen", "eval")
"""Names that a part may have.

``train``: to fit; ``val``: to choose models; ``test``: to report, on what was held out; ``test_seen``: reported
beside it, on groups that training has seen; ``eval``: of published protocols, to choose and to report at once.
"""

LARGEST_SEED = 2**32 - 1
"""The generator behind ``torch.randperm`` takes 32 bits as a seed."""

SELECTION, REPORT = ("val", "eval"), ("test", "eval")
"""Parts that models may be chosen on, and parts that may be reported; the first that a data set has counts."""


@dataclass(frozen=True)
class SplitCard:
    """How recordings are divided into parts.

    Parameters
    ----------
    train, val, test, test_seen, eval
        With the rule ``"lists"``: ids of the recordings of each part, or patterns of ids (``*`` and ``?``). A
        recording that no part lists is left out. A part without a list does not exist.
    rule
        ``"lists"``; ``"sequential"``: cut the recordings, in order, at the shares; ``"random"``: the same after
        the permutation that ``torch.randperm`` gives for a generator seeded with ``seed``; ``"groups"``: the
        same with whole groups, in order of their names.
    shares
        With the other rules: the share of each part, in the order in which they are cut. Numbers of recordings (or
        groups) are those nearest to the shares, but each part has at least one while there are enough. With an
        ``eval`` part, which published protocols have, they are rounded down and the last part takes the rest.
    order
        ``"name"``: as the source lists them, by the code points of the names (demonstration_10 before
        demonstration_2); ``"recorded"``: by the numbers in the names.
    among
        ``"found"``: of all recordings there are, so that membership does not hang on what is dropped later;
        ``"kept"``: of those that the protocol does not drop, as published code does.
    seed
        Of the rule ``"random"``.
    held_out
        Parts whose groups may stand in no other part.
    """

    train: tuple[str, ...] = ()
    val: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    test_seen: tuple[str, ...] = ()
    eval: tuple[str, ...] = ()
    rule: Literal["lists", "sequential", "random", "groups"] = "lists"
    shares: Mapping[str, float] = field(default_factory=dict)
    order: Literal["name", "recorded"] = "name"
    among: Literal["found", "kept"] = "found"
    seed: int = 0
    held_out: tuple[str, ...] = ("val", "test")

    def part_of(self) -> dict[str, str]:
        """Return the part of each listed recording, or pattern; with accents as in what is found (NFC)."""
        return {normalize("NFC", id_): part for part in PARTS for id_ in getattr(self, part)}

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts there are."""
        return tuple(part for part in PARTS if part in self.shares or getattr(self, part))


def is_pattern(listed: str) -> bool:
    """Whether what a list names stands for several recordings, rather than for one by its id."""
    return "*" in listed or "?" in listed


def check_split(split: SplitCard, where: str) -> None:
    """Refuse a split that contradicts itself; `where` names it in the error."""
    listed = [id_ for part in PARTS for id_ in getattr(split, part)]
    if twice := [id_ for id_, count in Counter(listed).items() if count > 1]:
        raise CardError(where, f"lists a recording twice: {twice[0]!r}")
    if (split.rule == "lists") != (not split.shares) or (split.rule != "lists" and listed):
        raise CardError(
            where, f"the rule {split.rule!r} needs {'lists' if split.rule == 'lists' else 'shares'} alone"
        )
    if unknown := (set(split.shares) | set(split.held_out)) - set(PARTS):
        raise CardError(where, f"{sorted(unknown)[0]!r} is no part; parts are {', '.join(PARTS)}")
    for part, share in split.shares.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
            raise CardError(where, f"the share of {part} should be above 0 and at most 1, found {share!r}")
    if split.shares and abs(sum(split.shares.values()) - 1) > 1e-9:
        raise CardError(where, f"shares should add up to 1, found {sum(split.shares.values()):g}")
    if not 0 <= split.seed <= LARGEST_SEED:
        raise CardError(where, f"the seed should be from 0 to {LARGEST_SEED}, found {split.seed}")
    if "train" not in split.parts:
        raise CardError(where, "there is no train part")
