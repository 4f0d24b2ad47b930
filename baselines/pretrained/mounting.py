"""The error of a model where the sensor is mounted otherwise than it was in training."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from baselines.errors import OptionError
from baselines.training.data import load_part, turned
from baselines.training.evaluate import predict
from baselines.training.turning import turning
from csp_data import Dataset

__all__ = ["DRAWS", "mounting_error"]

DRAWS = 10


def mounting_error(model: nn.Module, dataset: Dataset, name: str, length: int | None) -> float | None:
    """Return the mean squared error on a part whose episodes are turned at random, each by a rotation of its own.

    Parameters
    ----------
    model, length
        As for :func:`baselines.training.evaluate.normalized_predictions`.
    dataset, name
        A part of it.

    Returns
    -------
    float or None
        In physical units, mean of :data:`DRAWS` draws; None where inputs and target are not along a sensor's axes.
    """
    try:
        how = turning(dataset, augment="mounting")
    except OptionError:
        return None
    assert how is not None
    part, generator = load_part(dataset, name), torch.Generator().manual_seed(0)
    errors = [
        np.square(episode.pred - episode.true)
        for _ in range(DRAWS)
        for episode in predict(model, turned(part, how, generator), length)
    ]
    return float(np.concatenate(errors).mean())
