"""The interface of a trained model in physical units: everything that a stream must know of the data."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

import csp_data
from baselines.errors import InterfaceError, RunError
from baselines.runs.check import check_value
from baselines.runs.config import normalization_digest
from baselines.runs.run import CONFIG, ENVIRONMENT, Run
from csp_data import Dataset, LowPass, Normalization, Protocol
from csp_data.card import is_shipped
from csp_data.dataset import check_dataset
from csp_data.files import read_json
from csp_data.home import expanded, prepared_dir
from csp_data.normalization import Affine

__all__ = ["INTERFACE", "Interface", "InterfaceError", "as_trained", "dataset_of", "interface_of", "step_note"]

INTERFACE = "interface.json"
"""Name of the file in a run folder."""


@dataclass(frozen=True)
class Interface:
    """Channels, units, rates and the preparation of samples.

    Parameters
    ----------
    inputs, input_units
        Channels of a sample, in order.
    input_hz
        Samples per second, in Hz.
    targets, target_units
        Channels of a prediction, in order.
    target_hz
        Predictions per second, in Hz.
    deltas
        Whether the change of each channel since the sample before is appended.
    clip
        Bound of the features' absolute values, in the channels' units; None for none.
    lowpass
        Filter of the samples, at ``input_hz``; None for none.
    baseline, baseline_rows
        Offset that was subtracted from the recordings before anything else: ``"none"``, or the ``"mean"`` or
        ``"median"`` of this many first rows, at the sensor's own rate.
    normalization
        Shift and scale of features and targets.
    raw_clip
        Bound of the samples' absolute values, after the baseline and before the filter; None for none.
    resample
        How the recordings were resampled to ``input_hz``: with ``"linear"`` a sample is the value at its time,
        with ``"mean"`` the mean over the time since the sample before. A stream's samples must be made likewise.
    target
        The card's name of the target: two may have the same channels and units.
    look_ahead_s
        Seconds from the end of a prediction's step to the last sample that it was made from (`Protocol.ahead_s`).
    rotations, orientation, truth_quaternions
        How rotations were interpolated, which estimate turned a phone's inputs into the global frame, and how the
        truth's rotations were read: the protocol's fields. Each changes what inputs or targets are under the same
        names and units.
    """

    inputs: tuple[str, ...]
    input_units: tuple[str, ...]
    input_hz: float
    targets: tuple[str, ...]
    target_units: tuple[str, ...]
    target_hz: float
    deltas: bool
    clip: float | None
    lowpass: LowPass | None
    baseline: str
    baseline_rows: int
    normalization: Normalization
    raw_clip: float | None
    resample: str
    target: str
    look_ahead_s: float
    rotations: str
    orientation: str
    truth_quaternions: str

    @classmethod
    def of(cls, dataset: Dataset | Run) -> Interface:
        """Read it from a data set, as ``csp_data.load`` returns it, or from a finished run.

        Raises
        ------
        OptionError
            If it is neither.
        InterfaceError, RunError
            If what the run's folder holds of it is damaged, or not there and the prepared file neither.
        """
        if isinstance(dataset, Run):
            return interface_of(dataset)
        check_dataset(dataset)
        protocol = dataset.protocol
        return cls(
            inputs=tuple(dataset.channels.names),
            input_units=tuple(dataset.channels.units),
            input_hz=protocol.input_hz,
            targets=tuple(dataset.targets.names),
            target_units=tuple(dataset.targets.units),
            target_hz=protocol.target_hz,
            deltas=protocol.input_deltas,
            clip=protocol.clip,
            lowpass=protocol.lowpass,
            baseline=protocol.baseline,
            baseline_rows=protocol.baseline_rows,
            normalization=dataset.normalization,
            raw_clip=protocol.raw_clip,
            resample=protocol.resample,
            target=dataset.card.target(protocol.target).name,
            look_ahead_s=protocol.ahead_s,
            rotations=protocol.rotations,
            orientation=protocol.orientation,
            truth_quaternions=protocol.truth_quaternions,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values; numbers keep all their digits."""
        plain: dict[str, Any] = {**asdict(self), "normalization": {}}
        for name in ("inputs", "targets"):
            affine = getattr(self.normalization, name)
            plain["normalization"][name] = {
                part: np.asarray(getattr(affine, part), dtype=np.float64).tolist() for part in ("shift", "scale")
            }
        json_values: dict[str, Any] = json.loads(json.dumps(plain))
        return json_values

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Interface:
        """Rebuild it; a ``ValueError`` if the values are not one."""
        check_value(plain, cls)
        entries: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()
        }
        if entries["lowpass"] is not None:
            entries["lowpass"] = LowPass(**entries["lowpass"])
        entries["normalization"] = Normalization(
            **{
                name: Affine(**{part: np.array(affine[part], dtype=np.float64) for part in ("shift", "scale")})
                for name, affine in plain["normalization"].items()
            }
        )
        interface = cls(**entries)
        interface._check()
        return interface

    def _check(self) -> None:
        """Refuse what no protocol has, and lists that do not fit each other."""
        shared = {one.name for one in fields(self)} & {one.name for one in fields(Protocol)} - {"target"}
        _ = Protocol(name="stored", **{name: getattr(self, name) for name in shared}).chunk
        columns = len(self.inputs) * (2 if self.deltas else 1)
        for name, expected, found in (
            ("input_units", len(self.inputs), len(self.input_units)),
            ("target_units", len(self.targets), len(self.target_units)),
            ("normalization.inputs.shift", columns, len(self.normalization.inputs.shift)),
            ("normalization.inputs.scale", columns, len(self.normalization.inputs.scale)),
            ("normalization.targets.shift", len(self.targets), len(self.normalization.targets.shift)),
            ("normalization.targets.scale", len(self.targets), len(self.normalization.targets.scale)),
        ):
            if found != expected or not found:
                raise ValueError(f"{name} has {found} values, not {expected or 'one at least'}")
        for name in ("inputs", "targets"):
            if not getattr(self.normalization, name).scale.all():
                raise ValueError(f"normalization.{name}.scale has a zero")


def step_note(interface: Interface, protocol: Protocol) -> str | None:
    """Say that predictions are not per second, whatever their names; None where they are, or have no unit."""
    if protocol.target_per != "step" or set(interface.target_units) == {"1"}:
        return None
    units = " and ".join(dict.fromkeys(interface.target_units))
    return (
        f"changes are predicted in {units} over each step of {1 / interface.target_hz:g} s, as the protocol has "
        f"them, not per second ({interface.targets[0]} too)."
    )


def dataset_of(run: Run, path: Path | str | None = None) -> Dataset:
    """Open the prepared file of a run, where it was or where the caller says that it is.

    A run of another machine finds it where this one's home has a file of that name, which tells the recipe. Its
    shift and scale are those of the training.

    Raises
    ------
    RunError
        If it is not there.
    InterfaceError
        If shift and scale are not those of the file, and what the run's folder holds of them is lost or damaged.
    """
    file = expanded(path or run.environment["prepared"])
    local_copy = prepared_dir() / file.name
    if path is None and not file.is_file() and local_copy.is_file():
        file = local_copy
    if not file.is_file():
        name = run.config.data.name
        given, where = repr(name), "with raw=FOLDER if its recordings are not in the home"
        if name not in csp_data.names():
            given, where = "FOLDER", "of the folder that has its card, reader and recordings, as they were then"
        elif not is_shipped(csp_data.info(name)):
            then, now = run.environment.get("data_version"), csp_data.info(name).version
            versions = f" ({then or 'none stated'}; here is {now or 'none stated'})" if then != now else ""
            where += f", with the version of {name} that it was trained on{versions}: others make other files"
        raise RunError(
            f"{file}: the prepared file of {run.folder} is not there. Pass it as --data, or prepare {name} again "
            f"in Python, after which it is found: csp_data.load({given}, protocol=baselines.read_run("
            f"{str(run.folder)!r}).protocol), {where}."
        )
    return as_trained(run, csp_data.load(path=file))


def as_trained(run: Run, dataset: Dataset) -> Dataset:
    """Return a data set with the shift and scale that a run was trained with; one of another recipe as it is."""
    if dataset.prepared.index.header.recipe_hash != run.config.data.recipe_hash:
        return dataset
    if not run.config.data.normalization:
        return dataset if dataset.has_own_normalization else dataset.with_normalization(None)
    return dataset.with_normalization(interface_of(run).normalization)


def interface_of(run: Run, data: Path | str | None = None) -> Interface:
    """Return the interface of a finished run: from its folder, or else from its prepared file.

    Parameters
    ----------
    run
        The run.
    data
        The prepared file, if it is no longer where the run found it.

    Raises
    ------
    InterfaceError
        If the stored interface is damaged, or lost where nothing else tells shift and scale, or the prepared file
        is another one than the run's.
    """
    kept, path = run.config.data.normalization, run.folder / INTERFACE
    fix = "train the run again: no other file holds its shift and scale."
    if path.exists():
        try:
            interface = Interface.from_dict(read_json(path))
            if kept and normalization_digest(interface.normalization) != kept:
                raise ValueError(f"its shift and scale are not those that {CONFIG} names")
        except (OSError, ValueError) as error:
            if not kept:
                fix = "delete this file, and the prepared file is read instead."
            raise InterfaceError(
                f"{path}: damaged ({str(error).removesuffix('.')}). If a later version of csp-data made the run"
                f" ({ENVIRONMENT} says which), read it with that; else {fix}"
            ) from error
        return interface
    if kept:
        raise InterfaceError(f"{path}: there is no such file. Restore it, or {fix}")
    dataset = dataset_of(run, data)
    trained_recipe, data_recipe = run.config.data.recipe_hash, dataset.provenance["recipe_hash"]
    if trained_recipe != data_recipe:
        raise InterfaceError(
            f"{run.folder} was trained on recipe {trained_recipe}, {dataset.path} is of recipe {data_recipe}. "
            "Pass the file that it was trained on as --data."
        )
    return Interface.of(dataset)
