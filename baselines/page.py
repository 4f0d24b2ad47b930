"""The report's look: one style sheet, and small pieces of HTML. Nothing is loaded from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from baselines.figures import Panel

__all__ = ["code", "definitions", "document", "escape", "figures", "paragraph", "section", "table"]

STYLE = """
:root { color-scheme: light; --ink: #222; --muted: #5b616b; --line: #e3e5e9; --paper: #fff; --tint: #f6f7f9; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 54rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; letter-spacing: -0.01em; margin: 0 0 0.4rem; font-weight: 650; }
h2 { font-size: 1.15rem; margin: 2.8rem 0 0.5rem; font-weight: 650; }
p { margin: 0.4rem 0 0.9rem; max-width: 42rem; overflow-wrap: anywhere; }
.sub { color: var(--muted); margin: 0 0 1.2rem; }
.badge { display: inline-block; background: #fff4e0; color: #7a4a00; border: 1px solid #f1dcb4;
  border-radius: 1rem; padding: 0.1rem 0.7rem; font-size: 0.85rem; margin-right: 0.5rem; }
.lede { font-size: 1.1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 0.45rem 0.6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 550; color: var(--muted); white-space: normal; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid #0072b2; outline-offset: 2px; }
th[aria-sort] { color: var(--ink); } th[aria-sort="ascending"] button::after { content: " ↑"; }
th[aria-sort="descending"] button::after { content: " ↓"; }
input[type="search"] { font: inherit; font-size: 0.92rem; width: 16rem; max-width: 100%; padding: 0.35rem 0.6rem;
  border: 1px solid var(--line); border-radius: 0.4rem; margin: 0.2rem 0 0.6rem; }
tr.best td { font-weight: 650; }
tr.reference td { color: var(--muted); }
dl { display: grid; grid-template-columns: 9rem 1fr; gap: 0.3rem 1rem; margin: 0.5rem 0; font-size: 0.95rem; }
dt { color: var(--muted); } dd { margin: 0; overflow-wrap: anywhere; }
.panels { display: grid; gap: 1.2rem 1.6rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); }
figure { margin: 0; overflow-x: auto; } figure svg { width: 100%; height: auto; max-width: 27rem; display: block; }
figure svg text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial,
  sans-serif !important; }
pre { background: var(--tint); border: 1px solid var(--line); border-radius: 0.4rem; padding: 0.8rem 1rem;
  overflow-x: auto; font: 0.82rem/1.6 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 0.8rem; color: var(--muted);
  font-size: 0.85rem; }
@media (max-width: 34rem) { main { padding: 1.5rem 1rem 3rem; } h1 { font-size: 1.45rem; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 0.5rem; } }
@media print { main { max-width: none; } figure { break-inside: avoid; } }
"""

SCRIPT = """
"use strict";
for (const box of document.querySelectorAll(".sortable")) {
  const body = box.querySelector("tbody"), heads = [...box.querySelectorAll("th")];
  const value = (row, i) => row.cells[i].textContent.trim();
  const number = (text) => text.startsWith("<") ? 0 : parseFloat(text.replaceAll(",", "").replaceAll("−", "-"));
  heads.forEach((head, i) => head.querySelector("button").addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = [...body.rows];
    const compare = (a, b) => {
      const [x, y] = [value(a, i), value(b, i)];
      if (x === "" || y === "") return (x === "") - (y === "");  // empty cells stay last
      const [p, q] = [number(x), number(y)];
      const order = i === 0 || isNaN(p) || isNaN(q) ? x.localeCompare(y) : p - q;
      return up ? order : -order;
    };
    body.append(...rows.sort(compare));
  }));
  box.querySelector("input").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\\s+/).filter(Boolean);
    for (const row of body.rows) row.hidden = !words.every((w) => row.textContent.toLowerCase().includes(w));
  });
}
"""
"""Sorts and filters tables; the page is complete without it."""


def document(title: str, body: Iterable[str]) -> str:
    """Return a whole page."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n<main>\n{chr(10).join(body)}\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def section(title: str, *pieces: str) -> str:
    """Return a heading and what stands under it."""
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(pieces) + "\n</section>"


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of plain text; `kind` is a class of the style sheet."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def table(header: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Return a table that can be sorted and filtered; each row is (class of the style sheet, cells)."""
    head = "".join(f'<th scope="col"><button>{escape(cell)}</button></th>' for cell in header)
    body = "\n".join(
        f'<tr class="{kind}">' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
        for kind, cells in rows
    )
    return (
        '<div class="sortable"><input type="search" placeholder="Filter rows" aria-label="Filter rows">'
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>'
        "</div></div>"
    )


def definitions(pairs: Iterable[tuple[str, str]]) -> str:
    """Return terms and what they are."""
    return "<dl>" + "".join(f"<dt>{escape(a)}</dt><dd>{escape(b)}</dd>" for a, b in pairs) + "</dl>"


def figures(panels: Iterable[Panel]) -> str:
    """Return panels side by side where there is room."""
    drawn = "\n".join(f'<figure role="img" aria-label="{escape(p.words)}">{p.svg}</figure>' for p in panels)
    return f'<div class="panels">\n{drawn}\n</div>'


def code(lines: Iterable[str]) -> str:
    """Return lines as they are typed."""
    return "<pre>" + escape("\n".join(lines)) + "</pre>"
