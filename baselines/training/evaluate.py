"""Predictions of a model for a part, in physical units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from baselines.errors import ModelError
from baselines.training.data import Batch, Part, Windows, batches, cut_windows
from baselines.training.metrics import ate, path, pooled, rte, summary
from baselines.training.quantities import Quantities
from baselines.training.step import numerics
from csp_data.predictions import EpisodePrediction
from csp_data.store import EpisodeRow

__all__ = [
    "compute_all_metrics",
    "compute_metrics",
    "normalized_predictions",
    "physical_predictions",
    "predict",
    "sum_squared_errors",
]

BATCH = 32
"""Windows that are predicted at once."""


def normalized_predictions(
    model: nn.Module, part: Part, length: int | None, batch_size: int = BATCH
) -> torch.Tensor:
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
    batch_size
        Windows at once. The result does not depend on it beyond rounding.

    Returns
    -------
    Tensor, shape (N, D)
        Normalised, in the order of ``part.targets``.

    Raises
    ------
    ModelError
        If the model's outputs have another shape.
    """
    windows = cut_windows(part, length)
    scattered = torch.empty_like(part.targets)
    with _evaluating(model, part):
        for batch in batches(part, windows, batch_size):
            _scatter_windows(_forward(model, batch), windows, batch.rows, scattered)
    return scattered


def sum_squared_errors(
    model: nn.Module, part: Part, length: int | None, first: int, step: int
) -> tuple[float, int]:
    """Return the sum of squared normalised errors over every `step`-th window from the `first`, and their number.

    Windows and values are those of :func:`normalized_predictions`.
    """
    windows = cut_windows(part, length)
    chosen = Windows(windows.episodes[first::step], windows.starts[first::step], windows.lengths[first::step])
    total = 0.0
    with _evaluating(model, part):
        for batch in batches(part, chosen, BATCH):
            error = (_forward(model, batch) - batch.targets).square() * batch.mask.unsqueeze(-1)
            total += error.sum(dtype=torch.float64).item()
    return total, int(chosen.lengths.sum()) * part.targets.shape[1]


@contextmanager
def _evaluating(model: nn.Module, part: Part) -> Iterator[None]:
    """Switch off gradients, dropout, and the rounding of products that GPUs do in convolutions by default."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), numerics("fp32", part.inputs.device):
            yield
    finally:
        model.train(was_training)


def _forward(model: nn.Module, batch: Batch) -> torch.Tensor:
    output: torch.Tensor = model(batch.inputs)
    if output.shape != batch.targets.shape:  # (B, T, 1) or (B, T) would be spread over all targets
        raise ModelError(
            f"{type(model).__name__} maps inputs {tuple(batch.inputs.shape)} to {tuple(output.shape)}: expected "
            f"{tuple(batch.targets.shape)}, (batch, target steps, targets). Repair its forward."
        )
    return output


def _scatter_windows(output: torch.Tensor, windows: Windows, rows: np.ndarray, into: torch.Tensor) -> None:
    for values, row in zip(output, rows, strict=True):
        start, steps = windows.starts[row], windows.lengths[row]
        into[start : start + steps] = values[:steps]


def predict(model: nn.Module, part: Part, length: int | None) -> list[EpisodePrediction]:
    """Predict every episode of a part, in physical units; arguments as for :func:`normalized_predictions`.

    Raises
    ------
    ModelError
        As :func:`normalized_predictions`; or if predictions are not finite, which have no error.
    """
    true = part.physical(part.targets)
    pred = physical_predictions(model, part, length)
    return [
        EpisodePrediction(id_, time, true[start : start + steps], pred[start : start + steps])
        for id_, time, start, steps in zip(part.ids, part.times, part.starts, part.lengths, strict=True)
    ]


def physical_predictions(model: nn.Module, part: Part, length: int | None) -> np.ndarray:
    """Return the predictions of every step of a part in physical units, (N, D), float64.

    Parameters
    ----------
    model, part, length
        As for :func:`normalized_predictions`.

    Raises
    ------
    ModelError
        As :func:`normalized_predictions`; or if predictions are not finite, which have no error.
    """
    pred = part.physical(normalized_predictions(model, part, length))
    not_finite = ", ".join(
        id_
        for id_, start, steps in zip(part.ids, part.starts, part.lengths, strict=True)
        if not np.isfinite(pred[start : start + steps]).all()
    )
    if not_finite:
        raise ModelError(
            f"the predictions of {type(model).__name__} on {part.name} are not finite, in: {not_finite}. "
            "Train it with a smaller lr, or clip_norm=1."
        )
    return pred


def compute_metrics(predictions: Sequence[EpisodePrediction], channels: Sequence[str]) -> dict[str, Any]:
    """Return the metrics of predictions; see :func:`baselines.training.metrics.summary`."""
    return summary({p.id: (p.true, p.pred) for p in predictions}, channels)


def compute_all_metrics(
    predictions: Sequence[EpisodePrediction], quantities: Quantities, rows: Sequence[EpisodeRow]
) -> dict[str, Any]:
    """Return all metrics of predictions: what :func:`compute_metrics` gives, and what a comparison needs.

    Parameters
    ----------
    predictions
        Of every episode of a part.
    quantities
        What the targets are.
    rows
        The episodes, which say of which recording and group each is.

    Returns
    -------
    dict
        Of :func:`baselines.training.metrics.summary`, and besides:

        ``"si"``: by channel ``{"unit", "rmse", "mae"}`` in SI units, increments per second;
        ``"published"``: ``{"unit", "mse"}`` in the unit of the published table (inferred, see
        :attr:`Quantities.published_factors`), or ``None``;
        ``"trajectory"``: ``{"unit", "ate", "rte", "paths"}``, means over recordings' episodes and paths (RoNIN's
        definitions, :mod:`baselines.training.metrics`), or ``None`` where the targets add up to no path;
        ``"recordings"`` and ``"groups"``: by name the same values of their episodes alone.
    """
    metrics = compute_metrics(predictions, quantities.channels)
    by_id = {row.id: row for row in rows}
    recordings: dict[str, list[EpisodePrediction]] = {}
    groups: dict[str, list[EpisodePrediction]] = {}
    for prediction in predictions:
        row = by_id[prediction.id]
        recordings.setdefault(row.recording, []).append(prediction)
        groups.setdefault(row.group, []).append(prediction)
    metrics |= _physical_metrics(predictions, quantities, metrics)
    for kind, members_by_name in (("recordings", recordings), ("groups", groups)):
        metrics[kind] = {}
        for name, members in members_by_name.items():
            values = pooled([(p.true, p.pred) for p in members], quantities.channels)
            metrics[kind][name] = values | _physical_metrics(members, quantities, values)
    return metrics


def _physical_metrics(
    predictions: Sequence[EpisodePrediction], quantities: Quantities, values: dict[str, Any]
) -> dict[str, Any]:
    units, factors = quantities.si_units, quantities.si_factors
    mse_by_channel = np.array([values["channels"][channel]["mse"] for channel in quantities.channels])
    published_factors = quantities.published_factors
    return {
        "si": {
            channel: {
                "unit": units[d],
                "rmse": float(factors[d] * values["channels"][channel]["rmse"]),
                "mae": float(factors[d] * values["channels"][channel]["mae"]),
            }
            for d, channel in enumerate(quantities.channels)
        },
        "published": None
        if published_factors is None
        else {
            "unit": f"({quantities.published_unit})²",
            "mse": float((np.square(published_factors) * mse_by_channel).mean()),
        },
        "trajectory": _trajectory_metrics(predictions, quantities),
    }


def _trajectory_metrics(predictions: Sequence[EpisodePrediction], quantities: Quantities) -> dict[str, Any] | None:
    if not quantities.paths:
        return None
    scale = quantities.si_factors * quantities.step_s
    absolute, relative = [], []
    for prediction in predictions:
        for columns in quantities.paths:
            axes = list(columns)
            true, pred = (path(side[:, axes] * scale[axes]) for side in (prediction.true, prediction.pred))
            absolute.append(ate(true, pred))
            relative.append(rte(true, pred, quantities.rate_hz))
    unit = quantities.si_units[quantities.paths[0][0]].removesuffix("/s")
    return {
        "unit": unit,
        "ate": float(np.mean(absolute)),
        "rte": float(np.mean(relative)),
        "paths": len(absolute),
    }
