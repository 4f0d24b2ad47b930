"""What all adapters share: which episodes, what is said about them, and files that are written whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csp_data.card import stored_card
from csp_data.errors import CspDataError
from csp_data.store import EpisodeRow

if TYPE_CHECKING:
    from csp_data.dataset import Dataset

__all__ = ["chosen", "described", "output"]


def chosen(dataset: Dataset, part: str | None) -> tuple[EpisodeRow, ...]:
    """Return the episodes of a part; of all parts for ``None``."""
    return dataset.episodes if part is None else dataset.split(part).rows


def described(dataset: Dataset) -> dict[str, Any]:
    """Return what must not be lost on the way to another format, as JSON values."""
    card, provenance = dataset.card, dataset.provenance
    return {
        "dataset": dataset.name,
        "title": card.title,
        "kind": dataset.kind,
        "licence": stored_card(card)["licence"],
        "citation": stored_card(card)["citation"],
        "protocol": dataset.protocol.to_json(),
        "recipe_hash": provenance["recipe_hash"],
        "source_digest": provenance["source_digest"],
        "created_by": provenance["created_by"],
    }


@contextmanager
def output(path: Path | str) -> Iterator[Path]:
    """Yield a temporary name beside `path`, which gets the name when all went well.

    Raises
    ------
    CspDataError
        If it cannot be written.
    """
    path = Path(path).expanduser()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise CspDataError(f"{path} cannot be written: {error}. Choose another place with -o.") from error
    finally:
        temporary.unlink(missing_ok=True)
