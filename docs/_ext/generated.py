"""Pages that are made from the code when the site is built, so that they cannot say anything else than it does.

Written to ``docs/generated`` before Sphinx looks for pages; a file is touched only when its text changes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import os
import re
import runpy
import shutil
import textwrap
from pathlib import Path
from typing import Any

import sphinx.application
from numpydoc.docscrape import NumpyDocString

import csp_data
from csp_data.describe.text import comparison, markdown

Pages = dict[str, str]


def _cards() -> Pages:
    """Return a page for each data set, and one that compares them."""
    cards = [csp_data.info(name) for name in csp_data.names()]
    pages = {f"card-{card.name}.md": markdown(card) for card in cards}
    pages["fragments/tasks.md"] = _tasks(cards)
    pages["fragments/cards.md"] = comparison(cards, link="generated/card-{name}.md")
    return pages


def _tasks(cards: list[csp_data.Card]) -> str:
    """Return a table: what is measured, what is asked for, in which units and frames."""
    rows = ["| set | inputs | target (the card's first) |", "| --- | --- | --- |"]
    for card in cards:
        inputs = "; ".join(
            f"{stream.name} in {stream.unit}, {stream.frame}"
            for stream in card.streams
            if stream.role == "input" and stream.default
        )
        target = card.targets[0]
        units = ", ".join(dict.fromkeys(target.units or (target.unit,)))
        rows.append(f"| [{card.name}](generated/card-{card.name}.md) | {inputs} | {target.summary} In {units}. |")
    return "\n".join(rows) + "\n"


def _fields() -> Pages:
    """Return the table of all fields of a protocol: type, default, both protocols, and what it means."""
    described = NumpyDocString(inspect.getdoc(csp_data.Protocol) or "")["Parameters"]
    meaning = {name.strip(): " ".join(row.desc) for row in described for name in row.name.split(",")}
    blocks = []
    for field in dataclasses.fields(csp_data.Protocol):
        if field.name == "changed":
            continue
        if field.name not in meaning:
            raise RuntimeError(f"csp_data.Protocol: field {field.name!r} has no description")
        strict, paper = (getattr(protocol, field.name) for protocol in (csp_data.STRICT, csp_data.PAPER))
        text = re.sub(r":\w+:`[.~]*([^`]+)`", r"`\1`", meaning[field.name].replace("``", "`"))
        blocks.append(
            f"(field-{field.name.replace('_', '-')})=\n## `{field.name}`\n\n`{field.type}`; "
            f"`strict`: `{strict!r}`, `paper`: `{paper!r}`\n\n{text}\n"
        )
    return {"fragments/protocol.md": "\n".join(blocks)}


def _baselines() -> Pages:
    """Return the help of ``csp-baselines`` and of each of its commands, as they print it."""
    os.environ.update(NO_COLOR="1", COLUMNS="84", TERM="dumb")
    from baselines import cli

    blocks = []
    for name in ("", *cli.commands()):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            cli.main([*([name] if name else []), "--help"])
        text = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
        lines = "\n".join(_wrapped(line.rstrip()) for line in text.strip().splitlines())
        title = f"csp-baselines {name}".strip()
        blocks.append(f"## {title}\n\n```text\n$ {title} --help\n{lines}\n```\n")
    return {"fragments/csp-baselines.md": "\n".join(blocks)}


def _wrapped(line: str) -> str:
    """Break a paragraph, which stands in one line, as a terminal would; leave examples and tables as they are."""
    return line if line.startswith((" ", "usage")) else textwrap.fill(line, 84)


def _pictures() -> Pages:
    """Return the pictures of the modules, drawn from their imports, and those of the explanations."""
    scripts = Path(__file__).parents[2] / "scripts"
    names = runpy.run_path(str(scripts / "make_architecture.py"))
    drawn = runpy.run_path(str(scripts / "make_pictures.py"), run_name="make_pictures")["svgs"]()
    modules = {f"architecture-{package}.svg": names["svg"](package) for package in names["COLUMNS"]}
    return modules | {f"{name}.svg": drawn[name] for name in drawn}


def _write(app: sphinx.application.Sphinx) -> None:
    folder = Path(app.srcdir) / "generated"
    pages = {**_cards(), **_fields(), **_baselines(), **_pictures()}
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for page in folder.glob("*.md"):
        if page.name not in pages:
            page.unlink()  # of a data set that is gone


def _forget_moved_names(app: sphinx.application.Sphinx, config: object) -> None:
    """Let autosummary write all pages anew: one of a name that has moved would stay, and be an error."""
    shutil.rmtree(Path(app.srcdir) / "generated" / "api", ignore_errors=True)


def _literal(app: sphinx.application.Sphinx, ctx: object, lines: list[str]) -> None:
    """Show tables and examples in the help of a command as they are printed, so that they can be copied."""
    shown: list[str] = []
    for line in lines:
        if line.startswith("| "):
            if not (shown and shown[-1].startswith("   ")):
                shown += [".. code-block:: text", ""]
            shown.append(f"   {line[2:]}")
        else:
            shown.append(line)
    lines[:] = shown


SHORT = (
    (re.compile(r"[~\w.]*ndarray\[tuple\[[~\w.]*Any, \.\.\.\], [~\w.]*dtype\[[~.\w]*?(\w+)\]\]"), r"ndarray[\1]"),
    (re.compile(r"TypeAliasForwardRef\('(\w+)'\)"), r"\1"),
)
"""What a signature says of numpy's aliases, and what a reader wants to know of them."""


def _short(
    app: sphinx.application.Sphinx, what: str, name: str, obj: object, options: object, said: str, returned: str
) -> tuple[str, str] | None:
    """Shorten a signature; ``None`` leaves it to the other extensions."""
    before = said, returned
    for pattern, word in SHORT:
        said, returned = (pattern.sub(word, text) if text else text for text in (said, returned))
    return None if (said, returned) == before else (said, returned)


def setup(app: sphinx.application.Sphinx) -> dict[str, Any]:
    """Write the pages when the builder starts."""
    app.connect("config-inited", _forget_moved_names)
    app.connect("builder-inited", _write)
    app.connect("autodoc-process-signature", _short)
    for part in ("description", "epilog"):
        app.connect(f"sphinx-click-process-{part}", _literal)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
