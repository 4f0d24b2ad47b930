"""Group the runs that make one row of a table, and name the row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from baselines.results.rows import Result, row_of
from baselines.runs.run import Run, RunError, flatten

__all__ = ["by_label"]

Found = TypeVar("Found", Run, Result)


class Kind(NamedTuple):
    """What the runs of one row share: the model's name, the variant's, and the settings by their dotted names."""

    model: str
    variant: str
    settings: dict[str, Any]


MOST_FIELDS = 3
"""Differing settings that the name of a row tells; if there are more, rows are numbered."""


def by_label(runs: Sequence[Found]) -> dict[str, list[Found]]:
    """Put runs that differ in nothing but the seed together, under the name that they have in a table.

    Raises
    ------
    RunError
        If a run is there twice.
    """
    groups: dict[tuple[str, str], list[Result]] = {}
    held: dict[tuple[str, str], list[Found]] = {}
    for run, row in zip(runs, map(row_of, runs), strict=True):
        groups.setdefault((row.config, row.variant), []).append(row)
        held.setdefault((row.config, row.variant), []).append(run)
    _refuse_repeats(groups.values())
    return dict(zip(_labels(list(groups.values())), held.values(), strict=True))


def _labels(groups: Sequence[list[Result]]) -> list[str]:
    """Name groups after their models; models that share a name by variant, by what differs, or by a number."""
    kinds = [Kind(group[0].model, group[0].variant, flatten(dict(group[0].settings))) for group in groups]
    names = [kind.model for kind in kinds]
    labels = [_label(kind, [other for other in kinds if other.model == kind.model]) for kind in kinds]
    numbers = [names[: i + 1].count(name) for i, name in enumerate(names)]
    # also where values that differ look the same, as 0 and 0.0 do
    return [
        label if labels.count(label) == 1 else f"{name} ({number})"
        for label, name, number in zip(labels, names, numbers, strict=True)
    ]


def _label(kind: Kind, namesakes: Sequence[Kind]) -> str:
    """Name a row among those of its model, itself included: by its variant, or by the settings that differ."""
    if len({other.variant for other in namesakes}) == len(namesakes):
        return f"{kind.model} ({kind.variant})" if len(namesakes) > 1 and kind.variant else kind.model
    fields = [
        field
        for field in dict.fromkeys(field for other in namesakes for field in other.settings)
        if any(other.settings.get(field) != kind.settings.get(field) for other in namesakes)
    ]
    if not 0 < len(fields) <= MOST_FIELDS:
        return kind.model
    settings = ", ".join(f"{field.rsplit('.', 1)[-1]} {_text_of(kind.settings.get(field))}" for field in fields)
    return f"{kind.model} ({settings})"


def _text_of(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value).lower()


def _refuse_repeats(groups: Iterable[Sequence[Result]]) -> None:
    for group in groups:
        seen: dict[int, str] = {}
        for run in group:
            if run.seed in seen:
                raise RunError(
                    f"{seen[run.seed]} and {run.source} are the same run ({run.model}, seed {run.seed}), and "
                    "would count twice. Name one of them."
                )
            seen[run.seed] = run.source
