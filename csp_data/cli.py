"""The command line: ``csp-data``."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

import csp_data
from csp_data import api
from csp_data.acquire.nearby import without_other_simulations
from csp_data.acquire.rawtree import raw_kind, raw_root
from csp_data.card import Card, load_card
from csp_data.commands.acquire import download, import_, verify
from csp_data.commands.base import Commands, examples, report, run
from csp_data.commands.bench import bench
from csp_data.commands.clean import clean
from csp_data.commands.completion import completion
from csp_data.commands.doctor import doctor
from csp_data.commands.export import export
from csp_data.commands.options import (
    is_prepared,
    json_option,
    load_named,
    name_argument,
    optional_name_argument,
    protocol_options,
    raw_option,
    skip_damaged_option,
)
from csp_data.commands.own import check, files, new
from csp_data.commands.plot import plot
from csp_data.commands.simulate import simulate
from csp_data.commands.view import view
from csp_data.dataset import Dataset
from csp_data.describe.text import plain_text
from csp_data.errors import OptionError, StoreError
from csp_data.home import home, prepared_dir, prepared_files_of
from csp_data.output import output_path
from csp_data.sources import find_in
from csp_data.terminal import count_of, loudness, wrapped

__all__ = ["cli", "main"]


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        "csp-data list",
        "csp-data verify sample",
        "csp-data prepare sample --lowpass 5 --phase causal",
        "csp-data plot sample -o sample.png",
    ),
)
@click.version_option(csp_data.__version__, prog_name="csp-data")
def cli() -> None:
    """Get, check, prepare, look at and export sensor recordings.

    Exit codes: 0 done, 1 failed, 2 usage, 3 verification failed, 4 a person is needed (licence, password, a file
    or host that is gone).
    """


@cli.command("list", epilog=examples("csp-data list", "csp-data list --json"))
@json_option
def list_(as_json: bool) -> None:
    """List the data sets."""
    cards = [load_card(name) for name in csp_data.names()]
    rows = [{"name": c.name, "kind": c.kind, "title": c.title, "licence": c.licence.id} for c in cards]
    width = max(len(card.name) for card in cards)
    lines = [f"{card.name:<{width}}  {card.title}  [{card.kind}, {card.licence.id}]" for card in cards]
    report(rows, "\n".join(wrapped(line, hang=width + 2) for line in lines), as_json=as_json)


@cli.command(epilog=examples("csp-data info vector", "csp-data info sample --prepared --json"))
@name_argument
@raw_option
@click.option("--prepared", is_flag=True, help="Also say what the prepared file holds, preparing it if needed.")
@click.option("--skip-damaged", is_flag=True, help="With --prepared: leave damaged recordings out.")
@click.option("--croissant", is_flag=True, help="Print the card as Croissant 1.0 (JSON-LD).")
@json_option
@protocol_options
def info(
    name: str,
    raw: Path | None,
    prepared: bool,
    skip_damaged: bool,
    croissant: bool,
    as_json: bool,
    protocol: str | None,
    changes: dict[str, Any],
) -> None:
    """Print a data set's card: sensors, units, licence.

    NAME is a data set, a folder with a card, or a prepared file (.h5).
    """
    if croissant:
        report(api.croissant(name), "", as_json=True)
        return
    dataset = None
    if not (prepared or is_prepared(name)) and (protocol is not None or changes or skip_damaged):
        raise click.UsageError("Options of the protocol, and --skip-damaged, need --prepared.")
    if is_prepared(name):
        dataset = load_named(name, raw, protocol, changes)
    elif prepared:
        dataset = api.load(name, raw=raw, protocol=protocol, skip_damaged=skip_damaged, **changes)
    card = load_card(name) if dataset is None else dataset.card
    if as_json:
        files = {"files": [str(before.path) for before in _made_before(card.name)]}
        report({"card": card.to_dict(), "prepared": dataset and _summary(dataset), **files}, "", as_json=True)
        return
    click.echo(wrapped(plain_text(card, card.kind if dataset is None else dataset.kind)))
    for line in _describe_files(card, raw) if dataset is None else _describe_prepared(dataset):
        click.echo(wrapped(line))


def _describe_files(card: Card, raw: Path | None) -> Iterator[str]:
    """Say how many recordings are there, and which prepared files of the data set the home has."""
    root = raw_root(card, raw)
    count = len(without_other_simulations(card, root, find_in(card, root))) if root.is_dir() else 0
    kind = " (simulated)" if count and raw_kind(card, root) == "simulated" else ""
    yield f"Found: {count_of(count, 'recording') if count else 'no recordings'}{kind} in {root}"
    made_before = _made_before(card.name)
    option = "" if raw is None else f" --raw {shlex.quote(str(raw))}"
    yield "Prepared:" if made_before else f"Prepared: nothing yet (csp-data prepare {card.typed}{option})"
    for dataset in made_before:
        yield f"  {dataset}\n    {_counts(dataset)}\n    {dataset.path}"


def _describe_prepared(dataset: Dataset) -> Iterator[str]:
    """Say what a prepared file holds: its parts, and what was repaired or left out."""
    summary = _summary(dataset)
    yield f"\nPrepared: {dataset.path}\n  {dataset}"
    for part, row in summary["parts"].items():
        episodes, groups = count_of(row["episodes"], "episode"), count_of(len(row["groups"]), "group")
        yield f"  {part:<6} {episodes}, {row['minutes']:.1f} min, {groups}"
    yield f"  {_counts(dataset)}"
    for what, count in summary["provenance"]["counts"].items():
        yield f"  {count} x {what}"
    used = {row.recording for row in dataset.episodes}
    notes = summary["provenance"]["notes"]
    listed = [note for note in notes if note["kind"] != "repair" or note["recording"] not in used]
    for note in listed[:LISTED]:
        yield f"    {note['recording']}: {note['what']}{': ' + note['detail'] if note['detail'] else ''}"
    if len(listed) > LISTED:
        yield f"    and {len(listed) - LISTED} more (--json lists all)"
    files = dataset.card.files
    if files and (missing := summary["provenance"]["missing"]):
        yield f"  {len(missing)} of {len(files)} files are not here"


def _made_before(name: str) -> list[Dataset]:
    """Return the files of a data set in the home, the newest first; one that cannot be read is passed over."""
    found = []
    for file in prepared_files_of(name):
        try:
            dataset = Dataset(file)
        except StoreError as error:
            logging.getLogger(__name__).warning("%s", error)
            continue
        found += [dataset] if dataset.name == name else []
    return found


def _counts(dataset: Dataset) -> str:
    """Say how many recordings the publisher promises, were found, and went into the prepared file."""
    counted = dataset.provenance["recordings"]
    promised = "" if counted["promised"] is None else f"{count_of(counted['promised'], 'recording')} promised, "
    no_part = f", {counted['in_no_part']} in no part of the split" if counted["in_no_part"] else ""
    return f"{promised}{counted['found']} found, {counted['used']} used{no_part}"


LISTED = 20
"""Recordings left out, skipped or to be looked at that ``info --prepared`` names; the others are counted."""


def _summary(dataset: Dataset) -> dict[str, Any]:
    parts = {
        part: {
            "episodes": len(dataset.split(part)),
            "minutes": dataset.split(part).seconds / 60,
            "groups": sorted(dataset.split(part).groups),
        }
        for part in dataset.parts
    }
    return {"path": str(dataset.path), "parts": parts, "provenance": dataset.provenance}


@cli.command(
    epilog=examples(
        "csp-data prepare sample",
        "csp-data prepare vector --raw trees/vector --protocol paper --lowpass 0.75 --phase zero -o vector.h5",
    )
)
@name_argument
@raw_option
@click.option("-o", "--out", type=click.Path(path_type=Path), help="File to write [default: in the home].")
@click.option(
    "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Recordings prepared at once."
)
@skip_damaged_option
@json_option
@protocol_options
def prepare(
    name: str,
    raw: Path | None,
    out: Path | None,
    jobs: int,
    skip_damaged: bool,
    protocol: str | None,
    as_json: bool,
    changes: dict[str, Any],
) -> None:
    """Prepare a data set as one HDF5 file, and print its path.

    Raw files are verified, aligned, resampled, filtered and split. A file that the
    same recipe has made is kept as it is, unless it is damaged.
    """
    if out is not None and output_path(out) and not is_prepared(out.name):  # a folder is told first
        raise OptionError(
            "out", str(out), "a file that ends in .h5 or .hdf5", "csp-data export writes other formats."
        )
    path = api.prepare(
        name,
        raw=raw,
        protocol=protocol,
        out=out,
        jobs=jobs,
        progress=loudness.get().progress,
        skip_damaged=skip_damaged,
        **changes,
    )
    if as_json:
        dataset = Dataset(path)
        header, made = dataset.prepared.index.header, dataset.provenance
        row = {"path": path, "dataset": header.dataset, "protocol": json.loads(header.protocol)}
        row |= {"recipe_hash": header.recipe_hash, "bytes": path.stat().st_size}
        report({**row, "recordings": made["recordings"], "counts": made["counts"]}, "", as_json=True)
    else:
        click.echo(path)


@cli.command(
    epilog=examples("csp-data cite broad", "csp-data cite > references.bib", "csp-data cite --format cff")
)
@optional_name_argument
@click.option(
    "--format",
    "form",
    type=click.Choice(["bibtex", "cff"]),
    default="bibtex",
    show_default=True,
    help="BibTeX, or CITATION.cff.",
)
@json_option
def cite(name: str | None, form: str, as_json: bool) -> None:
    """Print how to cite the toolkit, HiSS and a data set."""
    text = api.cite(name, form)
    report({"name": name, form: text}, text.rstrip("\n"), as_json=as_json)


@cli.command(epilog=examples("csp-data path", "csp-data path broad", "csp-data path --prepared"))
@optional_name_argument
@click.option("--prepared", is_flag=True, help="Print the folder of prepared files instead.")
@json_option
def path(name: str | None, prepared: bool, as_json: bool) -> None:
    """Print a folder: the home, or that of a set's raw files."""
    where = prepared_dir() if prepared else home() if name is None else raw_root(load_card(name), None)
    report({"path": where}, str(where), as_json=as_json)


for command in (
    bench,
    check,
    clean,
    completion,
    doctor,
    download,
    export,
    files,
    import_,
    new,
    plot,
    simulate,
    verify,
    view,
):
    cli.add_command(command)


def main() -> None:
    """Entry point of ``csp-data``."""
    run(cli)


if __name__ == "__main__":
    main()
