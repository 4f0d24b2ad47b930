"""Models from a file of one's own: trained, kept, evaluated, streamed and compared like those of the package."""

from __future__ import annotations

import hashlib
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import baselines
import csp_data
from baselines.ablations.ablate import ablate
from baselines.errors import CspDataError, ModelError, OptionError, UnknownNameError
from baselines.models.own import OwnModel
from baselines.presets import short_names
from baselines.runs.interface import interface_of
from baselines.runs.run import Run, RunError
from baselines.stream.streamer import with_window
from baselines.sweeps.grid import Grid, expand
from baselines.sweeps.worker import Place, work_on
from baselines.tables.render import notes
from baselines.training.settings import TrainConfig

EXAMPLE = Path(__file__).parents[3] / "examples" / "own_model.py"
LAYER = EXAMPLE.with_name("own_layer.py")
SHORT = TrainConfig(epochs=2, window_s=None, window_stride_s=None, seed=3)

FILE = """
import random
import numpy as np
import torch
import baselines
from torch import nn
from helper import SCALE

class Causal(nn.Module):
    def __init__(self, in_dim, out_dim, chunk, width=4, readout="last"):
        super().__init__()
        self.read, self.out = nn.Conv1d(in_dim, width, chunk, stride=chunk), nn.Linear(width, out_dim)
        self.readout = readout

    def forward(self, x):
        return SCALE * self.out(self.read(x.mT).mT)

class Ahead(Causal):
    def forward(self, x):
        return super().forward(x.flip(1)).flip(1) + super().forward(x).mean(1, keepdim=True)

def made(in_dim, out_dim, chunk, **more):
    return Causal(in_dim, out_dim, chunk, **more)

def every_sample(in_dim, out_dim, chunk):
    return nn.Linear(in_dim, out_dim)

def breaks(in_dim, out_dim, chunk):
    raise ValueError("no such width")

def narrow(in_dim, out_dim, chunk):
    return Causal(in_dim - 1, out_dim, chunk)

def no_module(in_dim, out_dim, chunk):
    return lambda x: x

def not_finite(in_dim, out_dim, chunk):
    model = Causal(in_dim, out_dim, chunk)
    nn.init.constant_(model.out.bias, float("nan"))
    return model

class Forgetful(Causal):
    # its step does not remember the earlier samples of the chunk

    def initial_state(self, batch_size, device, dtype):
        return 0

    def step(self, x_t, position):
        due = (position + 1) % self.read.kernel_size[0] == 0
        whole = x_t[:, None].expand(-1, self.read.kernel_size[0], -1)
        return self(whole)[:, 0] if due else None, position + 1

class Early(Forgetful):
    def step(self, x_t, position):
        return x_t[:, :2] if position % 10 == 4 else None, position + 1

class InPlace(Forgetful):
    # its step adds to the state that it is given

    def forward(self, x):
        return self.read(x.mT).mT.cumsum(1)[..., : self.out.out_features]

    def initial_state(self, batch_size, device, dtype):
        return torch.zeros(batch_size, self.out.out_features), torch.zeros(batch_size, 0, self.read.in_channels)

    def step(self, x_t, state):
        total, samples = state
        samples = torch.cat((samples, x_t[:, None]), 1)
        if samples.shape[1] < self.read.kernel_size[0]:
            return None, (total, samples)
        total += self.read(samples.mT)[:, : self.out.out_features, 0]
        return total.clone(), (total, samples[:, :0])

class Listed(Causal):
    def initial_state(self, batch_size, device, dtype):
        return [torch.zeros(batch_size, 0, self.read.in_channels)]

    def step(self, x_t, state):
        samples = torch.cat((state[0], x_t[:, None]), 1)
        due = samples.shape[1] == self.read.kernel_size[0]
        return (self(samples)[:, 0], [samples[:, :0]]) if due else (None, [samples])

class Noisy(Causal):
    def forward(self, x):
        return super().forward(nn.functional.dropout(x))

class Gated(Ahead):
    # looks ahead through a gate that is closed at first

    def __init__(self, in_dim, out_dim, chunk):
        super().__init__(in_dim, out_dim, chunk)
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return Causal.forward(self, x) + self.gate * super().forward(x)

class Expanded(Causal):
    def __init__(self, in_dim, out_dim, chunk):
        super().__init__(in_dim, out_dim, chunk)
        self.register_buffer("rows", torch.zeros(4).expand(3, 4))

class NotTrained(Causal):
    def forward(self, x):
        return super().forward(x).detach()

class FailsInTraining(Causal):
    def forward(self, x):
        return super().forward(x) if not self.training else super().forward(x)[:, :, None].unsqueeze("no")

class Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.sign()

class FailsBackward(Causal):
    def forward(self, x):
        return Sign.apply(super().forward(x))

class Extra(Causal):
    def get_extra_state(self):
        return {"seen": 0}

class Complex(Causal):
    def __init__(self, in_dim, out_dim, chunk):
        super().__init__(in_dim, out_dim, chunk)
        self.turn = nn.Parameter(torch.ones(4, dtype=torch.complex64))

    def forward(self, x):
        return self.out((self.turn * self.read(x.mT).mT).real)

class Hollow(Causal):
    def __init__(self, in_dim, out_dim, chunk):
        super().__init__(in_dim, out_dim, chunk)
        self.mix = nn.Parameter(torch.zeros(4, 0))

def ours(in_dim, out_dim, chunk):
    return baselines.build("flat-grue", in_dim, out_dim, chunk=chunk)

def leaves(in_dim, out_dim, chunk):
    raise SystemExit(0)

class Tied(Causal):
    def __init__(self, in_dim, out_dim, chunk):
        super().__init__(in_dim, out_dim, chunk)
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.out(self.second(self.first(self.read(x.mT).mT)))

class LazyAndFrozen(Causal):
    def __init__(self, in_dim, out_dim, chunk):
        super().__init__(in_dim, out_dim, chunk)
        self.out = nn.LazyLinear(out_dim)
        self.read.bias.requires_grad_(False)

class Drawn(Causal):
    # what it draws is neither a parameter nor a buffer

    def __init__(self, in_dim, out_dim, chunk):
        super().__init__(in_dim, out_dim, chunk)
        self.phase = torch.rand(4) + float(np.random.rand()) + random.random()

    def forward(self, x):
        return self.out(torch.sin(self.read(x.mT).mT + 9 * self.phase))

class Asked(Causal):
    def __init__(self, in_dim, out_dim, chunk, name="", preset="", overlap=2, sizes=()):
        super().__init__(in_dim, out_dim, chunk)
        self.asked = name, preset, overlap, sizes

def empty(in_dim, out_dim, chunk):
    return nn.Identity()

def without(features):
    return None

CONSTANT = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    (tmp_path / "helper.py").write_text("SCALE = 2.0\n")
    return path


@pytest.fixture(scope="module")
def trained(sample: csp_data.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("own")
    run, state = baselines.run(sample, f"{EXAMPLE}:ChunkGRU", SHORT, folder / "run", options={"width": 16})
    assert state == "new"
    return run


def test_a_run_keeps_the_file_and_what_it_was_asked(trained: Run, sample: csp_data.Dataset) -> None:
    assert (trained.folder / "model.py").read_bytes() == EXAMPLE.read_bytes()
    model = trained.config.model
    assert (trained.config.name, model["source"]) == ("own-ChunkGRU", "own_model.py:ChunkGRU")
    assert model["options"] == {"width": 16}
    assert model["digest"] == hashlib.sha256(EXAMPLE.read_bytes()).hexdigest()[:16]
    assert not model["looks_ahead"]
    again, state = baselines.run(sample, f"{EXAMPLE}:ChunkGRU", SHORT, trained.folder, options={"width": 16})
    assert state == "finished"
    assert again.results == trained.results


def test_evaluated_anew_it_gives_the_same_errors_even_where_the_file_is_gone(
    sample: csp_data.Dataset, file: Path
) -> None:
    run, _ = baselines.run(sample, f"{file}:Causal", SHORT, file.parent / "run")
    file.unlink()
    moved = shutil.move(run.folder, file.parent / "moved")
    again = baselines.evaluate(moved, sample)
    assert again["mse"] == pytest.approx(run.reported["mse"], rel=1e-6)


def test_streaming_equals_the_predictions_of_the_run(trained: Run, sample: csp_data.Dataset) -> None:
    model = baselines.load_model(trained.folder)
    stream = baselines.Streamer.of(model, interface_of(trained))  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    for episode, expected in zip(sample.test, trained.predictions, strict=True):
        stream.reset()
        cuts = np.sort(rng.integers(0, len(episode.inputs), 9))
        found = np.concatenate([stream.push(piece) for piece in np.split(episode.inputs, cuts)])
        np.testing.assert_allclose(found, expected.pred, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["flat", "low", "high"])
def test_a_layer_of_ones_own_takes_the_place_of_one_of_ours(name: str) -> None:
    model = baselines.build(f"{LAYER}:{name}", in_dim=6, out_dim=2, chunk=5, hidden=7).eval()
    inner, x = model.inner, torch.randn(2, 15, 6, generator=torch.Generator().manual_seed(0))
    place = {"flat": "net.layer", "low": "low.layer", "high": "high"}[name]
    assert [path for path, module in inner.named_modules() if type(module).__name__ == "Leaky"] == [place]
    with torch.no_grad():
        if name == "flat":
            expected = inner.net.decoder(inner.net.layer(inner.net.embed(x)))[:, 4::5]
        else:
            chunks = [inner.low.layer(inner.low.embed(chunk))[:, -1] for chunk in x.split(5, dim=1)]
            expected = inner.output(inner.high(inner.low.decoder(torch.stack(chunks, dim=1))))
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5)


def test_a_sweep_in_two_processes_finds_a_file_by_its_relative_path(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    asked = {"seeds": [0, 1], "settings": {"model.width": [2, 3], "train.epochs": [1]}, "jobs": 2}
    first = baselines.sweep(["sample"], ["mine.py:Causal"], out="sweep", **asked)  # type: ignore[arg-type]
    assert [run.config.model["options"] for run in first.runs()] == 2 * [{"width": 2}, {"width": 3}]
    monkeypatch.chdir("/")  # what is finished is known from elsewhere too
    again = baselines.sweep(["sample"], [f"{file}:Causal"], out=file.parent / "sweep", **asked)  # type: ignore[arg-type]
    assert {run.config.key for run in again.runs()} == {run.config.key for run in first.runs()}
    assert len(list((file.parent / "sweep" / "runs").iterdir())) == 4


def test_an_edited_file_is_another_model_and_the_old_run_keeps_its_own(
    sample: csp_data.Dataset, file: Path
) -> None:
    run, _ = baselines.run(sample, f"{file}:Causal", SHORT, file.parent / "run")
    file.write_text(FILE.replace("stride=chunk)", "stride=chunk, bias=False)"))
    with pytest.raises(RunError, match=r"holds another run: model\.digest is"):
        baselines.run(sample, f"{file}:Causal", SHORT, run.folder)
    assert baselines.evaluate(run, sample)["mse"] == pytest.approx(run.reported["mse"], rel=1e-6)
    shutil.copy(file, run.folder / "model" / "mine.py")
    with pytest.raises(ModelError, match=r"expected the file that mine\.py:Causal was trained from"):
        baselines.load_model(run)
    (run.folder / "model" / "mine.py").unlink()
    with pytest.raises(ModelError, match="found nothing"):
        baselines.load_model(run)


def test_a_model_that_looks_ahead_is_found_out_and_named_below_the_table(
    sample: csp_data.Dataset, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runs = [baselines.run(sample, f"{file}:{name}", SHORT, file.parent / name)[0] for name in ("Causal", "Ahead")]
    assert [run.config.model["looks_ahead"] for run in runs] == [False, True]
    assert [record.getMessage().split(" looks")[0] for record in caplog.records] == ["mine.py:Ahead"]
    table = baselines.make_table(runs)
    assert table.looks_ahead == ("own-Ahead",)
    assert any(note.startswith("own-Ahead: outputs were seen to depend on samples after") for note in notes(table))
    assert {row.model: row.kind for row in table.rows} == {"own-Ahead": "own", "own-Causal": "own"}


def test_the_weights_are_those_that_the_seed_gives(file: Path) -> None:
    """The trial of a fresh model takes nothing from the random numbers."""
    torch.manual_seed(5)
    model = baselines.build(f"{file}:made", 3, 2, chunk=4, width=6, readout="first")
    after = torch.rand(3)
    torch.manual_seed(5)
    read, out = torch.nn.Conv1d(3, 6, 4, stride=4), torch.nn.Linear(6, 2)
    assert isinstance(model, OwnModel)
    inner = model.inner
    assert model.training
    assert inner.readout == "first"
    expected = {**{f"read.{k}": v for k, v in read.state_dict().items()}}
    expected |= {f"out.{k}": v for k, v in out.state_dict().items()}
    torch.testing.assert_close(dict(inner.state_dict()), expected)
    torch.testing.assert_close(after, torch.rand(3))
    x = torch.randn(2, 12, 3)
    torch.testing.assert_close(model(x), 2 * out(read(x.mT).mT))


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("every_sample", {}, ModelError, r"expected outputs \(2, 3, 2\) .*found \(2, 30, 2\)"),
        ("breaks", {}, ModelError, r"mine\.py:breaks \(line 29\): making it raised ValueError: no such width"),
        ("narrow", {}, ModelError, r"mine\.py:narrow \(line 16\): its forward raised RuntimeError: .*channels"),
        ("no_module", {}, ModelError, r"expected a torch\.nn\.Module, it returned function"),
        ("without", {}, ModelError, r"in_dim, out_dim and chunk, found without\(features\)"),
        ("not_finite", {}, ModelError, "outputs for standard normal inputs are not finite"),
        ("Forgetful", {}, ModelError, r"to predict what forward does; found a difference of \d"),
        ("Early", {}, ModelError, r"found them at samples \[5, 15, 25\]"),
        ("InPlace", {}, ModelError, "to leave the state that it is given as it is"),
        ("Listed", {}, ModelError, r"in nested tuples, .* found list at the start"),
        ("Noisy", {}, ModelError, r"the same outputs for the same inputs in eval\(\)"),
        ("NotTrained", {}, ModelError, "its outputs depend on no parameter that can be trained"),
        ("FailsInTraining", {}, ModelError, r"\(line \d+\): its forward raised TypeError"),
        ("FailsBackward", {}, ModelError, "its backward raised NotImplementedError"),
        ("Expanded", {}, ModelError, "taking up its own state_dict raised RuntimeError"),
        ("Complex", {}, ModelError, r"parameters of real numbers, turn is torch\.complex64"),
        ("Hollow", {}, ModelError, r"parameters with values, mix has the shape \(4, 0\)"),
        ("leaves", {}, ModelError, r"\(line \d+\): making it raised SystemExit: 0\."),
        ("Extra", {}, ModelError, "tensors alone in its state_dict, .* _extra_state is dict"),
        ("Causal", {"readout": object()}, OptionError, "a value that JSON has"),
        ("empty", {}, ModelError, "it has nothing to train"),
        ("CONSTANT", {}, ModelError, "CONSTANT is no class and no function"),
        ("ours", {}, UnknownNameError, r"model 'flat-grue'"),
        ("Casual", {}, UnknownNameError, r"Did you mean 'Causal'\? Known: Ahead, Asked, Causal"),
        ("Causal", {"widht": 3}, UnknownNameError, "Did you mean 'width'"),
        ("Causal", {"preset": "small"}, UnknownNameError, r"'preset' of mine\.py:Causal\. Known: width, readout"),
        ("Causal", {"overlap": 0}, UnknownNameError, r"'overlap' of mine\.py:Causal\. Known: width, readout"),
        ("made", {"overlap": 0}, ModelError, "unexpected keyword argument 'overlap'"),
        ("Gated", {"width": 3}, UnknownNameError, r"'width' of mine\.py:Gated\. Known: none"),
        ("Causal", {"chunk": 0}, OptionError, "chunk"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_before_anything_is_trained(
    file: Path, name: str, options: dict[str, object], error: type[CspDataError], message: str
) -> None:
    with pytest.raises(error, match=message):
        baselines.build(f"{file}:{name}", 3, 2, **options)  # type: ignore[arg-type]


def test_a_file_that_cannot_be_run_or_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("import torch\n\nimport no_such_package_at_all\n")
    with pytest.raises(ModelError, match=r"broken\.py \(line 3\): running the file raised ModuleNotFoundError"):
        baselines.build(f"{path}:A", 3, 2)
    with pytest.raises(ModelError, match=r"there is no file .*missing\.py"):
        baselines.build(f"{tmp_path / 'missing.py'}:A", 3, 2)
    with pytest.raises(ModelError, match="there is no file ~nobody-of-that-name/"):
        baselines.build("~nobody-of-that-name/missing.py:A", 3, 2)
    with pytest.raises(UnknownNameError, match=r"A model of your own is FILE\.py:NAME"):
        baselines.build("mine.Causal", 3, 2)


def test_inputs_are_checked_as_those_of_any_model(file: Path) -> None:
    model = baselines.build(f"{file}:Causal", 3, 2)
    with pytest.raises(ModelError, match="positive multiple of the chunk of 10 samples, got 15"):
        model(torch.zeros(1, 15, 3))
    with pytest.raises(ModelError, match="1 input values are not finite"):
        model(
            torch.full((1, 10, 3), 0.0)
            .index_fill(1, torch.tensor([4]), 0.0)
            .index_put((torch.tensor([0]), torch.tensor([4]), torch.tensor([1])), torch.tensor(torch.nan))
        )


def test_what_needs_more_than_predictions_says_so(trained: Run, sample: csp_data.Dataset, file: Path) -> None:
    causal = baselines.build(f"{file}:Causal", 12, 3)
    with pytest.raises(ModelError, match="no initial_state and no step"):
        baselines.Streamer.of(causal, baselines.Interface.of(sample))
    model = baselines.load_model(trained)
    with pytest.raises(OptionError, match="only a Transformer looks back, and one of your own without step"):
        with_window(model, 10)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="engine"):
        baselines.Streamer.of(model, interface_of(trained), "fast")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"baselines\.load_model"):
        baselines.build_from_config(trained.config.model)


@pytest.mark.parametrize("name", ["Tied", "LazyAndFrozen", "Drawn"])
def test_weights_that_are_shared_late_or_fixed_and_numbers_that_are_drawn_are_there_again(
    sample: csp_data.Dataset, file: Path, name: str
) -> None:
    run, _ = baselines.run(sample, f"{file}:{name}", SHORT, file.parent / "run")
    state = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    assert baselines.evaluate(run, sample)["mse"] == pytest.approx(run.reported["mse"], rel=1e-6)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == state  # noqa: NPY002
    again, _ = baselines.run(sample, f"{file}:{name}", SHORT, file.parent / "again")
    assert again.reported["mse"] == run.reported["mse"]


def test_whatever_a_model_draws_hangs_on_torchs_seed_alone(file: Path) -> None:
    phases = []
    for other in (1, 2):
        random.seed(other)
        np.random.seed(other)  # noqa: NPY002
        torch.manual_seed(0)
        phases.append(baselines.build(f"{file}:Drawn", 12, 3).inner.phase)  # type: ignore[union-attr]
    torch.testing.assert_close(*phases)


def test_an_option_may_have_any_name_and_is_what_the_folder_gives_back(
    sample: csp_data.Dataset, file: Path
) -> None:
    options = {"name": "a", "preset": "b", "overlap": 0, "sizes": (8, 16)}
    run, _ = baselines.run(sample, f"{file}:Asked", SHORT, file.parent / "run", options=options)
    assert baselines.load_model(run).inner.asked == ("a", "b", 0, [8, 16])  # type: ignore[union-attr]
    built = baselines.build(f"{file}:Asked", 12, 3, preset="b", overlap=0)
    assert built.inner.asked == ("", "b", 0, ())  # type: ignore[union-attr]
    run, _ = baselines.run(sample, f"{file}:Asked", SHORT, file.parent / "preset", preset="b")
    assert run.config.model["options"] == {"preset": "b"}
    with pytest.raises(OptionError, match="no size of a model"):
        baselines.run(sample, "flat-gru", SHORT, file.parent / "other", options={"name": "a"})


def test_what_a_gate_that_is_closed_at_first_hides_is_found(file: Path) -> None:
    model = baselines.build(f"{file}:Gated", 3, 2)
    assert isinstance(model, OwnModel)
    assert model.config.looks_ahead
    assert not model.inner.gate.any()  # type: ignore[union-attr, operator]


def test_files_of_the_same_name_beside_two_models_are_not_mistaken(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "mine.py"
    other.parent.mkdir()
    shutil.copy(file, other)
    (other.parent / "helper.py").write_text("SCALE = 100.0\n")
    x = torch.randn(1, 10, 3)
    outputs = []
    for one in (file, other, file):
        torch.manual_seed(0)
        outputs.append(baselines.build(f"{one}:Causal", 3, 2)(x))
    torch.testing.assert_close(outputs[1], 50 * outputs[0])
    torch.testing.assert_close(outputs[2], outputs[0])


def test_a_file_that_changes_within_a_moment_and_a_size_is_another(file: Path) -> None:
    counts = []
    for width in (4, 5):
        file.write_text(FILE.replace("width=4", f"width={width}"))
        counts.append(sum(p.numel() for p in baselines.build(f"{file}:Causal", 3, 2).parameters()))
    assert counts == [4 * 31 + 10, 5 * 31 + 12]
    assert not list(file.parent.glob("__pycache__/mine.*"))


def test_models_are_told_apart_by_their_files_where_their_names_are_the_same(
    sample: csp_data.Dataset, file: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(file.parent, tmp_path / "other") / file.name
    other.write_text(FILE + "\n")
    models = (f"{file}:Causal", f"{other}:Causal", f"{file}:Ahead", "flat-gru")
    assert short_names(models) == dict(zip(models, (*models[:2], "own-Ahead", "flat-gru"), strict=True))
    grid = Grid(datasets=("sample",), models=models, seeds=(0,), settings={"train.epochs": [1]})
    assert {run.label.split()[2] for run in expand(grid, [sample], tmp_path / "sweep")} == {
        *short_names(models).values()
    }


def test_an_ablation_calls_a_model_by_its_short_name(file: Path, tmp_path: Path) -> None:
    once = {"train.epochs": [1]}
    made = ablate(
        "chunk", ["sample"], [f"{file}:Causal"], seeds=[0], settings=once, out=tmp_path / "out", values=[10]
    )
    assert {row.model for row in made.rows} == {"own-Causal", "mean"}


def test_a_run_of_a_sweep_refuses_a_file_that_changed_since_it_was_planned(
    sample: csp_data.Dataset, file: Path
) -> None:
    grid = Grid(datasets=("sample",), models=(f"{file}:Causal",), seeds=(0,), settings={"train.epochs": [1]})
    (planned,) = expand(grid, [sample], file.parent / "sweep")
    file.write_text(FILE + "\n")
    outcome = work_on(planned, Place())
    assert outcome.state == "failed"
    assert "has changed since this run was planned" in outcome.error
    assert not planned.folder.exists()
