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
from baselines.errors import NotApplicableError, OptionError, SweepError, UnknownNameError
from baselines.experiment import plan
from baselines.models.own_file import digest_of, file_of
from baselines.presets import (
    MODELS,
    REFERENCES,
    UnknownModelError,
    default_preset,
    is_own,
    model_kinds,
    short_name,
    short_names,
)
from baselines.published import training, training_of
from baselines.runs.config import REFERENCE_SETTING
from baselines.training.settings import TrainConfig
from csp_data import Dataset, Resplit
from csp_data.acquire.rawtree import raw_root
from csp_data.card import load_card
from csp_data.errors import MissingDataError
from csp_data.options import check_number, frozen

__all__ = [
    "GROUPS",
    "Grid",
    "PlannedRun",
    "SweepError",
    "check_raw",
    "expand",
    "is_prepared_file",
    "prepare_all",
    "split_settings",
]


GROUPS = {"published": MODELS, "references": tuple(REFERENCES)}
"""Names that stand for several models; of references, those that apply to a data set."""

SETTING_KINDS = ("train", "model", "data")
"""What a setting can be of: a field of the training, a size of the model, a field of the protocol."""

STRIDE = "window_stride_s"
"""Of no use to a reference, but it has to fit the window."""

T = TypeVar("T")


def split_settings(settings: Mapping[str, T], default_kind: str = "") -> dict[str, dict[str, T]]:
    """Sort settings by what they are of, and take that off their names.

    Parameters
    ----------
    settings
        ``train.<field>``, ``model.<option>`` or ``data.<field of the protocol>`` to anything.
    default_kind
        Which of :data:`SETTING_KINDS` a name without a dot is of; empty if each name has to say it.

    Raises
    ------
    OptionError, UnknownNameError
        For a kind, or a field of the training, that does not exist. The seed is none: every command has an option
        for it.
    """
    by_kind: dict[str, dict[str, T]] = {kind: {} for kind in SETTING_KINDS}
    for name, value in settings.items():
        kind, dot, field = name.partition(".") if "." in name else (default_kind, ".", name)
        if kind not in SETTING_KINDS or not (dot and field):
            raise OptionError("settings", name, "train.NAME, model.NAME or data.NAME, such as train.lr")
        by_kind[kind][field] = value
    fields = [f.name for f in dataclasses.fields(TrainConfig) if f.name != "seed"]
    for name in by_kind["train"]:
        if name not in fields:
            raise UnknownNameError("setting of the training", name, fields)
    return by_kind


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What a sweep runs: every combination.

    Parameters
    ----------
    datasets
        Names of data sets, or prepared files.
    models
        Names of models and references, ``FILE.py:NAME``, or :data:`GROUPS`. References depend on no seed, on no
        size and, of the training, on ``window_s`` alone: they are run once, with the first seed and the first
        other settings.
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
    skip_damaged
        Prepare data sets without their damaged recordings, as :func:`csp_data.prepare` does.
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
    skip_damaged: bool = False

    def __post_init__(self) -> None:
        if self.folds is not None:
            expected = "a whole number of at least 3: one to report, one to choose, others to train"
            check_number("folds", self.folds, expected, least=3, whole=True)
        for option in ("datasets", "models", "seeds"):
            if not getattr(self, option):
                raise OptionError(option, "", "at least one")
        for model in self.models:
            _check_model(model)
        split_settings(self.settings)
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
        every = (name for model in self.models for name in GROUPS.get(model, (model,)))
        return tuple(dict.fromkeys(_absolute(name) for name in every))

    def variants(self, kind: str) -> list[dict[str, Any]]:
        """Return every combination of the settings of one kind."""
        values_by_name = split_settings(self.settings)[kind]
        products = itertools.product(*values_by_name.values())
        combinations = [dict(zip(values_by_name, chosen, strict=True)) for chosen in products]
        if kind != "data" or self.folds is None:
            return combinations
        return [
            {**changes, "resplit": {**_resplit_fields(changes.get("resplit")), "fold": fold, "folds": self.folds}}
            for changes in combinations
            for fold in range(self.folds)
        ]


def _check_model(name: str) -> None:
    """Raise unless a sweep knows the name, of one model or of several."""
    if name in REFERENCES or name in GROUPS or is_own(name):
        return
    try:
        model_kinds(name)
    except UnknownModelError:
        raise UnknownModelError(name, (*REFERENCES, *GROUPS)) from None


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A run of a sweep, in plain values that any process on any machine can take up.

    Parameters
    ----------
    label
        What people call it.
    key
        Names everything that its numbers depend on (:attr:`baselines.runs.config.RunConfig.key`).
    folder
        Of the run.
    prepared
        The prepared file.
    model, train, preset, options
        As for :func:`baselines.run`.
    command
        How to get the run again.
    files
        Digests of the files of a model of one's own, by their paths from its folder, as they were when the run was
        planned.
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
    files: Mapping[str, str] = field(default_factory=dict)

    def check_files(self) -> None:
        """Raise :class:`SweepError` if a file of a model of one's own has changed since this was planned."""
        for path, digest in self.files.items():
            file = file_of(self.model).parent / path
            if not file.is_file() or digest_of(file.read_bytes()) != digest:
                raise SweepError(
                    f"{file} has changed since this run was planned. Give the sweep's command again: it plans "
                    "anew, and keeps the runs of the file as it was."
                )


def check_raw(grid: Grid) -> None:
    """Refuse a grid whose raw files are missing: names all of them and the commands that get them."""
    if errors := [str(error) for name in grid.datasets if (error := _missing_raw_error(name, grid))]:
        if grid.raw is not None and len(grid.datasets) > len(errors):
            errors.append(
                "The folder of raw files is that of every data set of a sweep. Those that lie elsewhere, or ship "
                "with csp-data, can be trained by a sweep of their own into the same folder."
            )
        raise SweepError("Nothing was started. " + "\n".join(errors))


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
            if is_prepared_file(name):
                if changes or grid.protocol or grid.skip_damaged:
                    raise OptionError(
                        "datasets",
                        name,
                        "the name of a data set",
                        "A prepared file stays as it is; folds, another protocol, settings of the data and which"
                        " recordings to skip need the recordings.",
                    )
                datasets.append(csp_data.load(path=name))
                continue
            arguments = {"raw": _raw_folder(name, grid), "protocol": grid.protocol, **changes}
            path = csp_data.prepare(
                name, jobs=jobs, progress=progress, skip_damaged=grid.skip_damaged, **arguments
            )
            datasets.append(csp_data.load(path=path))
    return datasets


def expand(grid: Grid, datasets: Sequence[Dataset], out: Path) -> list[PlannedRun]:
    """Return every run of a grid; a name or value that does not exist is refused before anything runs.

    Runs of one seed come before those of the next, so that a sweep which is stopped early has whole tables.
    """
    runs: dict[str, PlannedRun] = {}
    varied_sizes = split_settings(grid.settings)["model"]
    if varied_sizes and not {*grid.names} - {*REFERENCES}:
        names = ", ".join(f"model.{size}" for size in varied_sizes)
        raise OptionError(
            "settings", names, "no sizes, as all models are references", "csp-baselines train sets theirs."
        )
    model_variants = list(itertools.product(grid.variants("model"), grid.variants("train")))
    by_window: dict[str, dict[str, Any]] = {}
    for changes in grid.variants("train"):
        by_window.setdefault(str(changes.get(REFERENCE_SETTING)), changes)
    no_sizes: dict[str, Any] = {}
    reference_variants = [(no_sizes, changes) for changes in by_window.values()]
    for seed, dataset, model in itertools.product(grid.seeds, datasets, grid.names):
        is_reference = model in REFERENCES
        if is_reference and seed != grid.seeds[0]:
            continue
        base = training_of(dataset.protocol.name, grid.training)
        for sizes, changes in reference_variants if is_reference else model_variants:
            train = dataclasses.replace(base, **changes, seed=seed)
            try:
                planned = _plan_run(dataset, model, train, sizes, grid, out)
            except NotApplicableError:
                if model in grid.models:
                    raise
                continue  # asked for as one of a group
            runs.setdefault(planned.key, planned)
    return list(runs.values())


def _plan_run(
    dataset: Dataset, model: str, train: TrainConfig, sizes: dict[str, Any], grid: Grid, out: Path
) -> PlannedRun:
    preset = None if default_preset(model) is None else grid.preset
    planned = plan(dataset, model, train, preset, sizes)
    key = planned.key
    own = is_own(model)
    files = {file_of(model).name: planned.model["digest"], **planned.model.get("beside", {})} if own else {}
    protocol = dataset.protocol.name
    folder = out / "runs" / f"{dataset.name}-{protocol}-{short_name(model)}-{train.seed}-{key}"
    varied = _varied_labels(dataset, train, sizes, grid, model in REFERENCES)
    return PlannedRun(
        label=" ".join([dataset.name, protocol, short_names(grid.names)[model], f"seed {train.seed}", *varied]),
        key=key,
        folder=folder,
        prepared=dataset.path.absolute(),
        model=model,
        train=train,
        preset=preset,
        options=sizes,
        command=shlex.join([*_train_command(dataset, model, train, preset, sizes, grid), "--out", str(folder)]),
        files=files,
    )


def _train_command(
    dataset: Dataset, model: str, train: TrainConfig, preset: str | None, sizes: Mapping[str, Any], grid: Grid
) -> list[str]:
    """Return the arguments of the command that trains one run, without its folder."""
    base = training_of(dataset.protocol.name, grid.training)
    used = [f.name for f in dataclasses.fields(train)]
    if model in REFERENCES:
        used = [name for name in used if name in (REFERENCE_SETTING, STRIDE)]
    changed = {name: getattr(train, name) for name in used if getattr(train, name) != getattr(base, name)}
    parts = ["csp-baselines", "train", str(dataset.path.absolute()), model]
    parts += [] if preset is None else ["--preset", preset]
    parts += [] if grid.training is None else ["--training", grid.training]
    parts += [text for name, value in changed.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    parts += ["--set", *(f"{name}={json.dumps(value)}" for name, value in sizes.items())] if sizes else []
    return parts


def _varied_labels(
    dataset: Dataset, train: TrainConfig, sizes: Mapping[str, Any], grid: Grid, is_reference: bool
) -> list[str]:
    """Say which of a grid's runs of one model and seed it is: its fold, and the settings that the grid varies."""
    resplit = dataset.protocol.resplit
    labels = [f"fold {resplit.fold}"] if grid.folds is not None and resplit is not None else []
    stored = {"train": vars(train), "model": sizes, "data": json.loads(dataset.protocol.to_json())}
    for setting, values in grid.settings.items():
        kind, _, name = setting.partition(".")
        not_for_references = kind == "train" and name != REFERENCE_SETTING
        unused = (kind == "model" and name not in sizes) or (is_reference and not_for_references)
        if len(values) > 1 and not unused:
            value = stored[kind].get(name)
            labels.append(f"{name}={value if isinstance(value, str) else json.dumps(value)}")
    return labels


def _absolute(model: str) -> str:
    """Return the name of a model; a file of one's own with its folder, as other processes may be elsewhere."""
    return f"{file_of(model)}:{model.rpartition(':')[2]}" if is_own(model) else model


def _resplit_fields(resplit: Any) -> Mapping[str, Any]:
    """Return the fields of a change of the parts, in any form in which a protocol takes it."""
    fields = {} if resplit is None else vars(resplit) if isinstance(resplit, Resplit) else resplit
    if not isinstance(fields, Mapping):
        raise OptionError("data.resplit", resplit, "a Resplit, or a mapping of its fields")
    return fields


def is_prepared_file(name: str) -> bool:
    """Tell whether what stands for a data set is taken for a prepared file, not for a name."""
    return name not in csp_data.names() and (Path(name).suffix in (".h5", ".hdf5") or Path(name).is_file())


def _raw_folder(name: str, grid: Grid) -> str | None:
    return None if grid.raw is None else grid.raw.replace("{name}", load_card(name).name)


def _missing_raw_error(name: str, grid: Grid) -> Exception | None:
    """Return what is wrong with the raw files of a data set, if there are none at all."""
    if is_prepared_file(name):
        return None
    card = load_card(name)
    root = raw_root(card, _raw_folder(name, grid))
    if root.is_dir() and any(root.iterdir()):
        return None
    try:
        csp_data.prepare(name, raw=_raw_folder(name, grid), protocol=grid.protocol)
    except MissingDataError as error:
        return error
    return None
