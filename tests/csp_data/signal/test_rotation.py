"""Quaternions against rotation matrices and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from csp_data.signal.rotation import cumulative, largest_positive, rotate, rotation_vectors, slerp


def matrix(q: np.ndarray) -> np.ndarray:
    """Rotation matrix of a unit quaternion w x y z, written out (Diebel 2006, eq. 125)."""
    w, x, y, z = q
    return np.array(
        [
            [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
        ]
    )


def unit(seed: int, count: int) -> np.ndarray:
    q = np.random.default_rng(seed).normal(size=(count, 4))
    return q / np.linalg.norm(q, axis=1, keepdims=True)


@given(st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_rotate_equals_the_matrix(seed: int) -> None:
    q, v = unit(seed, 5), np.random.default_rng(seed + 1).normal(size=(5, 3))
    np.testing.assert_allclose(rotate(q, v), [matrix(a) @ b for a, b in zip(q, v, strict=True)], atol=1e-12)
    np.testing.assert_allclose(
        rotate(q, v, inverse=True), [matrix(a).T @ b for a, b in zip(q, v, strict=True)], atol=1e-12
    )
    np.testing.assert_allclose(rotate(q[0], v), v @ matrix(q[0]).T, atol=1e-12)


@given(st.integers(0, 2**31), st.sampled_from([0.0, 1e-12, 1e-7, 1e-3, 1.0, 3.14159]), st.floats(0.1, 10))
@settings(max_examples=50, deadline=None)
def test_rotation_vectors_are_those_of_scipy(seed: int, angle: float, norm: float) -> None:
    axes = unit(seed, 6)[:, 1:]
    vectors = angle * axes / np.linalg.norm(axes, axis=1, keepdims=True)
    q = (
        Rotation.from_rotvec(vectors).as_quat(scalar_first=True)
        * norm
        * np.array([[1], [-1], [1], [-1], [1], [1]])
    )
    np.testing.assert_allclose(rotation_vectors(q), vectors, rtol=1e-9, atol=1e-13)
    q = unit(seed, 6)
    np.testing.assert_allclose(
        rotation_vectors(q), Rotation.from_quat(q, scalar_first=True).as_rotvec(), atol=1e-12
    )


@given(st.integers(0, 2**31), st.floats(0.1, 10))
@settings(max_examples=20, deadline=None)
def test_signs_are_those_of_a_conversion_by_way_of_matrices(seed: int, norm: float) -> None:
    q = unit(seed, 20)
    by_matrices = Rotation.from_matrix([matrix(one) for one in q]).as_quat(scalar_first=True)
    signs = np.where(np.arange(20) % 2, 1, -1)[:, None]
    np.testing.assert_allclose(largest_positive(q * norm * signs), by_matrices, atol=1e-12)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 15, 16, 17, 33, 300])
def test_running_products_are_those_of_a_loop(count: int) -> None:
    q, product, expected = unit(5, count), Rotation.identity(), []
    for turn in Rotation.from_quat(q, scalar_first=True) if count else ():
        product = product * turn
        expected.append(product.as_matrix())
    made = cumulative(q)
    assert made.shape == (count, 4)
    np.testing.assert_allclose([matrix(one) for one in made], expected, atol=1e-12)


def test_slerp_turns_at_constant_speed_and_ignores_signs() -> None:
    angles = np.linspace(0, 2.5, 26)
    q = np.stack([np.cos(angles / 2), 0 * angles, 0 * angles, np.sin(angles / 2)], axis=1)
    q[::3] *= -1  # the same rotations
    time = angles / 0.5
    grid = np.linspace(0, time[-1], 101)
    got = slerp(time, q, grid)
    np.testing.assert_allclose(rotation_vectors(got)[:, 2], grid * 0.5, atol=1e-12)
    assert (got[:, 0] >= 0).all()


def test_slerp_allows_rounding_at_the_ends_and_a_single_sample() -> None:
    q = unit(3, 3)
    time = np.array([0.0, 0.1, 0.2])
    late = slerp(time, q, np.array([0.2 + 1e-12]))
    np.testing.assert_allclose(np.abs(late[0] @ q[2]), 1.0)
    assert slerp(time[:1], q[:1], np.array([0.0, 0.0])).shape == (2, 4)
