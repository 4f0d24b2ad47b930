"""An ablation: a sweep over variants of the data or of the training, one table of its runs, one figure.

====================  ================================================================================
``sweep.jsonl``       as of every sweep (:mod:`baselines.sweeps.sweep`): finished runs are kept, nothing runs twice
``runs/NAME-KEY/``    a run each
``KIND.csv``          a row for each variant, model and seed, and for each variant that does not apply
``KIND.svg, .png``    the same as a figure, a panel each data set
====================  ================================================================================
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from baselines.ablations.rows import COLUMNS, Row
from baselines.ablations.variants import KINDS, Base, Kind, Variant
from baselines.errors import OptionError, SweepError, UnknownNameError
from baselines.presets import short_names
from baselines.published import TRAINING
from baselines.results.folds import across_folds
from baselines.results.rows import Result, relative_mse, si_rmse
from baselines.results.text import write_rows
from baselines.runs.run import read_run
from baselines.sweeps.grid import Grid, PlannedRun, check_raw, expand, prepare_all
from baselines.sweeps.pool import make_pool
from baselines.sweeps.progress import Progress, draws_bars
from baselines.sweeps.sweep import Sweep, grid_of, require_sweep_folder, sweep_planned
from baselines.sweeps.worker import Place
from baselines.training.settings import TrainConfig
from csp_data import Dataset
from csp_data.card import load_card
from csp_data.home import expanded
from csp_data.options import frozen, is_number
from csp_data.protocol import resolve
from csp_data.terminal import count_of

__all__ = ["Ablation", "ablate"]

REFERENCE = "mean"
"""Run in every ablation: errors in other units, or on other recordings, compare by their share of its error."""


@dataclass(frozen=True)
class Ablation:
    """The outcome of an ablation.

    Parameters
    ----------
    kind
        Its name.
    sweep
        Its runs.
    rows
        As in the CSV.
    files
        The CSV and the figures.
    """

    kind: str
    sweep: Sweep
    rows: tuple[Row, ...]
    files: tuple[Path, ...]

    def __repr__(self) -> str:
        return f"<Ablation {self.kind}, {count_of(len(self.rows), 'row')}: {self.sweep!r}>"


@dataclass(frozen=True)
class _VariantRuns:
    """A variant on one data set, prepared (once for each fold), and its runs; nothing where it does not apply."""

    variant: Variant
    prepared: tuple[Dataset, ...] = ()
    runs: tuple[PlannedRun, ...] = ()


def ablate(
    kind: str,
    datasets: Sequence[Path | str],
    models: Sequence[Path | str],
    *,
    out: Path | str,
    values: Sequence[float] = (),
    seeds: Sequence[int] = (0, 1, 2),
    protocol: str | None = None,
    training: str | None = None,
    preset: str = "small",
    settings: Mapping[str, Sequence[Any]] | None = None,
    raw: Path | str | None = None,
    folds: int | None = None,
    skip_damaged: bool = False,
    jobs: int = 1,
    backend: str = "loky",
    device: str = "cpu",
    per_device: int = 1,
    threads: int = 1,
    slurm: Mapping[str, Any] | None = None,
    track: str | None = None,
    progress: bool = False,
    command: str = "",
) -> Ablation:
    """Run or continue an ablation: vary one thing, train on every variant, write a CSV file and figures.

    Parameters
    ----------
    kind
        What is varied: ``"lowpass"``, ``"chunk"``, ``"fraction"``, ``"context"``, ``"deltas"`` or ``"leak"``
        (:data:`baselines.ablations.variants.KINDS`).
    datasets
        Names of data sets, or folders of your own, all simulated or all real.
    models
        Names of models and references; the training mean is run too.
    out
        Folder of the ablation: new, or of an earlier one, which goes on.
    values
        Where on the ablation's axis: cut-offs in Hz, input samples per chunk, per cent of the training recordings,
        seconds of context; by default those that suit the data set's rates.
    settings
        As for :func:`baselines.sweep`, with one value in each list: what is the same in all variants.
    seeds, protocol, training, preset, raw, folds, skip_damaged
        As for :func:`baselines.sweep`.
    jobs, backend, device, per_device, threads, slurm, track, progress, command
        As for :func:`baselines.sweep`.

    Returns
    -------
    Ablation
        Its ``rows``, of which ``pandas.DataFrame(ablation.rows)`` makes a table, its ``files`` (CSV and figures),
        and its runs as ``sweep``.

    Raises
    ------
    SweepError
        If a data set is not there, if data sets are of several kinds, or if the folder is another's; nothing was
        started.
    UnknownNameError, OptionError
        For a name or a value that does not exist; nothing was started.
    """
    grid = grid_of(
        datasets,
        models,
        seeds,
        protocol=protocol,
        training=training,
        preset=preset,
        settings=settings,
        raw=raw,
        folds=folds,
        skip_damaged=skip_damaged,
    )
    place = Place(device=device, per_device=per_device, threads=threads, track=track)
    values = _checked_values(kind, values, grid)
    out = expanded(out, "out").absolute()
    require_sweep_folder(out)
    check_raw(grid)
    grid = dataclasses.replace(grid, models=tuple(dict.fromkeys((*grid.models, REFERENCE))))
    planned = {
        name: _plan_variants(KINDS[kind], name, grid, values, out, jobs, draws_bars(progress))
        for name in grid.datasets
    }
    everything = [variant for variants in planned.values() for variant in variants]
    _require_runs_of_one_kind(everything)
    runs = {run.key: run for variant in everything for run in variant.runs}
    order = sorted(runs.values(), key=lambda run: grid.seeds.index(run.train.seed))
    pool, display = make_pool(backend, jobs, out, dict(slurm or {})), Progress(order, jobs, shown=progress)
    sweep = sweep_planned(display, out, place, pool, command)
    rows = tuple(
        row
        for name, variants in planned.items()
        for variant in variants
        for row in _rows_of_variant(_row_of_variant(kind, name, grid, variant, variants), variant, sweep)
    )
    return Ablation(kind, sweep, rows, write(kind, rows, grid, out))


def _checked_values(kind: str, values: Sequence[float], grid: Grid) -> tuple[float, ...]:
    """Return each value once; refuse what is no ablation, no value, or no setting that all can share."""
    if kind not in KINDS:
        raise UnknownNameError("ablation", kind, KINDS)
    if isinstance(cast("object", values), str) or not isinstance(cast("object", values), Iterable):
        raise OptionError("values", values, "a list")
    once: tuple[float, ...] = frozen(list(dict.fromkeys(values)))  # twice, a run would count as two
    if not all(is_number(value) and 0 < value < math.inf for value in once):
        raise OptionError("values", list(once), "numbers above 0")
    for name, chosen in grid.settings.items():
        if len(chosen) != 1:
            raise OptionError("settings", f"{name}={list(chosen)}", "one value: the ablation is what varies")
        if name in KINDS[kind].fields:
            raise OptionError("settings", name, f"no setting that the ablation {kind} varies itself")
    return once


def _require_runs_of_one_kind(variants: Sequence[_VariantRuns]) -> None:
    if not any(planned.runs for planned in variants):
        notes = dict.fromkeys(f"{planned.variant.name}: {planned.variant.note}" for planned in variants)
        raise SweepError(f"Nothing was started: no variant applies. {'; '.join(notes)}.")
    kinds = {dataset.kind for planned in variants for dataset in planned.prepared}
    if len(kinds) > 1:
        raise SweepError(f"One figure shows one kind of data, these are {' and '.join(sorted(kinds))}.")


def write(kind: str, rows: Sequence[Row], grid: Grid, out: Path) -> tuple[Path, ...]:
    """Write the CSV and the figures of an ablation into its folder."""
    from baselines.ablations.figure import draw
    from csp_data.plot import save

    names = short_names(grid.names)
    drawn_models = [names[name] for name in grid.names if name != REFERENCE] or [REFERENCE]
    figure = draw(kind, rows, drawn_models)
    table = out / f"{kind}.csv"
    write_rows(table, COLUMNS, map(dataclasses.asdict, rows))
    return table, *(save(figure, out / f"{kind}.{suffix}") for suffix in ("svg", "png"))


def _plan_variants(
    kind: Kind, name: str, grid: Grid, values: Sequence[float], out: Path, jobs: int, progress: bool
) -> list[_VariantRuns]:
    """Prepare each variant of a data set once, and plan its runs."""
    card = load_card(name)
    data, (train,) = grid.variants("data")[0], grid.variants("train")  # of the first fold, where there are any
    protocol = resolve(card, grid.protocol)
    protocol = protocol.replace(**data) if data else protocol
    training = dataclasses.replace(TRAINING.get(grid.training or protocol.name, TrainConfig()), **train)
    planned = []
    for variant in kind.variants(Base(card, protocol, training), values):
        if variant.note:
            planned.append(_VariantRuns(variant))
            continue
        changes = {f"data.{k}": [v] for k, v in variant.data.items()}
        changes |= {f"train.{k}": [v] for k, v in variant.train.items()}
        variant_grid = dataclasses.replace(grid, datasets=(name,), settings={**grid.settings, **changes})
        prepared = prepare_all(variant_grid, jobs=jobs, progress=progress)
        runs = (
            dataclasses.replace(run, label=f"{run.label}, {variant.name}")
            for run in expand(variant_grid, prepared, out)
        )
        planned.append(_VariantRuns(variant, tuple(prepared), tuple(runs)))
    return planned


def _row_of_variant(
    kind: str, name: str, grid: Grid, planned: _VariantRuns, variants: Sequence[_VariantRuns]
) -> Row:
    """Return what all rows of a variant share; a variant that does not apply has just this row."""
    variant, card = planned.variant, load_card(name)
    prepared = next((dataset for other in variants for dataset in other.prepared), None)
    return Row(
        ablation=kind,
        dataset=card.name,
        kind="" if prepared is None else prepared.kind,
        protocol=grid.protocol or card.protocol,
        series=variant.series,
        variant=variant.name,
        arm=variant.arm,
        value=None if variant.value is None else float(variant.value),
        unit="" if variant.value is None else KINDS[kind].unit,
        target_hz=planned.prepared[0].targets.rate_hz if planned.prepared else None,
        folds=grid.folds if planned.prepared else None,
        note=variant.note and f"not applicable: {variant.note}",
    )


def _rows_of_variant(shared: Row, planned: _VariantRuns, sweep: Sweep) -> Iterable[Row]:
    """Yield a row for each model and seed of a variant, its folds put together."""
    if not planned.prepared:
        yield shared
        return
    folds: dict[tuple[str, int], list[PlannedRun]] = {}
    for run in planned.runs:
        folds.setdefault((run.model, run.train.seed), []).append(run)
    results = {
        model_and_seed: across_folds([Result.of(read_run(run.folder)) for run in runs])[0]
        for model_and_seed, runs in folds.items()
        if all(run.folder in sweep.done for run in runs)
    }
    mean = next((result for (model, _), result in results.items() if model == REFERENCE), None)
    names = short_names({run.model for run in planned.runs})
    for (model, seed), runs in folds.items():
        row = dataclasses.replace(shared, model=names[model], seed=seed)
        result = results.get((model, seed))
        if result is not None:
            folders = " ".join(f"runs/{run.folder.name}" for run in runs)
            yield dataclasses.replace(row, **_measured_fields(result, mean), run=folders)
        else:
            failure = next(sweep.failed[run.folder] for run in runs if run.folder in sweep.failed)
            yield dataclasses.replace(row, note=f"failed: {failure.splitlines()[-1]}")


def _measured_fields(result: Result, mean: Result | None) -> dict[str, Any]:
    """Return what a row says of a finished run, or of all its folds."""
    units = set(result.units)
    rmse, unit = si_rmse(result.by_target)
    return {
        "part": result.report,
        "steps": sum(recording.steps for recording in result.recordings.values()),
        "rmse": rmse,
        "rmse_unit": unit,
        "relative_mse": None if mean is None else relative_mse(result.by_target, mean.by_target),
        "mse": result.test_mse,
        "mse_unit": f"({result.units[0]})^2" if len(units) == 1 else "mixed",
        "selected_mse": result.val_mse,
        "parameters": result.parameters,
        "seconds": result.seconds,
        "recipe": result.recipe_hash,
        "config": result.key,
        "commit": result.commit or "",
        "device": result.device or "",
    }
