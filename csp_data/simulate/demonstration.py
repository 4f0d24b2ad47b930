"""Files of one demonstration of the three collected sets, keys and types as their recorder writes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from csp_data.recording import FloatArray

__all__ = ["EPOCH", "duplicate_stamps", "start_time", "write_file"]

EPOCH = 1_700_000_000.0
"""Unix time, in seconds, at which simulated laboratories open."""

GZIP = {"compression": "gzip", "compression_opts": 4, "shuffle": True}


def start_time(index: int) -> float:
    """Return the unix time at which recording number `index` starts, in seconds: one a minute."""
    return EPOCH + 60.0 * index


def write_file(path: Path, time: FloatArray, arrays: Mapping[str, npt.NDArray[Any]], compressed: bool) -> None:
    """Write one file of a demonstration.

    Parameters
    ----------
    path
        Its stem becomes the entry ``file_name``.
    time : array, shape (T,)
        Unix time in seconds, stored as ``timestamps``.
    arrays
        The rest by key; the first axis is time.
    compressed
        Store the arrays with gzip. The entries and their types are the same.
    """
    duration = float(time[-1] - time[0])
    storage = GZIP if compressed else {}
    with h5py.File(path, "w") as file:
        file.attrs["simulated"] = True
        for key, values in arrays.items():
            file.create_dataset(key, data=values, **storage)
        file.create_dataset("timestamps", data=time, **storage)
        file["file_name"] = path.stem
        file["num_datapoints"] = len(time)
        file["record_start_time"] = float(time[0])
        file["record_end_time"] = float(time[-1])
        file["record_duration"] = duration
        file["record_frequency"] = len(time) / duration


def duplicate_stamps(time: FloatArray, rng: np.random.Generator, share: float = 0.01) -> FloatArray:
    """Return the times with some samples, not the first, carrying the stamp of the sample before."""
    out = time.copy()
    rows = 1 + rng.choice(len(time) - 1, max(1, int(share * len(time))), replace=False)
    out[rows] = time[rows - 1]
    return out
