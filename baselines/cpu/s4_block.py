"""What is inside an S4 block on short sequences (the chunks of HiSS), compiled with numba: one pass each way.

    y = x + dropout(glu(W g + b)),    g = dropout(gelu(k * LayerNorm(x)))

One pass over the memory before the product (here) and one after it (:mod:`baselines.cpu.gate`), each way: a
chunk of 10 samples and 256 channels stays in the first-level caches from its norm to its dropout. What is between
is not kept but computed again in the backward pass.

Glossary: ``k`` taps of the convolution with D added to the first, (L, H), tap first; ``s`` = k * LayerNorm(x);
``first`` the first step wanted; ``mask`` seed, threshold and scale of a dropout mask.
"""

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

from baselines.cpu.dropout import coin, mask_parameters
from baselines.cpu.fastmath import exp, normal_cdf
from baselines.cpu.flags import GRADIENT_GROUPS, INLINED, REORDERED
from baselines.cpu.threads import run_ranges


@njit(**INLINED, **REORDERED)
def _norm_row(row, out, eps):  # type: ignore[no-untyped-def]
    """Write ``row`` less its mean, over its standard deviation, to ``out``; return the factor."""
    zero, one = row.dtype.type(0), row.dtype.type(1)
    inverse_size, mean, square = one / row.dtype.type(row.shape[0]), zero, zero
    for h in range(row.shape[0]):
        mean += row[h]
    mean *= inverse_size
    for h in range(row.shape[0]):
        square += (row[h] - mean) * (row[h] - mean)
    scale = one / np.sqrt(square * inverse_size + eps)
    for h in range(row.shape[0]):
        out[h] = (row[h] - mean) * scale
    return scale


@njit(**INLINED, **REORDERED)
def _affine_row(row, gamma, beta, out):  # type: ignore[no-untyped-def]
    for h in range(row.shape[0]):
        out[h] = row[h] * gamma[h] + beta[h]


@njit(**INLINED, **REORDERED)
def _convolve(k, u, first, s):  # type: ignore[no-untyped-def]
    """Write sum_j k_j u_{t-j} to row t of ``s``, for t >= first."""
    # lag by lag: a row is added to again only after others, when its last stores are done
    for t in range(first, u.shape[0]):
        k_j, u_t, s_t = k[0], u[t], s[t]
        for h in range(s_t.shape[0]):
            s_t[h] = k_j[h] * u_t[h]
    for j in range(1, u.shape[0]):
        k_j = k[j]
        for t in range(max(first, j), u.shape[0]):
            u_t, s_t = u[t - j], s[t]
            for h in range(s_t.shape[0]):
                s_t[h] += k_j[h] * u_t[h]


@njit(**INLINED, **REORDERED)
def _correlate(k, u, ds, first, du, dk):  # type: ignore[no-untyped-def]
    """Write the gradient of u to ``du`` and add that of the taps to ``dk``."""
    length = u.shape[0]
    du[:] = du.dtype.type(0)
    for j in range(length):
        k_j = k[j]
        for t in range(max(first, j), length):
            du_t, ds_t = du[t - j], ds[t]
            for h in range(du_t.shape[0]):
                du_t[h] += k_j[h] * ds_t[h]
    for t in range(length):
        u_t = u[t]
        for j in range(max(0, first - t), length - t):
            dk_j, ds_t = dk[j], ds[t + j]
            for h in range(dk_j.shape[0]):
                dk_j[h] += u_t[h] * ds_t[h]


@njit(**INLINED, **REORDERED)
def _gelu_row(s, first_index, seed, threshold, scale, out):  # type: ignore[no-untyped-def]
    zero = s.dtype.type(0)
    for h in range(s.shape[0]):
        value = s[h] * normal_cdf(s[h]) * scale
        out[h] = value if coin(first_index + np.uint32(h), seed) >= threshold else zero


@njit(**INLINED, **REORDERED)
def _gelu_gradient_row(s, dg, first_index, seed, threshold, scale, ds):  # type: ignore[no-untyped-def]
    """Write dg times the derivative Phi(s) + s exp(-s^2/2) / sqrt(2 pi) where the coin keeps it."""
    zero, half, peak = s.dtype.type(0), s.dtype.type(-0.5), s.dtype.type(0.3989422804014327)
    for h in range(s.shape[0]):
        slope = normal_cdf(s[h]) + s[h] * peak * exp(half * s[h] * s[h])
        ds[h] = dg[h] * slope * scale if coin(first_index + np.uint32(h), seed) >= threshold else zero


@njit(**REORDERED)
def _inner_forward(start, stop, x, gamma, beta, eps, k, first, seed, threshold, scale, g):  # type: ignore[no-untyped-def]
    length, channels = x.shape[1], x.shape[2]
    normed = np.empty((length, channels), x.dtype)
    u, s = np.empty_like(normed), np.empty_like(normed)
    for i in range(start, stop):
        for t in range(length):
            _norm_row(x[i, t], normed[t], eps)
            _affine_row(normed[t], gamma, beta, u[t])
        _convolve(k, u, first, s)
        for t in range(first, length):
            first_index = np.uint32((i * (length - first) + t - first) * channels)
            _gelu_row(s[t], first_index, seed, threshold, scale, g[i, t - first])


@njit(**INLINED, **REORDERED)
def _norm_gradient_row(du, normed, scale, gamma, dy, d_gamma, d_beta, dx):  # type: ignore[no-untyped-def]
    """Write dy + scale (v - mean v - normal mean(v normal)), v = gamma du, to ``dx``."""
    zero = du.dtype.type(0)
    inverse_size, mean, product = du.dtype.type(1) / du.dtype.type(du.shape[0]), zero, zero
    # sums in a loop of their own: one that stores, too, is run in vectors only where no array lies close behind
    # another, so that the order of its sums, and with it their last bits, would depend on the memory's layout
    for h in range(du.shape[0]):
        v = du[h] * gamma[h]
        mean += v
        product += v * normed[h]
    mean, product = mean * inverse_size, product * inverse_size
    for h in range(du.shape[0]):
        d_beta[h] += du[h]
        d_gamma[h] += du[h] * normed[h]
        dx[h] = dy[h] + scale * (du[h] * gamma[h] - mean - normed[h] * product)


@njit(**REORDERED)
def _inner_backward(start, stop, x, gamma, beta, eps, k, first, seed, threshold, scale, dg, dy, dx, sums):  # type: ignore[no-untyped-def]
    """Write the gradient of x; each group adds up those of gamma, beta and the taps in its rows of ``sums``."""
    length, channels = x.shape[1], x.shape[2]
    per_group = (x.shape[0] + sums.shape[0] - 1) // sums.shape[0]
    normed, u = np.empty((length, channels), x.dtype), np.empty((length, channels), x.dtype)
    s, ds, du = np.empty_like(u), np.empty_like(u), np.empty_like(u)
    norm_scales, no_residual = np.empty(length, x.dtype), np.zeros(channels, x.dtype)
    for group in range(start, stop):
        sums[group] = x.dtype.type(0)
        d_gamma, d_beta, dk = sums[group, 0], sums[group, 1], sums[group, 2:]
        for i in range(group * per_group, min(x.shape[0], (group + 1) * per_group)):
            for t in range(length):
                norm_scales[t] = _norm_row(x[i, t], normed[t], eps)
                _affine_row(normed[t], gamma, beta, u[t])
            _convolve(k, u, first, s)
            for t in range(first, length):
                first_index = np.uint32((i * (length - first) + t - first) * channels)
                _gelu_gradient_row(s[t], dg[i, t - first], first_index, seed, threshold, scale, ds[t])
            _correlate(k, u, ds, first, du, dk)
            for t in range(length):
                residual = dy[i, t - first] if t >= first else no_residual
                _norm_gradient_row(du[t], normed[t], norm_scales[t], gamma, residual, d_gamma, d_beta, dx[i, t])


class _InnerBranch(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, k: Tensor, eps: float, first: int, p: float, seed: int
    ) -> tuple[Tensor, Tensor]:
        x, gamma, beta, k = (t.detach().contiguous() for t in (x, gamma, beta, k.t()))
        arrays = [t.numpy() for t in (x, gamma, beta)]
        ctx.options = (arrays[0].dtype.type(eps), k.numpy(), first, *mask_parameters(p, seed, arrays[0].dtype))
        g = x.new_empty(x.shape[0], x.shape[1] - first, x.shape[2])
        run_ranges(_inner_forward, x.shape[0], *arrays, *ctx.options, g.numpy())
        ctx.save_for_backward(x, gamma, beta)
        return x[:, first:], g

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, dg: Tensor) -> tuple[Tensor | None, ...]:
        x, gamma, beta = ctx.saved_tensors
        dx = torch.empty_like(x)
        sums = x.new_empty(GRADIENT_GROUPS, 2 + x.shape[1], x.shape[2])
        arrays = (t.contiguous().numpy() for t in (dg, dy, dx, sums))
        run_ranges(_inner_backward, GRADIENT_GROUPS, x.numpy(), gamma.numpy(), beta.numpy(), *ctx.options, *arrays)
        total = sums.sum(0)
        return dx, total[0], total[1], total[2:].t(), None, None, None, None


def inner_branch(
    x: Tensor, gamma: Tensor, beta: Tensor, k: Tensor, eps: float, first: int, p: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Return x and dropout(gelu(k * LayerNorm(x))) at the steps from ``first`` on.

    Parameters
    ----------
    x
        (B, L, H).
    gamma, beta, eps
        Of the norm, (H,) each.
    k
        (H, L), with D added to the first tap.
    first
        First step wanted.
    p, seed
        As for :func:`baselines.cpu.dropout.apply_mask`.

    Returns
    -------
    tuple
        Both (B, L - first, H).
    """
    return _InnerBranch.apply(x, gamma, beta, k, eps, first, p, seed)
