"""Predictions that were made elsewhere: their errors, as those of our own models, and a run beside the others.

Another framework, another language or a method without training predicts the target steps of a prepared data set.
What counts is computed here, on the same episodes and by the same code as for every other row of a table.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

import csp_data
from baselines.errors import OptionError, UnknownNameError
from baselines.files import atomic_json
from baselines.presets import OWN
from baselines.published import UNITS
from baselines.runs.config import PREDICTIONS_ALONE, RunConfig, data_config
from baselines.runs.environment import commit
from baselines.runs.run import ENVIRONMENT, RESULTS, Run, RunError, lock_folder, read_run
from baselines.training.evaluate import compute_all_metrics
from baselines.training.quantities import Quantities
from baselines.training.settings import TrainConfig
from csp_data import Dataset
from csp_data.dataset import check_dataset
from csp_data.home import expanded
from csp_data.options import check_number, frozen, unmasked
from csp_data.predictions import PREDICTIONS, EpisodePrediction, PredictionsError, save_predictions

__all__ = ["read_csv", "record", "score"]

Predictions = Mapping[str, npt.ArrayLike]
"""Id of an episode to predictions of its N target steps, (N, D), in the units of the prepared file."""

CLOSE = 0.1
"""Share of a target step by which a predicted time may lie off the step's end."""
DIGITS = ".13g"
"""Of times in messages: milliseconds of clocks that count from 1970."""


def score(dataset: Dataset, predictions: Predictions, part: str | None = None) -> dict[str, Any]:
    """Return the errors of predictions on a part of a data set, as :func:`baselines.evaluate` does of a run.

    Parameters
    ----------
    dataset
        What ``csp_data.load`` returned.
    predictions
        Id of each episode of the part to its predictions (N, D): a row for each target step, a column for each of
        ``dataset.targets``, in their units and not normalised (``dataset.normalization.targets.invert`` leads
        back). Other episodes may be there too.
    part
        By default the one that is reported.

    Returns
    -------
    dict
        As :func:`baselines.training.evaluate.compute_all_metrics`.

    Raises
    ------
    OptionError
        If they are no dict.
    PredictionsError
        If an episode has no predictions, or some of another shape or that are not finite.
    UnknownNameError
        For an episode or a part that the data set does not have.

    Examples
    --------
    >>> import csp_data
    >>> from baselines import score
    >>> ds = csp_data.load("sample")
    >>> mean = ds.normalization.targets.shift  # of the training part
    >>> errors = score(ds, {e.id: 0 * e.targets + mean for e in ds.test})
    >>> round(errors["rmse"], 4)  # in m/s
    0.6144
    """
    check_dataset(dataset)
    return _metrics(dataset, _of_part(dataset, predictions, part or dataset.report), part or dataset.report)


def record(
    dataset: Dataset,
    predictions: Predictions,
    folder: Path | str,
    *,
    name: str,
    parameters: int,
    seconds: float,
    seed: int = 0,
    window_s: float | None = None,
    settings: Mapping[str, Any] | None = None,
    about: str = "",
    command: str = "",
) -> Run:
    """File predictions as a run, which tables, reports, figures and the viewer take like any other.

    Parameters
    ----------
    dataset
        What ``csp_data.load`` returned.
    predictions
        As of :func:`score`, for every episode of every part but train. Errors on the part for choosing are those
        that a choice between methods may use; those on the reported part are for the table.
    folder
        Of the run: new or empty, or holding these very predictions.
    name
        What made them, in letters, digits, ``_``, ``.`` and ``-``; tables call it ``own-NAME``.
    parameters, seconds
        Values that were learned, and time to fit, as columns of the table have them.
    seed
        Of several repetitions: runs that differ in the seed alone are one row.
    window_s
        Seconds that it sees at once; ``None`` if it sees all of an episode up to the step.
    settings
        What tells it from others of that name, as JSON values: ``{"taps": 50}``.
    about
        What made them, in words: libraries and versions, how it was trained, where its code is.
    command
        How to get them again, for the record.

    Returns
    -------
    Run
        As read back from the folder.

    Raises
    ------
    OptionError
        For a name or a number that cannot be used.
    PredictionsError, UnknownNameError
        As :func:`score`.
    RunError
        If the folder holds something else.
    """
    check_dataset(dataset)
    if not isinstance(cast("object", name), str) or not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise OptionError("name", name, "letters, digits, '_', '.' and '-'")
    check_number("parameters", parameters, "a whole number of at least 0", least=0, whole=True)
    check_number("seconds", seconds, "a number of at least 0", least=0)
    parts = {part: _of_part(dataset, predictions, part) for part in dataset.parts[1:]}
    digest = _digest([prediction for of_part in parts.values() for prediction in of_part])
    folder = expanded(folder, "folder")
    model = {**{key: frozen(value) for key, value in (settings or {}).items()}, "family": PREDICTIONS_ALONE}
    train = TrainConfig(seed=seed, window_s=window_s, window_stride_s=window_s)
    dataset = dataset.with_normalization(None)  # which predictions in physical units do not depend on
    config = RunConfig(data_config(dataset), f"{OWN}-{name}", model, train)
    with lock_folder(folder, config) as state:
        if state == "finished":
            run = read_run(folder)
            if run.environment.get("predictions") != digest:
                raise RunError(
                    f"{folder} holds other predictions of {config.name} with seed {seed}. Choose another folder, "
                    "and say what is different: the seed, or settings."
                )
            return run
        environment = {
            "csp_data": csp_data.__version__,
            "commit": commit(Path(__file__).parent),
            "command": command,
            "about": about,
            "prepared": str(dataset.path.absolute()),
            "predictions": digest,
        }
        atomic_json(folder / ENVIRONMENT, environment)
        save_predictions(folder / PREDICTIONS, parts[dataset.report])
        results = {part: _metrics(dataset, of_part, part) for part, of_part in parts.items()}
        cost = {"parameters": int(parameters), "epoch": None, "seconds": float(seconds)}  # plain, if of numpy
        atomic_json(folder / RESULTS, {**cost, **results})
    return read_run(folder)


def _of_part(dataset: Dataset, predictions: Predictions, part: str) -> list[EpisodePrediction]:
    """Return predictions and truth of every episode of a part."""
    if not isinstance(cast("object", predictions), Mapping):
        raise OptionError("predictions", predictions, "a dict from ids of episodes to predictions (N, D)")
    known = {row.id for row in dataset.episodes}
    for id_ in predictions:
        if id_ not in known:
            raise UnknownNameError(f"episode of {dataset.name}", str(id_), sorted(known))
    split = dataset.split(part)
    if missing := [row.id for row in split.rows if row.id not in predictions]:
        raise PredictionsError(
            f"{len(missing)} of {len(split.rows)} episodes of {part} have no predictions, such as {missing[0]}. "
            "An error on fewer episodes compares with no other."
        )
    return [
        EpisodePrediction(
            episode.id,
            episode.target_time,
            np.asarray(episode.targets, np.float64),
            _checked(episode.id, predictions[episode.id], episode.targets.shape, dataset.targets.names),
        )
        for episode in split
    ]


def _checked(
    id_: str, values: npt.ArrayLike, shape: tuple[int, ...], targets: Sequence[str]
) -> npt.NDArray[np.float64]:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    try:
        array = np.asarray(unmasked(values), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise PredictionsError(f"{id_}: expected an array of numbers ({error}).") from error
    if array.shape != shape:
        raise PredictionsError(
            f"{id_}: expected predictions {shape}, a row for each of {shape[0]} target steps and a column for "
            f"each of {', '.join(targets)}, found {array.shape}."
        )
    if not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise PredictionsError(f"{id_}: the prediction of target step {row} is not finite, so it has no error.")
    return array


def _metrics(dataset: Dataset, predictions: Sequence[EpisodePrediction], part: str) -> dict[str, Any]:
    quantities = Quantities.of(dataset, UNITS.get(dataset.name))
    return compute_all_metrics(predictions, quantities, dataset.split(part).rows)


def _digest(predictions: Sequence[EpisodePrediction]) -> str:
    """Return the SHA-256 of predictions and of whose they are."""
    digest = hashlib.sha256()
    for prediction in predictions:
        digest.update(f"{prediction.id}\0{prediction.pred.shape}\0".encode())
        digest.update(np.ascontiguousarray(prediction.pred, "<f8").tobytes())
    return digest.hexdigest()


def read_csv(path: Path | str, dataset: Dataset) -> dict[str, npt.NDArray[np.float64]]:
    """Read predictions from a CSV file.

    Parameters
    ----------
    path
        A header with ``episode``, ``time`` and the names of the targets, in any order, then a row for each target
        step. Ids of episodes and times (the end of the step, in seconds on the recording's own clock) are those
        that ``csp-data export`` writes. Further columns, and rows at other times, are left out.
    dataset
        Whose target steps they are for.

    Returns
    -------
    dict
        As :func:`score` takes it, for the episodes that the file has.

    Raises
    ------
    PredictionsError
        If the file cannot be read, or an episode has no row for one of its target steps.
    UnknownNameError
        For an episode that the data set does not have.
    """
    check_dataset(dataset)
    path = expanded(path)
    rows = {row.id: row for row in dataset.episodes}
    predictions = {}
    for id_, (times, values) in _rows_by_episode(path, dataset.targets.names).items():
        if id_ not in rows:
            raise UnknownNameError(f"episode of {dataset.name}", id_, rows)
        episode = dataset.read(rows[id_], rows[id_].target_start, rows[id_].target_stop)
        order = np.argsort(times, kind="stable")
        if (twice := np.flatnonzero(np.diff(np.array(times)[order]) == 0)).size:
            raise PredictionsError(
                f"{path}: {id_} has two predictions at {times[order[twice[0]]]:{DIGITS}} s. Score one method and "
                "seed at a time; if it is one, its times are written with too few digits."
            )
        nearest = order[_nearest(np.array(times)[order], episode.target_time)]
        off = np.abs(np.array(times)[nearest] - episode.target_time) * dataset.targets.rate_hz
        if off.max() > CLOSE:
            worst = int(np.argmax(off > CLOSE))
            raise PredictionsError(
                f"{path}: {id_} has no prediction for the target step that ends at "
                f"{episode.target_time[worst]:{DIGITS}} s; the nearest is at {times[nearest[worst]]:{DIGITS}} s. "
                "Times are the ends of steps, on the recording's own clock, as csp-data export writes them (in "
                "Parquet and hf, target_time counts from start_s: add the two)."
            )
        predictions[id_] = np.array(values)[nearest]
    return predictions


def _nearest(times: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Return the index of the nearest of increasing times to each wanted one."""
    middles = (times[1:] + times[:-1]) / 2
    return np.searchsorted(middles, wanted)


def _rows_by_episode(path: Path, targets: Sequence[str]) -> dict[str, tuple[list[float], list[list[float]]]]:
    """Return times and predictions of each episode, in the order of the file."""
    rows: dict[str, tuple[list[float], list[list[float]]]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            header = reader.fieldnames or ()
            if missing := [name for name in ("episode", "time", *targets) if name not in header]:
                raise PredictionsError(
                    f"{path}: expected a first line with the columns episode, time, {', '.join(targets)}, "
                    f"separated by commas, found {', '.join(header) or 'none'}; {missing[0]} is missing."
                )
            for row in reader:
                times, values = rows.setdefault(row["episode"], ([], []))
                times.append(float(row["time"]))
                values.append([float(row[target]) for target in targets])
    except OSError as error:
        raise PredictionsError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except UnicodeDecodeError as error:
        raise PredictionsError(
            f"{path}: is not text in UTF-8. Save it as CSV in UTF-8, not compressed."
        ) from error
    except (csv.Error, TypeError, ValueError) as error:
        raise PredictionsError(f"{path}: line {reader.line_num}: {error}.") from error
    if not rows:
        raise PredictionsError(f"{path}: holds no predictions.")
    return rows
