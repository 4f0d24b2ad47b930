from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import baselines
from baselines.errors import ModelError
from baselines.training.data import Part
from baselines.training.evaluate import compute_metrics, normalized_predictions, predict, sum_squared_errors
from baselines.training.step import numerics

MakePart = Callable[..., Part]


def _models(gru: type[Any], part: Part) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    small = {"dim": 8, "layers": 1}
    return {
        "gru": gru(*part.dims, part.chunk),
        "flat-transformer": baselines.build("flat-transformer", *part.dims, chunk=part.chunk, heads=2, **small),
        "flat-s4": baselines.build("flat-s4", *part.dims, chunk=part.chunk, **small),
        "hiss-s4-mamba": baselines.build("hiss-s4-mamba", *part.dims, chunk=part.chunk, **small),
    }


@pytest.mark.parametrize("name", ["gru", "flat-transformer", "flat-s4", "hiss-s4-mamba"])
@pytest.mark.parametrize("length", [5, None])
def test_batches_equal_single_episodes(name: str, length: int | None, gru: type[Any], make_part: MakePart) -> None:
    part = make_part((7, 12, 3, 5))
    model = _models(gru, part)[name].eval()
    together = normalized_predictions(model, part, length, batch_size=32)
    with torch.no_grad():
        for start, count in zip(part.starts, part.lengths, strict=True):
            step = count if length is None else length
            for first in range(start, start + count, step):
                last = min(first + step, start + count)
                alone = model(part.inputs[None, first * part.chunk : last * part.chunk])[0]
                torch.testing.assert_close(together[first:last], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("team", [1, 2, 3, 12])
def test_sums_of_a_teams_shares_are_the_error_of_all_steps(team: int, gru: type[Any], make_part: MakePart) -> None:
    """Also where there are fewer windows than processes, and the last window of an episode is a short one."""
    part = make_part((7, 12, 3, 5))
    torch.manual_seed(0)
    model = gru(*part.dims, part.chunk)
    errors = normalized_predictions(model, part, 5).double() - part.targets
    shares = [sum_squared_errors(model, part, 5, rank, team) for rank in range(team)]
    assert all(type(total) is float for total, _ in shares)
    assert sum(total for total, _ in shares) == pytest.approx(errors.square().sum().item(), rel=1e-5)
    assert sum(count for _, count in shares) == errors.numel()


@pytest.mark.parametrize("shape", [(-1, 1), (-1,)])
def test_outputs_of_another_shape_are_refused_and_not_spread(shape: tuple[int, ...], make_part: MakePart) -> None:
    part = make_part((6, 6))

    class Wrong(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :: part.chunk, 0].unflatten(1, shape)

    model = Wrong()
    for evaluate in (
        lambda: normalized_predictions(model, part, 6),
        lambda: sum_squared_errors(model, part, 6, 0, 1),
    ):
        with pytest.raises(ModelError, match=r"expected \(2, 6, 2\)"):
            evaluate()
        assert model.training  # as it was


def test_predictions_that_are_not_finite_are_named(make_part: MakePart) -> None:
    part = make_part((6, 5))

    class Explodes(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.log((x[:, :: part.chunk, :2] - part.inputs[6 * part.chunk, :2]).abs())

    with pytest.raises(ModelError, match="on train are not finite, in: episode-1"):
        predict(Explodes(), part, None)


def test_evaluation_has_no_dropout_and_leaves_the_mode(gru: type[Any], make_part: MakePart) -> None:
    part = make_part()
    model = gru(*part.dims, part.chunk, dropout=0.5).train()
    first, second = (normalized_predictions(model, part, 5) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert model.training


def test_evaluation_allows_no_rounding_of_products(gru: type[Any], make_part: MakePart) -> None:
    """torch rounds a GPU's convolutions by default, and a caller may allow it for all products."""
    part, seen = make_part(), []
    model = gru(*part.dims, part.chunk)
    allowed = lambda: (torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision())  # noqa: E731
    model.register_forward_pre_hook(lambda module, inputs: seen.append(allowed()))
    with numerics("tf32", torch.device("cpu")):
        normalized_predictions(model, part, 5)
        sum_squared_errors(model, part, 5, 0, 1)
        assert allowed() == (True, "high")
    assert set(seen) == {(False, "highest")}


def test_predictions_are_in_physical_units(make_part: MakePart) -> None:
    part = make_part((4, 2))

    class Zero(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(x), x.shape[1] // part.chunk, 2)

    found = predict(Zero(), part, 3)
    assert [p.id for p in found] == ["episode-0", "episode-1"]
    assert [len(p.time) for p in found] == [4, 2]
    for p in found:
        np.testing.assert_allclose(p.pred, np.broadcast_to([1.0, -3.0], p.pred.shape))  # the shift of the part
    np.testing.assert_allclose(found[0].true, part.targets[:4].numpy() * [2.0, 0.5] + [1.0, -3.0])
    true = np.concatenate([p.true for p in found])
    assert compute_metrics(found, ["x", "y"])["mse"] == pytest.approx(np.square(true - [1.0, -3.0]).mean())
