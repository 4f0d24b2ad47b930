"""Group the runs that make one row of a table, and name the row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from baselines.errors import RunError
from baselines.presets import REFERENCES
from baselines.results.rows import Result, as_result
from baselines.runs.config import flatten
from baselines.runs.run import Run
from csp_data.terminal import count_of

__all__ = ["base_name", "by_label", "is_reference", "what_numbers_mean"]

Found = TypeVar("Found", Run, Result)


WEIGHTS = "weights"
"""Setting that names what the weights that a run began with were trained on: a data set, and a digest of how."""

NORMALIZATION = "data.normalization"
"""Setting that names a shift and scale that are not the data set's own."""

MOST_FIELDS = 3
"""Differing settings that the name of a row tells; if there are more, rows are numbered."""

MOST_FIELDS_BELOW = 8
"""Differing settings that the note below a table tells."""


class _RowSettings(NamedTuple):
    """What the runs of one row share: the model's name, the variant's, and the settings by their dotted names."""

    model: str
    variant: str
    settings: dict[str, Any]


def base_name(label: str) -> str:
    """Return the model's own name in the label of a row."""
    return label.split(" ")[0]


def is_reference(label: str) -> bool:
    """Whether a label is a reference's."""
    return base_name(label) in REFERENCES


def by_label(runs: Sequence[Found]) -> dict[str, list[Found]]:
    """Put runs that differ in nothing but the seed together, under the name that they have in a table.

    Raises
    ------
    RunError
        If a run is there twice.
    """
    groups: dict[tuple[str, str], list[tuple[Found, Result]]] = {}
    for run in runs:
        row = as_result(run)
        groups.setdefault((row.config, row.variant), []).append((run, row))
    rows = [[row for _, row in group] for group in groups.values()]
    _refuse_repeats(rows)
    return {label: [run for run, _ in group] for label, group in zip(_labels(rows), groups.values(), strict=True)}


def what_numbers_mean(groups: Mapping[str, Sequence[Result]]) -> tuple[str, ...]:
    """Say in which settings rows differ that are told apart by a number; of very many, the first.

    Parameters
    ----------
    groups
        Rows by their label, as :func:`by_label` gives them.
    """
    said = []
    by_model: dict[str, dict[str, dict[str, Any]]] = {}
    for label, group in groups.items():
        by_model.setdefault(group[0].model, {})[label] = flatten(dict(group[0].settings))
    for model, rows in by_model.items():
        numbered = [label for number, label in enumerate(rows, start=1) if label == f"{model} ({number})"]
        fields = [
            field
            for field in dict.fromkeys(field for settings in rows.values() for field in settings)
            if len({_value_text(settings.get(field)) for settings in rows.values()}) > 1
        ]
        if not numbered or not fields:
            continue
        texts = []
        for label in numbered:
            told = {field.removeprefix("model."): rows[label].get(field) for field in fields[:MOST_FIELDS_BELOW]}
            texts.append(f"{label}: {', '.join(f'{name} {_value_text(value)}' for name, value in told.items())}")
        if (more := len(fields) - MOST_FIELDS_BELOW) > 0:
            texts.append(f"and {count_of(more, 'more setting')} differ{'s' * (more == 1)}")
        said.append("; ".join(texts) + ".")
    return tuple(said)


def _labels(groups: Sequence[list[Result]]) -> list[str]:
    """Name groups after their models; models that share a name by variant, by what differs, or by a number."""
    row_settings = [
        _RowSettings(group[0].model, group[0].variant, flatten(dict(group[0].settings))) for group in groups
    ]
    names = [settings.model for settings in row_settings]
    labels = [
        _distinct_label(settings, [other for other in row_settings if other.model == settings.model])
        for settings in row_settings
    ]
    numbers = [names[: i + 1].count(name) for i, name in enumerate(names)]
    # also where values that differ look the same, as 0 and 0.0 do
    return [
        label if labels.count(label) == 1 else f"{name} ({number})"
        for label, name, number in zip(labels, names, numbers, strict=True)
    ]


def _field_text(field: str) -> str:
    """Return what a row's name calls a setting: its last name; of a file that a model imports, all of its path."""
    _, imported, path = field.partition("model.beside.")
    return path if imported else field.rsplit(".", 1)[-1]


def _distinct_label(own: _RowSettings, namesakes: Sequence[_RowSettings]) -> str:
    """Name a row among those of its model, itself included: by its variant, or by the settings that differ."""
    if len({other.variant for other in namesakes}) == len(namesakes):
        return f"{own.model} ({own.variant})" if len(namesakes) > 1 and own.variant else own.model
    fields = [
        field
        for field in dict.fromkeys(field for other in namesakes for field in other.settings)
        if any(other.settings.get(field) != own.settings.get(field) for other in namesakes)
    ]
    if not 0 < len(fields) <= MOST_FIELDS:
        return own.model
    told = {NORMALIZATION: "data", **own.settings, WEIGHTS: _weights_text(own, namesakes)}
    settings = ", ".join(f"{_field_text(field)} {_value_text(told.get(field))}" for field in fields)
    return f"{own.model} ({settings})"


def _weights_text(own: _RowSettings, namesakes: Sequence[_RowSettings]) -> str | None:
    """Return what the weights that a row began with were trained on: the data set alone where that tells them."""
    text = own.settings.get(WEIGHTS)
    data = {str(other.settings[WEIGHTS]) for other in namesakes if other.settings.get(WEIGHTS)}
    short = [one.rpartition(" ")[0] or one for one in data]
    return text if text is None or len({*short}) < len(short) else text.rpartition(" ")[0] or text


def _value_text(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value).lower()


def _refuse_repeats(groups: Iterable[Sequence[Result]]) -> None:
    for group in groups:
        by_seed: dict[int, Result] = {}
        for run in group:
            other = by_seed.setdefault(run.seed, run)
            if other is run:
                continue
            what = f"{run.model}, seed {run.seed}"
            if other.key != run.key:
                raise RunError(
                    f"{other.source} and {run.source} ({what}) began with weights of two seeds, and differ in "
                    "nothing else. Give each a seed of its own (--seed), as a row has one run of a seed."
                )
            raise RunError(
                f"{other.source} and {run.source} are the same run ({what}), and would count twice. "
                "Name one of them."
            )
