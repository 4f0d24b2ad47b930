"""The model of a run: built by name, its configuration and files kept in the folder, and loaded from there."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn

from baselines.errors import CspDataError, OptionError
from baselines.files import atomic_bytes
from baselines.models.config import OwnConfig, config_from_dict, config_to_dict
from baselines.models.factory import build, build_from_config
from baselines.models.own import OwnModel, build_own, own_from_config
from baselines.presets import DECIDED_BY_DATA, UnknownModelError, default_preset, is_own, model_kinds
from baselines.references.methods import (
    REFERENCES,
    Reference,
    build_reference,
    reference_from_config,
    reference_to_dict,
)
from baselines.runs.check import check_value
from baselines.runs.run import CONFIG, MODEL, MODEL_FOLDER, Run, RunError, damaged_error
from baselines.training.checkpoint import load_weights
from baselines.training.device import torch_device
from baselines.training.settings import BEST
from baselines.training.train import seeded

logger = logging.getLogger(__name__)

__all__ = ["build_model", "keep_files", "model_config", "model_of_run"]


def build_model(
    name: str, in_dim: int, out_dim: int, chunk: int, preset: str | None, options: dict[str, Any]
) -> nn.Module:
    """Build a model, a reference or a model of one's own by name, as the data set's dimensions ask for."""
    if name not in REFERENCES and not is_own(name):
        try:
            model_kinds(name)
        except UnknownModelError:
            raise UnknownModelError(name, REFERENCES) from None
    for fixed in DECIDED_BY_DATA:
        if fixed in options:
            raise OptionError(fixed, options[fixed], "nothing: the data set decides it")
    if is_own(name):  # its options may have any name
        given = {} if preset is None else {"preset": preset}
        return build_own(name, in_dim, out_dim, chunk, {**given, **options})
    for taken in ("name", "preset"):
        if taken in options:
            raise OptionError(taken, options[taken], "nothing: it is no size of a model")
    if name not in REFERENCES:
        return build(name, in_dim, out_dim, preset=preset or default_preset(name), chunk=chunk, **options)
    if preset is not None:
        raise OptionError("preset", preset, f"none for the reference {name}: it has no sizes by name")
    return build_reference(name, in_dim, out_dim, chunk=chunk, **options)


def model_config(model: Any) -> dict[str, Any]:
    """Return the configuration of a model or reference as JSON values."""
    return reference_to_dict(model) if isinstance(model, Reference) else config_to_dict(model.config)


def keep_files(model: OwnModel, folder: Path) -> dict[str, Any]:
    """Copy the files of a model of one's own into the run's folder; return what to record of them."""
    if model.config.looks_ahead:
        logger.warning(
            "%s looks ahead: its outputs change with samples after the end of their chunk. Its errors do not "
            "compare with those of models that see the past alone, and it cannot run live.",
            model.config.source,
        )
    if model.config.beside:
        for path, content in model.files.items():
            copy = folder / MODEL_FOLDER / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            atomic_bytes(copy, content)
    else:
        atomic_bytes(folder / MODEL, model.files[model.file.name])
    return {"model_folder": str(model.file.parent)}


def model_of_run(run: Run, device: str = "cpu") -> nn.Module:
    """Return the model of a finished run; :func:`baselines.load_model` says which, and the errors."""
    if run.config.elsewhere:
        raise RunError(f"{run.folder} holds predictions that were made elsewhere, and no model.")
    model = _rebuilt(run)
    load_weights(run.folder / BEST, model)
    return model.to(torch_device(device)).eval()


def _rebuilt(run: Run) -> nn.Module:
    """Return the model of a run, freshly initialised."""
    plain = run.config.model
    try:
        if plain.get("family") in REFERENCES:
            sizes = {name: value for name, value in plain.items() if name != "family"}
            check_value(sizes, REFERENCES[plain["family"]][0], "model")
            return reference_from_config(plain)
        config = config_from_dict(plain)
    except (CspDataError, TypeError, ValueError) as error:
        raise damaged_error(run.folder / CONFIG, error) from error
    if isinstance(config, OwnConfig):
        file, folder = run.folder / MODEL, Path(run.environment["model_folder"])
        if config.beside:
            folder = run.folder / MODEL_FOLDER
            file = folder / config.source.rpartition(":")[0]
        with seeded(run.config.train.seed, torch.device("cpu")):  # tensors that are no weights are drawn again
            return own_from_config(config, file, folder)
    return build_from_config(config)
