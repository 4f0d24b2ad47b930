"""Spectra against scipy's, and against a signal whose spectrum is known."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

from csp_data.signal.spectrum import power_density


@pytest.mark.parametrize(
    ("count", "size"),
    [(1, 256), (2, 256), (5, 256), (255, 256), (256, 256), (1000, 255), (200_003, 256), (400, 7)],
)
def test_it_is_scipys(count: int, size: int) -> None:
    values = (np.random.default_rng(count).standard_normal(count).cumsum() + 9.81).astype(np.float32)
    hz, density = power_density(values, 50.0, size)
    expected = scipy.signal.welch(values.astype(np.float64), 50.0, nperseg=min(size, count))
    np.testing.assert_allclose(hz, expected[0], rtol=1e-12)
    np.testing.assert_allclose(density, expected[1], rtol=1e-9, atol=1e-25)


def test_the_power_of_a_sine_is_at_its_frequency() -> None:
    time = np.arange(0, 60, 0.01)
    hz, density = power_density(3.0 * np.sin(2 * np.pi * 12.5 * time), 100.0)
    assert hz[np.argmax(density)] == 12.5
    assert np.trapezoid(density, hz) == pytest.approx(3.0**2 / 2, rel=1e-3)
