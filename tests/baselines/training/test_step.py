"""The training step: precision, padding, what a loop of plain torch gives."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import baselines
from baselines.errors import OptionError
from baselines.models.model import param_groups
from baselines.training.data import Part, batches, bucket_length, cut_windows, pad_batch
from baselines.training.settings import TrainConfig
from baselines.training.step import FIRST_COMPILING_VERSION, PlainStep, adam, masked_mse, numerics
from baselines.training.train import train

MakePart = Callable[..., Part]
CPU = torch.device("cpu")


def _model(part: Part, name: str = "hiss-s4-mamba") -> torch.nn.Module:
    torch.manual_seed(0)
    options = {"low_dropout": 0.0} if name == "hiss-s4-mamba" else {}
    return baselines.build(name, *part.dims, chunk=part.chunk, dim=8, layers=1, **options)


def _curve(part: Part, pad: bool = False, plain: bool = False) -> list[float]:
    """Losses of 12 steps over windows of several lengths; the last batch of each pass is smaller."""
    model = _model(part)
    optimizer = adam(param_groups(model, 1e-2), CPU)
    step, losses = PlainStep(model, optimizer, clip_norm=0.5), []
    own = torch.optim.Adam(model.parameters(), lr=1e-2)
    windows = cut_windows(part, 6, 4)
    order = torch.Generator().manual_seed(1)
    while len(losses) < 12:
        for batch in batches(part, windows, 4, order):
            if pad:
                batch = pad_batch(batch, 4, bucket_length(batch.mask.shape[1], 6, classes=2))
                assert batch.mask.shape in ((4, 3), (4, 6))
            if plain:
                own.zero_grad()
                loss = masked_mse(model(batch.inputs), batch.targets, batch.mask)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                own.step()
            else:
                loss = step(batch.inputs, batch.targets, batch.mask)
            losses.append(loss.item())
    return losses


def test_fused_and_padded_steps_give_the_curve_of_plain_torch(make_part: MakePart) -> None:
    part = make_part((17, 22, 3))
    plain = _curve(part, plain=True)
    assert len({round(loss, 6) for loss in plain}) == len(plain)
    assert _curve(part) == pytest.approx(plain, rel=1e-4)
    assert _curve(part, pad=True) == pytest.approx(plain, rel=1e-4)


def test_padding_adds_only_what_does_not_count(make_part: MakePart) -> None:
    part = make_part((7, 4, 2), chunk=5)
    (batch,) = batches(part, cut_windows(part, 5), 8)
    assert batch.mask.shape == (4, 5)
    padded = pad_batch(batch, 6, 8)
    for before, after, shape, steps in (
        (batch.inputs, padded.inputs, (6, 8 * 5, 4), 5 * 5),
        (batch.targets, padded.targets, (6, 8, 2), 5),
        (batch.mask, padded.mask, (6, 8), 5),
    ):
        assert after.shape == shape
        assert torch.equal(after[:4, :steps], before)
        assert int(after.count_nonzero()) == int(before.count_nonzero())
    assert padded.rows.tolist() == batch.rows.tolist()


def test_length_classes() -> None:
    assert [bucket_length(n, 10) for n in range(1, 11)] == [3, 3, 3, 5, 5, 8, 8, 8, 10, 10]
    assert bucket_length(1, 1) == 1


@pytest.mark.parametrize("name", [f"flat-{kind}" for kind in baselines.layers.LAYERS])
def test_bfloat16_steps_stay_near_float32_ones(name: str, make_part: MakePart) -> None:
    part = make_part((40,))
    (batch,) = batches(part, cut_windows(part, None), 1)
    losses = {}
    for precision in ("fp32", "tf32", "bf16"):
        model = _model(part, name).eval()  # no dropout
        step = PlainStep(model, adam(param_groups(model, 1e-3), CPU), precision=precision)
        losses[precision] = [step(batch.inputs, batch.targets, batch.mask).item() for _ in range(3)]
    assert losses["tf32"] == losses["fp32"]  # no such rounding on a CPU
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)
    assert losses["bf16"] != losses["fp32"]


def test_precision_is_put_back() -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    with numerics("tf32", CPU):
        assert torch.get_float32_matmul_precision() == "high"
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


def test_graphs_need_a_cuda_device(make_part: MakePart, tmp_path: Path) -> None:
    part = make_part()
    config = TrainConfig(epochs=1, window_s=1.0, window_stride_s=None, compile="graph")
    with pytest.raises(OptionError, match=r"compile='graph'.*auto, eager or inductor on cpu"):
        train(_model(part), part, part, config, tmp_path)


def test_old_compilers_are_refused(make_part: MakePart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion("2.11.0+cu128"))
    config = TrainConfig(epochs=1, window_s=1.0, window_stride_s=None, compile="inductor")
    with pytest.raises(OptionError, match=r"compile='inductor'.*with torch 2\.11\.0.*before 2\.12"):
        train(_model(make_part()), make_part(), make_part(), config, tmp_path)


@pytest.mark.skipif(torch.__version__ < FIRST_COMPILING_VERSION, reason=f"needs torch {FIRST_COMPILING_VERSION}")
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs g++ on the CPU")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own making, as torch is compiled
@pytest.mark.filterwarnings("ignore:Torchinductor does not support code generation for complex operators")
def test_a_step_by_torchs_compiler_gives_the_plain_curve(make_part: MakePart, tmp_path: Path) -> None:
    part, fits = make_part((17, 22, 3)), {}
    for compile in ("eager", "inductor"):
        folder = tmp_path / compile
        folder.mkdir()
        config = TrainConfig(epochs=3, batch=4, window_s=1.0, window_stride_s=None, compile=compile)
        fits[compile] = train(_model(part), part, part, config, folder).val_loss
    assert fits["inductor"] == pytest.approx(fits["eager"], rel=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a CUDA device")
def test_a_captured_step_gives_the_plain_curve(make_part: MakePart, tmp_path: Path) -> None:
    plain = make_part((17, 22, 3))
    tensors = {"inputs": plain.inputs.cuda(), "targets": plain.targets.cuda()}
    part = Part(**{**plain.__dict__, **tensors})
    fits = {}
    for compile in ("eager", "graph", "inductor-graph"):
        folder = tmp_path / compile
        folder.mkdir()
        config = TrainConfig(epochs=5, batch=4, window_s=1.0, window_stride_s=None, compile=compile)
        fits[compile] = train(_model(part).cuda(), part, part, config, folder).val_loss
    assert fits["graph"] == pytest.approx(fits["eager"], rel=1e-3)
    assert fits["inductor-graph"] == pytest.approx(fits["eager"], rel=1e-3)


@pytest.mark.parametrize(("option", "value"), [("precision", "fp16"), ("compile", "yes")])
def test_bounds(option: str, value: str) -> None:
    with pytest.raises(OptionError, match=f"^{option}="):
        TrainConfig(**{option: value})  # type: ignore[arg-type]
