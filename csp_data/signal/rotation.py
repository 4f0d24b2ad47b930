"""Quaternions (w x y z) over whole arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from csp_data.recording import FloatArray
from csp_data.signal.resample import locate

__all__ = [
    "CONJUGATE",
    "cumulative",
    "first_two_columns",
    "largest_positive",
    "multiply",
    "rotate",
    "rotation_vectors",
    "slerp",
]

CONJUGATE = np.array([1.0, -1.0, -1.0, -1.0])
"""Times this a unit quaternion w x y z is the inverse rotation."""


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
    q = np.asarray(quaternions, dtype=np.float64)
    w, x, y, z = np.moveaxis(q / np.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
    if inverse:
        w = -w
    vx, vy, vz = np.moveaxis(np.asarray(vectors, dtype=np.float64), -1, 0)
    # with u = (x, y, z): t = 2 u cross v, then v + w t + u cross t
    tx, ty, tz = 2 * (y * vz - z * vy), 2 * (z * vx - x * vz), 2 * (x * vy - y * vx)
    turned = [vx + w * tx + y * tz - z * ty, vy + w * ty + z * tx - x * tz, vz + w * tz + x * ty - y * tx]
    return np.stack(turned, axis=-1)


def multiply(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the Hamilton products of quaternions w x y z, shapes (..., 4), broadcast against each other."""
    aw, ax, ay, az = np.moveaxis(a, -1, 0)
    bw, bx, by, bz = np.moveaxis(b, -1, 0)
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=-1,
    )


def rotation_vectors(quaternions: FloatArray) -> FloatArray:
    """Return axis times angle (rad, 0 to pi) of rotations given as quaternions w x y z.

    Parameters
    ----------
    quaternions : array, shape (..., 4)
        Of any norm but zero.

    Returns
    -------
    array, shape (..., 3)
    """
    w, axis = quaternions[..., :1], quaternions[..., 1:]
    sine = np.linalg.norm(axis, axis=-1, keepdims=True)  # of half the angle, times the quaternion's norm
    angle = 2 * np.arctan2(sine, np.abs(w))
    scale = np.divide(angle, sine, out=np.full_like(angle, 2.0), where=sine > 0)
    return np.asarray(np.where(w < 0, -scale, scale) * axis)


def largest_positive(quaternions: FloatArray) -> FloatArray:
    """Return unit quaternions, shape (..., 4), with the sign that makes the largest component positive.

    What a conversion by way of rotation matrices gives (Markley, J. Guid. Control Dyn. 31(2), 2008). Where two
    components are about as large the sign can jump from one sample to the next.
    """
    largest = np.take_along_axis(quaternions, np.abs(quaternions).argmax(axis=-1)[..., None], axis=-1)
    return np.asarray(quaternions / (np.linalg.norm(quaternions, axis=-1, keepdims=True) * np.sign(largest)))


def cumulative(quaternions: FloatArray) -> FloatArray:
    """Return the running products q0, q0 q1, q0 q1 q2, ... of quaternions w x y z, shape (T, 4).

    Blocks of 16 are multiplied up side by side, then their totals the same way: about 3 T products in all, none of
    them in a Python loop of length T.
    """
    count, block = len(quaternions), 16
    if count <= 1:
        return quaternions.copy()
    identity = np.array([1.0, 0.0, 0.0, 0.0])
    blocks = np.concatenate([quaternions, np.tile(identity, (-count % block, 1))]).reshape(-1, block, 4)
    for i in range(1, block):
        blocks[:, i] = multiply(blocks[:, i - 1], blocks[:, i])
    before = np.concatenate([identity[None], cumulative(blocks[:-1, -1])])
    return multiply(before[:, None], blocks).reshape(-1, 4)[:count]


def first_two_columns(quaternions: FloatArray) -> FloatArray:
    """Return the first two columns of rotation matrices: a description without jumps (Zhou et al., CVPR 2019).

    Parameters
    ----------
    quaternions : array, shape (T, 4 K)
        w x y z of K rotations, of any norm but zero.

    Returns
    -------
    array, shape (T, 6 K)
        For each rotation r00 r01 r10 r11 r20 r21.
    """
    q = quaternions.reshape(len(quaternions), -1, 4)
    w, x, y, z = np.moveaxis(q / np.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
    columns = [
        1 - 2 * (y * y + z * z),
        2 * (x * y - w * z),
        2 * (x * y + w * z),
        1 - 2 * (x * x + z * z),
        2 * (x * z - w * y),
        2 * (y * z + w * x),
    ]
    return np.stack(columns, axis=-1).reshape(len(quaternions), -1)


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
    before, after = (quaternions[rows].reshape(len(grid), -1, 4) for rows in (left, right))
    before = before / np.linalg.norm(before, axis=2, keepdims=True)
    after = after / np.linalg.norm(after, axis=2, keepdims=True)
    after = after * np.where((before * after).sum(axis=2, keepdims=True) < 0, -1.0, 1.0)
    # of the angle between the two, as seen in four dimensions; this form is exact for small ones too
    half = np.arctan2(np.linalg.norm(after - before, axis=2), np.linalg.norm(after + before, axis=2))
    angle, weight = 2 * half, weight[:, None]
    # sin(x) / x, which is 1 at 0
    share_after = weight * np.sinc(weight * angle / np.pi) / np.sinc(angle / np.pi)
    share_before = (1 - weight) * np.sinc((1 - weight) * angle / np.pi) / np.sinc(angle / np.pi)
    turned = share_before[..., None] * before + share_after[..., None] * after
    turned = turned / np.linalg.norm(turned, axis=2, keepdims=True)
    turned = np.where(turned[..., :1] < 0, -turned, turned)
    return np.asarray(turned.reshape(len(grid), -1))
