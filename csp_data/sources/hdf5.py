"""Arrays from small HDF5 files, through h5py's low-level interface: half the time of the high-level one."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from csp_data.errors import DamagedRecordingError
from csp_data.files import NO_LOCKS, check_stored, open_hdf5
from csp_data.recording import FloatArray

__all__ = ["read_arrays"]

NUMBERS = (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM)
"""Classes of types that become float64; truth values are stored as an ``ENUM``."""
FAULTS = (OSError, RuntimeError, ValueError, TypeError, MemoryError)
"""What h5py raises over a damaged file; the last, since a header may promise anything."""


def read_arrays(
    path: Path, keys: Sequence[str], optional: Sequence[str] = (), attributes: Sequence[str] = ()
) -> dict[str, FloatArray]:
    """Read arrays of numbers, as float64.

    Parameters
    ----------
    path
        The file.
    keys
        Names of the arrays, groups and all.
    optional
        More of them, which may be missing.
    attributes
        Names of attributes of the file that are wanted too.

    Raises
    ------
    DamagedRecordingError
        If the file is missing or unreadable, lacks one of `keys` or `attributes`, or holds something else than
        numbers there.
    """
    try:
        file = _opened(path)
    except FileNotFoundError as error:
        raise DamagedRecordingError(path, "is missing", "an HDF5 file", "nothing") from error
    except OSError as error:
        raise DamagedRecordingError(path, "cannot be read", "an HDF5 file", str(error)) from error
    key = what = ""
    try:
        arrays: dict[str, FloatArray] = {}
        for key in (*keys, *optional, *attributes):
            what = f"{'attribute' if key in attributes else 'array'} {key!r}"
            try:
                data = (h5py.h5a if key in attributes else h5py.h5d).open(file, key.encode())
            except KeyError as error:
                if key in optional:
                    continue
                names = ", ".join(repr(name.decode()) for name in h5py.h5g.open(file, b"/"))
                raise DamagedRecordingError(
                    path, f"{what} is missing", "it in the file", f"only {names}"
                ) from error
            if h5py.h5f.get_name(data) != os.fsencode(path):
                raise DamagedRecordingError(path, what, "it in the file", "a link to another file")
            arrays[key] = _numbers(path, what, data)
        return arrays
    except FAULTS as error:
        raise DamagedRecordingError(path, f"{what} cannot be read", "numbers", str(error)) from error
    finally:
        file.close()


def _opened(path: Path) -> h5py.h5f.FileID:
    try:
        return h5py.h5f.open(os.fsencode(path), h5py.h5f.ACC_RDONLY)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return open_hdf5(path).id


def _numbers(path: Path, what: str, data: h5py.h5d.DatasetID | h5py.h5a.AttrID) -> FloatArray:
    shape, stored_type = data.shape, data.get_type()  # each asks HDF5, for as long as a small array takes to read
    if stored_type.get_class() not in NUMBERS or shape is None:
        raise DamagedRecordingError(path, what, "numbers", "none" if shape is None else str(data.dtype))
    if isinstance(data, h5py.h5a.AttrID):
        values = np.empty(shape)
        data.read(values, h5py.h5t.NATIVE_DOUBLE)
        return values
    check_stored(data, math.prod(shape) * stored_type.get_size())
    values = np.empty(shape)
    data.read(h5py.h5s.ALL, h5py.h5s.ALL, values, h5py.h5t.NATIVE_DOUBLE)
    return values
