"""Build a model, from its name or from its stored configuration."""

from dataclasses import fields
from typing import Any

from baselines.errors import ModelError, OptionError, UnknownNameError
from baselines.layers import LAYERS, LayerConfig
from baselines.models.config import (
    FlatConfig,
    HierarchicalConfig,
    ModelConfig,
    OwnConfig,
    check_model_config,
    check_samples,
    config_from_dict,
)
from baselines.models.model import FlatModel, HierarchicalModel
from baselines.models.own import OwnModel, build_own
from baselines.presets import is_own, model_kinds, presets_for

__all__ = ["build", "build_from_config"]

_PREFIXES = {1: ("",), 2: ("low_", "high_"), 3: ("low_", "mid_", "high_")}


def build(
    name: str,
    in_dim: int,
    out_dim: int,
    *,
    preset: str | None = None,
    chunk: int = 10,
    readout: str | None = None,
    overlap: int | None = None,
    subchunk: int | None = None,
    **overrides: Any,
) -> FlatModel | HierarchicalModel | OwnModel:
    """Return a freshly initialised model.

    Parameters
    ----------
    name
        ``flat-<kind>``, ``hiss-<low>-<high>`` (one of :data:`baselines.presets.ALL_MODELS`) or, with three levels,
        ``hiss-<low>-<mid>-<high>``; or ``FILE.py:NAME``, a class or function of one's own
        (:mod:`baselines.models.own`).
    in_dim, out_dim
        Channels of inputs and of targets.
    preset
        Sizes by name (:func:`baselines.presets_of`); None: the layers' own defaults.
    chunk
        Input samples per output.
    readout
        For flat models the sample of each chunk that gives the output, ``"first"`` (published) or ``"last"``.
        For hierarchical ones how a chunk becomes a feature: ``"last"`` (published), ``"linear"`` or
        ``"attention"``. None: the preset's, which for flat models of ``paper`` is ``"first"``; else ``"last"``.
    overlap
        For hierarchical models the samples before a chunk that the lowest level sees too; None: 0.
    subchunk
        With three levels the samples per sub-chunk; None: the smallest divisor of the chunk that is at least its
        square root.
    **overrides
        Fields of the layer's configuration (``dim=32, layers=2``). In a hierarchical model ``low_``, ``mid_`` or
        ``high_`` before a field picks the level; without, it goes to every level that has the field. ``high_dim``
        is the size of a chunk's feature. For a model of one's own, arguments of its class or function, as is
        whatever of ``preset``, ``readout``, ``overlap`` and ``subchunk`` is given.

    Returns
    -------
    FlatModel or HierarchicalModel or OwnModel
        With its configuration as ``model.config``.

    Raises
    ------
    UnknownNameError
        An unknown model, preset or override: the message lists the known ones.
    OptionError
        A value out of bounds.
    ModelError
        A file of one's own that does not do what is asked of it.

    Examples
    --------
    >>> import torch
    >>> from baselines import build
    >>> model = build("hiss-s4-mamba", in_dim=6, out_dim=3, dim=16, layers=2)
    >>> model(torch.zeros(2, 50, 6)).shape
    torch.Size([2, 5, 3])
    """
    if is_own(name):
        ours = {"preset": preset, "readout": readout, "overlap": overlap, "subchunk": subchunk}
        given = {option: value for option, value in ours.items() if value is not None}
        return build_own(name, in_dim, out_dim, chunk, {**given, **overrides})
    overlap = 0 if overlap is None else overlap
    kinds, presets = model_kinds(name), presets_for(name)
    if preset is not None and preset not in presets:
        raise UnknownNameError(f"preset of {name}", preset, presets)
    levels = _PREFIXES[len(kinds)]
    sizes = {} if preset is None else dict(presets[preset])
    preset_readout = sizes.pop("readout", "last")
    readout = preset_readout if readout is None else readout
    options = _options_by_level(sizes, levels, kinds, name)
    for level, given in _options_by_level(overrides, levels, kinds, name).items():
        options[level].update(given)
    if len(kinds) < 3 and subchunk is not None:
        raise OptionError(
            "subchunk", subchunk, f"nothing for {name}: only models with three levels have sub-chunks"
        )
    if len(kinds) == 1:
        if overlap:
            raise OptionError("overlap", overlap, f"0 for {name}: only hierarchical models cut their input")
        return FlatModel(FlatConfig(in_dim, out_dim, _layer_config(kinds[0], options[""]), chunk, readout))
    return HierarchicalModel(
        _hierarchical_config(in_dim, out_dim, kinds, options, chunk, readout, overlap, subchunk)
    )


def _hierarchical_config(
    in_dim: int,
    out_dim: int,
    kinds: list[str],
    options: dict[str, dict[str, Any]],
    chunk: int,
    readout: str,
    overlap: int,
    subchunk: int | None,
) -> HierarchicalConfig:
    """Return the configuration of two or three levels, given the options of each by its prefix."""
    check_samples("overlap", overlap, 0)
    check_samples("chunk", chunk, 1)
    if subchunk is not None:
        check_samples("subchunk", subchunk, 1)
    if len(kinds) == 3 and subchunk is None:
        subchunk = _default_subchunk(chunk)
    _default_kernel_lengths(options, chunk, overlap, subchunk)
    layers = {
        prefix.rstrip("_"): _layer_config(kind, options[prefix])
        for prefix, kind in zip(_PREFIXES[len(kinds)], kinds, strict=True)
    }
    return HierarchicalConfig(
        in_dim, out_dim, chunk=chunk, readout=readout, overlap=overlap, subchunk=subchunk, **layers
    )


def _default_subchunk(chunk: int) -> int | None:
    """Return the smallest divisor of ``chunk`` that is at least its square root; None where there is none."""
    return next((n for n in range(1, chunk + 1) if n * n >= chunk and chunk % n == 0), None)


def _default_kernel_lengths(
    options: dict[str, dict[str, Any]], chunk: int, overlap: int, subchunk: int | None
) -> None:
    """Give S4's truncated kernels inside chunks the length of the sequences that they see there."""
    lengths = {"low_": (subchunk or chunk) + overlap, "mid_": chunk // (subchunk or chunk or 1)}
    for level, length in lengths.items():
        if level in options and options[level].get("kernel") == "truncated":
            options[level].setdefault("kernel_length", length)


def build_from_config(config: ModelConfig | dict[str, Any]) -> FlatModel | HierarchicalModel:
    """Return a freshly initialised model for ``model.config``, or for its dictionary.

    Parameters
    ----------
    config
        Of a model, or what :func:`baselines.config_to_dict` made of it.

    Raises
    ------
    ModelError, UnknownNameError, OptionError
        As :func:`baselines.config_from_dict`.

    Examples
    --------
    >>> from baselines import build, build_from_config
    >>> model = build("flat-lstm", in_dim=6, out_dim=3, dim=16, hidden=16)
    >>> build_from_config(model.config).config == model.config
    True
    """
    if isinstance(config, dict):
        config = config_from_dict(config)
    check_model_config(config)
    if isinstance(config, OwnConfig):
        raise ModelError(
            f"{config.source} is a file of its author's: baselines.build('FILE.py:NAME', ...) makes it anew, and "
            "baselines.load_model(run) from the copy in the run's folder."
        )
    return FlatModel(config) if isinstance(config, FlatConfig) else HierarchicalModel(config)


def _options_by_level(
    overrides: dict[str, Any], levels: tuple[str, ...], kinds: list[str], name: str
) -> dict[str, dict[str, Any]]:
    """Sort overrides by level; a name with a level's prefix wins over the same name without."""
    fields_by_level = {
        level: [f.name for f in fields(LAYERS[kind][0])] for level, kind in zip(levels, kinds, strict=True)
    }
    allowed = {level + field for level, names in fields_by_level.items() for field in names}
    allowed |= {field for names in fields_by_level.values() for field in names}
    for key in overrides:
        if key not in allowed:
            raise UnknownNameError(f"option of {name}", key, sorted(allowed))
    return {
        level: {field: overrides[key] for field in names for key in (field, level + field) if key in overrides}
        for level, names in fields_by_level.items()
    }


def _layer_config(kind: str, options: dict[str, Any]) -> LayerConfig:
    return LAYERS[kind][0](**options)
