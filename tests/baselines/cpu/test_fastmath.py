"""Elementary functions of the compiled loops against numpy and scipy in float64."""

import numpy as np
import pytest
from numba import njit
from scipy.special import ndtr

from baselines.cpu.fastmath import exp, normal_cdf


@njit
def each_exp(x, y):
    for i in range(x.shape[0]):
        y[i] = exp(x[i])


@njit
def each_cdf(x, y):
    for i in range(x.shape[0]):
        y[i] = normal_cdf(x[i])


@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 2e-7), (np.float64, 1e-15)])
def test_exponential(dtype, bound):
    x = np.linspace(-87, 87, 100_001).astype(dtype)
    y = np.empty_like(x)
    each_exp(x, y)
    expected = np.exp(x.astype(np.float64))
    assert (np.abs(y - expected) / expected).max() < bound
    small = np.array([-87.5, -88.5, -1000, -1e30], dtype)
    each_exp(small, y)
    assert (y[: len(small)] >= 0).all()
    assert (y[: len(small)] <= expected[0] * (1 + bound)).all()


@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 3e-7), (np.float64, 1e-15)])
def test_normal_distribution(dtype, bound):
    x = np.concatenate([np.linspace(-9, 9, 100_001), [-1e30, -100, 0, 100, 1e30]]).astype(dtype)
    y = np.empty_like(x)
    each_cdf(x, y)
    assert np.abs(y - ndtr(x.astype(np.float64))).max() < bound
    assert y[-3] == 0.5
