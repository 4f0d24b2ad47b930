"""Initial weights, by their statistics; seeds are fixed, so a right initialisation cannot fail by chance."""

import pytest
import scipy.stats
import torch
from torch import nn

from baselines import build, param_groups
from baselines.layers import LSTMConfig, MambaConfig, S4Config, TransformerConfig, make_layer


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
    assert [g["name"] for g in param_groups(build("hiss-s4-s4", 4, 2, dim=4, layers=1), 0.1)] == ["base"]
