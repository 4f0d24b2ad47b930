"""A stream of raw rows gives what the model predicts over the prepared file, whatever the protocol does to rows.

The made-up recordings are sampled exactly at the times of the input grid, so that nothing has to be resampled.
Their channels have an offset of 30,000 counts, drift, noise, and spikes that the clips cut.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import csp_data
from baselines import build
from baselines.errors import OptionError
from baselines.runs.interface import Interface
from baselines.stream.engine import StateError
from baselines.stream.preparation import Preparation
from baselines.stream.streamer import Streamer
from baselines.training.data import load_part
from csp_data.card import registry as cards
from csp_data.normalization import Affine

CARD = """
name = "rows"
title = "Made-up rows"
kind = "simulated"
unlisted = "used"
protocol = "strict"
summary = "Made up for a test."
obtain = "Made up by the test."

[licence]
id = "none"
name = "none"
url = "none"
redistribution = false
terms = "None."

[citation]
text = "None."
bibtex = "None."
doi = "none"

[[streams]]
name = "field"
role = "input"
channels = ["x", "y", "z"]
unit = "count"
rate_hz = 50
frame = "none"

[[streams]]
name = "force"
role = "reference"
channels = ["force"]
unit = "N"
rate_hz = 50
frame = "none"

[[targets]]
name = "force"
channels = ["force"]
unit = "N"
increment = false
summary = "The force at the end of the step."

[splits.strict]
train = ["a"]
val = ["b"]
test = ["c"]
"""

READER = """
import numpy as np
from csp_data.recording import Recording, Stream
from csp_data.sources import Found, Source

def find(root):
    return [Found(p.stem, p.stem, (p,)) for p in sorted(root.glob("*.npy"))]

def read(found, card, protocol):
    rows = np.load(found.files[0])
    parts = ((card.stream("field"), rows[:, 1:4]), (card.stream("force"), rows[:, 4:]))
    streams = {part.name: Stream.of(part, rows[:, 0], values) for part, values in parts}
    return Recording(found.id, found.group, found.files[0], streams)

SOURCE = Source(find, read, "<id>.npy", {"force": lambda edges: edges["force"][1:]})
"""

SMOOTH = csp_data.LowPass(4.0, 3, "causal")
OWN: dict[str, Any] = {"grid": "own-start", "baseline": "mean", "baseline_rows": 5, "trim_rest_s": None}
PROTOCOLS: dict[str, dict[str, Any]] = {
    "nothing": {"input_deltas": False},
    "deltas": {},
    "clip": {"clip": 35.0},
    "raw clip": {**OWN, "raw_clip": 40.0},
    "baseline": {**OWN, "baseline": "median", "baseline_rows": 23},
    "low-pass": {"lowpass": SMOOTH},
    "everything": {**OWN, "raw_clip": 40.0, "lowpass": SMOOTH, "clip": 30.0, "target_hz": 2.0},
    "mean": {"resample": "mean"},
    "scaling": {"input_scaling": csp_data.Scaling(shift="zero", scale="range", factor=0.5)},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    rng = np.random.default_rng(0)
    (folder / "card.toml").write_text(CARD)
    (folder / "reader.py").write_text(READER)
    for name in "abc":
        time = np.arange(301) / 50
        field = 30_000 + 10 * np.cumsum(rng.normal(size=(301, 3)), axis=0) * 0.1 + rng.normal(size=(301, 3))
        field[rng.integers(30, 300, 12), rng.integers(0, 3, 12)] += rng.choice((-200, 200), 12)
        np.save(folder / f"{name}.npy", np.column_stack([time, field, rng.normal(size=301)]))
    return folder


@pytest.fixture
def dataset(folder: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> csp_data.Dataset:
    monkeypatch.setattr(cards, "_added", {})
    protocol = csp_data.STRICT.replace(max_gap_s=None, **PROTOCOLS[request.param])
    return csp_data.load(str(folder), raw=folder, protocol=protocol)


def raw_rows(folder: Path, dataset: csp_data.Dataset) -> np.ndarray:
    """The stream: rows from the first one that is an input; means of the interpolant where the protocol has it."""
    rows = np.load(folder / "c.npy")[:, 1:4]
    if dataset.protocol.grid == "own-start":
        return rows[: len(dataset.test[0].inputs)]
    return (rows[1:] + rows[:-1]) / 2 if dataset.protocol.resample == "mean" else rows[1:]


def model_for(dataset: csp_data.Dataset, kind: str = "hiss-s4-gru") -> Any:
    torch.manual_seed(0)
    width = len(dataset.normalization.inputs.shift)
    return build(kind, width, 1, dim=8, layers=1, chunk=dataset.protocol.chunk).eval()


@pytest.mark.parametrize("engine", ["reference", "fast"])
@pytest.mark.parametrize("dataset", PROTOCOLS, indirect=True)
def test_raw_stream_equals_prepared_batch(dataset: csp_data.Dataset, folder: Path, engine: str) -> None:
    model, part = model_for(dataset), load_part(dataset, "test")
    with torch.no_grad():
        batch = dataset.normalization.targets.invert(model(part.inputs[None])[0].double().numpy())
    interface = Interface.from_dict(json.loads(json.dumps(Interface.of(dataset).to_dict())))
    stream, rows = Streamer.of(model, interface, engine), raw_rows(folder, dataset)
    known = dataset.protocol.baseline == "none"
    assert stream.preparation.waits_for == (0 if known else dataset.protocol.baseline_rows)
    made = np.concatenate([stream.push(piece) for piece in np.split(rows, [1, 2, 17, 18, 44, 160])])
    np.testing.assert_allclose(made, batch, atol=1e-5, rtol=1e-5)
    single = Streamer.of(model, interface, engine)
    np.testing.assert_allclose(np.concatenate([single.push(row) for row in rows]), batch, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("engine", ["reference", "fast"])
@pytest.mark.parametrize("dataset", PROTOCOLS, indirect=True)
def test_features_are_those_of_training(dataset: csp_data.Dataset, folder: Path, engine: str) -> None:
    """Not only close: the same float32 numbers but for the last bit of the filter."""
    part, rows = load_part(dataset, "test"), raw_rows(folder, dataset)
    made = Streamer.of(model_for(dataset), Interface.of(dataset), engine).preparation.push(rows)
    np.testing.assert_allclose(made, part.inputs.numpy(), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("dataset", ["raw clip"], indirect=True)
def test_every_part_of_the_protocol_matters(dataset: csp_data.Dataset, folder: Path) -> None:
    """The test above can fail: without the clip, or with another offset, predictions are others."""
    model, interface, rows = model_for(dataset), Interface.of(dataset), raw_rows(folder, dataset)
    right = Streamer.of(model, interface).push(rows)
    for wrong in (replace(interface, raw_clip=None), replace(interface, baseline_rows=1)):
        other, same = (Streamer.of(model, one).preparation.push(rows) for one in (wrong, interface))
        assert np.abs(other - same).max() > 0.02
    offset = rows[:5].mean(axis=0)
    known = Streamer.of(model, interface, baseline=offset)
    np.testing.assert_allclose(known.push(rows), right, atol=1e-6)
    free = Streamer.of(model, interface, baseline="none")
    np.testing.assert_allclose(free.push(rows - offset), right, atol=1e-6)


@pytest.mark.parametrize("dataset", ["baseline"], indirect=True)
def test_predictions_wait_for_the_baseline_and_a_state_may_be_kept_meanwhile(
    dataset: csp_data.Dataset, folder: Path
) -> None:
    model, interface, rows = model_for(dataset), Interface.of(dataset), raw_rows(folder, dataset)
    stream = Streamer.of(model, interface)
    counts, due = [], []
    for row in rows[:40]:
        counts.append(len(stream.push(row)))
        due.append(stream.answered)
    assert counts == [0] * 22 + [2] + [0] * 6 + [1] + [0] * 9 + [1]
    assert [due[k] for k in (21, 22, 28, 29, 39)] == [0, 20, 20, 30, 40]
    stream.reset()
    stream.push(rows[:7])
    other = Streamer.of(model, interface)
    other.load_state_dict(stream.state_dict())
    np.testing.assert_array_equal(other.push(rows[7:]), stream.push(rows[7:]))
    with pytest.raises(StateError, match="baseline is median there and none here"):
        Streamer.of(model, interface, baseline="none").load_state_dict(stream.state_dict())


def test_bad_samples_change_nothing_even_while_they_wait() -> None:
    scaling = Affine(np.zeros(4), np.ones(4))
    for compiled in (False, True):
        made = Preparation(scaling, deltas=True, baseline="median", baseline_rows=3, compiled=compiled)
        before = made.state()
        for bad in (np.nan, np.inf, 1e300):
            with pytest.raises(OptionError, match="finite"):
                made.push(np.array([[1.0, bad]]))
        for name, value in made.state().items():
            np.testing.assert_array_equal(value, before[name])  # an offset that is not known yet is NaN


@pytest.mark.parametrize("compiled", [False, True])
def test_a_bad_sample_after_good_ones_takes_none_of_them(compiled: bool) -> None:
    made = Preparation(Affine(np.zeros(4), np.ones(4)), deltas=True, lowpass=SMOOTH, compiled=compiled)
    rows = np.random.default_rng(0).normal(size=(9, 2))
    made.push(rows[:3])
    before = made.state()
    for bad in (np.nan, -np.inf):
        with pytest.raises(OptionError, match="finite"):
            made.push(np.concatenate((rows[3:], [[1.0, bad]])))
        assert all(np.array_equal(made.state()[name], value) for name, value in before.items())


def test_baselines_that_are_none() -> None:
    scaling = Affine(np.zeros(4), np.ones(4))
    for bad in ("mode", [1.0], [1.0, np.nan]):
        with pytest.raises(OptionError, match="baseline="):
            Preparation(scaling, deltas=True, baseline=bad)
