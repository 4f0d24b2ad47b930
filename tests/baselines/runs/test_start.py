"""Runs that begin with weights that are there already: a published model's, or those of a finished run."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import baselines
import csp_data
from baselines.ablations.fault_runs import faulty
from baselines.cli import main
from baselines.errors import CheckpointError, InterfaceError, ModelError, OptionError, UnknownNameError
from baselines.experiment import plan, run
from baselines.models.model import FlatModel
from baselines.results import Result
from baselines.results.folds import across_folds, recipe_of
from baselines.runs.run import Run, RunError, read_run
from baselines.runs.start import Start, start_of
from baselines.tables.labels import by_label
from baselines.trained import evaluate, load_model
from baselines.training.settings import TrainConfig
from csp_data import Dataset

CONFIG = TrainConfig(epochs=0, window_s=10.0, window_stride_s=10.0)
SIZES = {"dim": 8, "hidden": 8, "layers": 1, "readout": "first"}


def drawn(seed: int, **sizes: object) -> FlatModel:
    torch.manual_seed(seed)
    model = baselines.build("flat-lstm", 12, 3, **{**SIZES, **sizes})
    assert isinstance(model, FlatModel)
    return model


def published(model: FlatModel) -> dict[str, Tensor]:
    """The weights of a flat LSTM under the names of the published code."""
    names = {"net.layer.": "", "net.": ""}
    weights = {}
    for name, value in model.state_dict().items():
        prefix = next(prefix for prefix in names if name.startswith(prefix))
        weights[name.removeprefix(prefix)] = value
    return weights


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.save(published(drawn(7)), tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


def test_a_published_model_becomes_a_run_as_it_is(sample: Dataset, file: Path, tmp_path: Path) -> None:
    model = drawn(7).eval()
    made, state = run(sample, "flat-lstm", CONFIG, tmp_path / "run", options=SIZES, weights=file)
    assert (state, made.results["epoch"], made.epochs) == ("new", 0, [])
    for prediction, episode in zip(made.predictions, sample.test, strict=True):
        features = np.concatenate([episode.inputs, np.diff(episode.inputs, axis=0, prepend=episode.inputs[:1])], 1)
        x = torch.from_numpy(np.asarray(sample.normalization.inputs.apply(features), dtype=np.float32))
        with torch.no_grad():
            pieces = [model(piece[None])[0] for piece in x.split(500)]  # windows of 10 s
        expected = sample.normalization.targets.invert(torch.cat(pieces).double().numpy())
        np.testing.assert_allclose(prediction.pred, expected, atol=1e-5)
    stream = baselines.Streamer.of(load_model(made), baselines.Interface.of(sample))
    np.testing.assert_allclose(stream.push(sample.test[0].inputs[:500]), made.predictions[0].pred[:50], atol=1e-5)
    again, state = run(sample, "flat-lstm", CONFIG, tmp_path / "run", options=SIZES, weights=str(file))
    assert (state, again.config) == ("finished", made.config)
    beside = shutil.copy(file, made.folder)  # a file that lies in a run's folder is none of the run's
    assert start_of(beside) == Start(str(beside), None)


def test_a_run_says_which_weights_it_began_with(sample: Dataset, file: Path, tmp_path: Path) -> None:
    made, _ = run(sample, "flat-lstm", CONFIG, tmp_path / "run", options=SIZES, weights=file)
    assert read_run(tmp_path / "run").config == made.config
    assert made.environment["weights"] == str(file)
    torch.save(published(drawn(8)), file)
    with pytest.raises(RunError, match=r"holds another run: weights is '\w{12}' there, '\w{12}' here"):
        run(sample, "flat-lstm", CONFIG, tmp_path / "run", options=SIZES, weights=file)
    second = replace(CONFIG, seed=1)
    other, _ = run(sample, "flat-lstm", second, tmp_path / "other", options=SIZES, weights=file)
    rows = [Result.of(made), Result.of(other)]
    assert rows[0].key != rows[1].key
    assert rows[0].config == rows[1].config, "as two seeds of one model"
    from_seed = plan(sample, "flat-lstm", replace(CONFIG, epochs=1), options=SIZES)
    assert "weights" not in from_seed.to_dict(), "runs that begin as most do keep their names"


def test_weights_that_were_trained_on_other_data_are_told(
    runs: dict[str, Run], sample: Dataset, file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its errors came without a word; the numbers of another rate or filter say little."""
    config = TrainConfig(epochs=0, window_s=10.0)
    filtered = csp_data.load("sample", lowpass=csp_data.LowPass(hz=4))
    own = {"dim": 8, "hidden": 8, "layers": 1}
    for name, sizes, dataset, weights, told in (
        ("same", own, sample, runs["a"].folder, []),
        ("other", own, filtered, runs["a"].folder, [r"were trained on other data: lowpass.* is None there"]),
        ("published", SIZES, sample, file, [r"what protocol paper prepares; these data are of protocol strict"]),
    ):
        caplog.clear()
        run(dataset, "flat-lstm", config, tmp_path / name, options=sizes, weights=weights)
        assert len(caplog.messages) == len(told)
        assert all(re.search(one, message) for one, message in zip(told, caplog.messages, strict=True))


@pytest.mark.parametrize(("lr", "chosen"), [(1e-2, False), (1e3, True)])
def test_what_a_run_begins_with_can_stay_the_best(
    runs: dict[str, Run], sample: Dataset, tmp_path: Path, lr: float, chosen: bool
) -> None:
    """Training goes on from the weights of a run; where it makes them worse on val, they are what is chosen."""
    config = TrainConfig(epochs=1, lr=lr, window_s=10.0, window_stride_s=10.0)
    sizes = {"dim": 8, "hidden": 8, "layers": 1, "dropout": 0.0}  # the run's was another
    made, _ = run(sample, "flat-lstm", config, tmp_path / "run", options=sizes, weights=runs["a"].folder)
    before, after = load_model(runs["a"]).state_dict(), load_model(made).state_dict()
    same = all(torch.equal(value, after[name]) for name, value in before.items())
    assert (made.results["epoch"] == 0, same) == (chosen, chosen)
    assert made.results["val_loss"] <= runs["a"].results["val_loss"] * (1 + 1e-6)
    if chosen:
        assert made.reported["mse"] == pytest.approx(runs["a"].reported["mse"], rel=1e-6)


def test_weights_that_do_not_fit_are_refused(runs: dict[str, Run], sample: Dataset, tmp_path: Path) -> None:
    def begin(name: str, weights: object, config: TrainConfig = CONFIG, **options: object) -> None:
        run(sample, name, config, tmp_path / "run", options=options, weights=weights)  # type: ignore[arg-type]

    folder, sizes = runs["a"].folder, {"dim": 8, "hidden": 8, "layers": 1}
    with pytest.raises(
        ModelError, match=r"another model: layer.hidden is 8 there, 9 here; readout is 'last' there"
    ):
        begin("flat-lstm", folder, **{**SIZES, "hidden": 9})
    with pytest.raises(ModelError, match=r"another model: flat-lstm there, flat-gru here\. Ask for the same"):
        begin("flat-gru", folder, **sizes)
    with pytest.raises(
        OptionError, match=rf"expected the folder of the run that it is in, {re.escape(str(folder))}"
    ):
        begin("flat-lstm", folder / "best.safetensors", **sizes)
    with pytest.raises(OptionError, match=r"weights=3: expected a finished run or its folder, pretrained:NAME"):
        begin("flat-lstm", 3, **sizes)
    longer = replace(runs["a"].config.train, epochs=runs["a"].config.train.epochs + 1)
    with pytest.raises(RunError, match=rf"train\.epochs is .*; --weights {re.escape(str(folder))} .*goes on from"):
        run(sample, "flat-lstm", longer, folder, options=sizes)
    with pytest.raises(UnknownNameError, match=r"no pretrained model 'braod'"):
        begin("hiss-lstm-lstm", "pretrained:braod")
    plain = csp_data.load("sample", input_deltas=False)
    with pytest.raises(
        ModelError, match=r"flat-lstm for other data: in_dim is 12 there, 6 here\. These follow from"
    ):
        run(plain, "flat-lstm", CONFIG, tmp_path / "run", options=sizes, weights=folder)
    with pytest.raises(OptionError, match="nothing for the reference mean"):
        begin("mean", folder)
    for name in ("none.pt", "none.safetensors"):
        with pytest.raises(ModelError, match=rf"{re.escape(name)}: cannot be read"):
            begin("flat-lstm", tmp_path / name, **SIZES)
    own = f"{Path(__file__).parents[3] / 'examples' / 'own_model.py'}:ChunkGRU"
    (tmp_path / "weights.pt").touch()
    with pytest.raises(OptionError, match="the folder of a run, for a model of your own"):
        begin(own, tmp_path / "weights.pt")
    for make in (lambda: begin("flat-lstm", None, **sizes), lambda: plan(sample, "flat-lstm", CONFIG)):
        with pytest.raises(OptionError, match=r"epochs=0: expected at least 1 where no weights"):
            make()
    assert not (tmp_path / "run").exists()


def test_a_model_that_ships_is_what_training_begins_with(sample: Dataset, tmp_path: Path) -> None:
    """The name that every other command takes was taken for a file that is not there."""
    shipped = baselines.load_pretrained("broad")
    made, _ = run(sample, "hiss-lstm-lstm", CONFIG, tmp_path / "run", weights="pretrained:broad")
    after = load_model(made).state_dict()
    assert all(torch.equal(value, after[name]) for name, value in shipped.model.state_dict().items())
    assert made.environment["weights"] == made.environment["weights_of"]["name"] == "pretrained:broad"
    assert made.environment["weights_of"]["recipe_hash"] == shipped.about["data"]["recipe_hash"]


def test_weights_that_have_seen_what_is_held_out_are_told(
    runs: dict[str, Run], sample: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Errors on recordings that the weights, or those before them, had learned from came without a word."""
    sizes = {"dim": 8, "hidden": 8, "layers": 1}
    fold = csp_data.load("sample", resplit={"fold": 1, "folds": 3})
    held_out = {row.recording for row in fold.episodes if row.split != "train"}
    trained = {row.recording for row in sample.train.rows}
    chosen = {row.recording for row in sample.val.rows} & {row.recording for row in fold.test.rows}

    def told(name: str, dataset: Dataset, model: str, weights: object, **options: object) -> set[str]:
        caplog.clear()
        run(dataset, model, CONFIG, tmp_path / name, options=options, weights=weights)  # type: ignore[arg-type]
        said = [one for one in caplog.messages if "held out here" in one]
        assert len(said) <= 1
        assert len(caplog.messages) == len(said)
        return {*filter(None, "".join(said).rpartition("say little: ")[2].split(", "))}

    seen = (trained & held_out) | chosen
    assert told("same", sample, "flat-lstm", runs["a"], **sizes) == set(), "val is chosen on once more"
    assert told("fold", fold, "flat-lstm", runs["a"].folder, **sizes) == seen
    one = min(trained & {row.recording for row in fold.test.rows})
    caplog.clear()
    baselines.Predictor.of(tmp_path / "fold").evaluate("sample", recordings=[one])
    assert "trained or chosen on 1 of these 1" in caplog.text, "by the weights that it began with"
    ships = told("ships", fold, "hiss-lstm-lstm", "pretrained:broad")
    assert ships == seen, "the excerpt has the parts of the whole"
    assert told("again", sample, "flat-lstm", tmp_path / "fold", **sizes) >= {
        row.recording for row in sample.test.rows
    } & {row.recording for row in fold.train.rows}


def test_weights_of_another_training_make_another_row(
    runs: dict[str, Run], sample: Dataset, file: Path, tmp_path: Path
) -> None:
    """Two seeds were one row whatever their weights were trained on, and one seed of both was refused."""
    sizes = {"dim": 8, "hidden": 8, "layers": 1}
    filtered = csp_data.load("sample", lowpass=csp_data.LowPass(hz=4))
    config = TrainConfig(epochs=1, window_s=10.0, window_stride_s=10.0)
    before = [
        run(dataset, "flat-lstm", replace(config, seed=seed), tmp_path / f"{name}-{seed}", options=sizes)[0]
        for name, dataset, seed in (("raw", sample, 0), ("raw", sample, 1), ("filtered", filtered, 0))
    ]
    tuned = [
        run(sample, "flat-lstm", replace(CONFIG, seed=n), tmp_path / f"on-{n}", options=sizes, weights=weights)[0]
        for n, weights in enumerate(before)
    ]
    assert {len(group) for group in by_label(tuned).values()} == {1, 2}, "two seeds of one, one of the other"
    names = by_label([*tuned, before[0]])
    assert any(re.fullmatch(r"flat-lstm \(.*weights none.*\)", name) for name in names)
    assert sum(bool(re.search(r"weights sample \w{12}", name)) for name in names) == 2
    assert "weights sample)" in " ".join(by_label([tuned[0], before[0]])), "where the data set tells it"
    repeated, _ = run(sample, "flat-lstm", CONFIG, tmp_path / "twice", options=sizes, weights=before[1])
    with pytest.raises(RunError, match=r"began with weights of two seeds.*Give each a seed of its own"):
        by_label([tuned[0], repeated])


def test_the_shift_and_scale_of_the_weights_can_be_kept(sample: Dataset, tmp_path: Path) -> None:
    """As the model that ships has them on the same recordings: its own evaluation says what comes out."""
    ships, config = baselines.load_pretrained("broad"), replace(CONFIG, window_s=20.0)
    kept, _ = run(
        sample, "hiss-lstm-lstm", config, tmp_path / "kept", weights="pretrained:broad", normalization="weights"
    )
    assert kept.reported["mse"] == pytest.approx(ships.evaluate(sample)["mse"], rel=1e-6)
    assert baselines.Interface.of(kept).normalization == ships.interface.normalization != sample.normalization
    for dataset in (None, sample, sample.with_normalization(ships.interface.normalization)):
        assert evaluate(kept, dataset)["mse"] == kept.reported["mse"]
    assert faulty([kept], faults=["noise"])[0].mse == kept.reported["mse"]
    stream = baselines.Streamer.of(load_model(kept), baselines.Interface.of(kept))
    np.testing.assert_allclose(stream.push(sample.test[0].inputs[:500]), kept.predictions[0].pred[:50], atol=1e-5)

    own, _ = run(sample, "hiss-lstm-lstm", config, tmp_path / "own", weights=ships)
    further, _ = run(sample, "hiss-lstm-lstm", config, tmp_path / "on", weights=kept, normalization="weights")
    assert further.config.data.normalization == kept.config.data.normalization
    assert [own.config.data.normalization, "normalization" in own.config.to_dict()["data"]] == ["", False]
    assert [re.search(r"normalization (\w+)", name)[1] for name in by_label([own, kept])] == ["data", "weights"]  # type: ignore[index]
    clean = faulty([own, kept], faults=["noise"])
    assert {row.mse for row in clean if row.severity == 0 and row.as_trained} == {
        own.reported["mse"],
        kept.reported["mse"],
    }
    assert len({row.model for row in clean}) == 2

    stored = kept.folder / "interface.json"
    plain = json.loads(stored.read_text())
    plain["normalization"]["inputs"]["shift"][0] += 1e-6
    stored.write_text(json.dumps(plain))
    with pytest.raises(InterfaceError, match=r"not those that config.json names.*train the run again"):
        evaluate(kept)
    stored.unlink()
    with pytest.raises(InterfaceError, match=r"there is no such file\. Restore it, or train the run again"):
        baselines.Interface.of(kept)


def test_folds_that_keep_the_shift_and_scale_of_their_weights_are_one_row(tmp_path: Path) -> None:
    sizes, config = (
        {"dim": 4, "hidden": 4, "layers": 1},
        TrainConfig(epochs=1, window_s=10.0, window_stride_s=10.0),
    )
    tuned = []
    for fold in range(3):
        resplit = {"folds": 3, "fold": fold}
        filtered = csp_data.load("sample", lowpass=csp_data.LowPass(hz=4), resplit=resplit)
        before, _ = run(filtered, "flat-lstm", config, tmp_path / f"before-{fold}", options=sizes)
        dataset = csp_data.load("sample", resplit=resplit)
        tuned.append(
            run(
                dataset,
                "flat-lstm",
                CONFIG,
                tmp_path / f"{fold}",
                options=sizes,
                weights=before,
                normalization="weights",
            )[0]
        )
    scratch, _ = run(dataset, "flat-lstm", replace(CONFIG, epochs=1), tmp_path / "scratch", options=sizes)
    assert len({one.config.data.normalization for one in tuned}) == 3
    assert len(across_folds([Result.of(one) for one in tuned])) == 1
    assert len({recipe_of(Result.of(one)) for one in (*tuned, scratch)}) == 1, "of one table"


def test_a_model_of_ones_own_takes_what_fits(
    sample: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """To freeze layers of a model of this package, say; a run's own copy of the file is the same model."""
    path = tmp_path / "frozen.py"
    path.write_text(
        "import baselines\n\n\n"
        "def frozen(in_dim, out_dim, chunk, train='decoder', width=8):\n"
        "    model = baselines.build('flat-lstm', in_dim, out_dim, chunk=chunk, dim=8, hidden=width, layers=1)\n"
        "    for name, parameter in model.named_parameters():\n"
        "        parameter.requires_grad_(train in name)\n"
        "    return model\n"
    )
    config = TrainConfig(epochs=1, window_s=10.0, window_stride_s=10.0)
    sizes = {"dim": 8, "hidden": 8, "layers": 1}
    before, _ = run(sample, "flat-lstm", config, tmp_path / "before", options=sizes)
    caplog.clear()
    made, _ = run(sample, f"{path}:frozen", config, tmp_path / "made", weights=before)
    assert re.search(r"another model or code: flat-lstm there, own-frozen here", caplog.messages[0])
    old, new = load_model(before).state_dict(), load_model(made).state_dict()
    changed = {name for name, value in old.items() if not torch.equal(value, new[f"inner.{name}"])}
    assert changed == {"net.decoder.weight", "net.decoder.bias"}
    caplog.clear()
    copy = f"{tmp_path / 'made' / 'model.py'}:frozen"
    run(sample, copy, config, tmp_path / "on", weights=made)
    assert caplog.messages == []
    run(sample, copy, config, tmp_path / "all", options={"train": ""}, weights=made)
    assert re.search(r"options.train is None there, '' here", caplog.messages[0])
    with pytest.raises(CheckpointError, match="size mismatch"):
        run(sample, copy, config, tmp_path / "other", options={"width": 9}, weights=made)


def test_from_the_shell(sample: Dataset, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "sample", "flat-lstm", "--weights", str(file), "--epochs", "0", "--window-s", "10"]
    main([*command, "--set", "dim=8", "hidden=8", "layers=1", "readout=first", "--out", str(tmp_path / "run")])
    printed = capsys.readouterr().out
    assert re.search(r"epoch 0 of 0 \(the weights it began with\)", printed)
    made, _ = run(sample, "flat-lstm", CONFIG, tmp_path / "other", options=SIZES, weights=file)
    assert read_run(tmp_path / "run").reported["mse"] == made.reported["mse"]
    for weights, expected in (
        ([], "normalization weights: expected --weights too"),
        (["--weights", str(file)], "a checkpoint of the published code has none"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main(["train", "sample", "flat-lstm", *weights, "--normalization", "weights"])
        assert expected in capsys.readouterr().err
    again = ["train", "sample", "flat-lstm", "--weights", str(tmp_path / "run"), "--set", "dim=8", "hidden=8"]
    harmful = ["--epochs", "3", "--patience", "1", "--lr", "30", "--window-s", "10"]
    main([*again, "layers=1", "readout=first", *harmful, "--out", str(tmp_path / "again")])
    assert ", epoch 0 of 3 (the weights it began with), stopped after 1, " in capsys.readouterr().out
