"""One way in: a model from its name, or from its stored configuration."""

from dataclasses import fields
from typing import Any

from baselines.config import FlatConfig, HierarchicalConfig, ModelConfig, config_from_dict
from baselines.errors import OptionError, UnknownNameError
from baselines.layers import LAYERS, LayerConfig
from baselines.models import FlatModel, HierarchicalModel
from baselines.presets import PRESETS

__all__ = ["MODELS", "build", "build_from_config"]

MODELS = tuple(PRESETS)
"""Names of all models."""


def build(
    name: str,
    in_dim: int,
    out_dim: int,
    *,
    preset: str | None = None,
    chunk: int = 10,
    readout: str = "last",
    **overrides: Any,
) -> FlatModel | HierarchicalModel:
    """Return a freshly initialised model.

    Parameters
    ----------
    name
        ``flat-<kind>`` or ``hiss-<low>-<high>``, one of :data:`MODELS`.
    in_dim, out_dim
        Channels of inputs and of targets.
    preset
        Sizes by name (:data:`baselines.presets.PRESETS`); None: the layers' own defaults.
    chunk
        Input samples per output.
    readout
        For flat models the sample of each chunk that gives the output, ``"first"`` (published) or ``"last"``.
        Hierarchical models always use the last.
    **overrides
        Fields of the layer's configuration (``dim=32, layers=2``). In a hierarchical model ``low_`` or ``high_``
        before a field picks the level; without, it goes to every level that has the field. ``high_dim`` is the
        size of a chunk's feature.

    Returns
    -------
    FlatModel or HierarchicalModel
        With its configuration as ``model.config``.

    Raises
    ------
    UnknownNameError
        An unknown model, preset or override: the message lists the known ones.
    OptionError
        A value out of bounds.

    Examples
    --------
    >>> import torch
    >>> from baselines import build
    >>> model = build("hiss-s4-mamba", in_dim=6, out_dim=3, dim=16, layers=2)
    >>> model(torch.zeros(2, 50, 6)).shape
    torch.Size([2, 5, 3])
    """
    if name not in MODELS:
        raise UnknownNameError("model", name, MODELS)
    if preset is not None and preset not in PRESETS[name]:
        raise UnknownNameError(f"preset of {name}", preset, PRESETS[name])
    family, *kinds = name.split("-")
    levels = ("",) if family == "flat" else ("low_", "high_")
    options = _assign({} if preset is None else dict(PRESETS[name][preset]), levels, kinds, name)
    for level, given in _assign(overrides, levels, kinds, name).items():
        options[level].update(given)
    if family == "flat":
        return FlatModel(FlatConfig(in_dim, out_dim, _layer(kinds[0], options[""]), chunk, readout))
    if readout != "last":
        raise OptionError(
            "readout", readout, f"'last' for {name}: a chunk's feature is the low level's last output"
        )
    low = options["low_"]
    if low.get("kernel") == "truncated":
        low.setdefault("kernel_length", chunk)
    config = HierarchicalConfig(in_dim, out_dim, _layer(kinds[0], low), _layer(kinds[1], options["high_"]), chunk)
    return HierarchicalModel(config)


def build_from_config(config: ModelConfig | dict[str, Any]) -> FlatModel | HierarchicalModel:
    """Return a freshly initialised model for ``model.config``, or for its dictionary (``config_to_dict``)."""
    if isinstance(config, dict):
        config = config_from_dict(config)
    return FlatModel(config) if isinstance(config, FlatConfig) else HierarchicalModel(config)


def _assign(
    overrides: dict[str, Any], levels: tuple[str, ...], kinds: list[str], name: str
) -> dict[str, dict[str, Any]]:
    """Sort overrides by level; a name with a level's prefix wins over the same name without."""
    known = {level: [f.name for f in fields(LAYERS[kind][0])] for level, kind in zip(levels, kinds, strict=True)}
    allowed = {level + field for level, names in known.items() for field in names}
    allowed |= {field for names in known.values() for field in names}
    for key in overrides:
        if key not in allowed:
            raise UnknownNameError(f"option of {name}", key, sorted(allowed))
    return {
        level: {field: overrides[key] for field in names for key in (field, level + field) if key in overrides}
        for level, names in known.items()
    }


def _layer(kind: str, options: dict[str, Any]) -> LayerConfig:
    return LAYERS[kind][0](**options)
