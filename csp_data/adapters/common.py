"""Shared by all adapters: choosing episodes, and the metadata that goes with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from csp_data.card import stored_card
from csp_data.store import EpisodeRow

if TYPE_CHECKING:
    from csp_data.dataset import Dataset

__all__ = ["chosen", "described"]


def chosen(dataset: Dataset, part: str | None) -> tuple[EpisodeRow, ...]:
    """Return the episodes of a part; of all parts for ``None``."""
    return dataset.episodes if part is None else dataset.split(part).rows


def described(dataset: Dataset) -> dict[str, Any]:
    """Return the metadata that every other format has to carry along, as JSON values."""
    card, provenance = dataset.card, dataset.provenance
    return {
        "dataset": dataset.name,
        "title": card.title,
        **({"version": card.version} if card.version else {}),
        "kind": dataset.kind,
        "licence": stored_card(card)["licence"],
        "citation": stored_card(card)["citation"],
        "protocol": dataset.protocol.to_json(),
        "recipe_hash": provenance["recipe_hash"],
        "source_digest": provenance["source_digest"],
        "created_by": provenance["created_by"],
    }
