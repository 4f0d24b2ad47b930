"""Take up a trained model, which is a finished run's or one that ships with the package: load it, evaluate it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from torch import nn

from baselines.errors import OptionError, RunError
from baselines.pretrained import Pretrained, pretrained_of
from baselines.published import UNITS
from baselines.runs.config import data_config
from baselines.runs.interface import as_trained, dataset_of
from baselines.runs.model import model_of_run
from baselines.runs.run import Run, read_run
from baselines.training.data import load_part
from baselines.training.device import torch_device
from baselines.training.evaluate import compute_all_metrics, predict
from baselines.training.quantities import Quantities
from csp_data import Dataset
from csp_data.dataset import check_dataset
from csp_data.predictions import save_predictions

__all__ = ["evaluate", "load_model", "trained_of"]


def trained_of(run: Run | Pretrained | Path | str) -> Run | Pretrained:
    """Return the run of a folder, or the model that ``"pretrained:NAME"`` stands for; what is either, as it is.

    Raises
    ------
    OptionError
        If it is none of these.
    RunError
        If the folder holds no finished run.
    UnknownNameError
        If no model of that name ships.
    """
    if isinstance(run, Run | Pretrained):
        return run
    if not isinstance(cast("object", run), str | Path):
        raise OptionError("run", run, "a finished run or its folder, or a model that ships: pretrained:NAME")
    return pretrained_of(run) or read_run(run)


def load_model(run: Run | Pretrained | Path | str, device: str = "cpu") -> nn.Module:
    """Return the model of a finished run, with the weights of its chosen epoch, in ``eval()``.

    Parameters
    ----------
    run
        The run, or its folder; a model that ships, or ``"pretrained:NAME"``.
    device
        Where to put it, as torch names it.

    Returns
    -------
    Module
        ``model(x: (B, L, F)) -> (B, L / chunk, D)``, on features and targets that are shifted and scaled as
        ``dataset.normalization`` has it. :class:`baselines.Predictor` and :class:`baselines.Streamer` take and
        give physical units.

    Raises
    ------
    RunError
        If there is no finished run, or its folder holds no model, but predictions that were made elsewhere.
    UnknownNameError
        If no model of that name ships.
    CheckpointError
        If the weights are missing, damaged or of another model.
    OptionError
        If there is no such device.
    """
    trained = trained_of(run)
    if isinstance(trained, Pretrained):
        return trained.model.to(torch_device(device))
    return model_of_run(trained, device)


def evaluate(
    run: Run | Pretrained | Path | str,
    dataset: Dataset | None = None,
    part: str | None = None,
    device: str = "cpu",
    keep: Path | str | None = None,
) -> dict[str, Any]:
    """Compute the metrics of a finished run on a part, afresh from its weights.

    Parameters
    ----------
    run
        The run, or its folder; a model that ships, or ``"pretrained:NAME"``.
    dataset
        The data that it was trained on, as ``csp_data.load`` returned them; by default its prepared file, if that
        is still there. A model that ships takes any with its channels, units and rates. Of other recordings
        :meth:`Predictor.evaluate` gives the errors.
    part
        Name of a part; by default the one that is reported.
    device
        Where to predict, as torch names it.
    keep
        File to write the predictions to; :func:`csp_data.predictions.read_predictions` reads it.

    Returns
    -------
    dict
        ``"mse"``, ``"rmse"``, ``"mae"`` in the units of the targets, the same by target (``"channels"``) and by
        episode, and more (:func:`baselines.training.evaluate.compute_all_metrics`).

    Raises
    ------
    RunError
        If the data set is not the one of the run, or is no longer there, or the folder holds no finished run.
    PretrainedError
        If the data set does not fit the model that ships.
    UnknownNameError, OptionError
        For a part, a device or a model that does not exist.

    Examples
    --------
    >>> import csp_data
    >>> from baselines import evaluate
    >>> errors = evaluate("pretrained:broad", csp_data.load("sample"))
    >>> sorted(errors["channels"])
    ['vel_x', 'vel_y', 'vel_z']
    """
    trained = trained_of(run)
    if dataset is None and isinstance(trained, Run):
        dataset = dataset_of(trained)
    check_dataset(dataset)
    assert dataset is not None
    if isinstance(trained, Pretrained):
        trained.model.to(torch_device(device))
        return trained.evaluate(dataset, part, keep=keep)
    trained_on, given_data = trained.config.data, data_config(dataset)
    if trained_on.recipe_hash != given_data.recipe_hash:
        raise RunError(
            f"{trained.folder} was trained on {trained_on.name} with recipe {trained_on.recipe_hash}, "
            f"{dataset.path} is {given_data.name} with recipe {given_data.recipe_hash}. Evaluate on the file that "
            "it was trained on; csp-baselines eval takes the raw files of other recordings (--dataset, --raw)."
        )
    dataset = as_trained(trained, dataset)
    loaded_part = load_part(dataset, part or trained_on.report, torch_device(device))
    _, length = trained.config.train.windows(loaded_part)
    predictions = predict(model_of_run(trained, device), loaded_part, length)
    if keep is not None:
        save_predictions(keep, predictions)
    quantities = Quantities.of(dataset, UNITS.get(dataset.name))
    return compute_all_metrics(predictions, quantities, dataset.split(loaded_part.name).rows)
