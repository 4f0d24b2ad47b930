"""Turn finished runs into a pretrained model: of those that stream, the one with the lowest error on val."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from baselines.experiment import load_model
from baselines.layers import TransformerConfig
from baselines.models.config import FlatConfig
from baselines.models.model import FlatModel, HierarchicalModel
from baselines.presets import OWN
from baselines.pretrained.card import card_text
from baselines.pretrained.model import Pretrained, PretrainedError
from baselines.references.methods import REFERENCES
from baselines.results import Result, collect
from baselines.runs.interface import interface_of
from baselines.runs.run import Run, dataset_of, read_run
from baselines.tables.table import NOT_BENCH
from baselines.training.evaluate import EpisodePrediction
from csp_data import Dataset

__all__ = ["best_run", "pretrained_from", "streams"]


def streams(run: Run) -> bool:
    """Tell whether a run's model can stream for ever: no reference, no Transformer that looks back over all."""
    if run.config.model["family"] in (*REFERENCES, OWN):  # what ships is made from this package alone
        return False
    config: Any = _model(run).config
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
    able = [row for row in rows if streams(read_run(Path(row.source)))]
    if not able:
        raise PretrainedError("none of these runs is of a model that streams.")
    return read_run(Path(min(able, key=lambda row: row.val_mse).source)), able


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
    run, able = best_run(rows)
    row = next(row for row in able if row.key == run.config.key)
    dataset = dataset_of(run, data)
    made = Pretrained(name, _model(run), interface_of(run, data), {}, "")
    found = {
        part: {
            "windows": made.predict_part(dataset, part, window_s=row.window_s),
            "stream": made.predict_part(dataset, part),
        }
        for part in dict.fromkeys((row.selection, row.report))
    }
    again = _mse(found[row.report]["windows"])
    if not np.isclose(again, row.test_mse, rtol=1e-4):
        raise PretrainedError(
            f"{run.folder}: the error was {row.test_mse} there, and is {again} here. Investigate."
        )
    plain = {other.model: other.test_mse for other in rows if other.model in REFERENCES}
    about: dict[str, Any] = {
        "name": name,
        "data": _data(row, made, dataset),
        "run": {
            field: getattr(row, field)
            for field in ("model", "parameters", "seed", "epoch", "epochs", "window_s", "commit", "code", "key")
        }
        | {field: getattr(row, field) for field in ("device", "cpu", "torch", "seconds", "version")},
        "candidates": len(able),
        "models": len({other.model for other in able}),
        "errors": {part: {way: _mse(its) for way, its in ways.items()} for part, ways in found.items()},
        "references": dict(sorted(plain.items(), key=lambda pair: -pair[1])),
        "recordings": _recordings(found[row.report], dataset, row.report),
    }
    return Pretrained(name, made.model, made.interface, about, card_text(about))


def _model(run: Run) -> FlatModel | HierarchicalModel:
    model = load_model(run)
    if not isinstance(model, FlatModel | HierarchicalModel):
        raise PretrainedError(f"{run.folder}: {run.config.name} is a reference, not a model.")
    return model


def _data(row: Result, made: Pretrained, dataset: Dataset) -> dict[str, Any]:
    card, interface = dataset.card, made.interface
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
        "kind_label": NOT_BENCH.get(row.kind, row.kind),
        "protocol": row.protocol,
        "recipe_hash": row.recipe_hash,
        "selection": row.selection,
        "report": row.report,
        "unit": row.unit,
        "title": card.title,
        "licence": card.licence.id,
        "citation": _plain(card.citation.text),
        "target": _plain(card.target(dataset.protocol.target).summary),
        "defects": [_plain(defect) for defect in card.defects],
        "inputs": dict(zip(interface.inputs, interface.input_units, strict=True)),
        "input_hz": interface.input_hz,
        "targets": dict(zip(interface.targets, interface.target_units, strict=True)),
        "target_hz": interface.target_hz,
        "parts": parts,
    }


def _recordings(
    ways: dict[str, list[EpisodePrediction]], dataset: Dataset, part: str
) -> dict[str, dict[str, float]]:
    of = {r.id: r.recording for r in dataset.split(part).rows}
    return {
        recording: {
            way: float(np.sqrt(_mse([p for p in its if of[p.id] == recording]))) for way, its in ways.items()
        }
        for recording in dict.fromkeys(of.values())
    }


def _mse(predictions: Sequence[EpisodePrediction]) -> float:
    return float(np.mean(np.concatenate([np.square(p.pred - p.true) for p in predictions])))


def _plain(text: str) -> str:
    return " ".join(text.replace("`", "").split())
