"""Quaternions w x y z with the components first, (4, T): contiguous columns make whole recordings cheap."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from csp_data.recording import FloatArray

__all__ = [
    "about_z",
    "conjugate",
    "cross",
    "euler",
    "euler_rate",
    "euler_spin",
    "flip_signs",
    "multiply",
    "random",
    "rotate",
    "small",
]


def multiply(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the Hamilton product a b of quaternions (4, T) or (4, 1)."""
    aw, ax, ay, az = a
    bw, bx, by, bz = b
    out: FloatArray = np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ]
    )
    return out


def conjugate(q: FloatArray) -> FloatArray:
    """Return the inverse rotations of unit quaternions (4, T)."""
    out: FloatArray = q * np.array([[1.0], [-1.0], [-1.0], [-1.0]])
    return out


def cross(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the cross products of vectors (3, T) or (3, 1)."""
    return np.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def rotate(q: FloatArray, v: FloatArray) -> FloatArray:
    """Rotate vectors (3, T) or (3, 1) by unit quaternions (4, T): v + 2 w (u x v) + 2 u x (u x v)."""
    twice = 2 * cross(q[1:], v)
    out: FloatArray = v + q[0] * twice + cross(q[1:], twice)
    return out


def euler(angles: FloatArray) -> FloatArray:
    """Return the quaternions (4, T) of turns yaw about z, then pitch about the new y, then roll about the new x.

    Parameters
    ----------
    angles : array, shape (3, T)
        Yaw, pitch and roll, in radians.
    """
    (cz, cy, cx), (sz, sy, sx) = np.cos(angles / 2), np.sin(angles / 2)
    return np.stack(
        [
            cz * cy * cx + sz * sy * sx,
            cz * cy * sx - sz * sy * cx,
            cz * sy * cx + sz * cy * sx,
            sz * cy * cx - cz * sy * sx,
        ]
    )


def euler_rate(angles: FloatArray, first: FloatArray) -> FloatArray:
    """Return the angular velocity of :func:`euler` in the turned frame.

    Parameters
    ----------
    angles, first : array, shape (3, T)
        Yaw z, pitch y, roll x, in radians, and their derivatives.

    Returns
    -------
    array, shape (3, T)
        (x' - z' sin y, y' cos x + z' cos y sin x, z' cos y cos x - y' sin x), in rad/s.
    """
    _, y, x = angles
    (dz, dy, dx), (cy, sy, cx, sx) = first, (np.cos(y), np.sin(y), np.cos(x), np.sin(x))
    return np.stack([dx - dz * sy, dy * cx + dz * cy * sx, dz * cy * cx - dy * sx])


def euler_spin(angles: FloatArray, first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the derivative of :func:`euler_rate`, component by component: the angular acceleration, in rad/s^2.

    Parameters
    ----------
    angles, first, second : array, shape (3, T)
        Yaw, pitch, roll, in radians, and their first two derivatives.

    Returns
    -------
    array, shape (3, T)
    """
    _, y, x = angles
    (dz, dy, dx), (cy, sy, cx, sx) = first, (np.cos(y), np.sin(y), np.cos(x), np.sin(x))
    ddz, ddy, ddx = second
    yawing = ddz * cy - dz * dy * sy  # derivative of z' cos y, which two components share
    return np.stack(
        [
            ddx - ddz * sy - dz * dy * cy,
            ddy * cx - dy * dx * sx + yawing * sx + dz * dx * cy * cx,
            yawing * cx - dz * dx * cy * sx - ddy * sx - dy * dx * cx,
        ]
    )


def small(vector: FloatArray) -> FloatArray:
    """Return the quaternions (4, T) of rotation vectors (3, T), in radians."""
    angle = np.sqrt((vector**2).sum(axis=0))
    half = np.sinc(angle / (2 * np.pi)) / 2  # sin(angle / 2) / angle, also at 0
    return np.concatenate([np.cos(angle / 2)[None], vector * half])


def about_z(angle: float) -> FloatArray:
    """Return the turn (4, 1) about z by an angle in radians."""
    return small(np.array([[0.0], [0.0], [angle]]))


def random(rng: np.random.Generator) -> FloatArray:
    """Return a rotation (4, 1) drawn uniformly: a normalised Gaussian vector in four dimensions."""
    q = rng.standard_normal((4, 1))
    out: FloatArray = q / np.linalg.norm(q)
    return out


def flip_signs(q: FloatArray, flips: npt.NDArray[np.bool_]) -> FloatArray:
    """Change the sign of quaternions (4, T) at each sample marked in `flips` (T,) and after it, until the next."""
    return q * np.where(np.cumsum(flips) % 2, -1.0, 1.0)
