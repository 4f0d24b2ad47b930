"""The measurements of ``csp-baselines bench``: what is counted is checked, how long it took is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import baselines
from baselines.bench.published_steps import published_step
from baselines.bench.steps import CASES, _published_fields, _render_steps, measure_step, render
from baselines.bench.stream import measure_stream_latency
from baselines.cli import main
from baselines.layers.dropout import Dropout, gated_linear


class Linear(nn.Module):
    """A model whose operations and kept bytes can be counted by hand."""

    class config:
        chunk = 1

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(60, 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)


def test_operations_and_bytes_of_a_step_counted_by_hand() -> None:
    found = measure_step(Linear(), batch=3, length=50, repeats=1)
    product = 2 * 3 * 50 * 60 * 2
    assert found["flops"] == 2 * product  # the output, and the gradient of the weights; none of the inputs
    weights = 4 * 120
    inputs, errors, mask = 4 * 3 * 50 * 60, 4 * 3 * 50 * 2, 3 * 50
    least, most = 2 * (inputs + errors) + 7 * weights, 2 * (inputs + 2 * errors + 8 * mask) + 7 * weights + 64
    assert least <= found["bytes"] <= most
    assert 0 < found["min_s"] <= found["median_s"]
    assert found["cpu_s"] > 0
    assert 2 * errors <= found["peak_bytes"] <= 100 * inputs  # output and difference at least


def test_the_command_measures_writes_and_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.json"
    main(["bench", "--quick", "--threads", "1", "--models", "hiss-s4-mamba", "flat-mamba", "-o", str(out)])
    said = capsys.readouterr().out
    found = json.loads(out.read_text())
    assert said == render(found)
    assert "QUICK" in said
    assert [row["label"] for row in found["steps"]] == ["HiSS marker", "flat Mamba"]
    for row in found["steps"]:
        assert row["floor_s"] > 0
        assert row["published"] is None  # nothing to compare with at these sizes
    for row in found["streams"]:
        assert row["engine"] == "fast"
        assert 0 < row["without_ms"]["p50"] <= row["without_ms"]["p99"] <= row["without_ms"]["max"]
        assert 0 < row["with_ms"]["p50"] <= row["with_ms"]["p99"]
        assert f"| {row['label']} | {row['parameters'] / 1e6:.2f} M | {row['without_ms']['p50']:.3f} |" in said
    assert found["environment"]["torch"] == torch.__version__


def test_streams_alone(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "--quick", "--parts", "streams", "--models", "flat-gru", "flat-transformer", "--paced"]
    main([*arguments, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["rates"], found["steps"]) == (None, [])
    assert [(row["label"], row["paced_hz"]) for row in found["streams"]] == [
        ("flat GRU", 50.0),
        ("flat Transformer, 10 s", 50.0),
    ]
    assert "training step" not in render(found)
    assert "200 samples, 50 a second" in render(found)


def test_samples_without_a_prediction_are_told_from_those_with_one() -> None:
    """A chunk less one has none; the warm-up before it is not counted."""
    model = baselines.build("hiss-s4-gru", 12, 2, dim=8, layers=1).eval()
    chunk = model.config.chunk
    none = measure_stream_latency(model, chunk - 1, warmup=chunk)
    assert None not in (none.without_ms, none.cpu_without_ms)
    assert (none.with_ms, none.cpu_with_ms) == (None, None)
    one = measure_stream_latency(model, 1, warmup=chunk - 1)
    assert (one.without_ms, one.cpu_without_ms) == (None, None)
    assert None not in (one.with_ms, one.cpu_with_ms)


def test_published_figures_stand_beside_and_say_whose_they_are() -> None:
    for device, batches in (("cpu", (4,)), ("cuda", (4, 32))):
        assert all(published_step(case.model, device, batch) for case in CASES for batch in batches)
    assert published_step("flat-s4", "cpu", 32) is None
    row = {"label": "x", "median_s": 0.004, "min_s": 0.003, "cpu_s": 0.005, "floor_s": 0.001, "peak_bytes": 2**21}
    row |= {"compile": "eager", "precision": "fp32"}
    slow = row | {"batch": 4} | _published_fields(published_step("hiss-s4-s4", "cpu", 4), 0.3)
    fast = row | {"batch": 32} | _published_fields(published_step("flat-mamba", "cuda", 32), 0.001)
    other = row | {"batch": 1, "compile": "graph", "precision": "tf32"} | _published_fields(None, 1.0)
    lines = _render_steps([slow, fast, other]).splitlines()
    assert lines[2].endswith("| 8700 | 29 | 250 |")
    assert lines[3].endswith("| 5.7 to 10.5 | 6 to 10 | ratio 4 |")
    assert lines[4].startswith("| x, graph, tf32 | 1 |")
    assert lines[4].endswith("| 2 |  |  |  |")
    assert "measured elsewhere" in lines[-1]


def test_oneDNNs_products_are_counted() -> None:  # torch's own counter does not know them
    linear = nn.Linear(60, 2 * 5)

    class Gated(Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return gated_linear(x[..., :5], x, linear, Dropout(0.0))[..., :2] + self.linear(x)

    plain = measure_step(Linear(), batch=3, length=50, repeats=1)["flops"]
    gated = measure_step(Gated(), batch=3, length=50, repeats=1)["flops"]
    product = 2 * 3 * 50 * 60 * 10
    assert gated - plain in (2 * product, 3 * product)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "flat-s5"], "Did you mean 'flat-s4'"),
        (["--device", "cuda:77"], "--device cuda:77: "),
        (["--device", "meta"], "--device meta: expected a device that torch can use here"),
        (["--device", "hpu"], "--device hpu: "),
        (["--batches", "0"], "--batches 0: "),
        (["--threads", "-1"], "--threads -1: "),
        (["--samples", "0"], "--samples 0: "),
    ],
)
def test_bad_options(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["bench", "--quick", *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
