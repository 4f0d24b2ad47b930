"""Every layer against its naive reference, against itself step by step, and for causality."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.cpu import mamba as compiled
from baselines.errors import OptionError
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
from baselines.layers.dropout import Dropout, gated_linear
from baselines.layers.gru import gru_reference
from baselines.layers.lru import LRULayer, lru_reference
from baselines.layers.lstm import lstm_reference
from baselines.layers.mamba import CausalConv, MambaBlock, mamba_reference
from baselines.layers.mamba2 import Mamba2Block, mamba2_reference, ssd
from baselines.layers.s4 import S4Layer, s4_reference
from baselines.layers.s4d import S4DLayer, s4d_reference
from baselines.layers.tcn import tcn_reference
from baselines.layers.transformer import positional_encoding, transformer_reference

CONFIGS = {
    "lstm": LSTMConfig(dim=6, hidden=5, layers=2),
    "transformer": TransformerConfig(dim=6, layers=2, heads=3, feedforward=7),
    "transformer-window": TransformerConfig(dim=6, layers=2, heads=2, window=11),  # sees 21 steps
    "s4": S4Config(dim=6, layers=2, state=8),
    "s4-postnorm": S4Config(dim=6, layers=2, state=8, prenorm=False),
    "s4-truncated": S4Config(dim=6, layers=2, state=8, kernel="truncated", kernel_length=20),
    "mamba": MambaConfig(dim=6, layers=2, state=5),
    "mamba-wide": MambaConfig(dim=20, layers=1, state=3, expand=3, conv=2, dt_rank=4),
    "gru": GRUConfig(dim=6, hidden=5, layers=2),
    "tcn": TCNConfig(dim=6, layers=3),  # sees 29 samples
    "tcn-wide": TCNConfig(dim=6, layers=2, taps=8),
    "mamba2": Mamba2Config(dim=6, layers=2, state=5, heads=3, tile=8),
    "mamba2-one-tile": Mamba2Config(dim=6, layers=1, state=3, heads=12, conv=2, tile=64),
    "s4d": S4DConfig(dim=6, layers=2, state=8),
    "s4d-inv": S4DConfig(dim=6, layers=2, state=6, init="inv"),
    "lru": LRUConfig(dim=6, layers=2, state=8),
}


def make(key, seed=0):
    torch.manual_seed(seed)
    return make_layer(CONFIGS[key]).double().eval()


def inputs(layer_in, length, batch=2, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, length, layer_in, dtype=torch.float64, generator=generator)


def gradients(output, tensors):
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    return torch.autograd.grad((output * weights).sum(), tensors)


REFERENCES = {
    "lstm": (lambda: make("lstm"), lstm_reference),
    "transformer": (lambda: make("transformer"), transformer_reference),
    "transformer-window": (lambda: make("transformer-window"), transformer_reference),
    "s4": (lambda: S4Layer(CONFIGS["s4"]).double(), s4_reference),
    "s4-truncated": (lambda: S4Layer(CONFIGS["s4-truncated"]).double(), s4_reference),
    "mamba": (lambda: MambaBlock(CONFIGS["mamba"]).double(), mamba_reference),
    "mamba-wide": (lambda: MambaBlock(CONFIGS["mamba-wide"]).double(), mamba_reference),
    "gru": (lambda: make("gru"), gru_reference),
    "tcn": (lambda: make("tcn"), tcn_reference),
    "tcn-wide": (lambda: make("tcn-wide"), tcn_reference),
    "mamba2": (lambda: Mamba2Block(CONFIGS["mamba2"]).double(), mamba2_reference),
    "mamba2-one-tile": (lambda: Mamba2Block(CONFIGS["mamba2-one-tile"]).double(), mamba2_reference),
    "s4d": (lambda: S4DLayer(CONFIGS["s4d"]).double(), s4d_reference),
    "s4d-inv": (lambda: S4DLayer(CONFIGS["s4d-inv"]).double(), s4d_reference),
    "lru": (lambda: LRULayer(CONFIGS["lru"]).double(), lru_reference),
}


def test_every_kind_is_compared_with_its_reference():
    for named in (CONFIGS, REFERENCES):
        assert {CONFIGS[key].kind for key in named} == set(LAYERS)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("length", [1, 2, 7, 20, 33, 41])
@pytest.mark.parametrize("key", REFERENCES)
def test_equals_naive_reference(key, length, batch, as_trained):
    torch.manual_seed(0)
    factory, reference = REFERENCES[key]
    layer = as_trained(factory())
    x = inputs(CONFIGS[key].dim, length, batch).requires_grad_()
    ours, naive = layer(x), reference(layer, x)
    # the positional encoding is a float32 one; C is recovered from C~ by an ill-conditioned solve
    bound = {"transformer": 1e-5, "transformer-window": 1e-5, "s4-truncated": 1e-7}.get(key, 1e-10)
    torch.testing.assert_close(ours, naive, rtol=bound, atol=bound)
    tensors = [x, *layer.parameters()]
    for (name, _), a, b in zip(
        [("x", x), *layer.named_parameters()], gradients(ours, tensors), gradients(naive, tensors), strict=True
    ):
        scale = float(b.abs().max()) + 1e-30
        assert float((a - b).abs().max()) <= bound * scale + 1e-12, name


@pytest.mark.parametrize(
    "readout", [slice(0, None, 5), slice(4, None, 5), slice(9, 10), slice(3, None), slice(2, 8, 3)]
)
@pytest.mark.parametrize("length", [10, 40])
@pytest.mark.parametrize("key", CONFIGS)
def test_readout_is_a_selection(key, length, readout):
    layer = make(key)
    x = inputs(layer.in_dim, length)
    torch.testing.assert_close(layer(x, readout), layer(x)[:, readout], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("key", CONFIGS)
@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 45), batch=st.integers(1, 3))
def test_steps_equal_forward(key, length, batch, as_trained):
    layer = as_trained(make(key))
    x = inputs(layer.in_dim, length, batch)
    with torch.no_grad():
        state = layer.initial_state(batch, x.device, x.dtype)
        outputs = []
        for x_t in x.unbind(1):
            y_t, state = layer.step(x_t, state)
            outputs.append(y_t)
        torch.testing.assert_close(torch.stack(outputs, 1), layer(x), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("length", [12, 40])
@pytest.mark.parametrize("key", CONFIGS)
def test_causal(key, length):
    layer = make(key)
    x = inputs(layer.in_dim, length)
    changed = x.clone()
    changed[:, length // 2] = inputs(layer.in_dim, 1, seed=2)[:, 0]  # adding a constant would be normalised away
    with torch.no_grad():
        before, after = layer(x), layer(changed)
    difference = (before - after).abs().amax(dim=(0, 2))
    assert float(difference[: length // 2].max()) <= 1e-12
    assert float(difference[length // 2]) > 1e-6
    assert float(difference[-1]) > 1e-12, "what was seen is remembered"


@pytest.mark.parametrize("key", CONFIGS)
def test_lengths_leave_no_trace(key):
    layer = make(key)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    short, long = inputs(layer.in_dim, 10), inputs(layer.in_dim, 60)
    first = layer(short)
    layer(long)
    assert torch.equal(layer(short), first)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


@pytest.mark.parametrize("key", ["mamba2", "s4d", "lru"])
def test_long_sequences_in_float32(key):
    """Chunked sums, powers and phases keep float32's accuracy over minutes of samples."""
    layer = make(key)
    x = inputs(layer.in_dim, 12_001, batch=1)
    with torch.no_grad():
        exact = layer(x)
        rounded = layer.float()(x.float()).double()
    assert float((rounded - exact).abs().max()) <= 1e-4 * float(exact.abs().max())


@pytest.mark.parametrize("tile", [1, 3, 16, 41, 100])
def test_ssd_tiles_change_nothing(tile):
    torch.manual_seed(0)
    u, decay = torch.randn(2, 41, 3, 4, dtype=torch.float64), -torch.rand(2, 41, 3, dtype=torch.float64)
    b, c = torch.randn(2, 2, 41, 5, dtype=torch.float64)
    torch.testing.assert_close(ssd(u, decay, b, c, tile), ssd(u, decay, b, c, 41))
    steep = ssd(u, 200 * decay, b, c, tile)  # whole tiles are forgotten: exp underflows, and nothing becomes NaN
    torch.testing.assert_close(steep, ssd(u, 200 * decay, b, c, 1), atol=1e-12, rtol=1e-9)


def test_tcn_sees_its_receptive_field_and_no_more():
    layer = make("tcn-wide")
    assert layer.config.receptive_field == 43
    x = inputs(6, 60, batch=1).requires_grad_()
    (gradient,) = torch.autograd.grad(layer(x)[0, -1].sum(), x)
    seen = gradient[0].abs().sum(-1) > 0
    assert not seen[: 60 - 43].any()
    assert seen[60 - 43 :].any()


def test_positional_encoding_matches_the_formula():
    pe = positional_encoding(torch.arange(5), 4)
    expected = [
        [f(t / 10000 ** (2 * i / 4)) for i in (0, 1) for f in (torch.sin, torch.cos)] for t in torch.arange(5.0)
    ]
    torch.testing.assert_close(pe, torch.tensor(expected))


def test_transformer_blocks_start_equal_only_when_asked():
    for equal in (True, False):
        blocks = make_layer(TransformerConfig(dim=4, layers=2, equal_init=equal)).blocks
        assert torch.equal(blocks[0].qkv.weight, blocks[1].qkv.weight) == equal
        assert blocks[0].qkv.weight is not blocks[1].qkv.weight


@pytest.mark.parametrize(
    ("make_config", "match"),
    [
        (lambda: LSTMConfig(dim=0), "LSTMConfig.dim"),
        (lambda: LSTMConfig(layers=True), "LSTMConfig.layers"),
        (lambda: S4Config(dropout=1.0), "dropout"),
        (lambda: S4Config(state=7), "even"),
        (lambda: S4Config(kernel="short"), "'full' or 'truncated'"),
        (lambda: S4Config(kernel="truncated"), "kernel_length"),
        (lambda: S4Config(kernel_length=10), "kernel_length"),
        (lambda: S4Config(dt_min=0.2, dt_max=0.1), "dt_min"),
        (lambda: MambaConfig(dt_min=0.0), "dt_min"),
        (lambda: MambaConfig(conv=2.5), "MambaConfig.conv"),
        (lambda: TransformerConfig(dim=6, heads=4), "multiple"),
        (lambda: GRUConfig(hidden=0), "GRUConfig.hidden"),
        (lambda: TCNConfig(taps=0), "TCNConfig.taps"),
        (lambda: Mamba2Config(dim=6), "a divisor of expand \\* dim = 12"),
        (lambda: Mamba2Config(dt_max=0.0), "dt_min"),
        (lambda: S4DConfig(state=7), "even"),
        (lambda: S4DConfig(init="dss"), "'lin', 'inv' or 'legs'"),
        (lambda: S4DConfig(dt_min=-1.0), "dt_min"),
        (lambda: LRUConfig(r_max=1.0), "r_min"),
        (lambda: LRUConfig(max_phase=7.0), "max_phase"),
        (lambda: LRUConfig(r_min="low"), "LRUConfig.r_min='low': expected a finite number"),  # type: ignore[arg-type]
        (lambda: S4Config(prenorm="False"), "S4Config.prenorm='False': expected true or false"),  # type: ignore[arg-type]
        (lambda: S4Config(dt_min=None), "S4Config.dt_min=None"),  # type: ignore[arg-type]
        (lambda: S4DConfig(learning_rate=-0.001), "learning_rate=-0.001: expected a number above 0"),
        (lambda: TransformerConfig(equal_init=1), "equal_init=1"),  # type: ignore[arg-type]
        (lambda: MambaConfig(dt_max=float("inf")), "dt_max=inf"),
    ],
)
def test_configurations_out_of_bounds(make_config, match):
    with pytest.raises(OptionError, match=match):
        make_config()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *((kind, {"dt_min": 0.01, "dt_max": 0.01}) for kind in ("s4", "s4d", "mamba", "mamba2")),
        ("lru", {"r_min": 0.0, "r_max": 1e-30}),  # moduli whose squares are zeros of float32
        ("lru", {"max_phase": 2 * math.pi}),
        ("mamba2", {"heads": 8}),
        ("transformer", {"heads": 4, "window": 1}),
        ("tcn", {"taps": 1}),
    ],
)
def test_configurations_at_their_bounds_learn(kind, options):
    torch.manual_seed(0)
    layer = make_layer(type(CONFIGS[kind])(**{"dim": 4, "layers": 1, **options})).train()
    y = layer(torch.randn(2, 7, 4))
    assert y.isfinite().all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(y.square().sum(), list(layer.parameters())))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("batch", "length", "channels", "width"),
    [(1, 1, 1, 1), (1, 1, 3, 4), (3, 10, 5, 4), (20, 17, 33, 4), (2, 50, 2, 20)],
)
def test_compiled_convolution_and_gate_of_mamba_equal_torchs(batch, length, channels, width, dtype):
    torch.manual_seed(0)
    conv = CausalConv(channels, width).to(dtype)
    xz = torch.randn(batch, length, 2 * channels, dtype=dtype, requires_grad=True)
    ours = compiled.convolved_and_gate(xz, conv.weight, conv.bias)
    inside, z = xz.chunk(2, dim=-1)
    plain = torch.nn.functional.silu(conv(inside)), torch.nn.functional.silu(z)
    weights = torch.randn(2, batch, length, channels, dtype=dtype)
    of = (xz, conv.weight, conv.bias)
    gradients = [torch.autograd.grad((torch.stack(y) * weights).sum(), of) for y in (ours, plain)]
    bound = 1e-4 if dtype == torch.float32 else 1e-11
    for a, b in zip((*ours, *gradients[0]), (*plain, *gradients[1]), strict=True):
        torch.testing.assert_close(a, b, rtol=bound, atol=bound * float(b.detach().abs().max()))


class TestDropout:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
    def test_share_scale_and_independence(self, p, dtype):
        torch.manual_seed(0)
        n = 200_000
        layer = Dropout(p)
        masks = [(layer(torch.ones(n, dtype=dtype)) == 0).double() for _ in range(3)]
        sigma = (p * (1 - p) / n) ** 0.5
        for mask in masks:
            assert abs(float(mask.mean()) - p) < 5 * sigma
        pairs = [(masks[0], masks[1]), (masks[1], masks[2])]
        pairs += [(masks[0][lag:], masks[0][:-lag]) for lag in (1, 2, 3, 64, 256, 4096)]
        for a, b in pairs:
            correlation = float(((a - p) * (b - p)).mean()) / (p * (1 - p))
            assert abs(correlation) < 5 / n**0.5
        kept = layer(torch.full((100,), 3.0, dtype=dtype))
        assert set(kept.unique().tolist()) <= {0.0, float(torch.tensor(3.0, dtype=dtype) * (1 / (1 - p)))}

    def test_gradient_has_the_same_mask_and_the_seed_rules(self):
        layer = Dropout(0.5)
        x = torch.randn(7, 33, requires_grad=True)
        torch.manual_seed(3)
        y = layer(x)
        (gradient,) = torch.autograd.grad(y.sum(), x)
        torch.testing.assert_close(y, x * gradient)
        torch.manual_seed(3)
        assert torch.equal(layer(x), y)
        assert not torch.equal(layer(x), y)

    def test_off_in_evaluation(self):
        x = torch.randn(5)
        assert torch.equal(Dropout(0.5).eval()(x), x)


class TestGatedLinear:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize(
        ("shape", "p"), [((3, 5, 7), 0.4), ((2, 33), 0.0), ((1, 1, 1), 0.1), ((2, 2000, 2), 0.1)]
    )
    def test_one_pass_equals_torchs(self, shape, p, dtype):
        torch.manual_seed(0)
        x = torch.randn(*shape, dtype=dtype, requires_grad=True)
        g = torch.randn(*shape[:-1], 3, dtype=dtype, requires_grad=True)
        linear = torch.nn.Linear(3, 2 * shape[-1], dtype=dtype)
        weights = torch.randn(*shape, dtype=dtype)
        torch.manual_seed(1)
        ours = gated_linear(x, g, linear, Dropout(p))
        gated = torch.nn.functional.glu(linear(g), dim=-1)
        torch.manual_seed(1)
        plain = x + gated * Dropout(p)(torch.ones_like(gated))  # the same mask: it depends on seed and place alone
        torch.testing.assert_close(ours, plain)
        of = (x, g, linear.weight, linear.bias)
        gradients = [torch.autograd.grad((y * weights).sum(), of) for y in (ours, plain)]
        bound = 1e-4 if dtype == torch.float32 else 1e-11
        for a, b in zip(*gradients, strict=True):
            torch.testing.assert_close(a, b, rtol=bound, atol=bound * float(b.abs().max()))

    def test_far_gates_neither_overflow_nor_vanish(self):
        linear = torch.nn.Linear(1, 4)
        torch.nn.init.zeros_(linear.weight)
        linear.bias.data = torch.tensor([1.0, 1.0, 100.0, -100.0])
        y = gated_linear(torch.zeros(1, 2), torch.ones(1, 1), linear, Dropout(0.1).eval())
        torch.testing.assert_close(y, torch.tensor([[1.0, 0.0]]))
        gradients = torch.autograd.grad(y.sum(), (linear.weight, linear.bias))
        assert all(torch.isfinite(g).all() for g in gradients)
