from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import solve_discrete_are, sqrtm

import csp_data
from baselines.errors import OptionError
from baselines.experiment import run
from baselines.published import TRAINING
from baselines.references.kalman import System, _filter, filter_gains, identify
from baselines.references.methods import (
    build_reference,
    options_of_dataset,
    reference_from_config,
    reference_to_dict,
)
from baselines.references.strapdown import NotApplicableError
from baselines.training.data import Part
from baselines.training.evaluate import normalized_predictions
from csp_data.normalization import Affine

SEEN = 2


def _system(seed: int = 0) -> System:
    """Two states that turn and decay; two sensors and a target, with noises that depend on each other."""
    rng = np.random.default_rng(seed)
    a = 0.95 * np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    c = np.array([[1.0, 0.2], [0.3, 1.0], [2.0, -1.0]])
    root = rng.normal(size=(5, 5)) * np.array([0.4, 0.4, 0.5, 0.5, 0.3])[:, None]
    noise = root @ root.T
    q, r, s = noise[:2, :2], noise[2:, 2:], noise[:2, 2:]
    p = q.copy()
    for _ in range(2000):
        p = a @ p @ a.T + q
    return System(a, c, q, r, s, p)


def _simulate(system: System, steps: int, rng: np.random.Generator) -> np.ndarray:
    noise = np.block([[system.q, system.s], [system.s.T, system.r]])
    drawn = rng.multivariate_normal(np.zeros(len(noise)), noise, size=steps)
    state = rng.multivariate_normal(np.zeros(2), system.p)
    rows = []
    for k in range(steps):
        rows.append(system.c @ state + drawn[k, 2:])
        state = system.a @ state + drawn[k, :2]
    return np.stack(rows)


def test_the_filter_is_the_conditional_mean_of_the_joint_gaussian() -> None:
    """All outputs of 6 steps have one covariance; the target given the sensors so far is a formula on it."""
    system, steps, m = _system(), 6, 3
    covariance = np.zeros((steps * m, steps * m))
    for later in range(steps):
        for earlier in range(later + 1):
            if later == earlier:
                block = system.c @ system.p @ system.c.T + system.r
            else:
                reach = np.linalg.matrix_power(system.a, later - earlier - 1)
                block = system.c @ reach @ (system.a @ system.p @ system.c.T + system.s)
            covariance[later * m : later * m + m, earlier * m : earlier * m + m] = block
            covariance[earlier * m : earlier * m + m, later * m : later * m + m] = block.T
    z = np.random.default_rng(1).normal(size=(steps, m))
    found = _filter(system, z[None, :, :SEEN])[0, :, 0]
    for k in range(steps):
        seen = [j * m + i for j in range(k + 1) for i in range(SEEN)]
        weights = np.linalg.solve(covariance[np.ix_(seen, seen)], covariance[seen, k * m + 2])
        assert found[k] == pytest.approx(weights @ z[: k + 1, :SEEN].ravel())


def _with_a_slow_state(system: System) -> System:
    """One state more, which the others do not touch and the first sensor sees a little of."""
    more = ((0, 1), (0, 1))
    a, q, p = (np.pad(matrix, more) for matrix in (system.a, system.q, system.p))
    a[2, 2], q[2, 2] = 0.98, 1e-3
    p[2, 2] = q[2, 2] / (1 - a[2, 2] ** 2)
    c = np.hstack([system.c, [[0.1], [0.0], [1.0]]])
    return System(a, c, q, system.r, np.pad(system.s, ((0, 1), (0, 0))), p)


def test_the_gain_settles_at_the_riccati_equations_solution() -> None:
    """It changes for as long as any state's covariance does, not until the first has settled."""
    system = _with_a_slow_state(_system())
    c, r, s = system.c[:SEEN], system.r[:SEEN, :SEEN], system.s[:, :SEEN]
    p = solve_discrete_are(system.a.T, c.T, system.q, r, s=s)
    expected = (system.a @ p @ c.T + s) @ np.linalg.inv(c @ p @ c.T + r)
    np.testing.assert_allclose(filter_gains(system, SEEN, 2000)[0][-1], expected, rtol=1e-8)


def test_identification_finds_a_system_that_is_there() -> None:
    """The identified filter is nearly as good on new data as the true system's own, and the poles are right."""
    true, rng = _system(), np.random.default_rng(2)
    sequences = [_simulate(true, 4000, rng) for _ in range(3)]
    ((found,),) = identify(sequences, past=8, ridges=[1e-6], orders=[2])
    poles = np.sort_complex(np.linalg.eigvals(found.a))
    np.testing.assert_allclose(poles, np.sort_complex(np.linalg.eigvals(true.a)), atol=0.03)
    new = _simulate(true, 4000, rng)
    errors = [
        np.square(_filter(system, new[None, :, :SEEN])[0, :, 0] - new[:, 2]).mean() for system in (true, found)
    ]
    assert errors[1] < 1.03 * errors[0]
    assert errors[0] < 0.7 * new[:, 2].var()


@pytest.mark.parametrize(("past", "order"), [(4, 3), (24, 7)])  # all singular vectors, and a few of many
def test_identification_agrees_with_its_definition(past: int, order: int) -> None:
    """The naive way: all pasts and futures in two matrices, symmetric roots, all singular vectors."""
    rng, ridge = np.random.default_rng(3), 1e-2
    sequences = [_simulate(_system(), n, rng) for n in (300, 5, 500)]
    rows = [(z, k) for z in sequences for k in range(past, len(z) - past)]
    before = np.stack([z[k - past : k][::-1].ravel() for z, k in rows])
    shifted = np.stack([z[k - past + 1 : k + 1][::-1].ravel() for z, k in rows])
    future = np.stack([z[k : k + past].ravel() for z, k in rows])
    eye = ridge * np.eye(past * 3)
    half_p, half_f = (np.linalg.inv(sqrtm(x.T @ x / len(rows) + eye)) for x in (before, future))
    right = np.linalg.svd(half_f @ (future.T @ before / len(rows)) @ half_p)[2][:order]
    x, after = before @ half_p @ right.T, shifted @ half_p @ right.T
    a = np.linalg.lstsq(x, after, rcond=None)[0].T
    c = np.linalg.lstsq(x, np.stack([z[k] for z, k in rows]), rcond=None)[0].T
    ((found,),) = identify(sequences, past, [ridge], [order])
    # the state's coordinates are free up to sign
    signs = np.sign(np.sum(found.c * c, axis=0))
    np.testing.assert_allclose(found.c * signs, c, atol=1e-8)
    np.testing.assert_allclose(found.a * np.outer(signs, signs), a, atol=1e-8)


def _part(lengths: tuple[int, ...], chunk: int, seed: int) -> Part:
    """Episodes of the true system, with units and zeros of their own: each sensor is repeated over its chunk."""
    rng = np.random.default_rng(seed)
    z = np.concatenate([_simulate(_system(), n, rng) for n in lengths]).astype(np.float32)
    z = z * np.float32([5, 0.2, 4]) + np.float32([30, -2, 70])
    count = np.array(lengths)
    return Part(
        name="train",
        ids=tuple(f"e{i}" for i in range(len(lengths))),
        inputs=torch.from_numpy(np.repeat(z[:, :SEEN], chunk, axis=0)),
        targets=torch.from_numpy(z[:, SEEN:]),
        starts=np.cumsum(count) - count,
        lengths=count,
        times=tuple(np.arange(1, n + 1) / 5 for n in lengths),
        chunk=chunk,
        target_hz=5.0,
        scaling=Affine(shift=np.zeros(1), scale=np.ones(1)),
    )


def test_contract_and_choice_of_the_order() -> None:
    train, val = _part((700, 900, 3), 4, 0), _part((400, 300), 4, 1)
    kalman = build_reference("kalman", *train.dims, chunk=4, order=8, past=6)
    chosen = kalman.fit(train, val, 50)
    assert chosen["order"] in (2, 4, 8)  # one state cannot turn
    system = kalman.system()
    assert kalman.learned == sum(matrix.size for matrix in vars(system).values()) + 2 * 3  # and means and scales
    pred = normalized_predictions(kalman, val, 50).numpy()
    assert np.square(pred - val.targets.numpy()).mean() < 0.7 * val.targets.numpy().var()
    x = val.inputs[: 20 * 4].reshape(1, 80, SEEN)
    later = x.clone()
    later[:, 40:] += 1
    assert torch.equal(kalman(later)[:, :10], kalman(x)[:, :10])
    again = reference_from_config(reference_to_dict(kalman))
    again.load_state_dict(kalman.state_dict())
    assert torch.equal(again(x), kalman(x))


def test_a_sensor_that_never_varies_changes_nothing() -> None:
    def more(part: Part) -> Part:
        still = torch.zeros(len(part.inputs), 1)
        return replace(part, inputs=torch.cat((part.inputs, still), dim=1))

    train, val = _part((700, 900), 4, 0), _part((400, 300), 4, 1)
    losses = []
    for parts in ((train, val), (more(train), more(val))):
        kalman = build_reference("kalman", *parts[0].dims, chunk=4, order=8, past=6)
        kalman.fit(*parts, 50)
        losses.append(np.square(normalized_predictions(kalman, parts[1], 50).numpy() - val.targets.numpy()).mean())
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


@pytest.mark.parametrize(("sensors", "steps"), [(30, 400), (120, 120), (160, 140)])
def test_more_sensors_than_steps_do_not_spoil_the_filter(sensors: int, steps: int) -> None:
    """Many noisy looks at one slow walk; without a filter the mean of all sensors is as good as it gets."""
    mixing = np.random.default_rng(9).normal(size=sensors)

    def part(seed: int) -> Part:
        rng = np.random.default_rng(seed)
        walk = np.cumsum(rng.normal(size=steps)) / 5
        walk -= walk.mean()
        inputs = np.repeat(walk, 4)[:, None] * mixing + 0.6 * rng.normal(size=(steps * 4, sensors))
        made = _part((steps,), 4, 0)
        targets = torch.from_numpy(walk[:, None]).float()
        return replace(made, inputs=torch.from_numpy(inputs).float(), targets=targets)

    train, val = part(0), part(1)
    kalman = build_reference("kalman", *train.dims, chunk=4)
    kalman.fit(train, val, None)
    means = val.inputs.numpy().reshape(steps, 4, sensors).mean(axis=1)
    best = np.square(means @ mixing / (mixing @ mixing) - val.targets.numpy()[:, 0]).mean()
    error = np.square(normalized_predictions(kalman, val, None).numpy() - val.targets.numpy()).mean()
    assert error < best + 0.02 * val.targets.numpy().var()


def test_many_sensors_that_tell_nothing_are_not_believed() -> None:
    """With 100 sensors of noise and 150 steps the residuals' covariance alone explains the training's targets."""

    def part(seed: int) -> Part:
        made = _part((150,), 4, seed)
        noise = np.random.default_rng(seed + 100).normal(size=(len(made.inputs), 100))
        return replace(made, inputs=torch.cat((made.inputs, torch.from_numpy(noise).float()), dim=1))

    train, val = part(0), part(1)
    kalman = build_reference("kalman", *train.dims, chunk=4)
    kalman.fit(train, val, None)
    error = np.square(normalized_predictions(kalman, val, None).numpy() - val.targets.numpy()).mean()
    assert error < 0.6 * val.targets.numpy().var()


def test_short_episodes_get_fewer_lags_or_none(tmp_path: Path) -> None:
    """At 5 targets a second, 2 s are 10 steps; a group of references leaves out one that cannot be."""
    whole, short, tiny = (csp_data.load("sample", max_duration_s=s, min_episode_s=0.4) for s in (None, 2.0, 0.4))
    assert options_of_dataset("kalman", whole) == {"past": 8}
    assert options_of_dataset("kalman", short) == {"past": 2}
    slow = csp_data.load("sample", target_hz=50 / 110)
    assert {len(episode.targets) for episode in slow.train} == {15, 16}  # the longest has lags for all of them
    assert options_of_dataset("kalman", slow) == {"past": 4}
    finished, _ = run(short, "kalman", TRAINING["strict"], tmp_path / "run")
    assert np.isfinite(finished.reported["mse"])
    with pytest.raises(NotApplicableError, match="2 target steps"):
        options_of_dataset("kalman", tiny)


def test_too_few_data_are_said() -> None:
    part = _part((5, 6), 4, 0)
    with pytest.raises(OptionError, match=r"past=8.*no sequence has 17 steps"):
        build_reference("kalman", *part.dims, chunk=4).fit(part, part, None)
