"""The exported step equals the model, call by call, whatever the model; the consumer needs no torch."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import baselines
import csp_data
from baselines import build
from baselines.cli import main
from baselines.errors import OptionError
from baselines.layers import LAYERS
from baselines.models.config import FlatConfig
from baselines.presets import INNER_KINDS
from baselines.runs.interface import INTERFACE, Interface, interface_of
from baselines.runs.run import Run, read_run
from baselines.stream.export import ExportError, check, export, load_step
from baselines.stream.own_step import AS_IT_IS
from baselines.stream.step_module import StepModule, filter_matrices
from baselines.stream.streamer import Streamer
from baselines.trained import load_model

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
CONSUMER = Path(__file__).parents[3] / "examples" / "onnx_consumer.py"

# torch's exporter uses what torch deprecates
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def interface(sample: csp_data.Dataset) -> Interface:
    """With clips that samples reach on both sides, at another rate than the filter's usual one."""
    lowpass = csp_data.LowPass(8.0, 3, "causal")
    return replace(Interface.of(sample), input_hz=40.0, lowpass=lowpass, clip=0.4, raw_clip=0.6)


def made(name: str, **options: object) -> torch.nn.Module:
    torch.manual_seed(1)
    return build(name, in_dim=12, out_dim=3, **{"dim": 16, "layers": 2, **options}).eval()


STEPS = [
    *((f"flat-{kind}", {"window": 5} if kind == "transformer" else {}) for kind in LAYERS),
    *((f"hiss-{low}-lstm", {}) for low in INNER_KINDS),
    ("flat-s4", {"readout": "first"}),
    ("hiss-s4-transformer", {"high_window": 3}),
    ("hiss-s4-mamba", {"overlap": 13, "readout": "attention"}),
    ("hiss-s4-gru-s4", {"overlap": 2, "readout": "linear"}),
    ("hiss-s4d-tcn", {"chunk": 40}),
]


@pytest.mark.parametrize(("name", "options"), STEPS)
def test_the_module_equals_the_stream(
    name: str,
    options: dict[str, object],
    interface: Interface,
    sample: csp_data.Dataset,
    as_trained: Callable[[torch.nn.Module], torch.nn.Module],
) -> None:
    model = as_trained(made(name, **options))
    inputs = sample.val[0].inputs[:120].astype(float)
    expected = Streamer.of(model, interface, "reference").push(inputs)  # type: ignore[arg-type]
    step = StepModule(model, interface).eval()  # type: ignore[arg-type]
    state, outputs = list(step.states.values()), []
    with torch.no_grad():
        for call, piece in enumerate(inputs.reshape(-1, step.samples, 6)):
            output, *state = step(torch.from_numpy(piece), *state)
            if call % step.period == step.due:
                outputs.append(output.numpy())
            assert all(tensor.is_contiguous() for tensor in state), "AOTInductor would read other numbers"
    np.testing.assert_allclose(np.array(outputs), expected, atol=1e-5)


def test_the_model_stays_what_it_was(interface: Interface, tmp_path: Path) -> None:
    """It may be in the middle of its training, or in another precision than the file."""
    model = made("flat-lstm").double().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export(model, interface, tmp_path / "step.pt2", "pt2")  # type: ignore[arg-type]
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert {value.dtype for value in model.state_dict().values()} == {torch.float64}


def with_baseline(run: Run, folder: Path, baseline: str, rows: int) -> Run:
    """A copy of a run whose protocol subtracts a baseline."""
    shutil.copytree(run.folder, folder)
    interface = replace(interface_of(run), baseline=baseline, baseline_rows=rows)
    (folder / INTERFACE).write_text(json.dumps(interface.to_dict()))
    return read_run(folder)


# exporting takes seconds: the kinds are shared out over few models
FILES = [
    ("hiss-s4-mamba", "onnx", {}),
    ("hiss-gru-transformer", "onnx", {"high_window": 3, "overlap": 2, "dim": 64}),
    ("hiss-tcn-lru", "onnx", {}),
    ("hiss-s4d-s4", "onnx", {}),
    ("flat-s4d", "onnx", {"readout": "first"}),
    ("flat-mamba2", "onnx", {}),
    ("hiss-s4-gru", "pt2", {}),
    ("hiss-mamba2-transformer", "pt2", {"high_window": 3}),
    ("flat-lru", "pt2", {"chunk": 40}),
    ("flat-tcn", "pt2", {}),
    ("flat-mamba", "pt2", {}),
    ("flat-lstm", "pt2", {}),
]


@pytest.mark.parametrize(("name", "form", "options"), FILES)
def test_the_file_equals_the_model(
    name: str, form: str, options: dict[str, object], interface: Interface, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "folder" / f"step.{form}"
    model: Any = made(name, layers=1, **options)
    metadata = export(model, interface, path, form, name)
    assert metadata["largest_difference"] <= 1e-5
    assert json.loads(path.with_name(f"step.{form}.json").read_text()) == metadata
    assert {file.name for file in path.parent.iterdir()} == {path.name, f"{path.name}.json"}
    first = {"name": "started", "next": "next_started", "shape": [1], "dtype": "float64", "initial": 0}
    assert metadata["states"][0] == first
    for folder in (Path(torch.__file__).parent, Path(baselines.__file__).parent):
        assert str(folder).encode() not in path.read_bytes()
    if form == "onnx":
        written = onnx.load(path)
        assert (written.ir_version, [opset.version for opset in written.opset_import]) == (8, [18])
        assert [node.name for node in written.graph.input] == ["samples", *(s["name"] for s in metadata["states"])]
        assert [node.name for node in written.graph.output] == [
            "prediction",
            *(s["next"] for s in metadata["states"]),
        ]
        inside = {entry.key: entry.value for entry in written.metadata_props}["csp-baselines-step"]
    else:
        torch.export.load(path, extra_files=(files := {"csp-baselines-step.json": ""}))
        inside = files["csp-baselines-step.json"]
    known_later = {
        "largest_difference": metadata["largest_difference"],
        "sha256": sha256(path.read_bytes()).hexdigest(),
    }
    assert {**json.loads(inside), **known_later} == metadata

    # after hours: steps are counted in whole numbers, of which a Transformer makes angles
    late = {"int64": 10**6}
    state = {s["name"]: np.full(s["shape"], late.get(s["dtype"], 0), s["dtype"]) for s in metadata["states"]}
    samples = np.random.default_rng(0).normal(size=metadata["samples"]["shape"])
    found, _ = load_step(path)(samples, state)
    with torch.no_grad():
        expected, *_ = StepModule(model, interface)(*map(torch.from_numpy, [samples, *state.values()]))
    np.testing.assert_allclose(found, expected, atol=1e-5)

    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # a weight was another, without a word
    path.write_bytes(content)
    with pytest.raises(
        ExportError, match=r"damaged, or of another export than its \.json .* export the model again\."
    ):
        load_step(path)


def test_what_is_no_exported_step(interface: Interface, tmp_path: Path) -> None:
    """Each ended in an error of Python's own."""
    path = tmp_path / "step.pt2"
    for metadata, reason in (
        (None, r"No such file .*step\.pt2\.json"),
        ({"states": [], "file_format": "pt2"}, r"No such file .*step\.pt2'"),
        ({}, "KeyError: 'states'"),
        (str(path), "TypeError"),
    ):
        with pytest.raises(ExportError, match=rf"step\.pt2: cannot be read as an exported step.*{reason}"):
            load_step(path, metadata)  # type: ignore[arg-type]


class Choosing(torch.nn.Linear):
    """A decoder of a user's, which looks into its numbers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x if x.sum() > 0 else -x)


class Differing(torch.nn.Linear):
    """One that is exported as another than it is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + 1e-4 * torch.compiler.is_compiling()


class Failing(torch.nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise KeyError("a fault, and no refusal")


def test_a_changed_model_that_cannot_be_exported(interface: Interface, tmp_path: Path) -> None:
    model: Any = made("flat-lstm", dim=8, layers=1)
    width = model.net.decoder.in_features
    model.net.decoder = Choosing(width, 3)
    with pytest.raises(
        ExportError, match=r"^the exporter of torch \S+ refuses this model: [^\n]*[^.\n]$"
    ) as raised:
        export(model, interface, tmp_path / "step.pt2", "pt2")
    assert AS_IT_IS not in str(raised.value)
    model.net.decoder = Differing(width, 3)
    with pytest.raises(
        ExportError, match=r"differs from the model by 0\.0001 of .* at most 1e-05\. Nothing was written\. Please"
    ):
        export(model, interface, tmp_path / "step.pt2", "pt2")
    model.net.decoder = Failing(width, 3)
    with pytest.raises(KeyError, match="a fault"):
        export(model, interface, tmp_path / "step.pt2", "pt2")
    assert list(tmp_path.iterdir()) == []


def test_the_check_finds_another_model(interface: Interface, tmp_path: Path) -> None:
    path, model = tmp_path / "step.pt2", made("flat-lstm")
    metadata = export(model, interface, path, name="flat-lstm")  # type: ignore[arg-type]
    with torch.no_grad():
        next(iter(model.parameters())).mul_(1.01)
    with pytest.raises(ExportError, match="flat-lstm differs from the model by"):
        check(path, metadata, Streamer.of(model, interface, "reference"))  # type: ignore[arg-type]


def test_matrices_filter_like_the_filter() -> None:
    lowpass = csp_data.LowPass(0.75, 5, "causal")
    x = np.random.default_rng(0).normal(size=(80, 2)) + 9.81
    m = filter_matrices(lowpass.sections(50.0), 8)
    z, outputs = m["zi"] * x[:1], []
    for piece in x.reshape(-1, 8, 2):
        outputs.append(m["direct"] @ piece + m["carried"] @ z)
        z = m["added"] @ piece + m["kept"] @ z
    np.testing.assert_allclose(np.concatenate(outputs), lowpass.apply(x, 50.0), atol=1e-9)


@pytest.mark.parametrize("baseline", ["none", "median"])
def test_the_consumer_needs_numpy_and_onnxruntime_alone(
    runs: dict[str, Run],
    sample: csp_data.Dataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    baseline: str,
) -> None:
    """In a process that cannot import torch or csp-data, from another folder."""
    model, inputs = tmp_path / "step.onnx", sample.val[0].inputs[:40]
    run = with_baseline(runs["a"], tmp_path / "run", baseline, 13)
    main(["export", str(run.folder), "-o", str(model), "--json"])
    made = json.loads(capsys.readouterr().out)
    assert made["model"] == "flat-lstm"
    assert made["before_the_graph"] == ([] if baseline == "none" else ["baseline"])
    data = run.config.data
    known = {"name": "sample", "kind": "real recordings", "protocol": "strict", "recipe_hash": data.recipe_hash}
    assert made["source"] == {"run": "run", "data": known}
    (tmp_path / "step.onnx.json").unlink()  # the file holds it, too
    rows = "".join(",".join(repr(float(v)) for v in row) + "\n" for row in inputs)
    (tmp_path / "in.csv").write_text(",".join(sample.channels.names) + "\n" + rows)
    code = (
        "import runpy, sys\n"
        "for name in ('torch', 'csp_data', 'baselines', 'numba', 'scipy'): sys.modules[name] = None\n"
        f"sys.argv = ['consumer', {str(model)!r}, {str(tmp_path / 'in.csv')!r}]\n"
        f"runpy.run_path({str(CONSUMER)!r}, run_name='__main__')\n"
        "assert not any(name.partition('.')[0] == 'torch' for name, m in sys.modules.items() if m)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    found = np.array([[float(v) for v in line.split(",")] for line in done.stdout.splitlines()[1:]])
    expected = Streamer.of(load_model(run), interface_of(run)).push(inputs)  # type: ignore[arg-type]
    np.testing.assert_allclose(found[:, 1:], expected, atol=1e-5)
    np.testing.assert_allclose(found[:, 0], [0.2, 0.4, 0.6, 0.8])


@pytest.mark.parametrize(("hz", "code"), [(50, 0), (83, 1)])
def test_the_consumer_stops_at_samples_of_another_rate(
    runs: dict[str, Run], sample: csp_data.Dataset, tmp_path: Path, hz: int, code: int
) -> None:
    """It predicted 50 s of a recording of 30, from samples that came at 83 Hz."""
    model, inputs = tmp_path / "step.onnx", sample.val[0].inputs[:100]
    main(["export", str(runs["a"].folder), "-o", str(model), "--quiet"])
    times = np.cumsum(np.random.default_rng(0).uniform(0.7, 1.3, 100)) / hz  # jitter is let through
    header = ",".join(["time", *sample.channels.names])
    stamped = np.column_stack([times, inputs])
    np.savetxt(tmp_path / "in.csv", stamped, delimiter=",", header=header, comments="")
    command = [sys.executable, str(CONSUMER), str(model), str(tmp_path / "in.csv")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == code, done.stderr
    assert len(done.stdout.splitlines()) == (0 if code else 11)
    assert ("expected samples 0.02 s apart (50 Hz), found a median of 0.012" in done.stderr) == bool(code)
    if not code:  # a sample that is no number would stay in the state
        stamped[55, 3] = np.nan
        np.savetxt(tmp_path / "in.csv", stamped, delimiter=",", header=header, comments="")
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert (done.returncode, len(done.stdout.splitlines())) == (1, 6)
        assert "expected finite numbers" in done.stderr
        (tmp_path / "in.csv").write_text("time,acc_x\n0,1\n")  # was a traceback
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert re.fullmatch(
            r"expected a header with acc_x, .*, gyr_z, found none of the name acc_y\n", done.stderr
        )
        beside = model.with_name("step.onnx.json")
        beside.write_text(beside.read_text().replace('"sha256": "', '"sha256": "0'))  # of another export
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert "step.onnx as it was exported, found other bytes" in done.stderr


@pytest.mark.parametrize("baseline", ["none", "mean"])
def test_the_consumer_resamples_a_pipe_as_the_stream_does(
    baseline: str,
    runs: dict[str, Run],
    sample: csp_data.Dataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Times since 1970 with jitter, a gap, a sample that came twice, one that came late; then a clock set back."""
    run = with_baseline(runs["a"], tmp_path / "run", baseline, 13)
    main(["export", str(run.folder), "-o", str(tmp_path / "step.onnx"), "--quiet"])
    inputs, rng = sample.val[0].inputs[:200].astype(float), np.random.default_rng(0)
    times = 1.764e9 + np.cumsum(rng.uniform(0.7, 1.3, 200)) / 83
    times[100:] += 0.5
    once = np.column_stack([times, inputs])
    sent = np.concatenate([once[:30], once[[29, 10]], once[30:]])
    form = ["%.6f", *6 * ["%.17g"]]
    header = ",".join(["time", *sample.channels.names])
    np.savetxt(tmp_path / "in.csv", sent, form, ",", header=header, comments="")
    back = once - [3600, *6 * [0]]
    np.savetxt(tmp_path / "back.csv", np.concatenate([sent, back]), form, ",", header=header, comments="")

    def consumed(name: str) -> list[np.ndarray]:
        command = [sys.executable, str(CONSUMER), str(tmp_path / "step.onnx"), "-", "--resample"]
        with (tmp_path / name).open() as pipe:
            done = subprocess.run(command, stdin=pipe, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
        return [np.array(line.split(","), dtype=float) for line in done.stdout.splitlines()[1:]]

    capsys.readouterr()
    main(["stream", str(run.folder), "--input", str(tmp_path / "in.csv"), "--resample", "--on-bad", "hold", "-q"])
    expected = np.genfromtxt(capsys.readouterr().out.splitlines(), delimiter=",", skip_header=1)[:, :-1]
    found = np.array(consumed("in.csv"))
    assert len(found) > 8
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-4)
    both = np.array(consumed("back.csv"))
    np.testing.assert_array_equal(both[: len(found)], found)
    assert both[len(found), 0] == pytest.approx(times[0] - 3600 + 0.2, rel=0, abs=1e-5)

    milliseconds = np.concatenate([["time"], (1000 * times[:50]).astype(str)])
    lines = [f"{t},{row}" for t, row in zip(milliseconds, [header[5:], *50 * ["1,1,1,1,1,1"]], strict=True)]
    (tmp_path / "in.csv").write_text("\n".join(lines))
    command = [sys.executable, str(CONSUMER), str(tmp_path / "step.onnx"), "in.csv", "--resample"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, "expected times in seconds" in done.stderr) == (1, True)


def test_what_cannot_be_exported(interface: Interface, tmp_path: Path) -> None:
    model = made("flat-transformer")
    assert isinstance(model.config, FlatConfig)
    with pytest.raises(OptionError, match=r"fixed size.*--window"):
        export(model, interface, tmp_path / "x.onnx", "onnx")  # type: ignore[arg-type]
    lstm = made("flat-lstm")
    with pytest.raises(OptionError, match="one of onnx, pt2"):
        export(lstm, interface, tmp_path / "x.tflite", "tflite")  # type: ignore[arg-type]
    zero = replace(interface, lowpass=csp_data.LowPass(8.0, 3, "zero"))
    with pytest.raises(OptionError, match="causal"):
        export(lstm, zero, tmp_path / "x.onnx", "onnx")  # type: ignore[arg-type]
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="file that can be written"):
        export(lstm, interface, tmp_path / "file" / "x.onnx", "onnx")  # type: ignore[arg-type]
    for folder in (tmp_path, "."):
        with pytest.raises(OptionError, match="the name of a file; this is a folder"):
            export(lstm, interface, folder, "onnx")  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
