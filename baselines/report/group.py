"""The runs that one section of a report is about, and their data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from baselines.runs.run import Run
from baselines.tables.labels import base_name, by_label, is_reference
from baselines.tables.model_looks import looks_by_name
from baselines.tables.table import Table
from csp_data import Dataset
from csp_data.plot.style import MARKERS, Look, looks

__all__ = ["Group", "families", "join_names", "looks_of"]

FAMILY_SIZE = len(MARKERS)
"""Most models in one panel: as many as there are colours."""


DRAWN_OVER_TIME = 3
"""Models in the figures of one episode, best on the part for choosing first."""


def join_names(names: Sequence[str]) -> str:
    """Return names as a sentence has them."""
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1] if names else ""


def families(models: Sequence[str]) -> list[list[str]]:
    """Put models into panels of at most :data:`FAMILY_SIZE`: all together, or else those that begin alike."""
    if len(models) <= FAMILY_SIZE:
        return [list(models)] if models else []
    by_prefix: dict[str, list[str]] = {}
    for model in models:
        by_prefix.setdefault(base_name(model).rsplit("-", 1)[0], []).append(model)
    return [
        members[i : i + FAMILY_SIZE] for members in by_prefix.values() for i in range(0, len(members), FAMILY_SIZE)
    ]


def looks_of(models: Sequence[str]) -> dict[str, Look]:
    """Give each model of a page its look; no two in a panel have the same colour, references are grey."""
    learned = [model for model in models if not is_reference(model)]
    slots: list[str] = []
    for family in families(learned):  # a family begins with the first colour
        slots += [*family, *(f"\0{len(slots)}{i}" for i in range(len(family), FAMILY_SIZE))]
    looks_by_model = looks(slots, [model for model in models if is_reference(model)])
    return {model: looks_by_model[model] for model in models}


@dataclass(frozen=True)
class Group:
    """Finished runs on the same data.

    Parameters
    ----------
    runs
        All of one data set, kind, protocol and recipe.
    dataset
        That data.
    table
        Of these runs.
    title
        What tells the group from the others on the page.
    looks
        Label of a model to how it is drawn, on the whole page.
    level
        Of the headings within.
    full
        Whether the section has everything; a variant of another group's data leaves out what it shares with it.
    """

    runs: Sequence[Run]
    dataset: Dataset
    table: Table
    title: str
    looks: Mapping[str, Look]
    level: int = 3
    full: bool = True

    @cached_property
    def anchor(self) -> str:
        """Where the section is on the page."""
        table = self.table
        return re.sub(r"[^a-z0-9]+", "-", f"{table.dataset}-{table.protocol}-{table.recipe_hash}".lower())

    @cached_property
    def models(self) -> dict[str, list[Run]]:
        """Label of a model to its runs, a seed each; learned ones first, the best on the selection first."""
        runs_by_label = by_label(self.runs)
        mean = {
            label: sum(run.selected["mse"] for run in runs) / len(runs) for label, runs in runs_by_label.items()
        }
        order = sorted(runs_by_label, key=lambda label: (is_reference(label), mean[label]))
        return {label: runs_by_label[label] for label in order}

    @cached_property
    def highlighted(self) -> list[str]:
        """Labels of the models in figures that hold only a few: the best on the selection, two references."""
        references = [label for label in self.models if is_reference(label)][:2]
        learned = [label for label in self.models if not is_reference(label)]
        return [*learned[: FAMILY_SIZE - len(references)], *references]

    @cached_property
    def highlighted_looks(self) -> Mapping[str, Look]:
        """Looks of :attr:`highlighted`: those of the page, unless it has more models than there are colours."""
        learned = [label for label in self.highlighted if not is_reference(label)]
        if len({self.looks[label]["color"] for label in learned}) == len(learned):
            return self.looks
        return looks_by_name({label: base_name(label) for label in self.highlighted})

    @cached_property
    def drawn_runs(self) -> dict[str, Run]:
        """Models drawn over time: the first of :attr:`highlighted`, of each the seed best on the selection."""
        return {
            label: min(self.models[label], key=lambda run: float(run.selected["mse"]))
            for label in self.highlighted[:DRAWN_OVER_TIME]
        }
