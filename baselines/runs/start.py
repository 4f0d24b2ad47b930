"""Weights that a training begins with: of a run, of a model that ships, or saved by the published code."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

from torch import nn

from baselines.errors import CspDataError, ModelError, OptionError
from baselines.models.config import config_to_dict
from baselines.models.convert import load_published
from baselines.models.model import FlatModel, HierarchicalModel
from baselines.models.own import OwnModel
from baselines.presets import DECIDED_BY_DATA, OWN, REFERENCES
from baselines.runs.config import (
    differing,
    digest,
    flatten,
    normalization_digest,
    told_differences,
    without_fold,
)
from baselines.runs.interface import Interface, dataset_of, interface_of
from baselines.runs.run import CONFIG, PRETRAINED, Run, read_run
from baselines.runs.shipped import Shipped, shipped_of
from baselines.training.checkpoint import load_weights
from baselines.training.settings import BEST
from csp_data import PAPER, Dataset, Normalization
from csp_data.home import expanded

__all__ = ["Learned", "Start", "begin_with", "learned", "start_of", "warn_of_other_data", "warn_of_seen"]

logger = logging.getLogger(__name__)

FREE = {"dropout", "learning_rate"}
"""Settings of a layer that say how it is trained, not what it computes."""

TOLD = 6
"""Recordings that a warning names."""


@dataclass(frozen=True)
class Start:
    """Where weights to begin with lie.

    Parameters
    ----------
    place
        ``pretrained:NAME``, or the path of a folder or file.
    source
        The finished run or the model that ships that they are of; None for a file of the published code.
    """

    place: str
    source: Run | Shipped | None

    @property
    def normalization(self) -> Normalization:
        """The shift and scale that they were trained with.

        Raises
        ------
        OptionError
            If they are of the published code, which keeps none.
        InterfaceError, RunError
            If what the run's folder holds of them is damaged, or not there and the prepared file neither.
        """
        if self.source is None:
            raise OptionError("normalization", "weights", "data: a checkpoint of the published code has none")
        return _interface(self.source).normalization

    def about(self) -> dict[str, Any]:
        """Return what a run that begins with them records of it.

        ``name`` tells weights of different trainings apart, and is the same for all seeds of one.
        """
        if self.source is None:
            return {}
        told = self._told(self.source)
        with suppress(CspDataError):  # where the interface is lost, nobody knows
            told["normalization"] = normalization_digest(self.normalization)
        return told

    def _told(self, source: Run | Shipped) -> dict[str, Any]:
        if isinstance(source, Shipped):
            data, run = source.about["data"], source.about["run"]
            told = {"model": run["model"], "data": data["name"], "kind": data["kind"]}
            return {"name": self.place, **told, "recipe_hash": data["recipe_hash"], "key": run["key"]}
        config = source.config
        training = digest(without_fold(source.seedless))
        return {
            "name": f"{config.data.name} {training}",
            "model": config.name,
            "data": config.data.name,
            "kind": config.data.kind,
            "recipe_hash": config.data.recipe_hash,
            "seed": config.train.seed,
            "key": config.key,
        }


def start_of(weights: Run | Shipped | Path | str) -> Start:
    """Find weights to begin with.

    Parameters
    ----------
    weights
        A finished run or its folder, a model that ships or ``pretrained:NAME``, or a file for
        :func:`baselines.load_published`.

    Raises
    ------
    UnknownNameError
        If no model of that name ships.
    RunError
        If the folder holds no finished run.
    OptionError
        If it is one of the files of a run, whose folder says what they are of.
    """
    if not isinstance(cast("object", weights), Run | Shipped | str | os.PathLike):
        raise OptionError("weights", weights, "a finished run or its folder, pretrained:NAME, or a file")
    if isinstance(weights, Run):
        return Start(str(weights.folder.absolute()), weights)
    if isinstance(weights, Shipped):
        return Start(PRETRAINED + weights.name, weights)
    shipped = shipped_of(weights)
    if shipped is not None:
        return Start(str(weights), shipped)
    path = expanded(weights, "weights")
    if path.is_dir():
        return Start(str(path.absolute()), read_run(path))
    if (path.parent / CONFIG).is_file() and path.suffix == Path(BEST).suffix:
        raise OptionError("weights", str(weights), f"the folder of the run that it is in, {path.parent}")
    return Start(str(path.absolute()), None)


def _interface(source: Run | Shipped) -> Interface:
    return source.interface if isinstance(source, Shipped) else interface_of(source)


def begin_with(model: nn.Module, config: dict[str, Any], start: Start) -> str:
    """Put weights into a freshly built model.

    Parameters
    ----------
    model, config
        The model, and its configuration as JSON values.
    start
        Weights of a model that computes the same. Of a model of one's own they need only fit by their names and
        shapes; what else differs is logged.

    Returns
    -------
    str
        12 hexadecimal digits that name the values.

    Raises
    ------
    OptionError, ModelError, CheckpointError
        If the model takes no weights from there, or these are another model's.
    """
    source = start.source
    if config["family"] in REFERENCES:
        raise OptionError("weights", start.place, f"nothing for the reference {config['family']}: it is fitted")
    if source is None:
        if not isinstance(model, FlatModel | HierarchicalModel):
            raise OptionError("weights", start.place, "the folder of a run, for a model of your own")
        load_published(model, start.place)
    else:
        _require_same_model(model, config, start)
        if isinstance(source, Shipped):
            _load_shipped(_inner(model, config_to_dict(source.model.config)), source)
        else:
            load_weights(source.folder / BEST, _inner(model, source.config.model))
    hasher = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        hasher.update(
            f"{name}={tuple(value.shape)}".encode() + value.detach().cpu().contiguous().numpy().tobytes()
        )
    return hasher.hexdigest()[:12]


def _load_shipped(model: nn.Module, source: Shipped) -> None:
    try:
        model.load_state_dict(source.model.state_dict())
    except RuntimeError as error:
        problem = " ".join(str(error).split())
        raise ModelError(f"pretrained:{source.name}: these weights belong to another model: {problem}") from error


def _inner(model: nn.Module, source: dict[str, Any]) -> nn.Module:
    """Return what takes weights of a source: of a model of one's own what its file made, unless both are such."""
    return model.inner if isinstance(model, OwnModel) and source["family"] != OWN else model


def _require_same_model(model: nn.Module, config: dict[str, Any], start: Start) -> None:
    """Refuse weights of another model; of what a file of one's own makes, say in what it differs."""
    source = start.source
    assert source is not None
    theirs = config_to_dict(source.model.config) if isinstance(source, Shipped) else source.config.model
    name = source.about["run"]["model"] if isinstance(source, Shipped) else source.config.name
    here = cast("str", cast("Any", model).config.name)
    before, after = _comparable(theirs), _comparable(config)
    keys = differing(before, after)
    from_data = [key for key in keys if key in DECIDED_BY_DATA]
    if from_data:
        told = told_differences(before, after, from_data)
        raise ModelError(
            f"{start.place} holds the weights of {name} for other data: {told}. These follow from the data: "
            "in_dim from the inputs and their deltas, out_dim from the target, chunk from input_hz / target_hz."
        )
    if config["family"] == OWN:
        if keys:
            told = (
                told_differences(before, after, keys) if theirs["family"] == OWN else f"{name} there, {here} here"
            )
            logger.warning(
                "%s: these weights are of another model or code: %s. They fit by their names and shapes; what is "
                "computed with them is not compared.",
                start.place,
                told,
            )
        return
    keys = [key for key in keys if key.rpartition(".")[2] not in FREE]
    if keys:
        told = told_differences(before, after, keys) if name == here else f"{name} there, {here} here"
        raise ModelError(
            f"{start.place} holds the weights of another model: {told}. Ask for the same (--preset, --set)."
        )


def _comparable(config: dict[str, Any]) -> dict[str, Any]:
    """Return a model's settings by dotted names; of one's own without its file's name and what was seen of it."""
    if config["family"] == OWN:
        config = {name: value for name, value in config.items() if name not in ("looks_ahead", "window")}
        config["source"] = config["source"].rpartition(":")[2]
    return flatten(config)


def warn_of_other_data(dataset: Dataset, start: Start) -> None:
    """Warn where weights were trained on inputs or targets that were made otherwise than those of a data set."""
    source = start.source
    if source is None:
        if dataset.protocol.name != PAPER.name:
            logger.warning(
                "%s: weights of the published code were trained on what protocol paper prepares; these data are "
                "of protocol %s. Errors say little unless training goes on.",
                start.place,
                dataset.protocol.name,
            )
        return
    with suppress(CspDataError):  # where the interface is lost, nobody knows
        before, here = (
            {key: value for key, value in flatten(interface.to_dict()).items() if "normalization" not in key}
            for interface in (_interface(source), Interface.of(dataset))
        )
        if keys := differing(before, here):
            logger.warning(
                "%s: these weights were trained on other data: %s. Errors say little unless training goes on.",
                start.place,
                told_differences(before, here, keys),
            )


class Learned(NamedTuple):
    """What a training has learned from.

    Parameters
    ----------
    trained, chosen, others
        Ids of the recordings that it was trained on, that its epoch was chosen on, and of all others that it had.
        Where the epoch is chosen on what is reported, that is not counted: it is said wherever its errors are.
    files
        SHA-256 of the raw files of all of these; None where they are not known.
    """

    trained: frozenset[str]
    chosen: frozenset[str]
    others: frozenset[str]
    files: frozenset[str] | None

    def seems_to_know(self, recording: str, sha256: str) -> bool:
        """Whether a recording was trained or chosen on, by its main file, or by its id where no file is known."""
        if self.files is None:
            return recording in self.trained | self.chosen
        return sha256 in self.files and recording not in self.others  # a copy of another name: of a part unknown


def learned(source: Run | Shipped | None) -> Iterator[Learned]:
    """Yield what a model has learned from, then what the weights that it began with had, as far as can be told.

    Of a run, its prepared file tells; where that is not there, nobody knows.
    """
    if isinstance(source, Shipped):
        parts = {part: frozenset(one["recordings"]) for part, one in source.about["data"]["parts"].items()}
        chosen = parts[source.about["data"]["selection"]]
        yield Learned(parts["train"], chosen, frozenset().union(*parts.values()) - parts["train"] - chosen, None)
    if not isinstance(source, Run):
        return
    with suppress(CspDataError):
        data = dataset_of(source)
        by_part: dict[str, set[str]] = {part: set() for part in (*data.parts, "")}
        for row in data.episodes:
            by_part.get(row.split, by_part[""]).add(row.recording)
        chosen = frozenset(by_part[data.selection] if data.selection != data.report else ())
        trained = frozenset(by_part["train"])
        others = frozenset().union(*by_part.values()) - trained - chosen
        yield Learned(
            trained, chosen, others, frozenset({file["sha256"] for file in data.provenance["files"]} - {None})
        )
    if source.config.weights:
        with suppress(CspDataError):
            before = start_of(source.environment["weights"])
            if before.about().get("key") == source.begun_with.get("key"):  # another run may lie there by now
                yield from learned(before.source)


def warn_of_seen(dataset: Dataset, start: Start) -> None:
    """Warn where weights have learned from recordings that a data set chooses or reports on."""
    files = {file["sha256"] for file in dataset.provenance["files"]}
    held_out = dict.fromkeys(
        (row.recording, row.split) for row in dataset.episodes if row.split in dataset.parts[1:]
    )
    seen: dict[str, None] = {}
    for before in learned(start.source):
        if before.files is None or before.files & files:
            seen |= {
                recording: None
                for recording, part in held_out
                if recording in before.trained or (recording in before.chosen and part == dataset.report)
            }
    if seen:
        more = f" and {len(seen) - TOLD} more" if len(seen) > TOLD else ""
        logger.warning(
            "%s: these weights were trained or chosen on recordings that are held out here (%s), whose errors say "
            "little: %s%s",
            start.place,
            ", ".join(part for part in dataset.parts[1:] if any((one, part) in held_out for one in seen)),
            ", ".join([*seen][:TOLD]),
            more,
        )
