"""Shared by ablations, faults and reports: errors that compare across targets and units, and rows as CSV."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from baselines.files import atomic_bytes
from baselines.results.rows import Result
from baselines.results.text import rows_to_csv

__all__ = ["folds_label", "metrics_of", "relative_mse", "si_rmse", "write_rows"]


def metrics_of(result: Result) -> dict[str, Any]:
    """Return the errors by target of a run's row as metrics have them."""
    return {
        "si": {name: vars(target) for name, target in result.by_target.items()},
        "channels": {name: {"mse": target.rmse**2} for name, target in result.by_target.items()},
    }


def si_rmse(metrics: Mapping[str, Any]) -> tuple[float | None, str]:
    """Return the root mean squared error over all targets in SI units, and the unit; nothing where units differ.

    Parameters
    ----------
    metrics
        Metrics as :func:`baselines.training.evaluate.compute_all_metrics` gives them.
    """
    values = metrics["si"].values()
    units = {errors["unit"] for errors in values}
    if len(units) != 1:
        return None, ""
    return math.sqrt(math.fsum(errors["rmse"] ** 2 for errors in values) / len(values)), units.pop()


def relative_mse(metrics: Mapping[str, Any], baseline: Mapping[str, Any]) -> float | None:
    """Return the mean over targets of MSE / MSE of something else, which compares whatever the targets are.

    Targets without an error there, such as those that never vary, are left out; ``None`` if all are.

    Parameters
    ----------
    metrics, baseline
        Metrics on the same part: of a model, and of the reference ``mean``, or of the model without a fault.
    """
    baseline_mse = {channel: errors["mse"] for channel, errors in baseline["channels"].items()}
    mse = {channel: errors["mse"] for channel, errors in metrics["channels"].items()}
    ratios = [mse[channel] / baseline_mse[channel] for channel in mse if baseline_mse[channel]]
    return math.fsum(ratios) / len(ratios) if ratios else None


def folds_label(rows: Iterable[Any]) -> str:
    """Return how many folds are put together in the rows of an ablation, as it stands behind other words."""
    return "".join(f", {folds} folds" for folds in {row.folds for row in rows} - {None})


def write_rows(path: Path, rows: Iterable[Any], columns: Sequence[str]) -> None:
    """Write dataclasses as the rows of a CSV file, all at once; what is not known is empty."""
    atomic_bytes(path, rows_to_csv(columns, map(dataclasses.asdict, rows)).encode())
