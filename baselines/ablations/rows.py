"""The rows of an ablation, and its summary in words: which error is shown, of how many folds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from baselines.tables.digits import Scale, bracketed, mean_and_std

__all__ = ["COLUMNS", "RELATIVE", "Row", "error_shown", "folds_label", "summary"]


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
        Mean over the targets of MSE / MSE of the training mean on the same part
        (:func:`baselines.results.rows.relative_mse`): 1 for a model that learned nothing, whatever units, rates
        and recordings are.
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


RELATIVE = "relative_mse", "MSE / MSE of the training mean", ""
"""The error that compares whatever the targets are, as :func:`error_shown` returns it."""

COLUMNS = tuple(f.name for f in fields(Row))


def summary(rows: Sequence[Row]) -> str:
    """Return Markdown, one table per data set: error of each variant and model, mean ± deviation over seeds."""
    blocks = []
    for name in dict.fromkeys(row.dataset for row in rows):
        dataset_rows = [row for row in rows if row.dataset == name]
        first = dataset_rows[0]
        measured = [row for row in dataset_rows if row.mse is not None]
        column, error, unit = error_shown(measured)
        scale = Scale.of(getattr(row, column) for row in measured)
        parts = {row.part for row in measured}
        part = f"{parts.pop()} " if len(parts) == 1 else ""
        models = list(dict.fromkeys(row.model for row in measured))
        lines = [
            f"{name} ({first.kind}), protocol {first.protocol}{folds_label(dataset_rows)}: "
            f"{part}{error}{scale.label}{unit}",
            f"| variant | {' | '.join(models)} |",
            f"|---{'|---:' * len(models)}|",
        ]
        for variant in dict.fromkeys(row.variant for row in dataset_rows):
            variant_rows = [row for row in dataset_rows if row.variant == variant]
            with_error = [row for row in variant_rows if row.mse is not None]
            values_by_model = {
                model: [getattr(row, column) for row in with_error if row.model == model] for model in models
            }
            cells = [scale.spread(*mean_and_std(values)) if values else "-" for values in values_by_model.values()]
            note = next((row.note for row in variant_rows if row.note and not row.model), "")
            lines.append(f"| {variant} | {note or ' | '.join(cells)} |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def error_shown(rows: Iterable[Row]) -> tuple[str, str, str]:
    """Return the column that shows the error of measured rows, what it is called, and its unit behind that.

    In SI units where all have the same, else relative to that of the training mean.
    """
    units = {row.rmse_unit for row in rows}
    if len(units) == 1 and "" not in units:
        return "rmse", "RMSE", bracketed(units.pop())
    return RELATIVE


def folds_label(rows: Iterable[Row]) -> str:
    """Return how many folds are put together in rows, as it stands behind other words."""
    return "".join(f", {folds} folds" for folds in {row.folds for row in rows} - {None})
