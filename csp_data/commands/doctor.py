"""The command ``doctor``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from csp_data.card import names
from csp_data.commands.base import Command, examples, report
from csp_data.commands.options import json_option
from csp_data.doctor import examine
from csp_data.terminal import amount, count_of

__all__ = ["doctor"]


@click.command(cls=Command, epilog=examples("csp-data doctor", "csp-data doctor --json > doctor.json"))
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Report what is installed and stored, and what is wrong.

    Versions, extras, device, disk, data, and what can be reclaimed.

    Changes nothing. Exit code 1 when something is wrong.
    """
    found = examine()
    report(found, "\n".join(_lines(found)), as_json=as_json)
    for problem in found["problems"]:
        click.echo(f"Problem: {problem}", err=True)
    if found["problems"]:
        ctx.exit(1)


def _lines(found: dict[str, Any]) -> Iterator[str]:
    environment, home = found["environment"], found["home"]
    yield f"csp-data {environment['csp_data']} in {environment['location']}"
    python = f"Python {environment['python']} ({environment['executable']})"
    usable, cpus = environment["cpus_usable"], environment["cpus"]
    share = "" if usable == cpus else f", of which this process may use {usable}"
    yield f"{python}, {environment['platform']}, {cpus} processors{share}"
    yield ", ".join(f"{name} {version or 'MISSING'}" for name, version in environment["packages"].items())
    yield "\nExtras:"
    for extra, row in found["extras"].items():
        state = "complete" if row["complete"] else f"missing {', '.join(row['missing'])}"
        hint = "" if row["complete"] else f"  (pip install 'csp-data[{extra}]')"
        yield f"  {extra:<10} {state}{hint}"
    for name, section in found["plugins"].items():
        yield f"\n{name}:"
        yield from (f"  {key}: {_short(value)}" for key, value in section.items())
    yield f"\nHome: {home['path']} ({home['chosen_by']}{'' if home['exists'] else ', not made yet'})"
    free, total = amount(home["disk_free_bytes"]), amount(home["disk_total_bytes"])
    yield f"  {amount(home['bytes'])} used, {free} of {total} free on its disk"
    network = found["network"]
    yield "  network: off (CSP_DATA_OFFLINE)" if network["offline"] else "  network: used when asked for"
    yield from (f"  {key}: {network[key]}" for key in ("CSP_DATA_MIRROR", "CSP_DATA_REROUTE") if network[key])
    yield "\nRaw files:"
    for row in found["datasets"]:
        ships = ", ships with csp-data" if row["ships"] else ""
        yield f"  {row['name']:<14} {count_of(row['files'], 'file')}, {amount(row['bytes'])}{ships}: {row['path']}"
    yield "\nPrepared files:" if found["prepared"] else "\nPrepared files: none"
    for row in found["prepared"]:
        size = amount(row["bytes"])
        unknown = "" if row["dataset"] in (None, *names()) else ", of a folder or plugin that is not registered"
        yield f"  {row['dataset'] or 'unusable':<14} {row['protocol']}, {size}{unknown}: {row['path']}"
    yield "\nCan be reclaimed:" if found["reclaimable"] else "\nCan be reclaimed: nothing"
    for row in found["reclaimable"]:
        yield f"  {amount(row['bytes'])}: {row['what']} ({row['command']})"


def _short(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(inner)}" for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return str(value)
