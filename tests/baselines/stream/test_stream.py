"""Streaming equals the batch prediction, whatever the model and however the stream is cut."""

from __future__ import annotations

import copy
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import csp_data
from baselines import build
from baselines.bench.stream import measure_stream_latency
from baselines.errors import OptionError
from baselines.presets import ALL_MODELS
from baselines.references.methods import build_reference
from baselines.runs.interface import Interface
from baselines.stream.engine import StateError
from baselines.stream.export import export
from baselines.stream.streamer import Streamer, load_state, save_state, with_window
from csp_data.normalization import features

SIZES = {"dim": 16, "layers": 2}
SMOOTH = csp_data.LowPass(8.0, 3, "causal")


@pytest.fixture(scope="module")
def ds() -> csp_data.Dataset:
    return csp_data.load("sample")


def streamer(ds: csp_data.Dataset, name: str, engine: str = "auto", **options: object) -> Streamer:
    torch.manual_seed(0)
    model = build(name, in_dim=12, out_dim=3, **{**SIZES, **options})
    return Streamer(model, ds.normalization, deltas=True, clip=50.0, lowpass=SMOOTH, input_hz=50.0, engine=engine)


def batch(stream: Streamer, inputs: np.ndarray) -> np.ndarray:
    """The prediction over the whole recording at once."""
    made = features(SMOOTH.apply(inputs, 50.0), deltas=True, clip=50.0)
    made = stream.normalization.inputs.apply(made)
    with torch.no_grad():
        output = stream.model(torch.from_numpy(made).float()[None])[0]
    return stream.normalization.targets.invert(output.double().numpy())


def check(stream: Streamer, inputs: np.ndarray, cuts: list[int]) -> None:
    """At each cut a second stream takes up the state of the first and goes on."""
    made, other = [], copy.deepcopy(stream)
    for piece in np.split(inputs, sorted(set(cuts))):
        made.append(stream.push(piece))
        other.load_state_dict(stream.state_dict())
        stream, other = other, stream
    np.testing.assert_allclose(np.concatenate(made), batch(stream, inputs), atol=1e-5)


def test_a_reference_is_refused_by_its_name(ds: csp_data.Dataset, tmp_path: Path) -> None:
    reference, interface = build_reference("fir", 12, 3, chunk=10), Interface.of(ds)
    for use in (
        lambda: Streamer.of(reference, interface),
        lambda: export(reference, interface, tmp_path / "x.pt2", "pt2"),
        lambda: with_window(reference, 5),
        lambda: measure_stream_latency(reference, 1),
    ):
        with pytest.raises(OptionError, match="model='Fir': expected a model that predicts sample by sample"):
            use()


CUTS = st.lists(st.integers(1, 59), max_size=6)
FEW = settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
VARIANTS = [
    ("hiss-s4-tcn-lru", {}),
    ("hiss-gru-s4-transformer", {"readout": "linear"}),
    ("hiss-lstm-s4d-mamba2", {"overlap": 3, "readout": "attention"}),
    ("hiss-s4-mamba", {"overlap": 4}),
    ("hiss-s4-mamba", {"overlap": 13, "readout": "linear"}),
    ("hiss-mamba-gru", {"readout": "attention"}),
    ("flat-s4", {"readout": "first"}),
    ("flat-mamba", {"readout": "first"}),
    ("flat-transformer", {"readout": "first"}),
    ("flat-transformer", {"window": 7}),
    ("flat-transformer", {"window": 1}),
    ("hiss-s4-transformer", {"high_window": 3}),
]


@pytest.mark.parametrize("name", ALL_MODELS)
@given(cuts=CUTS)
@FEW
def test_stream_equals_batch_however_it_is_cut(ds: csp_data.Dataset, name: str, cuts: list[int]) -> None:
    check(streamer(ds, name, "reference"), ds.val[0].inputs[:60], cuts)
    check(streamer(ds, name, "auto"), ds.val[0].inputs[:60], cuts)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
@given(cuts=CUTS)
@FEW
def test_every_way_of_cutting_and_reading_out(
    ds: csp_data.Dataset, name: str, options: dict[str, object], cuts: list[int]
) -> None:
    check(streamer(ds, name, **options), ds.val[0].inputs[:60], cuts)


def test_a_window_bounds_the_memory_of_a_transformer(ds: csp_data.Dataset) -> None:
    whole = streamer(ds, "hiss-lstm-transformer")
    model = with_window(whole.model, 4)
    assert (model.training, with_window(whole.model.train(), 4).training) == (False, True)
    whole.model.eval()
    stream = Streamer(model, ds.normalization, deltas=True, lowpass=SMOOTH)
    inputs = ds.val[0].inputs[:40]  # four chunks: nothing is out of sight yet
    np.testing.assert_allclose(stream.push(inputs), whole.push(inputs), atol=1e-6)
    stream.reset()
    assert with_window(model, None) is model
    sizes = []
    for _ in range(3):
        stream.push(ds.val[0].inputs[:100])
        sizes.append(sum(array.nbytes for array in stream.state_dict().values()))
    assert len(set(sizes)) == 1
    with pytest.raises(OptionError, match="only a Transformer"):
        with_window(streamer(ds, "flat-lstm").model, 4)


def test_first_readout_answers_at_the_first_sample_of_a_chunk(ds: csp_data.Dataset) -> None:
    inputs = ds.val[0].inputs[:40]
    stream = streamer(ds, "flat-lstm", readout="first")
    assert stream.answered == 0
    counts, due = zip(*((len(stream.push(sample)), stream.answered) for sample in inputs), strict=True)
    assert counts == (1, 0, 0, 0, 0, 0, 0, 0, 0, 0) * 4
    assert due == tuple(1 + 10 * (sample // 10) for sample in range(40))


@pytest.mark.parametrize(
    "name", ["hiss-s4-mamba", "hiss-lru-gru", "flat-transformer", "flat-tcn", "hiss-s4-lstm-s4"]
)
def test_state_can_be_kept_and_taken_up_again(ds: csp_data.Dataset, name: str, tmp_path: Path) -> None:
    inputs = ds.val[0].inputs[:60]
    stream = streamer(ds, name)
    stream.push(inputs[:33])
    save_state(tmp_path / "state", stream)
    kept = stream.state_dict()  # a copy: what follows does not change it
    pickled = pickle.dumps(stream)
    rest = stream.push(inputs[33:])
    np.testing.assert_array_equal(pickle.loads(pickled).push(inputs[33:]), rest)
    stream.load_state_dict(kept)
    np.testing.assert_array_equal(stream.push(inputs[33:]), rest)
    other = streamer(ds, name)
    load_state(tmp_path / "state", other)
    np.testing.assert_array_equal(other.push(inputs[33:]), rest)
    assert other.samples == 60
    for one in (stream, other):  # from where they go different ways
        one.load_state_dict(kept)
    begun = stream.push(inputs[33:47])
    other.push(inputs[:27])
    np.testing.assert_array_equal(np.concatenate([begun, stream.push(inputs[47:])]), rest)
    stream.reset()
    np.testing.assert_allclose(stream.push(inputs), batch(stream, inputs), atol=1e-5)


def test_streams_of_one_model_run_in_threads_beside_each_other(ds: csp_data.Dataset) -> None:
    inputs = ds.val[0].inputs[:200]
    first = streamer(ds, "hiss-s4-mamba")
    others = [Streamer(first.model, ds.normalization, deltas=True, lowpass=SMOOTH) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        made = threads.map(lambda stream: np.concatenate([*map(stream.push, inputs)]), others)
    expected = first.push(inputs)
    assert all(np.array_equal(found, expected) for found in made)


@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_states_of_other_streams_are_refused(ds: csp_data.Dataset, engine: str, tmp_path: Path) -> None:
    inputs = ds.val[0].inputs[:25]
    stream = streamer(ds, "hiss-lstm-gru", engine)
    start = stream.state_dict()
    made = stream.push(inputs)
    before = stream.state_dict()
    entry = next(name for name in before if "/" in name)
    kept = json.loads(before["settings"].tobytes())

    def under(settings: dict[str, object]) -> dict[str, np.ndarray]:
        return before | {"settings": np.frombuffer(json.dumps(settings).encode(), np.uint8)}

    another = {"reference": "fast", "fast": "reference"}[engine]
    bad = {
        "the entries samples, weights and settings": {k: v for k, v in before.items() if k != "settings"},
        "its settings are damaged": before | {"settings": np.frombuffer(b"[1", np.uint8)},
        "the same weights": before | {"weights": before["weights"][::-1]},
        "later is 1 there and None here": under({**kept, "later": 1}),
        "clip is None there and 50.0 here": under({k: v for k, v in kept.items() if k != "clip"}),
        f"engine '{another}'": {name.replace(engine, another): value for name, value in before.items()},
        r"entry .* found complex128": before | {entry: before[entry].astype(complex)},
        "shape": before | {entry: np.zeros((2, 3, 4, 5, 6), np.float32)},
        "state of another model": before | {f"{stream.engine.name}/nothing": np.zeros(1)},
        r"found float32 of shape \(9,\)": before | {"previous": np.zeros(9, np.float32)},
        "found float64": before | {"previous": before["previous"].astype(np.float64)},
        "low-pass and baseline must be the same": {k: v for k, v in before.items() if k != "filtered"},
    }
    for message, state in bad.items():
        with pytest.raises(StateError, match=message):
            stream.load_state_dict(state)
    (tmp_path / "damaged").write_bytes(b"no state")
    with pytest.raises(StateError, match="damaged: cannot be read"):
        load_state(tmp_path / "damaged", stream)
    safetensors.numpy.save_file({"weight": np.zeros(3)}, tmp_path / "model")
    with pytest.raises(StateError, match="model: damaged, or not the state of a stream"):
        load_state(tmp_path / "model", stream)
    save_state(tmp_path / "state", stream)
    whole = (tmp_path / "state").read_bytes()
    for bit in np.random.default_rng(0).integers(0, 8 * len(whole), 50).tolist():
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        (tmp_path / "damaged").write_bytes(changed)
        with pytest.raises(StateError, match=r"damaged: (damaged, or not|cannot be read)"):
            load_state(tmp_path / "damaged", stream)
    after = stream.state_dict()
    assert all(np.array_equal(after[name], value) for name, value in before.items())
    stream.load_state_dict(start)
    np.testing.assert_array_equal(stream.push(inputs), made)


@pytest.mark.parametrize("engine", ["reference", "fast"])
@pytest.mark.parametrize(("before", "after"), [(9, None), (None, 6), (4, 9)])
def test_a_state_under_another_window_is_refused(
    ds: csp_data.Dataset, engine: str, before: int | None, after: int | None
) -> None:
    """Its keys and values from before the first step would be seen, or those that it forgot be missed."""
    whole = streamer(ds, "flat-transformer", engine)
    one, other = (
        Streamer(with_window(whole.model, window), ds.normalization, deltas=True, engine=engine)
        for window in (before, after)
    )
    one.push(ds.val[0].inputs[:5])
    with pytest.raises(StateError, match="the same window"):
        other.load_state_dict(one.state_dict())


SETTINGS: dict[str, dict[str, object]] = {
    "lowpass is .*'hz': 8.0.* there and .*'hz': 6.0": {"lowpass": csp_data.LowPass(6.0, 3, "causal")},
    "lowpass is .*'order': 3.* there and .*'order': 4": {"lowpass": csp_data.LowPass(8.0, 4, "causal")},
    "lowpass is .* there and None here": {"lowpass": None},
    "input_hz is 50.0 there and 40.0 here": {"input_hz": 40.0},
    "clip is 50.0 there and None here": {"clip": None},
    "raw_clip is None there and 9.0 here": {"raw_clip": 9},
    "settings: baseline[.;]": {"baseline": np.arange(6.0)},
    "baseline is none there and mean here": {"baseline": "mean", "baseline_rows": 3},
    r"settings: normalization.inputs\.": {"inputs": 1 + 1e-12},
    r"settings: normalization.targets\.": {"targets": 1 + 1e-12},
}


@pytest.mark.parametrize("engine", ["reference", "fast"])
@pytest.mark.parametrize("message", SETTINGS)
def test_a_state_under_other_settings_is_refused(ds: csp_data.Dataset, engine: str, message: str) -> None:
    stream, others = streamer(ds, "hiss-lstm-gru", engine), dict(SETTINGS[message])
    stream.push(ds.val[0].inputs[:25])
    scaled = {part: getattr(ds.normalization, part) for part in ("inputs", "targets")}
    for part in scaled.keys() & others:
        scaled[part] = replace(scaled[part], scale=scaled[part].scale * others.pop(part))
    given = {"clip": 50, "lowpass": csp_data.LowPass(8, 3, "causal"), "input_hz": 50, "engine": engine}
    same = Streamer(stream.model, ds.normalization, deltas=True, **given)
    same.load_state_dict(stream.state_dict())  # whole numbers are the same settings
    other = Streamer(stream.model, csp_data.Normalization(**scaled), deltas=True, **{**given, **others})
    with pytest.raises(StateError, match=message):
        other.load_state_dict(stream.state_dict())
    assert other.samples == 0


def test_bad_samples_are_refused_and_change_nothing(ds: csp_data.Dataset) -> None:
    inputs = ds.val[0].inputs[:20]
    stream = streamer(ds, "hiss-lstm-lstm")
    stream.push(inputs[:10])
    for shape in ((), (5,), (2, 5), (2, 6, 6)):
        with pytest.raises(OptionError, match=r"shape \(6,\) or \(n, 6\)"):
            stream.push(np.zeros(shape))
    with pytest.raises(OptionError, match="finite"):
        stream.push(np.full(6, np.nan))
    with pytest.raises(OptionError, match="finite"):
        stream.push(np.ma.masked_array(inputs[10], mask=[0, 0, 1, 0, 0, 0]))
    np.testing.assert_allclose(stream.push(inputs[10:]), batch(stream, inputs)[1:], atol=1e-5)
    assert stream.push(np.zeros((0, 6))).shape == (0, 3)


def test_what_cannot_stream_is_refused(ds: csp_data.Dataset) -> None:
    model = build("flat-lstm", in_dim=12, out_dim=3, dim=8)
    with pytest.raises(OptionError, match="causal"):
        Streamer(model, ds.normalization, deltas=True, lowpass=csp_data.LowPass(5.0, 3, "zero"))
    for inputs, targets in ((6, 3), (12, 2)):
        with pytest.raises(OptionError, match=f"{inputs} features and {targets} targets"):
            Streamer(build("flat-lstm", in_dim=inputs, out_dim=targets, dim=8), ds.normalization, deltas=True)
