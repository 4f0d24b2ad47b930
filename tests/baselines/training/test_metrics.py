from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from baselines.training.metrics import ate, mae, mse, path, rmse, rte, summary

TRUE = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
PRED = np.array([[1.0, 1.0], [2.0, 1.0], [4.0, 2.0]])  # errors 1 0 | 0 -2 | 0 -3


def test_by_hand() -> None:
    assert mse(TRUE, PRED) == pytest.approx(14 / 6)
    assert mae(TRUE, PRED) == pytest.approx(1.0)
    assert rmse(TRUE, PRED) == pytest.approx(math.sqrt(14 / 6))
    np.testing.assert_allclose(mse(TRUE, PRED, axis=0), [1 / 3, 13 / 3])
    np.testing.assert_allclose(mae(TRUE, PRED, axis=0), [1 / 3, 5 / 3])
    np.testing.assert_allclose(rmse(TRUE, PRED, axis=0), [math.sqrt(1 / 3), math.sqrt(13 / 3)])


@given(hnp.arrays(np.float64, (2, 6, 3), elements=st.floats(-100, 100)))
def test_against_loops(values: np.ndarray) -> None:
    true, pred = values
    errors = [pred[i, d] - true[i, d] for i in range(6) for d in range(3)]
    assert mse(true, pred) == pytest.approx(sum(e * e for e in errors) / 18, abs=1e-9)
    assert mae(true, pred) == pytest.approx(sum(abs(e) for e in errors) / 18, abs=1e-9)
    assert mae(true, pred) <= rmse(true, pred) + 1e-9


def test_summary_counts_every_step_once() -> None:
    episodes = {"long": (TRUE, PRED), "short": (TRUE[:1], PRED[:1] + 2)}
    found = summary(episodes, ["x", "y"])
    assert found["steps"] == 4
    assert found["episodes"]["long"]["mse"] == pytest.approx(14 / 6)
    assert found["episodes"]["short"]["mse"] == pytest.approx((9 + 4) / 2)
    assert found["mse"] == pytest.approx((14 + 13) / 8)
    assert found["rmse"] == pytest.approx(math.sqrt(27 / 8))
    assert found["channels"]["x"]["mse"] == pytest.approx((1 + 9) / 4)
    assert found["channels"]["y"]["mae"] == pytest.approx((5 + 2) / 4)


def test_float32_does_not_cost_digits() -> None:
    rng = np.random.default_rng(0)
    true, pred = rng.normal(1000, 1, size=(2, 5000, 1)).astype(np.float32)
    errors = [float(p) - float(t) for t, p in zip(true.ravel(), pred.ravel(), strict=True)]
    assert mse(true, pred) == pytest.approx(math.fsum(e * e for e in errors) / 5000, rel=1e-12)
    assert mae(true, pred) == pytest.approx(math.fsum(map(abs, errors)) / 5000, rel=1e-12)
    assert path(true)[-1, 0] == pytest.approx(math.fsum(map(float, true.ravel())), rel=1e-12)


@pytest.mark.parametrize(
    ("true", "pred"),
    [*((TRUE, np.zeros(shape)) for shape in ((3, 1), 3, (0, 2))), *((np.zeros(n),) * 2 for n in (3, (0, 2)))],
)
def test_shapes_must_agree(true: np.ndarray, pred: np.ndarray) -> None:
    with pytest.raises(ValueError, match="must both be"):
        mse(true, pred)


def test_a_path_begins_at_the_origin() -> None:
    assert path(np.array([[1.0, 2.0], [3.0, -4.0]])).tolist() == [[0, 0], [1, 2], [4, -2]]


def test_absolute_trajectory_error_by_hand() -> None:
    true, pred = np.zeros((3, 2)), np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 2.0]])
    assert ate(true, pred) == pytest.approx(math.sqrt((1 + 4 + 4) / 6))  # over samples and axes
    assert ate(true, pred) * math.sqrt(2) == pytest.approx(math.sqrt((1 + 8) / 3))  # of the whole distance


def test_relative_trajectory_error_by_hand() -> None:
    true = np.zeros((5, 1))
    pred = np.array([[0.0], [1.0], [3.0], [6.0], [10.0]])  # at 1 Hz
    # intervals of 2 s: drifts 3, 5, 7
    assert rte(true, pred, 1.0, interval_s=2.0) == pytest.approx(math.sqrt((9 + 25 + 49) / 3))
    # 5 positions, an interval of 10 s wanted: the drift of the whole, 10, times 10 / 5
    assert rte(true, pred, 1.0, interval_s=10.0) == pytest.approx(20.0)
    assert rte(true[:2], pred[:2], 1.0, interval_s=10.0) == pytest.approx(5.0)  # of two positions, too
    with pytest.raises(ValueError, match="at least 2"):
        rte(true[:1], pred[:1], 1.0)


@given(hnp.arrays(np.float64, (2, 30, 2), elements=st.floats(-10, 10)), st.integers(1, 29))
def test_relative_trajectory_error_against_loops(steps: np.ndarray, interval: int) -> None:
    true, pred = path(steps[0]), path(steps[1])
    np.testing.assert_allclose(true[-1], steps[0].sum(axis=0), atol=1e-9)
    squares = []
    for start in range(len(true) - interval):
        moved = [line[start + interval] - line[start] for line in (true, pred)]
        squares += list((moved[1] - moved[0]) ** 2)
    expected = math.sqrt(sum(squares) / len(squares))
    assert rte(true, pred, 5.0, interval_s=interval / 5) == pytest.approx(expected, abs=1e-9)
    assert rte(true, pred + 7.0, 5.0, interval_s=interval / 5) == pytest.approx(expected, abs=1e-9)
