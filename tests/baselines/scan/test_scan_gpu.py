"""The scan's GPU backends: Triton's kernels in its interpreter and through its compiler, and all on a GPU."""

import importlib.util
import os
import subprocess
import sys
import textwrap

import pytest
import torch

from baselines.errors import MissingExtraError, ModelError
from baselines.scan import selective_scan

HAS_TRITON = importlib.util.find_spec("triton") is not None
HAS_MAMBA = importlib.util.find_spec("mamba_ssm") is not None
needs_triton = pytest.mark.skipif(not HAS_TRITON, reason="triton is not installed")

COMPARE = """
import sys
import torch
from baselines.scan import selective_scan

backend, device, *shapes = sys.argv[1:]
torch.set_num_threads(1)

def results(tensors, backend):
    y = selective_scan(*tensors, backend=backend)
    weights = torch.cos(torch.arange(y.numel(), dtype=torch.float64)).view(y.shape).to(y)
    return [y.detach(), *torch.autograd.grad((y * weights).sum(), tensors)]

for shape in shapes:
    batch, length, channels, state = map(int, shape.split("x"))
    long = length > 1000  # Triton's interpreter takes 2.4 ms a step
    for dtype, bound in ((torch.float64, 1e-11), (torch.float32, 5e-5), (torch.bfloat16, 2**-8)):
        if (backend == "mamba_ssm" and dtype == torch.float64) or (long and dtype != torch.float32):
            continue
        torch.manual_seed(0)
        u, b, c = (torch.randn(batch, length, 2 * k, dtype=dtype)[..., ::2] for k in (channels, state, state))
        delta = 0.001 + 0.5 * torch.rand(length, batch, channels, dtype=dtype).transpose(0, 1)
        a = -4 * torch.rand(state, channels, dtype=dtype).T  # every stride is unusual
        tensors = [t.to(device).requires_grad_() for t in (u, delta, a, b, c, torch.randn(channels, dtype=dtype))]
        for k, (ours, truth) in enumerate(zip(results(tensors, backend), results(tensors, "reference"))):
            assert ours.dtype == truth.dtype
            error, size = float((ours - truth).abs().max()), float(truth.abs().max())
            assert error <= bound * size, (shape, dtype, k, error, size)
    print("equal", shape)
"""


def run(code, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_triton
def test_triton_in_its_interpreter_equals_reference():
    """Length 1, batch 1, lengths around chunks of 32 steps, channels around blocks of 8, and nearly 100 chunks."""
    shapes = ["1x1x1x1", "2x33x9x3", "1x70x3x2", "1x3001x1x1"]
    said = run(COMPARE, "triton", "cpu", *shapes, TRITON_INTERPRET="1")
    assert said.split("\n")[:-1] == [f"equal {shape}" for shape in shapes]


@needs_triton
def test_triton_kernels_compile_for_a_gpu():
    """Triton's own compiler, which needs no GPU, makes machine code of them; nothing is run."""
    code = """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from baselines.scan import triton as kernels

    sizes = {"STATES": 16, "CHUNK": kernels.CHUNK, "CHANNELS": kernels.CHANNELS}
    pointers = set("u delta a b c y dy saved carry du ddelta da db dc".split())
    for kernel in (kernels._forward, kernels._backward):
        for number in ("fp32", "fp64"):
            names = kernel.arg_names
            kinds = {n: "constexpr" if n in sizes else "*" + number if n in pointers else "i32" for n in names}
            source = ASTSource(kernel, kinds, {(names.index(n),): value for n, value in sizes.items()})
            made = triton.compile(source, target=GPUTarget("cuda", 90, 32))
            print(len(made.asm["cubin"]) > 0)
    """
    assert run(code, TRITON_DEFAULT_FP_FUSION="1", TRITON_INTERPRET="0").split() == ["True"] * 4


@needs_triton
def test_triton_on_the_cpu_is_refused():
    code = """
    import torch
    from baselines import ModelError, build
    from baselines.scan import selective_scan
    one = torch.ones(1, 2, 1)
    for call in (
        lambda: selective_scan(one, one, torch.ones(1, 1), one, one, backend="triton"),
        lambda: build("flat-mamba", 1, 1, dim=4, chunk=2, scan="triton")(one),
        lambda: build("hiss-mamba-s4", 1, 1, dim=4, chunk=2, low_scan="triton")(one),
    ):
        try:
            call()
        except ModelError as error:
            print(error)
    """
    said = run(code, TRITON_INTERPRET="0")
    assert said.count("needs tensors on a CUDA device, got 'cpu'. Use 'auto': as scan= of build") == 3
    assert all(said.count(option) == 3 for option in ("low_scan=", "high_scan=", "backend= of selective_scan"))


@pytest.mark.skipif(HAS_MAMBA, reason="mamba-ssm is installed")
def test_without_mamba_ssm():
    one = torch.ones(1, 2, 1)
    with pytest.raises(MissingExtraError, match=r"mamba_ssm.*csp-data\[mamba\]"):
        selective_scan(one, one, torch.ones(1, 1), one, one, backend="mamba_ssm")


@pytest.mark.skipif(not HAS_MAMBA, reason="mamba-ssm is not installed")
def test_mamba_ssm_on_the_cpu_is_refused():
    one = torch.ones(1, 2, 1)
    with pytest.raises(ModelError, match="needs tensors on a CUDA device, got 'cpu'"):
        selective_scan(one, one, torch.ones(1, 1), one, one, backend="mamba_ssm")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("backend", ["triton", "mamba_ssm"])
def test_on_a_gpu(backend):
    if not (HAS_TRITON if backend == "triton" else HAS_MAMBA):
        pytest.skip(f"{backend} is not installed")
    shapes = ["1x1x1x1", "2x17x31x16", "3x100x70x5", "1x12000x3x2"]
    said = run(COMPARE, backend, "cuda", *shapes, TRITON_INTERPRET="0")
    assert said.count("equal") == len(shapes)
