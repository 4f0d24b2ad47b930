"""Initial weights, by their statistics; seeds are fixed, so a right initialisation cannot fail by chance."""

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

from baselines import build, param_groups
from baselines.layers import (
    LAYERS,
    GRUConfig,
    LRUConfig,
    LSTMConfig,
    Mamba2Config,
    MambaConfig,
    S4Config,
    S4DConfig,
    TCNConfig,
    TransformerConfig,
    make_layer,
)


def assert_distributed(sample, distribution):
    assert scipy.stats.kstest(sample.detach().flatten().double().numpy(), distribution.cdf).pvalue > 1e-5


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def uniform(bound):
    return scipy.stats.uniform(-bound, 2 * bound)


@pytest.mark.parametrize("options", [{}, {"kernel": "truncated", "kernel_length": 10}])
def test_s4(options):
    block = make_layer(S4Config(dim=400, layers=1, **options)).blocks[0]
    layer = block.layer
    low, high = torch.log(torch.tensor([0.001, 0.1])).tolist()
    assert_distributed(layer.log_dt, scipy.stats.uniform(low, high - low))
    assert_distributed(layer.d, scipy.stats.norm())
    torch.testing.assert_close(layer.log_lam_real, torch.full_like(layer.log_lam_real, 0.5).log())
    # the fastest LegS mode of 64 states turns at about n^2 / pi; all channels start alike
    assert layer.lam_imag[0, 0].item() == pytest.approx(64**2 / torch.pi, rel=1e-3)
    assert layer.lam_imag.min().item() > 0
    assert torch.equal(layer.lam_imag, layer.lam_imag[:1].expand_as(layer.lam_imag))
    if not options:
        assert_distributed(layer.c, scipy.stats.norm(scale=0.5**0.5))
    assert_distributed(block.linear.weight, uniform(400**-0.5))
    assert torch.equal(block.norm.weight, torch.ones(400))


def test_mamba():
    config = MambaConfig(dim=200, layers=1)
    block = make_layer(config).blocks[0]
    torch.testing.assert_close(block.a_log.exp(), torch.arange(1.0, 17).expand(400, 16))
    assert torch.equal(block.d, torch.ones(400))
    low, high = torch.log(torch.tensor([0.001, 0.1])).tolist()
    assert_distributed(nn.functional.softplus(block.dt_proj.bias).log(), scipy.stats.uniform(low, high - low))
    assert config.rank == 13
    assert_distributed(block.dt_proj.weight, uniform(13**-0.5))
    assert_distributed(block.conv.weight, uniform(4**-0.5))
    assert_distributed(block.conv.bias, uniform(4**-0.5))
    for linear, fan_in in ((block.in_proj, 200), (block.x_proj, 400), (block.out_proj, 400)):
        assert linear.bias is None
        assert_distributed(linear.weight, uniform(fan_in**-0.5))


def test_lstm():
    for parameter in make_layer(LSTMConfig(dim=50, hidden=100, layers=2)).parameters():
        assert_distributed(parameter, uniform(100**-0.5))


def test_transformer():
    block = make_layer(TransformerConfig(dim=100, layers=1, feedforward=50)).blocks[0]
    assert_distributed(block.qkv.weight, uniform((6 / 400) ** 0.5))
    assert not block.qkv.bias.any()
    assert not block.out.bias.any()
    assert_distributed(block.up.weight, uniform(0.1))
    assert_distributed(block.down.weight, uniform(50**-0.5))


def test_gru():
    for parameter in make_layer(GRUConfig(dim=50, hidden=100, layers=2)).parameters():
        assert_distributed(parameter, uniform(100**-0.5))


def test_tcn():
    conv = make_layer(TCNConfig(dim=50, layers=1, taps=4)).blocks[0].conv2
    assert_distributed(conv.v, scipy.stats.norm(scale=(2 / 200) ** 0.5))
    torch.testing.assert_close(conv.weight(), conv.v)
    assert not conv.bias.any()
    # He's variance: the second moment of a deep ReLU network's signal stays
    x = torch.randn(20, 60, 50).relu()
    ratio = float(conv(x).detach().square().mean() / x.square().mean())
    assert ratio == pytest.approx(2.0, rel=0.2)  # a ReLU after it halves it


def test_mamba2():
    block = make_layer(Mamba2Config(dim=200, layers=1, heads=400)).blocks[0]
    low, high = torch.log(torch.tensor([0.001, 0.1])).tolist()
    assert_distributed(nn.functional.softplus(block.dt_bias).log(), scipy.stats.uniform(low, high - low))
    assert_distributed(block.a_log.exp(), scipy.stats.uniform(1, 15))
    assert torch.equal(block.d, torch.ones(400))
    assert_distributed(block.conv.weight, uniform(4**-0.5))
    assert_distributed(block.in_proj.weight, uniform(200**-0.5))
    assert_distributed(block.out_proj.weight, uniform(400**-0.5))
    assert block.in_proj.bias is None
    assert block.out_proj.bias is None


@pytest.mark.parametrize(
    ("init", "slowest", "fastest"),
    [("lin", 0.0, np.pi * 31), ("inv", 64 / np.pi / 63, 64 / np.pi * 63), ("legs", None, 64**2 / np.pi)],
)
def test_s4d(init, slowest, fastest):
    layer = make_layer(S4DConfig(dim=400, layers=1, init=init)).blocks[0].layer
    low, high = torch.log(torch.tensor([0.001, 0.1])).tolist()
    assert_distributed(layer.log_dt, scipy.stats.uniform(low, high - low))
    torch.testing.assert_close(layer.log_a_real.exp(), torch.full((400, 32), 0.5))
    assert layer.a_imag.max().item() == pytest.approx(fastest, rel=1e-3)
    if slowest is not None:
        assert layer.a_imag.min().item() == pytest.approx(slowest, rel=1e-5)
    assert torch.equal(layer.a_imag, layer.a_imag[:1].expand_as(layer.a_imag))
    assert_distributed(layer.c, scipy.stats.norm(scale=0.5**0.5))
    assert_distributed(layer.d, scipy.stats.norm())


def test_lru():
    config = LRUConfig(dim=60, layers=1, state=2000, r_min=0.6, r_max=0.99, max_phase=2.0)
    layer = make_layer(config).blocks[0].layer
    lam = layer.coefficients()[0].detach()
    # uniform on the ring's area: the squared modulus is uniform, and so is the phase (lemma 3.2)
    assert_distributed(lam.abs().square(), scipy.stats.uniform(0.6**2, 0.99**2 - 0.6**2))
    assert_distributed(lam.angle(), scipy.stats.uniform(0, 2.0))
    torch.testing.assert_close(layer.gamma_log.exp().square(), 1 - lam.abs().square(), rtol=1e-4, atol=1e-5)
    assert_distributed(layer.b, scipy.stats.norm(scale=120**-0.5))
    assert_distributed(layer.c, scipy.stats.norm(scale=2000**-0.5))
    # the normalisation does what it is for: white noise gives every mode the variance of B u, here 1
    x = layer.scan(torch.complex(*(torch.randn(4, 700, 60) @ layer.maps()[0]).chunk(2, dim=-1)))[:, 300:]
    assert float(x.detach().abs().square().mean()) == pytest.approx(1.0, rel=0.05)


def test_param_groups():
    model = build("hiss-s4-s4", 4, 2, dim=4, layers=2, low_learning_rate=1e-3, high_learning_rate=1e-4)
    base, low, high = param_groups(model, lr=0.01)
    assert (base["lr"], low["lr"], high["lr"]) == (0.01, 1e-3, 1e-4)
    assert low["weight_decay"] == high["weight_decay"] == 0.0
    assert len(low["params"]) == len(high["params"]) == 2 * 5
    grouped = [p for group in (base, low, high) for p in group["params"]]
    assert {id(p) for p in grouped} == {id(p) for p in model.parameters()}
    assert len(grouped) == len(list(model.parameters()))
    torch.optim.Adam([base, low, high])
    default = torch.optim.Adam(param_groups(model), lr=0.02)  # the optimiser's rate holds for the rest
    assert [group["lr"] for group in default.param_groups] == [0.02, 1e-3, 1e-4]
    assert [g["name"] for g in (base, low, high)] == ["base", "s4", "s4"]
    assert [g["name"] for g in param_groups(build("hiss-s4-s4", 4, 2, dim=4, layers=1), 0.1)] == ["base"]


@pytest.mark.parametrize(
    "kind", [kind for kind, (config, _) in LAYERS.items() if hasattr(config, "learning_rate")]
)
def test_a_learning_rate_that_can_be_set_is_used(kind):
    groups = param_groups(build(f"flat-{kind}", 4, 2, dim=4, layers=2, learning_rate=1e-4), lr=0.1)
    assert [(group["name"], group["lr"]) for group in groups] == [("base", 0.1), (kind, 1e-4)]
    assert all(group["params"] for group in groups)
