"""One self-contained HTML page about several runs on the same data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from baselines import figures, page
from baselines.data import window_steps
from baselines.evaluate import EpisodePrediction
from baselines.experiment import data_config
from baselines.files import atomic_bytes
from baselines.references import REFERENCES
from baselines.render import cells, columns, notes, number
from baselines.runs import Run, RunError
from baselines.table import Table, make_table
from baselines.train import BEST
from csp_data import Dataset
from csp_data.store import Channels

__all__ = ["make_report", "write_report"]

SHOWN = 3
"""Models in the figures of one episode, best on the part for choosing first."""
STRETCH_S = 20.0
"""Seconds of an episode in the figures over time."""
EPISODES = 24
"""Episodes in the figure of errors."""


def write_report(runs: Sequence[Run], dataset: Dataset, path: Path) -> None:
    """Write the page of :func:`make_report`, whole or not at all: a file, or ``index.html`` in a folder."""
    if path.suffix not in (".html", ".htm"):
        path = path / "index.html"
    text = make_report(runs, dataset)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_bytes(path, text.encode())


def make_report(runs: Sequence[Run], dataset: Dataset) -> str:
    """Return the page: data, table, signals and filter, learning curves, predictions, errors, commands.

    Parameters
    ----------
    runs
        Finished runs on the same data.
    dataset
        That data.

    Raises
    ------
    RunError
        If the runs are of different data, or of other data than `dataset`.
    """
    table = make_table(runs)
    if data_config(dataset).recipe_hash != table.recipe_hash:
        raise RunError(
            f"{dataset.path} has recipe {data_config(dataset).recipe_hash}, the runs were made with "
            f"{table.recipe_hash}. Pass the prepared file of the runs as --data."
        )
    names = list(dict.fromkeys(run.config.name for run in runs))
    style = figures.styles(
        [name for name in names if name not in REFERENCES], [name for name in names if name in REFERENCES]
    )
    shown = _shown(runs)
    sections = [
        _head(table, dataset),
        _data(dataset),
        _results(table),
        _signals(dataset),
        _learning(runs, style),
        _over_time(shown, style, table, dataset),
        _sums(shown, style, dataset),
        _episodes(runs, style, table),
        _speed(runs),
        _made(runs),
        "<footer>Written by csp-baselines report. This page loads nothing from anywhere.</footer>",
    ]
    return page.document(f"{table.dataset}: sequence models compared", [s for s in sections if s])


def _shown(runs: Sequence[Run]) -> list[Run]:
    """Choose the runs drawn over time: the best of each name on the part for choosing, models first, a few."""
    ranked = sorted(runs, key=lambda run: (run.config.name in REFERENCES, run.selected["mse"]))
    first: dict[str, Run] = {}
    for run in ranked:
        first.setdefault(run.config.name, run)
    return list(first.values())[:SHOWN]


def _head(table: Table, dataset: Dataset) -> str:
    best = min(table.rows, key=lambda row: row.val_mse)
    held = dataset.split(table.report)
    gain = (
        ""
        if best.improvement is None
        else f", {100 * best.improvement:.0f} % below the mean of the training targets"
    )
    if best.improvement is not None and best.improvement < 0:
        gain = ", worse than the mean of the training targets"
    return (
        f"<h1>Sequence models on {page.escape(table.dataset)}</h1>"
        f'<p class="sub"><span class="badge">{page.escape(table.kind_label)}</span>'
        f"protocol {page.escape(table.protocol)}, recipe {page.escape(table.recipe_hash)}</p>"
        + page.paragraph(
            f"The model with the lowest error on {table.selection}, {best.model}, has a mean squared error of "
            f"{number(best.test_mse)} {table.squared_unit} on {len(held)} {table.report} episodes "
            f"({held.seconds / 60:.1f} minutes) that it was not trained on{gain}. {_choice(table)}".strip(),
            "lede",
        )
    )


def _choice(table: Table) -> str:
    if table.selection != table.report:
        return ""
    return (
        f"Its epoch was chosen on {table.report} too, as in the published results: the error of a new recording "
        "can be expected to be larger."
    )


def _left(table: Table) -> str:
    return f"nothing on {table.report}" if table.selection != table.report else "which is the reported part itself"


def _data(dataset: Dataset) -> str:
    card, protocol = dataset.card, dataset.protocol
    target = card.target(protocol.target)
    parts = ", ".join(
        f"{split.name} {len(split)} episodes ({split.seconds / 60:.1f} min)"
        for split in map(dataset.split, dataset.parts)
    )
    pairs = [
        ("Recordings", f"{card.title} ({dataset.kind})"),
        ("Parts", f"{parts}; no recording is in two parts"),
        ("Inputs", _channels(dataset.channels)),
        ("Targets", _channels(dataset.targets)),
        ("Target", _plain(target.summary)),
        ("Licence", f"{card.licence.name} ({card.licence.id})"),
        ("Cite", card.citation.text),
    ]
    if dataset.protocol.lowpass is not None:
        pairs.insert(4, ("Low-pass", f"{dataset.protocol.lowpass}, before everything below"))
    pairs += [("Known defect", _plain(defect)) for defect in card.defects]
    return page.section("The data", page.paragraph(_plain(card.summary)), page.definitions(pairs))


def _plain(text: str) -> str:
    """Return a card's text without its line breaks and code marks."""
    return " ".join(text.replace("`", "").split())


def _unit(unit: str) -> str:
    return unit.replace("^2", "²").replace("^3", "³")


def _channels(channels: Channels) -> str:
    named = zip(channels.names, channels.units, strict=True)
    return ", ".join(f"{name} ({_unit(unit)})" for name, unit in named) + f" at {channels.rate_hz:g} Hz"


def _results(table: Table) -> str:
    best = min(row.test_mse for row in table.rows)
    rows = [
        (
            "reference" if row.model.split(" ")[0] in REFERENCES else "best" if row.test_mse == best else "",
            cells(table, row),
        )
        for row in table.rows
    ]
    several = any(len(row.seeds) > 1 for row in table.rows)
    return page.section(
        "Results",
        page.table(columns(table), rows),
        *(page.paragraph(note) for note in notes(table)),
        page.paragraph(
            "Errors are over all target steps of the part, in physical units. The epoch of a model and the ridge "
            f"strength of the filter were chosen on {table.selection}, {_left(table)}. "
            f"A model sees so much at once: {table.context_label}."
            + (
                " After ± stands the standard deviation over seeds."
                if several
                else " One seed: small differences mean nothing."
            )
        ),
    )


def _signals(dataset: Dataset) -> str:
    episode = dataset.split(dataset.report)[0]
    name, unit = dataset.channels.names[0], _unit(dataset.channels.units[0])
    rate = dataset.rates[0]
    panels = figures.lowpassed(episode.inputs[:, 0].astype(np.float64), episode.time, name, unit, rate)
    return page.section(
        "Signals before and after a low-pass",
        page.paragraph(
            f"{name} of {episode.id}, and the same after a Butterworth low-pass of order 3 at {rate / 10:g} Hz. "
            "The causal filter could run on a device and lags behind; the zero-phase one does not lag because it "
            "looks ahead, so results with it cannot be had live. "
            + ("The models here were given the signal as recorded." if dataset.protocol.lowpass is None else "")
        ),
        page.figures(panels),
    )


def _learning(runs: Sequence[Run], style: dict[str, figures.Style]) -> str:
    curves = [(run.config.name, run.epochs, run.results["epoch"]) for run in runs if run.epochs]
    if not curves:
        return ""
    return page.section(
        "Learning curves",
        page.paragraph(
            "Mean squared error in normalised units. The mark is the epoch with the lowest loss on "
            f"{runs[0].config.data.selection}."
        ),
        page.figures(figures.learning(curves, style, runs[0].config.data.selection)),
    )


def _liveliest(shown: Sequence[Run]) -> dict[str, EpisodePrediction]:
    """Return what the shown runs predict for the reported episode whose measured target varies most."""
    spread = {p.id: float(np.square(p.true - p.true.mean(axis=0)).mean()) for p in shown[0].predictions}
    chosen = max(spread, key=lambda id_: spread[id_])
    return {run.config.name: p for run in shown for p in run.predictions if p.id == chosen}


def _over_time(shown: Sequence[Run], style: dict[str, figures.Style], table: Table, dataset: Dataset) -> str:
    predictions = _liveliest(shown)
    episode = next(iter(predictions.values()))
    steps = window_steps("STRETCH_S", STRETCH_S, dataset.targets.rate_hz)
    count = len(episode.time)
    stretch = slice(0, min(count, steps or count))
    seconds = stretch.stop / dataset.targets.rate_hz
    return page.section(
        "Predicted and measured",
        page.paragraph(
            f"{episode.id}, the {table.report} episode whose measured target varies most"
            + (f": its first {seconds:g} s." if stretch.stop < count else ", whole.")
            + f" A model starts afresh at every window ({table.context_label}) and has to find its way in again."
        ),
        page.figures(figures.series(predictions, style, dataset.targets.names, table.unit, stretch)),
    )


def _sums(shown: Sequence[Run], style: dict[str, figures.Style], dataset: Dataset) -> str:
    target = dataset.card.target(dataset.protocol.target)
    if not target.increment:
        return ""
    step_s = 1 / dataset.targets.rate_hz if dataset.protocol.target_per == "second" else 1.0
    predictions = _liveliest(shown)
    episode = next(iter(predictions.values()))
    return page.section(
        "Integrated over time",
        page.paragraph(
            f"The targets of the whole of {episode.id}, summed step by step, measured and predicted: what a small "
            "error that stays adds up to. The sum is in the target's own frame (see the data above); where that "
            "frame turns with the sensor, it is a measure of drift and not a path in the room."
        ),
        page.figures(figures.paths(predictions, style, step_s, target.unit, dataset.targets.names)),
    )


def _episodes(runs: Sequence[Run], style: dict[str, figures.Style], table: Table) -> str:
    found: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        for episode, values in run.reported["episodes"].items():
            found.setdefault(run.config.name, {}).setdefault(episode, []).append(values["rmse"])
    means = {name: {e: float(np.mean(v)) for e, v in by.items()} for name, by in found.items()}
    episodes = list(next(iter(means.values())))
    worst = sorted(episodes, key=lambda e: -min(by[e] for by in means.values()))[:EPISODES]
    kept = [e for e in episodes if e in worst]
    values = {name: {e: by[e] for e in kept} for name, by in means.items()}
    return page.section(
        "Episode by episode",
        page.paragraph(
            f"Root mean squared error on each {table.report} episode"
            + (f" (the {len(kept)} hardest of {len(episodes)})" if len(kept) < len(episodes) else "")
            + ". An average hides that recordings differ more than models do."
        ),
        page.figures([figures.errors(values, style, table.unit)]),
    )


def _speed(runs: Sequence[Run]) -> str:
    """Show what each model costs: values, bytes, time to fit, and how much faster than the sensor it predicts."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.config.name, []).append(run)
    rows = []
    for name, group in found.items():
        data, kib = group[0].config.data, (group[0].folder / BEST).stat().st_size / 1024
        target_hz = data.protocol.get("target_hz")
        factors = [
            run.reported["steps"] / target_hz / run.reported["predict_seconds"]
            for run in group
            if target_hz and run.reported.get("predict_seconds")
        ]
        cells_ = [
            name,
            f"{group[0].results['parameters']:,}",
            f"{kib:,.0f}",
            f"{np.mean([run.results['seconds'] for run in group]):,.1f}",
            f"{np.mean(factors):,.0f}" if len(factors) == len(group) else "",
            ", ".join(sorted({str(run.environment.get("device")) for run in group})),
        ]
        rows.append(("reference" if name in REFERENCES else "", cells_))
    return page.section(
        "Speed and size",
        page.paragraph(
            "How many times faster than the recording a model went over the reported part, windows in batches, "
            "measured once on the machine below beside whatever else it did: an order of magnitude, no more."
        ),
        page.table(
            ["model", "values", "file (KiB)", "time to fit (s)", "times faster than real time", "device"], rows
        ),
    )


def _made(runs: Sequence[Run]) -> str:
    commands = [run.environment.get("command") or f"(not recorded: {run.folder})" for run in runs]
    places = {
        (
            ", ".join(f"{name} {e.get(name, 'unknown')}" for name in ("csp_data", "python", "torch", "numpy")),
            f"{e.get('platform')}; {e.get('cpu_count')} CPUs, {e.get('threads')} threads; {e.get('device')}",
            e.get("commit") or "not a git checkout",
        )
        for e in (run.environment for run in runs)
    }
    pairs = [
        pair
        for software, machine, commit in sorted(places)
        for pair in (("Software", software), ("Machine", machine), ("Commit", commit))
    ]
    return page.section("How it was made", page.code(commands), page.definitions(pairs))
