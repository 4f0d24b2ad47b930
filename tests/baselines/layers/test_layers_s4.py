"""The state space inside S4: HiPPO, discretisation, kernels in both parametrisations, fast paths."""

import numpy as np
import pytest
import scipy.signal
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from baselines.cpu import s4 as s4_cpu
from baselines.cpu import s4_block as s4_block_cpu
from baselines.layers import exact
from baselines.layers import s4_kernel as ssm_math
from baselines.layers.dropout import Dropout
from baselines.layers.s4 import S4Block, S4Config, S4Layer, causal_convolution, fft_length, toeplitz_convolution
from baselines.layers.s4d import S4DConfig, S4DLayer
from baselines.training.step import numerics


def both_halves(t):
    return torch.cat((t, t.conj()), dim=-1)


def make_layer(state=8, dim=3, dtype=torch.float64, **options):
    torch.manual_seed(0)
    return S4Layer(S4Config(dim=dim, state=state, **options)).to(dtype)


@pytest.mark.parametrize("n", [2, 4, 8, 12])
def test_hippo_is_the_legs_matrix_in_another_basis(n):
    """LegS is triangular with the diagonal -1, ..., -n: its eigenvalues must be those of Lambda - P P^*."""
    lam, p, b = map(both_halves, ssm_math.hippo_legs(n))
    a = torch.diag(lam) - torch.outer(p, p.conj())
    values = np.sort(torch.linalg.eigvals(a).real.numpy())
    np.testing.assert_allclose(values, np.arange(-n, 0), rtol=1e-5)
    assert float(lam.real.max()) == float(lam.real.min()) == -0.5
    # unitary change of basis: norms stay; B = sqrt(2) P before the limit on its imaginary part
    np.testing.assert_allclose(float(p.abs().square().sum()), n * n / 2, rtol=1e-9)
    np.testing.assert_allclose(b.real.numpy(), 2**0.5 * p.real.numpy(), atol=1e-9)
    np.testing.assert_allclose(b.imag.numpy(), np.clip(2**0.5 * p.imag.numpy(), -2, 2), atol=1e-9)


@torch.no_grad()
def test_discretisation_is_scipys_bilinear():
    layer = make_layer()
    ssm = layer.state_space()
    d = ssm_math.discretise(ssm)
    a_bar = ssm_math.transition(d).detach().numpy()
    for h in range(3):
        lam, p, b = (both_halves(t[h]).detach().numpy() for t in (ssm.lam, ssm.p, ssm.b))
        half = len(lam) // 2
        # real coordinates (Re x, Im x) of the kept half: x = T (Re, Im) over all states
        t = np.block([[np.eye(half), 1j * np.eye(half)], [np.eye(half), -1j * np.eye(half)]])
        a = np.linalg.solve(t, (np.diag(lam) - np.outer(p, p.conj())) @ t).real
        b_real = np.linalg.solve(t, b[:, None]).real
        dt = ssm.dt[h].item()
        expected_a, expected_b, *_ = scipy.signal.cont2discrete(
            (a, b_real, np.eye(2 * half), np.zeros((2 * half, 1))), dt, method="bilinear"
        )
        np.testing.assert_allclose(a_bar[h], expected_a, atol=1e-12)
        # scipy maps the output too; in our form x_k uses u_k itself: Bbar = dt (I - dt/2 A)^-1 B
        np.testing.assert_allclose(
            expected_b, np.linalg.solve(np.eye(2 * half) - dt / 2 * a, dt * b_real), atol=1e-12
        )
        ours = d.b_bar[h].detach()
        np.testing.assert_allclose(torch.cat((ours.real, ours.imag)).numpy(), expected_b[:, 0], atol=1e-12)


@pytest.mark.parametrize("length", [1, 2, 10, 31, 32, 33, 100])
@pytest.mark.parametrize("kernel_length", [None, 1, 10, 33, 150])
def test_kernel_is_the_impulse_response(length, kernel_length):
    full = make_layer()
    ssm = full.state_space()
    expected = ssm_math.taps(ssm_math.discretise(ssm), length)
    if kernel_length is not None:
        ssm = ssm._replace(c=ssm_math.truncate(ssm, kernel_length))
    torch.testing.assert_close(ssm_math.kernel(ssm, length, kernel_length), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("length", [1, 2, 9, 10, 1200])
def test_half_angles(length):
    """Exact in float64, and 0 at Nyquist: what is left of a rounded pi / 2 makes denormal numbers, slow ones."""
    cos, sin = ssm_math.half_angles(length, torch.empty(0, dtype=torch.float64))
    roots = np.exp(1j * np.pi * np.arange(length // 2 + 1) / length)
    np.testing.assert_allclose(cos.numpy(), roots.real, atol=2e-16)
    np.testing.assert_allclose(sin.numpy(), roots.imag, atol=2e-16)
    assert length % 2 or cos[-1] == 0


def test_truncation_and_back():
    ssm = make_layer(state=16).state_space()
    for length in (1, 10, 77):
        there = ssm._replace(c=ssm_math.truncate(ssm, length))
        torch.testing.assert_close(ssm_math.untruncate(there, length), ssm.c, rtol=1e-8, atol=1e-8)


def test_parametrisations_start_as_the_same_layer():
    x = torch.randn(2, 50, 3, dtype=torch.float64)
    full = make_layer()
    for length in (10, 50, 200):
        truncated = make_layer(dtype=torch.float32, kernel="truncated", kernel_length=length).double()
        torch.testing.assert_close(truncated(x), full(x), rtol=2e-3, atol=1e-3)  # C~ was made in float32
        assert not torch.allclose(truncated.c, full.c, rtol=1e-2)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize(
    ("length", "make"),
    [
        (20, lambda: S4Layer(S4Config(dim=5))),
        (300, lambda: S4Layer(S4Config(dim=5))),
        (300, lambda: S4Layer(S4Config(dim=5, kernel="truncated", kernel_length=300))),
        (300, lambda: S4Layer(S4Config(dim=5, kernel="truncated", kernel_length=200))),
        (300, lambda: S4DLayer(S4DConfig(dim=5))),
    ],
)
def test_kernels_are_made_in_full_precision(length, make, precision, monkeypatch):
    """With rounded products a fresh layer's kernels are far off: :mod:`baselines.layers.exact`."""
    monkeypatch.setattr(ssm_math, "compiled_for", lambda tensor: False)  # as on a GPU

    def results(precision):
        torch.manual_seed(0)
        layer = make()
        with numerics(precision, torch.device("cpu")):
            kernel = layer.kernel(length)
            kernel.square().sum().backward()
        grads = [p.grad for name, p in layer.named_parameters() if name != "d"]
        return [kernel.detach(), *grads]

    for rounded, exact_one in zip(results(precision), results("fp32"), strict=True):
        torch.testing.assert_close(rounded, exact_one, rtol=1e-5, atol=1e-5 * float(exact_one.abs().max()))


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # of torch 2.15 against itself
def test_product_lifts_every_permission_to_round():
    seen = []

    class Look(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append((torch.get_float32_matmul_precision(), torch.is_autocast_enabled("cpu"), args[0].dtype))
            return func(*args, **(kwargs or {}))

    a, b = torch.randn(2, 3, 4), torch.randn(2, 4, 5)
    for precision in ("tf32", "bf16"):
        with numerics(precision, torch.device("cpu")), Look():
            y = exact._full_precision_product(a, b)
        torch.testing.assert_close(y, a @ b)
    assert set(seen) == {("highest", False, torch.float32)}
    torch.library.opcheck(exact._product, (a.requires_grad_(), b.requires_grad_()))


@torch.no_grad()
@pytest.mark.parametrize("exponent", [0, 1, 2, 7, 12])
def test_row_times_power(exponent):
    torch.manual_seed(0)
    row, matrix = torch.randn(3, 1, 4, dtype=torch.float64), torch.randn(3, 4, 4, dtype=torch.float64)
    expected = row @ torch.linalg.matrix_power(matrix, exponent)
    torch.testing.assert_close(exact.row_times_power(row, matrix, exponent), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("channels", "half", "frequencies"), [(1, 1, 1), (3, 5, 6), (2, 32, 64), (2, 4, 65), (2, 3, 751)]
)
def test_compiled_spectrum_equals_plain(channels, half, frequencies, dtype):
    torch.manual_seed(0)
    odd, even = torch.randn(2, 4, channels, half, dtype=dtype)
    poles = torch.complex(
        -0.1 - torch.rand(channels, half, dtype=dtype), 3 * torch.randn(channels, half, dtype=dtype)
    )
    phi = torch.linspace(0, torch.pi / 2, frequencies, dtype=dtype)
    dt = 0.01 + 0.1 * torch.rand(channels, 1, dtype=dtype)
    args = [t.clone().requires_grad_() for t in (odd, even, poles, dt)]
    results = [f(*args, torch.cos(phi), torch.sin(phi)) for f in (s4_cpu.spectrum, ssm_math.spectrum_plain)]
    compare(*results, args, 1e-4 if dtype == torch.float32 else 1e-11)


def test_of_many_frequencies_plain_torch_holds_a_block_at_a_time(monkeypatch):
    """Outputs and gradients are those of all at once; what is kept for the way back is not."""
    torch.manual_seed(0)
    odd, even = torch.randn(2, 4, 3, 8, dtype=torch.float64)
    poles = torch.complex(-0.1 - torch.rand(3, 8).double(), 3 * torch.randn(3, 8).double())
    phi = torch.linspace(0, torch.pi / 2, 101, dtype=torch.float64)
    dt = 0.01 + 0.1 * torch.rand(3, 1, dtype=torch.float64)
    args = [t.clone().requires_grad_() for t in (odd, even, poles, dt)]

    def spectrum(terms):
        """Return the spectrum, and how many bytes are kept for the way back."""
        kept = {}

        def keep(tensor):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        monkeypatch.setattr(ssm_math, "TERMS", terms)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            made = ssm_math.spectrum_plain(*args, torch.cos(phi), torch.sin(phi))
        return made, sum(kept.values())

    for terms in (24 * 10, 1):
        (at_once, all_kept), (in_blocks, kept) = spectrum(24 * 101), spectrum(terms)
        compare(at_once, in_blocks, args, 1e-12)
        assert kept < all_kept / 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("batch", "length", "channels", "first"), [(1, 1, 1, 0), (3, 10, 5, 0), (40, 7, 33, 6), (17, 32, 4, 3)]
)
def test_compiled_short_convolution_equals_toeplitz(batch, length, channels, first, dtype):
    torch.manual_seed(0)
    args = [torch.randn(batch, length, channels, dtype=dtype), torch.randn(channels, length, dtype=dtype)]
    args = [t.requires_grad_() for t in args]
    results = [s4_cpu.short_convolution(*args, first), toeplitz_convolution(*args, slice(first, None))]
    compare(*results, args, 1e-4 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("p", [0.0, 0.4])
@pytest.mark.parametrize(("batch", "length", "channels", "first"), [(1, 1, 2, 0), (40, 10, 33, 0), (17, 10, 6, 9)])
def test_compiled_inside_of_a_block_equals_torchs(batch, length, channels, first, p, dtype):
    torch.manual_seed(0)
    x = torch.randn(batch, length, channels, dtype=dtype)
    k = torch.randn(channels, length, dtype=dtype)
    args = [
        t.requires_grad_() for t in (x, torch.randn(channels, dtype=dtype), torch.randn(channels, dtype=dtype), k)
    ]
    torch.manual_seed(1)
    mask = Dropout(p)(torch.ones(batch, length - first, channels, dtype=dtype))
    normal = torch.nn.functional.layer_norm(x, (channels,), args[1], args[2], 1e-5)
    inside = torch.nn.functional.gelu(toeplitz_convolution(normal, k, slice(first, None))) * mask
    torch.manual_seed(1)
    kept, ours = s4_block_cpu.inner_branch(*args, 1e-5, first, *Dropout(p).draw())
    assert torch.equal(kept, x[:, first:])
    bound = 1e-4 if dtype == torch.float32 else 1e-11
    compare(torch.cat((kept.sin(), ours)), torch.cat((x[:, first:].sin(), inside)), args, bound)


@pytest.mark.parametrize("readout", [slice(None), slice(9, 10), slice(2, None), slice(0, 10, 3)])
def test_block_is_the_sum_of_its_parts(readout):
    torch.manual_seed(0)
    block = S4Block(S4Config(dim=6, state=4))
    x = torch.randn(5, 10, 6)
    torch.manual_seed(1)
    ours = block(x, readout)
    torch.manual_seed(1)
    parts = block._output(x[:, readout], block.layer(block.norm(x), readout))
    compare(ours, parts, list(block.parameters()), 1e-4)


def compare(ours, plain, args, bound):
    assert float((ours - plain).detach().abs().max()) <= bound * float(plain.detach().abs().max())
    weights = torch.linspace(-1, 1, plain.numel(), dtype=plain.real.dtype).view(plain.shape)
    for a, b in zip(
        *(torch.autograd.grad((y * weights).abs().square().sum(), args) for y in (ours, plain)), strict=True
    ):
        assert float((a - b).abs().max()) <= bound * float(b.abs().max())


@pytest.mark.parametrize("length", [33, 50, 64, 101])
def test_long_convolution_is_numpys(length):
    torch.manual_seed(0)
    u = torch.randn(2, length, 3, dtype=torch.float64, requires_grad=True)
    k = torch.randn(3, length, dtype=torch.float64, requires_grad=True)
    y = causal_convolution(u, k)
    for b in range(2):
        for h in range(3):
            expected = np.convolve(u[b, :, h].detach().numpy(), k[h].detach().numpy())[:length]
            np.testing.assert_allclose(y[b, :, h].detach().numpy(), expected, atol=1e-10)
    assert torch.autograd.gradcheck(
        causal_convolution, (u[:1, :, :1].detach().requires_grad_(), k[:1].detach().requires_grad_())
    )


def test_fft_length_is_even_and_smooth():
    for at_least in (1, 2, 7, 64, 3000, 3001, 24000):
        n = fft_length(at_least)
        assert at_least <= n <= 1.15 * at_least + 2
        assert n % 2 == 0
        for factor in (2, 3, 5):
            while n % factor == 0:
                n //= factor
        assert n == 1
