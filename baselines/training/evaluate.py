"""Predictions of a model for a part, in physical units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from baselines.errors import ModelError
from baselines.training.data import Batch, Part, Windows, batches, cut
from baselines.training.metrics import ate, path, pooled, rte, summary
from baselines.training.quantities import Quantities
from baselines.training.step import numerics
from csp_data.predictions import EpisodePrediction
from csp_data.store import EpisodeRow

__all__ = ["EpisodePrediction", "measure", "measure_fully", "outputs", "predict", "squares"]


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

    Raises
    ------
    ModelError
        If the model's outputs have another shape.
    """
    windows = cut(part, length)
    scattered = torch.empty_like(part.targets)
    with _evaluating(model, part):
        for piece in batches(part, windows, batch):
            _scatter(_predicted(model, piece), windows, piece.rows, scattered)
    return scattered


def squares(
    model: nn.Module, part: Part, length: int | None, first: int, step: int, batch: int = 32
) -> tuple[float, int]:
    """Return the sum of squared normalised errors over every `step`-th window from the `first`, and their number.

    Windows and values are those of :func:`outputs`.
    """
    windows = cut(part, length)
    mine = Windows(windows.episodes[first::step], windows.starts[first::step], windows.lengths[first::step])
    total = 0.0
    with _evaluating(model, part):
        for piece in batches(part, mine, batch):
            error = (_predicted(model, piece) - piece.targets).square() * piece.mask.unsqueeze(-1)
            total += error.sum(dtype=torch.float64).item()
    return total, int(mine.lengths.sum()) * part.targets.shape[1]


@contextmanager
def _evaluating(model: nn.Module, part: Part) -> Iterator[None]:
    """Switch off gradients, dropout, and the rounding of products that GPUs do in convolutions by default."""
    was_training = model.training
    model.eval()
    with torch.no_grad(), numerics("fp32", part.inputs.device):
        yield
    model.train(was_training)


def _predicted(model: nn.Module, piece: Batch) -> torch.Tensor:
    output: torch.Tensor = model(piece.inputs)
    if output.shape != piece.targets.shape:  # (B, T, 1) or (B, T) would be spread over all targets
        raise ModelError(
            f"{type(model).__name__} maps inputs {tuple(piece.inputs.shape)} to {tuple(output.shape)}: expected "
            f"{tuple(piece.targets.shape)}, (batch, target steps, targets). Repair its forward."
        )
    return output


def _scatter(output: torch.Tensor, windows: Windows, rows: np.ndarray, into: torch.Tensor) -> None:
    for values, row in zip(output, rows, strict=True):
        start, steps = windows.starts[row], windows.lengths[row]
        into[start : start + steps] = values[:steps]


def predict(model: nn.Module, part: Part, length: int | None, batch: int = 32) -> list[EpisodePrediction]:
    """Predict every episode of a part, in physical units; arguments as for :func:`outputs`.

    Raises
    ------
    ModelError
        As :func:`outputs`; or if predictions are not finite, which have no error.
    """
    true, pred = part.physical(part.targets), part.physical(outputs(model, part, length, batch))
    found = [
        EpisodePrediction(id_, time, true[start : start + steps], pred[start : start + steps])
        for id_, time, start, steps in zip(part.ids, part.times, part.starts, part.lengths, strict=True)
    ]
    if bad := [one.id for one in found if not np.isfinite(one.pred).all()]:
        raise ModelError(
            f"the predictions of {type(model).__name__} on {part.name} are not finite, in: {', '.join(bad)}. "
            "Train it with a smaller lr, or clip_norm=1."
        )
    return found


def measure(predictions: Sequence[EpisodePrediction], channels: Sequence[str]) -> dict[str, Any]:
    """Return the metrics of predictions; see :func:`baselines.training.metrics.summary`."""
    return summary({p.id: (p.true, p.pred) for p in predictions}, channels)


def measure_fully(
    predictions: Sequence[EpisodePrediction], quantities: Quantities, rows: Sequence[EpisodeRow]
) -> dict[str, Any]:
    """Return all metrics of predictions: what :func:`measure` gives, and what a comparison needs.

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
    found = measure(predictions, quantities.channels)
    by_id = {row.id: row for row in rows}
    pools: dict[str, dict[str, list[EpisodePrediction]]] = {"recordings": {}, "groups": {}}
    for prediction in predictions:
        row = by_id[prediction.id]
        pools["recordings"].setdefault(row.recording, []).append(prediction)
        pools["groups"].setdefault(row.group, []).append(prediction)
    found |= _physical(predictions, quantities, found)
    for kind, pool in pools.items():
        found[kind] = {}
        for name, members in pool.items():
            values = pooled([(p.true, p.pred) for p in members], quantities.channels)
            found[kind][name] = values | _physical(members, quantities, values)
    return found


def _physical(
    predictions: Sequence[EpisodePrediction], quantities: Quantities, values: dict[str, Any]
) -> dict[str, Any]:
    units, factors = quantities.si_units, quantities.si_factors
    squares = np.array([values["channels"][channel]["mse"] for channel in quantities.channels])
    published = quantities.published_factors
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
        if published is None
        else {
            "unit": f"({quantities.published_unit})²",
            "mse": float((np.square(published) * squares).mean()),
        },
        "trajectory": _trajectory(predictions, quantities),
    }


def _trajectory(predictions: Sequence[EpisodePrediction], quantities: Quantities) -> dict[str, Any] | None:
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
