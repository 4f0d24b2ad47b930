"""Rubber does not come back the way it went: play, stop and creep."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from csp_data.recording import FloatArray

__all__ = ["creep", "play", "stop"]


def play(x: FloatArray, width: float) -> FloatArray:
    """Return the play operator of signals: y follows x only where x would leave the band y +- width.

    y_k = min(x_k + w, max(x_k - w, y_{k-1})), started at y_{-1} = x_0: the element of the Prandtl-Ishlinskii model
    of rate-independent hysteresis (Visintin, Differential Models of Hysteresis, 1994, III.2).

    A step is a clipping to [x_k - w, x_k + w], and two clippings in a row are one clipping whose bounds are the
    clipped bounds; that makes the recursion a prefix scan of log2(T) passes over whole arrays.

    Parameters
    ----------
    x : array, shape (C, T)
        Any unit; hysteresis acts on each row alone.
    width
        Half the width of the band, in the unit of x.
    """
    low, high = x - width, x + width
    step = 1
    while step < x.shape[1]:
        # compose the clipping that ends `step` earlier with this one
        low[:, step:], high[:, step:] = (
            np.clip(low[:, :-step], low[:, step:], high[:, step:]),
            np.clip(high[:, :-step], low[:, step:], high[:, step:]),
        )
        step *= 2
    return np.clip(x[:, :1], low, high)


def stop(x: FloatArray, width: float) -> FloatArray:
    """Return the stop operator x - play(x): an elastic element that slides once it is stretched by `width`.

    The shear of a skin that sticks to a surface moving by x, and slips when friction gives way.
    """
    return x - play(x, width)


def creep(x: FloatArray, share: float, seconds: float, hz: float) -> FloatArray:
    """Return x with part of its response delayed: the standard linear solid, in creep.

    The delayed part follows with a time constant; it is settled at the first sample.

    Parameters
    ----------
    x : array, shape (C, T)
        Sampled at about `hz`.
    share
        Final size of the delayed part, as a fraction of x.
    seconds
        Time constant.
    """
    pole = np.exp(-1 / (seconds * hz))
    start = pole * x[:, :1]  # state that makes a constant input start settled
    delayed, _ = lfilter([1 - pole], [1, -pole], x, axis=1, zi=start)
    out: FloatArray = x + share * delayed
    return out
