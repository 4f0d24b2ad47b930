"""The file of predictions that a run writes, and that figures and the viewer read.

A NumPy ``.npz`` of arrays, all episodes end to end: ``ids`` (E,) and ``lengths`` (E,) say which episode each of
the N target steps belongs to; ``time`` (N,), in seconds on the recording's clock; ``true`` and ``pred`` (N, D),
in the units of the prepared file.
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from csp_data.errors import PredictionsError
from csp_data.files import check_file
from csp_data.home import expanded
from csp_data.output import output
from csp_data.recording import FloatArray

__all__ = ["PREDICTIONS", "EpisodePrediction", "PredictionsError", "read_predictions", "save_predictions"]

PREDICTIONS = "predictions.npz"
"""Name of the file in the folder of a run: what makes it one with predictions to look at."""


FAULTS = (
    *(OSError, KeyError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error),
    *(NotImplementedError, RuntimeError),  # of compressions and passwords that zipfile has not
    tokenize.TokenError,  # of a header
)
"""What numpy and zipfile raise over a damaged file; a header may promise more than any memory holds."""


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
    time: FloatArray
    true: FloatArray
    pred: FloatArray

    def __repr__(self) -> str:
        return f"<EpisodePrediction {self.id}: pred and true {self.pred.shape}>"


def save_predictions(path: Path | str, predictions: Sequence[EpisodePrediction]) -> None:
    """Write predictions; the file is there whole or not at all."""
    time, true, pred = (
        np.concatenate([getattr(p, name) for p in predictions]) for name in ("time", "true", "pred")
    )
    ids, lengths = np.array([p.id for p in predictions]), np.array([len(p.time) for p in predictions])
    with output(path, "path") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, ids=ids, lengths=lengths, time=time, true=true, pred=pred)


def read_predictions(path: Path | str) -> list[EpisodePrediction]:
    """Read predictions.

    Raises
    ------
    PredictionsError
        If the file is missing, damaged or holds something else.
    """
    path = expanded(path)
    try:
        check_file(path)
        # numpy leaves a file open that it cannot read; one that we opened is closed
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            lengths = held["lengths"]
            arrays = {name: held[name] for name in ("time", "true", "pred")}
            _check_shapes(lengths, **arrays)
            return [
                EpisodePrediction(str(id_), *(array[stop - n : stop] for array in arrays.values()))
                for id_, n, stop in zip(held["ids"], lengths, np.cumsum(lengths), strict=True)
            ]
    except FAULTS as error:
        raise PredictionsError(
            f"{path}: damaged, no readable predictions ({error}). Train the run again in a new folder."
        ) from error


def _check_shapes(lengths: npt.NDArray[Any], time: FloatArray, true: FloatArray, pred: FloatArray) -> None:
    """Refuse arrays that do not fit each other with a ValueError: steps of other episodes would be read."""
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or (lengths < 0).any():
        raise ValueError("lengths are no numbers of steps")
    steps = int(lengths.sum())
    if time.shape != (steps,) or true.ndim != 2 or len(true) != steps or true.shape != pred.shape:
        raise ValueError(f"{steps} steps, time {time.shape}, true {true.shape}, pred {pred.shape} do not fit")
    if not all(array.dtype.kind in "fiu" for array in (time, true, pred)):
        raise ValueError("time, true and pred are no numbers")
