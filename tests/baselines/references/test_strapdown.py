from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import csp_data
from baselines.experiment import run
from baselines.references.methods import (
    build_reference,
    options_of_dataset,
    reference_from_config,
    reference_to_dict,
)
from baselines.references.strapdown import NotApplicableError, Strapdown, StrapdownConfig
from baselines.trained import load_model
from baselines.training.data import load_part
from baselines.training.evaluate import normalized_predictions
from baselines.training.settings import TrainConfig
from csp_data import Dataset
from csp_data.signal.plausible import STANDARD_GRAVITY

pytest.importorskip("vqf", reason="the orientation filter needs the extra imu")

PLAIN = StrapdownConfig(
    in_dim=6,
    out_dim=3,
    chunk=10,
    acc=(0, 1, 2),
    gyr=(3, 4, 5),
    shift=(0.0,) * 6,
    scale=(1.0,) * 6,
    target_shift=(0.0,) * 3,
    target_scale=(1.0,) * 3,
    rate_hz=50.0,
    inputs_along="sensor",
    target_along="sensor",
)


def _moving(mount: Rotation | None = None) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Rest for 4 s, then turns and swings, as a sensor feels it that sits on the body by a rotation.

    Inputs (1, T, 6), and the mean velocity of chunks along the axes of the sensor and of the sensor at the start.
    """
    mount = mount or Rotation.identity()
    t = np.arange(1, 601) / 50

    def turned(time: np.ndarray) -> Rotation:
        still = np.maximum(time - 4, 0)
        body = np.stack([0.4 * np.sin(0.8 * still), 0.3 * np.sin(0.5 * still), 0.2 * still], axis=1)
        return Rotation.from_rotvec(body) * mount

    rate = (turned(t - 0.02).inv() * turned(t)).as_rotvec() * 50
    hz, moved = np.array([3.0, 4.0, 5.0]), np.maximum(t - 4, 0)[:, None]
    size = np.array([0.3, 0.2, 0.1])
    velocity, acceleration = size * (1 - np.cos(hz * moved)), size * hz * np.sin(hz * moved)
    force = turned(t).inv().apply(acceleration + np.array([[0.0, 0.0, STANDARD_GRAVITY]]))
    mean = velocity.reshape(-1, 10, 3).mean(axis=1)
    inputs = torch.from_numpy(np.concatenate([force, rate], axis=1)[None])
    return inputs, turned(t)[9::10].inv().apply(mean), mount.inv().apply(mean)


def test_a_motion_with_a_known_answer_is_recovered() -> None:
    """No noise, no bias: what is left is the filter's vertical, which accelerations pull at, and the time step."""
    inputs, own, at_start = _moving(Rotation.from_rotvec([0.9, -0.5, 0.4]))
    for along, expected in (("sensor", own), ("start", at_start)):
        found = Strapdown(replace(PLAIN, target_along=along))(inputs)[0].numpy()
        assert np.sqrt(np.square(found - expected).mean()) < 0.13
        assert np.sqrt(np.square(expected).mean()) > 0.2
    assert np.sqrt(np.square(own - at_start).mean()) > 0.15


@pytest.mark.parametrize("memory_s", [0.3, math.inf])
@pytest.mark.parametrize("along", ["sensor", "start", "level"])
def test_a_chunk_is_its_mean_velocity_along_the_axes_of_the_target(along: str, memory_s: float) -> None:
    """Sample by sample; the sensor's own axes are those at the end of the chunk."""
    rng, chunk = np.random.default_rng(0), 4
    acceleration, turns = rng.normal(size=(12, 3)), Rotation.from_rotvec(rng.normal(size=(12, 3)))
    model = Strapdown(replace(PLAIN, chunk=chunk, inputs_along="level", target_along=along))
    found = model._integrate(acceleration, turns.as_quat(scalar_first=True), memory_s)
    velocity, velocities = np.zeros(3), []
    for one in acceleration:
        velocity = velocity * math.exp(-0.02 / memory_s) + 0.02 * one
        velocities.append(velocity)
    for k, row in enumerate(found):
        mean = np.mean(velocities[k * chunk : (k + 1) * chunk], axis=0)
        axes = {"sensor": turns[(k + 1) * chunk - 1], "start": turns[0], "level": Rotation.identity()}[along]
        np.testing.assert_allclose(row, axes.inv().apply(mean), atol=1e-12)


def test_level_inputs_are_integrated_as_they_are() -> None:
    t = np.arange(1, 501) / 50
    force = np.stack([np.cos(t), np.zeros_like(t), np.full_like(t, STANDARD_GRAVITY)], axis=1)
    inputs = torch.from_numpy(np.concatenate([force, np.zeros((500, 3))], axis=1)[None])
    level = replace(PLAIN, inputs_along="level", target_along="level", out_dim=2)
    level = replace(level, target_shift=(0.0,) * 2, target_scale=(1.0,) * 2)
    found = Strapdown(level)(inputs)[0].numpy()
    np.testing.assert_allclose(found[:, 0], np.sin(t).reshape(-1, 10).mean(axis=1), atol=0.02)
    np.testing.assert_allclose(found[:, 1], 0, atol=1e-9)


def test_scaling_is_undone_and_applied() -> None:
    inputs, _, _ = _moving()
    scaled = replace(PLAIN, shift=(1.0,) * 6, scale=(2.0,) * 6, target_shift=(0.5,) * 3, target_scale=(4.0,) * 3)
    found = Strapdown(scaled)((inputs - 1) / 2)
    torch.testing.assert_close(found * 4 + 0.5, Strapdown(PLAIN)(inputs))


def test_it_forgets_and_is_causal() -> None:
    inputs, _, _ = _moving()
    model = Strapdown(PLAIN)
    later = inputs.clone()
    later[:, 300:] += 1
    assert torch.equal(model(later)[:, :30], model(inputs)[:, :30])
    model.memory_s.fill_(0.05)
    assert model(inputs).abs().mean() < 0.5 * Strapdown(PLAIN)(inputs).abs().mean()


@pytest.mark.parametrize(("memory_s", "told"), [(0.5, 0.5), (math.inf, "infinite")])
def test_the_time_constant_that_made_the_targets_is_found_and_told(
    memory_s: float, told: object, sample: Dataset
) -> None:
    part = load_part(sample, "val")
    config = StrapdownConfig(*part.dims, part.chunk, **options_of_dataset("strapdown", sample))
    maker, model = Strapdown(config), Strapdown(config)
    maker.memory_s.fill_(memory_s)
    made = replace(part, targets=normalized_predictions(maker, part, None))
    assert model.fit(part, made, None) == {"memory_s": told}
    assert model.memory_s.item() == memory_s


def test_a_run_on_the_sample_beats_the_mean(sample: Dataset, tmp_path: Path) -> None:
    config = TrainConfig(window_s=10.0, window_stride_s=10.0)
    done, _ = run(sample, "strapdown", config, tmp_path / "strapdown")
    mean, _ = run(sample, "mean", config, tmp_path / "mean")
    assert done.reported["mse"] < 0.6 * mean.reported["mse"]
    assert done.results["parameters"] == 1
    part = load_part(sample, "test")
    again = normalized_predictions(load_model(done), part, 50)
    np.testing.assert_allclose(part.physical(again), np.concatenate([p.pred for p in done.predictions]), atol=1e-5)


def test_targets_by_step_are_those_per_second_over_the_rate(sample: Dataset) -> None:
    """The way of a step is its mean velocity times its time."""
    physical = []
    for dataset in (sample, csp_data.load("sample", target_per="step")):
        part, options = load_part(dataset, "val"), options_of_dataset("strapdown", dataset)
        model = build_reference("strapdown", 12, 3, chunk=10, **options)
        physical.append(part.physical(normalized_predictions(model, part, 50)))
    np.testing.assert_allclose(physical[1] * 5.0, physical[0], rtol=1e-4, atol=1e-4)


def test_configuration_survives_json(sample: Dataset) -> None:
    reference = build_reference("strapdown", 12, 3, chunk=10, **options_of_dataset("strapdown", sample))
    assert reference_from_config(reference_to_dict(reference)).config == reference.config


def test_it_is_refused_where_the_card_declares_no_such_thing(sample: Dataset) -> None:
    class Other:
        name, protocol, card = "marker", sample.protocol, csp_data.card.load_card("marker")

    with pytest.raises(NotApplicableError, match=r"does not apply to marker.*write quantity and along.*kalman"):
        options_of_dataset("strapdown", Other())  # type: ignore[arg-type]

    card = sample.card
    target, inputs = card.target(sample.protocol.target), card.inputs(None)
    increments = "does not declare a target of increments in m. If"
    for changed, reason in (
        ({"targets": (replace(target, increment=False),)}, increments),
        ({"targets": (replace(target, unit="cm"),)}, increments),
        ({"targets": (replace(target, along="level"),)}, "that follow from inputs along 'sensor', not 'level'"),
        (
            {"streams": tuple(replace(stream, quantity=None) for stream in inputs)},
            "three channels each of specific",
        ),
    ):
        Other.name, Other.card = "sample", replace(card, **changed)
        with pytest.raises(NotApplicableError, match=reason):
            options_of_dataset("strapdown", Other())  # type: ignore[arg-type]
