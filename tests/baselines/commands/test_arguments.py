"""What is typed on a command line, as values; and that commands over a grid of runs take the same options."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import baselines
from baselines.cli import parse
from baselines.commands.arguments import parse_lists, parse_seeds, parse_settings
from baselines.errors import OptionError


def test_seeds_are_numbers_and_ranges_each_once() -> None:
    assert parse_seeds(["7", "0-2", "1", "4-4"]) == (7, 0, 1, 2, 4)
    for wrong in ("x", "-1", "1-", "1-x", "0.5", ""):
        with pytest.raises(OptionError, match=r"seeds=.*expected a whole number"):
            parse_seeds([wrong])
    with pytest.raises(OptionError, match="seeds='4-2': expected a range from the smaller to the larger, as 2-4"):
        parse_seeds(["0", "4-2"])


@given(st.lists(st.one_of(st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False)), min_size=1))
def test_values_come_back_as_python_would_write_them_in_json(values: list[object]) -> None:
    text = ",".join(map(json.dumps, values))
    assert parse_lists("set", [f"train.lr={text}"]) == {"train.lr": values}
    pairs = {f"dim{i}": value for i, value in enumerate(values)}
    assert parse_settings([f"{name}={json.dumps(value)}" for name, value in pairs.items()]) == pairs


def test_settings_that_are_typed_twice_are_refused() -> None:
    """The last one counted, without a word: of a sweep over two values one was run."""
    with pytest.raises(OptionError, match=r"set='a=2': expected each setting once\. a=1 is there too\."):
        parse_lists("set", ["a=1", "b=1", "a=2"])
    with pytest.raises(OptionError, match=r"model\.dim=16.* dim=8 is there too"):
        parse_settings(["dim=8", "model.dim=16"])


@pytest.mark.parametrize(
    "words",
    [
        "sweep --datasets sample --set train.lr=1 --models fir --set train.batch=2 train.epochs=3 --models mean",
        "sweep --set=train.lr=1 --models fir --models mean --set=train.batch=2 --datasets x --set train.epochs=3",
        "sweep --models fir -q mean --datasets sample --set train.lr=1 train.batch=2 --out x --set train.epochs=3",
        "-q sweep --models fir mean --datasets sample --set train.lr=1 train.batch=2 train.epochs=3",
    ],
)
def test_values_of_an_option_that_is_typed_twice_all_count(words: str) -> None:
    """The last ones alone did: a run had 60 epochs instead of one."""
    command = parse(words.replace(" -q mean", " -q --models mean").split()).command
    assert command.set == ("train.lr=1", "train.batch=2", "train.epochs=3")
    assert command.models == ("fir", "mean")


def test_what_is_not_json_is_text_and_a_json_list_is_one_value() -> None:
    assert parse_lists("set", ["a=cosine,constant", "b=[1, 2]", "c=x=y"]) == {
        "a": ["cosine", "constant"],
        "b": [[1, 2]],
        "c": ["x=y"],
    }
    several = parse_lists("set", ['data.lowpass=null,{"hz": 3, "phase": "causal"}', "data.inputs=[1, 2],[3]"])
    assert several == {"data.lowpass": [None, {"hz": 3, "phase": "causal"}], "data.inputs": [[1, 2], [3]]}
    assert parse_settings(["a=False", "b=None"]) == {"a": False, "b": None}  # as text they would count as true
    assert parse_settings(["a=cosine,constant", "b=[1, 2]", "c="]) == {
        "a": "cosine,constant",
        "b": [1, 2],
        "c": "",
    }
    for wrong in ("lr", "=1", "lr="):
        with pytest.raises(OptionError, match=r"slurm=.*KEY=VALUE"):
            parse_lists("slurm", [wrong])


@pytest.mark.parametrize("words", [["sweep"], ["ablate", "lowpass"]], ids=lambda words: words[0])
def test_commands_over_a_grid_take_what_was_typed_to_the_function_in_python(
    words: list[str], tmp_path: Path
) -> None:
    line = (
        "--datasets broad ronin --models flat-s4 mean --seeds 3 5-6 --set train.lr=0.01 --protocol strict "
        "--training paper --preset paper --raw trees/{name} --jobs 3 --backend slurm --slurm timeout_min=5 "
        "slurm_partition=gpu --device cuda --per-device 2 --threads 4 --folds 6 --skip-damaged"
    )
    command = parse([*words, *line.split(), "--out", str(tmp_path)]).command
    assert (command.datasets, command.models, command.folds) == (("broad", "ronin"), ("flat-s4", "mean"), 6)
    assert (command.seeds, command.set) == (("3", "5-6"), ("train.lr=0.01",))
    arguments = command.runs.arguments()
    assert arguments == {
        "protocol": "strict",
        "training": "paper",
        "preset": "paper",
        "raw": "trees/{name}",
        "skip_damaged": True,
        "jobs": 3,
        "backend": "slurm",
        "slurm": {"timeout_min": 5, "slurm_partition": "gpu"},
        "device": "cuda",
        "per_device": 2,
        "threads": 4,
    }
    assert arguments.keys() <= inspect.signature(getattr(baselines, words[0])).parameters.keys()
