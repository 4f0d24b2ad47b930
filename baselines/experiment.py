"""One run from data to results: build, train, evaluate, write the run folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import nn

from baselines.cpu.threads import torch_threads
from baselines.errors import OptionError, reason_of
from baselines.files import atomic_json
from baselines.models.own import OwnModel
from baselines.models.own_file import prints_apart
from baselines.presets import short_name
from baselines.published import UNITS
from baselines.references.methods import (
    REFERENCES,
    Reference,
    options_of_dataset,
)
from baselines.runs.config import RunConfig, data_config
from baselines.runs.environment import code_version, describe_environment
from baselines.runs.interface import INTERFACE, Interface
from baselines.runs.model import build_model, keep_files, model_config
from baselines.runs.run import (
    ENVIRONMENT,
    RESULTS,
    Run,
    lock_folder,
    read_run,
)
from baselines.runs.shipped import Shipped
from baselines.runs.start import Start, begin_with, start_of, warn_of_other_data, warn_of_seen
from baselines.runs.trackers import open_tracker, require_tracker
from baselines.training.checkpoint import save_weights
from baselines.training.data import Part, load_part
from baselines.training.device import torch_device
from baselines.training.evaluate import compute_all_metrics, predict
from baselines.training.ledger import LEDGER, append_event, read_lines
from baselines.training.quantities import Quantities
from baselines.training.settings import BEST, TrainConfig
from baselines.training.team import ALONE, Team
from baselines.training.train import seeded, train, validate
from csp_data import Dataset
from csp_data.dataset import check_dataset
from csp_data.home import expanded
from csp_data.options import check_choice, check_count
from csp_data.predictions import PREDICTIONS, EpisodePrediction, save_predictions

__all__ = ["follow", "plan", "run"]


def run(
    dataset: Dataset,
    name: str,
    config: TrainConfig,
    folder: Path | str,
    *,
    preset: str | None = None,
    options: dict[str, Any] | None = None,
    device: str = "cpu",
    threads: int | None = None,
    command: str = "",
    progress: bool = False,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    team: Team = ALONE,
    track: str | None = None,
    weights: Run | Shipped | Path | str | None = None,
    normalization: Literal["data", "weights"] = "data",
) -> tuple[Run, str]:
    """Train a model or fit a reference, evaluate it, and write everything into a folder.

    Trainings in threads of one process take turns, as they share torch's random numbers; several at once need
    processes, such as those of :func:`baselines.sweep`.

    The epoch is chosen on the part that the data set has for it, and results are of every part but train: of val
    and test, or of eval alone, which under a published protocol both chooses and reports.

    Parameters
    ----------
    dataset
        What ``csp_data.load`` returned.
    name
        Of a reference (:data:`baselines.references.methods.REFERENCES`), or of a model as :func:`baselines.build`
        takes it; of ``FILE.py:NAME``, a model of one's own, the folder then holds a copy.
    config
        Of the training; of a reference only the windows matter.
    folder
        New or empty, or holding this very run: a finished one is read, an unfinished one goes on.
    preset, options
        Sizes of the model, see :func:`baselines.build`; by default those of ``"small"``.
    device
        As torch names it.
    threads
        Threads of torch; by default one for small sizes and references, else as many as torch is set to. On two
        cores that other programs use too, a training with two threads was seen to take four to twenty times as
        long: the steps are so short that one thread spends them waiting for the other to get a core.
    command
        How to get this run again, for the record.
    progress
        Show a bar on stderr.
    on_epoch
        Called after each epoch of a training with its ``epoch``, ``train_loss`` and ``val_loss``.
    team
        Processes that train together, led by this one; the others call :func:`follow`.
    track
        Name of a tracker that follows the training (:mod:`baselines.runs.trackers`).
    weights
        Weights to begin with, in place of those drawn by the seed: a finished run of the same model or its folder,
        ``"pretrained:NAME"`` for a model that ships, or the file of a published model's
        (:func:`baselines.load_published`). They can be chosen too, as epoch 0; with ``TrainConfig(epochs=0)`` they
        are evaluated as they are. The log warns of recordings that they have learned from and that `dataset` holds
        out.
    normalization
        Shift and scale: ``"data"`` for those of `dataset`, ``"weights"`` for those that `weights` were trained
        with, which the run's folder then holds.

    Returns
    -------
    run
        As read back from the folder.
    state
        What the folder held before: ``"new"``, ``"unfinished"`` or ``"finished"``.

    Raises
    ------
    UnknownNameError, OptionError
        A name or value that does not exist.
    RunError
        If the folder holds something else.
    ModelError
        If `weights` cannot be read or are another model's, or a file of one's own does not do what is asked of it.
    TrainingError
        If the loss stops being finite.

    Examples
    --------
    >>> import csp_data
    >>> from baselines import TrainConfig, run
    >>> ds, sizes = csp_data.load("sample"), {"dim": 8, "hidden": 8, "layers": 1}
    >>> config = TrainConfig(epochs=1)
    >>> done, state = run(ds, "flat-lstm", config, "runs/lstm", options=sizes)
    >>> state, len(done.epochs), done.reported["steps"]
    ('new', 1, 535)
    >>> run(ds, "flat-lstm", config, "runs/lstm", options=sizes)[1]
    'finished'
    """
    require_tracker(track)
    check_dataset(dataset)
    if not isinstance(cast("object", config), TrainConfig):
        raise OptionError("config", config, "a baselines.TrainConfig")
    if not isinstance(cast("object", options), Mapping | None):
        raise OptionError("options", options, "a dict of what baselines.build takes, such as {'dim': 32}")
    folder, torch_dev, threads = expanded(folder, "folder"), torch_device(device), _threads(threads, preset)
    start = None if weights is None else start_of(weights)
    dataset = _normalized(dataset, start, normalization)
    train_part = load_part(dataset, "train", torch_dev)
    val_part = load_part(dataset, dataset.selection, torch_dev)
    options = {**options_of_dataset(name, dataset), **(options or {})}
    with torch_threads(threads), seeded(config.seed, torch_dev):
        model = build_model(name, *train_part.dims, train_part.chunk, preset, options)
        digest = _begin(model, config, start)
        model = model.to(torch_dev)
    if start is not None:
        warn_of_other_data(dataset, start)
        warn_of_seen(dataset, start)
    _, length = config.windows(train_part)
    run_config = RunConfig(
        data_config(dataset), short_name(name), model_config(model), config, code_version(), digest
    )
    with torch_threads(threads), lock_folder(folder, run_config) as state:
        if name not in REFERENCES:
            team.broadcast(state)
        if state == "finished":
            return read_run(folder), state
        append_event(folder, "start", held=state)
        with _failure_noted(folder), prints_apart():  # also what is printed in compiled code or on the way back
            _write_provenance(folder, dataset, torch_dev, command, model, start)
            epochs_done = sum(line.get("event") == "epoch" for line in read_lines(folder / LEDGER))
            with open_tracker(track, folder, run_config.to_dict(), epochs_done) as told:
                told += [] if on_epoch is None else [on_epoch]
                results = _fit(
                    model, train_part, val_part, config, folder, progress, team, told, start is not None
                )
            for part_name in dataset.parts[1:]:
                part = val_part if part_name == val_part.name else load_part(dataset, part_name, torch_dev)
                results[part_name], predictions = _evaluate_part(model, part, length, dataset)
                if part_name == run_config.data.report:
                    save_predictions(folder / PREDICTIONS, predictions)
            atomic_json(folder / RESULTS, results)
        append_event(folder, "finish")
    return read_run(folder), state


def _threads(threads: int | None, preset: str | None) -> int:
    """Return how many threads :func:`run` computes with."""
    if threads is not None:
        check_count("threads", threads)
        return threads
    return 1 if preset in (None, "small") else torch.get_num_threads()


@contextmanager
def _failure_noted(folder: Path) -> Iterator[None]:
    """Note in the ledger of a run with which error it ended, for whoever looks at its folder later."""
    try:
        yield
    except Exception as error:
        with suppress(OSError):  # a full disk may be what went wrong
            append_event(folder, "fail", error=reason_of(error))
        raise


def _begin(model: nn.Module, config: TrainConfig, start: Start | None) -> str:
    """Put given weights into a model, and return what names them; ``""`` where none are given."""
    if start is not None:
        return begin_with(model, model_config(model), start)
    if config.epochs == 0 and not isinstance(model, Reference):
        raise OptionError("epochs", 0, "at least 1 where no weights to begin with are given")
    return ""


def _normalized(dataset: Dataset, start: Start | None, normalization: str) -> Dataset:
    """Return a data set with the shift and scale of the weights to begin with, if these are asked for."""
    check_choice("normalization", normalization, ("data", "weights"))
    if normalization == "data":
        return dataset
    if start is None:
        raise OptionError("normalization", normalization, "--weights too")
    return dataset.with_normalization(start.normalization)


def _write_provenance(
    folder: Path,
    dataset: Dataset,
    device: torch.device,
    command: str,
    model: nn.Module,
    start: Start | None,
) -> None:
    """Write where the run is made, what its model's inputs and outputs are, and files of one's own."""
    prepared = str(dataset.path.absolute())  # also for who looks from another folder
    version = {"data_version": dataset.card.version} if dataset.card.version else {}
    environment: dict[str, Any] = {**describe_environment(device), **version}
    environment |= {"command": command, "prepared": prepared}
    if isinstance(model, OwnModel):
        environment |= keep_files(model, folder)
    if start is not None:
        environment |= {"weights": start.place, "weights_of": start.about()}
    atomic_json(folder / ENVIRONMENT, environment)
    atomic_json(folder / INTERFACE, Interface.of(dataset).to_dict())


def _evaluate_part(
    model: nn.Module, part: Part, length: int | None, dataset: Dataset
) -> tuple[dict[str, Any], list[EpisodePrediction]]:
    """Return the metrics of a model on a part, with the time that predicting took, and the predictions."""
    start = time.perf_counter()
    predictions = predict(model, part, length)
    seconds = time.perf_counter() - start
    metrics = compute_all_metrics(predictions, _quantities(dataset), dataset.split(part.name).rows)
    return {**metrics, "predict_seconds": round(seconds, 4)}, predictions


def follow(
    dataset: Dataset,
    name: str,
    config: TrainConfig,
    team: Team,
    *,
    preset: str | None = None,
    options: dict[str, Any] | None = None,
    device: str = "cpu",
    threads: int | None = None,
    weights: Run | Shipped | Path | str | None = None,
    normalization: Literal["data", "weights"] = "data",
) -> None:
    """Take part in a training that another process of the team leads with :func:`run`; write nothing."""
    if name in REFERENCES:  # the leader fits it alone
        return
    torch_dev, start = torch_device(device), None if weights is None else start_of(weights)
    dataset = _normalized(dataset, start, normalization)
    train_part = load_part(dataset, "train", torch_dev)
    val_part = load_part(dataset, dataset.selection, torch_dev)
    with torch_threads(_threads(threads, preset)):
        with seeded(config.seed, torch_dev):
            model = build_model(name, *train_part.dims, train_part.chunk, preset, options or {})
            _begin(model, config, start)
            model = model.to(torch_dev)
        if team.broadcast(None) != "finished":
            train(model, train_part, val_part, config, Path(os.devnull), team=team, trained=weights is not None)


def _fit(
    model: nn.Module,
    train_part: Part,
    val_part: Part,
    config: TrainConfig,
    folder: Path,
    progress: bool,
    team: Team,
    told: Sequence[Callable[[dict[str, Any]], None]],
    trained: bool,
) -> dict[str, Any]:
    """Fit on train, choose on val; the model ends with what was chosen, and so does ``best.safetensors``."""

    def on_epoch(metrics: dict[str, Any]) -> None:
        for tell in told:
            tell(metrics)

    if not isinstance(model, Reference):
        fit = train(
            model,
            train_part,
            val_part,
            config,
            folder,
            progress=progress,
            on_epoch=on_epoch,
            team=team,
            trained=trained,
        )
        parameters = sum(p.numel() for p in model.parameters())
        return {
            "parameters": parameters,
            "epoch": fit.epoch,
            "val_loss": fit.val_loss,
            "seconds": round(fit.seconds, 3),
        }
    _, length = config.windows(train_part)
    start = time.perf_counter()
    chosen = model.fit(train_part, val_part, length)
    seconds = time.perf_counter() - start
    save_weights(folder / BEST, model.state_dict())
    return {
        "parameters": getattr(model, "learned", sum(b.numel() for b in model.buffers())),
        "epoch": None,
        "val_loss": validate(model, val_part, length),
        "seconds": round(seconds, 3),
        "chosen": chosen,
    }


def plan(
    dataset: Dataset,
    name: str,
    config: TrainConfig,
    preset: str | None = None,
    options: dict[str, Any] | None = None,
) -> RunConfig:
    """Return what :func:`run` would be asked for with the same arguments, without reading the data set."""
    channels, protocol = len(dataset.channels.names), dataset.protocol
    config.steps(protocol.target_hz)
    in_dim = 2 * channels if protocol.input_deltas else channels
    options = {**options_of_dataset(name, dataset), **(options or {})}
    with seeded(config.seed, torch.device("cpu")):
        model = build_model(name, in_dim, len(dataset.targets.names), protocol.chunk, preset, options)
    _begin(model, config, None)
    return RunConfig(data_config(dataset), short_name(name), model_config(model), config, code_version())


def _quantities(dataset: Dataset) -> Quantities:
    return Quantities.of(dataset, UNITS.get(dataset.name))
