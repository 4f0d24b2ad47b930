"""Curves of a section: learning curves, predictions beside measurements, and their sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from baselines.report import html
from baselines.report.group import Group, families, join_names
from baselines.report.panels import Panel, panel
from baselines.training.settings import window_steps
from csp_data import plot
from csp_data.predictions import EpisodePrediction

__all__ = ["learning", "over_time", "sums"]

SEGMENT_S = 20.0
"""Seconds of an episode in the figures over time."""
MAX_TARGETS = 6
"""Targets in the figures over time; of more, those that vary most."""
MAX_PATHS = 4
"""Paths in the figures of sums."""


def learning(group: Group) -> str:
    """Show the loss of each epoch on train and on the part for choosing, a pair of panels for each family."""
    learned = {  # epochs can be lost with a disk; what was chosen is in the results
        label: runs
        for label, runs in group.models.items()
        if all(0 < (run.results["epoch"] or 0) <= len(run.epochs) for run in runs)
    }
    if not learned:
        return ""
    selection = group.table.selection
    chosen = {label: [run.results["epoch"] for run in runs] for label, runs in learned.items()}

    def loss_panel(family: Sequence[str], key: str, part: str) -> Panel:
        losses = {label: [[line[key] for line in run.epochs] for run in runs] for label, runs in learned.items()}
        every = [loss for curves in losses.values() for curve in curves for loss in curve]
        curves, label = {label: losses[label] for label in family}, f"loss on {part}"
        marks = chosen if key == "val_loss" else None

        def draw(axes: Axes) -> None:
            plot.plot_learning(axes, curves, chosen=marks, label=label, looks=group.looks)
            axes.set_ylim(0.93 * min(every), 1.07 * max(every))  # the same in every panel, so that they compare

        description = f"Loss on {part} of {join_names(family)}, epoch by epoch."
        return panel(draw, description, height=2.9 + 0.18 * max(0, len(family) - 3))

    panels = [
        loss_panel(family, key, part)
        for family in families(sorted(learned))
        for key, part in (("train_loss", "train"), ("val_loss", f"{selection}, with the chosen epoch"))
    ]
    several = max(map(len, learned.values()))
    return html.paragraph(
        "Mean squared error in normalised units. The mark is the epoch with the lowest loss on "
        f"{selection}."
        + (f" Thin lines are the {several} seeds, the thick line is their mean." if several > 1 else "")
    ) + html.figures(panels)


def _most_varying_episode(group: Group) -> dict[str, EpisodePrediction]:
    """Return what the shown runs predict for the reported episode whose measured target varies most."""
    predictions = next(iter(group.drawn_runs.values())).predictions
    spread = {p.id: float(np.square(p.true - p.true.mean(axis=0)).mean()) for p in predictions}
    chosen = max(spread, key=lambda id_: spread[id_])
    return {label: p for label, run in group.drawn_runs.items() for p in run.predictions if p.id == chosen}


def over_time(group: Group) -> str:
    """Show targets as measured and predicted, a panel each."""
    predictions = _most_varying_episode(group)
    episode = next(iter(predictions.values()))
    targets, table = group.dataset.targets, group.table
    steps = window_steps("SEGMENT_S", SEGMENT_S, targets.rate_hz)
    count = len(episode.time)
    segment = slice(0, min(count, steps or count))
    spread = np.std(episode.true[segment] / np.maximum(episode.true.std(axis=0), 1e-12), axis=0)
    columns = sorted(np.argsort(-spread, kind="stable")[:MAX_TARGETS].tolist())

    def target_panel(column: int) -> Panel:
        name = targets.names[column]
        values = {label: p.pred[segment, column] for label, p in predictions.items()}
        return panel(
            lambda axes: plot.plot_prediction(
                axes,
                episode.time[segment],
                episode.true[segment, column],
                values,
                name=name,
                unit=targets.units[column],
                looks=group.highlighted_looks,
            ),
            f"{name}, measured and as predicted by {join_names(list(predictions))}.",
            height=2.7,
        )

    return html.paragraph(
        f"{episode.id}, the {table.report} episode whose measured target varies most"
        + (f": its first {segment.stop / targets.rate_hz:g} s." if segment.stop < count else ", whole.")
        + (f" {len(columns)} of {len(targets.names)} targets." if len(columns) < len(targets.names) else "")
        + f" A model starts afresh at every window ({table.context_label}) and has to find its way in again."
        + (
            " Of each model the seed that is best on the part for choosing."
            if any(len(runs) > 1 for runs in group.models.values())
            else ""
        )
    ) + html.figures(map(target_panel, columns))


@dataclass(frozen=True)
class _Sums:
    """An episode whose increments are summed: what was measured and predicted, a step's factor, the sums' unit.

    An angle beside lengths is no part of a distance: `alike` are the columns whose unit is that of the first.
    """

    episode: EpisodePrediction
    pred: dict[str, np.ndarray]
    step: float
    unit: str
    alike: list[int]

    @classmethod
    def of(cls, group: Group) -> _Sums:
        """Take the episode that varies most."""
        targets, per_second = group.dataset.targets, group.dataset.protocol.target_per == "second"
        predictions = _most_varying_episode(group)
        return cls(
            next(iter(predictions.values())),
            {label: prediction.pred for label, prediction in predictions.items()},
            step=1 / targets.rate_hz if per_second else 1.0,
            unit=targets.units[0].removesuffix("/s") if per_second else targets.units[0],
            alike=[column for column, unit in enumerate(targets.units) if unit == targets.units[0]],
        )


def sums(group: Group) -> str:
    """Show what targets that are increments add up to: paths, and the distance between them."""
    target, names = group.dataset.card.target(group.dataset.protocol.target), group.dataset.targets.names
    if not target.increment:
        return ""
    summed = _Sums.of(group)
    path_columns = [[names.index(name) for name in path.split()] for path in target.paths]
    path_columns = [columns for columns in path_columns if len(columns) > 1]
    panels = [_path_panel(group, summed, columns[:2]) for columns in path_columns[:MAX_PATHS]]
    panels.append(_drift_panel(group, summed, height=3.6 if path_columns else 2.9))
    meaning = (
        f"Their axes are fixed, so the sum is a path: {len(panels) - 1} of {len(path_columns)} shown."
        if path_columns
        else "Their frame turns with the sensor, so the sum is a measure of drift and not a path in the room."
    )
    return html.paragraph(
        f"The targets of the whole of {summed.episode.id}, summed step by step, measured and predicted: what a "
        f"small error that stays adds up to. {meaning}"
    ) + html.figures(panels)


def _path_panel(group: Group, summed: _Sums, pair: list[int]) -> Panel:
    """Draw the path that two targets along fixed axes add up to."""
    first, second = (group.dataset.targets.names[column] for column in pair)
    return panel(
        lambda axes: plot.plot_trajectory(
            axes,
            summed.episode.true[:, pair],
            {label: values[:, pair] for label, values in summed.pred.items()},
            step=summed.step,
            names=(f"sum of {first}", f"sum of {second}"),
            unit=summed.unit,
            looks=group.highlighted_looks,
        ),
        f"Paths that {first} and {second} add up to, measured and predicted by {join_names(list(summed.pred))}.",
        height=3.6,
        title=f"sum of {second} over sum of {first} ({summed.unit})",
    )


def _drift_panel(group: Group, summed: _Sums, height: float) -> Panel:
    """Draw how far predicted sums are from measured ones."""
    episode = summed.episode
    return panel(
        lambda axes: plot.plot_drift(
            axes,
            episode.time,
            episode.true[:, summed.alike],
            {label: values[:, summed.alike] for label, values in summed.pred.items()},
            step=summed.step,
            unit=summed.unit,
            looks=group.highlighted_looks,
        ),
        f"Distance between predicted and measured sums of {join_names(list(summed.pred))} over time.",
        height=height,
    )
