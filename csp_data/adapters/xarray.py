"""A Dataset as an xarray Dataset: all episodes end to end, the contiguous ragged arrays of the CF conventions."""

from __future__ import annotations

import errno
import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from csp_data.adapters.common import described
from csp_data.adapters.numpy import arrays
from csp_data.errors import MissingExtraError
from csp_data.home import expanded
from csp_data.output import output

try:
    import xarray as xr
except ImportError as error:
    raise MissingExtraError("to_xarray()", "xarray", "xarray") from error

if TYPE_CHECKING:
    from csp_data.dataset import Dataset

__all__ = ["to_xarray", "write_netcdf"]


def to_xarray(dataset: Dataset, part: str | None = None) -> xr.Dataset:
    """Return the episodes of a part, or all, end to end.

    Dimensions ``sample`` (inputs), ``step`` (targets), ``channel``, ``target`` and ``episode``. Episode i has the
    next ``input_count[i]`` samples and ``target_count[i]`` steps; ``sample_episode`` and ``step_episode`` say the
    same row by row, for ``groupby``. ``inputs`` and ``targets`` carry ``rate_hz`` and, where all channels share
    it, ``units``; ``unit`` and ``target_unit`` hold them channel by channel.

    Parameters
    ----------
    dataset, part
        As in :func:`csp_data.adapters.numpy.arrays`.
    """
    a = arrays(dataset, part)
    counts = [a["input_stop"] - a["input_start"], a["target_stop"] - a["target_start"]]
    index = np.arange(len(a["id"]))
    return xr.Dataset(
        data_vars={
            "inputs": (("sample", "channel"), a["inputs"], _said(a["units"], dataset.rates[0])),
            "targets": (("step", "target"), a["targets"], _said(a["target_units"], dataset.rates[1])),
            "input_count": ("episode", counts[0], {"sample_dimension": "sample"}),
            "target_count": ("episode", counts[1], {"sample_dimension": "step"}),
            "target_shift": ("target", a["target_shift"]),
            "target_scale": ("target", a["target_scale"]),
            "feature_shift": ("feature", a["input_shift"]),
            "feature_scale": ("feature", a["input_scale"]),
        },
        coords={
            "channel": a["channels"].astype(object),
            "target": a["target_names"].astype(object),
            "unit": ("channel", a["units"].astype(object)),
            "target_unit": ("target", a["target_units"].astype(object)),
            "time": ("sample", a["time"], {"long_name": "time on the recording's clock", "unit": "s"}),
            "target_time": ("step", a["target_time"], {"long_name": "end of the step", "unit": "s"}),
            "episode": a["id"].astype(object),
            "group": ("episode", a["group"].astype(object)),
            "split": ("episode", a["split"].astype(object)),
            "sample_episode": ("sample", np.repeat(index, counts[0])),
            "step_episode": ("step", np.repeat(index, counts[1])),
        },
        attrs={
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in {"featureType": "timeSeries", **described(dataset)}.items()
        },
    )


def _said(units: np.ndarray[tuple[int, ...], np.dtype[np.str_]], rate_hz: float) -> dict[str, object]:
    same = set(units.tolist())
    return {"rate_hz": rate_hz, **({"units": same.pop()} if len(same) == 1 else {})}


def write_netcdf(dataset: Dataset, path: Path | str, part: str | None = None) -> Path:
    """Write :func:`to_xarray` as netCDF 4 (needs h5netcdf), whole or not at all, and return the path."""
    if find_spec("h5netcdf") is None:
        raise MissingExtraError("Writing netCDF", "h5netcdf", "xarray")
    made = to_xarray(dataset, part)
    with output(path, "path") as temporary:
        # HDF5 crashes at the end of a program that could not close a file
        if (free := shutil.disk_usage(temporary.parent).free) < made.nbytes:
            raise OSError(errno.ENOSPC, f"{made.nbytes} bytes are needed, {free} are free")
        made.to_netcdf(temporary, engine="h5netcdf")
    return expanded(path)
