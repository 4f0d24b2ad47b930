"""The compiled loops of a GRU against torch's own, and against the naive reference."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from baselines.layers.gru import GRU, MAX_COMPILED_BATCH, GRUConfig, gru_reference

gru_cpu = pytest.importorskip("baselines.cpu.gru", reason="loops are compiled by numba")

SHAPES = [(1, 1, 3, 5), (1, 7, 4, 4), (3, 1, 4, 6), (4, 13, 5, 7), (5, 9, 6, 3), (9, 21, 3, 16), (2, 300, 8, 33)]
"""B, L, in, hidden."""


def _made(hidden: int, dim: int, layers: int, dtype: torch.dtype, dropout: float = 0.0) -> GRU:
    torch.manual_seed(0)
    return GRU(GRUConfig(dim=dim, hidden=hidden, layers=layers, dropout=dropout)).to(dtype)


def _results(layer: GRU, compute: Callable[[Tensor], Tensor], x: Tensor) -> list[Tensor]:
    """Return outputs, and gradients of a loss that weighs all of them differently, by x and every parameter."""
    layer.zero_grad()
    x = x.clone().requires_grad_()
    y = compute(x)
    (y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).reshape(y.shape)).sum().backward()
    return [t.clone() for t in (y.detach(), x.grad, *(p.grad for p in layer.parameters())) if t is not None]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(("batch", "length", "dim", "hidden"), SHAPES)
def test_outputs_and_gradients_are_those_of_the_reference_and_of_torch(
    batch: int, length: int, dim: int, hidden: int, layers: int, dtype: torch.dtype
) -> None:
    layer = _made(hidden, dim, layers, dtype)
    x = 2 * torch.randn(batch, length, dim, dtype=dtype)
    found = _results(layer, lambda x: gru_cpu.run_gru(layer.gru, x), x)
    small = 2e-6 if dtype == torch.float32 else 1e-14
    for compute in (lambda x: gru_reference(layer, x), lambda x: layer.gru(x)[0]):
        expected = _results(layer, compute, x)
        assert len(found) == len(expected) == 2 + 4 * layers
        for one, other in zip(found, expected, strict=True):
            assert (one - other).abs().max() <= small * max(1, other.abs().max().item())


def test_gradients_by_differences() -> None:
    layer = _made(3, 2, 2, torch.float64)
    x = torch.randn(2, 5, 2, dtype=torch.float64, requires_grad=True)
    parameters = tuple(layer.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: gru_cpu.run_gru(layer.gru, x), (x, *parameters))


def test_the_same_values_are_dropped() -> None:
    layer = _made(16, 8, 3, torch.float32, dropout=0.5).train()
    x = torch.randn(4, 30, 8)

    def seeded(compute: Callable[[Tensor], Tensor]) -> list[Tensor]:
        torch.manual_seed(1)
        return _results(layer, compute, x)

    for one, other in zip(seeded(layer), seeded(lambda x: layer.gru(x)[0]), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert not torch.equal(layer(x), layer.eval()(x))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("hidden", [8, 33])
def test_a_sequence_comes_out_the_same_alone_among_others_and_with_any_number_of_threads(
    hidden: int, threads: int
) -> None:
    """To the last bit, all but sums over sequences."""
    torch.manual_seed(0)
    x, u, b = torch.randn(50, 7, 3 * hidden), torch.randn(3 * hidden, hidden) / 4, torch.randn(3 * hidden)

    def results(x: Tensor) -> list[Tensor]:
        x = x.clone().requires_grad_()
        h = gru_cpu._Recurrence.apply(x, u, b)
        return [h.detach(), *torch.autograd.grad(h.square().sum(), x)]

    alone = [torch.cat(made, dim=1) for made in zip(*map(results, x.split(1, dim=1)), strict=True)]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = results(x)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(together, alone, strict=True))


def test_large_gates_saturate() -> None:
    """Nothing overflows where an exponential would."""
    layer = _made(4, 2, 1, torch.float32)
    x = 1e4 * torch.randn(2, 20, 2)
    found = _results(layer, lambda x: gru_cpu.run_gru(layer.gru, x), x)
    assert all(t.isfinite().all() for t in found)
    torch.testing.assert_close(found[0], layer.gru(x)[0])


def test_backward_again_and_without_gradients() -> None:
    layer = _made(4, 2, 1, torch.float32)
    x = torch.randn(2, 6, 2, requires_grad=True)
    y = gru_cpu.run_gru(layer.gru, x).sum()
    (first,) = torch.autograd.grad(y, x, retain_graph=True)
    (again,) = torch.autograd.grad(y, x)
    assert torch.equal(first, again)
    with torch.no_grad():
        assert not layer(x).requires_grad


def test_compiled_loops_run_where_they_are_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def noted(gru: nn.GRU, x: Tensor) -> Tensor:
        asked.append(len(x))
        return gru(x)[0]

    monkeypatch.setattr(gru_cpu, "run_gru", noted)
    layer = _made(4, 2, 1, torch.float32)
    layer(torch.randn(MAX_COMPILED_BATCH, 3, 2))
    layer(torch.randn(MAX_COMPILED_BATCH + 1, 3, 2))
    layer.bfloat16()(torch.randn(2, 3, 2).bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        layer.float()(torch.randn(2, 3, 2))
    assert asked == [MAX_COMPILED_BATCH]
