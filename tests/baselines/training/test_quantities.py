from __future__ import annotations

import math

import numpy as np
import pytest

import csp_data
from baselines.runs.run import Run
from baselines.training.evaluate import compute_all_metrics
from baselines.training.quantities import Quantities, si
from csp_data import Dataset
from csp_data.card import load_card
from csp_data.predictions import EpisodePrediction
from csp_data.store import Channels, EpisodeRow


def _prediction(name: str, true: np.ndarray, pred: np.ndarray) -> EpisodePrediction:
    return EpisodePrediction(name, np.arange(1, len(true) + 1) / 5, true, pred)


def _row(name: str, group: str, recording: str) -> EpisodeRow:
    return EpisodeRow(name, group, "test", 0, 0, 0, 0, 0.0, recording)


PER_STEP = Quantities(("x", "y"), ("in", "in"), 5.0, increment=True, paths=((0, 1),), published_unit="cm/s")


def test_units_by_hand() -> None:
    assert si("in/s") == (0.0254, "m/s")
    assert si("count") == (1.0, "count")
    assert si("deg/s") == (pytest.approx(math.radians(1)), "rad/s")
    assert [1000 * si(unit)[0] for unit in ("mm", "cm", "in", "m")] == pytest.approx([1, 10, 25.4, 1000])
    assert PER_STEP.si_units == ("m/s", "m/s")
    np.testing.assert_allclose(PER_STEP.si_factors, 5 * 0.0254)
    factors = PER_STEP.published_factors
    assert factors is not None
    np.testing.assert_allclose(factors, 5 * 2.54)
    per_second = Quantities(("x",), ("m/s",), 5.0, increment=True, published_unit="m/s")
    np.testing.assert_allclose(per_second.si_factors, 1)
    assert per_second.published_factors == pytest.approx([1])
    position = Quantities(("x",), ("mm",), 5.0)
    assert position.si_units == ("m",)
    np.testing.assert_allclose(position.si_factors, 1e-3)
    mixed = Quantities(("x", "turn"), ("m", "rad"), 5.0, increment=True, published_unit="m/s")
    assert mixed.published_factors is None  # metres and radians in one average are no m/s


def test_metrics_in_other_units_by_hand() -> None:
    true = np.zeros((4, 2))
    first, second = np.tile([1.0, 0.0], (4, 1)), np.tile([3.0, 1.0], (4, 1))
    found = compute_all_metrics(
        [_prediction("a.1", true, first), _prediction("a.2", true, first), _prediction("b", true, second)],
        PER_STEP,
        [_row("a.1", "p", "a"), _row("a.2", "p", "a"), _row("b", "p", "b")],
    )
    inch = 5 * 0.0254
    assert found["si"]["x"]["rmse"] == pytest.approx(inch * np.sqrt((1 + 1 + 9) / 3))
    assert found["si"]["y"]["mae"] == pytest.approx(inch / 3)
    assert found["published"]["unit"] == "(cm/s)²"
    assert found["published"]["mse"] == pytest.approx((100 * inch) ** 2 * (1 + 1 + 9 + 1) / 6)
    assert set(found["recordings"]) == {"a", "b"}
    assert found["recordings"]["a"]["steps"] == 8
    assert found["groups"]["p"]["mse"] == pytest.approx(found["mse"])
    # positions 0, 1, .. 4 in along x: squares sum to 30 over 5 positions and 2 axes
    assert found["recordings"]["a"]["trajectory"]["ate"] == pytest.approx(0.0254 * np.sqrt(30 / 10))
    # an hour of 5 Hz has 300 positions a minute; the drift of 4 in over all 5 positions is scaled up
    assert found["recordings"]["a"]["trajectory"]["rte"] == pytest.approx(0.0254 * np.sqrt(16 / 2) * 300 / 5)
    assert (found["trajectory"]["paths"], found["trajectory"]["unit"]) == (3, "m")


@pytest.mark.parametrize("name", csp_data.names())
def test_every_card_says_what_adds_up_to_a_path(name: str) -> None:
    for target in load_card(name).targets:
        columns = " ".join(target.paths).split()
        assert len(columns) == len(set(columns))
        assert not target.paths or target.along != "sensor"  # axes that turn with the sensor give no path
        units = target.units or (target.unit,) * len(target.channels)
        made = Quantities.of_target(target, Channels(target.channels, units, 5.0))
        assert [[made.channels[i] for i in path] for path in made.paths] == [p.split() for p in target.paths]
        assert not target.increment or all(unit.endswith("/s") for unit in made.si_units)


def test_a_run_stores_them(runs: dict[str, Run], sample: Dataset) -> None:
    results = runs["a"].results["test"]
    assert set(results["recordings"]) == {row.recording for row in sample.test.rows}
    assert set(results["groups"]) == set(sample.test.groups)
    assert results["trajectory"] is None  # velocities along the sensor's own axes
    assert results["published"] is None  # no published table has this data set
    assert results["si"]["vel_x"] == {
        "unit": "m/s",
        "rmse": pytest.approx(results["channels"]["vel_x"]["rmse"]),
        "mae": pytest.approx(results["channels"]["vel_x"]["mae"]),
    }
    total = sum(values["steps"] * values["mse"] for values in results["recordings"].values())
    assert total / results["steps"] == pytest.approx(results["mse"])
