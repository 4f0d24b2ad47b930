"""Models of one's own as streams and as exported files: without a step over a window, with one as any other."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import baselines
import csp_data
from baselines.cli import main
from baselines.errors import ModelError, OptionError
from baselines.models.own_window import WindowedModel
from baselines.runs.interface import Interface
from baselines.runs.run import Run
from baselines.stream.engine import StateError
from baselines.stream.export import ExportError, export, load_step
from baselines.stream.streamer import Streamer, with_window
from baselines.training.settings import TrainConfig

EXAMPLE = Path(__file__).parents[3] / "examples" / "own_model.py"
SHORT = TrainConfig(epochs=1, window_s=None, window_stride_s=None, seed=3)
LENGTH = 200

FILE = """
import torch
from torch import nn

class Past(nn.Module):
    # sees its own chunk and the two before; has no step

    def __init__(self, in_dim, out_dim, chunk):
        super().__init__()
        self.read = nn.Conv1d(in_dim, out_dim, 3 * chunk, stride=chunk)

    def forward(self, x):
        before = self.read.kernel_size[0] - self.read.stride[0]
        return self.read(nn.functional.pad(x.mT, (before, 0))).mT

class Began(nn.Module):
    # its state begins with what it has learned, and counts the samples of a chunk

    def __init__(self, in_dim, out_dim, chunk):
        super().__init__()
        self.chunk, self.cell, self.out = chunk, nn.GRUCell(in_dim, 5), nn.Linear(5, out_dim)
        self.first = nn.Parameter(torch.linspace(-1, 1, 5))

    def initial_state(self, batch_size, device, dtype):
        return self.first.to(device, dtype).expand(batch_size, -1), 0

    def step(self, x_t, state):
        hidden, count = self.cell(x_t, state[0]), state[1] + 1
        return (None, (hidden, count)) if count < self.chunk else (self.out(hidden), (hidden, 0))

    def forward(self, x):
        state, outputs = self.initial_state(len(x), x.device, x.dtype), []
        for x_t in x.unbind(1):
            y, state = self.step(x_t, state)
            outputs += [] if y is None else [y]
        return torch.stack(outputs, 1)

class Counts(Began):
    def step(self, x_t, state):
        hidden, count = self.cell(x_t, state[0]), state[1] + 1
        return (self.out(hidden) if count % self.chunk == 0 else None), (hidden, count)

class Decides(Began):
    def step(self, x_t, state):
        y, (hidden, count) = super().step(x_t, state)
        return y, (hidden.abs() if hidden.sum() > 0 else hidden, count)
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "mine.py"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def past(file: Path, sample: csp_data.Dataset) -> Run:
    return baselines.run(sample, f"{file}:Past", SHORT, file.parent / "past")[0]


def test_a_window_that_is_as_long_as_the_model_looks_back_gives_the_predictions_of_the_run(
    past: Run, sample: csp_data.Dataset
) -> None:
    model, interface = baselines.load_model(past), Interface.of(sample)
    with pytest.raises(ModelError, match=r"no initial_state and no step.*--window N"):
        Streamer.of(model, interface)  # type: ignore[arg-type]
    streams = {n: Streamer.of(with_window(model, n), interface) for n in (2, 3, 5)}  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    for episode, expected in zip(sample.test, past.predictions, strict=True):
        inputs = episode.inputs[:LENGTH]
        pieces = np.split(inputs, np.sort(rng.integers(0, len(inputs), 5)))
        found = {}
        for window, stream in streams.items():
            stream.reset()
            found[window] = np.concatenate([stream.push(piece) for piece in pieces])
        for window in (3, 5):
            np.testing.assert_allclose(found[window], expected.pred[: LENGTH // 10], atol=1e-5)
        np.testing.assert_array_equal(found[2][:2], found[3][:2])
        assert (np.abs(found[2][2:] - found[3][2:]) > 1e-3).any(axis=1).all()


def test_the_state_of_a_window_goes_on_with_the_same_bits_and_under_no_other(
    past: Run, sample: csp_data.Dataset
) -> None:
    model, interface = baselines.load_model(past), Interface.of(sample)
    first, second, other = (Streamer.of(with_window(model, n), interface) for n in (3, 3, 2))  # type: ignore[arg-type]
    inputs = sample.test[0].inputs
    for cut in (1, 14, 20, 57):
        first.reset()
        first.push(inputs[:cut])
        second.load_state_dict(first.state_dict())
        np.testing.assert_array_equal(second.push(inputs[cut:90]), first.push(inputs[cut:90]))
    with pytest.raises(StateError, match="the same window"):
        other.load_state_dict(first.state_dict())


def test_over_whole_sequences_it_is_what_its_steps_are(file: Path) -> None:
    torch.manual_seed(0)
    model = WindowedModel(baselines.build(f"{file}:Past", 4, 2, chunk=5).eval(), 2)  # type: ignore[arg-type]
    x = torch.randn(3, 30, 4)
    state, outputs = model.initial_state(3), []
    for x_t in x.unbind(1):
        y, state = model.step(x_t, state)
        outputs += [] if y is None else [y]
    with torch.no_grad():
        torch.testing.assert_close(torch.stack(outputs, 1), model(x))
    with pytest.raises(OptionError, match="window"):
        WindowedModel(model.model, 0)
    with pytest.raises(OptionError, match=r"window=3: expected nothing for .*, and one of your own without step"):
        with_window(baselines.build(f"{file}:Began", 4, 2, chunk=5), 3)


def test_the_command_says_what_a_window_costs(past: Run, sample: csp_data.Dataset, tmp_path: Path) -> None:
    rows = "".join(",".join(repr(float(v)) for v in row) + "\n" for row in sample.test[0].inputs[:60])
    (tmp_path / "in.csv").write_text(",".join(sample.channels.names) + "\n" + rows)
    words = ["stream", str(past.folder), "--input", "in.csv", "--window", "3"]
    done = subprocess.run(
        [sys.executable, "-m", "baselines", *words], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "Note: each prediction costs a forward over the last 3 chunks (0.6 s)." in done.stderr
    found = np.array([[float(v) for v in line.split(",")] for line in done.stdout.splitlines()[1:]])
    np.testing.assert_allclose(found[:, 1:4], past.predictions[0].pred[:6], atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # torch's exporter
@pytest.mark.parametrize("form", ["onnx", "pt2"])
@pytest.mark.parametrize("name", ["Began", "ChunkGRU"])
def test_an_exported_step_predicts_what_the_model_does_over_the_whole(
    file: Path, sample: csp_data.Dataset, tmp_path: Path, name: str, form: str
) -> None:
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    torch.manual_seed(0)
    chunk = 4  # exporting takes seconds: the step is in the file as often as a chunk has samples
    model = baselines.build(f"{file if name == 'Began' else EXAMPLE}:{name}", 12, 3, chunk=chunk)
    interface = replace(Interface.of(sample), lowpass=csp_data.LowPass(8.0, 3, "causal"))
    metadata = export(model, interface, tmp_path / "step", form, name)  # type: ignore[arg-type]
    assert metadata["samples_per_call"] == chunk
    assert not any(0 in state["shape"] for state in metadata["states"])
    inputs = sample.val[0].inputs[:LENGTH].astype(float)
    features = Streamer.of(model, interface).preparation.push(inputs)  # type: ignore[arg-type]
    with torch.no_grad():
        outputs = model.eval()(torch.from_numpy(features).float()[None])[0]
    expected = interface.normalization.targets.invert(outputs.double().numpy())
    step, found = load_step(tmp_path / "step", metadata), []
    state = {entry["name"]: np.zeros(entry["shape"], entry["dtype"]) for entry in metadata["states"]}
    for piece in inputs.reshape(-1, chunk, 6):
        output, state = step(piece, state)
        found.append(output)
    np.testing.assert_allclose(np.array(found), expected, atol=1e-5)


def test_what_of_ones_own_cannot_be_exported(
    file: Path, past: Run, sample: csp_data.Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interface = Interface.of(sample)
    for name, error, message in (
        ("Counts", ModelError, r"mine\.py:Counts: .*; state\.1 is 0 at first and 10 later"),
        ("Decides", ExportError, r"refuses the step of mine\.py:Decides: .* stream runs this model as it is"),
        ("Past", ExportError, r"mine\.py:Past: expected a model with a step of its own"),
    ):
        model = baselines.build(f"{file}:{name}", 12, 3)
        with pytest.raises(error, match=message):
            export(model, interface, tmp_path / "step.pt2", "pt2")  # type: ignore[arg-type]
    assert capsys.readouterr().err == ""
    with pytest.raises(SystemExit):
        main(["export", str(past.folder), "--window", "3", "-o", str(tmp_path / "step.pt2"), "--format", "pt2"])
    assert "mine.py:Past: expected a model with a step of its own" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]
