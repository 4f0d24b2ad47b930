"""Quaternions (w x y z) over whole arrays, on scipy's rotations."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from csp_data.signal.resample import FloatArray, locate

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
    quaternions : array, shape (T, 4 K)
        w x y z of K rotations.
    grid : array, shape (N,)
        Times wanted, within the first and the last of `time`.

    Returns
    -------
    array, shape (N, 4 K)
        Unit quaternions w x y z with w >= 0.
    """
    left, weight = locate(time, grid)
    right = np.minimum(left + 1, len(time) - 1)
    count = quaternions.shape[1] // 4
    before, after = (to_rotation(quaternions[rows].reshape(-1, 4)) for rows in (left, right))
    step = (before.inv() * after).as_rotvec() * np.repeat(weight, count)[:, None]
    turned = before * Rotation.from_rotvec(step)
    out: npt.NDArray[np.float64] = turned.as_quat(canonical=True, scalar_first=True)
    return out.reshape(len(grid), 4 * count)
