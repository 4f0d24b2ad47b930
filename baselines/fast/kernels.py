"""The compiled loops: one sample through a stack of layers.

Letters: H width of the model, I inner width, N states, J width of a convolution, K layers, W taps. Weights of all
layers of a stack lie in one array with the layer as first axis; matrices are (out, in).
"""

import math
from typing import Any

import numpy as np
from numba import njit

from baselines.fastmath import exp

_FLAGS: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",  # a check for division by zero would keep the loops scalar
    "fastmath": {"reassoc", "contract", "nsz", "arcp", "nnan", "ninf"},
}
_F = np.float32


@njit(**_FLAGS)
def affine(x, weight, bias, out):  # type: ignore[no-untyped-def]
    """Write W x + b to ``out``."""
    for n in range(weight.shape[0]):
        total = _F(0)
        for k in range(weight.shape[1]):
            total += weight[n, k] * x[k]
        out[n] = total + bias[n]


@njit(**_FLAGS)
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


@njit(**_FLAGS)
def sigmoid(x):  # type: ignore[no-untyped-def]
    """Return 1 / (1 + e^-x)."""
    return _F(1) / (_F(1) + exp(min(max(-x, _F(-80)), _F(80))))


@njit(**_FLAGS)
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


@njit(**_FLAGS)
def gate(y, weight, bias, glu, out):  # type: ignore[no-untyped-def]
    """Write GLU(W gelu(y) + b) to ``out``; ``glu`` holds 2 H numbers."""
    size = y.shape[0]
    for i in range(size):
        y[i] = gelu(y[i])
    affine(y, weight, bias, glu)
    for i in range(size):
        out[i] = glu[i] * sigmoid(glu[size + i])


@njit(**_FLAGS)
def _gated(x, y, k, prenorm, norm, linear, scratch):  # type: ignore[no-untyped-def]
    """Finish block ``k``: x + GLU(W gelu(y) + b), normalised where that comes last."""
    size = x.shape[0]
    gate(y, linear[0][k], linear[1][k], scratch, y)
    for i in range(size):
        x[i] += y[i]
    if not prenorm:
        layer_norm(x, norm[0][k], norm[1][k], norm[2], x)


@njit(**_FLAGS)
def fir_stack(x, position, prenorm, norm, linear, taps, past, y, scratch):  # type: ignore[no-untyped-def]
    """Take sample ``position`` of a window through blocks whose state space is a filter, in place.

    ``taps`` (K, W, H) holds the kernel with D in its first tap, ``past`` (K, W, H) the window's inputs so far.
    """
    size = x.shape[0]
    for k in range(taps.shape[0]):
        u = past[k, position]
        if prenorm:
            layer_norm(x, norm[0][k], norm[1][k], norm[2], u)
        else:
            u[:] = x
        y[:] = _F(0)
        for lag in range(position + 1):
            tap, seen = taps[k, lag], past[k, position - lag]
            for i in range(size):
                y[i] += tap[i] * seen[i]
        _gated(x, y, k, prenorm, norm, linear, scratch)


@njit(**_FLAGS)
def recurrent_stack(x, prenorm, norm, linear, space, real, imag, u, y, scratch):  # type: ignore[no-untyped-def]
    """Take a sample through blocks whose state space is a recurrence, in place.

    x' = A x - E Re(F . x) + B u,  y = 2 Re(C . x') + D u: ``space`` holds the real and imaginary parts of A, E, F,
    B and C, each (K, H, N), and D (K, H); the state is ``real`` and ``imag`` (K, H, N).
    """
    ar, ai, er, ei, fr, fi, br, bi, cr, ci, d = space
    size, states = x.shape[0], real.shape[2]
    for k in range(real.shape[0]):
        if prenorm:
            layer_norm(x, norm[0][k], norm[1][k], norm[2], u)
        else:
            u[:] = x
        for h in range(size):
            xr, xi, v = real[k, h], imag[k, h], np.float64(u[h])
            rank_one = 0.0
            for n in range(states):
                rank_one += fr[k, h, n] * xr[n] - fi[k, h, n] * xi[n]
            total = 0.0
            for n in range(states):
                r = ar[k, h, n] * xr[n] - ai[k, h, n] * xi[n] - er[k, h, n] * rank_one + br[k, h, n] * v
                i = ar[k, h, n] * xi[n] + ai[k, h, n] * xr[n] - ei[k, h, n] * rank_one + bi[k, h, n] * v
                xr[n], xi[n] = r, i
                total += cr[k, h, n] * r - ci[k, h, n] * i
            y[h] = _F(2.0 * total + d[k, h] * v)
        _gated(x, y, k, prenorm, norm, linear, scratch)


@njit(**_FLAGS)
def mamba_stack(x, norm, projections, conv, a, d, past, h, final, scratch):  # type: ignore[no-untyped-def]
    """Take a sample through Mamba blocks and the last LayerNorm, in place.

    ``past`` (K, J - 1, I) holds the earlier inputs of the convolution, oldest first, ``h`` (K, I, N) the states;
    ``a`` is A (K, I, N), negative.
    """
    w_in, w_x, w_dt, b_dt, w_out = projections
    normal, inside, u, selected, delta, zeros, out = scratch
    inner, states, rank, width = h.shape[1], h.shape[2], w_dt.shape[2], conv[0].shape[1]
    for k in range(h.shape[0]):
        layer_norm(x, norm[0][k], norm[1][k], norm[2], normal)
        affine(normal, w_in[k], zeros, inside)
        for i in range(inner):
            u[i] = conv[1][k, i] + conv[0][k, width - 1, i] * inside[i]
        for j in range(width - 1):
            for i in range(inner):
                u[i] += conv[0][k, j, i] * past[k, j, i]
        for j in range(width - 2):
            past[k, j] = past[k, j + 1]
        if width > 1:
            past[k, width - 2] = inside[:inner]
        for i in range(inner):
            u[i] *= sigmoid(u[i])
        affine(u, w_x[k], zeros, selected)
        affine(selected[:rank], w_dt[k], b_dt[k], delta)
        b, c = selected[rank : rank + states], selected[rank + states :]
        for i in range(inner):
            v = delta[i]
            step = max(v, _F(0)) + _F(math.log1p(exp(-min(abs(v), _F(80)))))
            drive, total = step * u[i], _F(0)
            for n in range(states):
                h[k, i, n] = exp(max(step * a[k, i, n], _F(-80))) * h[k, i, n] + drive * b[n]
                total += h[k, i, n] * c[n]
            z = inside[inner + i]
            u[i] = (total + d[k, i] * u[i]) * z * sigmoid(z)
        affine(u, w_out[k], zeros, out)
        for i in range(x.shape[0]):
            x[i] += out[i]
    layer_norm(x, final[0], final[1], final[2], x)


@njit(**_FLAGS)
def lstm_stack(x, w_ih, w_hh, bias, h, c, gates, recurrent, zeros):  # type: ignore[no-untyped-def]
    """Take a sample through an LSTM; the output is ``h`` of the last layer. Gates i, f, g, o; state (K, H)."""
    size = h.shape[1]
    for k in range(h.shape[0]):
        below = x if k == 0 else h[k - 1]
        affine(below, w_ih[k, :, : below.shape[0]], bias[k], gates)
        affine(h[k], w_hh[k], zeros, recurrent)
        for i in range(size):
            entry = sigmoid(gates[i] + recurrent[i])
            keep = sigmoid(gates[size + i] + recurrent[size + i])
            value = _F(2) * sigmoid(_F(2) * (gates[2 * size + i] + recurrent[2 * size + i])) - _F(1)
            c[k, i] = keep * c[k, i] + entry * value
            shown = sigmoid(gates[3 * size + i] + recurrent[3 * size + i])
            h[k, i] = shown * (_F(2) * sigmoid(_F(2) * c[k, i]) - _F(1))
