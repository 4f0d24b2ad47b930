"""Which runs are one row of a table, and what the row is called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from baselines.results.rows import Result, row_of
from baselines.runs import Run, RunError, flat

__all__ = ["by_label"]

Found = TypeVar("Found", Run, Result)

SAID = 3
"""Differing choices that the name of a row tells; of more, rows are numbered."""


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
    plain = [flat(dict(group[0].settings)) for group in groups]
    names = [group[0].model for group in groups]
    variants = [group[0].variant for group in groups]
    labels: list[str] = []
    for i, (name, values) in enumerate(zip(names, plain, strict=True)):
        alike = [j for j, its in enumerate(names) if its == name]
        if len({variants[j] for j in alike}) == len(alike):
            labels.append(f"{name} ({variants[i]})" if len(alike) > 1 and variants[i] else name)
            continue
        fields = [
            field
            for field in dict.fromkeys(field for j in alike for field in plain[j])
            if any(plain[j].get(field) != values.get(field) for j in alike)
        ]
        said = ", ".join(f"{field.rsplit('.', 1)[-1]} {_said(values.get(field))}" for field in fields)
        labels.append(f"{name} ({said})" if 0 < len(fields) <= SAID else name)
    numbers = [names[: i + 1].count(name) for i, name in enumerate(names)]
    # also where values that differ look the same, as 0 and 0.0 do
    return [
        label if labels.count(label) == 1 else f"{name} ({number})"
        for label, name, number in zip(labels, names, numbers, strict=True)
    ]


def _said(value: Any) -> str:
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
