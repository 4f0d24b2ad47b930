"""Quaternions (w x y z) over whole arrays, on scipy's rotations."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation, Slerp

from csp_data.signal.resample import FloatArray, clip_to_span

__all__ = ["rotate", "slerp", "to_rotation"]


def to_rotation(quaternions: npt.NDArray[np.floating]) -> Rotation:
    """Return scipy rotations from quaternions w x y z, shape (..., 4), normalising them."""
    return Rotation.from_quat(np.asarray(quaternions, dtype=np.float64), scalar_first=True)


def rotate(
    quaternions: npt.NDArray[np.floating], vectors: npt.NDArray[np.floating], *, inverse: bool = False
) -> npt.NDArray[np.float64]:
    """Rotate vectors by quaternions w x y z.

    Parameters
    ----------
    quaternions : array, shape (T, 4) or (4,)
        From the vectors' frame to the new one.
    vectors : array, shape (T, 3)
        Any unit.
    inverse
        Rotate by the conjugates instead.

    Returns
    -------
    array, shape (T, 3)
    """
    turned: npt.NDArray[np.float64] = to_rotation(quaternions).apply(vectors, inverse=inverse)
    return turned


def slerp(time: FloatArray, quaternions: FloatArray, grid: FloatArray) -> FloatArray:
    """Interpolate rotations along the shortest arc between neighbours (q and -q are the same rotation).

    Parameters
    ----------
    time : array, shape (T,)
        Seconds, strictly increasing.
    quaternions : array, shape (T, 4)
        w x y z.
    grid : array, shape (N,)
        Times wanted, within the first and the last of `time`.

    Returns
    -------
    array, shape (N, 4)
        Unit quaternions w x y z with w >= 0.
    """
    grid = clip_to_span(time, grid)
    if len(time) == 1:
        return np.repeat(to_rotation(quaternions).as_quat(canonical=True, scalar_first=True), len(grid), axis=0)
    out: npt.NDArray[np.float64] = Slerp(time, to_rotation(quaternions))(grid).as_quat(
        canonical=True, scalar_first=True
    )
    return out
