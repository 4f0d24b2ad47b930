"""The low-pass against what filter theory says of sines, steps and constants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from csp_data import LowPass
from csp_data.errors import OptionError
from csp_data.signal.lowpass import Phase

RATE = 50.0
TIME = np.arange(0, 40, 1 / RATE)


def butterworth_gain(hz: float, cutoff: float, order: int) -> float:
    """Gain of a digital Butterworth filter made by the bilinear transform: pre-warped analogue magnitude."""
    warped = np.tan(np.pi * hz / RATE) / np.tan(np.pi * cutoff / RATE)
    return float(1 / np.sqrt(1 + warped ** (2 * order)))


def response(filtered: np.ndarray, hz: float) -> complex:
    """Amplitude and phase of a sine of `hz` in the settled second half of a signal, by least squares."""
    half = slice(len(TIME) // 4, 3 * len(TIME) // 4)
    basis = np.stack([np.sin(2 * np.pi * hz * TIME[half]), np.cos(2 * np.pi * hz * TIME[half])], axis=1)
    (a, b), *_ = np.linalg.lstsq(basis, filtered[half], rcond=None)
    return complex(a, b)


@pytest.mark.parametrize("order", [1, 3, 5])
@pytest.mark.parametrize("hz", [0.5, 2.0, 5.0, 12.0])
def test_gain_and_delay_on_sines(order: int, hz: float) -> None:
    sine = np.sin(2 * np.pi * hz * TIME)[:, None]
    expected = butterworth_gain(hz, 4.0, order)
    causal = response(LowPass(4.0, order, "causal").apply(sine, RATE)[:, 0], hz)
    zero = response(LowPass(4.0, order, "zero").apply(sine, RATE)[:, 0], hz)
    assert abs(causal) == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert abs(zero) == pytest.approx(expected**2, rel=1e-6, abs=1e-9)
    assert np.angle(zero) == pytest.approx(0, abs=1e-4 if abs(zero) > 1e-3 else np.pi)
    # the causal phase is that of the transfer function at this frequency
    _, gain = signal.freqz(*signal.butter(order, 4.0, fs=RATE), worN=[hz], fs=RATE)
    assert np.angle(causal / complex(gain[0])) == pytest.approx(0, abs=1e-4)


def test_half_power_at_the_cut_off() -> None:
    sine = np.sin(2 * np.pi * 4.0 * TIME)[:, None]
    assert abs(response(LowPass(4.0, 3, "causal").apply(sine, RATE)[:, 0], 4.0)) == pytest.approx(
        np.sqrt(0.5), rel=1e-6
    )


@pytest.mark.parametrize("order", [1, 3, 6])
def test_the_gain_and_delay_that_are_told(order: int) -> None:
    hz = np.array([0.0, 0.3, 2.0, 4.0, 9.0, 20.0])
    expected = np.array([butterworth_gain(f, 4.0, order) for f in hz])
    causal, zero = LowPass(4.0, order, "causal"), LowPass(4.0, order, "zero")
    np.testing.assert_allclose(causal.gain(hz, RATE), expected, rtol=1e-9)
    np.testing.assert_allclose(zero.gain(hz, RATE), expected**2, rtol=1e-9)
    step = 1e-4
    b, a = signal.butter(order, 4.0, fs=RATE)
    before, after = (signal.freqz(b, a, worN=hz + side, fs=RATE)[1] for side in (-step / 2, step / 2))
    np.testing.assert_allclose(causal.delay(hz, RATE), -np.angle(after / before) / (2 * np.pi * step), rtol=1e-5)
    np.testing.assert_array_equal(zero.delay(hz, RATE), np.zeros(6))
    # in the end the filtered ramp lags by the delay of what is slow
    lag = TIME[-1] - causal.apply(TIME[:, None], RATE)[-1, 0]
    assert lag == pytest.approx(causal.delay(0.0, RATE)[0], rel=1e-9)


@pytest.mark.parametrize("phase", ["causal", "zero"])
def test_no_samples_are_filtered_to_none(phase: Phase) -> None:
    assert LowPass(4.0, 3, phase).apply(np.zeros((0, 3)), RATE).shape == (0, 3)


@pytest.mark.parametrize("phase", ["causal", "zero"])
def test_a_constant_has_no_transient(phase: str) -> None:
    offset = np.full((300, 2), [9.81, -13000.0])
    np.testing.assert_allclose(LowPass(0.75, 3, phase).apply(offset, RATE), offset, rtol=1e-6)


@given(seed=st.integers(0, 2**31), order=st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_the_causal_filter_begins_as_if_the_first_sample_had_stood_for_ever(seed: int, order: int) -> None:
    values = 1000 + np.random.default_rng(seed).normal(size=(50, 2))
    stood = np.concatenate([np.repeat(values[:1], 400, axis=0), values])
    lowpass = LowPass(4.0, order, "causal")
    np.testing.assert_allclose(lowpass.apply(values, RATE), lowpass.apply(stood, RATE)[400:], atol=1e-9)


@given(cut=st.integers(20, 180), seed=st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_causal_never_looks_ahead_and_zero_phase_does(cut: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(200, 2))
    changed = values.copy()
    changed[cut:] += 1.0
    causal, zero = LowPass(5.0, 3, "causal"), LowPass(5.0, 3, "zero")
    np.testing.assert_array_equal(causal.apply(values, RATE)[:cut], causal.apply(changed, RATE)[:cut])
    assert not np.allclose(zero.apply(values, RATE)[cut - 3 : cut], zero.apply(changed, RATE)[cut - 3 : cut])


def test_zero_phase_equals_filtfilt_of_the_transfer_function() -> None:
    values = np.random.default_rng(0).normal(size=(500, 3)).cumsum(axis=0)
    b, a = signal.butter(3, 0.03)
    np.testing.assert_allclose(
        LowPass(0.75, 3, "zero").apply(values, RATE), signal.filtfilt(b, a, values, axis=0), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("hz", [25.0, 30.0])
def test_cut_off_at_or_above_nyquist_is_refused(hz: float) -> None:
    with pytest.raises(OptionError, match=r"lowpass\.hz=.*below 25 Hz"):
        LowPass(hz).apply(np.zeros((100, 1)), RATE)


@pytest.mark.parametrize(("options", "name"), [({"hz": 0.0}, "hz"), ({"hz": 1, "order": 0}, "order")])
def test_bad_options_are_refused(options: dict[str, float], name: str) -> None:
    with pytest.raises(OptionError, match=rf"lowpass\.{name}"):
        LowPass(**options)


def test_an_episode_too_short_for_zero_phase_is_refused() -> None:
    with pytest.raises(OptionError, match="more than 12 samples"):
        LowPass(0.75, 3, "zero").apply(np.zeros((12, 1)), RATE)


@given(seed=st.integers(0, 2**31), cuts=st.lists(st.integers(1, 99), max_size=5))
@settings(max_examples=30, deadline=None)
def test_a_stream_in_pieces_gives_what_the_whole_gives(seed: int, cuts: list[int]) -> None:
    values = np.random.default_rng(seed).normal(size=(100, 3)) + 9.81
    lowpass = LowPass(3.0, 3, "causal")
    state, pieces = None, []
    for piece in np.split(values, sorted(set(cuts))):
        filtered, state = lowpass.advance(piece, RATE, state)
        pieces.append(filtered)
    np.testing.assert_allclose(np.concatenate(pieces), lowpass.apply(values, RATE), atol=1e-12)
    with pytest.raises(OptionError, match="'causal'"):
        LowPass(3.0, 3, "zero").advance(values, RATE)


@pytest.mark.parametrize(("hz", "order"), [(5.0, 300), (5.0, 3000), (0.75, 300), (1e-4, 100), (1e-6, 3)])
@pytest.mark.parametrize("phase", ["causal", "zero"])
def test_a_filter_that_cannot_be_computed_is_refused(hz: float, order: int, phase: Phase) -> None:
    """It gave zeros, or noise a million times the signal."""
    with pytest.raises(OptionError, match=r"lowpass\.(hz|order)=.*(at most 100|a lower order)"):
        LowPass(hz, order, phase).apply(np.ones((100, 1)), RATE)


@pytest.mark.parametrize("hz", [0.01, 0.75, 5.0, 24.0])
@pytest.mark.parametrize("order", [1, 3, 20, 50])
def test_a_constant_stays_under_every_filter_that_is_allowed(hz: float, order: int) -> None:
    filtered = LowPass(hz, order).apply(np.full((2000, 1), 9.81), RATE)
    np.testing.assert_allclose(filtered, 9.81, rtol=1e-6)
