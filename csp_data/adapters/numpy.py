"""A Dataset as arrays in one ``.npz`` file, readable without this package and without pickle."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from csp_data.adapters.common import chosen, described
from csp_data.dataset import check_dataset
from csp_data.home import expanded
from csp_data.output import output

if TYPE_CHECKING:
    from csp_data.dataset import Dataset

__all__ = ["arrays", "write_npz"]


def arrays(dataset: Dataset, part: str | None = None) -> dict[str, npt.NDArray[Any]]:
    """Return all episodes end to end, as plain arrays.

    Parameters
    ----------
    dataset
        The data set.
    part
        One part; ``None`` for all.

    Returns
    -------
    dict
        ``inputs`` (N_in, C) and ``targets`` (N_out, D), float32, physical units; ``time`` (N_in,) and
        ``target_time`` (N_out,), seconds; ``id``, ``group``, ``split`` (E,); ``input_start``, ``input_stop``,
        ``target_start``, ``target_stop`` (E,), rows of these arrays; ``channels``, ``units``, ``target_names``,
        ``target_units``; ``input_hz``, ``target_hz``; ``input_shift``, ``input_scale``, ``target_shift``,
        ``target_scale`` (of the features that the protocol makes); ``about``: JSON.
    """
    check_dataset(dataset)
    episodes = list(dataset.read_rows(chosen(dataset, part)))
    rows = [
        np.cumsum([0, *(len(e.inputs) for e in episodes)]),
        np.cumsum([0, *(len(e.targets) for e in episodes)]),
    ]
    norm = dataset.normalization
    return {
        "inputs": np.concatenate([e.inputs for e in episodes]),
        "targets": np.concatenate([e.targets for e in episodes]),
        "time": np.concatenate([e.time for e in episodes]),
        "target_time": np.concatenate([e.target_time for e in episodes]),
        **{name: np.array([getattr(e, name) for e in episodes]) for name in ("id", "group", "split")},
        "input_start": rows[0][:-1],
        "input_stop": rows[0][1:],
        "target_start": rows[1][:-1],
        "target_stop": rows[1][1:],
        "channels": np.array(dataset.channels.names),
        "units": np.array(dataset.channels.units),
        "target_names": np.array(dataset.targets.names),
        "target_units": np.array(dataset.targets.units),
        "input_hz": np.array(dataset.rates[0]),
        "target_hz": np.array(dataset.rates[1]),
        "input_shift": norm.inputs.shift,
        "input_scale": norm.inputs.scale,
        "target_shift": norm.targets.shift,
        "target_scale": norm.targets.scale,
        "about": np.array(json.dumps(described(dataset))),
    }


def write_npz(dataset: Dataset, path: Path | str, part: str | None = None) -> Path:
    """Write :func:`arrays` to a compressed ``.npz`` file, whole or not at all, and return its path."""
    # as np.savez_compressed does, which before numpy 2.2 leaves the archive open when the disk is full
    with output(path, "path") as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in arrays(dataset, part).items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, values, allow_pickle=False)
    return expanded(path)
