"""Arguments of another kind are refused in a line: each of these ended in Python's or numpy's own error."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torch import nn

import baselines
import csp_data
from baselines import Interface, Predictor, Pretrained, Run, Streamer, TrainConfig
from baselines.errors import RunError
from baselines.training.data import Part
from csp_data import Dataset
from csp_data.errors import OptionError, UnknownNameError


@pytest.fixture(scope="module")
def shipped() -> Pretrained:
    return baselines.load_pretrained("broad")


Given = dict[str, Any]

WRONG: dict[str, tuple[str, Callable[[Given], object]]] = {
    "name of a data set": ("dataset", lambda g: baselines.evaluate(g["run"], "sample")),
    "name to score on": ("dataset", lambda g: baselines.score("sample", {})),
    "data set and predictions swapped": ("dataset", lambda g: baselines.score({}, g["dataset"])),
    "name to record on": (
        "dataset",
        lambda g: baselines.record("sample", {}, "x", name="x", parameters=0, seconds=0),
    ),
    "name to read an interface of": ("dataset", lambda g: Interface.of("sample")),
    "name to predict a part of": ("dataset", lambda g: g["shipped"].predict_part("sample", "test")),
    "data set for its reader": ("dataset", lambda g: g["predictor"].evaluate(g["dataset"], recordings=["x"])),
    "one recording": ("recordings", lambda g: g["predictor"].evaluate("sample", recordings="03_*")),
    "predictions in a list": ("predictions", lambda g: baselines.score(g["dataset"], [np.zeros((184, 3))])),
    "array for a recording": ("recording", lambda g: g["predictor"].predict(np.zeros((20, 6)))),
    "episode for samples": ("samples", lambda g: g["shipped"].predict(g["dataset"].test[0])),
    "text for samples": ("samples", lambda g: g["shipped"].streamer().push("x")),
    "other columns": (
        "samples",
        lambda g: g["shipped"].predict(pd.DataFrame({name: [0.0] * 20 for name in "abcdef"})),
    ),
    "masked samples": ("samples", lambda g: g["shipped"].predict(np.ma.masked_less(np.zeros((20, 6)), 1))),
    "window as text": ("window_s", lambda g: g["shipped"].predict(np.zeros((20, 6)), window_s="20")),
    "data set for an interface": ("interface", lambda g: Streamer.of(g["model"], g["dataset"])),
    "interface for a normalisation": (
        "normalization",
        lambda g: Streamer(g["model"], g["interface"], deltas=True),
    ),
    "filter by its cut-off": ("lowpass", lambda g: Streamer(g["model"], g["norm"], deltas=True, lowpass=5)),
    "rate as text": ("input_hz", lambda g: Streamer(g["model"], g["norm"], deltas=True, input_hz="50")),
    "stream and path swapped": ("stream", lambda g: baselines.save_state(g["shipped"].streamer(), "x")),
    "path and stream swapped": ("stream", lambda g: baselines.load_state(g["shipped"].streamer(), "x")),
    "folders for runs": ("run", lambda g: baselines.make_table([g["run"].folder])),
    "folder for runs": ("runs", lambda g: baselines.make_table(g["run"].folder)),
    "folder for a run": ("run", lambda g: baselines.Result.of(g["run"].folder)),
    "split to train on": (
        "train_part",
        lambda g: baselines.train(g["model"], g["dataset"].train, None, g["config"], "x"),
    ),
    "loaded data set in a sweep": ("datasets", lambda g: baselines.sweep([g["dataset"]], ["mean"], out="x")),
    "settings in a list": (
        "settings",
        lambda g: baselines.sweep(["sample"], ["mean"], out="x", settings=["train.lr=1"]),
    ),
    "one value of an ablation": (
        "values",
        lambda g: baselines.ablate("lowpass", ["sample"], ["mean"], out="x", values=5),
    ),
    "a value as text": (
        "values",
        lambda g: baselines.ablate("lowpass", ["sample"], ["mean"], out="x", values=["5"]),
    ),
    "one setting for a column": (
        "settings",
        lambda g: baselines.load_results("sample").to_pandas(settings="seed"),
    ),
    "seed as text": ("seed", lambda g: baselines.load_results("sample", seed="0")),
    "number for a model": ("model", lambda g: baselines.load_results("sample", model=["fir", 3])),
    "no model": ("model", lambda g: baselines.presets_of(None)),
    "layer by name": ("FlatConfig.layer", lambda g: baselines.FlatConfig(12, 3, "lstm")),
    "middle layer by name": (
        "HierarchicalConfig.mid",
        lambda g: dataclasses.replace(g["model"].config, mid="s4", subchunk=5),
    ),
    "number for a run": ("run", lambda g: baselines.load_model(3)),
    "run by number": ("folder", lambda g: baselines.read_run(3)),
    "folder to export to": ("path", lambda g: baselines.export(g["model"], g["interface"], ".")),
    "format of an export": ("format", lambda g: baselines.export(g["model"], g["interface"], "x", "tflite")),
    "setting of nothing": (
        "settings",
        lambda g: baselines.sweep(["sample"], ["mean"], out="x", settings={"lr": [1e-3]}),
    ),
    "settings of an ablation": (
        "settings",
        lambda g: baselines.ablate("lowpass", ["sample"], ["mean"], out="x", settings={"data.lowpass": [None]}),
    ),
    "name for the steps of predictions": ("dataset", lambda g: baselines.elsewhere.read_csv("x.csv", "sample")),
    "number for a method": (
        "name",
        lambda g: baselines.record(g["dataset"], {}, "x", name=3, parameters=0, seconds=0),
    ),
    "other names in a list": ("names", lambda g: baselines.make_table([g["run"]], names=["Ours"])),
    "rate of samples as text": ("rate_hz", lambda g: baselines.stream.resampling.Resampler("50")),
    "run for runs with faults": ("runs", lambda g: baselines.ablations.fault_runs.faulty(g["run"])),
    "one fault": ("faults", lambda g: baselines.ablations.fault_runs.faulty([g["run"]], faults="noise")),
    "number of draws": ("draws", lambda g: baselines.ablations.fault_runs.faulty([g["run"]], draws=3)),
    "cut-off of faults": ("lowpass", lambda g: baselines.ablations.fault_runs.faulty([g["run"]], lowpass=5)),
    "options in a list": (
        "options",
        lambda g: baselines.run(g["dataset"], "flat-s4", g["config"], "x", options=["dim=8"]),
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_argument_of_another_kind_is_named(
    case: str,
    sample: Dataset,
    runs: dict[str, Run],
    shipped: Pretrained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    option, call = WRONG[case]
    given = {
        "dataset": sample,
        "run": runs["a"],
        "shipped": shipped,
        "predictor": Predictor.of(shipped),
        "model": shipped.model,
        "interface": shipped.interface,
        "norm": shipped.interface.normalization,
        "config": TrainConfig(epochs=1),
    }
    with pytest.raises(OptionError) as caught:
        call(given)
    assert caught.value.option == option
    assert len(str(caught.value)) < 300
    assert not list(tmp_path.iterdir())


def test_columns_of_a_table_are_compared_with_the_channels(shipped: Pretrained, sample: Dataset) -> None:
    """In another order, a table was predicted without a word."""
    inputs = sample.test[0].inputs
    table = pd.DataFrame(inputs, columns=shipped.interface.inputs)
    expected = shipped.predict(inputs)
    np.testing.assert_array_equal(shipped.predict(table), expected)
    np.testing.assert_array_equal(shipped.predict(pd.DataFrame(inputs)), expected)
    with pytest.raises(OptionError, match=r"\['gyr_z', .*expected the columns acc_x, .*in this order"):
        shipped.predict(table[table.columns[::-1]])


def test_names_in_a_table_or_its_rows_are_compared_with_the_channels_of_a_stream(
    shipped: Pretrained, sample: Dataset
) -> None:
    """In another order, both streamed without a word."""
    inputs = sample.test[0].inputs[:20]
    table = pd.DataFrame(inputs, columns=shipped.interface.inputs)
    expected = shipped.streamer("reference").push(inputs)
    stream = shipped.streamer("reference")
    turned = table[table.columns[::-1]]
    for wrong in (turned, turned.iloc[0], table.assign(time=0.0)):
        with pytest.raises(OptionError, match=r"expected the columns acc_x, .*in this order"):
            stream.push(wrong)
    predicted = [
        *stream.push(table[:7]),
        *(value for _, row in table[7:].iterrows() for value in stream.push(row)),
    ]
    np.testing.assert_array_equal(predicted, expected)
    stream.reset()
    np.testing.assert_array_equal(stream.push(pd.DataFrame(inputs)), expected)  # without names
    unnamed = Streamer(shipped.model, shipped.interface.normalization, deltas=True)
    assert unnamed.push(turned).shape == expected.shape  # nobody told it any


def test_sweeps_take_paths(tmp_path: Path) -> None:
    """``Path.replace``, which moves files, was called on the folder of raw files."""
    with pytest.raises(csp_data.CspDataError, match="nowhere"):
        baselines.sweep(["sample"], ["mean"], out=tmp_path / "sweep", raw=tmp_path / "nowhere")


def test_a_training_makes_its_folder(make_part: Callable[..., Part], gru: type[nn.Module], tmp_path: Path) -> None:
    """As a run does: without it, an epoch ended in an error of the file system."""
    part, config = make_part(), TrainConfig(epochs=1, window_s=1.0, window_stride_s=1.0)
    fit = baselines.train(gru(4, 2, 5), part, part, config, tmp_path / "new" / "training")
    assert fit.epoch == 1


def test_what_streams_and_predicts_says_what_it_is(shipped: Pretrained) -> None:
    stream = shipped.streamer()
    stream.push(np.zeros((3, 6)))
    said = "<Streamer of hiss-lstm-lstm, engine fast: 6 channels at 50 Hz, 3 targets each 10 samples, 3 taken>"
    assert repr(stream) == said
    said = repr(Predictor.of(shipped, window_s=4))
    assert said.startswith("<Predictor of hiss-lstm-lstm: acc_x, ")
    assert said.endswith(" at 50 Hz -> vel_x, vel_y, vel_z at 5 Hz, windows of 4 s>")
    assert repr(Predictor.of(shipped, window_s=None)).endswith(", whole stretches>")


def test_the_reported_part_is_evaluated_by_default(shipped: Pretrained, sample: Dataset) -> None:
    """As of a run."""
    assert shipped.evaluate(sample) == shipped.evaluate(sample, "test")


def test_a_model_that_ships_may_stand_where_a_run_does(shipped: Pretrained, sample: Dataset) -> None:
    """As for commands and Predictor.of: each of these looked for a folder of that name."""
    name = f"pretrained:{shipped.name}"
    expected = shipped.evaluate(sample, "val")
    assert baselines.evaluate(name, sample, "val") == baselines.evaluate(shipped, sample, "val") == expected
    weights = baselines.load_model(name).state_dict()
    assert weights.keys() == shipped.model.state_dict().keys()
    assert all(weights[key].equal(one) for key, one in shipped.model.state_dict().items())
    assert baselines.load_model(shipped) is shipped.model
    with pytest.raises(RunError, match=r"no run with results.*load_pretrained\('broad'\)"):
        baselines.read_run(name)
    with pytest.raises(UnknownNameError, match="no pretrained model 'broat'"):
        baselines.evaluate("pretrained:broat", sample)


def test_a_run_is_evaluated_on_what_it_was_trained_on(runs: dict[str, Run], sample: Dataset) -> None:
    """As by csp-baselines eval, without naming the data."""
    assert baselines.evaluate(runs["a"]) == baselines.evaluate(runs["a"].folder, sample)
    with pytest.raises(OptionError, match=r"dataset=None: expected a data set"):
        baselines.evaluate("pretrained:broad")  # trained on recordings that do not ship
    other = csp_data.load("sample", clip=3.0)
    with pytest.raises(RunError, match=rf"recipe {sample.provenance['recipe_hash']}, .* with recipe \w{{12}}\. "):
        baselines.evaluate(runs["a"], other)


def test_a_run_says_what_its_model_takes(runs: dict[str, Run], sample: Dataset) -> None:
    """As to the command stream: in Python its data set had to be there."""
    assert Interface.of(runs["a"]).to_dict() == Interface.of(sample).to_dict()
