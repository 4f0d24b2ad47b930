"""Causal attention with dropout on the CPU, a block of queries at a time, with numba between the products.

torch's fused attention knows no dropout on a CPU: in its place come arrays of all queries times all keys, a dozen
of them. Here none is larger than a block, most of what causality hides is not computed, and the backward pass
makes the weights again (Dao et al. 2022, arXiv 2205.14135, section 3.1), dropping the same ones
(:mod:`baselines.cpu.dropout`).

    S = Q K^T / sqrt(d_k)      P = softmax(S)      W = dropout(P)      O = W V
    dV = W^T dO      dP = dropout(dO V^T)      dS = P (dP - D),  D = sum_j W_j dW_j = sum_c O_c dO_c

Glossary: ``n`` = batch times heads; ``lse`` = log sum_j exp(S_j), which turns S into P again; ``lo``, ``hi`` the
keys that a block of queries can see; ``at`` the index of a row's first weight among all, for its coins.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

from baselines.cpu.dropout import coin, mask_parameters
from baselines.cpu.fastmath import exp
from baselines.cpu.flags import INLINED, REORDERED
from baselines.cpu.threads import run_ranges

_WEIGHTS_PER_BLOCK = 2**19
"""Weights in a block, about: 2 MB in float32."""


@njit(inline="always", **REORDERED)
def _visible_keys(position, lo, window):  # type: ignore[no-untyped-def]
    """Return the first and the last + 1 of the keys, counted from lo, that the query at ``position`` sees."""
    return max(0, position - window + 1 - lo), position + 1 - lo


@njit(**INLINED, **REORDERED)
def _exp_row(s, shift):  # type: ignore[no-untyped-def]
    """Turn ``s`` into exp(s - shift); return the sum."""
    total = s.dtype.type(0)
    for j in range(s.shape[0]):
        s[j] = exp(s[j] - shift)
        total += s[j]
    return total


@njit(**INLINED, **REORDERED)
def _drop_row(s, factor, first_index, seed, threshold):  # type: ignore[no-untyped-def]
    zero = s.dtype.type(0)
    for j in range(s.shape[0]):
        s[j] = s[j] * factor if coin(first_index + np.uint32(j), seed) >= threshold else zero


@njit(**INLINED, **REORDERED)
def _row_max(s):  # type: ignore[no-untyped-def]
    largest = s[0]
    for j in range(1, s.shape[0]):
        largest = max(largest, s[j])
    return largest


@njit(**REORDERED)
def _scores_to_weights(start, stop, s, positions, lo, window, length, seed, threshold, scale, lse):  # type: ignore[no-untyped-def]
    """Turn the scores ``s`` (n, queries, keys) into weights, and write ``lse`` (n, queries)."""
    zero, one, queries = s.dtype.type(0), s.dtype.type(1), s.shape[1]
    for unit in range(start, stop):
        i, r = unit // queries, unit % queries
        first, last = _visible_keys(positions[r], lo, window)
        s_r = s[i, r, first:last]
        largest = _row_max(s_r)
        total = _exp_row(s_r, largest)
        lse[i, r] = largest + np.log(total)
        first_index = np.uint32((i * length + positions[r]) * length + lo + first)
        _drop_row(s_r, scale * (one / total), first_index, seed, threshold)
        s[i, r, :first] = zero
        s[i, r, last:] = zero


@njit(**INLINED, **REORDERED)
def _gradient_row(s, dw, d, first_index, seed, threshold, scale):  # type: ignore[no-untyped-def]
    """Turn the probabilities ``s`` into weights and the gradient ``dw`` of those into that of the scores."""
    zero = s.dtype.type(0)
    for j in range(s.shape[0]):
        factor = scale if coin(first_index + np.uint32(j), seed) >= threshold else zero
        dw[j] = s[j] * (factor * dw[j] - d)
        s[j] *= factor


@njit(**REORDERED)
def _scores_backward(start, stop, s, dw, positions, lo, window, length, seed, threshold, scale, lse, d):  # type: ignore[no-untyped-def]
    """Turn the scores ``s`` into weights and ``dw``, the gradient of those, into that of the scores."""
    zero, queries = s.dtype.type(0), s.shape[1]
    for unit in range(start, stop):
        i, r = unit // queries, unit % queries
        first, last = _visible_keys(positions[r], lo, window)
        s_r, dw_r = s[i, r, first:last], dw[i, r, first:last]
        _exp_row(s_r, lse[i, r])
        first_index = np.uint32((i * length + positions[r]) * length + lo + first)
        _gradient_row(s_r, dw_r, d[i, r], first_index, seed, threshold, scale)
        for row in (s[i, r], dw[i, r]):
            row[:first] = zero
            row[last:] = zero


def _query_blocks(n: int, length: int, steps: range, window: int) -> Iterator[tuple[slice, Any, int, int]]:
    """Yield, of each block of queries, its place among the queries, its steps, and its first and last key + 1."""
    size = max(1, min(len(steps), _WEIGHTS_PER_BLOCK // max(1, n * min(length, window))))
    for first in range(0, len(steps), size):
        part = steps[first : first + size]
        yield slice(first, first + len(part)), np.array(part), max(0, part[0] - window + 1), part[-1] + 1


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, steps: range, window: int, p: float, seed: int
    ) -> Tensor:
        ctx.heads, length = q.shape[:2], k.shape[2]
        q, k, v = (t.detach().flatten(0, 1).contiguous() for t in (q / math.sqrt(q.shape[-1]), k, v))
        n = len(q)
        out, lse = torch.empty_like(q), q.new_empty(q.shape[:2])
        mask = mask_parameters(p, seed, q.numpy().dtype)
        ctx.options = (steps, window, mask)
        for rows, positions, lo, hi in _query_blocks(n, length, steps, window):
            s = torch.bmm(q[:, rows], k[:, lo:hi].transpose(1, 2))
            where = (positions, lo, window, length)
            run_ranges(_scores_to_weights, n * len(positions), s.numpy(), *where, *mask, lse[:, rows].numpy())
            out[:, rows] = torch.bmm(s, v[:, lo:hi])
        ctx.save_for_backward(q, k, v, out, lse)
        return out.unflatten(0, ctx.heads)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, lse = ctx.saved_tensors
        steps, window, mask = ctx.options
        n, length = k.shape[:2]
        dy = dy.flatten(0, 1).contiguous()
        d = (dy * out).sum(-1)
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for rows, positions, lo, hi in _query_blocks(n, length, steps, window):
            q_r, dy_r, keys = q[:, rows], dy[:, rows], k[:, lo:hi]
            s, dw = torch.bmm(q_r, keys.transpose(1, 2)), torch.bmm(dy_r, v[:, lo:hi].transpose(1, 2))
            where, row_values = (positions, lo, window, length), (lse[:, rows].numpy(), d[:, rows].numpy())
            run_ranges(_scores_backward, n * len(positions), s.numpy(), dw.numpy(), *where, *mask, *row_values)
            dv[:, lo:hi].baddbmm_(s.transpose(1, 2), dy_r)
            dk[:, lo:hi].baddbmm_(dw.transpose(1, 2), q_r)
            dq[:, rows] = torch.bmm(dw, keys)
        dq *= 1 / math.sqrt(q.shape[-1])
        return (*(t.unflatten(0, ctx.heads) for t in (dq, dk, dv)), None, None, None, None)


def attention(q: Tensor, k: Tensor, v: Tensor, steps: range, window: int | None, p: float, seed: int) -> Tensor:
    """Return dropout(softmax(Q K^T / sqrt(d_k))) V, where step t sees steps max(0, t - window + 1), ..., t.

    Parameters
    ----------
    q
        (B, heads, len(steps), d_k).
    k, v
        (B, heads, L, d_k).
    steps
        The steps of the queries, ascending.
    window
        Steps seen, the present one among them; None: the whole past.
    p, seed
        As for :func:`baselines.cpu.dropout.apply_mask`.

    Returns
    -------
    Tensor
        As ``q``.
    """
    return _Attention.apply(q, k, v, steps, k.shape[2] if window is None else window, p, seed)
