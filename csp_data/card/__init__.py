"""Cards, which describe data sets: their fields, reading and checking them, and finding one by its name.

The cards that ship are in ``csp_data/cards``, one TOML file each.
"""

from csp_data.card.parse import NOT_STORED, card_from, read_card, stored_card
from csp_data.card.registry import add_card, bundled_root, is_shipped, left_out, load_card, names
from csp_data.card.splits import SplitCard
from csp_data.card.types import (
    Access,
    Card,
    Citation,
    FileEntry,
    Licence,
    Size,
    StreamCard,
    TargetCard,
    printed,
    printed_unit,
    prose,
)

__all__ = [
    "NOT_STORED",
    "Access",
    "Card",
    "Citation",
    "FileEntry",
    "Licence",
    "Size",
    "SplitCard",
    "StreamCard",
    "TargetCard",
    "add_card",
    "bundled_root",
    "card_from",
    "is_shipped",
    "left_out",
    "load_card",
    "names",
    "printed",
    "printed_unit",
    "prose",
    "read_card",
    "stored_card",
]
