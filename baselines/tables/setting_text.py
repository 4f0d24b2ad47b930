"""Settings of a protocol, a training or a model in words, for headings and axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from csp_data import Resplit

__all__ = ["PHASES", "setting_name", "setting_text", "value_text"]

RESPLIT = vars(Resplit())
"""A change of the parts that changes nothing: what differs from it is told."""
PHASES = {"causal": "causal", "zero": "zero phase"}


def setting_name(field: str) -> str:
    """Return the name of a setting in words."""
    name = field.rsplit(".", 1)[-1]
    return {"lowpass": "low-pass"}.get(name, name.replace("_", " "))


def setting_text(field: str, value: Any) -> str:
    """Return a setting with its value in words."""
    folded = isinstance(value, Mapping) and value.get("folds") is not None
    return value_text(value) if folded else f"{setting_name(field)} {value_text(value)}"


def value_text(value: Any) -> str:
    """Return a setting's value in a few words."""
    if isinstance(value, Mapping) and "hz" in value:
        order = "" if value.get("order", 3) == 3 else f", order {value['order']}"
        return f"{value['hz']:g} Hz {PHASES.get(value.get('phase', 'causal'))}{order}"
    if isinstance(value, Mapping) and value and value.keys() <= RESPLIT.keys():
        fold, folds = value.get("fold"), value.get("folds")
        others = {
            name: setting for name, setting in value.items() if setting != RESPLIT[name] and "fold" not in name
        }
        first = "" if folds is None else f"{folds} folds" if fold is None else f"fold {fold} of {folds}"
        return (
            " ".join(filter(None, [first, *(f"{name} {value_text(setting)}" for name, setting in others.items())]))
            or "none"
        )
    if isinstance(value, Mapping):
        return " ".join(f"{name} {value_text(setting)}" for name, setting in value.items() if setting is not None)
    if isinstance(value, list | tuple):
        return " ".join(map(value_text, value))
    if isinstance(value, bool) or value is None:
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
