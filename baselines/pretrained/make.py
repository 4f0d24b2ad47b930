"""Turn finished runs into a pretrained model: of those that stream, the one with the lowest error on val."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from baselines.layers import TransformerConfig
from baselines.models.config import FlatConfig, config_from_dict
from baselines.models.model import FlatModel, HierarchicalModel
from baselines.presets import OWN, REFERENCES
from baselines.pretrained.card import card_text
from baselines.pretrained.model import Pretrained, PretrainedError
from baselines.pretrained.mounting import mounting_error
from baselines.results import Result, collect
from baselines.runs.config import PREDICTIONS_ALONE
from baselines.runs.interface import dataset_of, interface_of
from baselines.runs.model import model_of_run
from baselines.runs.run import Run, read_run
from baselines.tables.table import kind_label
from baselines.training.settings import window_steps
from csp_data import Dataset
from csp_data.predictions import EpisodePrediction

__all__ = ["best_run", "can_stream", "pretrained_from"]

RUN_FACTS = (
    *("model", "parameters", "seed", "epoch", "epochs", "window_s"),
    *("commit", "code", "key", "device", "cpu", "torch", "seconds", "version"),
)
"""Fields of a run's row that a model tells of its training."""


def can_stream(run: Run) -> bool:
    """Tell whether a run's model can stream for ever: no reference, no Transformer that looks back over all."""
    if run.config.model["family"] in (*REFERENCES, OWN, PREDICTIONS_ALONE):  # what ships is made by this package
        return False
    config: Any = config_from_dict(run.config.model)
    highest = config.layer if isinstance(config, FlatConfig) else config.high
    return not (isinstance(highest, TransformerConfig) and highest.window is None)


def best_run(rows: Sequence[Result]) -> tuple[Run, list[Result]]:
    """Return the run with the lowest error on the part for choosing of those that stream, and the rows of those.

    Raises
    ------
    PretrainedError
        If the runs are not all of the same data, or none streams.
    """
    data = {(row.dataset, row.kind, row.protocol, row.recipe_hash) for row in rows}
    if len(data) != 1:
        raise PretrainedError(f"expected runs on one data set, protocol and recipe, found {sorted(data)}.")
    streaming = [row for row in rows if can_stream(read_run(Path(row.source)))]
    if not streaming:
        raise PretrainedError("none of these runs is of a model that streams.")
    return read_run(Path(min(streaming, key=lambda row: row.val_mse).source)), streaming


def pretrained_from(
    name: str, folders: Sequence[Path], data: Path | None = None, cpu: str | None = None
) -> Pretrained:
    """Make a pretrained model of the best of some runs, and measure it in windows and as a stream.

    Parameters
    ----------
    name
        What it will be asked for by.
    folders
        Of runs, or of what holds them, as :func:`baselines.results.collect` takes.
    data
        The prepared file, if it is no longer where the run found it.
    cpu
        Name of the processor, for runs that did not record it.

    Raises
    ------
    ResultsError, RunError, PretrainedError
        If runs are unfinished, damaged, of uncommitted code, of several data sets, or cannot stream.
    """
    rows = collect(folders, name, cpu=cpu)
    run, streaming = best_run(rows)
    row = next(row for row in streaming if row.key == run.config.key)
    dataset = dataset_of(run, data)
    pretrained = Pretrained(name, _model(run), interface_of(run, data), {}, "")
    predictions = {
        part: {
            "windows": pretrained.predict_part(dataset, part, window_s=row.window_s),
            "stream": pretrained.predict_part(dataset, part),
        }
        for part in dict.fromkeys((row.selection, row.report))
    }
    remeasured = _mse(predictions[row.report]["windows"])
    if not np.isclose(remeasured, row.test_mse, rtol=1e-4):
        raise PretrainedError(
            f"{run.folder}: the error was {row.test_mse} there, and is {remeasured} here. Investigate."
        )
    length = window_steps("window_s", row.window_s, dataset.protocol.target_hz)
    reference_errors = {other.model: other.test_mse for other in rows if other.model in REFERENCES}
    about: dict[str, Any] = {
        "name": name,
        "data": _data_facts(row, pretrained, dataset),
        "run": {field: getattr(row, field) for field in RUN_FACTS},
        "candidates": len(streaming),
        "models": len({other.model for other in streaming}),
        "errors": {
            part: {mode: _mse(of_mode) for mode, of_mode in by_mode.items()}
            for part, by_mode in predictions.items()
        },
        "references": dict(sorted(reference_errors.items(), key=lambda pair: -pair[1])),
        "mounted_otherwise": mounting_error(pretrained.model, dataset, row.report, length),
        "recordings": _recording_errors(predictions[row.report], dataset, row.report),
    }
    return Pretrained(name, pretrained.model, pretrained.interface, about, card_text(about))


def _model(run: Run) -> FlatModel | HierarchicalModel:
    model = model_of_run(run)
    if not isinstance(model, FlatModel | HierarchicalModel):
        raise PretrainedError(f"{run.folder}: {run.config.name} is a reference, not a model.")
    return model


def _data_facts(row: Result, pretrained: Pretrained, dataset: Dataset) -> dict[str, Any]:
    card, interface = dataset.card, pretrained.interface
    parts = {
        part: {
            "recordings": list(dict.fromkeys(r.recording for r in dataset.split(part).rows)),
            "minutes": dataset.split(part).seconds / 60,
        }
        for part in dataset.parts
    }
    return {
        "name": row.dataset,
        "kind": row.kind,
        "kind_label": kind_label(row.kind),
        "protocol": row.protocol,
        "recipe_hash": row.recipe_hash,
        "augment": dataset.protocol.augment,
        "selection": row.selection,
        "report": row.report,
        "unit": row.unit,
        "title": card.title,
        "licence": card.licence.id,
        "citation": _plain_text(card.citation.text),
        "target": _plain_text(card.target(dataset.protocol.target).summary),
        "defects": [_plain_text(defect) for defect in card.defects],
        "inputs": dict(zip(interface.inputs, interface.input_units, strict=True)),
        "input_hz": interface.input_hz,
        "targets": dict(zip(interface.targets, interface.target_units, strict=True)),
        "target_hz": interface.target_hz,
        "parts": parts,
    }


def _recording_errors(
    by_mode: dict[str, list[EpisodePrediction]], dataset: Dataset, part: str
) -> dict[str, dict[str, float]]:
    recording_of = {r.id: r.recording for r in dataset.split(part).rows}
    return {
        recording: {
            mode: float(np.sqrt(_mse([p for p in of_mode if recording_of[p.id] == recording])))
            for mode, of_mode in by_mode.items()
        }
        for recording in dict.fromkeys(recording_of.values())
    }


def _mse(predictions: Sequence[EpisodePrediction]) -> float:
    return float(np.mean(np.concatenate([np.square(p.pred - p.true) for p in predictions])))


def _plain_text(text: str) -> str:
    return " ".join(text.replace("`", "").split())
