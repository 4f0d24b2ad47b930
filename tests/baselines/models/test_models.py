"""The contract of all models, the one way in, and what bad input gets."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines import (
    ALL_MODELS,
    MODELS,
    PRESETS,
    FlatModel,
    HierarchicalModel,
    ModelError,
    build,
    build_from_config,
    config_from_dict,
    config_to_dict,
)
from baselines.errors import OptionError, UnknownNameError
from baselines.layers import LAYERS

GOLDEN = Path(__file__).parents[2] / "data" / "models" / "own_models.npz"
NEW_KINDS = tuple(kind for kind in LAYERS if kind not in ("lstm", "transformer", "s4", "mamba"))
# each new kind flat, on both levels, and on either level beside a published kind
SOME = [
    *MODELS,
    *(f"flat-{kind}" for kind in NEW_KINDS),
    *(f"hiss-{kind}-{kind}" for kind in NEW_KINDS),
    *("hiss-gru-transformer", "hiss-tcn-lstm", "hiss-mamba2-s4", "hiss-s4d-mamba", "hiss-lru-s4"),
    *("hiss-lstm-gru", "hiss-s4-tcn", "hiss-mamba-mamba2", "hiss-s4-s4d", "hiss-mamba-lru"),
]
CASES = [(name, readout) for name in SOME for readout in ("first", "last") if name[0] == "f" or readout == "last"]


def small(name, chunk=5, **options):
    torch.manual_seed(0)
    return build(name, 3, 2, chunk=chunk, dim=4, layers=2, **options).double().eval()


def inputs(length, batch=2, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, length, 3, dtype=torch.float64, generator=generator)


def test_names():
    assert len(MODELS) == 16
    kinds = ("lstm", "transformer", "s4", "mamba")
    assert set(MODELS) == {f"flat-{k}" for k in kinds} | {
        f"hiss-{low}-{high}" for low in ("lstm", "s4", "mamba") for high in kinds
    }
    every = (*kinds, *NEW_KINDS)
    assert ALL_MODELS[:16] == MODELS
    assert len(ALL_MODELS) == len(set(ALL_MODELS))
    assert set(ALL_MODELS) == {f"flat-{k}" for k in every} | {
        f"hiss-{low}-{high}" for low in every if low != "transformer" for high in every
    }


@pytest.mark.parametrize("family", ["flat", *(f"hiss-{k}" for k in ("lstm", "s4", "mamba", *NEW_KINDS))])
def test_every_small_model_runs_and_is_small(family):
    names = [name for name in ALL_MODELS if name.rpartition("-")[0] == family]
    assert len(names) == len(LAYERS)
    for name in names:
        model = build(name, 12, 3, preset="small")
        assert model.config.name == name
        assert sum(p.numel() for p in model.parameters()) <= 102_000
        assert model(torch.zeros(1, 20, 12)).shape == (1, 2, 3)


@pytest.mark.parametrize("name", SOME)
def test_shapes_gradients_and_batches(name):
    model = small(name)
    x = inputs(40, batch=3)
    y = model(x)
    assert y.shape == (3, 8, 2)
    torch.testing.assert_close(torch.cat([model(episode[None]) for episode in x]), y)
    y.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize(("name", "readout"), CASES)
@settings(max_examples=10, deadline=None)
@given(chunks=st.integers(1, 9), chunk=st.sampled_from([1, 2, 5, 10]), batch=st.integers(1, 3))
def test_steps_equal_forward(name, readout, chunks, chunk, batch):
    model = small(name, chunk, readout=readout)
    x = inputs(chunks * chunk, batch)
    due = 0 if readout == "first" else chunk - 1
    with torch.no_grad():
        state, outputs = model.initial_state(batch, dtype=torch.float64), []
        for t, x_t in enumerate(x.unbind(1)):
            y_t, state = model.step(x_t, state)
            assert (y_t is not None) == (t % chunk == due)
            outputs += [] if y_t is None else [y_t]
        torch.testing.assert_close(torch.stack(outputs, 1), model(x), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(("name", "readout"), CASES)
def test_output_k_sees_its_chunk_up_to_the_readout_and_nothing_later(name, readout):
    model = small(name, readout=readout)
    x = inputs(40)
    with torch.no_grad():
        before = model(x)
        for t in (9, 10, 22):
            changed = x.clone()
            changed[:, t] = inputs(1, seed=2)[:, 0]
            difference = (model(changed) - before).abs().amax(dim=(0, 2))
            first_seen = t // 5 if readout == "last" or t % 5 == 0 else t // 5 + 1
            assert difference[:first_seen].max() <= 1e-12 if first_seen else True
            assert difference[first_seen] > 1e-9


@pytest.mark.parametrize("name", [name for name in SOME if name.startswith("flat")])
def test_flat_readouts_are_samples_of_the_full_rate(name):
    first, last = small(name, readout="first"), small(name, readout="last")
    x = inputs(40)
    torch.testing.assert_close(first(x), first.at_input_rate(x)[:, ::5])
    torch.testing.assert_close(last(x), first.at_input_rate(x)[:, 4::5])
    assert last.at_input_rate(inputs(7)).shape == (2, 7, 2)


@pytest.mark.parametrize("name", SOME)
def test_configuration_survives_json(name):
    for preset in (None, *PRESETS[name]):
        options = {"dim": 4, "layers": 2} if preset is None else {}
        model = build(name, 6, 3, preset=preset, chunk=5, **options)
        plain = json.loads(json.dumps(config_to_dict(model.config)))
        assert config_from_dict(plain) == model.config
        twin = build_from_config(plain)
        twin.load_state_dict(model.state_dict())
        assert twin.config.name == name
        assert type(twin) is type(model)


@pytest.mark.parametrize("name", MODELS)
def test_own_golden_values(name):
    """Weights, inputs and results stored when the models agreed with the published ones (see scripts/)."""
    data = np.load(GOLDEN)
    stored = {k.removeprefix(f"{name}/"): data[k] for k in data.files if k.startswith(f"{name}/")}
    model = build_from_config(json.loads(str(stored.pop("config")))).double().eval()
    y, dx = stored.pop("y"), stored.pop("dx")
    model.load_state_dict({k: torch.from_numpy(v).double() for k, v in stored.items()})
    x = torch.from_numpy(data["x"]).double().requires_grad_()
    ours = model(x)
    ours.square().sum().backward()
    np.testing.assert_allclose(ours.detach().numpy(), y, rtol=1e-6, atol=1e-7 * np.abs(y).max())
    np.testing.assert_allclose(x.grad.numpy(), dx, rtol=1e-6, atol=1e-7 * np.abs(dx).max())


def test_flat_models_of_the_published_sizes_answer_where_the_published_ones_do():
    answers = {
        (name, preset): build(name, 6, 3, preset=preset).config.readout
        for name in MODELS
        for preset in PRESETS[name]
    }
    assert {preset for (name, preset), at in answers.items() if at == "first"} == {"paper"}
    assert {name.split("-")[0] for (name, _), at in answers.items() if at == "first"} == {"flat"}
    assert all(at == "first" for (name, preset), at in answers.items() if (name[:4], preset) == ("flat", "paper"))
    assert build("flat-s4", 6, 3, preset="paper", readout="last").config.readout == "last"


def test_overrides_reach_their_level():
    config = build(
        "hiss-s4-lstm", 3, 2, dim=8, low_dim=12, layers=1, high_layers=3, hidden=5, low_kernel="truncated"
    ).config
    assert (config.low.dim, config.high.dim) == (12, 8)
    assert (config.low.layers, config.high.layers) == (1, 3)
    assert config.high.hidden == 5
    assert config.low.kernel_length == config.chunk == 10
    config = build("hiss-s4-mamba", 60, 2, preset="marker", low_dropout=0.0, chunk=20).config
    assert (config.low.dim, config.low.layers, config.high.dim) == (256, 6, 128)
    assert (config.low.dropout, config.low.kernel_length) == (0.0, 20)
    whole = build("hiss-s4-mamba", 60, 2, preset="marker", low_dropout=0, chunk=20).config
    assert json.dumps(config_to_dict(whole)) == json.dumps(config_to_dict(config))  # one model has one key


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (
            lambda: build("hiss-s4-mambo", 3, 2),
            UnknownNameError,
            "mean 'hiss-s4-mamba'.*Known: flat-<kind>, hiss-<low>-<",
        ),
        (lambda: build("hiss-transformer-s4", 3, 2), UnknownNameError, "no model 'hiss-transformer-s4'"),
        (
            lambda: build("hiss-s4-mamba", 3, 2, preset="ronin"),
            UnknownNameError,
            "preset 'ronin' of hiss-s4-mamba",
        ),
        (lambda: build("flat-s4", 3, 2, layer=2), UnknownNameError, "mean 'layers'"),
        (lambda: build("flat-s4", 3, 2, low_dim=2), UnknownNameError, "option 'low_dim' of flat-s4"),
        (lambda: build("flat-s4", 3, 2, readout="middle"), OptionError, "'first' or 'last'"),
        (
            lambda: build("hiss-s4-s4", 3, 2, readout="first"),
            OptionError,
            "'last', 'linear' or 'attention' for hiss-s4-s4",
        ),
        (lambda: build("flat-s4", 0, 2), OptionError, "FlatConfig.in_dim"),
        (lambda: build("flat-s4", True, 2), OptionError, "FlatConfig.in_dim=True: expected a whole number"),
        (lambda: build("flat-s4", 3, 2, dropout="0.1"), OptionError, "S4Config.dropout='0.1': expected a finite"),
        (lambda: build("flat-s4", 3, 2, dropout=True), OptionError, "S4Config.dropout=True: expected a finite"),
        (
            lambda: build("flat-s4", 3, 2, learning_rate=0),
            OptionError,
            "learning_rate=0: expected a number above 0",
        ),
        (lambda: build("hiss-s4-s4", 3, 2, chunk=0), OptionError, "chunk=0: expected"),
        (lambda: config_from_dict({"family": "round"}), UnknownNameError, "model family 'round'"),
        (lambda: config_from_dict({}), ModelError, "'family'"),
        (lambda: config_to_dict(small("flat-s4")), ModelError, r"model\.config, got FlatModel"),
        (lambda: build_from_config(small("flat-s4")), ModelError, r"model\.config, got FlatModel"),
        (lambda: build_from_config("flat-s4"), ModelError, r"model\.config, got str"),
        (lambda: FlatModel("flat-s4"), ModelError, r"a FlatConfig, got str\. baselines\.build makes"),
        (lambda: FlatModel(small("hiss-s4-s4").config), ModelError, "a FlatConfig, got HierarchicalConfig"),
        (lambda: HierarchicalModel(small("flat-s4").config), ModelError, "a HierarchicalConfig, got FlatConfig"),
        (lambda: config_from_dict({"family": "flat", "layer": {"kind": "rnn"}}), UnknownNameError, "layer kind"),
        (lambda: config_from_dict({"family": "flat", "in_dim": 3}), ModelError, "missing.*out_dim"),
        (
            lambda: config_from_dict({"family": "flat", "layer": {"kind": "s4", "width": 3}}),
            UnknownNameError,
            "entry 'width' in the configuration of a s4 layer",
        ),
    ],
)
def test_bad_requests(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_sizes_of_numpy_make_the_same_model():
    sizes = {"low_dim": 8, "high_dim": 8, "chunk": 5, "overlap": 2, "low_dropout": 0.5}
    plain = build("hiss-s4-mamba", 3, 2, **sizes).config
    numpy = build(
        "hiss-s4-mamba", np.int64(3), np.int32(2), **{k: np.array(v)[()] for k, v in sizes.items()}
    ).config
    assert numpy == plain
    assert json.dumps(config_to_dict(numpy)) == json.dumps(config_to_dict(plain))


@pytest.mark.parametrize("name", ["flat-s4", "hiss-lstm-lstm"])
def test_bad_inputs(name):
    model = small(name)
    with pytest.raises(
        ModelError, match=rf"{name}: expected a length.*chunk of 5 samples, got 12. Cut to 10 or pad to 15"
    ):
        model(inputs(12))
    with pytest.raises(ModelError, match="positive multiple"):
        model(inputs(0))
    with pytest.raises(ModelError, match=r"\(batch, length, 3\), got \(2, 10, 2\)"):
        model(inputs(10)[..., :2])
    with pytest.raises(ModelError, match=r"\(batch, length, 3\), got \(10, 3\)"):
        model(inputs(10)[0])
    with pytest.raises(ModelError, match=r"got \(0, 10, 3\)\. A batch has at least one sequence"):
        model(inputs(10)[:0])
    with pytest.raises(ModelError, match=r"got 3\. Pad to 5 samples"):
        model(inputs(3))
    state = model.initial_state(dtype=torch.float64)
    for wrong, said in (
        (inputs(10).numpy(), r"expected a tensor, got ndarray\. torch\.as_tensor"),
        (inputs(10).float(), r"expected values of torch\.float64, .*got torch\.float32\. x\.to\(torch\.float64\)"),
    ):
        with pytest.raises(ModelError, match=said):
            model(wrong)
        with pytest.raises(ModelError, match=said):
            model.step(wrong[:, 0], state)
    with torch.autocast("cpu", torch.bfloat16):
        assert model.float()(inputs(10).bfloat16()).isfinite().all(), "which casts them itself"
    model.double()
    x = inputs(10)
    x[1, 7, 2] = float("nan")
    x[1, 8, 0] = float("inf")
    with pytest.raises(ModelError, match=r"2 input values are not finite, the first at .* = \(1, 7, 2\)"):
        model(x)
    for sample, shape in ((x[:1, 0, :2], r"\(1, 2\)"), (x[0, 0], r"\(3,\)")):
        with pytest.raises(ModelError, match=rf"a sample of shape \(batch, 3\), got {shape}"):
            model.step(sample, model.initial_state(dtype=torch.float64))
    assert model(torch.full((1, 10, 3), 1e308, dtype=torch.float64)).shape == (1, 2, 2), (
        "finite, though its sum is not"
    )


def test_same_seed_same_model():
    first, second = (small("hiss-s4-mamba").state_dict() for _ in range(2))
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_compiled_loops_survive_a_fork():
    """A data loader's or a sweep's child process has none of its parent's threads."""
    code = (
        "import os, torch; from baselines import build\n"
        "torch.set_num_threads(2)\n"
        "model = build('hiss-s4-mamba', 3, 2, dim=4, layers=1).eval()\n"
        "x = torch.ones(1, 40, 3)\n"
        "y = model.low(x)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    torch.set_num_threads(1); ok = torch.allclose(model.low(x), y); os._exit(0 if ok else 1)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=120)
