from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import csp_data
from baselines.errors import OptionError, UnknownNameError
from baselines.experiment import plan
from baselines.published import TRAINING
from baselines.references.methods import (
    RIDGES,
    build_reference,
    options_of_dataset,
    reference_from_config,
    reference_to_dict,
)
from baselines.training.data import Part
from baselines.training.evaluate import normalized_predictions

MakePart = Callable[..., Part]


def test_mean_is_the_mean_of_all_training_steps(make_part: MakePart) -> None:
    part, val = make_part((7, 12, 3)), make_part((9,), seed=1)
    mean = build_reference("mean", *part.dims, chunk=part.chunk)
    assert mean.fit(part, val, 5) == {}
    expected = part.targets.numpy().astype(np.float64).mean(axis=0)
    got = normalized_predictions(mean, val, 5).numpy()
    np.testing.assert_allclose(got, np.broadcast_to(expected, got.shape), rtol=1e-6)


def _history(part: Part, length: int | None, taps: int) -> np.ndarray:
    """The last taps samples before the end of every step, zeros before the window, as plain loops."""
    rows = []
    x = part.inputs.numpy().astype(np.float64)
    for start, count in zip(part.starts, part.lengths, strict=True):
        for k in range(count):
            begin = start + (0 if length is None else k // length * length)
            end = (start + k + 1) * part.chunk
            row = [x[t] if t >= begin * part.chunk else np.zeros(x.shape[1]) for t in range(end - taps, end)]
            rows.append(np.stack(row).T.ravel())  # feature by feature
    return np.stack(rows)


@pytest.mark.parametrize(("length", "taps"), [(5, 8), (None, 8), (5, 3), (4, 5)])
def test_fir_is_the_ridge_regression_on_the_history(length: int | None, taps: int, make_part: MakePart) -> None:
    part, val = make_part((37, 52, 13), features=2), make_part((29,), features=2, seed=1)
    rng = np.random.default_rng(5)
    noise = torch.from_numpy(rng.normal(size=part.targets.shape).astype(np.float32))
    part = replace(part, targets=part.targets + 0.5 * noise + 1.0)
    fir = build_reference("fir", *part.dims, chunk=part.chunk, taps=taps)
    strength = fir.fit(part, val, length)["ridge"]
    x, y = _history(part, length, taps), part.targets.numpy().astype(np.float64)
    # the same minimum by least squares on augmented rows: an independent way to it
    n, wide = x.shape
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    augmented = np.vstack([x - x_mean, np.sqrt(strength * n) * np.eye(wide)])
    solution = np.linalg.lstsq(augmented, np.vstack([y - y_mean, np.zeros((wide, 2))]), rcond=None)[0]
    expected = y_mean + (_history(val, length, taps) - x_mean) @ solution
    np.testing.assert_allclose(normalized_predictions(fir, val, length).numpy(), expected, atol=2e-5)


def test_fir_takes_the_strength_that_is_best_on_val(make_part: MakePart) -> None:
    part, val = make_part((37, 52, 13), features=2), make_part((29,), features=2, seed=1)
    noise = torch.from_numpy(np.random.default_rng(5).normal(size=part.targets.shape).astype(np.float32))
    part = replace(part, targets=part.targets + noise)
    fir = build_reference("fir", *part.dims, chunk=part.chunk, taps=30)
    chosen = fir.fit(part, val, None)["ridge"]
    x, y = _history(part, None, 30), part.targets.numpy().astype(np.float64)
    xv, yv = _history(val, None, 30), val.targets.numpy()
    losses = []
    for strength in RIDGES:
        xc, yc = x - x.mean(axis=0), y - y.mean(axis=0)
        w = np.linalg.solve(xc.T @ xc / len(x) + strength * np.eye(x.shape[1]), xc.T @ yc / len(x))
        losses.append(np.square(y.mean(axis=0) + (xv - x.mean(axis=0)) @ w - yv).mean())
    assert chosen == RIDGES[int(np.argmin(losses))]
    assert chosen not in (RIDGES[0], RIDGES[-1])  # noisy targets: the answer lies inside the grid


def test_fir_finds_a_filter_that_is_there(make_part: MakePart) -> None:
    part, val = make_part((300,)), make_part((50,), seed=1)
    fir = build_reference("fir", *part.dims, chunk=part.chunk, taps=5)
    fir.fit(part, val, None)
    expected = np.zeros((2, 4, 5))
    expected[0, 0], expected[1, 0] = 0.2, -0.4
    np.testing.assert_allclose(fir.weight.numpy(), expected, atol=1e-3)


@pytest.mark.parametrize("name", ["mean", "fir"])
def test_contract_of_a_model(name: str, make_part: MakePart) -> None:
    part = make_part((17, 22))
    reference = build_reference(name, *part.dims, chunk=part.chunk)
    reference.fit(part, part, 5)
    x = torch.randn(3, 6 * part.chunk, 4)
    y = reference(x)
    assert y.shape == (3, 6, 2)
    later = x.clone()
    later[:, 3 * part.chunk :] += 1
    assert torch.equal(reference(later)[:, :3], y[:, :3])
    again = reference_from_config(reference_to_dict(reference))
    again.load_state_dict(reference.state_dict())
    assert torch.equal(again(x), y)


def test_unknown_names_and_values() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'fir'"):
        build_reference("fit", 4, 2)
    with pytest.raises(UnknownNameError, match=r"option 'tap' of fir.*Did you mean 'taps'"):
        build_reference("fir", 4, 2, tap=3)
    with pytest.raises(OptionError, match="taps=0"):
        build_reference("fir", 4, 2, taps=0)


def test_a_filter_is_shorter_where_features_are_many(tmp_path: Path) -> None:
    """A hundred taps of TotalCapture's features would be a matrix of gigabytes."""
    assert options_of_dataset("fir", csp_data.load("sample")) == {"taps": 100}
    tree = csp_data.simulate("totalcapture", tmp_path / "tree", hours=0.02, seed=0)
    dataset = csp_data.load("totalcapture", raw=tree)
    model = plan(dataset, "fir", TRAINING["strict"]).model
    assert dataset.protocol.chunk <= model["taps"] <= 3000 / model["in_dim"]
    plain = csp_data.load("totalcapture", raw=tree, input_deltas=False)
    for data, features in ((plain, len(plain.channels.names)), (dataset, 2 * len(dataset.channels.names))):
        assert options_of_dataset("fir", data) == {"taps": max(data.protocol.chunk, 3000 // features)}
