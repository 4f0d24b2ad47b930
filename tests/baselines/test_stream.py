"""Streaming equals the batch prediction, whatever the model and however the stream is cut."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import csp_data
from baselines import MODELS, build
from baselines.errors import OptionError
from baselines.stream import Streamer
from csp_data.normalization import features

SMOOTH = csp_data.LowPass(8.0, 3, "causal")


@pytest.fixture(scope="module")
def ds() -> csp_data.Dataset:
    return csp_data.load("sample")


def streamer(ds: csp_data.Dataset, name: str, **options: object) -> Streamer:
    torch.manual_seed(0)
    model = build(name, in_dim=12, out_dim=3, dim=16, layers=2, **options)
    return Streamer(model, ds.normalization, deltas=True, clip=50.0, lowpass=SMOOTH, input_hz=50.0)


def batch(stream: Streamer, inputs: np.ndarray) -> np.ndarray:
    """The prediction over the whole recording at once."""
    made = features(SMOOTH.apply(inputs, 50.0), deltas=True, clip=50.0)
    made = stream.normalization.inputs.apply(made)
    with torch.no_grad():
        output = stream.model(torch.from_numpy(made).float()[None])[0]
    return stream.normalization.targets.invert(output.double().numpy())


NEW = [f"flat-{kind}" for kind in ("gru", "tcn", "mamba2", "s4d", "lru")]
NEW += ["hiss-gru-s4d", "hiss-tcn-gru", "hiss-mamba2-lru", "hiss-s4d-tcn", "hiss-lru-mamba2", "hiss-s4-tcn-lru"]


@pytest.mark.parametrize("name", [*MODELS, *NEW])
@given(cuts=st.lists(st.integers(1, 199), max_size=6))
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_stream_equals_batch_however_it_is_cut(ds: csp_data.Dataset, name: str, cuts: list[int]) -> None:
    inputs = ds.val[0].inputs[:200]
    stream = streamer(ds, name)
    made = np.concatenate([stream.push(piece) for piece in np.split(inputs, sorted(set(cuts)))])
    np.testing.assert_allclose(made, batch(stream, inputs), atol=1e-5)


def test_first_readout_answers_at_the_first_sample_of_a_chunk(ds: csp_data.Dataset) -> None:
    inputs = ds.val[0].inputs[:40]
    stream = streamer(ds, "flat-lstm", readout="first")
    counts = [len(stream.push(sample)) for sample in inputs]
    assert counts == [1, 0, 0, 0, 0, 0, 0, 0, 0, 0] * 4


def test_state_can_be_kept_and_taken_up_again(ds: csp_data.Dataset) -> None:
    inputs = ds.val[0].inputs[:60]
    stream = streamer(ds, "hiss-s4-mamba")
    stream.push(inputs[:33])
    kept = pickle.dumps(stream.state)
    rest = stream.push(inputs[33:])
    other = streamer(ds, "hiss-s4-mamba")
    other.state = pickle.loads(kept)
    np.testing.assert_array_equal(other.push(inputs[33:]), rest)
    stream.reset()
    np.testing.assert_allclose(stream.push(inputs), batch(stream, inputs), atol=1e-5)


def test_bad_samples_are_refused_and_change_nothing(ds: csp_data.Dataset) -> None:
    inputs = ds.val[0].inputs[:20]
    stream = streamer(ds, "hiss-lstm-lstm")
    stream.push(inputs[:10])
    with pytest.raises(OptionError, match=r"shape \(n, 6\)"):
        stream.push(np.zeros(5))
    with pytest.raises(OptionError, match="finite"):
        stream.push(np.full(6, np.nan))
    np.testing.assert_allclose(stream.push(inputs[10:]), batch(stream, inputs)[1:], atol=1e-5)
    assert stream.push(np.zeros((0, 6))).shape == (0, 3)


def test_what_cannot_stream_is_refused(ds: csp_data.Dataset) -> None:
    model = build("flat-lstm", in_dim=12, out_dim=3, dim=8)
    with pytest.raises(OptionError, match="causal"):
        Streamer(model, ds.normalization, deltas=True, lowpass=csp_data.LowPass(5.0, 3, "zero"))
    with pytest.raises(OptionError, match="6 features"):
        Streamer(build("flat-lstm", in_dim=6, out_dim=3, dim=8), ds.normalization, deltas=False)
