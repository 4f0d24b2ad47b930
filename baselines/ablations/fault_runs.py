"""Evaluate trained models under sensor faults: error against severity, with and without a low-pass."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch

from baselines.ablations.faults import FAULTS
from baselines.errors import OptionError, RunError, UnknownNameError
from baselines.published import UNITS
from baselines.results.rows import relative_mse, si_rmse, targets_of, unique_runs
from baselines.results.text import write_rows
from baselines.runs.collect import datasets_of
from baselines.runs.config import data_config, differing
from baselines.runs.environment import commit
from baselines.runs.interface import as_trained
from baselines.runs.model import model_of_run
from baselines.runs.run import Run
from baselines.tables.labels import by_label
from baselines.training.data import Part, load_part, normalized_features
from baselines.training.device import torch_device
from baselines.training.evaluate import compute_all_metrics, predict
from baselines.training.quantities import Quantities
from csp_data import Dataset, LowPass
from csp_data.dataset.remake import RawPart, read_part
from csp_data.normalization import Moments
from csp_data.options import check_number
from csp_data.recording import FloatArray, Recording, Stream

__all__ = ["COLUMNS", "Row", "default_lowpass", "faulty", "write"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A trained model under one fault at one severity.

    Parameters
    ----------
    dataset, kind, protocol, part
        Data; `kind` is ``"CSP-Bench"``, ``"real recordings"`` or ``"simulated"``.
    fault, severity, value, unit
        Severity 0 is none, 1 to 5 are the fault's own values.
    model, seed, trained_lowpass
        Of the run: its name, its seed, the filter of the inputs that it was trained on. Models that share a name
        are told apart by what differs, as in tables (:func:`baselines.tables.labels.by_label`).
    lowpass, as_trained
        Filter of the faulty inputs, and whether it is the one that the model was trained on.
    draw
        Seed of the fault.
    rmse, rmse_unit
        Root mean squared error in SI units (increments per second), where all targets have one.
    mse
        In the data's own units.
    ratio
        MSE over that of the same run without fault, as trained; where targets have several units the mean of each
        target's own ratio. ``None`` where there is no error without fault.
    recipe, config, commit, device, run
        Recipe of the data, key of the run, commit of the code that evaluates, device, folder of the run.
    """

    dataset: str
    kind: str
    protocol: str
    part: str
    fault: str
    severity: int
    value: float
    unit: str
    model: str
    seed: int
    trained_lowpass: str
    lowpass: str
    as_trained: bool
    draw: int
    rmse: float | None
    rmse_unit: str
    mse: float
    ratio: float | None
    recipe: str
    config: str
    commit: str
    device: str
    run: str


COLUMNS = tuple(f.name for f in dataclasses.fields(Row))


def default_lowpass(dataset: Dataset) -> LowPass:
    """Return the filter of ``with low-pass`` for models that were trained without: a tenth of the rate, causal."""
    return LowPass(hz=dataset.rates[0] / 10, order=3, phase="causal")


def faulty(
    runs: Sequence[Run],
    *,
    faults: Sequence[str] = tuple(FAULTS),
    draws: Sequence[int] = (0,),
    lowpass: LowPass | None = None,
    raw: str | None = None,
    part: str | None = None,
    device: str = "cpu",
    data: Sequence[Path | str] = (),
) -> list[Row]:
    """Evaluate trained models under faults of their input streams; nothing is trained again.

    Every run is evaluated as it was trained, and besides with the other choice of filter: one that was trained
    without low-pass with `lowpass` over the faulty inputs, one that was trained with a low-pass without any. That
    second choice shows the model inputs that it has never seen, delayed by the filter or rougher, so its error
    differs without a fault too (severity 0).

    Parameters
    ----------
    runs
        Finished runs on one data set.
    faults
        Names of :data:`baselines.ablations.faults.FAULTS`.
    draws
        Seeds of the faults.
    lowpass
        For runs that were trained without; by default :func:`default_lowpass`.
    raw
        Folder of the raw files, where it is not the default one.
    part
        What to evaluate on; by default the part that the run reports.
    device
        As torch names it.
    data
        Where prepared files are that are no longer where the runs found them.

    Returns
    -------
    list of Row
        By run, filter, fault, severity and draw.

    Raises
    ------
    RunError
        If runs are of several data sets or kinds, if their data differ in more than the low-pass, or if a run of
        a trained model is there twice.
    UnknownNameError
        For a fault or part that does not exist.
    OptionError
        If runs, faults or draws are no lists, a draw is no seed, or the filter is no :class:`csp_data.LowPass`.
    """
    for option, value in (("runs", runs), ("faults", faults), ("draws", draws)):
        if isinstance(value, str) or not isinstance(cast("object", value), Iterable):
            raise OptionError(option, value, "a list")
    if not isinstance(cast("object", lowpass), LowPass | None):
        raise OptionError("lowpass", lowpass, "a csp_data.LowPass")
    for name in faults:
        if name not in FAULTS:
            raise UnknownNameError("fault", name, FAULTS)
    runs = unique_runs(runs)
    faults, draws = tuple(dict.fromkeys(faults)), tuple(dict.fromkeys(draws))  # twice, they would weigh double
    for draw in draws:
        check_number("draws", draw, "whole numbers of at least 0", least=0, whole=True)
    if not (runs and faults and draws):
        raise OptionError("runs", "", "at least one run, one fault and one draw")
    if len(dataset_names := {f"{run.config.data.name} ({run.config.data.kind})" for run in runs}) > 1:
        raise RunError(f"One figure shows one data set, these runs are of {' and '.join(sorted(dataset_names))}.")
    _require_same_data(runs)
    labels = _labels(runs)
    runs_by_data: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        trained_on = run.config.data
        runs_by_data.setdefault((trained_on.recipe_hash, trained_on.normalization), []).append(run)
    rows: list[Row] = []
    datasets = {data_config(dataset).recipe_hash: dataset for dataset in datasets_of(runs, data)}
    for (recipe, _), same_data in runs_by_data.items():
        dataset = as_trained(same_data[0], datasets[recipe])
        raw_part = read_part(dataset, part or dataset.report, raw)
        trained = dataset.protocol.lowpass
        other = lowpass or default_lowpass(dataset) if trained is None else None
        cases = _cases(raw_part, (trained, other), training_deviation(dataset, raw), faults, draws)
        rows += _evaluate_cases(same_data, labels, raw_part, cases, device)
    return rows


def _require_same_data(runs: Sequence[Run]) -> None:
    first, first_of_filter = runs[0], dict[str, Run]()
    for run in runs:
        protocol = run.config.data.protocol
        fields = [field for field in differing(first.config.data.protocol, protocol) if field != "lowpass"]
        same_filter = first_of_filter.setdefault(str(protocol.get("lowpass")), run)
        recipes = [same.config.data.recipe_hash for same in (same_filter, run)]
        if fields or recipes[0] != recipes[1]:
            what = ", ".join(fields) or f"their recipes, {' and '.join(recipes)}"
            raise RunError(
                "One figure shows runs whose data differ in the low-pass alone: "
                f"{(first if fields else same_filter).folder} and {run.folder} differ in {what}. Make two "
                "figures."
            )


def _labels(runs: Sequence[Run]) -> dict[Path, str]:
    """Name the model of each run, whatever the filter of its data; refuse runs that are there twice."""
    by_label(runs)
    first = runs[0].config.data
    relabelled = []
    for i, run in enumerate(runs):
        data = replace(first, normalization=run.config.data.normalization)
        config = replace(run.config, data=data, train=replace(run.config.train, seed=i))
        relabelled.append(replace(run, config=config))
    return {run.folder: label for label, same_model in by_label(relabelled).items() for run in same_model}


def _filter_name(lowpass: LowPass | None) -> str:
    if lowpass is None:
        return "none"
    return f"{lowpass.phase} {lowpass.hz:g} Hz" + (f", order {lowpass.order}" if lowpass.order != 3 else "")


def _evaluate_cases(
    runs: Sequence[Run],
    labels: Mapping[Path, str],
    raw_part: RawPart,
    cases: Iterable[tuple[_Case, list[np.ndarray]]],
    device: str,
) -> Iterator[Row]:
    """Show the inputs of each case to all runs on the same data."""
    dataset = raw_part.dataset
    trained_filter = _filter_name(dataset.protocol.lowpass)
    clean = load_part(dataset, raw_part.name, torch_device(device))
    models = [(run, model_of_run(run, device), run.config.train.windows(clean)[1]) for run in runs]
    quantities, episodes = Quantities.of(dataset, UNITS.get(dataset.name)), dataset.split(raw_part.name).rows
    code_commit = commit(Path(__file__).parent) or ""
    without_fault: dict[Path, dict[str, Any]] = {}
    for case, inputs in cases:
        part = with_inputs(clean, dataset, inputs)
        for run, model, length in models:
            metrics = compute_all_metrics(predict(model, part, length), quantities, episodes)
            if case.filter == trained_filter:
                without_fault.setdefault(run.folder, metrics)  # the first case of all has none
            rmse, unit = si_rmse(targets_of(metrics))
            ratio = _mse_ratio(metrics, without_fault[run.folder])
            for name in case.faults:
                yield Row(
                    dataset=dataset.name,
                    kind=dataset.kind,
                    protocol=dataset.protocol.name,
                    part=raw_part.name,
                    fault=name,
                    severity=case.severity,
                    value=case.value,
                    unit=FAULTS[name].unit,
                    model=labels[run.folder],
                    seed=run.config.train.seed,
                    trained_lowpass=trained_filter,
                    lowpass=case.filter,
                    as_trained=case.filter == trained_filter,
                    draw=case.draw,
                    rmse=rmse,
                    rmse_unit=unit,
                    mse=metrics["mse"],
                    ratio=ratio,
                    recipe=run.config.data.recipe_hash,
                    config=run.config.key,
                    commit=code_commit,
                    device=device,
                    run=str(run.folder),
                )


class _Case(NamedTuple):
    """One fault at one severity, or none in the place of all; its draw, and the name of the filter behind it."""

    faults: Sequence[str]
    severity: int
    value: float
    draw: int
    filter: str


def _cases(
    raw_part: RawPart,
    filters: Sequence[LowPass | None],
    sigma: Mapping[str, float],
    faults: Sequence[str],
    draws: Sequence[int],
) -> Iterator[tuple[_Case, list[np.ndarray]]]:
    """Make the inputs of each case; the first one is without fault, under the filter of the training."""
    for lowpass in filters:
        yield _Case(faults, 0, 0.0, draws[0], _filter_name(lowpass)), raw_part.inputs(lowpass=lowpass)
    for fault in faults:
        for severity, value in enumerate(FAULTS[fault].values, start=1):
            for draw in draws:
                change = partial(
                    disturbed, dataset=raw_part.dataset, sigma=sigma, fault=fault, value=value, draw=draw
                )
                for lowpass in filters:
                    case = _Case([fault], severity, float(value), draw, _filter_name(lowpass))
                    yield case, raw_part.inputs(change, lowpass=lowpass)


def _mse_ratio(metrics: Mapping[str, Any], clean: Mapping[str, Any]) -> float | None:
    targets, clean_targets = targets_of(metrics), targets_of(clean)
    if si_rmse(targets)[0] is None:
        return relative_mse(targets, clean_targets)
    return float(metrics["mse"] / clean["mse"]) if clean["mse"] else None


def disturbed(
    recording: Recording, dataset: Dataset, sigma: Mapping[str, float], fault: str, value: float, draw: int
) -> dict[str, Stream]:
    """Return the input streams of a recording under a fault; the draws hang on fault, recording and seed alone."""
    names = [card.name for card in dataset.card.inputs(dataset.protocol.inputs)]
    streams = {name: recording.streams[name] for name in names}
    scale = {name: _channel_sigma(stream, sigma) for name, stream in streams.items()}
    seeds = [draw, *(zlib.crc32(text.encode()) for text in (fault, recording.id))]
    return FAULTS[fault].apply(streams, scale, value, np.random.default_rng(seeds))


def _channel_sigma(stream: Stream, sigma: Mapping[str, float]) -> FloatArray:
    """Return sigma of each channel; of one that no column of the data set is named after, over the recording."""
    recording_deviation = stream.values.std(axis=0)
    deviations = zip(stream.channels, recording_deviation, strict=True)
    return np.array([sigma.get(channel, deviation) for channel, deviation in deviations])


def training_deviation(dataset: Dataset, raw: str | None = None) -> dict[str, float]:
    """Return the standard deviation of each input channel over the training part, before any low-pass."""
    if dataset.protocol.lowpass is None:
        blocks = [episode.inputs for episode in dataset.train]
    else:
        blocks = read_part(dataset, "train", raw).inputs(lowpass=None)
    moments = reduce(Moments.merge, (Moments.of(block) for block in blocks))
    deviation = np.sqrt(moments.squares / max(moments.count - 1, 1))
    return dict(zip(dataset.channels.names, deviation.tolist(), strict=True))


def with_inputs(part: Part, dataset: Dataset, inputs: Sequence[np.ndarray]) -> Part:
    """Return a part with other inputs, made into features and normalised as those of the training were."""
    prepared = [normalized_features(dataset, values) for values in inputs]
    return replace(part, inputs=torch.from_numpy(np.concatenate(prepared)).to(part.inputs.device))


def write(rows: Sequence[Row], out: Path) -> tuple[Path, ...]:
    """Write ``faults.csv``, ``faults.svg`` and ``faults.png`` into a folder."""
    from baselines.ablations.fault_figure import draw
    from csp_data.plot import save

    out.mkdir(parents=True, exist_ok=True)
    figure = draw(rows)
    write_rows(out / "faults.csv", COLUMNS, map(dataclasses.asdict, rows))
    return out / "faults.csv", *(save(figure, out / f"faults.{suffix}") for suffix in ("svg", "png"))
