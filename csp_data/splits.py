"""Which recording belongs to train, val and test."""

from __future__ import annotations

from collections.abc import Sequence

from csp_data.card import Card
from csp_data.errors import CardError, UnknownNameError
from csp_data.sources import Found

__all__ = ["PARTS", "assign"]

PARTS = ("train", "val", "test")


def assign(card: Card, protocol: str, found: Sequence[Found]) -> dict[str, str]:
    """Assign recordings to parts by the card's lists.

    Parameters
    ----------
    card
        Holds the lists of each protocol.
    protocol
        Name of the lists.
    found
        Recordings to assign.

    Returns
    -------
    dict
        Part of each listed recording by id; a recording that is not listed is not in it.

    Raises
    ------
    UnknownNameError
        If the card has no lists of that name.
    CardError
        If the lists put one group into two parts.
    """
    if protocol not in card.splits:
        raise UnknownNameError(f"protocol of {card.name}", protocol, card.splits)
    part_of = card.splits[protocol].part_of()
    parts = {recording.id: part_of[recording.id] for recording in found if recording.id in part_of}
    groups: dict[str, str] = {}
    for recording in found:
        if (
            recording.id in parts
            and groups.setdefault(recording.group, parts[recording.id]) != parts[recording.id]
        ):
            raise CardError(card.name, f"splits.{protocol} puts group {recording.group!r} into two parts")
    return parts
