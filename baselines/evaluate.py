"""Predictions of a model for a part, in physical units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from baselines.data import Part, Windows, batches, cut
from baselines.metrics import summary

__all__ = ["EpisodePrediction", "measure", "outputs", "predict"]


@dataclass(frozen=True)
class EpisodePrediction:
    """What a model says of one episode.

    Parameters
    ----------
    id
        Of the episode.
    time : array, shape (N,)
        End of each target step on the recording's clock, in seconds.
    true, pred : arrays, shape (N, D), float64
        Physical units.
    """

    id: str
    time: np.ndarray
    true: np.ndarray
    pred: np.ndarray


def outputs(model: nn.Module, part: Part, length: int | None, batch: int = 32) -> torch.Tensor:
    """Run a model over every step of a part once.

    Episodes are cut into consecutive windows, the last one partial, and the model starts afresh in each: all
    models have the same context, whatever they could remember.

    Parameters
    ----------
    model
        ``forward(x: (B, T * chunk, F)) -> (B, T, D)``, causal.
    part
        What to predict.
    length
        Target steps of a window; ``None`` for whole episodes.
    batch
        Windows at once. The result does not depend on it beyond rounding.

    Returns
    -------
    Tensor, shape (N, D)
        Normalised, in the order of ``part.targets``.
    """
    windows = cut(part, length)
    scattered = torch.empty_like(part.targets)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for piece in batches(part, windows, batch):
            _scatter(model(piece.inputs), windows, piece.rows, scattered)
    model.train(was_training)
    return scattered


def _scatter(output: torch.Tensor, windows: Windows, rows: np.ndarray, into: torch.Tensor) -> None:
    for values, row in zip(output, rows, strict=True):
        start, steps = windows.starts[row], windows.lengths[row]
        into[start : start + steps] = values[:steps]


def predict(model: nn.Module, part: Part, length: int | None, batch: int = 32) -> list[EpisodePrediction]:
    """Predict every episode of a part, in physical units; arguments as for :func:`outputs`."""
    true, pred = part.physical(part.targets), part.physical(outputs(model, part, length, batch))
    return [
        EpisodePrediction(id_, time, true[start : start + steps], pred[start : start + steps])
        for id_, time, start, steps in zip(part.ids, part.times, part.starts, part.lengths, strict=True)
    ]


def measure(predictions: Sequence[EpisodePrediction], channels: Sequence[str]) -> dict[str, Any]:
    """Return the metrics of predictions; see :func:`baselines.metrics.summary`."""
    return summary({p.id: (p.true, p.pred) for p in predictions}, channels)
