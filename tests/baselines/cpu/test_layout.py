"""Where the memory of arrays lies changes no bit: two trainings agree whatever a process did before."""

from __future__ import annotations

import numpy as np
import pytest

from baselines.cpu.dropout import mask_parameters
from baselines.cpu.s4_block import _inner_backward


@pytest.mark.parametrize("apart", [0, 16])
def test_gradients_of_an_inner_branch(apart: int) -> None:
    """Loops that store are run in vectors only if no array begins close behind one that is read."""
    length, channels, groups = 5, 8, 2
    rng = np.random.default_rng(0)
    x, dg, dy = rng.normal(size=(3, 4, length, channels)).astype("f4")
    k = rng.normal(size=(length, channels)).astype("f4")
    scales = rng.normal(size=(2, channels)).astype("f4")
    options = (np.float32(1e-5), k, 0, *mask_parameters(0.0, 1, x.dtype))

    def gradients(room: np.ndarray, apart: int) -> tuple[np.ndarray, np.ndarray]:
        """Lay norm, gradient and sums into one array, `apart` numbers between them."""
        gamma, beta, dx, sums = np.split(room, np.cumsum([channels, channels + apart, x.size + apart])[:3])
        gamma[:], beta[:channels] = scales
        dx = dx[: x.size].reshape(x.shape)
        sums = sums[: groups * (2 + length) * channels].reshape(groups, 2 + length, channels)
        _inner_backward(0, groups, x, gamma, beta[:channels], *options, dg, dy, dx, sums)
        return dx.copy(), sums.copy()

    room = np.zeros(4000, dtype="f4")
    for one, other in zip(gradients(room, apart), gradients(room, 1000), strict=True):
        np.testing.assert_array_equal(one, other)
