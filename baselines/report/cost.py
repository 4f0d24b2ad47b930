"""The cost of models and how runs were made: size, speed, commands, software and machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from baselines.report import html
from baselines.report.group import Group, listed
from baselines.report.panels import Panel, panel
from baselines.runs.run import Run
from baselines.tables.digits import Scale
from baselines.training.ledger import SWEEP, read_lines
from baselines.training.settings import BEST
from csp_data import plot

__all__ = ["made", "speed"]

FEW = 6
"""Commands that are shown at once; more are folded."""


def speed(group: Group) -> str:
    """Show what each model costs beside its error: values, bytes, time to fit, how much faster than the sensor."""
    errors = {label: [float(run.reported["mse"]) for run in runs] for label, runs in group.models.items()}
    means = {label: float(np.mean(found)) for label, found in errors.items()}
    factors = {label: _factor(runs) for label, runs in group.models.items()}
    panels = _panels(group, errors, means, factors)
    return (
        html.paragraph(
            "How many times faster than the recording a model went over the reported part, windows in batches, "
            "measured once on the machine below beside whatever else it did: an order of magnitude, no more. "
            "Figures show learned models, bars from the least to the greatest error over seeds."
        )
        + (html.figures(panels) if panels else "")
        + _table(group, means, factors)
    )


def _table(group: Group, means: Mapping[str, float], factors: Mapping[str, float | None]) -> str:
    """Return the table, a row for each model."""
    table, scale = group.table, Scale.of(means.values())
    columns = (
        "model",
        f"{table.report} MSE{scale.label} {table.squared_unit}".strip(),
        "values",
        "file (KiB)",
        "time to fit (s)",
        "times faster than real time",
        "device",
    )
    rows = []
    for label, runs in group.models.items():
        factor = factors[label]
        cells = [
            label,
            scale.number(means[label]),
            f"{runs[0].results['parameters']:,}",
            f"{(runs[0].folder / BEST).stat().st_size / 1024:,.0f}",
            f"{np.mean([run.results['seconds'] for run in runs]):,.1f}",
            "" if factor is None else f"{factor:,.0f}",
            ", ".join(sorted({str(run.environment.get("device")) for run in runs})),
        ]
        rows.append(("reference" if group.is_reference(label) else "", cells))
    return html.table(f"Speed and size; {table.report} MSE is the mean over seeds", columns, rows)


def _panels(
    group: Group,
    errors: Mapping[str, list[float]],
    means: Mapping[str, float],
    factors: Mapping[str, float | None],
) -> list[Panel]:
    """Draw the error of learned models against their size and speed, and the best reference as a level."""
    known = [label for label in group.models if group.is_reference(label)]
    best = min(known, key=lambda label: means[label], default=None)
    levels = {} if best is None else {f"{best} (best reference)": means[best]}
    error = f"{group.table.report} MSE {group.table.squared_unit}".strip()
    sizes = {label: runs[0].results["parameters"] for label, runs in group.models.items()}
    panels: list[Panel] = []
    for costs, label in ((sizes, "values learned"), (factors, "times faster than real time")):
        held = {
            name: (cost, errors[name])
            for name, cost in costs.items()
            if cost is not None and not group.is_reference(name)
        }

        def draw(axes: Axes, held: Any = held, label: str = label) -> None:
            plot.plot_cost(axes, held, xlabel=label, ylabel=error, levels=levels, looks=group.looks)

        if held:
            words = f"Error against {label} of {listed(list(held))}."
            panels.append(panel(draw, words, height=2.9 + 0.17 * (len(held) // 2), legend=not panels))
    return panels


def _factor(runs: Sequence[Run]) -> float | None:
    """Return how many times faster than the recording a model predicted; ``None`` where a run does not say."""
    target_hz = runs[0].config.data.protocol.get("target_hz")
    found = [run.reported["predict_seconds"] for run in runs if run.reported.get("predict_seconds")]
    if not target_hz or len(found) < len(runs):
        return None
    return float(
        np.mean([run.reported["steps"] / target_hz / seconds for run, seconds in zip(runs, found, strict=True)])
    )


def made(group: Group) -> str:
    """Return the exact commands, and on which software and machines they ran."""
    commands = [run.environment.get("command") or f"(not recorded: {run.folder})" for run in group.runs]
    sweeps = _sweeps(group.runs)
    each = html.code(commands)
    if len(commands) > FEW:
        each = html.folded(f"The command of each of the {len(commands)} runs", each)
    places = Counter(
        (
            ", ".join(f"{name} {e.get(name, 'unknown')}" for name in ("csp_data", "python", "torch", "numpy")),
            f"{e.get('platform')}; {e.get('cpu_count')} CPUs, {e.get('threads')} threads; {e.get('device')}",
            e.get("commit") or "not a git checkout",
        )
        for e in (run.environment for run in group.runs)
    )
    pairs = [
        pair
        for (software, machine, commit), count in sorted(places.items())
        for pair in (
            *([("Runs", f"{count} of {len(group.runs)}")] if len(places) > 1 else []),
            ("Software", software),
            ("Machine", machine),
            ("Commit", commit),
        )
    ]
    return (html.code(sweeps) if sweeps else "") + each + html.definitions(pairs)


def _sweeps(runs: Sequence[Run]) -> list[str]:
    """Return the commands of the sweeps that the runs are from, each once."""
    folders = dict.fromkeys(run.folder.absolute().parent.parent for run in runs)
    found = [line.get("command") for folder in folders for line in read_lines(folder / SWEEP)]
    return list(dict.fromkeys(command for command in found if command))
