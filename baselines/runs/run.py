"""The run folder: what was asked, where it ran, what came out.

======================  ==================================================================================
``config.json``         data set, kind, protocol, recipe hash; model; training: what makes two runs the same
``environment.json``    versions, machine, commit, command, prepared file: what may differ between them
``interface.json``      channels, units, rates, filter, normalisation: what a stream of samples needs
``metrics.jsonl``       one line per epoch
``ledger.jsonl``        what was executed, and by which process (:mod:`baselines.training.ledger`)
``best.safetensors``    weights of the chosen epoch; none of what was trained elsewhere
``last.safetensors``    what an interrupted training goes on from
``predictions.npz``     of the part that is reported, physical units
``model.py``            the file of a model of one's own (:mod:`baselines.models.own`); where it imports from its
                        folder, ``model/`` holds it and those files
``results.json``        metrics of every part but train, written last: a run without it is unfinished
======================  ==================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import filelock

import csp_data
from baselines.errors import BusyError, CspDataError, OptionError, RunError, UnknownNameError
from baselines.files import atomic_json
from baselines.runs.check import Environment, EpochLine, Metrics, Outcome, check_value
from baselines.runs.config import (
    FORMAT,
    FORMAT_VERSION,
    RunConfig,
    differing,
    effective_settings,
    flatten,
    told_differences,
)
from baselines.training.ledger import LEDGER, read_lines
from baselines.training.settings import BEST, METRICS
from csp_data.card.splits import PARTS
from csp_data.files import check_file, read_json
from csp_data.home import expanded
from csp_data.predictions import PREDICTIONS, EpisodePrediction, PredictionsError, read_predictions
from csp_data.terminal import with_control

__all__ = [
    "BusyError",
    "Run",
    "RunError",
    "damaged_error",
    "failure_of",
    "is_held",
    "lock_folder",
    "read_run",
]

CONFIG, ENVIRONMENT, RESULTS = "config.json", "environment.json", "results.json"
MODEL, MODEL_FOLDER = "model.py", "model"
LOCK = ".lock"
PRETRAINED = "pretrained:"
"""What the name of a model that ships with the package begins with where the folder of a run may stand, too."""

State = Literal["new", "unfinished", "finished"]


@dataclass(frozen=True)
class Run:
    """A finished run, as read from its folder.

    Parameters
    ----------
    folder
        Where it lies.
    config
        What it is.
    environment, results
        As written.
    epochs
        Lines of the metrics; empty for a reference.
    """

    folder: Path
    config: RunConfig
    environment: dict[str, Any]
    results: dict[str, Any]
    epochs: list[dict[str, Any]] = field(default_factory=list)

    def __repr__(self) -> str:  # all that a run holds fills screens
        data, part = self.config.data, self.config.data.report
        error = f"{part} MSE {self.reported['mse']:.4g}"
        return (
            f"<Run {self.config.name} on {data.name} ({data.kind}), protocol {data.protocol['name']}, "
            f"seed {self.config.train.seed}: {error}; {self.folder}>"
        )

    @property
    def protocol(self) -> csp_data.Protocol:
        """What its data were prepared by: with it, :func:`csp_data.load` prepares them again."""
        return csp_data.Protocol.from_json(json.dumps(self.config.data.protocol))

    @property
    def selected(self) -> dict[str, Any]:
        """Metrics of the part that the epoch was chosen on."""
        return dict(self.results[self.config.data.selection])

    @property
    def reported(self) -> dict[str, Any]:
        """Metrics of the part that is reported."""
        return dict(self.results[self.config.data.report])

    @property
    def begun_with(self) -> dict[str, Any]:
        """What it records of the weights that it began with; empty where the seed drew them."""
        return dict(self.environment.get("weights_of") or {}) if self.config.weights else {}

    @property
    def seedless(self) -> dict[str, Any]:
        """Its configuration without the seed, as JSON values: what the runs of one row of a table share.

        Of the weights that it began with, which five seeds may take from five runs, it has what these were trained
        on, or ``"given"`` where that is not known.
        """
        settings = self.config.to_dict()
        settings["train"].pop("seed")
        if self.config.weights:
            settings["weights"] = self.begun_with.get("name", "given")
        kept = self.config.data.normalization
        if kept and kept == self.begun_with.get("normalization"):  # of each fold they are others
            settings["data"]["normalization"] = "weights"
        return settings

    @cached_property
    def predictions(self) -> list[EpisodePrediction]:
        """``id``, ``time``, ``true`` and ``pred`` of each episode of the part that is reported, in its units."""
        try:
            return read_predictions(self.folder / PREDICTIONS)
        except PredictionsError as error:
            raise RunError(str(error)) from error


@contextmanager
def lock_folder(folder: Path, config: RunConfig) -> Iterator[State]:
    """Hold a folder for a run: a new one, an unfinished one to go on with, or a finished one to leave alone.

    No other process can hold it at the same time; the system lets go of it when the process ends, however it ends.
    A finished one need not be held, nor can it be where nothing can be written.

    Parameters
    ----------
    folder
        Made if it is not there.
    config
        The run to be.

    Yields
    ------
    state
        What the folder holds.

    Raises
    ------
    RunError
        If the folder holds anything but this run, or another process works in it.
    """
    if _is_begun(folder, config) and (folder / RESULTS).exists():
        yield "finished"
        return
    lock = filelock.FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise BusyError(
            f"{folder}: another process is at work on this run. Wait, or choose another folder (--out)."
        ) from error
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error}). Choose another folder (--out).") from error
    try:
        begun = _is_begun(folder, config)  # again: another process may have had it in between
        for stale in folder.glob(".*.part*"):  # by a process that was killed
            stale.unlink()
        if not begun:
            atomic_json(folder / CONFIG, config.to_dict())
            yield "new"
        else:
            yield "finished" if (folder / RESULTS).exists() else "unfinished"
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Tell whether a process is at work on the run in a folder; the lock of a finished one is left alone."""
    path = folder / LOCK
    if not path.exists() or (folder / RESULTS).exists():
        return False
    try:
        with filelock.FileLock(path, timeout=0):
            return False
    except filelock.Timeout:
        return True
    except OSError:  # cannot be written: whoever takes the run up says so
        return False


def _is_begun(folder: Path, config: RunConfig) -> bool:
    """Tell whether the run was begun in a folder; refuse one that holds anything but this run."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if CONFIG in names:
        _require_same_run(folder, read_config(folder), config)
        return True
    if any(name != LOCK and not name.startswith(f".{CONFIG}.") for name in names):
        raise _foreign_folder_error(folder)
    return False


def read_run(folder: Path | str) -> Run:
    """Read a finished run.

    Parameters
    ----------
    folder
        Of the run, as given to :func:`baselines.run` or ``csp-baselines train --out``; it may have been moved or
        renamed since. A model that ships is no run: :func:`baselines.load_pretrained` has it.

    Returns
    -------
    Run
        What it is, its results and its predictions. :func:`baselines.load_model` has its model.

    Raises
    ------
    RunError
        If the folder is no run, is damaged or unfinished; it is left as it is.
    """
    folder = expanded(folder, "folder")
    config = read_config(folder)
    if not (folder / RESULTS).exists():
        if (failure := failure_of(folder)) is not None:
            reason = failure.splitlines()[-1].removesuffix(".")
            raise RunError(
                f"{folder}: this run has no results, as it ended with an error: {reason}. Its command goes on "
                "from its last epoch, to the same end unless what was wrong has changed."
            )
        raise RunError(f"{folder}: this run is unfinished. Give the command that began it again, and it goes on.")
    results, environment = _read_json(folder / RESULTS), _read_json(folder / ENVIRONMENT)
    parts = (config.data.selection, config.data.report, *(part for part in PARTS if part in results))
    for name, value, kind in (
        (RESULTS, results, Outcome),
        *((RESULTS, {part: results.get(part)}, dict[str, Metrics]) for part in parts),
        (ENVIRONMENT, environment, Environment),
    ):
        try:
            check_value(value, kind)
        except ValueError as error:
            raise damaged_error(folder / name, error) from error
    needed = (PREDICTIONS,) if config.elsewhere else (BEST, PREDICTIONS)
    missing = [name for name in needed if not (folder / name).exists()]
    if missing:
        raise damaged_error(folder, f"it has no {' and no '.join(missing)}")
    return Run(folder, config, environment, results, list(_read_metrics(folder / METRICS)))


def failure_of(folder: Path) -> str | None:
    """Return the error that an unfinished run ended with; None if it was stopped, or is at work."""
    lines = read_lines(folder / LEDGER)
    failed = bool(lines) and lines[-1].get("event") == "fail"
    return str(lines[-1].get("error")) or "unknown" if failed else None


def read_config(folder: Path) -> RunConfig:
    """Read what run a folder holds, finished or not.

    Raises
    ------
    RunError
        If it holds none, or its configuration is damaged.
    """
    if not folder.is_dir():
        if str(folder).startswith(PRETRAINED):
            raise RunError(
                f"{folder} is a model that ships with the package, and no run with results. csp-baselines eval, "
                "predict, stream and export take it; in Python "
                f"baselines.load_pretrained({str(folder).removeprefix(PRETRAINED)!r}) has it."
            )
        raise RunError(f"{folder}: there is no such folder. csp-baselines train makes one.")
    path = folder / CONFIG
    if not path.exists():
        inside = [*folder.glob(f"*/{CONFIG}"), *folder.glob(f"*/*/{CONFIG}")]
        if inside:
            raise RunError(f"{folder} is no run, but holds {len(inside)}: name one, such as {min(inside).parent}.")
        raise _foreign_folder_error(folder)
    plain = _read_json(path)
    if plain.get("format") != FORMAT:
        raise _foreign_folder_error(folder)
    if (text := with_control(plain)) is not None:
        raise damaged_error(path, f"control characters in {text!r}")
    if plain.get("format_version") != FORMAT_VERSION:
        raise RunError(
            f"{folder}: run of format {plain.get('format_version')!r}, this version reads {FORMAT_VERSION}. "
            "Read it with the csp-data that wrote it (environment.json says which)."
        )
    try:
        return RunConfig.from_dict(plain)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise damaged_error(path, error) from error


def _require_same_run(folder: Path, stored: RunConfig, wanted: RunConfig) -> None:
    before, after = (flatten(effective_settings(config.to_dict())) for config in (stored, wanted))
    keys = sorted(differing(before, after), key=_rank)
    if keys:
        fix = "Choose another folder (--out)."
        if keys == ["code"]:
            fix = (
                "Another version of csp-data began it: go on with that (environment.json says which commit), or"
                " choose another folder (--out)."
            )
        elif keys == ["train.epochs"] and (folder / RESULTS).exists():
            fix = f"Choose another folder (--out); --weights {folder} (in Python weights=) goes on from it."
        raise RunError(f"{folder} holds another run: {told_differences(before, after, keys)}. {fix}")


def _rank(key: str) -> tuple[int, str]:
    """Order settings by how much they tell: the model's name first, the digest of the code last."""
    return {"name": 0, "code": 2}.get(key, 1), key


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = read_json(path)
    except (OSError, ValueError) as error:
        raise damaged_error(path, error) from error
    if not isinstance(values, dict):
        raise damaged_error(path, "not a JSON object")
    return values


def _read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    try:
        check_file(path)
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise damaged_error(path, error) from error
    for number, line in enumerate(lines, start=1):
        try:
            epoch = json.loads(line)
            check_value(epoch, EpochLine)
            yield epoch
        except (RecursionError, ValueError) as error:
            raise damaged_error(path, f"line {number}: {error}") from error


def _foreign_folder_error(folder: Path) -> RunError:
    return RunError(
        f"{folder} is not the folder of a run, and not empty. It is left as it is: name another folder."
    )


def damaged_error(path: Path, problem: object) -> RunError:
    """Return the error of a run that does not hold what it should."""
    detail = problem
    if isinstance(problem, Exception):
        named = str(problem).removesuffix(".")
        in_words = type(problem) is ValueError or isinstance(problem, CspDataError)
        detail = named if in_words else f"{type(problem).__name__}: {named}"
    fix = "delete the run's folder and train it again."
    if isinstance(problem, OptionError | UnknownNameError):
        fix = f"if a later version of csp-data made it ({ENVIRONMENT} says which), read it with that; else {fix}"
    return RunError(f"{path}: damaged ({detail}). It is left as it is: {fix}")
