"""Change the parts of a data set, for experiments: fewer training recordings, folds, another selection."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from csp_data.card.splits import LARGEST_SEED
from csp_data.errors import OptionError
from csp_data.options import check_choice, check_number

__all__ = ["UNUSED", "Resplit"]

UNUSED = "unused"
"""What the file calls the part of episodes that a change left without one. It is none of the data set's parts."""


@dataclass(frozen=True)
class Resplit:
    """Change which recordings are trained on, chosen on and reported.

    The card's split is applied first; the changes come after it, in the order `fold`, then the others. They are
    meant for experiments: cross-validation, learning curves, and measuring what a leak is worth.

    Parameters
    ----------
    fold
        Number of the fold to test on, from 0 on; ``None`` for no folds. All recordings of the split are dealt
        anew into `folds` folds, with groups kept whole. This fold becomes ``test``, the next one (after the last,
        the first) ``val``, and all others ``train``; so each recording is in ``test`` of one fold and in ``val``
        of another. In a split that cuts the recordings in their order, folds are blocks in that order; in others,
        groups are shuffled by `seed`, and larger ones are dealt first.
    by
        What a fold keeps whole: ``"group"``, or ``"subject"`` if the source knows the subjects and a group is less
        than all recordings of a subject (in TotalCapture a group is a sequence, since the published parts share
        the subjects).
    folds
        Number of folds, at least 3, since one of them is chosen on (Hastie, Tibshirani, Friedman, The Elements of
        Statistical Learning, 2009, section 7.10).
    share
        Share of the training recordings that are used, above 0 and at most 1; at least one recording. The subsets
        of one seed are nested: a larger share holds every smaller one.
    seed
        Seed of the order in which recordings are left out, and of the folds.
    selection
        What chooses the epoch. ``"report"``: the reported part, as published; ``test`` becomes ``eval``, ``val``
        is not used, and ``train`` stays. ``"apart"``: a part of its own; if ``eval`` does both, it becomes
        ``test``, and an eighth of the training recordings becomes ``val``. ``None``: as on the card.
    neighbours
        Report only every second recording of the reported part, and either leave out those in between
        (``"apart"``), or train on them in place of as many other training recordings (``"both"``). A recording's
        neighbours are the others of its group; or, in a split that cuts the recordings in their order, those
        recorded before and after it; if there are neither, the recordings of the part are cut into pieces, and
        the neighbours are pieces. ``None``: the whole part is reported, as on the card.
    piece_s
        Length of such pieces in seconds.

    Raises
    ------
    OptionError
        If a field has a value out of bounds.
    """

    fold: int | None = None
    folds: int = 5
    by: Literal["group", "subject"] = "group"
    share: float = 1.0
    seed: int = 0
    selection: Literal["apart", "report"] | None = None
    neighbours: Literal["apart", "both"] | None = None
    piece_s: float = 10.0

    def __post_init__(self) -> None:
        folds = "a whole number of at least 3: to train, choose and report"
        check_number("resplit.folds", self.folds, folds, least=3, whole=True)
        if self.fold is not None:
            last = self.folds - 1
            expected = f"a whole number from 0 to {last}"
            check_number("resplit.fold", self.fold, expected, least=0, most=last, whole=True)
        check_choice("resplit.by", self.by, ("group", "subject"))
        if self.by != "group" and self.fold is None:
            raise OptionError("resplit.by", self.by, "a fold with it: only folds are dealt")
        seeds = f"a whole number from 0 to {LARGEST_SEED}"
        check_number("resplit.seed", self.seed, seeds, least=0, most=LARGEST_SEED, whole=True)
        check_number("resplit.share", self.share, "a share above 0 and at most 1", above=0, most=1)
        check_number("resplit.piece_s", self.piece_s, "a length above 0 s", above=0, below=math.inf)
        check_choice("resplit.selection", self.selection, ("apart", "report", None))
        check_choice("resplit.neighbours", self.neighbours, ("apart", "both", None))

    def parts(self, before: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names of the parts there are after the change, from those before it."""
        if self.fold is not None:
            before = ("train", "val", "test")
        if self.selection == "report":
            named = ("eval" if part == "test" and "eval" not in before else part for part in before)
            return tuple(part for part in named if part != "val")
        if self.selection == "apart" and "val" not in before:
            return tuple(more for part in before for more in (("val", "test") if part == "eval" else (part,)))
        return before
