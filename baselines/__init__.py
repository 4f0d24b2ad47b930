"""Hierarchical (HiSS) and flat models for continuous sequence-to-sequence prediction, in plain PyTorch.

- :func:`build` makes a model by name: ``build("hiss-s4-mamba", in_dim=12, out_dim=3, preset="small")``.
- :func:`train` trains it, :func:`run` makes a whole run, :func:`sweep` many of them, :func:`ablate` and
  :func:`make_table` compare them.
- :func:`read_run`, :func:`load_model` and :func:`evaluate` take up a finished run; :func:`score` and
  :func:`record` compare predictions of any other program with it.
- :func:`load_results` has the finished runs that ship with the package, :func:`load_pretrained` a trained model.
- :class:`Predictor` predicts whole recordings, :class:`Streamer` sample by sample, both with the
  :class:`Interface` of the data; :func:`export` writes a model for other runtimes.
- ``baselines.errors`` has all errors, children of :class:`csp_data.CspDataError`; ``baselines.layers`` the layers
  and their configurations.

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

if TYPE_CHECKING:  # modules under a name of their own, which makes them public for type checkers
    from baselines import (  # isort: skip
        ablations as ablations,
        bench as bench,
        cli as cli,
        commands as commands,
        cpu as cpu,
        doctor as doctor,
        elsewhere as elsewhere,
        errors as errors,
        experiment as experiment,
        files as files,
        layers as layers,
        models as models,
        prediction as prediction,
        presets as presets,
        pretrained as pretrained,
        published as published,
        references as references,
        report as report,
        results as results,
        runs as runs,
        scan as scan,
        stream as stream,
        sweeps as sweeps,
        tables as tables,
        trained as trained,
        training as training,
    )
    from baselines.ablations.ablate import ablate
    from baselines.elsewhere import record, score
    from baselines.errors import ModelError
    from baselines.experiment import run
    from baselines.models.config import FlatConfig, HierarchicalConfig, config_from_dict, config_to_dict
    from baselines.models.convert import load_published
    from baselines.models.factory import build, build_from_config
    from baselines.models.model import FlatModel, HierarchicalModel, param_groups
    from baselines.prediction import Prediction, Predictor
    from baselines.presets import ALL_MODELS, MODELS, PRESETS, presets_of
    from baselines.pretrained import Pretrained, load_pretrained
    from baselines.results import Result, Results, load_results
    from baselines.runs.interface import Interface
    from baselines.runs.run import Run, read_run
    from baselines.stream.export import export, load_step
    from baselines.stream.streamer import Streamer, load_state, save_state
    from baselines.sweeps.sweep import Sweep, read_sweep, sweep
    from baselines.tables.make import make_table
    from baselines.trained import evaluate, load_model
    from baselines.training.settings import TrainConfig
    from baselines.training.train import train

__all__ = [
    "ALL_MODELS",
    "MODELS",
    "PRESETS",
    "FlatConfig",
    "FlatModel",
    "HierarchicalConfig",
    "HierarchicalModel",
    "Interface",
    "ModelError",
    "Prediction",
    "Predictor",
    "Pretrained",
    "Result",
    "Results",
    "Run",
    "Streamer",
    "Sweep",
    "TrainConfig",
    "ablate",
    "build",
    "build_from_config",
    "config_from_dict",
    "config_to_dict",
    "evaluate",
    "export",
    "load_model",
    "load_pretrained",
    "load_published",
    "load_results",
    "load_state",
    "load_step",
    "make_table",
    "param_groups",
    "presets_of",
    "read_run",
    "read_sweep",
    "record",
    "run",
    "save_state",
    "score",
    "sweep",
    "train",
]

_HOMES = {
    "ablations.ablate": "ablate",
    "elsewhere": "record score",
    "errors": "ModelError",
    "experiment": "run",
    "models.config": "FlatConfig HierarchicalConfig config_from_dict config_to_dict",
    "models.convert": "load_published",
    "models.factory": "build build_from_config",
    "models.model": "FlatModel HierarchicalModel param_groups",
    "prediction": "Prediction Predictor",
    "presets": "ALL_MODELS MODELS PRESETS presets_of",
    "pretrained": "Pretrained load_pretrained",
    "results": "Result Results load_results",
    "runs.interface": "Interface",
    "runs.run": "Run read_run",
    "stream.export": "export load_step",
    "stream.streamer": "Streamer load_state save_state",
    "sweeps.sweep": "Sweep read_sweep sweep",
    "tables.make": "make_table",
    "trained": "evaluate load_model",
    "training.settings": "TrainConfig",
    "training.train": "train",
}
"""Module to the names that it gives."""


if not TYPE_CHECKING:  # with this, a type checker would take any name for one that is there

    def __getattr__(name: str) -> Any:
        for module, names in _HOMES.items():
            if name in names.split():
                value = globals()[name] = getattr(import_module(f"baselines.{module}"), name)
                return value
        if name in _modules():
            return import_module(f"baselines.{name}")
        raise AttributeError(f"module 'baselines' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__, *_modules()})


@cache
def _modules() -> frozenset[str]:
    from pkgutil import iter_modules  # not with the package: few ask for a module this way

    return frozenset(module.name for module in iter_modules(__path__) if not module.name.startswith("_"))
