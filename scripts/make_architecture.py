"""Draw the pictures of docs/architecture.md from the imports: python scripts/make_architecture.py PACKAGE OUT.svg.

Boxes are modules or folders, lines are imports, drawn from what is imported (left) to who imports it (right): the
way the data goes. ``tests/docs/test_architecture.py`` holds the code to the order of the columns.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]

Columns = tuple[tuple[str, tuple[str, ...]], ...]

TOOLKIT: Columns = (
    (
        "what",
        (
            "errors",
            "options",
            "files",
            "modules",
            "_version",
            "card",
            "recording",
            "home",
            "output",
            "parallel",
            "terminal",
        ),
    ),
    ("choices", ("signal", "predictions", "windows", "resplit", "normalization", "protocol")),
    ("raw files", ("sources", "simulate", "splits")),
    ("bytes, verified", ("acquire",)),
    ("one HDF5 file", ("store", "prepare")),
    ("data sets", ("dataset",)),
    (
        "for people",
        ("describe", "adapters", "plot", "bench", "doctor", "view", "authoring", "api", "commands", "cli"),
    ),
    ("models", ("baselines",)),
)
MODELS: Columns = (
    ("what", ("errors", "files", "presets")),
    ("computing", ("cpu", "scan", "layers")),
    ("models", ("models",)),
    ("one training", ("training", "published", "references")),
    ("one run", ("runs", "experiment", "elsewhere")),
    ("many, or live", ("sweeps", "results", "tables", "stream", "bench")),
    ("comparing", ("ablations", "report", "pretrained")),
    ("for people", ("trained", "prediction", "doctor", "commands", "cli")),
)
COLUMNS = {"csp_data": TOOLKIT, "baselines": MODELS}
"""Columns of each package's picture, left to right; no module imports one that stands in a column to its right."""

BOX, ROW, GAP, TOP = 118, 34, 46, 44


def imports(path: Path, package: str) -> Iterator[str]:
    """Yield the full names of our own modules that a file imports, those for type checkers left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in list(ast.walk(tree)):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (
                alias.name for alias in node.names if alias.name.split(".")[0] in ("csp_data", "baselines")
            )
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module in ("csp_data", "baselines"):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            elif node.module.split(".")[0] in ("csp_data", "baselines"):
                yield node.module


def box_of(module: str, package: str) -> str | None:
    """Return the box of a module in the picture of a package; None for what has none."""
    first, _, rest = module.partition(".")
    if first != package:
        return first if package == "csp_data" else None  # the models are one box beside the toolkit
    part = rest.split(".")[0]
    if part and ((ROOT / package / part).is_dir() or (ROOT / package / f"{part}.py").is_file()):
        return None if part.startswith("_") and package == "baselines" else part
    return "api" if part and package == "csp_data" and not part.startswith("__") else None  # of the package itself


@cache
def graph(package: str) -> dict[str, set[str]]:
    """Return for each box of a package's picture the boxes that it imports."""
    found: dict[str, set[str]] = {}
    for folder in ("csp_data", "baselines") if package == "csp_data" else (package,):
        for path in sorted((ROOT / folder).rglob("*.py")):
            own = box_of(".".join(path.relative_to(ROOT).with_suffix("").parts), package)
            if own is None or (path.name in ("__init__.py", "__main__.py") and path.parent == ROOT / package):
                continue
            used = {box_of(module, package) for module in imports(path, folder)} - {None, own}
            found.setdefault(own, set()).update(box for box in used if box is not None)
    return found


def svg(package: str) -> str:
    """Return a package's picture; a line is left out where another way of imports leads to the same box."""
    found, columns = graph(package), COLUMNS[package]
    place: dict[str, tuple[int, int]] = {}
    for column, (_, boxes) in enumerate(columns):
        for row, box in enumerate(box for box in boxes if box in found):
            place[box] = (12 + column * (BOX + GAP), TOP + row * (ROW + 14))
    width = 12 + len(columns) * (BOX + GAP) - GAP + 12
    height = max(y for _, y in place.values()) + ROW + 16
    lines = []
    for user, used in sorted(found.items()):
        for box in sorted(used - _indirect(found, used)):
            if box in place and user in place and place[box][0] < place[user][0]:
                x0, y0, x1, y1 = place[box][0] + BOX, place[box][1] + ROW / 2, *place[user]
                bend = max(20, (x1 - x0) / 2)
                curve = f"M{x0},{y0} C{x0 + bend:.0f},{y0} {x1 - bend:.0f},{y1 + ROW / 2} {x1},{y1 + ROW / 2}"
                lines.append(f'<path d="{curve}" marker-end="url(#arrow)"/>')
    heads = "".join(
        f'<text x="{12 + i * (BOX + GAP) + BOX / 2:.0f}" y="24" class="head">{title}</text>'
        for i, (title, _) in enumerate(columns)
    )
    boxes = "".join(
        f'<rect x="{x}" y="{y}" width="{BOX}" height="{ROW}" rx="5"/>'
        f'<text x="{x + BOX / 2:.0f}" y="{y + ROW / 2 + 4:.0f}">{box}</text>'
        for box, (x, y) in place.items()
    )
    style = (
        "text{font:13px sans-serif;text-anchor:middle;fill:#1a1a1a}.head{font-weight:bold}"
        "rect{fill:#e8f1f8;stroke:#0072B2}path{fill:none;stroke:#555;stroke-opacity:.55}"
    )
    arrow = (
        '<marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" style="fill:#555;stroke:none"/></marker>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="Modules of {package} and their imports">'
        f"<style>{style}</style><defs>{arrow}</defs>"
        f'<rect x="0" y="0" width="{width}" height="{height}" style="fill:#fff;stroke:none"/>'
        f"{heads}{''.join(lines)}{boxes}</svg>\n"
    )


def _indirect(found: dict[str, set[str]], used: set[str]) -> set[str]:
    """Return what is reached through the boxes of `used`."""
    seen: set[str] = set()
    queue = [far for box in used for far in found.get(box, ())]
    while queue:
        box = queue.pop()
        if box not in seen:
            seen.add(box)
            queue += found.get(box, ())
    return seen


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(svg(sys.argv[1]), encoding="utf-8")
