"""Draw the gain and the delay of a low-pass filter over frequency."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from csp_data.plot.style import COLOURS, tidy
from csp_data.signal.lowpass import LowPass

__all__ = ["plot_delay", "plot_gain"]


def plot_gain(ax: Axes, lowpass: LowPass, rate_hz: float, *, colour: str = COLOURS[0]) -> Axes:
    """Draw the gain in dB over frequency, with a dotted line at the cut-off.

    Parameters
    ----------
    ax
        Axes to draw into.
    lowpass
        The filter.
    rate_hz
        Sampling rate in Hz.
    colour
        Of the line.
    """
    hz = np.geomspace(lowpass.hz / 30, rate_hz / 2 * 0.99, 400)
    ax.semilogx(hz, 20 * np.log10(np.maximum(lowpass.gain(hz, rate_hz), 1e-6)), color=colour)
    ax.axvline(lowpass.hz, color="#222222", linewidth=0.8, linestyle=":")
    ax.set(xlabel="frequency (Hz)", ylabel="gain (dB)", ylim=(-80, 5))
    return tidy(ax)


def plot_delay(ax: Axes, lowpass: LowPass, rate_hz: float, *, colour: str = COLOURS[0]) -> Axes:
    """Draw the group delay in milliseconds over frequency, up to twice the cut-off, where there is signal left.

    Parameters
    ----------
    ax
        Axes to draw into.
    lowpass
        The filter; a zero-phase one has no delay, and sees the future.
    rate_hz
        Sampling rate in Hz.
    colour
        Of the line.
    """
    hz = np.linspace(0, min(2 * lowpass.hz, rate_hz / 2 * 0.99), 400)
    ax.plot(hz, 1e3 * lowpass.delay(hz, rate_hz), color=colour)
    ax.axvline(lowpass.hz, color="#222222", linewidth=0.8, linestyle=":")
    ax.set(xlabel="frequency (Hz)", ylabel="delay (ms)")
    ax.set_ylim(bottom=0)
    return tidy(ax)
