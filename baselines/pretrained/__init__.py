"""Trained models that ship with the package: weights, interface and card of each, nothing to fetch.

``NAME.safetensors`` holds the weights, and in its metadata everything else (:class:`Pretrained`); ``NAME.md`` is
its card, made from that metadata. ``scripts/make_pretrained.py`` makes both from finished runs.
"""

from baselines.pretrained.card import card_text
from baselines.pretrained.model import (
    Pretrained,
    PretrainedError,
    load_pretrained,
    pretrained_names,
    pretrained_of,
    read_pretrained,
)

__all__ = [
    "Pretrained",
    "PretrainedError",
    "card_text",
    "load_pretrained",
    "pretrained_names",
    "pretrained_of",
    "read_pretrained",
]
