"""Products, norms and activations of one sample, in float32: what the loops of all kinds of layers share."""

import math

import numpy as np
from numba import njit

from baselines.cpu.fastmath import exp
from baselines.cpu.flags import REORDERED

__all__ = [
    "FLAGS",
    "add_product",
    "affine",
    "affine_rows",
    "gelu",
    "layer_norm",
    "sigmoid",
    "silu",
    "softplus",
    "tanh",
]

FLAGS = {**REORDERED, "fastmath": REORDERED["fastmath"] - {"arcp"}}
"""Divisions are exact: vectors would take them from an estimate, single numbers not, and which of the two a loop
runs with can depend on where its arrays lie. A stream that goes on in another process has the same bits."""
_F = np.float32


@njit(**FLAGS)
def affine(x, weight, bias, out):  # type: ignore[no-untyped-def]
    """Write W x + b to ``out``."""
    for n in range(weight.shape[0]):
        total = _F(0)
        for k in range(weight.shape[1]):
            total += weight[n, k] * x[k]
        out[n] = total + bias[n]


@njit(**FLAGS)
def affine_rows(x, weight, bias, out):  # type: ignore[no-untyped-def]
    """Write W x + b for each row of ``x`` to the rows of ``out``; every weight is read once for four rows."""
    rows, whole = x.shape[0], x.shape[0] - x.shape[0] % 4
    for n in range(weight.shape[0]):
        row = weight[n]
        for r in range(0, whole, 4):
            x_0, x_1, x_2, x_3 = x[r], x[r + 1], x[r + 2], x[r + 3]
            t_0, t_1, t_2, t_3 = bias[n], bias[n], bias[n], bias[n]
            for k in range(row.shape[0]):
                t_0 += row[k] * x_0[k]
                t_1 += row[k] * x_1[k]
                t_2 += row[k] * x_2[k]
                t_3 += row[k] * x_3[k]
            out[r, n], out[r + 1, n], out[r + 2, n], out[r + 3, n] = t_0, t_1, t_2, t_3
        for r in range(whole, rows):
            total = bias[n]
            for k in range(row.shape[0]):
                total += row[k] * x[r, k]
            out[r, n] = total


@njit(**FLAGS)
def add_product(x, weight, out):  # type: ignore[no-untyped-def]
    """Add W x to ``out``."""
    for n in range(weight.shape[0]):
        total = _F(0)
        for k in range(weight.shape[1]):
            total += weight[n, k] * x[k]
        out[n] += total


@njit(**FLAGS)
def layer_norm(x, weight, bias, eps, out):  # type: ignore[no-untyped-def]
    """Write the LayerNorm of ``x`` to ``out``."""
    size = x.shape[0]
    mean = _F(0)
    for i in range(size):
        mean += x[i]
    mean /= _F(size)
    var = _F(0)
    for i in range(size):
        var += (x[i] - mean) * (x[i] - mean)
    scale = _F(1) / math.sqrt(var / _F(size) + eps)
    for i in range(size):
        out[i] = (x[i] - mean) * scale * weight[i] + bias[i]


@njit(**FLAGS)
def sigmoid(x):  # type: ignore[no-untyped-def]
    """Return 1 / (1 + e^-x)."""
    return _F(1) / (_F(1) + exp(min(-x, _F(80))))


@njit(**FLAGS)
def tanh(x):  # type: ignore[no-untyped-def]
    """Return the hyperbolic tangent, 2 sigmoid(2 x) - 1."""
    return _F(2) * sigmoid(_F(2) * x) - _F(1)


@njit(**FLAGS)
def silu(x):  # type: ignore[no-untyped-def]
    """Return x sigmoid(x)."""
    return x * sigmoid(x)


@njit(**FLAGS)
def softplus(x):  # type: ignore[no-untyped-def]
    """Return log(1 + e^x) = max(x, 0) + log(1 + t) with t = e^-|x|, without the C library's logarithm.

    log(1 + t) = 2 artanh(s) with s = t / (2 + t) <= 1/3, by its series up to s^13: the rest is below 1e-8.
    """
    t = exp(-min(abs(x), _F(80)))
    s = t / (_F(2) + t)
    q = s * s
    p = _F(1 / 13)
    p = p * q + _F(1 / 11)
    p = p * q + _F(1 / 9)
    p = p * q + _F(1 / 7)
    p = p * q + _F(1 / 5)
    p = p * q + _F(1 / 3)
    p = p * q + _F(1)
    return max(x, _F(0)) + _F(2) * s * p


@njit(**FLAGS)
def gelu(x):  # type: ignore[no-untyped-def]
    """Return x Phi(x), with the error function to 1.5e-7 (Abramowitz and Stegun, formula 7.1.26)."""
    z = abs(x) * _F(0.70710678)
    t = _F(1) / (_F(1) + _F(0.3275911) * z)
    p = _F(1.061405429)
    p = p * t - _F(1.453152027)
    p = p * t + _F(1.421413741)
    p = p * t - _F(0.284496736)
    p = p * t + _F(0.254829592)
    tail = _F(0.5) * p * t * exp(max(-z * z, _F(-80)))
    return x * (_F(1) - tail if x > _F(0) else tail)
