"""The inner loops of S4 compiled with numba: the spectrum of the kernel, and the convolution of short chunks.

Both do what a few lines of torch do in :mod:`baselines.layers.s4_kernel` and :mod:`baselines.layers.s4` (the tests
compare them), without the temporaries: no array of frequencies times states, no transposed copies.
"""

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

from baselines.cpu.flags import GRADIENT_GROUPS, INLINED, REORDERED
from baselines.cpu.threads import run_ranges

BLOCK, LANES = 64, 8


@njit(**INLINED, **REORDERED)
def _load_block(source, first, fill, target):  # type: ignore[no-untyped-def]
    """Copy a block of ``source`` to ``target`` and ``fill`` the lanes beyond its end.

    Return the number copied, and the number of lanes to calculate: whole vectors.
    """
    count = min(BLOCK, source.shape[0] - first)
    target[:count] = source[first : first + count]
    target[count:] = fill
    return count, (count + LANES - 1) // LANES * LANES


@njit(**REORDERED)
def _spectrum_forward(start, stop, odd, even, lr, li, dt, cos, sin, q, spectrum):  # type: ignore[no-untyped-def]
    # sums holds (real, imaginary) of the four terms, one block after the other in one flat array: numba then knows
    # that they do not overlap, and the loop over f becomes vector instructions without checks
    one = cos.dtype.type(1)  # numba makes int / float32 a float64
    c, s, sums = np.empty(BLOCK, cos.dtype), np.empty(BLOCK, cos.dtype), np.empty(8 * BLOCK, cos.dtype)
    out = np.empty(2 * BLOCK, cos.dtype)
    for h in range(start, stop):
        for first in range(0, cos.shape[0], BLOCK):
            count, lanes = _load_block(cos, first, 0.0, c)
            _load_block(sin, first, 1.0, s)  # 1: keeps the unused lanes away from 0 / 0
            sums[:] = 0.0
            for n in range(lr.shape[1]):
                l_r, l_i = lr[h, n], li[h, n]
                o0, o1, o2, o3 = odd[0, h, n], odd[1, h, n], odd[2, h, n], odd[3, h, n]
                e0, e1, e2, e3 = even[0, h, n], even[1, h, n], even[2, h, n], even[3, h, n]
                for f in range(lanes):
                    c_r, c_i, s_2 = c[f] * l_r, c[f] * l_i, s[f] + s[f]
                    real, imag = c_r * c_r + (c_i - s_2) * (c_i + s_2), (s_2 + s_2) * c_r
                    inverse = one / (real * real + imag * imag)
                    x, y = real * inverse, imag * inverse
                    cx, cy, sx, sy = c[f] * x, c[f] * y, s[f] * x, s[f] * y
                    sums[f] += e0 * cx - o0 * sy
                    sums[BLOCK + f] += e0 * cy + o0 * sx
                    sums[2 * BLOCK + f] += e1 * cx - o1 * sy
                    sums[3 * BLOCK + f] += e1 * cy + o1 * sx
                    sums[4 * BLOCK + f] += e2 * cx - o2 * sy
                    sums[5 * BLOCK + f] += e2 * cy + o2 * sx
                    sums[6 * BLOCK + f] += e3 * cx - o3 * sy
                    sums[7 * BLOCK + f] += e3 * cy + o3 * sx
            for f in range(lanes):
                scale, r_r, r_i, _, _ = _low_rank(sums, f, dt[h] * c[f], one)
                t_r, t_i = sums[f] - scale * r_r, sums[BLOCK + f] - scale * r_i
                out[f] = dt[h] * (c[f] * t_r - s[f] * t_i)
                out[BLOCK + f] = dt[h] * (c[f] * t_i + s[f] * t_r)
            for f in range(count):
                spectrum[h, first + f, 0] = out[f]
                spectrum[h, first + f, 1] = out[BLOCK + f]
            for j in range(8):
                q[h, j, first : first + count] = sums[j * BLOCK : j * BLOCK + count]


@njit(inline="always", **REORDERED)
def _low_rank(q, f, scale, one):  # type: ignore[no-untyped-def]
    """Return ``scale``, r = q_cp q_pb / d and 1 / d, d = 1 + scale q_pp, of the sums ``q`` of one block."""
    d_r, d_i = one + scale * q[6 * BLOCK + f], scale * q[7 * BLOCK + f]
    inverse = one / (d_r * d_r + d_i * d_i)
    i_r, i_i = d_r * inverse, -d_i * inverse
    a_r, a_i, b_r, b_i = q[2 * BLOCK + f], q[3 * BLOCK + f], q[4 * BLOCK + f], q[5 * BLOCK + f]
    m_r, m_i = a_r * b_r - a_i * b_i, a_r * b_i + a_i * b_r
    return scale, m_r * i_r - m_i * i_i, m_r * i_i + m_i * i_r, i_r, i_i


@njit(**INLINED, **REORDERED)
def _gradient_of_sums(lanes, q, c, s, step, d_out, g):  # type: ignore[no-untyped-def]
    """Turn the gradient of a block of the spectrum into that of its sums, ``g``; return that of the step."""
    one, d_step = c.dtype.type(1), c.dtype.type(0)
    for f in range(lanes):
        scale, r_r, r_i, i_r, i_i = _low_rank(q, f, step * c[f], one)
        w_r, w_i = scale * (r_r * i_r - r_i * i_i), scale * (r_r * i_i + r_i * i_r)  # scale r / d
        v_r, v_i = q[f] - scale * r_r - w_r, q[BLOCK + f] - scale * r_i - w_i
        o_r, o_i = d_out[f], d_out[BLOCK + f]
        d_step += (c[f] * v_r - s[f] * v_i) * o_r + (c[f] * v_i + s[f] * v_r) * o_i
        g_r, g_i = step * (c[f] * o_r + s[f] * o_i), step * (c[f] * o_i - s[f] * o_r)
        k_r, k_i = scale * (i_r * g_r + i_i * g_i), scale * (i_r * g_i - i_i * g_r)  # scale conj(1 / d) g
        a_r, a_i, b_r, b_i = q[2 * BLOCK + f], q[3 * BLOCK + f], q[4 * BLOCK + f], q[5 * BLOCK + f]
        g[f], g[BLOCK + f] = g_r, g_i
        g[2 * BLOCK + f], g[3 * BLOCK + f] = -(b_r * k_r + b_i * k_i), -(b_r * k_i - b_i * k_r)
        g[4 * BLOCK + f], g[5 * BLOCK + f] = -(a_r * k_r + a_i * k_i), -(a_r * k_i - a_i * k_r)
        g[6 * BLOCK + f] = scale * (w_r * g_r + w_i * g_i)
        g[7 * BLOCK + f] = scale * (w_r * g_i - w_i * g_r)
    return d_step


@njit(**REORDERED)
def _spectrum_backward(  # type: ignore[no-untyped-def]
    start, stop, odd, even, lr, li, dt, cos, sin, q, d_spectrum, d_odd, d_even, d_lr, d_li, d_dt
):
    zero, one = cos.dtype.type(0), cos.dtype.type(1)
    c, s, g = np.empty(BLOCK, cos.dtype), np.empty(BLOCK, cos.dtype), np.empty(8 * BLOCK, cos.dtype)
    sums, d_out = np.zeros(8 * BLOCK, cos.dtype), np.empty(2 * BLOCK, cos.dtype)
    for h in range(start, stop):
        d_odd[:, h], d_even[:, h], d_lr[h], d_li[h], d_dt[h] = 0.0, 0.0, 0.0, 0.0, 0.0
        for first in range(0, cos.shape[0], BLOCK):
            count, lanes = _load_block(cos, first, 0.0, c)
            _load_block(sin, first, 1.0, s)
            d_out[:] = 0.0
            for f in range(count):
                d_out[f], d_out[BLOCK + f] = d_spectrum[h, first + f, 0], d_spectrum[h, first + f, 1]
            for j in range(8):
                sums[j * BLOCK : j * BLOCK + count] = q[h, j, first : first + count]
            d_dt[h] += _gradient_of_sums(lanes, sums, c, s, dt[h], d_out, g)
            for n in range(lr.shape[1]):
                l_r, l_i = lr[h, n], li[h, n]
                o0, o1, o2, o3 = odd[0, h, n], odd[1, h, n], odd[2, h, n], odd[3, h, n]
                e0, e1, e2, e3 = even[0, h, n], even[1, h, n], even[2, h, n], even[3, h, n]
                p0 = p1 = p2 = p3 = r0 = r1 = r2 = r3 = d_r = d_i = zero
                for f in range(lanes):
                    c_r, c_i, s_2 = c[f] * l_r, c[f] * l_i, s[f] + s[f]
                    real, imag = c_r * c_r + (c_i - s_2) * (c_i + s_2), (s_2 + s_2) * c_r
                    inverse = one / (real * real + imag * imag)
                    x, y = real * inverse, imag * inverse
                    cx, cy, sx, sy = c[f] * x, c[f] * y, s[f] * x, s[f] * y
                    g0, g1, g2, g3 = g[f], g[2 * BLOCK + f], g[4 * BLOCK + f], g[6 * BLOCK + f]
                    i0, i1, i2, i3 = g[BLOCK + f], g[3 * BLOCK + f], g[5 * BLOCK + f], g[7 * BLOCK + f]
                    p0, r0 = p0 + sx * i0 - sy * g0, r0 + cx * g0 + cy * i0
                    p1, r1 = p1 + sx * i1 - sy * g1, r1 + cx * g1 + cy * i1
                    p2, r2 = p2 + sx * i2 - sy * g2, r2 + cx * g2 + cy * i2
                    p3, r3 = p3 + sx * i3 - sy * g3, r3 + cx * g3 + cy * i3
                    even_r, even_i = e0 * g0 + e1 * g1 + e2 * g2 + e3 * g3, e0 * i0 + e1 * i1 + e2 * i2 + e3 * i3
                    odd_r, odd_i = o0 * g0 + o1 * g1 + o2 * g2 + o3 * g3, o0 * i0 + o1 * i1 + o2 * i2 + o3 * i3
                    dx, dy = c[f] * even_r + s[f] * odd_i, c[f] * even_i - s[f] * odd_r
                    a, b = y * y - x * x, (x + x) * y  # d(1 / w) = -(1 / w)^2 dw
                    d_real, d_imag = dx * a - dy * b, dx * b + dy * a
                    d_r += c[f] * (c_r * d_real - s_2 * d_imag)
                    d_i += c[f] * c_i * d_real
                d_odd[0, h, n] += p0
                d_odd[1, h, n] += p1
                d_odd[2, h, n] += p2
                d_odd[3, h, n] += p3
                d_even[0, h, n] += r0
                d_even[1, h, n] += r1
                d_even[2, h, n] += r2
                d_even[3, h, n] += r3
                d_lr[h, n] += d_r + d_r
                d_li[h, n] += d_i + d_i


class _Spectrum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        tensors = [t.detach().contiguous() for t in inputs]
        odd, cos = tensors[0], tensors[5]
        q = odd.new_empty(odd.shape[1], 8, len(cos))
        spectrum = odd.new_empty(odd.shape[1], len(cos), 2)
        run_ranges(_spectrum_forward, odd.shape[1], *(t.numpy() for t in (*tensors, q, spectrum)))
        ctx.save_for_backward(*tensors, q)
        return spectrum

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_spectrum: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        grads = [torch.empty_like(t) for t in tensors[:5]]
        arrays = (t.numpy() for t in (*tensors, d_spectrum.contiguous(), *grads))
        run_ranges(_spectrum_backward, tensors[0].shape[1], *arrays)
        return (*grads, None, None)


def spectrum(odd: Tensor, even: Tensor, poles: Tensor, dt: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return :func:`baselines.layers.s4_kernel.spectrum`: sums and their combination, one block at a time.

    Parameters
    ----------
    odd, even
        Real (4, H, N/2).
    poles
        lambda, complex (H, N/2).
    dt
        Real (H, 1).
    cos, sin
        Real (F,).

    Returns
    -------
    Tensor
        Complex (H, F).
    """
    parts = (odd, even, poles.real, poles.imag, dt.squeeze(-1), cos, sin)
    return torch.view_as_complex(_Spectrum.apply(*parts))


@njit(**INLINED, **REORDERED)
def _add_product(y, a, b):  # type: ignore[no-untyped-def]
    """Add a b to y; rows of one dimension, for which numba makes vector instructions."""
    for h in range(y.shape[0]):
        y[h] += a[h] * b[h]


@njit(**REORDERED)
def _conv_forward(start, stop, u, k, first, y):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        for t in range(first, u.shape[1]):
            row = y[i, t - first]
            row[:] = 0.0
            for j in range(t + 1):
                k_j, u_s = k[j], u[i, t - j]
                for h in range(row.shape[0]):
                    row[h] += k_j[h] * u_s[h]


@njit(**REORDERED)
def _conv_backward(start, stop, u, k, first, dy, du, dk, per_group):  # type: ignore[no-untyped-def]
    for group in range(start, stop):
        dk[group] = 0.0
        for i in range(group * per_group, min(u.shape[0], (group + 1) * per_group)):
            du[i] = 0.0
            for t in range(first, u.shape[1]):
                for j in range(t + 1):
                    _add_product(du[i, t - j], k[j], dy[i, t - first])
                    _add_product(dk[group, j], u[i, t - j], dy[i, t - first])


class _ShortConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, k: Tensor, first: int) -> Tensor:
        u, k = u.detach().contiguous(), k.detach().t().contiguous()
        y = u.new_empty(u.shape[0], u.shape[1] - first, u.shape[2])
        run_ranges(_conv_forward, u.shape[0], u.numpy(), k.numpy(), first, y.numpy())
        ctx.save_for_backward(u, k)
        ctx.first = first
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, None]:
        u, k = ctx.saved_tensors
        groups = min(GRADIENT_GROUPS, u.shape[0])
        du, dk = torch.empty_like(u), u.new_empty(groups, *k.shape)
        arrays = (t.numpy() for t in (dy.contiguous(), du, dk))
        run_ranges(_conv_backward, groups, u.numpy(), k.numpy(), ctx.first, *arrays, -(-u.shape[0] // groups))
        return du, dk.sum(0).t(), None


def short_convolution(u: Tensor, k: Tensor, first: int) -> Tensor:
    """Return (k * u)_t for t = first, ..., L - 1, by its definition.

    Parameters
    ----------
    u
        (B, L, H).
    k
        (H, L).
    first
        First step wanted.

    Returns
    -------
    Tensor
        (B, L - first, H).
    """
    return _ShortConvolution.apply(u, k, first)
