"""What names a run: its data, model, training and code, as JSON values."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from baselines.errors import UnknownNameError
from baselines.presets import REFERENCES
from baselines.runs.check import check_value
from baselines.training.settings import TrainConfig
from csp_data import Dataset, Normalization, Protocol
from csp_data.card.splits import PARTS

__all__ = [
    "PREDICTIONS_ALONE",
    "REFERENCE_SETTING",
    "DataConfig",
    "RunConfig",
    "data_config",
    "differing",
    "digest",
    "effective_settings",
    "flatten",
    "normalization_digest",
    "told_differences",
    "without_fold",
]

FORMAT = "csp-baselines-run"
FORMAT_VERSION = 1

TOLD = 6
"""Differences that a message tells: two versions may differ in fifty settings."""

REFERENCE_SETTING = "window_s"
"""The only setting of the training that references depend on."""

PREDICTIONS_ALONE = "predictions"
"""Family of what was trained elsewhere: its predictions are there, and no model (:mod:`baselines.elsewhere`)."""


@dataclass(frozen=True)
class DataConfig:
    """What a run learned from.

    Parameters
    ----------
    name, kind
        Data set, and ``"CSP-Bench"``, ``"real recordings"`` or ``"simulated"``.
    protocol
        Every field of the protocol, as JSON values.
    recipe_hash
        Names everything the prepared numbers depend on.
    channels, units
        Of the targets.
    selection, report
        Part that the epoch was chosen on, and part that is reported. Both are ``"eval"`` under a published
        protocol: the reported error is then that of the best epoch on the reported part itself.
    normalization
        12 hexadecimal digits of the shift and scale, where they are others than the data set's own
        (:meth:`csp_data.Dataset.with_normalization`); else ``""``.
    """

    name: str
    kind: str
    protocol: dict[str, Any]
    recipe_hash: str
    channels: list[str]
    units: list[str]
    selection: str = "val"
    report: str = "test"
    normalization: str = ""

    @property
    def selected_on_report(self) -> bool:
        """Whether the epoch was chosen on the part that is reported."""
        return self.selection == self.report


def data_config(dataset: Dataset) -> DataConfig:
    """Return what a run remembers of its data."""
    provenance = dataset.provenance
    return DataConfig(
        name=dataset.name,
        kind=provenance["kind"],
        protocol=json.loads(dataset.protocol.to_json()),
        recipe_hash=provenance["recipe_hash"],
        channels=list(dataset.targets.names),
        units=list(dataset.targets.units),
        selection=dataset.selection,
        report=dataset.report,
        normalization="" if dataset.has_own_normalization else normalization_digest(dataset.normalization),
    )


def normalization_digest(normalization: Normalization) -> str:
    """Return 12 hexadecimal digits that name a shift and scale."""
    return digest(
        {
            name: [affine.shift.tolist(), affine.scale.tolist()]
            for name, affine in (("inputs", normalization.inputs), ("targets", normalization.targets))
        }
    )


@dataclass(frozen=True)
class RunConfig:
    """What makes two runs the same run: data, model, training and code.

    Parameters
    ----------
    data
        What it learns from.
    name
        Name of the model, such as ``hiss-s4-mamba`` or ``fir``.
    model
        Its configuration, as JSON values.
    train
        Every choice of the training.
    code
        Version of the code that computes it (:func:`baselines.runs.environment.code_version`).
    weights
        12 hexadecimal digits of the weights that it began with, where those were given; ``""`` where they were
        drawn by the seed.
    """

    data: DataConfig
    name: str
    model: dict[str, Any]
    train: TrainConfig
    code: str = ""
    weights: str = ""

    @property
    def key(self) -> str:
        """12 hexadecimal digits that name everything the run's numbers depend on."""
        return digest(self.to_dict())

    @property
    def elsewhere(self) -> bool:
        """Whether it was trained elsewhere, so that there are predictions alone."""
        return self.model.get("family") == PREDICTIONS_ALONE

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as JSON values: tuples are lists, so that equal ones compare equal."""
        plain = json.loads(json.dumps(asdict(self)))
        if not self.weights:  # so that a run that begins as most do keeps its name
            del plain["weights"]
        if not self.data.normalization:
            del plain["data"]["normalization"]
        if self.train.patience is None:  # likewise, as runs were made before there was any
            del plain["train"]["patience"]
        if self.elsewhere:  # of its training no more is known
            plain["train"] = {name: plain["train"][name] for name in ("seed", "window_s", "window_stride_s")}
        return {"format": FORMAT, "format_version": FORMAT_VERSION, **plain}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> RunConfig:
        """Rebuild a configuration; ``KeyError``, ``TypeError`` or ``ValueError`` if it is not one."""
        _refuse_unknown("run", {name: plain[name] for name in plain if not name.startswith("format")}, cls)
        _refuse_unknown("run's data", plain.get("data"), DataConfig)
        _refuse_unknown("training", plain.get("train"), TrainConfig)
        kinds = {"data": DataConfig, "name": str, "model": dict, "train": dict, "code": str, "weights": str}
        for name, kind in kinds.items():
            if name in plain:
                check_value(plain[name], kind, name)
        check_value(plain["model"].get("family"), str, "model.family")
        for name in ("selection", "report"):
            if (part := plain["data"].get(name, PARTS[0])) not in PARTS:
                raise ValueError(f"data.{name} is {part!r}, not {' or '.join(PARTS)}")
        check_value(plain["data"]["protocol"].get("name"), str, "data.protocol.name")
        check_value(plain["data"].get("normalization", ""), str, "data.normalization")
        Protocol.from_json(json.dumps(plain["data"]["protocol"]))
        return cls(
            data=DataConfig(**plain["data"]),
            name=plain["name"],
            model=dict(plain["model"]),
            train=TrainConfig(**plain["train"]),
            code=plain.get("code", ""),
            weights=plain.get("weights", ""),
        )


def _refuse_unknown(what: str, values: object, config: type) -> None:
    """Raise :class:`UnknownNameError` for a setting that a config does not have: a later one may."""
    known = [field.name for field in fields(config)]
    for name in values if isinstance(values, dict) else ():
        if name not in known:
            raise UnknownNameError(f"setting of a {what}", name, known)


def digest(settings: Mapping[str, Any]) -> str:
    """Return 12 hexadecimal digits that name some settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def effective_settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration, as JSON values, without what a reference does not use: nearly all of a training."""
    if config.get("name") not in REFERENCES:
        return config
    return {**config, "train": {REFERENCE_SETTING: config["train"][REFERENCE_SETTING]}}


def without_fold(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's settings, as JSON values; of a fold of a cross-validation without which one it is."""
    plain: dict[str, Any] = copy.deepcopy(dict(settings))
    resplit = plain["data"]["protocol"].get("resplit") or {}
    if resplit.pop("fold", None) is not None:
        del plain["data"]["recipe_hash"]
    return plain


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the names, sorted, whose values differ; a name that one of the two lacks is ``None`` there."""
    return [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]


def told_differences(there: Mapping[str, Any], here: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return in words how values of these names differ, of many names the first ones."""
    told = [f"{name} is {there.get(name)!r} there, {here.get(name)!r} here" for name in names[:TOLD]]
    more = [f"and {len(names) - TOLD} more settings"] if len(names) > TOLD else []
    return "; ".join(told + more)


def flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, its keys the paths joined by dots."""
    if not isinstance(values, dict):
        return {prefix: values}
    return {
        key: leaf
        for name, value in values.items()
        for key, leaf in flatten(value, f"{prefix}.{name}" if prefix else name).items()
    }
