"""Attention with dropout as compiled for the CPU, against torch's."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numba import njit

from baselines.cpu.attention import attention
from baselines.cpu.dropout import coin

CASES = [
    (1, 1, 1, 2, range(1), None),
    (2, 2, 17, 4, range(17), None),
    (40, 2, 10, 8, range(9, 10), None),
    (3, 2, 50, 4, range(4, 50, 5), 7),
    (2, 2, 50, 4, range(30, 50), 7),  # the first keys are seen by none
    (2, 2, 700, 8, range(700), None),  # several blocks of queries
    (2, 2, 700, 8, range(700), 400),  # and the first keys not by the last block
]


def drawn(batch, heads, length, width, steps, dtype):
    torch.manual_seed(0)
    q = torch.randn(batch, heads, len(steps), width, dtype=dtype, requires_grad=True)
    k, v = (torch.randn(batch, heads, length, width, dtype=dtype, requires_grad=True) for _ in range(2))
    return (q, k, v), torch.randn(q.shape, dtype=dtype)


def visible(steps, length, window):
    back = torch.tensor(list(steps))[:, None] - torch.arange(length)
    return (back >= 0) & (back < (window or length))


def assert_same(ours, theirs, inputs, dy):
    rtol, atol = (1e-10, 1e-12) if dy.dtype == torch.float64 else (1e-4, 2e-5)
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=atol)
    for a, b in zip(torch.autograd.grad(ours, inputs, dy), torch.autograd.grad(theirs, inputs, dy), strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("batch", "heads", "length", "width", "steps", "window"), CASES)
def test_without_dropout_it_is_torchs(batch, heads, length, width, steps, window, dtype):
    inputs, dy = drawn(batch, heads, length, width, steps, dtype)
    theirs = F.scaled_dot_product_attention(*inputs, attn_mask=visible(steps, length, window))
    assert_same(attention(*inputs, steps, window, 0.0, 0), theirs, inputs, dy)


@njit
def kept_weights(count, seed, threshold):
    return np.array([coin(np.uint32(i), seed) >= threshold for i in range(count)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("batch", "heads", "length", "width", "steps", "window"), CASES[:6])
def test_with_dropout_it_is_its_definition(batch, heads, length, width, steps, window, dtype):
    """The coins of all weights of full attention, row by row: one mask, whatever rows and blocks are computed."""
    p, seed = 0.3, 1234567
    inputs, dy = drawn(batch, heads, length, width, steps, dtype)
    count = batch * heads * length * length
    kept = torch.from_numpy(kept_weights(count, np.uint32(seed), np.int32(p * 2**31)))
    kept = kept.view(batch, heads, length, length)[:, :, list(steps)]
    q, k, v = inputs
    scores = (q @ k.transpose(2, 3) / width**0.5).masked_fill(~visible(steps, length, window), -torch.inf)
    theirs = (scores.softmax(-1) * kept / (1 - p)) @ v
    assert_same(attention(*inputs, steps, window, p, seed), theirs, inputs, dy)
    if count > 1000:
        assert abs(float(kept.to(torch.float64).mean()) - (1 - p)) < 6 * (p * (1 - p) / kept.numel()) ** 0.5


def test_the_number_of_threads_changes_nothing():
    inputs, dy = drawn(2, 2, 700, 8, range(700), torch.float32)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            y = attention(*inputs, range(700), None, 0.1, 5)
            found.append((y, *torch.autograd.grad(y, inputs, dy)))
    finally:
        torch.set_num_threads(threads)
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


def test_scores_far_from_zero():
    """A softmax takes any offset; with the largest score as reference nothing overflows."""
    inputs, _ = drawn(1, 1, 40, 4, range(40), torch.float32)
    q, k, v = (t.detach() for t in inputs)
    theirs = F.scaled_dot_product_attention(100 * q, 10 * k, v, is_causal=True)
    torch.testing.assert_close(
        attention(100 * q, 10 * k, v, range(40), None, 0.0, 0), theirs, rtol=1e-3, atol=1e-4
    )
