"""Error against a setting that was varied, found from the runs: chunk, low-pass, share of the data, ..."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from baselines.presets import DECIDED_BY_DATA, REFERENCES
from baselines.report.group import families, join_names
from baselines.report.panels import Panel, panel
from baselines.results.folds import FoldsMissingError, across_folds
from baselines.results.rows import Result, relative_mse, si_rmse
from baselines.runs.run import Run
from baselines.tables.digits import bracketed
from baselines.tables.setting_text import PHASES, setting_name, setting_text, value_text
from csp_data import plot
from csp_data.plot.style import Look

__all__ = ["AXES", "Axis", "Varied", "errors_of", "settings_panels", "varied"]

MAX_PANELS = 4
"""Most panels of one setting; each holds everything else fixed."""

Settings = dict[str, Any]
"""``data.FIELD`` of the protocol, ``train.FIELD`` and ``model.FIELD`` to value."""
Error = Callable[[Result], float | None]
"""From a run's row to what is compared; ``None`` where it cannot be."""
Errors = dict[str, dict[str, dict[Any, list[float]]]]
"""Model to series to value of a setting to the error with each seed."""


@dataclass(frozen=True)
class Axis:
    """Something that a sweep can vary.

    Parameters
    ----------
    title, label
        What it is called, and what stands at the axis.
    fields
        Settings that belong to it; no other may differ within a panel.
    position
        From settings to the series and the value on the axis; ``None`` for doing without.
    relative
        Whether it changes the task, so that errors do not compare as they are.
    name
        From settings to what stands at the value, where that is more than the value.
    """

    title: str
    label: str
    fields: tuple[str, ...]
    position: Callable[[Settings], tuple[str, Any]]
    relative: bool = False
    name: Callable[[Settings], str] | None = None


@dataclass(frozen=True)
class Varied:
    """What runs vary, and their errors.

    Parameters
    ----------
    axis
        What is varied.
    names
        Value to what stands there, where that is more than the value.
    panels
        For each way to compare (:func:`errors_of`; the second only where the axis changes the task) and each
        combination of everything else that varies, in words, the errors; combinations of most runs first.
    """

    axis: Axis
    names: Mapping[Any, str]
    panels: Mapping[str, Sequence[tuple[str, Errors]]]


def _chunk(settings: Settings) -> tuple[str, Any]:
    return "", round(settings["data.input_hz"] / settings["data.target_hz"])


def _rate(settings: Settings) -> str:
    return f"{_chunk(settings)[1]}\n{settings['data.target_hz']:g} Hz"


def _lowpass(settings: Settings) -> tuple[str, Any]:
    lowpass = settings["data.lowpass"]
    return ("no filter", None) if lowpass is None else (PHASES[lowpass["phase"]], lowpass["hz"])


def _share(settings: Settings) -> tuple[str, Any]:
    return "", 100 * (settings.get("data.resplit") or {}).get("share", 1.0)


def _context(settings: Settings) -> tuple[str, Any]:
    window = settings["train.window_s"]
    return ("whole episodes", None) if window is None else ("", window)


AXES = (
    Axis(
        "Chunk", "chunk (samples), rate of the targets", ("data.input_hz", "data.target_hz"), _chunk, True, _rate
    ),
    Axis("Low-pass of the inputs", "cut-off (Hz)", ("data.lowpass",), _lowpass),
    Axis("Share of the training recordings", "share of the training recordings (%)", ("data.resplit",), _share),
    Axis("Context", "window (s)", ("train.window_s", "train.window_stride_s", "train.batch"), _context),
)
"""What is drawn in a way of its own; another setting that varies stands side by side under its name."""


def settings_of(run: Run) -> Settings:
    """Return every choice of a run but its seed and what its data decide."""
    config = run.config.to_dict()
    model = {} if run.config.name in REFERENCES else config["model"]
    settings = {f"data.{name}": value for name, value in config["data"]["protocol"].items() if name != "name"}
    if resplit := settings.get("data.resplit"):  # folds are put together
        settings["data.resplit"] = {name: value for name, value in resplit.items() if name != "fold"}
    settings |= {f"train.{name}": value for name, value in config["train"].items() if name != "seed"}
    if run.config.weights:
        settings["train.weights"] = run.seedless["weights"]
    return settings | {f"model.{name}": value for name, value in model.items() if name not in DECIDED_BY_DATA}


def errors_of(results: Sequence[Result]) -> dict[str, Error]:
    """Return how runs on one data set are compared: what the axis says to the error.

    The root mean squared error in SI units, where all have the same; and, where the reference ``mean`` is there,
    MSE over that of the mean on the same data, which compares where a setting changes the task too.
    """
    errors: dict[str, Error] = {}
    units = {si_rmse(result.by_target)[1] for result in results}
    if len(units) == 1 and "" not in units:
        errors[f"RMSE{bracketed(units.pop())}"] = lambda result: si_rmse(result.by_target)[0]
    means = {result.recipe_hash: result for result in results if result.model == MEAN}

    def relative(result: Result) -> float | None:
        mean = means.get(result.recipe_hash)
        return None if mean is None else relative_mse(result.by_target, mean.by_target)

    if means:
        errors["MSE / MSE of the training mean"] = relative
    return errors


def _across_folds(runs: Sequence[Run]) -> tuple[list[Run], list[Result]]:
    """Return runs, of those on all folds the first, with their rows; without those of which folds are missing."""
    rows = [Result.of(run) for run in runs]
    if len({row.fold for row in rows} - {None}) < 2:
        return list(runs), rows
    groups: dict[str, list[tuple[Run, Result]]] = {}
    for run, row in zip(runs, rows, strict=True):
        identity = (
            row.key if row.fold is None else json.dumps([row.model, row.seed, settings_of(run)], sort_keys=True)
        )
        groups.setdefault(identity, []).append((run, row))
    kept: list[tuple[Run, Result]] = []
    for group in groups.values():
        (run, row), count = group[0], len(group)
        if row.fold is None:
            kept += group
        elif count == row.folds:
            with suppress(FoldsMissingError):  # its folds differ in more, and no table puts them together
                kept.append((run, across_folds([row for _, row in group])[0]))
    return [run for run, _ in kept], [row for _, row in kept]


def varied(runs: Sequence[Run]) -> list[Varied]:
    """Find what runs on one data set vary, and their errors, of those on several folds over all of them.

    Parameters
    ----------
    runs
        Of one data set, kind and name of protocol.
    """
    runs, results = _across_folds(runs)
    settings, errors = [settings_of(run) for run in runs], errors_of(results)
    differing = _differing_fields(runs, settings)
    varied_axes = []
    for axis in [
        *AXES,
        *(_plain_axis(field) for field in sorted(differing) if not any(field in a.fields for a in AXES)),
    ]:
        others = sorted(differing - set(axis.fields))
        if not differing & set(axis.fields):
            continue
        panels = {
            label: _combinations(axis, runs, settings, others, list(map(error, results)))
            for label, error in errors.items()
        }
        drawn = [(label, combinations) for label, combinations in panels.items() if combinations]
        if drawn:
            names = {axis.position(of_run)[1]: axis.name(of_run) for of_run in settings if axis.name}
            varied_axes.append(Varied(axis, names, dict(drawn if axis.relative else drawn[:1])))
    return varied_axes


def _differing_fields(runs: Sequence[Run], settings: Sequence[Settings]) -> set[str]:
    """Return settings in which runs of one and the same model differ."""
    values_by_field: dict[tuple[str, str], set[str]] = {}
    for run, run_settings in zip(runs, settings, strict=True):
        for field, value in run_settings.items():
            values_by_field.setdefault((run.config.name, field), set()).add(json.dumps(value, sort_keys=True))
    return {field for (_, field), values in values_by_field.items() if len(values) > 1}


def _plain_axis(field: str) -> Axis:
    return Axis(
        setting_name(field), setting_name(field), (field,), lambda settings: ("", _axis_value(settings.get(field)))
    )


def _axis_value(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else value_text(value)


def _combinations(
    axis: Axis,
    runs: Sequence[Run],
    settings: Sequence[Settings],
    others: Sequence[str],
    values: Sequence[float | None],
) -> list[tuple[str, Errors]]:
    by_rest: dict[str, Errors] = {}
    count: dict[str, int] = {}
    positions = _positions(axis, runs, settings)
    for run, run_settings, (series, value), error_value in zip(runs, settings, positions, values, strict=True):
        if run.config.name == MEAN or error_value is None:
            continue
        rest = ", ".join(_setting_texts(run_settings, others))
        errors = by_rest.setdefault(rest, {}).setdefault(run.config.name, {}).setdefault(series, {})
        errors.setdefault(value, []).append(error_value)
        count[rest] = count.get(rest, 0) + 1
    panels = []
    for rest in sorted(by_rest, key=lambda rest: -count[rest]):
        with_several = {model: s for model, s in by_rest[rest].items() if sum(map(len, s.values())) > 1}
        if with_several:
            panels.append((rest, with_several))
    return panels


def _positions(axis: Axis, runs: Sequence[Run], settings: Sequence[Settings]) -> list[tuple[str, Any]]:
    """Return the series and value of each run; what an axis has no place for makes series of its own."""
    positions = [axis.position(run_settings) for run_settings in settings]
    distinguishing: dict[tuple[str, Any], set[str]] = {}
    for position in set(positions):
        members = [
            (run, run_settings)
            for run, run_settings, own_position in zip(runs, settings, positions, strict=True)
            if own_position == position
        ]
        distinguishing[position] = _differing_fields(*zip(*members, strict=True)) & set(axis.fields)  # type: ignore[arg-type]
    extended = []
    for (series, value), run_settings in zip(positions, settings, strict=True):
        texts = _setting_texts(run_settings, sorted(distinguishing[series, value]))
        extended.append((", ".join(filter(None, [series, *texts])), value))
    return extended


def _setting_texts(settings: Settings, fields: Sequence[str]) -> list[str]:
    return [setting_text(field, settings[field]) for field in fields if field in settings]


MEAN = "mean"
"""The reference that no setting changes but through the data."""


def settings_panels(varied_axis: Varied, part: str, looks: Mapping[str, Look]) -> list[Panel]:
    """Draw errors against a setting: a panel for each way to compare, combination and family of models."""
    figures, axis = [], varied_axis.axis
    for what, panels in varied_axis.panels.items():
        label = f"{part} {what}"
        for rest, errors in panels[:MAX_PANELS]:
            for family in families(list(errors)):
                family_errors = {model: errors[model] for model in family}

                def draw(axes: Axes, family_errors: Errors = family_errors, label: str = label) -> None:
                    plot.plot_settings(
                        axes, family_errors, xlabel=axis.label, ylabel=label, looks=looks, names=varied_axis.names
                    )

                suffix = f"; {rest}" if rest else ""
                description = f"{label} of {join_names(family)} against {axis.label}{suffix}."
                height = 3.0 + 0.18 * max(0, len(family) - 2)
                figures.append(panel(draw, description, height=height, title=label + suffix))
    return figures
