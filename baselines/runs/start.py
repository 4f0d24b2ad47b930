"""Weights that a training begins with: those of a finished run, or those that the published code has saved."""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import nn

from baselines.errors import CspDataError, ModelError, OptionError
from baselines.models.convert import load_published
from baselines.models.model import FlatModel, HierarchicalModel
from baselines.presets import REFERENCES
from baselines.runs.config import differing, flatten, told_differences
from baselines.runs.interface import Interface, interface_of
from baselines.runs.run import read_run
from baselines.training.checkpoint import load_weights
from baselines.training.settings import BEST
from csp_data import PAPER, Dataset
from csp_data.home import expanded

__all__ = ["begin_with", "warn_of_other_data"]

logger = logging.getLogger(__name__)

FREE = {"dropout", "learning_rate"}
"""Settings of a layer that say how it is trained, not what it computes."""


def begin_with(model: nn.Module, config: dict[str, Any], weights: Path | str) -> str:
    """Put weights into a freshly built model.

    Parameters
    ----------
    model, config
        The model, and its configuration as JSON values.
    weights
        Folder of a finished run of a model that computes the same, or a file for
        :func:`baselines.load_published`.

    Returns
    -------
    str
        12 hexadecimal digits that name the values.

    Raises
    ------
    OptionError, ModelError
        If the model takes no weights from there, or these are another model's.
    """
    path = expanded(weights, "weights")
    if config["family"] in REFERENCES:
        raise OptionError("weights", str(weights), f"nothing for the reference {config['family']}: it is fitted")
    if path.is_dir():
        run = read_run(path)
        before, after = flatten(run.config.model), flatten(config)
        keys = [key for key in differing(before, after) if key.rpartition(".")[2] not in FREE]
        if keys:
            told = told_differences(before, after, keys)
            raise ModelError(
                f"{path} holds the weights of another model: {told}. Ask for the same (--preset, --set)."
            )
        load_weights(path / BEST, model)
    elif isinstance(model, FlatModel | HierarchicalModel):
        load_published(model, path)
    else:
        raise OptionError("weights", str(weights), "the folder of a run, for a model of your own")
    hasher = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        hasher.update(
            f"{name}={tuple(value.shape)}".encode() + value.detach().cpu().contiguous().numpy().tobytes()
        )
    return hasher.hexdigest()[:12]


def warn_of_other_data(dataset: Dataset, weights: Path | str) -> None:
    """Warn where weights were trained on inputs or targets that were made otherwise than those of a data set."""
    if not expanded(weights, "weights").is_dir():
        if dataset.protocol.name != PAPER.name:
            logger.warning(
                "%s: weights of the published code were trained on what protocol paper prepares; these data are "
                "of protocol %s. Errors say little unless training goes on.",
                weights,
                dataset.protocol.name,
            )
        return
    with suppress(CspDataError):  # where the interface is lost, nobody knows
        before, here = (
            {key: value for key, value in flatten(interface.to_dict()).items() if "normalization" not in key}
            for interface in (interface_of(read_run(weights)), Interface.of(dataset))
        )
        if keys := differing(before, here):
            logger.warning(
                "%s: these weights were trained on other data: %s. Errors say little unless training goes on.",
                weights,
                told_differences(before, here, keys),
            )
