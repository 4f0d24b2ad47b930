"""Arrays from small HDF5 files, through h5py's low-level interface: half the time of the high-level one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from csp_data.errors import DamagedRecordingError
from csp_data.recording import FloatArray

__all__ = ["read_arrays"]

NUMBERS = (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM)
"""Classes of types that become float64; truth values are stored as an ``ENUM``."""


def read_arrays(path: Path, keys: Sequence[str], optional: Sequence[str] = ()) -> dict[str, FloatArray]:
    """Read arrays of numbers, as float64.

    Parameters
    ----------
    path
        The file.
    keys
        Names of the arrays, groups and all.
    optional
        More of them, which may be missing.

    Raises
    ------
    DamagedRecordingError
        If the file is missing or unreadable, lacks one of `keys`, or holds something else than numbers there.
    """
    try:
        file = h5py.h5f.open(os.fsencode(path), h5py.h5f.ACC_RDONLY)
    except FileNotFoundError as error:
        raise DamagedRecordingError(path, "is missing", "an HDF5 file", "nothing") from error
    except OSError as error:
        raise DamagedRecordingError(path, "cannot be read", "an HDF5 file", str(error)) from error
    key = "/"
    try:
        arrays: dict[str, FloatArray] = {}
        for key in (*keys, *optional):
            try:
                data = h5py.h5d.open(file, key.encode())
            except KeyError as error:
                if key in optional:
                    continue
                names = ", ".join(name.decode() for name in h5py.h5g.open(file, b"/"))
                raise DamagedRecordingError(
                    path, f"array {key!r} is missing", "it in the file", f"only {names}"
                ) from error
            if data.get_type().get_class() not in NUMBERS:
                raise DamagedRecordingError(path, f"array {key!r}", "numbers", str(data.dtype))
            arrays[key] = np.empty(data.shape)
            data.read(h5py.h5s.ALL, h5py.h5s.ALL, arrays[key], h5py.h5t.NATIVE_DOUBLE)
        return arrays
    except (OSError, ValueError, TypeError, MemoryError) as error:  # the last: a header may say anything
        raise DamagedRecordingError(path, f"array {key!r} cannot be read", "numbers", str(error)) from error
    finally:
        file.close()
