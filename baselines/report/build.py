"""The whole page: which runs belong together, the overview above them, and the contents."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from baselines.files import atomic_bytes
from baselines.presets import REFERENCES
from baselines.report import html
from baselines.report.about import lede
from baselines.report.group import Group, base_name, listed, looks_of
from baselines.report.html import Place
from baselines.report.results import numbers, weights
from baselines.report.sections import pieces
from baselines.report.settings import PANELS, settings_panels, varied
from baselines.results.folds import FoldsMissingError
from baselines.results.rows import unique_runs
from baselines.runs.collect import datasets_of
from baselines.runs.run import Run, RunError, data_config
from baselines.tables.labels import by_label
from baselines.tables.render import overview
from baselines.tables.setting_text import setting_text
from baselines.tables.table import Table, make_table
from csp_data import Dataset
from csp_data.protocol import resolve

__all__ = ["datasets_of", "make_report", "write_report"]

Key = tuple[str, str, str, str]
"""Kind, name, protocol and recipe of a data set."""
FOOT = "Written by csp-baselines report. This page loads nothing from anywhere."


def write_report(
    runs: Sequence[Run], datasets: Sequence[Dataset], path: Path | str, *, unfinished: int = 0
) -> Path:
    """Write the page of :func:`make_report` whole or not at all (in a folder: ``index.html``); return its path."""
    path = Path(path)
    if path.suffix not in (".html", ".htm"):
        path = path / "index.html"
    text = make_report(runs, datasets, unfinished=unfinished)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_bytes(path, text.encode())
    return path


def make_report(runs: Sequence[Run], datasets: Sequence[Dataset], *, unfinished: int = 0) -> str:
    """Return the page: a section for each data set, protocol and recipe, under an overview of all.

    Parameters
    ----------
    runs
        Finished runs; those on the same data share a table, and no others.
    datasets
        The data of all of them (:func:`datasets_of`).
    unfinished
        Runs beside them that are not on the page, for the page to say so.

    Raises
    ------
    RunError
        If there is no run, or if the data of one are not there.
    """
    runs, twice = _once(runs)
    groups = _groups(runs, datasets)
    left = _left(unfinished, twice)
    if len(groups) == 1:
        return _single(groups[0], left)
    return _several(groups, runs, left)


def _groups(runs: Sequence[Run], datasets: Sequence[Dataset]) -> list[Group]:
    """Put runs on the same data together, simulated ones last; recipes of one data set after each other."""
    if not runs:
        raise RunError("A report needs at least one run. csp-baselines train makes one.")
    held = {data_config(dataset).recipe_hash: dataset for dataset in datasets}
    found: dict[Key, list[Run]] = {}
    for run in runs:
        data = run.config.data
        key = (data.kind, data.name, data.protocol["name"], data.recipe_hash)
        found.setdefault(key, []).append(run)
    for (_, name, _, recipe), members in found.items():
        if recipe not in held:
            raise RunError(
                f"{members[0].folder} was made with recipe {recipe} of {name}, the prepared files given are of "
                f"{', '.join(held) or 'none'}. Pass the prepared file of the runs as --data."
            )
    labels = dict.fromkeys(label for members in found.values() for label in by_label(members))
    looks, mains = looks_of(sorted(labels, key=_order)), _mains(found, held)
    titles = {key: _title(key, mains, held) for key in found}
    order = sorted(
        found, key=lambda key: (key[0] == "simulated", key[:3], key != mains[key[:3]], _natural(titles[key]))
    )
    level = 2 if len(found) == 1 else 3
    return [
        Group(found[key], held[key[3]], make_table(found[key]), titles[key], looks, level, key == mains[key[:3]])
        for key in order
    ]


def _title(key: Key, mains: Mapping[tuple[str, str, str], Key], held: Mapping[str, Dataset]) -> str:
    """Return the data set's name, and what distinguishes the group from others of that name."""
    protocols = {protocol for _, name, protocol in mains if name == key[1]}
    main = mains[key[:3]]
    return ", ".join(
        [
            key[1],
            *([f"protocol {key[2]}"] if len(protocols) > 1 else []),
            *([_apart(held[key[3]], held[main[3]])] if key != main else _fold(held[key[3]])),
        ]
    )


def _fold(dataset: Dataset) -> list[str]:
    resplit = dataset.protocol.resplit
    return [] if resplit is None or resplit.fold is None else [setting_text("resplit", vars(resplit))]


def _natural(text: str) -> list[tuple[float, str]]:
    """Return a key that sorts 10 after 2."""
    return [
        (float(piece), "") if piece[:1].isdigit() else (-1.0, piece) for piece in re.split(r"(\d+\.?\d*)", text)
    ]


def _mains(found: Mapping[Key, Sequence[Run]], held: Mapping[str, Dataset]) -> dict[tuple[str, str, str], Key]:
    """Return the recipe that others of a protocol are variants of: as it is, of most runs, or the first fold."""

    def rank(key: Key) -> tuple[bool, int, int]:
        dataset = held[key[3]]
        resplit = dataset.protocol.resplit
        plain = resolve(dataset.card, dataset.protocol.name).to_json() == dataset.protocol.to_json()
        return plain, len(found[key]), 0 if resplit is None else -(resplit.fold or 0)

    return {alike: max((k for k in found if k[:3] == alike), key=rank) for alike in {key[:3] for key in found}}


def _apart(dataset: Dataset, main: Dataset) -> str:
    """Say in which few fields the protocol of a data set differs from another's."""
    own, other = (json.loads(one.protocol.to_json()) for one in (dataset, main))
    fields = sorted(name for name in own.keys() | other if own.get(name) != other.get(name))
    few = 0 < len(fields) <= 3
    return ", ".join(setting_text(name, own.get(name)) for name in fields) if few else _recipe(dataset)


def _recipe(dataset: Dataset) -> str:
    return f"recipe {data_config(dataset).recipe_hash}"


def _order(label: str) -> tuple[bool, str]:
    return base_name(label) in REFERENCES, label


def _single(group: Group, left: str) -> str:
    places, texts = pieces(group, "")
    if found := _varied([group], "", 2):
        places.insert(2, found[0])
        texts.insert(2, found[1])
    title = f"Sequence models on {group.table.dataset}"
    head = [f"<h1>{html.escape(title)}</h1>", lede(group), left]
    return html.document(title, head, texts, places, FOOT)


def _several(groups: Sequence[Group], runs: Sequence[Run], left: str) -> str:
    names = list(dict.fromkeys(group.table.dataset for group in groups))
    models = dict.fromkeys(run.config.name for run in runs)
    seeds = {run.config.train.seed for run in runs}
    title = "Sequence models compared" if len(names) > 1 else f"Sequence models on {names[0]}"
    about = (
        f"{len(runs)} finished runs of {len(models)} models with {len(seeds)} seed{'s' * (len(seeds) > 1)} "
        f"on {listed(names)}, in {len(groups)} sections."
    )
    apart = (
        "Simulated, real and CSP-Bench recordings never share a table, nor do two protocols or two recipes of the "
        "data"
        if len(names) > 1
        else "No two protocols or two recipes of the data share a table"
    )
    words = f"{about} {apart}: an error on one says nothing about another."
    head = [f"<h1>{html.escape(title)}</h1>", html.paragraph(words, "lede"), left]
    places, texts = [], []
    if tables := _overviews(groups):
        places.append(Place("overview", "Overview"))
        texts.append(html.section(places[0], *tables))
    for alike in _alike(groups):
        together, separate = _across_folds(alike)
        for table in together:
            made = _folds(table)
            places.append(made[0])
            texts.append(made[1])
        if separate:
            texts.append(
                html.paragraph(f"{listed(separate)}: no model has run on all folds, so they stand apart.")
            )
        if found := _varied(alike, f"{alike[0].anchor}-", 2):
            places.append(found[0])
            texts.append(found[1])
        for group in alike:
            inside, inner = pieces(group, f"{group.anchor}-")
            place = Place(group.anchor, group.title, inside)
            places.append(place)
            texts.append(html.section(place, lede(group), *inner, kind="set"))
    return html.document(title, head, texts, places, FOOT)


def _alike(groups: Sequence[Group]) -> list[list[Group]]:
    """Put groups of one data set, kind and name of protocol together: they differ in settings alone."""
    found: dict[tuple[str, ...], list[Group]] = {}
    for group in groups:
        found.setdefault((group.table.kind, group.table.dataset, group.table.protocol), []).append(group)
    return list(found.values())


def _across_folds(groups: Sequence[Group]) -> tuple[list[Table], list[str]]:
    """Put the folds of each cross-validation among groups of one data set and protocol together.

    Returns
    -------
    tables
        One for each that some model has run on all folds of.
    apart
        Titles of the groups of which no table can be made, as their sweep goes on.
    """
    found: dict[str, list[Group]] = {}
    for group in groups:
        protocol = group.dataset.protocol
        if protocol.resplit is not None and protocol.resplit.fold is not None:
            alike = protocol.replace(resplit=dataclasses.replace(protocol.resplit, fold=0))
            found.setdefault(alike.to_json(), []).append(group)
    tables: list[Table] = []
    apart: list[str] = []
    for its in found.values():
        if len(its) > 1:
            try:
                tables.append(make_table([run for group in its for run in group.runs]))
            except FoldsMissingError:
                apart += [group.title for group in its]
    return tables, apart


def _folds(table: Table) -> tuple[Place, str]:
    """Return the section on a cross-validation as a whole."""
    place = Place(f"folds-{table.dataset}-{table.recipe_hash}", f"{table.dataset}, all {table.folds} folds")
    about = (
        f"Each recording is in {table.report} of one fold: these are errors on all of them, each by a model that "
        "was neither trained nor chosen on it. The sections below show each fold."
    )
    return place, html.section(place, html.paragraph(about, "lede"), numbers(table), weights(table), kind="set")


def _overviews(groups: Sequence[Group]) -> list[str]:
    """Return a table for each kind and protocol with several data sets: the error of every model on each.

    Of several recipes of a data set the one that the others are variants of stands there (:func:`_mains`); folds
    stand there put together, or not at all.
    """
    pages: dict[tuple[str, str], list[Table]] = {}
    for alike in _alike(groups):
        main = next(group for group in alike if group.full).table
        whole, apart = _across_folds(alike)
        if apart and not whole:  # one fold's errors are not the data set's
            continue
        table = whole[0] if whole else main
        pages.setdefault((main.kind_label, main.protocol), []).append(table)
    made = []
    for tables in pages.values():
        if len(tables) < 2:
            continue
        grid = overview(tables)
        rows = [
            ("", [(cell, 0.4) if (i, j) in grid.best else cell for j, cell in enumerate(row)])
            for i, row in enumerate(grid.rows)
        ]
        made.append(html.table(f"{grid.heading}; the best of each column is coloured", grid.header, rows))
    return made


def _varied(groups: Sequence[Group], prefix: str, level: int) -> tuple[Place, str] | None:
    """Return the section on settings that runs of one data set vary, if they vary any."""
    runs = [run for group in groups for run in group.runs]
    found = varied(runs)
    if not found:
        return None
    table = groups[0].table
    looks = looks_of(sorted({run.config.name for run in runs}, key=_order))
    place = Place(f"{prefix}settings", f"What was varied on {table.dataset}")
    pieces_ = []
    for one in found:
        inner = Place(f"{prefix}settings-{one.axis.title.lower().replace(' ', '-')}", one.axis.title)
        place.inside.append(inner)
        drawn = settings_panels(one, table.report, looks)
        more = max(map(len, one.panels.values())) - PANELS
        pieces_.append(
            html.section(
                inner,
                html.figures(drawn),
                html.paragraph(f"{more} more combinations of the other settings are not drawn.")
                if more > 0
                else "",
                level=level + 1,
            )
        )
    about = (
        f"{table.dataset} ({table.kind_label}; protocol {table.protocol}): error on {table.report} against each "
        "setting, everything else fixed within a panel. Lines go through the means over seeds, bands are their "
        "standard deviation."
    )
    caution = (
        "Where a setting changes the rate of the targets or the reported recordings, it changes the task: there "
        "errors compare by their share of the training mean's, if at all."
    )
    return place, html.section(place, html.paragraph(f"{about} {caution}"), *pieces_, level=level)


def _once(runs: Sequence[Run]) -> tuple[list[Run], int]:
    """Leave out runs that a sweep before has too, such as the unchanged one of two ablations; count them."""
    first: dict[tuple[str, str], Run] = {}
    for run in unique_runs(runs):
        first.setdefault((run.config.key, run.config.data.recipe_hash), run)
    return list(first.values()), len(runs) - len(first)


def _left(unfinished: int, twice: int) -> str:
    """Say which runs are not on the page."""
    said_ = [
        f"{unfinished} more runs are unfinished and not on this page." if unfinished else "",
        f"{twice} runs are in several of the folders and stand here once." if twice else "",
    ]
    return html.paragraph(" ".join(filter(None, said_))) if any(said_) else ""
