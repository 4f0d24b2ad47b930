"""Sizes of the models by name, as overrides of the layers' own defaults.

``paper`` exists for every published model: the defaults of the published configuration files; flat ones answer at
the first sample of a chunk, as in the published code, others at the last. The name of a data set is there for the
one model that was published as best there. ``small`` exists for every model, published or not: sizes for a few
minutes of recordings and a CPU, about 0.1 million parameters at most, regularised more; they are ours, those of
flat-lstm and hiss-s4-mamba chosen on the val part of ``sample``, the others by likeness of size.

The published S4 trains C~ for the length of its first input (``S4Config.kernel="truncated"``): inside chunks the
chunk's length, elsewhere the padded length of the validation part. That length is stated here from the longest
episode that the benchmark's description allows at 50 Hz: 30 s, or 240 s for RoNIN. Give ``kernel_length`` to
``build`` for data with longer episodes; a different length is a different parametrisation of the same layers.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from baselines.errors import OptionError, UnknownNameError

__all__ = [
    "ALL_MODELS",
    "DECIDED_BY_DATA",
    "INNER_KINDS",
    "KINDS",
    "MODELS",
    "PRESETS",
    "REFERENCES",
    "STATE_SPACES",
    "UnknownModelError",
    "model_kinds",
    "presets_for",
    "presets_of",
]

REFERENCES = {
    "mean": "of the training targets",
    "fir": "linear filter over the last 100 samples, fewer with many channels",
    "kalman": "linear state-space model identified on train, with its Kalman filter",
    "strapdown": "inertial sensors alone: orientation filter and integration, one time constant learned",
}
"""References by name, and what they are; their own module imports torch, for which not everyone wants to wait."""

Overrides = Mapping[str, Any]

_TRUNCATED = {"kernel": "truncated"}
_LONGEST_EPISODE = 1500  # 30 s at 50 Hz

_FLAT: dict[str, Overrides] = {
    "lstm": {"dim": 128, "hidden": 128, "layers": 2, "dropout": 0.1},
    "transformer": {"dim": 128, "layers": 6, "heads": 2, "dropout": 0.1, "equal_init": True},
    "s4": {"dim": 128, "layers": 6, "dropout": 0.1, **_TRUNCATED, "kernel_length": _LONGEST_EPISODE},
    "mamba": {"dim": 64, "layers": 2},
}

_LOW: dict[str, Overrides] = {
    "lstm": {"dim": 64, "hidden": 64, "layers": 1},
    "s4": {"dim": 64, "layers": 4, "dropout": 0.1, **_TRUNCATED},
    "mamba": {"dim": 128, "layers": 1},
}

_HIGH: dict[str, Overrides] = {
    "lstm": {"dim": 64, "hidden": 64, "layers": 1},
    "s4": {"dim": 64, "layers": 4, "dropout": 0.1, **_TRUNCATED, "kernel_length": _LONGEST_EPISODE // 10},
    "mamba": {"dim": 64, "layers": 4},
    "transformer": {"dim": 64, "layers": 4, "heads": 2, "feedforward": 256, "dropout": 0.1, "equal_init": True},
}


_SMALL_FLAT: dict[str, Overrides] = {
    "lstm": {"dim": 64, "hidden": 64, "layers": 2, "dropout": 0.2},
    "transformer": {"dim": 64, "layers": 3, "heads": 2, "feedforward": 128, "dropout": 0.1},
    "s4": {"dim": 64, "layers": 4, "dropout": 0.2},
    "mamba": {"dim": 64, "layers": 2},
    "gru": {"dim": 64, "hidden": 64, "layers": 2, "dropout": 0.2},
    "tcn": {"dim": 48, "layers": 6, "dropout": 0.2},  # sees 253 samples, 5 s at 50 Hz
    "mamba2": {"dim": 64, "layers": 2, "state": 32},
    "s4d": {"dim": 64, "layers": 4, "dropout": 0.2},
    "lru": {"dim": 64, "layers": 3, "dropout": 0.2},
}

_SMALL_LOW: dict[str, Overrides] = {
    "lstm": {"dim": 32, "hidden": 32, "layers": 1},
    "s4": {"dim": 32, "layers": 2, "dropout": 0.2},
    "mamba": {"dim": 32, "layers": 2},
    "gru": {"dim": 32, "hidden": 32, "layers": 1},
    "tcn": {"dim": 32, "layers": 2, "dropout": 0.2},  # sees 13 samples
    "mamba2": {"dim": 32, "layers": 2, "state": 16},
    "s4d": {"dim": 32, "layers": 2, "dropout": 0.2},
    "lru": {"dim": 32, "layers": 2, "state": 32, "dropout": 0.2},
}

_SMALL_HIGH: dict[str, Overrides] = {
    "lstm": {"dim": 64, "hidden": 64, "layers": 1},
    "s4": {"dim": 64, "layers": 3, "dropout": 0.2},
    "mamba": {"dim": 64, "layers": 2},
    "transformer": {"dim": 64, "layers": 2, "heads": 2, "feedforward": 128, "dropout": 0.1},
    "gru": {"dim": 64, "hidden": 64, "layers": 1},
    "tcn": {"dim": 48, "layers": 4, "dropout": 0.2},  # sees 61 chunks
    "mamba2": {"dim": 64, "layers": 2, "state": 32},
    "s4d": {"dim": 64, "layers": 3, "dropout": 0.2},
    "lru": {"dim": 64, "layers": 2, "dropout": 0.2},
}


def _levels(low: Overrides, high: Overrides, mid: Overrides | None = None) -> Overrides:
    prefixed = (("low_", low), ("mid_", mid or {}), ("high_", high))
    return {prefix + key: value for prefix, level in prefixed for key, value in level.items()}


def _published_sizes(
    low_kind: str, low: tuple[int, int], high_kind: str, high: tuple[int, int], **others: Any
) -> Overrides:
    """Return the ``paper`` preset with other widths and depths, each (dim, layers)."""
    sizes = {"low_dim": low[0], "low_layers": low[1], "high_dim": high[0], "high_layers": high[1]}
    return {**_levels(_LOW[low_kind], _HIGH[high_kind]), **sizes, **others}


_PAPER: dict[str, Overrides] = {
    **{f"flat-{kind}": {**_FLAT[kind], "readout": "first"} for kind in _FLAT},
    **{f"hiss-{low}-{high}": _levels(_LOW[low], _HIGH[high]) for low in _LOW for high in _HIGH},
}
_SMALL: dict[str, Overrides] = {
    **{f"flat-{kind}": _SMALL_FLAT[kind] for kind in _SMALL_FLAT},
    **{
        f"hiss-{low}-{high}": _levels(_SMALL_LOW[low], _SMALL_HIGH[high])
        for low in _SMALL_LOW
        for high in _SMALL_HIGH
    },
}

PRESETS: dict[str, dict[str, Overrides]] = {
    **{name: {"paper": sizes, "small": _SMALL[name]} for name, sizes in _PAPER.items()},
    **{name: {"small": sizes} for name, sizes in _SMALL.items() if name not in _PAPER},
}
"""Model name to its presets, each a mapping of overrides that ``build`` takes; the published models first."""

MODELS = tuple(_PAPER)
"""Names of the 16 published models."""

ALL_MODELS = tuple(PRESETS)
"""Names of all models with one or two levels: the published, and those with the other kinds of layers.

Models with three levels, ``hiss-<low>-<mid>-<high>``, can be built too but are too many to list.
"""

KINDS = tuple(_SMALL_FLAT)
"""All kinds of layers, those of :data:`baselines.layers.LAYERS`, without the module that imports torch."""

STATE_SPACES = frozenset({"s4", "mamba", "mamba2", "s4d", "lru"})
"""Kinds that are state-space models: HiSS in the paper's sense has one at every level (there S4 or Mamba)."""

INNER_KINDS = tuple(_SMALL_LOW)
"""Kinds that can stand below the highest level; a Transformer is published only above."""

PRESETS["hiss-s4-mamba"] |= {
    "marker": _published_sizes("s4", (256, 6), "mamba", (128, 6)),
    "slip": _published_sizes("s4", (256, 6), "mamba", (256, 4)),
    "joystick": _published_sizes("s4", (256, 4), "mamba", (256, 4)),
    "totalcapture": _published_sizes("s4", (256, 6), "mamba", (128, 4)),
}
PRESETS["hiss-s4-s4"] |= {
    "ronin": _published_sizes("s4", (256, 6), "s4", (128, 6), high_kernel_length=1200)  # 240 s at 5 Hz
}
PRESETS["hiss-mamba-mamba"] |= {"vector": _published_sizes("mamba", (32, 4), "mamba", (64, 4))}


def presets_for(model: str) -> Mapping[str, Overrides]:
    """Return the presets of a model: those of :data:`PRESETS`, or ``small`` for a name with three levels.

    The middle level of a ``small`` model with three levels has the size of a low one.

    Raises
    ------
    UnknownModelError
        A name that is no model's.
    """
    kinds = model_kinds(model)
    if len(kinds) < 3:
        return PRESETS[model]
    low, mid, high = kinds
    return {"small": _levels(_SMALL_LOW[low], _SMALL_HIGH[high], _SMALL_LOW[mid])}


def presets_of(model: str) -> list[str]:
    """Return the names of the presets of a model: sizes that :func:`baselines.build` takes by name.

    Raises
    ------
    UnknownNameError, OptionError
        A name that is no model's, or no name.

    Examples
    --------
    >>> from baselines import presets_of
    >>> presets_of("hiss-mamba-mamba")
    ['paper', 'small', 'vector']
    """
    return list(presets_for(model))


def model_kinds(model: str) -> list[str]:
    """Return the kinds of layers in a model's name, lowest level first.

    Raises
    ------
    UnknownModelError
        Unless the name is one of :data:`ALL_MODELS` or ``hiss-<low>-<mid>-<high>`` of known kinds.
    """
    _check_name(model)
    family, *kinds = model.split("-")
    three = family == "hiss" and len(kinds) == 3 and {*kinds[:2]} <= {*INNER_KINDS} and kinds[2] in _SMALL_HIGH
    if model not in PRESETS and not three:
        raise UnknownModelError(model)
    return kinds


DECIDED_BY_DATA = ("in_dim", "out_dim", "chunk")
"""What every model is told of the data set, and no preset or option can say."""

OWN = "own"
"""Family of models from a file of one's own."""


def is_own(model: str) -> bool:
    """Tell whether a name is that of a model from a file of one's own: ``FILE.py:NAME``."""
    _check_name(model)
    return model.rpartition(":")[0].endswith(".py")


def _check_name(model: object) -> None:
    if not isinstance(model, str):
        fix = "In a notebook, %%writefile FILE.py writes a cell to a file."
        raise OptionError("model", model, "a name, which for a class of your own is FILE.py:NAME", fix)


def short_name(model: str) -> str:
    """Return what tables and folders call a model: ``own-NAME`` for ``FILE.py:NAME``, else the name itself."""
    return f"{OWN}-{model.rpartition(':')[2]}" if is_own(model) else model


def short_names(models: Iterable[str]) -> dict[str, str]:
    """Return the short name of each model; of models of one's own that would share one, the whole name."""
    short = {model: short_name(model) for model in models}
    return {model: name if [*short.values()].count(name) == 1 else model for model, name in short.items()}


def default_preset(model: str) -> str | None:
    """Return the sizes that a model has where none are asked for; None for what has no sizes by name."""
    return None if model in REFERENCES or is_own(model) else "small"


class UnknownModelError(UnknownNameError):
    """A name that is no model's; the message lists the families, as the names are too many to read.

    Parameters
    ----------
    got
        The name that was asked for.
    also
        Other names that would have done.
    """

    def __init__(self, got: str, also: Iterable[str] = ()) -> None:
        super().__init__("model", got, (*also, *ALL_MODELS))
        meant = f" Did you mean {self.nearest!r}?" if self.nearest else ""
        self.args = (
            f"There is no model {got!r}.{meant} Known: flat-<kind>, hiss-<low>-<high>, hiss-<low>-<mid>-<high>; "
            f"<kind> and <high> are {', '.join(KINDS)}; <low> and <mid> are {', '.join(INNER_KINDS)}."
            + (f" Also: {', '.join(also)}." if also else "")
            + " A model of your own is FILE.py:NAME.",
        )
