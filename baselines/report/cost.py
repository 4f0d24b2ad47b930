"""The cost of models and how runs were made: size, speed, commands, software and machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from baselines.report import html
from baselines.report.group import Group, join_names
from baselines.report.panels import Panel, panel
from baselines.runs.run import Run
from baselines.tables.digits import Scale
from baselines.tables.labels import is_reference
from baselines.training.ledger import SWEEP, read_lines
from baselines.training.settings import BEST
from csp_data import plot
from csp_data.terminal import count_of

__all__ = ["provenance", "speed"]

FEW = 6
"""Commands that are shown at once; more are folded."""


def speed(group: Group) -> str:
    """Show what each model costs beside its error: values, bytes, time to fit, how much faster than the sensor."""
    errors = {label: [float(run.reported["mse"]) for run in runs] for label, runs in group.models.items()}
    means = {label: float(np.mean(values)) for label, values in errors.items()}
    factors = {label: _realtime_factor(runs) for label, runs in group.models.items()}
    panels = _cost_panels(group, errors, means, factors)
    return (
        html.paragraph(
            "How many times faster than the recording a model went over the reported part, windows in batches, "
            "measured once on the machine below beside whatever else it did: an order of magnitude, no more. "
            "Figures show learned models, bars from the least to the greatest error over seeds."
        )
        + (html.figures(panels) if panels else "")
        + _cost_table(group, means, factors)
    )


def _cost_table(group: Group, means: Mapping[str, float], factors: Mapping[str, float | None]) -> str:
    """Return the table, a row for each model."""
    table, scale = group.table, Scale.of(means.values())
    columns = (
        "model",
        f"{table.report} MSE{scale.label}{table.squared_unit_label}",
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
            "" if runs[0].config.elsewhere else f"{(runs[0].folder / BEST).stat().st_size / 1024:,.0f}",
            f"{np.mean([run.results['seconds'] for run in runs]):,.1f}",
            "" if factor is None else f"{factor:,.0f}",
            ", ".join(sorted({str(run.environment.get("device", "elsewhere")) for run in runs})),
        ]
        rows.append(("reference" if is_reference(label) else "", cells))
    return html.table(f"Speed and size; {table.report} MSE is the mean over seeds", columns, rows)


def _cost_panels(
    group: Group,
    errors: Mapping[str, list[float]],
    means: Mapping[str, float],
    factors: Mapping[str, float | None],
) -> list[Panel]:
    """Draw the error of learned models against their size and speed, and the best reference as a level."""
    references = [label for label in group.models if is_reference(label)]
    best = min(references, key=lambda label: means[label], default=None)
    levels = {} if best is None else {f"{best} (best reference)": means[best]}
    error = f"{group.table.report} MSE{group.table.squared_unit_label}"
    sizes = {label: runs[0].results["parameters"] for label, runs in group.models.items()}
    panels: list[Panel] = []
    for costs, label in ((sizes, "values learned"), (factors, "times faster than real time")):
        points = {
            name: (cost, errors[name])
            for name, cost in costs.items()
            if cost is not None and not is_reference(name)
        }
        if points:
            draw = partial(
                plot.plot_cost, models=points, xlabel=label, ylabel=error, levels=levels, looks=group.looks
            )
            description = f"Error against {label} of {join_names(list(points))}."
            panels.append(panel(draw, description, height=2.9 + 0.17 * (len(points) // 2), legend=not panels))
    return panels


def _realtime_factor(runs: Sequence[Run]) -> float | None:
    """Return how many times faster than the recording a model predicted; ``None`` where a run does not say."""
    target_hz = runs[0].config.data.protocol.get("target_hz")
    seconds_by_run = [run.reported["predict_seconds"] for run in runs if run.reported.get("predict_seconds")]
    if not target_hz or len(seconds_by_run) < len(runs):
        return None
    factors = [
        run.reported["steps"] / target_hz / seconds for run, seconds in zip(runs, seconds_by_run, strict=True)
    ]
    return float(np.mean(factors))


def provenance(group: Group) -> str:
    """Return the exact commands, and on which software and machines they ran."""
    commands = [run.environment.get("command") or f"(not recorded: {run.folder})" for run in group.runs]
    sweeps = _sweep_commands(group.runs)
    run_commands = html.code(commands)
    if len(commands) > FEW:
        run_commands = html.folded(f"The command of each of the {len(commands)} runs", run_commands)
    environments = Counter(_environment_texts(run.environment) for run in group.runs)
    pairs = [
        pair
        for (software, machine, commit), count in sorted(environments.items())
        for pair in (
            *([("Runs", f"{count} of {len(group.runs)}")] if len(environments) > 1 else []),
            ("Software", software),
            ("Machine", machine),
            ("Commit", commit),
        )
    ]
    return (html.code(sweeps) if sweeps else "") + run_commands + html.definitions(pairs)


def _environment_texts(environment: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return software, machine and commit of a run."""
    packages = ("csp_data", "python", "torch", "numpy")
    machine = "elsewhere"
    if "platform" in environment:
        kinds = (("cpu_count", "CPU"), ("threads", "thread"))
        counts = ", ".join(count_of(environment[key], what) for key, what in kinds if environment.get(key))
        machine = f"{environment['platform']}; {counts}; {environment.get('device')}"
    return (
        environment.get("about") or ", ".join(f"{name} {environment.get(name, 'unknown')}" for name in packages),
        machine,
        environment.get("commit") or "not a git checkout",
    )


def _sweep_commands(runs: Sequence[Run]) -> list[str]:
    """Return the commands of the sweeps that the runs are from, each once."""
    folders = dict.fromkeys(run.folder.absolute().parent.parent for run in runs)
    commands = [line.get("command") for folder in folders for line in read_lines(folder / SWEEP)]
    return list(dict.fromkeys(command for command in commands if command))
