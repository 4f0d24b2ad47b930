"""Hierarchical (HiSS) and flat models for continuous sequence-to-sequence prediction, in plain PyTorch.

- :func:`build` makes a model by name: ``build("hiss-s4-mamba", in_dim=12, out_dim=3, preset="small")``.
- ``baselines.train.train`` trains it, ``baselines.experiment.run`` makes a whole run, :func:`sweep` many of them.
- :func:`load_results` has the finished runs that ship with the package, :func:`load_pretrained` a trained model,
  and ``baselines.stream.Streamer`` runs a model sample by sample.

>>> import baselines
>>> model = baselines.build("flat-lstm", in_dim=12, out_dim=3, preset="small")
>>> sum(p.numel() for p in model.parameters())
67587

Names and public modules are imported when they are first used, because the command line must set some things
before torch is loaded.
"""

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import baselines._needs  # noqa: F401  # first: it names the extra

if TYPE_CHECKING:
    from baselines.config import FlatConfig, HierarchicalConfig, config_from_dict, config_to_dict
    from baselines.convert import load_published
    from baselines.errors import ModelError
    from baselines.factory import ALL_MODELS, MODELS, build, build_from_config
    from baselines.models import FlatModel, HierarchicalModel, param_groups
    from baselines.presets import PRESETS, presets_of
    from baselines.pretrained import Pretrained, load_pretrained
    from baselines.results import Result, Results, load_results
    from baselines.sweeps import Sweep, read_sweep, sweep

__all__ = [
    "ALL_MODELS",
    "MODELS",
    "PRESETS",
    "FlatConfig",
    "FlatModel",
    "HierarchicalConfig",
    "HierarchicalModel",
    "ModelError",
    "Pretrained",
    "Result",
    "Results",
    "Sweep",
    "build",
    "build_from_config",
    "config_from_dict",
    "config_to_dict",
    "load_pretrained",
    "load_published",
    "load_results",
    "param_groups",
    "presets_of",
    "read_sweep",
    "sweep",
]

_HOMES = {
    "config": "FlatConfig HierarchicalConfig config_from_dict config_to_dict",
    "convert": "load_published",
    "errors": "ModelError",
    "factory": "ALL_MODELS MODELS build build_from_config",
    "models": "FlatModel HierarchicalModel param_groups",
    "presets": "PRESETS presets_of",
    "pretrained": "Pretrained load_pretrained",
    "results": "Result Results load_results",
    "sweeps": "Sweep read_sweep sweep",
}
"""Module to the names that it gives."""


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names.split():
            value = globals()[name] = getattr(import_module(f"baselines.{module}"), name)
            return value
    if name in _modules():
        return import_module(f"baselines.{name}")
    raise AttributeError(f"module 'baselines' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_modules()})


@cache
def _modules() -> frozenset[str]:
    from pkgutil import iter_modules  # not with the package: few ask for a module this way

    return frozenset(found.name for found in iter_modules(__path__) if not found.name.startswith("_"))
