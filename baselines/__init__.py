"""Hierarchical (HiSS) and flat models for continuous sequence-to-sequence prediction, in plain PyTorch."""

import baselines._needs  # noqa: F401  # first: it names the extra
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
