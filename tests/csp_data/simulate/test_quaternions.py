"""Quaternion arithmetic over arrays, against scipy's rotations and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.spatial.transform import Rotation, Slerp

from csp_data.signal.rotation import cumulative, first_two_columns, largest_positive, multiply, rotate, slerp
from csp_data.sources.ronin import integrate

seeds = st.integers(0, 2**32 - 1)


def quaternions(seed: int, *shape: int) -> np.ndarray:
    q = np.random.default_rng(seed).normal(size=(*shape, 4))
    return np.asarray(q / np.linalg.norm(q, axis=-1, keepdims=True))


def scipys(q: np.ndarray) -> Rotation:
    return Rotation.from_quat(q.reshape(-1, 4), scalar_first=True)


@given(seeds)
def test_products_and_turned_vectors_are_scipys(seed: int) -> None:
    a, b = quaternions(seed, 6), quaternions(seed + 1, 6)
    np.testing.assert_allclose(scipys(multiply(a, b)).as_matrix(), (scipys(a) * scipys(b)).as_matrix(), atol=1e-12)
    vectors = np.random.default_rng(seed).normal(size=(6, 3))
    np.testing.assert_allclose(rotate(3 * a, vectors), scipys(a).apply(vectors), atol=1e-12)
    np.testing.assert_allclose(
        rotate(a[0], vectors, inverse=True), scipys(a[0]).apply(vectors, inverse=True), atol=1e-12
    )


@settings(deadline=None)
@given(seeds, st.sampled_from([1, 2, 15, 16, 17, 31, 256, 257, 1000]))
def test_running_products_are_those_of_a_loop(seed: int, count: int) -> None:
    q = quaternions(seed, count)
    expected = [q[0]]
    for step in q[1:]:
        expected.append(multiply(expected[-1], step))
    np.testing.assert_allclose(cumulative(q), expected, atol=1e-12)


@given(seeds)
def test_columns_and_signs_are_those_of_the_matrices(seed: int) -> None:
    q = quaternions(seed, 20, 3)
    matrices = scipys(q).as_matrix().reshape(20, 3, 3, 3)
    columns = first_two_columns(2.5 * q.reshape(20, 12))
    np.testing.assert_allclose(columns, matrices[..., :2].reshape(20, 18), atol=1e-12)
    by_matrix = Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_quat(scalar_first=True).reshape(q.shape)
    np.testing.assert_allclose(largest_positive(-q), by_matrix, atol=1e-12)


@given(seeds, st.floats(1e-9, 3.1))
def test_interpolation_of_several_rotations_is_scipys(seed: int, angle: float) -> None:
    """From tiny to large steps; the signs of neighbours do not matter."""
    rng = np.random.default_rng(seed)
    time = np.cumsum(rng.uniform(0.1, 1.0, size=9))
    axes = rng.normal(size=(2, 9, 3))
    axes *= angle / np.linalg.norm(axes, axis=2, keepdims=True)
    tracks = []
    for track in axes:
        made = [Rotation.identity()]
        for step in track[1:]:
            made.append(made[-1] * Rotation.from_rotvec(step))
        tracks.append(Rotation.concatenate(made))
    signs = rng.choice([-1.0, 1.0], size=(2, 9, 1))
    q = np.concatenate([t.as_quat(scalar_first=True) * s for t, s in zip(tracks, signs, strict=True)], axis=1)
    grid = np.linspace(time[0], time[-1], 50)
    ours = slerp(time, q, grid)
    for k, track in enumerate(tracks):
        error = scipys(ours[:, 4 * k : 4 * k + 4]) * Slerp(time, track)(grid).inv()
        assert error.magnitude().max() < 1e-7
    assert (ours[:, ::4] >= 0).all()


def test_integrated_rates_follow_the_differential_equation() -> None:
    """Against an adaptive solver of q' = q (0, w) / 2, at steps so small that Euler's error is small."""
    time = np.linspace(0, 2, 20_001)
    rates = np.stack([np.sin(time), 0.5 + 0 * time, np.cos(2 * time)], axis=1)

    def slope(t: float, q: np.ndarray) -> np.ndarray:
        w = np.array([0.0, np.sin(t), 0.5, np.cos(2 * t)])
        return np.asarray(multiply(q, w) / 2)

    start = np.array([0.5, -0.5, 0.5, 0.5])
    solved = solve_ivp(slope, (0, 2), start, rtol=1e-10, atol=1e-12)
    assert integrate(time, rates, start)[-1] == pytest.approx(solved.y[:, -1], abs=1e-3)
