"""Error against a setting that was varied, found from the runs: chunk, low-pass, share of the data, ..."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from baselines.presets import DECIDED_BY_DATA, REFERENCES
from baselines.report.group import families, join_names
from baselines.report.panels import Panel, panel
from baselines.results.folds import put_together
from baselines.results.rows import Result, relative_mse, si_rmse
from baselines.runs.run import Run
from baselines.tables.digits import bracketed
from baselines.tables.setting_text import PHASES, setting_name, setting_text, value_text
from csp_data import plot
from csp_data.plot.style import Look

__all__ = ["AXES", "Axis", "Varied", "errors_of", "settings_panels", "varied"]

MEAN = "mean"
"""The reference that no setting changes but through the data."""

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


class _Point(NamedTuple):
    """A run, or those on all folds as one, and every choice of it but its seed and what its data decide."""

    result: Result
    settings: Settings

    @classmethod
    def of(cls, result: Result) -> _Point:
        plain = result.settings
        settings = {f"data.{name}": value for name, value in plain["data"]["protocol"].items() if name != "name"}
        if resplit := settings.get("data.resplit"):  # folds are put together
            settings["data.resplit"] = {name: value for name, value in resplit.items() if name != "fold"}
        settings |= {f"train.{name}": value for name, value in plain["train"].items()}
        if "weights" in plain:
            settings["train.weights"] = plain["weights"]
        settings["data.normalization"] = plain["data"].get("normalization", "data")
        model = {} if result.model in REFERENCES else plain["model"]
        settings |= {f"model.{name}": value for name, value in model.items() if name not in DECIDED_BY_DATA}
        return cls(result, settings)


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


def varied(runs: Sequence[Run]) -> list[Varied]:
    """Find what runs on one data set vary, and their errors, of those on several folds over all of them.

    Parameters
    ----------
    runs
        Of one data set, kind and name of protocol. Those of which folds are missing are left out.
    """
    results, _ = put_together([Result.of(run) for run in runs])
    points, errors = [_Point.of(result) for result in results], errors_of(results)
    differing = _differing_fields(points)
    plain = (_plain_axis(field) for field in sorted(differing) if not any(field in axis.fields for axis in AXES))
    varied_axes = []
    for axis in [*AXES, *plain]:
        if not differing & set(axis.fields):
            continue
        others = sorted(differing - set(axis.fields))
        panels = {label: _combinations(axis, points, others, error) for label, error in errors.items()}
        drawn = [(label, combinations) for label, combinations in panels.items() if combinations]
        if drawn:
            names = {axis.position(point.settings)[1]: axis.name(point.settings) for point in points if axis.name}
            varied_axes.append(Varied(axis, names, dict(drawn if axis.relative else drawn[:1])))
    return varied_axes


def _differing_fields(points: Sequence[_Point]) -> set[str]:
    """Return settings in which runs of one and the same model differ."""
    values_by_field: dict[tuple[str, str], set[str]] = {}
    for result, settings in points:
        for field, value in settings.items():
            values_by_field.setdefault((result.model, field), set()).add(json.dumps(value, sort_keys=True))
    return {field for (_, field), values in values_by_field.items() if len(values) > 1}


def _plain_axis(field: str) -> Axis:
    return Axis(
        setting_name(field), setting_name(field), (field,), lambda settings: ("", _axis_value(settings.get(field)))
    )


def _axis_value(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else value_text(value)


def _combinations(
    axis: Axis, points: Sequence[_Point], others: Sequence[str], error: Error
) -> list[tuple[str, Errors]]:
    by_rest: dict[str, Errors] = {}
    count: Counter[str] = Counter()
    for (result, settings), (series, value) in zip(points, _positions(axis, points), strict=True):
        error_value = error(result)
        if result.model == MEAN or error_value is None:
            continue
        rest = ", ".join(_setting_texts(settings, others))
        errors = by_rest.setdefault(rest, {}).setdefault(result.model, {}).setdefault(series, {})
        errors.setdefault(value, []).append(error_value)
        count[rest] += 1
    panels = []
    for rest, _ in count.most_common():
        with_several = {model: s for model, s in by_rest[rest].items() if sum(map(len, s.values())) > 1}
        if with_several:
            panels.append((rest, with_several))
    return panels


def _positions(axis: Axis, points: Sequence[_Point]) -> list[tuple[str, Any]]:
    """Return the series and value of each point; what an axis has no place for makes series of its own."""
    positions = [axis.position(point.settings) for point in points]
    members: dict[tuple[str, Any], list[_Point]] = {}
    for position, point in zip(positions, points, strict=True):
        members.setdefault(position, []).append(point)
    apart = {position: sorted(_differing_fields(same) & set(axis.fields)) for position, same in members.items()}
    return [
        (", ".join(filter(None, [series, *_setting_texts(point.settings, apart[series, value])])), value)
        for (series, value), point in zip(positions, points, strict=True)
    ]


def _setting_texts(settings: Settings, fields: Sequence[str]) -> list[str]:
    return [setting_text(field, settings[field]) for field in fields if field in settings]


def settings_panels(varied_axis: Varied, part: str, looks: Mapping[str, Look]) -> list[Panel]:
    """Draw errors against a setting: a panel for each way to compare, combination and family of models."""
    figures, axis = [], varied_axis.axis
    for what, panels in varied_axis.panels.items():
        label = f"{part} {what}"
        for rest, errors in panels[:MAX_PANELS]:
            for family in families(list(errors)):
                family_errors = {model: errors[model] for model in family}
                draw = partial(
                    plot.plot_settings,
                    errors=family_errors,
                    xlabel=axis.label,
                    ylabel=label,
                    looks=looks,
                    names=varied_axis.names,
                )
                suffix = f"; {rest}" if rest else ""
                description = f"{label} of {join_names(family)} against {axis.label}{suffix}."
                height = 3.0 + 0.18 * max(0, len(family) - 2)
                figures.append(panel(draw, description, height=height, title=label + suffix))
    return figures
