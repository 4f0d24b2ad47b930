"""The hash that names a prepared file, over everything that its numbers depend on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from csp_data.card import Card, is_shipped
from csp_data.card.splits import SplitCard
from csp_data.protocol import Protocol
from csp_data.store import FORMAT_VERSION

__all__ = ["INPUT_CHECKS", "recipe_hash"]

REVISION = 2
"""Raised when the pipeline gives other numbers for the same recipe, so that old prepared files are not taken."""
GIVEN = 1
"""As ``REVISION``, of what readers from outside the package give."""
INPUT_CHECKS = 3
"""Raised when the pipeline refuses inputs that it took before, so that files made from them are not taken either.

It stands in the file beside the recipe's hash and not in it: whatever is still taken gives the same numbers, and
results that name a recipe go on naming the file that they were computed on. Only where faulty recordings are left
out do the numbers depend on what counts as one.
"""


def recipe_hash(card: Card, protocol: Protocol, source_digest: str, *, skip_damaged: bool = False) -> str:
    """Return 12 hexadecimal digits that name everything the prepared file's numbers depend on."""
    recipe = {
        "dataset": card.name,
        "protocol": _stated(protocol),
        "splits": _divided(card.splits[protocol.split_name]),
        "source": source_digest,
        "format": FORMAT_VERSION,
        "revision": REVISION,
        **({"skip_damaged": True, "input_checks": INPUT_CHECKS} if skip_damaged else {}),
        **_own_card(card),
    }
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]


def _divided(split: SplitCard) -> dict[str, Any]:
    """Return how recordings are divided; fields of later versions count only if they are set."""
    return {**asdict(split), **({"cut": "nearest"} if split.shares and "eval" not in split.shares else {})}


def _own_card(card: Card) -> dict[str, Any]:
    """Return what the numbers depend on in a card from outside the package, and its reader."""
    if is_shipped(card):
        return {}
    reader = {"module": card.source} if card.reader is None else {"reader": [card.reader.digest(), GIVEN]}
    fields = {name: value for name, value in card.to_dict().items() if name in ("kind", "streams", "targets")}
    return {**reader, "card": fields}


def _stated(protocol: Protocol) -> dict[str, Any]:
    """Return the protocol's fields; fields of later versions count only if they are set."""
    fields: dict[str, Any] = json.loads(protocol.to_json())
    if fields["augment"] == "none":
        del fields["augment"]
    return fields
