"""The whole page: which runs belong together, the overview above them, and the contents."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from baselines.errors import RunError
from baselines.files import atomic_bytes
from baselines.report import html
from baselines.report.about import lede
from baselines.report.group import Group, join_names, looks_of
from baselines.report.html import Entry, Section
from baselines.report.results import errors_table, significance
from baselines.report.sections import group_sections
from baselines.report.settings import MAX_PANELS, settings_panels, varied
from baselines.results.folds import FoldsMissingError
from baselines.results.rows import unique_runs
from baselines.runs.config import data_config, differing
from baselines.runs.run import Run
from baselines.tables.labels import by_label, is_reference
from baselines.tables.make import make_table
from baselines.tables.render import overview
from baselines.tables.setting_text import setting_text
from baselines.tables.table import Table
from csp_data import Dataset
from csp_data.home import expanded
from csp_data.protocol import resolve
from csp_data.terminal import count_of

__all__ = ["make_report", "write_report"]


class Key(NamedTuple):
    """What runs of one section share of their data."""

    kind: str
    name: str
    protocol: str
    recipe: str

    @property
    def task(self) -> tuple[str, str, str]:
        """The key without the recipe, of which several can be variants of one protocol."""
        return self[:3]


class Task(NamedTuple):
    """Groups of one data set, kind and name of protocol, which differ in settings alone.

    Parameters
    ----------
    groups
        In the order of the page.
    fold_tables
        A table for each cross-validation among them that some model has run on all folds of.
    without_folds
        Titles of the groups whose cross-validation no model has run on all folds of, as the sweep goes on.
    """

    groups: list[Group]
    fold_tables: list[Table]
    without_folds: list[str]


def write_report(
    runs: Sequence[Run], datasets: Sequence[Dataset], path: Path | str, *, unfinished: int = 0
) -> Path:
    """Write the page of :func:`make_report` whole or not at all (in a folder: ``index.html``); return its path."""
    path = expanded(path)
    if path.suffix not in (".html", ".htm"):
        path = path / "index.html"
    text = make_report(runs, datasets, unfinished=unfinished)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_bytes(path, text.encode(errors="backslashreplace"))  # paths can be any bytes
    return path


def make_report(runs: Sequence[Run], datasets: Sequence[Dataset], *, unfinished: int = 0) -> str:
    """Return the page: a section for each data set, protocol and recipe, under an overview of all.

    Parameters
    ----------
    runs
        Finished runs; those on the same data share a table, and no others.
    datasets
        The data of all of them (:func:`baselines.runs.collect.datasets_of`).
    unfinished
        Runs beside them that are not on the page, for the page to say so.

    Raises
    ------
    RunError
        If there is no run, or if the data of one are not there.
    """
    runs, repeated = _without_repeats(runs)
    groups = _groups(runs, datasets)
    omitted = _omitted_note(unfinished, repeated)
    if len(groups) == 1:
        return _page_of_one(groups[0], omitted)
    return _page_of_many(groups, runs, omitted)


def _groups(runs: Sequence[Run], datasets: Sequence[Dataset]) -> list[Group]:
    """Put runs on the same data together, simulated ones last; recipes of one data set after each other."""
    if not runs:
        raise RunError("A report needs at least one run. csp-baselines train makes one.")
    datasets_by_recipe = {data_config(dataset).recipe_hash: dataset for dataset in datasets}
    runs_by_key: dict[Key, list[Run]] = {}
    for run in runs:
        data = run.config.data
        key = Key(data.kind, data.name, data.protocol["name"], data.recipe_hash)
        runs_by_key.setdefault(key, []).append(run)
    for key, members in runs_by_key.items():
        if key.recipe not in datasets_by_recipe:
            raise RunError(
                f"{members[0].folder} was made with recipe {key.recipe} of {key.name}, the prepared files given "
                f"are of {', '.join(datasets_by_recipe) or 'none'}. Pass the prepared file of the runs as --data."
            )
    labels = dict.fromkeys(label for members in runs_by_key.values() for label in by_label(members))
    looks = looks_of(sorted(labels, key=_references_last))
    main_keys = _main_keys(runs_by_key, datasets_by_recipe)
    titles = {key: _title(key, main_keys, datasets_by_recipe) for key in runs_by_key}

    def order(key: Key) -> tuple[Any, ...]:
        return key.kind == "simulated", key.task, key != main_keys[key.task], _natural_key(titles[key])

    return [
        Group(
            runs_by_key[key],
            datasets_by_recipe[key.recipe],
            make_table(runs_by_key[key]),
            titles[key],
            looks,
            level=2 if len(runs_by_key) == 1 else 3,
            full=key == main_keys[key.task],
        )
        for key in sorted(runs_by_key, key=order)
    ]


def _title(
    key: Key, main_keys: Mapping[tuple[str, str, str], Key], datasets_by_recipe: Mapping[str, Dataset]
) -> str:
    """Return the data set's name, and what distinguishes the group from others of that name."""
    protocols = {protocol for _, name, protocol in main_keys if name == key.name}
    main, dataset = main_keys[key.task], datasets_by_recipe[key.recipe]
    parts = [key.name]
    if len(protocols) > 1:
        parts.append(f"protocol {key.protocol}")
    if key != main:
        parts.append(_protocol_differences(dataset, datasets_by_recipe[main.recipe]))
    else:
        parts += _fold_label(dataset)
    return ", ".join(parts)


def _fold_label(dataset: Dataset) -> list[str]:
    resplit = dataset.protocol.resplit
    return [] if resplit is None or resplit.fold is None else [setting_text("resplit", vars(resplit))]


def _natural_key(text: str) -> list[tuple[float, str]]:
    """Return a key that sorts 10 after 2."""
    return [
        (float(piece), "") if piece[:1].isdigit() else (-1.0, piece) for piece in re.split(r"(\d+\.?\d*)", text)
    ]


def _main_keys(
    runs_by_key: Mapping[Key, Sequence[Run]], datasets_by_recipe: Mapping[str, Dataset]
) -> dict[tuple[str, str, str], Key]:
    """Return the recipe that others of a protocol are variants of: as it is, of most runs, or the first fold."""

    def rank(key: Key) -> tuple[bool, int, int]:
        dataset = datasets_by_recipe[key.recipe]
        resplit = dataset.protocol.resplit
        plain = resolve(dataset.card, dataset.protocol.name).to_json() == dataset.protocol.to_json()
        return plain, len(runs_by_key[key]), 0 if resplit is None else -(resplit.fold or 0)

    tasks = {key.task for key in runs_by_key}
    return {task: max((key for key in runs_by_key if key.task == task), key=rank) for task in tasks}


def _protocol_differences(dataset: Dataset, main: Dataset) -> str:
    """Say in which few fields the protocol of a data set differs from another's."""
    own, other = (json.loads(prepared.protocol.to_json()) for prepared in (dataset, main))
    fields = differing(own, other)
    if not 0 < len(fields) <= 3:
        return f"recipe {data_config(dataset).recipe_hash}"
    return ", ".join(setting_text(name, own.get(name)) for name in fields)


def _references_last(label: str) -> tuple[bool, str]:
    return is_reference(label), label


def _page_of_one(group: Group, omitted: str) -> str:
    sections = group_sections(group, "")
    if settings_section := _settings_section([group], ""):
        sections.insert(2, settings_section)
    title = f"Sequence models on {group.table.dataset}"
    head = [f"<h1>{html.escape(title)}</h1>", lede(group), omitted]
    return html.document(title, head, sections)


def _page_of_many(groups: Sequence[Group], runs: Sequence[Run], omitted: str) -> str:
    names = list(dict.fromkeys(group.table.dataset for group in groups))
    models = dict.fromkeys(run.config.name for run in runs)
    seeds = {run.config.train.seed for run in runs}
    title = "Sequence models compared" if len(names) > 1 else f"Sequence models on {names[0]}"
    counts = (
        f"{count_of(len(runs), 'finished run')} of {count_of(len(models), 'model')} with "
        f"{count_of(len(seeds), 'seed')} on {join_names(names)}, in {count_of(len(groups), 'section')}."
    )
    separation = (
        "Simulated, real and CSP-Bench recordings never share a table, nor do two protocols or two recipes of the "
        "data"
        if len(names) > 1
        else "No two protocols or two recipes of the data share a table"
    )
    words = f"{counts} {separation}: an error on one says nothing about another."
    head = [f"<h1>{html.escape(title)}</h1>", html.paragraph(words, "lede"), omitted]
    sections: list[Section] = []
    tasks = _tasks(groups)
    if tables := _overview_tables(tasks):
        overview_entry = Entry("overview", "Overview")
        sections.append((overview_entry, html.section(overview_entry, *tables)))
    for task in tasks:
        sections += _sections_of_task(task)
    return html.document(title, head, sections)


def _sections_of_task(task: Task) -> Iterator[Section]:
    """Yield what stands above the groups of one data set and protocol, and a section for each of them."""
    groups = task.groups
    for table in task.fold_tables:
        yield _folds_section(table)
    if task.without_folds:
        text = f"{join_names(task.without_folds)}: no model has run on all folds, so they stand apart."
        yield None, html.paragraph(text)
    if settings_section := _settings_section(groups, f"{groups[0].anchor}-"):
        yield settings_section
    for group in groups:
        children, texts = zip(*group_sections(group, f"{group.anchor}-"), strict=True)
        entry = Entry(group.anchor, group.title, list(children))
        yield entry, html.section(entry, lede(group), *texts, css_class="set")


def _tasks(groups: Sequence[Group]) -> list[Task]:
    """Put groups of one data set, kind and name of protocol together."""
    by_task: dict[tuple[str, ...], list[Group]] = {}
    for group in groups:
        by_task.setdefault((group.table.kind, group.table.dataset, group.table.protocol), []).append(group)
    return [Task(same, *_fold_tables(same)) for same in by_task.values()]


def _fold_tables(groups: Sequence[Group]) -> tuple[list[Table], list[str]]:
    """Put the folds of each cross-validation among groups of a task together, as :class:`Task` has them."""
    groups_by_split: dict[str, list[Group]] = {}
    for group in groups:
        protocol = group.dataset.protocol
        if protocol.resplit is not None and protocol.resplit.fold is not None:
            first_fold = protocol.replace(resplit=dataclasses.replace(protocol.resplit, fold=0))
            groups_by_split.setdefault(first_fold.to_json(), []).append(group)
    tables: list[Table] = []
    unfinished: list[str] = []
    for fold_groups in groups_by_split.values():
        if len(fold_groups) > 1:
            try:
                tables.append(make_table([run for group in fold_groups for run in group.runs]))
            except FoldsMissingError:
                unfinished += [group.title for group in fold_groups]
    return tables, unfinished


def _folds_section(table: Table) -> tuple[Entry, str]:
    """Return the section on a cross-validation as a whole."""
    entry = Entry(f"folds-{table.dataset}-{table.recipe_hash}", f"{table.dataset}, all {table.folds} folds")
    about = (
        f"Each recording is in {table.report} of one fold: these are errors on all of them, each by a model that "
        "was neither trained nor chosen on it. The sections below show each fold."
    )
    texts = html.paragraph(about, "lede"), errors_table(table), significance(table)
    return entry, html.section(entry, *texts, css_class="set")


def _overview_tables(tasks: Sequence[Task]) -> list[str]:
    """Return a table for each kind and protocol with several data sets: the error of every model on each.

    Of several recipes of a data set the one that the others are variants of stands there (:func:`_main_keys`);
    where that is a fold, all of them put together, or none.
    """
    pages: dict[tuple[str, str], list[Table]] = {}
    for task in tasks:
        table = next(group for group in task.groups if group.full).table
        if table.fold is not None:
            if task.without_folds and not task.fold_tables:  # one fold's errors are not the data set's
                continue
            table = task.fold_tables[0] if task.fold_tables else table
        pages.setdefault((table.kind_label, table.protocol), []).append(table)
    tables_html = []
    for tables in pages.values():
        if len(tables) < 2:
            continue
        grid = overview(tables)
        rows = [
            ("", [(cell, 0.4) if (i, j) in grid.best else cell for j, cell in enumerate(row)])
            for i, row in enumerate(grid.rows)
        ]
        tables_html.append(html.table(f"{grid.heading}; the best of each column is coloured", grid.header, rows))
    return tables_html


def _settings_section(groups: Sequence[Group], prefix: str) -> tuple[Entry, str] | None:
    """Return the section on settings that runs of one data set vary, if they vary any."""
    runs = [run for group in groups for run in group.runs]
    varied_axes = varied(runs)
    if not varied_axes:
        return None
    table = groups[0].table
    looks = looks_of(sorted({run.config.name for run in runs}, key=_references_last))
    entry = Entry(f"{prefix}settings", f"What was varied on {table.dataset}")
    axis_sections = []
    for varied_axis in varied_axes:
        title = varied_axis.axis.title
        axis_entry = Entry(f"{prefix}settings-{title.lower().replace(' ', '-')}", title)
        entry.children.append(axis_entry)
        figures = html.figures(settings_panels(varied_axis, table.report, looks))
        undrawn = max(map(len, varied_axis.panels.values())) - MAX_PANELS
        note = f"Not drawn: {count_of(undrawn, 'other combination')} of the other settings."
        axis_sections.append(
            html.section(axis_entry, figures, html.paragraph(note) if undrawn > 0 else "", level=3)
        )
    about = (
        f"{table.dataset} ({table.kind_label}; protocol {table.protocol}): error on {table.report} against each "
        "setting, everything else fixed within a panel; of a cross-validation over all folds. Lines go through "
        "the means over seeds, bands are their standard deviation."
    )
    caution = (
        "Where a setting changes the rate of the targets or the reported recordings, it changes the task: there "
        "errors compare by their share of the training mean's, if at all."
    )
    return entry, html.section(entry, html.paragraph(f"{about} {caution}"), *axis_sections)


def _without_repeats(runs: Sequence[Run]) -> tuple[list[Run], int]:
    """Leave out runs that a sweep before has too, such as the unchanged one of two ablations; count them."""
    first_by_key: dict[tuple[str, str], Run] = {}
    for run in unique_runs(runs):
        first_by_key.setdefault((run.config.key, run.config.data.recipe_hash), run)
    return list(first_by_key.values()), len(runs) - len(first_by_key)


def _omitted_note(unfinished: int, repeated: int) -> str:
    """Say which runs are not on the page."""
    sentences = [
        f"Not on this page: {count_of(unfinished, 'unfinished run')}." if unfinished else "",
        f"In several of the folders, and here once: {count_of(repeated, 'run')}." if repeated else "",
    ]
    return html.paragraph(" ".join(filter(None, sentences))) if any(sentences) else ""
