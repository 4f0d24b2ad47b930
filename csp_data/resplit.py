"""Change the parts of a data set, for experiments: fewer training recordings, folds, another selection."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from csp_data.errors import OptionError
from csp_data.options import check_choice, check_number

__all__ = ["UNUSED", "Resplit"]

UNUSED = "unused"
"""What the file calls the part of episodes that a change left without one. It is none of the data set's parts."""


@dataclass(frozen=True)
class Resplit:
    """Change which recordings train, choose and report. The card's split comes first, then this.

    Parameters
    ----------
    fold
        For cross-validation: all recordings of the split are dealt anew into `folds` folds, groups whole. The one
        of this number, from 0 on, is ``test``, the next (after the last the first) ``val``, all others ``train``;
        so each recording is in ``test`` of one fold and in ``val`` of another. In a split that cuts the recordings
        in their order, folds are blocks in that order; in others, groups are shuffled by `seed`, and larger ones
        are dealt first. The other changes come after this one. ``None``: the card's parts.
    by
        What a fold holds whole: ``"group"``, or ``"subject"`` where the source knows whose recordings they are and
        a group is less than all of a person (TotalCapture: a group is a sequence, since the published parts share
        the subjects).
    folds
        How many folds there are, at least 3 (Hastie, Tibshirani, Friedman, The Elements of Statistical Learning,
        2009, section 7.10; the part to choose on is one of them too).
    share
        Share of the training recordings that are used, above 0 and at most 1; at least one recording. Subsets of
        one seed are nested: what a smaller share holds, a larger one holds too.
    seed
        Seed of the order in which recordings are left out, and of folds.
    selection
        ``"report"``: the reported part also chooses the epoch, and no recording is held out for that (as
        published): ``test`` becomes ``eval``, ``val`` is not used, ``train`` stays. ``"apart"``: where ``eval``
        does both, it becomes ``test``, and an eighth of the training recordings becomes ``val``. ``None``: as the
        card has it.
    neighbours
        Every second recording of the reported part is reported; what becomes of its neighbours in between?
        ``"apart"``: they are not used. ``"both"``: they are trained on, in place of as many other training
        recordings. A recording's neighbours are the others of its group; in a split that cuts the recordings in
        their order, those recorded before and after it; where there are neither, recordings of the part are cut
        into pieces, and neighbours are pieces. ``None``: the whole part is reported, as the card has it.
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
        check_number("resplit.seed", self.seed, "a whole number of at least 0", least=0, whole=True)
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
