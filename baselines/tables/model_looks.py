"""Colours of models in every figure: learned ones in colours, references in grey."""

from __future__ import annotations

from collections.abc import Mapping

from baselines.presets import REFERENCES
from csp_data.plot.style import Look, looks

__all__ = ["looks_by_name"]


def looks_by_name(models: Mapping[str, str]) -> dict[str, Look]:
    """Give what a figure calls each model its look.

    Parameters
    ----------
    models
        Label in the figure to the name of the model or reference, in the order in which colours are taken.
    """
    learned = [label for label, name in models.items() if name not in REFERENCES]
    all_looks = looks(learned, [label for label in models if label not in learned])
    return {label: all_looks[label] for label in models}
