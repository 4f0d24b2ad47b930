"""The command line: ``csp-data``."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import click

import csp_data
from csp_data import api
from csp_data.card import Card, load_card
from csp_data.commands import acquire
from csp_data.commands.export import export
from csp_data.commands.options import json_option, name_argument, overrides, protocol_options, raw_option
from csp_data.commands.plot import plot
from csp_data.commands.simulate import simulate
from csp_data.dataset import Dataset
from csp_data.errors import CspDataError
from csp_data.home import home, prepared_dir
from csp_data.prepare import raw_root

__all__ = ["cli", "main"]


class _Failure(click.ClickException):
    """An error of ours, on one line, with its exit code."""

    def __init__(self, error: CspDataError) -> None:
        super().__init__(str(error))
        self.exit_code = error.exit_code  # type: ignore[misc]  # click reads it from the instance


class _Commands(click.Group):
    """A group whose commands end with our exit codes: 1 failed, 2 usage, 3 verification, 4 needs a person."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CspDataError as error:
            raise _Failure(error) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(csp_data.__version__, prog_name="csp-data")
@click.option("-v", "--verbose", is_flag=True, help="Say more.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bars, only errors.")
@click.pass_context
def cli(ctx: click.Context, verbose: bool, quiet: bool) -> None:
    """Sensor recordings for continuous sequence-to-sequence prediction.

    \b
    Examples:
      csp-data list
      csp-data verify sample
      csp-data prepare sample --lowpass 5 --phase causal
      csp-data plot sample -o sample.png
    """
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING,
        format="%(levelname)s: %(message)s",
        stream=sys.stderr,
        force=True,
    )
    ctx.obj = {"progress": not quiet and sys.stderr.isatty(), "notes": not quiet}


@cli.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the data sets."""
    cards = [load_card(name) for name in csp_data.names()]
    if as_json:
        rows = [{"name": c.name, "kind": c.kind, "title": c.title, "licence": c.licence.id} for c in cards]
        click.echo(json.dumps(rows, indent=2))
        return
    width = max(len(card.name) for card in cards)
    for card in cards:
        click.echo(f"{card.name:<{width}}  {card.title}  [{card.kind}, {card.licence.id}]")


@cli.command()
@name_argument
@raw_option
@click.option("--prepared", is_flag=True, help="Also say what the prepared file holds, preparing it if needed.")
@click.option("--skip-damaged", is_flag=True, help="With --prepared: the file made without damaged recordings.")
@json_option
@protocol_options
def info(
    name: str,
    raw: Path | None,
    prepared: bool,
    skip_damaged: bool,
    as_json: bool,
    protocol: str | None,
    **options: Any,
) -> None:
    """Print the card of a data set, and what its prepared file really holds."""
    card = load_card(name)
    dataset = None
    if prepared:
        dataset = api.load(name, raw=raw, protocol=protocol, skip_damaged=skip_damaged, **overrides(options))
    if as_json:
        click.echo(json.dumps({"card": card.to_dict(), "prepared": dataset and _held(dataset)}, indent=2))
        return
    click.echo(_describe(card))
    if dataset is not None:
        held = _held(dataset)
        click.echo(f"\nPrepared: {dataset.path}\n  {dataset}")
        for part, row in held["parts"].items():
            click.echo(
                f"  {part:<6} {row['episodes']} episodes, {row['minutes']:.1f} min, {len(row['groups'])} groups"
            )
        counted = held["provenance"]["recordings"]
        promised = "" if counted["promised"] is None else f"{counted['promised']} recordings promised, "
        click.echo(f"  {promised}{counted['found']} found, {counted['used']} used")
        for what, count in held["provenance"]["counts"].items():
            click.echo(f"  {count} x {what}")
        listed = [note for note in held["provenance"]["notes"] if note["kind"] != "repair"]
        for note in listed[:LISTED]:
            click.echo(f"    {note['recording']}: {note['what']}{': ' + note['detail'] if note['detail'] else ''}")
        if len(listed) > LISTED:
            click.echo(f"    and {len(listed) - LISTED} more (--json lists all)")
        if card.files and (missing := held["provenance"]["missing"]):
            click.echo(f"  {len(missing)} of {len(card.files)} files are not here")


LISTED = 20
"""Recordings left out, skipped or to be looked at that ``info --prepared`` names; the others are counted."""


def _held(dataset: Dataset) -> dict[str, Any]:
    parts = {
        part: {
            "episodes": len(dataset.split(part)),
            "minutes": dataset.split(part).seconds / 60,
            "groups": sorted(dataset.split(part).groups),
        }
        for part in dataset.parts
    }
    return {"path": str(dataset.path), "parts": parts, "provenance": dataset.provenance}


def _describe(card: Card) -> str:
    lines = [
        f"{card.name}: {card.title}",
        f"({card.kind})",
        "",
        *card.summary.strip().splitlines(),
        "",
        "Streams:",
    ]
    for stream in card.streams:
        optional = "" if stream.default else ", optional"
        lines.append(
            f"  {stream.name} ({stream.role}{optional}): {', '.join(stream.channels)} in {stream.unit}, "
            f"{stream.rate_hz:g} Hz; frame: {stream.frame}"
        )
    lines += ["Targets:", *(f"  {t.name}: {', '.join(t.channels)} in {t.unit}. {t.summary}" for t in card.targets)]
    for protocol, lists in card.splits.items():
        shares = ", ".join(
            f"{part} {lists.shares[part]:.0%}" if lists.shares else f"{part} {len(getattr(lists, part))}"
            for part in lists.parts
        )
        lines.append(f"Split {protocol} ({lists.rule}): {shares}{' of the' if lists.shares else ''} recordings")
    lines += ["Known defects:", *(f"  - {defect}" for defect in card.defects)] if card.defects else []
    lines += [f"Licence: {card.licence.name} ({card.licence.url}). {card.licence.terms}"]
    lines += [f"Cite: {card.citation.text} doi:{card.citation.doi}", f"Get it: {' '.join(card.obtain.split())}"]
    return "\n".join(lines)


@cli.command()
@name_argument
@raw_option
@click.option("--deep", is_flag=True, help="Read every byte again and open every recording.")
@click.option("--present", is_flag=True, help="Do not count files that are not there as failed.")
@click.option("--lock", type=click.Path(path_type=Path), help="Lock file [default: in the raw folder].")
@json_option
@click.pass_context
def verify(
    ctx: click.Context, name: str, raw: Path | None, deep: bool, present: bool, lock: Path | None, as_json: bool
) -> None:
    """Say which raw files are there and whether they can be trusted (exit code 3 when one fails)."""
    report = api.verify(name, raw=raw, deep=deep, lock=lock)
    failures = [file for file in report.failures if not (present and file.status == "missing")]
    if as_json:
        click.echo(json.dumps({**report.to_dict(), "ok": not failures}, indent=2))
    else:
        click.echo(report.summary())
        for file in failures:
            click.echo(f"  {file}", err=True)
        for file in report.files:
            if file.status in ("extra", "unlisted") and ctx.find_root().obj["notes"]:
                click.echo(f"  {file}", err=True)
    if failures:
        ctx.exit(3)


@cli.command()
@name_argument
@raw_option
@click.option("-o", "--out", type=click.Path(path_type=Path), help="File to write [default: in the home].")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Recordings read at once.")
@click.option("--skip-damaged", is_flag=True, help="Go on without damaged recordings, and list them.")
@protocol_options
def prepare(
    name: str,
    raw: Path | None,
    out: Path | None,
    jobs: int,
    skip_damaged: bool,
    protocol: str | None,
    **options: Any,
) -> None:
    """Verify, align, resample, filter, split and write one HDF5 file; prints its path."""
    progress = click.get_current_context().find_root().obj["progress"]
    changes = overrides(options)
    path = api.prepare(
        name,
        raw=raw,
        protocol=protocol,
        out=out,
        jobs=jobs,
        progress=progress,
        skip_damaged=skip_damaged,
        **changes,
    )
    click.echo(path)


@cli.command()
@click.argument("name", required=False)
def cite(name: str | None) -> None:
    """Print BibTeX: the toolkit, HiSS, and the data set's own entry."""
    click.echo(api.cite(name), nl=False)


@cli.command()
@click.argument("name", required=False)
@click.option("--prepared", is_flag=True, help="The folder of prepared files instead of the raw one.")
def path(name: str | None, prepared: bool) -> None:
    """Print where things live: the home, or the folder of a data set's raw files."""
    if prepared:
        click.echo(prepared_dir())
    else:
        click.echo(home() if name is None else raw_root(load_card(name), None))


for command in (acquire.download, acquire.import_, acquire.clean, acquire.bench, simulate, plot, export):
    cli.add_command(command)


def main() -> None:
    """Entry point of ``csp-data``."""
    cli(prog_name="csp-data")


if __name__ == "__main__":
    main()
