"""Butterworth low-pass filters, zero-phase or causal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from csp_data.errors import OptionError
from csp_data.options import check_choice, check_count, check_number

__all__ = ["LowPass", "Phase"]

Phase = Literal["zero", "causal"]


LARGEST_ORDER = 100
"""Beyond, the poles lie so close together that what is left after rounding grows without bound."""


@dataclass(frozen=True)
class LowPass:
    """A Butterworth low-pass filter, as second-order sections.

    Parameters
    ----------
    hz
        Cut-off in Hz: where one pass of the filter has a gain of 1/sqrt(2) (-3 dB).
    order
        Order of one pass. ``phase="zero"`` passes twice, so its gain at ``hz`` is 1/2 (-6 dB) and its slope
        that of twice the order.
    phase
        ``"causal"`` runs forward in time and delays the signal; an output never depends on a later input.
        ``"zero"`` runs forward and backward: no delay, but every output has seen the whole future.

    Raises
    ------
    OptionError
        If `hz` is not above 0, `order` is no whole number of at least 1, or `phase` is neither.

    Examples
    --------
    >>> import numpy as np
    >>> from csp_data import LowPass
    >>> x = np.ones((200, 3))
    >>> bool(np.allclose(LowPass(hz=5.0).apply(x, rate_hz=50.0), 1.0))
    True
    """

    hz: float
    order: int = 3
    phase: Phase = "causal"

    def __post_init__(self) -> None:
        check_number("lowpass.hz", self.hz, "a cut-off above 0 Hz", above=0)
        check_count("lowpass.order", self.order)
        check_choice("lowpass.phase", self.phase, get_args(Phase))

    def sections(self, rate_hz: float) -> npt.NDArray[np.float64]:
        """Return the second-order sections, shape (S, 6), for a signal sampled at `rate_hz` (Hz).

        Raises
        ------
        OptionError
            If the cut-off is not below the Nyquist frequency, or the filter cannot be computed: its order is above
            100, or a constant signal would not pass.
        """
        from scipy import signal  # here: it takes 70 MB and half a second, which a download has no use for

        nyquist = rate_hz / 2
        if self.hz >= nyquist:
            raise OptionError("lowpass.hz", self.hz, f"a cut-off below {nyquist:g} Hz, half of {rate_hz:g} Hz")
        if self.order > LARGEST_ORDER:
            raise OptionError(
                "lowpass.order", self.order, f"at most {LARGEST_ORDER}: beyond, rounding makes noise of it"
            )
        with np.errstate(all="ignore"):  # what becomes of it is looked at below
            sos: npt.NDArray[np.float64] = signal.butter(self.order, self.hz, fs=rate_hz, output="sos")
            constant = float(np.prod(sos[:, :3].sum(axis=1) / sos[:, 3:].sum(axis=1)))
        if not abs(constant - 1) < 1e-3:
            raise OptionError(
                "lowpass.hz",
                self.hz,
                f"a higher cut-off, or a lower order than {self.order}",
                f"Computed with 16 digits, this filter would take a constant signal times {constant:.3g}.",
            )
        return sos

    def gain(self, hz: npt.ArrayLike, rate_hz: float) -> npt.NDArray[np.float64]:
        """Return the gain (1 for unchanged) at frequencies `hz`, for a signal sampled at `rate_hz` (Hz)."""
        from scipy import signal

        _, response = signal.sosfreqz(self.sections(rate_hz), worN=np.atleast_1d(hz), fs=rate_hz)
        gain: npt.NDArray[np.float64] = np.abs(response)
        return gain**2 if self.phase == "zero" else gain

    def delay(self, hz: npt.ArrayLike, rate_hz: float) -> npt.NDArray[np.float64]:
        """Return the group delay in seconds at frequencies `hz` (below Nyquist); 0 for a zero-phase filter.

        Minus the slope of the phase over angular frequency. For a polynomial P in z^-1 with coefficients p_k it is
        Re(sum k p_k z^-k / P), and those of the numerators and denominators of all sections add up.
        """
        hz = np.atleast_1d(np.asarray(hz, dtype=np.float64))
        if self.phase == "zero":
            return np.zeros(hz.shape)
        powers = np.exp(-2j * np.pi * hz / rate_hz)[:, None] ** np.arange(3)
        samples = np.zeros(hz.shape)
        for section in self.sections(rate_hz):
            for sign, polynomial in ((1, section[:3]), (-1, section[3:])):
                samples += sign * np.real(powers @ (np.arange(3) * polynomial) / (powers @ polynomial))
        return samples / rate_hz

    def apply(self, values: npt.NDArray[np.floating], rate_hz: float) -> npt.NDArray[np.float64]:
        """Filter along time.

        The causal filter starts in the steady state of the first sample, as if that had stood for ever, so a
        constant offset (gravity, a magnet's bias) makes no transient.

        Parameters
        ----------
        values : array, shape (T, C)
            Regularly sampled.
        rate_hz
            Sampling rate in Hz.

        Returns
        -------
        array, shape (T, C)
            float64.

        Raises
        ------
        OptionError
            As :meth:`sections`, if the values have no two axes, or if the signal is too short for the zero-phase
            filter's padding.
        """
        values = _columns(values)
        sos = self.sections(rate_hz)
        if len(values) == 0:
            return np.zeros(values.shape)
        if self.phase == "causal":
            return self.advance(values, rate_hz)[0]
        from scipy import signal

        padding = 3 * (self.order + 1)
        if len(values) <= padding:
            raise OptionError(
                "lowpass.phase",
                self.phase,
                f"episodes of more than {padding} samples (this one has {len(values)})",
                "Use phase='causal' or drop short episodes with min_episode_s.",
            )
        return np.asarray(signal.sosfiltfilt(sos, values, axis=0, padlen=padding), dtype=np.float64)

    def advance(
        self, values: npt.NDArray[np.floating], rate_hz: float, state: npt.NDArray[np.float64] | None = None
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Filter the next samples of a stream; pieces give what :meth:`apply` gives for the whole.

        Parameters
        ----------
        values : array, shape (T, C)
            At least one sample.
        rate_hz
            Sampling rate in Hz.
        state : array, shape (S, 2, C)
            What the previous call returned; ``None`` at the start of the stream.

        Returns
        -------
        filtered : array, shape (T, C)
        state : array, shape (S, 2, C)

        Raises
        ------
        OptionError
            If the filter is not causal, or the values have no two axes.
        """
        from scipy import signal

        values = _columns(values)

        if self.phase != "causal":
            raise OptionError("lowpass.phase", self.phase, "'causal': the other one needs the whole recording")
        sos = self.sections(rate_hz)
        if state is None:
            state = signal.sosfilt_zi(sos)[:, :, None] * values[0]
        filtered, state = signal.sosfilt(sos, values, axis=0, zi=state)
        return np.asarray(filtered, dtype=np.float64), np.asarray(state, dtype=np.float64)


def _columns(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return samples (T, C) as float64; refuse other shapes, of which scipy only says what its state lacks."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2:
        raise OptionError("values", values.shape, "the shape (T, C), a column for each channel")
    return values
