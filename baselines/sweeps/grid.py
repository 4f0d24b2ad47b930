"""A grid of runs: data sets x models x seeds x settings, each run with the key that names it."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import csp_data
from baselines.errors import CspDataError, OptionError, UnknownNameError
from baselines.experiment import plan
from baselines.presets import MODELS
from baselines.published import training, training_of
from baselines.references.methods import REFERENCES
from baselines.references.strapdown import NotApplicableError
from baselines.runs.run import USED
from baselines.training.train import TrainConfig
from csp_data import Dataset, Resplit
from csp_data.acquire.rawtree import raw_root
from csp_data.card import load_card
from csp_data.errors import MissingDataError
from csp_data.options import check_number, frozen

__all__ = ["GROUPS", "Grid", "Planned", "SweepError", "by_kind", "check_raw", "expand", "prepare_all"]


class SweepError(CspDataError):
    """A sweep that cannot begin, or a folder that is not one of a sweep."""


GROUPS = {"published": MODELS, "references": tuple(REFERENCES)}
"""Names that stand for several models; of references, those that apply to a data set."""

KINDS = ("train", "model", "data")
"""What a setting can be of: a field of the training, a size of the model, a field of the protocol."""

STRIDE = "window_stride_s"
"""Of no use to a reference, but it has to fit the window."""

T = TypeVar("T")


def by_kind(settings: Mapping[str, T], bare: str = "") -> dict[str, dict[str, T]]:
    """Sort settings by what they are of, and take that off their names.

    Parameters
    ----------
    settings
        ``train.<field>``, ``model.<option>`` or ``data.<field of the protocol>`` to anything.
    bare
        Which of :data:`KINDS` a name without a dot is of; empty if each name has to say it.

    Raises
    ------
    OptionError, UnknownNameError
        For a kind, or a field of the training, that does not exist. The seed is none: every command has an option
        for it.
    """
    found: dict[str, dict[str, T]] = {kind: {} for kind in KINDS}
    for name, value in settings.items():
        kind, dot, rest = name.partition(".") if "." in name or not bare else (bare, ".", name)
        if kind not in KINDS or not (dot and rest):
            raise OptionError("set", name, "train.NAME, model.NAME or data.NAME, such as train.lr")
        found[kind][rest] = value
    fields = [f.name for f in dataclasses.fields(TrainConfig) if f.name != "seed"]
    for name in found["train"]:
        if name not in fields:
            raise UnknownNameError("setting of the training", name, fields)
    return found


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What a sweep runs: every combination.

    Parameters
    ----------
    datasets
        Names of data sets, or prepared files.
    models
        Names of models and references, or :data:`GROUPS`. References depend on no seed, on no size and, of
        the training, on ``window_s`` alone: they are run once, with the first seed and the first other settings.
    seeds
        Seeds of each run.
    protocol
        Name of the protocol; ``None`` for each data set's own.
    training
        Name of a training (:data:`baselines.published.TRAINING`); ``None`` for that of the protocol's name.
    preset
        Sizes of the models, by name.
    settings
        ``train.<field>``, ``model.<option>`` or ``data.<field of the protocol>`` to the values that it takes.
    raw
        Folder of the raw files; ``{name}`` in it stands for the data set's name. ``None`` for the home's.
    folds
        For cross-validation: every run is made once for each fold (:class:`csp_data.Resplit`). ``None`` for none.
    """

    datasets: tuple[str, ...]
    models: tuple[str, ...]
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    protocol: str | None = None
    training: str | None = None
    preset: str = "small"
    settings: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    raw: str | None = None
    folds: int | None = None

    def __post_init__(self) -> None:
        if self.folds is not None:
            expected = "a whole number of at least 3: one to report, one to choose, others to train"
            check_number("folds", self.folds, expected, least=3, whole=True)
        for option in ("datasets", "models", "seeds"):
            if not getattr(self, option):
                raise OptionError(option, "", "at least one")
        by_kind(self.settings)
        for name, values in self.settings.items():
            if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
                raise OptionError(name, values, "a list of values")
            if not len(values):
                raise OptionError(name, "", "at least one value")
        object.__setattr__(self, "seeds", frozen(self.seeds))
        object.__setattr__(self, "settings", {name: frozen(values) for name, values in self.settings.items()})
        if self.training is not None:
            training(self.training)
        if self.raw is not None and len(self.datasets) > 1 and "{name}" not in self.raw:
            raise OptionError("raw", self.raw, "{name} in it, as there are several data sets")

    @property
    def names(self) -> tuple[str, ...]:
        """Models and references, each once."""
        return tuple(dict.fromkeys(name for model in self.models for name in GROUPS.get(model, (model,))))

    def variants(self, kind: str) -> list[dict[str, Any]]:
        """Return every combination of the settings of one kind."""
        own = by_kind(self.settings)[kind]
        found = [dict(zip(own, chosen, strict=True)) for chosen in itertools.product(*own.values())]
        if kind != "data" or self.folds is None:
            return found
        return [
            {**changes, "resplit": {**_fields(changes.get("resplit")), "fold": fold, "folds": self.folds}}
            for changes in found
            for fold in range(self.folds)
        ]


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A run of a sweep, in plain values that any process on any machine can take up.

    Parameters
    ----------
    label
        What people call it.
    key
        Names everything that its numbers depend on (:attr:`baselines.runs.run.RunConfig.key`).
    folder
        Of the run.
    prepared
        The prepared file.
    model, train, preset, options
        As for :func:`baselines.run`.
    command
        How to get the run again.
    """

    label: str
    key: str
    folder: Path
    prepared: Path
    model: str
    train: TrainConfig
    preset: str | None
    options: dict[str, Any]
    command: str


def check_raw(grid: Grid) -> None:
    """Refuse a grid whose raw files are missing: names all of them and the commands that get them."""
    if missing := [str(error) for name in grid.datasets if (error := _missing(name, grid))]:
        raise SweepError("Nothing was started. " + "\n".join(missing))


def prepare_all(grid: Grid, *, jobs: int = 1, progress: bool = False) -> list[Dataset]:
    """Prepare every data set in every variant once, or open what was prepared before.

    Raises
    ------
    SweepError
        If raw files are missing, before anything is prepared: names all of them and the commands that get them.
    """
    check_raw(grid)
    datasets = []
    for name in grid.datasets:
        for changes in grid.variants("data"):
            if _is_file(name):
                if changes or grid.protocol:
                    raise OptionError("datasets", name, "the name of a data set", "A prepared file is as it is.")
                datasets.append(csp_data.load(path=name))
                continue
            asked = {"raw": _raw(name, grid), "protocol": grid.protocol, **changes}
            path = csp_data.prepare(name, jobs=jobs, progress=progress, **asked)
            datasets.append(csp_data.load(path=path))
    return datasets


def expand(grid: Grid, datasets: Sequence[Dataset], out: Path) -> list[Planned]:
    """Return every run of a grid; a name or value that does not exist is refused before anything runs.

    Runs of one seed come before those of the next, so that a sweep which is stopped early has whole tables.
    """
    runs: dict[str, Planned] = {}
    if (own := by_kind(grid.settings)["model"]) and not {*grid.names} - {*REFERENCES}:
        names = ", ".join(f"model.{size}" for size in own)
        raise OptionError(
            "set", names, "no sizes, as all models are references", "csp-baselines train sets theirs."
        )
    every = list(itertools.product(grid.variants("model"), grid.variants("train")))
    first: dict[str, dict[str, Any]] = {}
    for changes in grid.variants("train"):
        first.setdefault(str(changes.get(USED)), changes)
    once: list[tuple[dict[str, Any], dict[str, Any]]] = [({}, changes) for changes in first.values()]
    for seed in grid.seeds:
        for dataset, model in itertools.product(datasets, grid.names):
            known = model in REFERENCES
            if known and seed != grid.seeds[0]:
                continue
            base = training_of(dataset.protocol.name, grid.training)
            for sizes, changes in once if known else every:
                train = dataclasses.replace(base, **changes, seed=seed)
                try:
                    made = _planned(dataset, model, train, sizes, grid, out)
                except NotApplicableError:
                    if model in grid.models:
                        raise
                    continue  # asked for as one of a group
                runs.setdefault(made.key, made)
    return list(runs.values())


def _planned(
    dataset: Dataset, model: str, train: TrainConfig, sizes: dict[str, Any], grid: Grid, out: Path
) -> Planned:
    preset = None if model in REFERENCES else grid.preset
    key = plan(dataset, model, train, preset, sizes).key
    protocol = dataset.protocol.name
    folder = out / "runs" / f"{dataset.name}-{protocol}-{model}-{train.seed}-{key}"
    set_ = [f"{name}={json.dumps(value)}" for name, value in sizes.items()]
    base = training_of(protocol, grid.training)
    of_use = [f.name for f in dataclasses.fields(train) if model not in REFERENCES or f.name in (USED, STRIDE)]
    given = {name: getattr(train, name) for name in of_use if getattr(train, name) != getattr(base, name)}
    parts = ["csp-baselines", "train", str(dataset.path.absolute()), model]
    parts += [] if preset is None else ["--preset", preset]
    parts += [] if grid.training is None else ["--training", grid.training]
    parts += [text for name, value in given.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    parts += ["--set", *set_] if set_ else []
    return Planned(
        label=" ".join(
            [
                dataset.name,
                protocol,
                model,
                f"seed {train.seed}",
                *_told(dataset, train, sizes, grid, model in REFERENCES),
            ]
        ),
        key=key,
        folder=folder,
        prepared=dataset.path.absolute(),
        model=model,
        train=train,
        preset=preset,
        options=sizes,
        command=shlex.join([*parts, "--out", str(folder)]),
    )


def _told(dataset: Dataset, train: TrainConfig, sizes: Mapping[str, Any], grid: Grid, known: bool) -> list[str]:
    """Say which of a grid's runs of one model and seed it is: its fold, and the settings that the grid varies."""
    resplit = dataset.protocol.resplit
    told = [f"fold {resplit.fold}"] if grid.folds is not None and resplit is not None else []
    held = {"train": vars(train), "model": sizes, "data": json.loads(dataset.protocol.to_json())}
    for setting, values in grid.settings.items():
        kind, _, name = setting.partition(".")
        unused = (kind == "model" and name not in sizes) or (known and kind == "train" and name != USED)
        if len(values) > 1 and not unused:
            value = held[kind].get(name)
            told.append(f"{name}={value if isinstance(value, str) else json.dumps(value)}")
    return told


def _fields(resplit: Any) -> Mapping[str, Any]:
    """Return the fields of a change of the parts, in any form in which a protocol takes it."""
    found = {} if resplit is None else vars(resplit) if isinstance(resplit, Resplit) else resplit
    if not isinstance(found, Mapping):
        raise OptionError("data.resplit", resplit, "a Resplit, or a mapping of its fields")
    return found


def _is_file(name: str) -> bool:
    return name not in csp_data.names() and (Path(name).suffix in (".h5", ".hdf5") or Path(name).is_file())


def _raw(name: str, grid: Grid) -> str | None:
    return None if grid.raw is None else grid.raw.replace("{name}", load_card(name).name)


def _missing(name: str, grid: Grid) -> Exception | None:
    """Return what is wrong with the raw files of a data set, if there are none at all."""
    if _is_file(name):
        return None
    card = load_card(name)
    root = raw_root(card, _raw(name, grid))
    if root.is_dir() and any(root.iterdir()):
        return None
    try:
        csp_data.prepare(name, raw=_raw(name, grid), protocol=grid.protocol)
    except MissingDataError as error:
        return error
    return None
