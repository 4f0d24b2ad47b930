"""Sizes of the models by name, as overrides of the layers' own defaults.

``paper`` exists for every model: the defaults of the published configuration files. The name of a data set exists
for the one model that was published as best there. ``small`` exists for every model too: sizes for a few minutes
of recordings and a CPU, at most 0.1 million parameters, regularised more; they are ours, those of flat-lstm and
hiss-s4-mamba chosen on the val part of ``sample``.

The published S4 trains C~ for the length of its first input (``S4Config.kernel="truncated"``): inside chunks the
chunk's length, elsewhere the padded length of the validation part. That length is stated here from the longest
episode that the benchmark's description allows at 50 Hz: 30 s, or 240 s for RoNIN. Give ``kernel_length`` to
``build`` for data with longer episodes; a different length is a different parametrisation of the same layers.
"""

from collections.abc import Mapping
from typing import Any

__all__ = ["PRESETS", "presets_of"]

Overrides = Mapping[str, Any]

_S4 = {"kernel": "truncated"}
_LENGTH = 1500  # 30 s at 50 Hz

_FLAT: dict[str, Overrides] = {
    "lstm": {"dim": 128, "hidden": 128, "layers": 2, "dropout": 0.1},
    "transformer": {"dim": 128, "layers": 6, "heads": 2, "dropout": 0.1, "equal_init": True},
    "s4": {"dim": 128, "layers": 6, "dropout": 0.1, **_S4, "kernel_length": _LENGTH},
    "mamba": {"dim": 64, "layers": 2},
}

_LOW: dict[str, Overrides] = {
    "lstm": {"dim": 64, "hidden": 64, "layers": 1},
    "s4": {"dim": 64, "layers": 4, "dropout": 0.1, **_S4},
    "mamba": {"dim": 128, "layers": 1},
}

_HIGH: dict[str, Overrides] = {
    "lstm": {"dim": 64, "hidden": 64, "layers": 1},
    "s4": {"dim": 64, "layers": 4, "dropout": 0.1, **_S4, "kernel_length": _LENGTH // 10},
    "mamba": {"dim": 64, "layers": 4},
    "transformer": {"dim": 64, "layers": 4, "heads": 2, "feedforward": 256, "dropout": 0.1, "equal_init": True},
}


_SMALL_FLAT: dict[str, Overrides] = {
    "lstm": {"dim": 64, "hidden": 64, "layers": 2, "dropout": 0.2},
    "transformer": {"dim": 64, "layers": 3, "heads": 2, "feedforward": 128, "dropout": 0.1},
    "s4": {"dim": 64, "layers": 4, "dropout": 0.2},
    "mamba": {"dim": 64, "layers": 2},
}

_SMALL_LOW: dict[str, Overrides] = {
    "lstm": {"dim": 32, "hidden": 32, "layers": 1},
    "s4": {"dim": 32, "layers": 2, "dropout": 0.2},
    "mamba": {"dim": 32, "layers": 2},
}

_SMALL_HIGH: dict[str, Overrides] = {
    "lstm": {"dim": 64, "hidden": 64, "layers": 1},
    "s4": {"dim": 64, "layers": 3, "dropout": 0.2},
    "mamba": {"dim": 64, "layers": 2},
    "transformer": {"dim": 64, "layers": 2, "heads": 2, "feedforward": 128, "dropout": 0.1},
}


def _levels(low: Overrides, high: Overrides) -> Overrides:
    prefixed = (("low_", low), ("high_", high))
    return {prefix + key: value for prefix, level in prefixed for key, value in level.items()}


def _best(low_kind: str, low: tuple[int, int], high_kind: str, high: tuple[int, int], **more: Any) -> Overrides:
    """Return the ``paper`` preset with other widths and depths, each (dim, layers)."""
    sizes = {"low_dim": low[0], "low_layers": low[1], "high_dim": high[0], "high_layers": high[1]}
    return {**_levels(_LOW[low_kind], _HIGH[high_kind]), **sizes, **more}


PRESETS: dict[str, dict[str, Overrides]] = {
    **{f"flat-{kind}": {"paper": _FLAT[kind], "small": _SMALL_FLAT[kind]} for kind in _FLAT},
    **{
        f"hiss-{low}-{high}": {
            "paper": _levels(_LOW[low], _HIGH[high]),
            "small": _levels(_SMALL_LOW[low], _SMALL_HIGH[high]),
        }
        for low in _LOW
        for high in _HIGH
    },
}
"""Model name to its presets, each a mapping of overrides that ``build`` takes."""

PRESETS["hiss-s4-mamba"] |= {
    "marker": _best("s4", (256, 6), "mamba", (128, 6)),
    "slip": _best("s4", (256, 6), "mamba", (256, 4)),
    "joystick": _best("s4", (256, 4), "mamba", (256, 4)),
    "totalcapture": _best("s4", (256, 6), "mamba", (128, 4)),
}
PRESETS["hiss-s4-s4"] |= {"ronin": _best("s4", (256, 6), "s4", (128, 6), high_kernel_length=1200)}  # 240 s at 5 Hz
PRESETS["hiss-mamba-mamba"] |= {"vector": _best("mamba", (32, 4), "mamba", (64, 4))}


def presets_of(model: str) -> list[str]:
    """Return the names of the presets of a model (a key of :data:`PRESETS`)."""
    return list(PRESETS[model])
