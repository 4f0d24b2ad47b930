"""Beyond the published hierarchy: learned readouts of the chunk, overlapping chunks, chunks of chunks."""

import json
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines import build, build_from_config, config_from_dict, config_to_dict, presets_of
from baselines.errors import OptionError, UnknownNameError
from baselines.layers import MambaConfig, S4Config, make_layer
from baselines.layers.chunks import Chunks
from baselines.layers.pooling import POOLS, make_pool
from baselines.layers.projected import Projected

OPTIONS = {
    "linear": ("hiss-s4-mamba", {"readout": "linear"}),
    "attention": ("hiss-lru-gru", {"readout": "attention"}),
    "overlap": ("hiss-s4-lstm", {"overlap": 3}),
    "long-overlap": ("hiss-gru-s4d", {"overlap": 14, "readout": "attention"}),
    "three": ("hiss-s4-tcn-mamba", {"subchunk": 2}),
    "three-all": ("hiss-mamba2-lstm-transformer", {"subchunk": 3, "overlap": 4, "readout": "linear"}),
}


def make(key, chunk=6, **more):
    torch.manual_seed(0)
    name, options = OPTIONS[key]
    model = build(name, 3, 2, chunk=chunk, dim=4, layers=2, **(options | more)).double().eval()
    for parameter in model.pools.parameters():  # away from the start, where they are the last output or the mean
        torch.nn.init.normal_(parameter)
    return model


def inputs(length, batch=2, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, length, 3, dtype=torch.float64, generator=generator)


def stream(model, x):
    state, outputs = model.initial_state(len(x), dtype=x.dtype), []
    for t, x_t in enumerate(x.unbind(1)):
        y_t, state = model.step(x_t, state)
        assert (y_t is not None) == ((t + 1) % model.config.chunk == 0)
        outputs += [] if y_t is None else [y_t]
    return torch.stack(outputs, 1)


@pytest.mark.parametrize("key", OPTIONS)
def test_shapes_and_gradients(key):
    model = make(key)
    y = model(inputs(24, batch=3))
    assert y.shape == (3, 4, 2)
    y.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("key", OPTIONS)
@settings(max_examples=8, deadline=None)
@given(chunks=st.integers(1, 5), chunk=st.sampled_from([6, 12]), batch=st.integers(1, 3))
def test_steps_equal_forward(key, chunks, chunk, batch):
    model = make(key, chunk)
    x = inputs(chunks * chunk, batch)
    with torch.no_grad():
        torch.testing.assert_close(stream(model, x), model(x), rtol=1e-8, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(chunk=st.integers(1, 7), overlap=st.integers(0, 20), readout=st.sampled_from(sorted(POOLS)))
def test_any_overlap_streams(chunk, overlap, readout):
    model = make("overlap", chunk, overlap=overlap, readout=readout)
    x = inputs(4 * chunk, 1)
    with torch.no_grad():
        torch.testing.assert_close(stream(model, x), model(x), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("key", OPTIONS)
def test_output_k_sees_to_the_end_of_chunk_k_and_no_further(key):
    model = make(key)
    x = inputs(30)
    with torch.no_grad():
        before = model(x)
        for t in (5, 6, 11, 20):
            changed = x.clone()
            changed[:, t] = inputs(1, seed=2)[:, 0]
            difference = (model(changed) - before).abs().amax(dim=(0, 2))
            assert (difference[: t // 6] <= 1e-12).all()
            assert difference[t // 6] > 1e-9


@pytest.mark.parametrize(("overlap", "chunk"), [(0, 4), (3, 4), (4, 4), (9, 4), (2, 1)])
@pytest.mark.parametrize("readout", POOLS)
def test_windows_one_by_one(readout, overlap, chunk):
    """Each feature is that of its window alone, cut out by hand."""
    torch.manual_seed(0)
    level = Projected(3, make_layer(MambaConfig(dim=4, layers=1)), 5).double()
    cut = Chunks(chunk, overlap)
    pool = make_pool(readout, cut.window, 4).double()
    for parameter in pool.parameters():
        torch.nn.init.normal_(parameter)
    x = inputs(5 * chunk)
    features = cut.encode(level, pool, x)
    assert features.shape == (2, 5, 5)
    padded = torch.cat((torch.zeros(2, overlap, 3, dtype=x.dtype), x), dim=1)
    for k in range(5):
        h = level.layer(level.embed(padded[:, k * chunk : k * chunk + cut.window]))
        if readout == "last":
            pooled = h[:, -1]
        elif readout == "linear":
            pooled = sum(pool.weight[j] * h[:, j] for j in range(cut.window))
        else:
            weights = [torch.exp(h[:, j] @ pool.query / 2 + pool.bias[j])[:, None] for j in range(cut.window)]
            pooled = sum(w * h[:, j] for j, w in enumerate(weights)) / sum(weights)
        torch.testing.assert_close(features[:, k], level.decoder(pooled))


def test_three_levels_are_a_level_inside_a_level():
    model = make("three", chunk=6)
    x = inputs(24)
    low = model.low(x.reshape(-1, 2, 3))[:, -1].reshape(2, 12, -1)
    mid = model.mid(low.reshape(-1, 3, low.shape[-1]))[:, -1].reshape(2, 4, -1)
    torch.testing.assert_close(model(x), model.output(model.high(mid)))


def test_defaults_are_the_published_model():
    torch.manual_seed(0)
    plain = build("hiss-s4-mamba", 3, 2, dim=4, layers=1).double().eval()
    torch.manual_seed(0)
    named = build("hiss-s4-mamba", 3, 2, dim=4, layers=1, readout="last", overlap=0).double().eval()
    x = inputs(20)
    features = plain.low(x.reshape(-1, 10, 3))[:, -1].reshape(2, 2, -1)
    assert torch.equal(plain(x), named(x))
    torch.testing.assert_close(plain(x), plain.output(plain.high(features)))
    assert not list(plain.pools.parameters())
    # a learned linear readout starts as the last output, so training departs from the published model
    torch.manual_seed(0)
    linear = build("hiss-s4-mamba", 3, 2, dim=4, layers=1, readout="linear").double().eval()
    torch.testing.assert_close(linear(x), plain(x))


def test_attention_starts_as_the_mean_and_large_scores_stay_finite():
    pool = make_pool("attention", 4, 3).double()
    h = torch.randn(2, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(pool(h), h.mean(1))
    with torch.no_grad():
        pool.query.copy_(torch.tensor([1e4, 0.0, 0.0]))
        state = pool.initial_state(2, h.device, h.dtype)
        for j in range(4):
            state = pool.step(h[:, j], j, state)
        torch.testing.assert_close(pool.result(state), pool(h))
        assert torch.isfinite(pool(h)).all()


@pytest.mark.parametrize("key", OPTIONS)
def test_configuration_and_state_can_be_kept(key):
    model = make(key)
    plain = json.loads(json.dumps(config_to_dict(model.config)))
    assert config_from_dict(plain) == model.config
    twin = build_from_config(plain).double().eval()
    twin.load_state_dict(model.state_dict())
    x = inputs(12)
    with torch.no_grad():
        state = model.initial_state(2, dtype=x.dtype)
        for x_t in x[:, :8].unbind(1):
            _, state = model.step(x_t, state)
        state = pickle.loads(pickle.dumps(state))
        for x_t in x[:, 8:].unbind(1):
            y, state = twin.step(x_t, state)
        torch.testing.assert_close(y, model(x)[:, -1])


def test_configurations_stored_before_there_were_options_still_load():
    plain = config_to_dict(build("hiss-s4-mamba", 3, 2, dim=4, layers=1).config)
    for later in ("readout", "overlap", "mid", "subchunk"):
        del plain[later]
    assert config_from_dict(plain) == build("hiss-s4-mamba", 3, 2, dim=4, layers=1).config


def test_names_and_defaults_of_three_levels():
    assert presets_of("hiss-s4-gru-lru") == ["small"]
    model = build("hiss-s4-gru-lru", 12, 3, preset="small", mid_hidden=24)
    assert model.config.name == "hiss-s4-gru-lru"
    assert model.config.mid.hidden == 24
    assert model.config.subchunk == 5
    assert [build("hiss-s4-s4-s4", 3, 2, chunk=c, dim=2, layers=1).config.subchunk for c in (1, 7, 12)] == [
        1,
        7,
        4,
    ]
    config = build(
        "hiss-s4-s4-s4", 3, 2, dim=2, layers=1, overlap=3, low_kernel="truncated", mid_kernel="truncated"
    )
    assert (config.config.low.kernel_length, config.config.mid.kernel_length) == (8, 2)
    assert config.config.high == S4Config(dim=2, layers=1)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: build("hiss-s4-s4", 3, 2, overlap=-1), OptionError, "overlap=-1.*at least 0"),
        (lambda: build("hiss-s4-s4", 3, 2, overlap="3"), OptionError, "overlap='3'"),
        (lambda: build("flat-s4", 3, 2, overlap=2), OptionError, "0 for flat-s4"),
        (lambda: build("flat-s4", 3, 2, readout="attention"), OptionError, "'first' or 'last'"),
        (lambda: build("hiss-s4-s4", 3, 2, subchunk=5), OptionError, "only models with three levels"),
        (lambda: build("hiss-s4-s4-s4", 3, 2, subchunk=4), OptionError, "a divisor of the chunk of 10"),
        (lambda: build("hiss-s4-s4-s4", 3, 2, subchunk=0), OptionError, "subchunk=0"),
        (lambda: build("hiss-s4-s4-s4", 3, 2, chunk=0), OptionError, "chunk=0"),
        (lambda: build("hiss-s4-s4-s4", 3, 2, preset="paper"), UnknownNameError, "Known: small"),
        (
            lambda: build("hiss-s4-transformer-s4", 3, 2),
            UnknownNameError,
            "<low> and <mid> are lstm, s4, mamba, gru",
        ),
        (lambda: build("hiss-s4-s4-s4-s4", 3, 2), UnknownNameError, "no model 'hiss-s4-s4-s4-s4'"),
        (lambda: presets_of("flat-rnn"), UnknownNameError, "<kind> and <high> are lstm, transformer, s4"),
    ],
)
def test_bad_requests(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_param_groups_of_the_other_recurrences():
    from baselines import param_groups

    model = build("hiss-s4d-lru", 4, 2, dim=4, layers=2, low_learning_rate=1e-3, high_learning_rate=1e-3)
    groups = param_groups(model, lr=0.01)
    assert [(g["name"], g["lr"], len(g["params"])) for g in groups[1:]] == [("s4d", 1e-3, 6), ("lru", 1e-3, 6)]
    grouped = [p for group in groups for p in group["params"]]
    assert sorted(map(id, grouped)) == sorted(map(id, model.parameters()))
