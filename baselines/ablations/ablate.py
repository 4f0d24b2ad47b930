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
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baselines.ablations.rows import relative_mse, si_rmse, write_csv
from baselines.ablations.variants import KINDS, Base, Kind, Variant
from baselines.errors import OptionError, UnknownNameError
from baselines.published import TRAINING
from baselines.results.folds import across_folds
from baselines.results.rows import Result
from baselines.runs.run import read_run
from baselines.sweeps.grid import Grid, PlannedRun, SweepError, check_raw, expand, prepare_all
from baselines.sweeps.pool import Place
from baselines.sweeps.sweep import Sweep, require_sweep_folder, sweep_planned
from baselines.tables.digits import Scale, bracketed
from baselines.training.settings import TrainConfig
from csp_data import Dataset
from csp_data.card import load_card
from csp_data.options import frozen
from csp_data.protocol import resolve

__all__ = ["COLUMNS", "Ablation", "Row", "ablate", "summary"]

REFERENCE = "mean"
"""Run in every ablation: errors in other units, or on other recordings, compare by their share of its error."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A run as a point of an ablation, all folds of one, or a variant that does not apply.

    Parameters
    ----------
    ablation, dataset, kind, protocol
        Of which ablation and data; `kind` is ``"CSP-Bench"``, ``"real recordings"`` or ``"simulated"``.
    series, variant, arm, value, unit
        Of the variant (:class:`baselines.ablations.variants.Variant`).
    target_hz
        Rate of the targets.
    model, seed
        Of the run.
    folds
        Runs that are put together as tables do it (:func:`baselines.results.folds.across_folds`), one for each
        fold of a cross-validation. ``None`` where there is none.
    part, steps
        What is reported, and its number of target steps.
    rmse, rmse_unit
        Root mean squared error in SI units (increments per second), where all targets have one.
    relative_mse
        Mean over the targets of MSE / MSE of the training mean on the same part (:func:`relative_mse`): 1 for a
        model that learned nothing, whatever units, rates and recordings are.
    mse
        In the data's own units, as tables have it; ``mse_unit`` is theirs.
    selected_mse
        On the part that the epoch was chosen on.
    parameters, seconds
        Of the model, and of its training.
    recipe, config, commit, device, run
        Recipe of the data, key of the run, commit of the code, device, folder below the ablation's. Of folds:
        a name for all recipes, one for all keys, and the folders with spaces between.
    note
        Why a variant does not apply, or why a run failed.
    """

    ablation: str
    dataset: str
    kind: str
    protocol: str
    series: str
    variant: str
    arm: str
    value: float | None
    unit: str
    target_hz: float | None = None
    model: str = ""
    seed: int | None = None
    folds: int | None = None
    part: str = ""
    steps: int | None = None
    rmse: float | None = None
    rmse_unit: str = ""
    relative_mse: float | None = None
    mse: float | None = None
    mse_unit: str = ""
    selected_mse: float | None = None
    parameters: int | None = None
    seconds: float | None = None
    recipe: str = ""
    config: str = ""
    commit: str = ""
    device: str = ""
    run: str = ""
    note: str = ""


COLUMNS = tuple(f.name for f in dataclasses.fields(Row))


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


@dataclass(frozen=True)
class _Point:
    """A variant on one data set, prepared (once for each fold), and its runs; nothing where it does not apply."""

    variant: Variant
    prepared: tuple[Dataset, ...] = ()
    runs: tuple[PlannedRun, ...] = ()


def ablate(
    kind: str,
    grid: Grid,
    out: Path | str,
    place: Place,
    *,
    values: Sequence[float] = (),
    jobs: int = 1,
    backend: str = "loky",
    slurm: dict[str, Any] | None = None,
    progress: bool = False,
    command: str = "",
) -> Ablation:
    """Run an ablation, or go on with it; write its CSV and its figures.

    Parameters
    ----------
    kind
        One of :data:`baselines.ablations.variants.KINDS`.
    grid
        Data sets, models, seeds and what stays the same in all variants: every setting has one value.
    out
        Folder of the ablation: new, or of an earlier one, which goes on.
    place, jobs, backend, slurm, progress, command
        As for :func:`baselines.sweeps.sweep.sweep_grid`.
    values
        Where on the ablation's axis; none for the default values.

    Raises
    ------
    SweepError
        If a data set is not there, if data sets are of several kinds, or if the folder is another's; nothing was
        started.
    UnknownNameError, OptionError
        For a name or a value that does not exist; nothing was started.
    """
    if kind not in KINDS:
        raise UnknownNameError("ablation", kind, KINDS)
    values = frozen(list(dict.fromkeys(values)))  # twice, a run would count as two
    if not all(0 < value < math.inf for value in values):
        raise OptionError("values", list(values), "numbers above 0")
    for name, given in grid.settings.items():
        if len(given) != 1:
            raise OptionError("set", f"{name}={list(given)}", "one value: the ablation is what varies")
        if name in KINDS[kind].fields:
            raise OptionError("set", name, f"no setting that the ablation {kind} varies itself")
    out = Path(out).absolute()
    require_sweep_folder(out)
    check_raw(grid)
    grid = dataclasses.replace(grid, models=tuple(dict.fromkeys((*grid.models, REFERENCE))))
    bars = progress and sys.stderr.isatty()
    points = {name: _points(KINDS[kind], name, grid, values, out, jobs, bars) for name in grid.datasets}
    if not any(point.runs for found in points.values() for point in found):
        notes = dict.fromkeys(f"{p.variant.name}: {p.variant.note}" for found in points.values() for p in found)
        raise SweepError(f"Nothing was started: no variant applies. {'; '.join(notes)}.")
    kinds = {dataset.kind for found in points.values() for p in found for dataset in p.prepared}
    if len(kinds) > 1:
        raise SweepError(f"One figure shows one kind of data, these are {' and '.join(sorted(kinds))}.")
    planned = {run.key: run for found in points.values() for point in found for run in point.runs}
    order = sorted(planned.values(), key=lambda run: grid.seeds.index(run.train.seed))
    sweep = sweep_planned(
        order, out, place, jobs=jobs, backend=backend, slurm=slurm, progress=progress, command=command
    )
    rows = tuple(row for name, found in points.items() for row in _rows(kind, name, grid, found, sweep))
    return Ablation(kind, sweep, rows, write(kind, rows, grid, out))


def write(kind: str, rows: Sequence[Row], grid: Grid, out: Path) -> tuple[Path, ...]:
    """Write the CSV and the figures of an ablation into its folder."""
    from baselines.ablations.figure import draw
    from csp_data.plot import save

    drawn = [name for name in grid.names if name != REFERENCE] or [REFERENCE]
    figure = draw(kind, rows, drawn)
    table = out / f"{kind}.csv"
    write_csv(table, rows, COLUMNS)
    return table, *(save(figure, out / f"{kind}.{suffix}") for suffix in ("svg", "png"))


def summary(rows: Sequence[Row]) -> str:
    """Return Markdown, one table per data set: error of each variant and model, mean ± deviation over seeds."""
    blocks = []
    for name in dict.fromkeys(row.dataset for row in rows):
        own = [row for row in rows if row.dataset == name]
        done = [row for row in own if row.mse is not None]
        one_unit = {row.rmse_unit for row in done} - {""}
        column = "rmse" if one_unit else "relative_mse"
        scale = Scale.of(getattr(row, column) for row in done)
        unit = bracketed(", ".join(one_unit))
        label = f"RMSE{scale.label}{unit}" if one_unit else f"MSE / MSE of the training mean{scale.label}"
        models = list(dict.fromkeys(row.model for row in done))
        lines = [
            f"{name} ({own[0].kind}), protocol {own[0].protocol}{_folds(own)}: {label}",
            f"| variant | {' | '.join(models)} |",
            f"|---{'|---:' * len(models)}|",
        ]
        for variant in dict.fromkeys(row.variant for row in own):
            of = [row for row in own if row.variant == variant]
            found = {
                m: [getattr(row, column) for row in of if row.model == m and row.mse is not None] for m in models
            }
            cells = [_cell(found[m], scale) for m in models]
            note = next((row.note for row in of if row.note and not row.model), "")
            lines.append(f"| {variant} | {note or ' | '.join(cells)} |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _folds(rows: Iterable[Row]) -> str:
    return "".join(f", {folds} folds" for folds in {row.folds for row in rows} - {None})


def _cell(values: Sequence[float], scale: Scale) -> str:
    if not values:
        return "-"
    return scale.spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


def _points(
    kind: Kind, name: str, grid: Grid, values: Sequence[float], out: Path, jobs: int, progress: bool
) -> list[_Point]:
    """Prepare each variant of a data set once, and plan its runs."""
    card = load_card(name)
    data, (train,) = grid.variants("data")[0], grid.variants("train")  # of the first fold, where there are any
    protocol = resolve(card, grid.protocol)
    protocol = protocol.replace(**data) if data else protocol
    training = dataclasses.replace(TRAINING.get(grid.training or protocol.name, TrainConfig()), **train)
    points = []
    for variant in kind.variants(Base(card, protocol, training), values):
        if variant.note:
            points.append(_Point(variant))
            continue
        changes = {f"data.{k}": [v] for k, v in variant.data.items()}
        changes |= {f"train.{k}": [v] for k, v in variant.train.items()}
        one = dataclasses.replace(grid, datasets=(name,), settings={**grid.settings, **changes})
        prepared = prepare_all(one, jobs=jobs, progress=progress)
        runs = (
            dataclasses.replace(run, label=f"{run.label}, {variant.name}") for run in expand(one, prepared, out)
        )
        points.append(_Point(variant, tuple(prepared), tuple(runs)))
    return points


def _rows(kind: str, name: str, grid: Grid, points: Sequence[_Point], sweep: Sweep) -> Iterable[Row]:
    known = next((dataset for point in points for dataset in point.prepared), None)
    for point in points:
        variant = point.variant
        row = Row(
            ablation=kind,
            dataset=load_card(name).name,
            kind="" if known is None else known.kind,
            protocol=grid.protocol or load_card(name).protocol,
            series=variant.series,
            variant=variant.name,
            arm=variant.arm,
            value=None if variant.value is None else float(variant.value),
            unit="" if variant.value is None else KINDS[kind].unit,
            note=variant.note and f"not applicable: {variant.note}",
        )
        if not point.prepared:
            yield row
            continue
        asked: dict[tuple[str, int], list[PlannedRun]] = {}
        for planned in point.runs:
            asked.setdefault((planned.model, planned.train.seed), []).append(planned)
        done = {
            of: across_folds([Result.of(read_run(run.folder)) for run in runs])[0]
            for of, runs in asked.items()
            if all(run.folder in sweep.done for run in runs)
        }
        mean = next((found for (model, _), found in done.items() if model == REFERENCE), None)
        rate = point.prepared[0].targets.rate_hz
        for (model, seed), runs in asked.items():
            row = dataclasses.replace(row, model=model, seed=seed, folds=grid.folds, target_hz=rate)
            if (found := done.get((model, seed))) is not None:
                folders = " ".join(f"runs/{run.folder.name}" for run in runs)
                yield dataclasses.replace(row, **_measured(found, mean), run=folders)
                continue
            failed = next(sweep.failed[run.folder] for run in runs if run.folder in sweep.failed)
            yield dataclasses.replace(row, note=f"failed: {failed.splitlines()[-1]}")


def _measured(found: Result, mean: Result | None) -> dict[str, Any]:
    """Return what a row says of a finished run, or of all its folds."""
    si, units = {name: vars(its) for name, its in found.by_target.items()}, set(found.units)
    rmse, unit = si_rmse({"si": si})
    return {
        "part": found.report,
        "steps": sum(recording.steps for recording in found.recordings.values()),
        "rmse": rmse,
        "rmse_unit": unit,
        "relative_mse": None if mean is None else _relative(found, mean),
        "mse": found.test_mse,
        "mse_unit": f"({found.units[0]})^2" if len(units) == 1 else "mixed",
        "selected_mse": found.val_mse,
        "parameters": found.parameters,
        "seconds": found.seconds,
        "recipe": found.recipe_hash,
        "config": found.key,
        "commit": found.commit or "",
        "device": found.device or "",
    }


def _relative(found: Result, mean: Result) -> float | None:
    """Return :func:`relative_mse` of two rows; the units of the targets cancel."""
    one, other = (
        {"channels": {name: {"mse": its.rmse**2} for name, its in row.by_target.items()}} for row in (found, mean)
    )
    return relative_mse(one, other)
