"""Every backend of the selective scan against the naive loop: outputs, gradients, awkward sizes, precisions."""

import logging

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import baselines
from baselines import scan as package
from baselines.errors import MissingExtraError, ModelError, UnknownNameError
from baselines.scan import BACKENDS, selective_scan
from baselines.training.step import FIRST_COMPILING_VERSION

FAST = ["cpu"]  # the GPU backends: tests/baselines/scan/test_scan_gpu.py
SHAPES = [  # batch, length, channels, state
    (1, 1, 1, 1),
    (2, 1, 33, 3),
    (1, 15, 4, 16),
    (3, 16, 32, 2),
    (2, 17, 31, 16),
    (1, 37, 70, 5),
    (5, 100, 3, 20),
]


def problem(batch, length, channels, state, dtype, skip=True, seed=0):
    torch.manual_seed(seed)
    u, b, c = (torch.randn(batch, length, k, dtype=dtype) for k in (channels, state, state))
    delta = 0.001 + 0.5 * torch.rand(batch, length, channels, dtype=dtype)
    a = -4 * torch.rand(channels, state, dtype=dtype)
    tensors = [u, delta, a, b, c, *([torch.randn(channels, dtype=dtype)] if skip else [])]
    return [t.requires_grad_() for t in tensors]


def outputs_and_gradients(tensors, backend):
    y = selective_scan(*tensors, backend=backend)
    weights = torch.cos(torch.arange(y.numel(), dtype=torch.float64)).view(y.shape).bfloat16().to(y.dtype)
    return [y, *torch.autograd.grad((y * weights).sum(), tensors)]


def assert_equal(ours, truth, bound):
    for k, (a, b) in enumerate(zip(ours, truth, strict=True)):
        assert a.dtype == b.dtype
        assert float((a - b).detach().abs().max()) <= bound * float(b.detach().abs().max()), k


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("backend", FAST)
def test_equals_reference(backend, shape, dtype, bound, skip):
    tensors = problem(*shape, dtype, skip)
    assert_equal(outputs_and_gradients(tensors, backend), outputs_and_gradients(tensors, "reference"), bound)


@pytest.mark.parametrize("backend", FAST)
def test_long_sequence(backend):
    tensors = problem(1, 12_000, 3, 2, torch.float64)
    truth = outputs_and_gradients(tensors, "reference")
    assert_equal(outputs_and_gradients(tensors, backend), truth, 1e-11)
    narrow = [t.detach().float().requires_grad_() for t in tensors]
    assert_equal(outputs_and_gradients(narrow, backend), [t.float() for t in truth], 1e-4)


class NumbersWritten(TorchDispatchMode):
    """Counts the numbers in the results of all operations within."""

    total = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        results = result if isinstance(result, list | tuple) else [result]
        self.total += sum(t.numel() for t in results if isinstance(t, torch.Tensor))
        return result


def test_the_reference_takes_work_in_proportion_to_the_length():
    written = []
    for length in (100, 200):
        with NumbersWritten() as counted:
            outputs_and_gradients(problem(1, length, 8, 2, torch.float32), "reference")
        written.append(counted.total)
    assert written[1] < 2.1 * written[0]


@pytest.mark.parametrize("backend", ["reference", *FAST])
def test_bfloat16_keeps_a_float32_state(backend):
    tensors = problem(2, 300, 5, 4, torch.float32)
    exact = outputs_and_gradients([t.detach().bfloat16().float().requires_grad_() for t in tensors], "reference")
    rounded = outputs_and_gradients([t.detach().bfloat16().requires_grad_() for t in tensors], backend)
    assert all(t.dtype == torch.bfloat16 for t in rounded)
    # one rounding of each result, 2^-9; a state in bfloat16 would lose far more over 300 steps
    assert_equal([t.float() for t in rounded], exact, 2**-8)


@pytest.mark.parametrize("backend", ["reference", *FAST])
def test_gradients_are_derivatives(backend):
    tensors = problem(2, 19, 3, 2, torch.float64)
    assert torch.autograd.gradcheck(lambda *t: selective_scan(*t, backend=backend), tensors)


@pytest.mark.parametrize("backend", ["reference", *FAST])
def test_one_channel_by_hand(backend):
    """A constant input through one state: h_t = u sum_k exp(-k delta) delta."""
    u, delta = torch.full((1, 4, 1), 2.0), torch.full((1, 4, 1), 0.5)
    one = torch.ones(1, 4, 1)
    y = selective_scan(u, delta, torch.tensor([[-1.0]]), one, 3 * one, torch.tensor([10.0]), backend=backend)
    decay = torch.exp(torch.tensor(-0.5))
    states = torch.tensor([sum(decay**j for j in range(k + 1)) for k in range(4)])  # times delta u = 1
    torch.testing.assert_close(y[0, :, 0], 3 * states + 20)


@pytest.mark.parametrize("backend", FAST)
def test_strided_inputs(backend):
    wide = [t.detach() for t in problem(2, 20, 8, 4, torch.float64)]
    u, delta = (t[..., ::2].detach().requires_grad_() for t in wide[:2])
    a = wide[2][::2].detach().requires_grad_()
    b, c = (t.transpose(0, 1).contiguous().transpose(0, 1).requires_grad_() for t in wide[3:5])
    tensors = [u, delta, a, b, c]
    assert_equal(outputs_and_gradients(tensors, backend), outputs_and_gradients(tensors, "reference"), 1e-12)


@pytest.mark.parametrize("backend", FAST)
def test_threads_do_not_change_the_result(backend):
    tensors = problem(3, 50, 40, 4, torch.float32)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = outputs_and_gradients(tensors, backend)
        torch.set_num_threads(3)
        three = outputs_and_gradients(tensors, backend)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(one, three, strict=True))


def test_choice_is_logged_once(caplog):
    package.resolve_backend.cache_clear()
    tensors = problem(1, 3, 2, 2, torch.float32)
    with caplog.at_level(logging.INFO, logger="baselines.scan"):
        for _ in range(3):
            selective_scan(*tensors)
    assert [r.getMessage() for r in caplog.records] == ["selective scan on cpu: backend cpu (asked for auto)"]


def test_unknown_backend():
    with pytest.raises(UnknownNameError, match=r"'reference'.*Known: auto, reference, cpu, triton, mamba_ssm"):
        selective_scan(*problem(1, 3, 2, 2, torch.float32), backend="referense")


def test_backend_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(BACKENDS, "cpu", "no_package_of_this_name")
    package.resolve_backend.cache_clear()
    try:
        with pytest.raises(MissingExtraError, match=r"no_package_of_this_name.*csp-data\[baselines\]"):
            selective_scan(*problem(1, 3, 2, 2, torch.float32), backend="cpu")
    finally:
        package.resolve_backend.cache_clear()


def test_backend_on_the_wrong_device():
    tensors = [t.detach().to("meta") for t in problem(1, 3, 2, 2, torch.float32)]
    with pytest.raises(ModelError, match="needs tensors on the CPU, got 'meta'"):
        selective_scan(*tensors, backend="cpu")


@pytest.mark.parametrize(("index", "name"), [(1, "delta"), (2, "A"), (3, "B"), (4, "C"), (5, "D")])
def test_shapes_that_do_not_fit(index, name):
    tensors = [t.detach() for t in problem(2, 5, 4, 3, torch.float32)]
    tensors[index] = tensors[index][:-1]
    with pytest.raises(ModelError, match=f"{name} must have shape"):
        selective_scan(*tensors)


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # of torch 2.15 against itself
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torch_knows_the_operator(dtype):
    """Its own checks: the schema, the shapes and strides promised without data, autograd under the compiler."""
    tensors = problem(2, 17, 5, 3, dtype, skip=False)
    tensors[3:] = [
        t.detach().requires_grad_() for t in torch.randn(2, 17, 6, dtype=dtype).split(3, dim=-1)
    ]  # strided
    torch.library.opcheck(torch.ops.baselines.selective_scan.default, (*tensors, "cpu"))


@pytest.mark.skipif(torch.__version__ < FIRST_COMPILING_VERSION, reason=f"needs torch {FIRST_COMPILING_VERSION}")
@pytest.mark.parametrize("name", ["hiss-s4-mamba", "flat-mamba", "flat-s4", "hiss-lru-transformer"])
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own doing
def test_models_go_through_torchs_compiler_in_one_piece(name):
    """Nothing in a training step's forward or backward pass makes the compiler stop and go on in Python."""
    torch.manual_seed(0)
    model = baselines.build(name, 5, 2, preset="small", dim=8, layers=1).eval()  # no dropout
    x = torch.randn(2, 40, 5)
    found = []
    for call in (model, torch.compile(model, fullgraph=True, backend="aot_eager")):
        y = call(x)
        found.append((y, *torch.autograd.grad(y.square().mean(), list(model.parameters()))))
    for ours, truth in zip(*found, strict=True):
        torch.testing.assert_close(ours, truth, rtol=1e-4, atol=1e-5)
