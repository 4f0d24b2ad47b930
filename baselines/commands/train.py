"""``csp-baselines train`` and ``eval``: one run; choices that are not given are those of a training by name."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from contextlib import nullcontext
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict, get_type_hints

import docstring_parser
import tyro

import csp_data
from baselines.commands.arguments import Flag, parse_settings
from baselines.errors import OptionError
from baselines.presets import INNER_KINDS, KINDS, REFERENCES, short_name
from baselines.published import TRAINING, training_of
from baselines.training.settings import TrainConfig
from csp_data import Dataset
from csp_data.card import load_card
from csp_data.card.splits import PARTS
from csp_data.protocol import resolve
from csp_data.terminal import count_of, loudness

__all__ = [
    "EVAL",
    "TRAIN",
    "Choices",
    "Eval",
    "Train",
    "evaluate",
    "print_metrics",
    "train",
    "training_config",
]

_arg = tyro.conf.arg
Named = tyro.conf.Positional


MANY = 50
"""Episodes whose errors are printed, at most: the lines of thousands would push the others out of sight."""


def _training_options() -> dict[str, Any]:
    """Return an option for each field of :class:`TrainConfig`: its type, its help, its value in every training."""
    hints = get_type_hints(TrainConfig)
    documented = docstring_parser.parse(TrainConfig.__doc__ or "").params
    descriptions = {one.arg_name: one.description or "" for one in documented}  # none under python -OO
    options: dict[str, Any] = {}
    for field_ in fields(TrainConfig):
        value_by_training = {name: getattr(config, field_.name) for name, config in TRAINING.items()}
        values = {str(value) for value in value_by_training.values()}
        defaults = (
            values if len(values) == 1 else [f"{name}: {value}" for name, value in value_by_training.items()]
        )
        text = " ".join(re.sub(r":\w+:|`", "", descriptions.get(field_.name, "")).split())
        hint = f"(default: {', '.join(defaults)})"
        options[field_.name] = Annotated[hints[field_.name], tyro.conf.arg(help=text, help_behavior_hint=hint)]
    return options


if TYPE_CHECKING:
    from baselines.runs.run import Run

    Choices = dict[str, Any]
else:
    Choices = TypedDict("Choices", _training_options(), total=False)
"""Those fields of :class:`TrainConfig` that a command line gives."""


def training_config(choices: Choices, training: str | None, protocol: str) -> TrainConfig:
    """Return the training with the name, or else the one of the protocol's name, changed by what was given."""
    return replace(training_of(protocol, training), **choices)


def _models_help() -> str:
    """Return what can be trained, as a paragraph of the help."""
    high = ", ".join(kind for kind in KINDS if kind not in INNER_KINDS)
    return textwrap.fill(
        "Models: flat-<kind>, hiss-<low>-<high>, hiss-<low>-<mid>-<high>; <kind> and <high> are "
        f"{', '.join(KINDS)}, <low> and <mid> the same without {high}. References: "
        f"{', '.join(f'{name} ({what})' for name, what in REFERENCES.items())}. "
        "A model of your own: FILE.py:NAME.",
        width=115,
    )


TRAIN = f"""Train a model (or fit a reference) on a data set, choose the epoch on val, evaluate on val and test.

Under --protocol paper there are only train and eval: the epoch is chosen on eval and reported on it, as published.

Everything is written into one folder. If you give the same command again, it continues where it was stopped; once
it has finished, it does nothing.

{_models_help()}

Examples:
  csp-baselines train sample hiss-s4-mamba
  csp-baselines train broad flat-lstm --raw trees/broad --seed 1 --set dim=64 hidden=64 --out runs/lstm-1
  csp-baselines train vector.h5 fir --window-s 10
  csp-baselines train broad mine.py:Mine --set width=64
  csp-baselines train marker hiss-s4-mamba --training paper --preset marker --seed 1
  csp-baselines train ./my-sensor flat-lstm --weights runs/lstm-1 --lr 1e-3 --set dim=64 hidden=64 --out runs/tuned
  torchrun --nproc-per-node 4 -m baselines train broad hiss-s4-mamba --device cuda --batch 64"""

EVAL = """Evaluate a finished run again from its weights, on one part or on other recordings with a measured truth.

The reader of a data set (--dataset) reads other recordings, which are prepared as the training data were. For
recordings without a measured truth, use csp-baselines predict.

Examples:
  csp-baselines eval runs/sample-hiss-s4-mamba-0 --part val
  csp-baselines eval pretrained:broad --data "$(csp-data prepare sample)" --predictions shown/pretrained
  csp-baselines eval runs/my-sensor-hiss-s4-mamba-0 --dataset ./my-sensor --raw new-recordings"""


@dataclass(frozen=True)
class Train:
    """Options of ``train``."""

    dataset: Annotated[str, Named, _arg(metavar="DATASET")]
    """Name of a data set, or a prepared file."""
    model: Annotated[str, Named, _arg(metavar="MODEL")]
    """Name of a model or reference, or FILE.py:NAME for a class or function of your own that makes one."""
    choices: Annotated[Choices, tyro.conf.OmitArgPrefixes, _arg(name="training")] = field(default_factory=Choices)
    out: Annotated[Path | None, _arg(metavar="FOLDER", aliases=["-o"])] = None
    """Folder of the run; by default runs/DATASET-MODEL-SEED."""
    raw: Annotated[Path | None, _arg(metavar="FOLDER")] = None
    """Folder of the raw files, to prepare the data set from."""
    skip_damaged: Flag = False
    """Leave damaged recordings out, and list them."""
    protocol: Annotated[str | None, _arg(metavar="NAME")] = None
    """Name of the protocol; by default the data set's own."""
    training: Annotated[str | None, _arg(metavar="NAME")] = None
    """Settings of the training by name, paper or strict; by default those named like the protocol."""
    preset: Annotated[str | None, _arg(metavar="NAME")] = None
    """Sizes of the model: small (the default) or paper (published); some models have more."""
    set: Annotated[tuple[str, ...], _arg(metavar="KEY=VALUE ...")] = ()
    """Single settings: sizes of the model (dim=32 low_layers=2, also as model.dim=32), train.FIELD, data.FIELD."""
    weights: Annotated[Path | None, _arg(metavar="RUN")] = None
    """Weights to begin with: the folder of a run, pretrained:NAME for a model that ships, or a checkpoint of the
    published code. --epochs 0 leaves them as they are."""
    normalization: Literal["data", "weights"] = "data"
    """Shift and scale: those of DATASET, or those that --weights were trained with."""
    device: Annotated[str, _arg(metavar="NAME")] = "cpu"
    """Device, as torch names it: cpu, cuda, cuda:1."""
    threads: Annotated[int | None, _arg(metavar="N")] = None
    """Threads of torch; by default 1 for small sizes and references (more would wait for each other), else all."""
    track: Annotated[Literal["tensorboard", "trackio", "wandb"] | None, _arg(metavar="NAME")] = None
    """Also report to this tracker (tensorboard, trackio, wandb); the run's folder remains the record."""
    json: Flag = False
    """Print the results as JSON."""


@dataclass(frozen=True)
class Eval:
    """Options of ``eval``."""

    run: Annotated[Path, Named, _arg(metavar="RUN")]
    """Folder of the run, or pretrained:NAME for a model that ships with the package (with --data or --dataset)."""
    part: Annotated[str | None, _arg(metavar="NAME")] = None
    """What to evaluate on: train, val, test or another part; by default the one that is reported."""
    dataset: Annotated[str | None, _arg(metavar="DATASET")] = None
    """Evaluate on other recordings, which the reader of this data set reads: a name, or the folder of one of your
    own."""
    raw: Annotated[Path | None, _arg(metavar="FOLDER")] = None
    """Folder of raw recordings for --dataset."""
    recording: Annotated[tuple[str, ...], _arg(metavar="ID...")] = ()
    """Which recordings of --dataset to evaluate on, by id or pattern ("s01_*"); with --raw by default all."""
    skip_damaged: Flag = False
    """With --dataset: leave damaged recordings out, and list them."""
    data: Annotated[Path | None, _arg(metavar="FILE")] = None
    """The prepared file, if it is no longer where the run found it."""
    predictions: Annotated[Path | None, _arg(metavar="FOLDER")] = None
    """Folder to write predictions.npz into, which csp-data view --runs shows."""
    device: Annotated[str, _arg(metavar="NAME")] = "cpu"
    """Device, as torch names it: cpu, cuda, cuda:1."""
    json: Flag = False
    """Print the results as JSON."""


def train(command: Train, line: str) -> None:
    """Run the command."""
    from tqdm import tqdm

    from baselines.cpu.threads import before_compiling, compiling_note
    from baselines.experiment import follow, run
    from baselines.sweeps.grid import split_settings
    from baselines.training.team import join_team

    options = split_settings(parse_settings(command.set), default_kind="model")
    dataset, config = _load_dataset(command, options["train"], options["data"])
    out = command.out or Path("runs") / f"{Path(command.dataset).stem}-{short_name(command.model)}-{config.seed}"
    with join_team(command.device) as (team, device):
        shared: dict[str, Any] = {
            "preset": command.preset,
            "options": options["model"],
            "device": device,
            "threads": command.threads,
            "weights": command.weights,
            "normalization": command.normalization,
            "team": team,
        }
        if not team.leads:
            follow(dataset, command.model, config, **shared)
            return
        announce = loudness.get().notes and command.model not in REFERENCES  # they have no loops to compile
        with before_compiling(lambda: tqdm.write(compiling_note(), sys.stderr)) if announce else nullcontext():
            trained, state = run(
                dataset,
                command.model,
                config,
                out,
                command=line,
                progress=loudness.get().progress,
                track=command.track,
                **shared,
            )
    if command.json:
        print(json.dumps({"run": str(out), "state": state, **trained.results}))
        return
    if state == "finished":
        print(f"{out} holds this run, finished: nothing to do.")
    _print_results(trained, config)
    print(f"run written to {out}")


def _print_results(trained: Run, config: TrainConfig) -> None:
    """Print what was trained, its errors on each part, and whether its epoch was chosen on what is reported."""
    epoch, passes = trained.results["epoch"], len(trained.epochs)
    print(
        f"{trained.config.name} on {trained.config.data.name} ({trained.config.data.kind}), "
        f"{trained.results['parameters']:,} parameters"
        + ("" if epoch is None else f", epoch {epoch} of {config.epochs}")
        + (" (the weights it began with)" if epoch == 0 else "")
        + (f", stopped after {passes}" if config.patience is not None and 0 < passes < config.epochs else "")
        + f", {trained.results['seconds']:.1f} s"
    )
    data = trained.config.data
    for part in (part for part in PARTS if part in trained.results):
        print(_error_line(part, trained.results[part], data.units))
    if data.selected_on_report:
        print(f"The epoch was chosen on {data.report} itself, as published: no part was held out from the choice.")


def evaluate(command: Eval, line: str) -> None:
    """Run the command."""
    keep = None if command.predictions is None else _predictions_file(command.predictions)
    if command.dataset is not None:
        _evaluate_on_recordings(command, keep)
        return
    for option, value in (
        ("raw", command.raw),
        ("recording", " ".join(command.recording)),
        ("skip_damaged", command.skip_damaged),
    ):
        if value:
            raise OptionError(option, str(value), "--dataset too")
    from baselines.pretrained import Pretrained
    from baselines.runs.interface import dataset_of
    from baselines.trained import evaluate as afresh
    from baselines.trained import trained_of

    trained = trained_of(command.run)
    if isinstance(trained, Pretrained):
        if command.data is None:
            raise OptionError("data", None, "a prepared file, as csp-data prepare NAME prints")
        dataset = csp_data.load(path=command.data)
    else:
        dataset = dataset_of(trained, command.data)
    part = command.part or dataset.report
    metrics = afresh(trained, dataset, part, command.device, keep)
    _print_errors(command, part, metrics, list(dataset.targets.units), part=part)


def _evaluate_on_recordings(command: Eval, keep: Path | None) -> None:
    """Evaluate on recordings that are in no prepared file."""
    from baselines.prediction import Predictor

    assert command.dataset is not None
    if command.part is not None:
        raise OptionError("part", command.part, "nothing with --dataset: --recording chooses")
    predictor = Predictor.of(command.run, device=command.device, data=command.data)
    metrics = predictor.evaluate(
        command.dataset,
        raw=command.raw,
        recordings=command.recording,
        skip_damaged=command.skip_damaged,
        keep=keep,
        progress=loudness.get().progress,
    )
    name = f"{count_of(len(metrics['recordings']), 'recording')} of {metrics['dataset']} ({metrics['kind']})"
    _print_errors(command, name, metrics, list(predictor.interface.target_units))


def _print_errors(command: Eval, label: str, metrics: dict[str, Any], units: list[str], **said: str) -> None:
    if command.json:
        print(json.dumps({"run": str(command.run), **said, **metrics}))
        return
    print_metrics(label, metrics, units)


def print_metrics(label: str, metrics: dict[str, Any], units: list[str]) -> None:
    """Print errors over all, by channel and by episode; of many episodes those with the largest errors."""
    print(_error_line(label, metrics, units))
    episodes: dict[str, dict[str, Any]] = metrics["episodes"]
    left = 0
    if len(episodes) > MANY:
        worst = sorted(episodes, key=lambda name: -episodes[name]["mse"])[:MANY]
        left, episodes = len(episodes) - MANY, {name: episodes[name] for name in worst}
    for (name, values), unit in zip(metrics["channels"].items(), units, strict=True):
        print(_error_line(f"  {name}", values, [unit]))
    for name, values in episodes.items():
        print(_error_line(f"  {name}", values, units))
    if left:
        print(f"  and {count_of(left, 'more episode')}, whose errors are smaller (--json has all)")


def _predictions_file(folder: Path) -> Path:
    """Return where to write predictions in a folder, which is made; refuse that of a run."""
    from baselines.runs.run import CONFIG
    from csp_data.predictions import PREDICTIONS

    if (folder / CONFIG).exists():
        raise OptionError("predictions", str(folder), "a folder that is no run's, whose own would be lost")
    folder.mkdir(parents=True, exist_ok=True)
    return folder / PREDICTIONS


def _load_dataset(command: Train, train: dict[str, Any], data: dict[str, Any]) -> tuple[Dataset, TrainConfig]:
    """Load by name, or from a prepared file if the argument looks like one; choose how to train on it."""
    from baselines.sweeps.grid import is_prepared_file

    for name in train:
        if name in command.choices:
            raise OptionError("set", f"train.{name}", f"nothing that --{name.replace('_', '-')} says too")
    choices = Choices(**command.choices, **train)
    source: dict[str, Any] = {"raw": command.raw, "skip_damaged": command.skip_damaged}
    if is_prepared_file(command.dataset):
        dataset = csp_data.load(path=command.dataset, protocol=command.protocol, **source, **data)
        return dataset, training_config(choices, command.training, dataset.protocol.name)
    # first what may be refused: preparing can take long
    protocol = resolve(load_card(command.dataset), command.protocol).replace(**data)
    config = training_config(choices, command.training, protocol.name)
    return csp_data.load(command.dataset, protocol=protocol, progress=loudness.get().progress, **source), config


def _error_line(label: str, values: dict[str, Any], units: list[str]) -> str:
    """Return errors as people read them, with the unit that all have; of several, none is said."""
    from baselines.tables.digits import number, squared

    unit = f" {units[0]}" if len(set(units)) == 1 and units[0] != "1" else ""
    square = f" {squared(units[0])}" if unit else ""
    return (
        f"{label}: MSE {number(values['mse'], 5)}{square}, RMSE {number(values['rmse'])}{unit}, "
        f"MAE {number(values['mae'])}{unit}"
    )
