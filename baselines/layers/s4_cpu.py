"""The inner loops of S4 compiled with numba: the Cauchy sums of the kernel, and the convolution of short chunks.

Both do what a few lines of torch do in :mod:`baselines.layers.s4_kernel` and :mod:`baselines.layers.s4` (the tests
compare them), without the temporaries: no array of frequencies times states, no transposed copies.
"""

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

from baselines.parallel import run_ranges

BLOCK = 64
_FLAGS: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",  # a check for division by zero would keep the loops scalar
    "fastmath": {"reassoc", "contract", "nsz", "arcp", "nnan", "ninf"},
}


@njit(**_FLAGS)
def _load_block(source, first, fill, target):  # type: ignore[no-untyped-def]
    """Copy a block of ``source`` to ``target`` and ``fill`` the lanes beyond its end; return the number copied."""
    count = min(BLOCK, source.shape[0] - first)
    target[:count] = source[first : first + count]
    target[count:] = fill
    return count


@njit(**_FLAGS)
def _cauchy_forward(start, stop, odd, even, lr, li, cos, sin, q):  # type: ignore[no-untyped-def]
    # sums holds (real, imaginary) of the four terms, one block after the other in one flat array: numba then knows
    # that they do not overlap, and the loop over f becomes vector instructions without checks
    one = cos.dtype.type(1)  # numba makes int / float32 a float64
    c, s, sums = np.empty(BLOCK, cos.dtype), np.empty(BLOCK, cos.dtype), np.empty(8 * BLOCK, cos.dtype)
    for h in range(start, stop):
        for first in range(0, cos.shape[0], BLOCK):
            count = _load_block(cos, first, 0.0, c)
            _load_block(sin, first, 1.0, s)  # 1: keeps the unused lanes away from 0 / 0
            sums[:] = 0.0
            for n in range(lr.shape[1]):
                l_r, l_i = lr[h, n], li[h, n]
                o0, o1, o2, o3 = odd[0, h, n], odd[1, h, n], odd[2, h, n], odd[3, h, n]
                e0, e1, e2, e3 = even[0, h, n], even[1, h, n], even[2, h, n], even[3, h, n]
                for f in range(BLOCK):
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
            for j in range(4):
                for f in range(count):
                    q[j, h, first + f, 0] = sums[2 * j * BLOCK + f]
                    q[j, h, first + f, 1] = sums[(2 * j + 1) * BLOCK + f]


@njit(**_FLAGS)
def _cauchy_backward(start, stop, odd, even, lr, li, cos, sin, dq, d_odd, d_even, d_lr, d_li):  # type: ignore[no-untyped-def]
    zero, one = cos.dtype.type(0), cos.dtype.type(1)
    c, s, g = np.empty(BLOCK, cos.dtype), np.empty(BLOCK, cos.dtype), np.empty(8 * BLOCK, cos.dtype)
    for h in range(start, stop):
        d_odd[:, h], d_even[:, h], d_lr[h], d_li[h] = 0.0, 0.0, 0.0, 0.0
        for first in range(0, cos.shape[0], BLOCK):
            count = _load_block(cos, first, 0.0, c)
            _load_block(sin, first, 1.0, s)
            g[:] = 0.0
            for j in range(4):
                for f in range(count):
                    g[2 * j * BLOCK + f] = dq[j, h, first + f, 0]
                    g[(2 * j + 1) * BLOCK + f] = dq[j, h, first + f, 1]
            for n in range(lr.shape[1]):
                l_r, l_i = lr[h, n], li[h, n]
                o0, o1, o2, o3 = odd[0, h, n], odd[1, h, n], odd[2, h, n], odd[3, h, n]
                e0, e1, e2, e3 = even[0, h, n], even[1, h, n], even[2, h, n], even[3, h, n]
                p0 = p1 = p2 = p3 = r0 = r1 = r2 = r3 = d_r = d_i = zero
                for f in range(BLOCK):
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


class _Cauchy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, odd: Tensor, even: Tensor, lr: Tensor, li: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        tensors = [t.detach().contiguous() for t in (odd, even, lr, li, cos, sin)]
        q = odd.new_empty(*odd.shape[:2], len(cos), 2)
        run_ranges(_cauchy_forward, odd.shape[1], *(t.numpy() for t in (*tensors, q)))
        ctx.save_for_backward(*tensors)
        return q

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dq: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        grads = [torch.empty_like(t) for t in tensors[:4]]
        arrays = (t.numpy() for t in (*tensors, dq.contiguous(), *grads))
        run_ranges(_cauchy_backward, tensors[0].shape[1], *arrays)
        return (*grads, None, None)


def cauchy(odd: Tensor, even: Tensor, poles: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return the sums over n of (i sin odd_jn + cos even_jn) / (cos^2 |l|^2 - 4 sin^2 - 4i sin cos Re l), l = l_n.

    Parameters
    ----------
    odd, even
        Real (J, H, N/2).
    poles
        l, complex (H, N/2).
    cos, sin
        Real (F,).

    Returns
    -------
    Tensor
        Complex (J, H, F).
    """
    return torch.view_as_complex(_Cauchy.apply(odd, even, poles.real, poles.imag, cos, sin))


@njit(**_FLAGS)
def _add_product(y, a, b):  # type: ignore[no-untyped-def]
    """Add a b to y; rows of one dimension, for which numba makes vector instructions."""
    for h in range(y.shape[0]):
        y[h] += a[h] * b[h]


@njit(**_FLAGS)
def _conv_forward(start, stop, u, k, first, y):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        for t in range(first, u.shape[1]):
            row = y[i, t - first]
            row[:] = 0.0
            for j in range(t + 1):
                k_j, u_s = k[j], u[i, t - j]
                for h in range(row.shape[0]):
                    row[h] += k_j[h] * u_s[h]


@njit(**_FLAGS)
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
        groups = min(16, u.shape[0])  # a fixed number, so that sums do not depend on the number of threads
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
