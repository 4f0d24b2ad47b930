"""Models whose weights have 16 bits: equal to the same weights in float32, but for rounding."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from baselines import build
from baselines.layers import LAYERS

EPS = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}


def relative(found: Tensor, expected: Tensor) -> float:
    with torch.no_grad():
        return float((found.float() - expected).norm() / expected.norm())


def both(name: str, dtype: torch.dtype, **options: object) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    model = build(name, in_dim=4, out_dim=3, dim=8, layers=2, **options).eval().to(dtype)  # type: ignore[arg-type]
    return model, copy.deepcopy(model).float()


@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize("length", [20, 90])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((f"flat-{kind}", {}) for kind in LAYERS),
        ("flat-s4", {"kernel": "truncated", "kernel_length": 40}),
        ("hiss-s4-lru", {}),
        ("hiss-s4d-s4", {"overlap": 3, "readout": "linear"}),
        ("hiss-lru-s4d", {}),
    ],
)
def test_outputs_and_gradients_are_those_of_the_same_weights_in_float32(
    name: str, options: dict[str, object], length: int, dtype: torch.dtype
) -> None:
    model, wide = both(name, dtype, **options)
    x = torch.randn(2, length, 4).to(dtype)
    outputs = [one(x.to(next(one.parameters()).dtype)) for one in (model, wide)]
    assert outputs[0].dtype == dtype
    assert relative(*outputs) < 4 * EPS[dtype]
    for output in outputs:
        output.float().square().sum().backward()
    gradients = [torch.cat([p.grad.flatten().float() for p in one.parameters()]) for one in (model, wide)]  # type: ignore[union-attr]
    assert relative(*gradients) < 10 * EPS[dtype]


@pytest.mark.parametrize("name", ["flat-s4", "flat-s4d", "flat-lru", "hiss-s4-lru"])
def test_sample_by_sample_they_predict_the_same(name: str) -> None:
    model, _ = both(name, torch.bfloat16)
    x = torch.randn(2, 60, 4).bfloat16()
    state, outputs = model.initial_state(2, "cpu", torch.bfloat16), []  # type: ignore[operator]
    with torch.no_grad():
        for x_t in x.unbind(1):
            y, state = model.step(x_t, state)  # type: ignore[operator]
            outputs += [] if y is None else [y]
        assert outputs[0].dtype == torch.bfloat16
        assert relative(torch.stack(outputs, 1), model(x).float()) < 4 * EPS[torch.bfloat16]
