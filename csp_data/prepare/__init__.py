"""From raw recordings to the prepared file: read, cut into examples, divide into parts, write."""

from csp_data.prepare.pipeline import prepare_card

__all__ = [
    "prepare_card",
]
