"""The report's style sheet and script. Nothing is loaded from anywhere; a page is complete without the script."""

from csp_data.plot.style import DARK

__all__ = ["SCRIPT", "STYLE"]

COLOURS = f"""
:root {{ color-scheme: light dark; --ink: #222222; --muted: #5b616b; --line: #e0e3e8; --paper: #fff;
  --tint: #f6f7f9; --link: #00568a;
  --badge: #fff4e0; --badge-ink: #7a4a00; --badge-line: #f1dcb4; --mark: 0 114 178; }}
@media (prefers-color-scheme: dark) {{ :root {{ {DARK}
  --tint: #1d2126; --link: #7cc4f5; --badge: #3a2c10; --badge-ink: #f3cf8e; --badge-line: #5a4518;
  --mark: 86 180 233; }} }}
"""

STYLE = (
    COLOURS
    + """
@media print { :root { color-scheme: light; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-padding-top: 1rem; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
a { color: var(--link); }
a:focus-visible, summary:focus-visible, .scroll:focus-visible {
  outline: 2px solid var(--link); outline-offset: 2px; }
.skip { position: absolute; left: -99rem; } .skip:focus { left: 1rem; top: 0.5rem; background: var(--paper); }
.page { max-width: 54rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
main { min-width: 0; }
h1 { font-size: 1.75rem; line-height: 1.2; letter-spacing: -0.01em; margin: 0 0 0.4rem; font-weight: 650; }
h2 { font-size: 1.15rem; margin: 2.8rem 0 0.5rem; font-weight: 650; }
h3 { font-size: 1.02rem; margin: 2.2rem 0 0.4rem; font-weight: 650; }
.set { border-top: 2px solid var(--line); margin-top: 3.5rem; }
.set > h2 { font-size: 1.45rem; margin: 1.4rem 0 0.4rem; }
p { margin: 0.4rem 0 0.9rem; max-width: 42rem; overflow-wrap: anywhere; }
.sub { color: var(--muted); margin: 0 0 1.2rem; }
.badge { display: inline-block; background: var(--badge); color: var(--badge-ink);
  border: 1px solid var(--badge-line); border-radius: 1rem; padding: 0.1rem 0.7rem; font-size: 0.85rem;
  margin-right: 0.5rem; }
.lede { font-size: 1.1rem; }
nav { margin: 1.4rem 0 0; font-size: 0.92rem; } nav summary { cursor: pointer; color: var(--muted); }
nav ul { list-style: none; margin: 0.2rem 0; padding: 0; } nav ul ul { padding-left: 0.9rem; }
nav ul details { margin: 0; } nav ul summary > a { display: inline; }
nav a { text-decoration: none; display: block; padding: 0.16rem 0; overflow-wrap: anywhere; }
nav a:hover { text-decoration: underline; }
.scroll { overflow-x: auto; background: linear-gradient(to left, var(--paper) 2rem, transparent) right / 4rem 100%
  no-repeat local, linear-gradient(to left, rgb(0 0 0 / 14%), transparent) right / 0.7rem 100% no-repeat; }
table { border-collapse: separate; border-spacing: 0; width: 100%; font-size: 0.92rem;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--muted); padding-bottom: 0.4rem; }
caption span { position: sticky; left: 0; display: inline-block; max-width: calc(100vw - 2.5rem); }
th, td { text-align: right; padding: 0.4rem 0.55rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
thead th { font-weight: 550; color: var(--muted); white-space: normal; vertical-align: bottom; }
tr > :first-child { text-align: left; padding-left: 0; position: sticky; left: 0; background: var(--paper); }
tbody th { font-weight: inherit; }
th button { all: unset; cursor: pointer; }
th button:hover { text-decoration: underline; }
th button:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
th[aria-sort] { color: var(--ink); } th[aria-sort="ascending"] button::after { content: " ↑"; }
th[aria-sort="descending"] button::after { content: " ↓"; }
.tools { display: flex; flex-wrap: wrap; gap: 0.3rem 1rem; align-items: center; margin: 0.2rem 0 0.6rem;
  font-size: 0.92rem; color: var(--muted); }
input[type="search"] { font: inherit; color: inherit; background: var(--paper); width: 16rem; max-width: 100%;
  padding: 0.35rem 0.6rem; border: 1px solid var(--line); border-radius: 0.4rem; }
tr.best > * { font-weight: 650; }
tr.reference > * { color: var(--muted); }
td.tinted { background: rgb(var(--mark) / var(--share)); }
dl { display: grid; grid-template-columns: 9rem minmax(0, 1fr); gap: 0.3rem 1rem; margin: 0.5rem 0;
  font-size: 0.95rem; }
dt { color: var(--muted); } dd { margin: 0; overflow-wrap: anywhere; }
.panels { display: grid; gap: 1.2rem 1.6rem; margin: 0.8rem 0;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
figure { margin: 0; overflow-x: auto; } figure svg { width: 100%; height: auto; max-width: 30rem; display: block; }
figure svg * { stroke-linejoin: round; stroke-linecap: butt; }
figure svg text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial,
  sans-serif !important; }
details { margin: 0.6rem 0; } summary { cursor: pointer; }
pre { background: var(--tint); border: 1px solid var(--line); border-radius: 0.4rem; padding: 0.8rem 1rem;
  overflow-x: auto; max-height: 26rem;
  font: 0.82rem/1.6 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 0.8rem; color: var(--muted);
  font-size: 0.85rem; }
@media (min-width: 76rem) {
  .page { max-width: 86rem; display: grid; grid-template-columns: 13rem minmax(0, 1fr); gap: 0 3rem; }
  header.top, .page > footer { grid-column: 2; }
  nav { grid-column: 1; grid-row: 1 / span 3; position: sticky; top: 2.5rem; align-self: start; margin: 0.4rem 0 0;
    max-height: calc(100vh - 5rem); overflow-y: auto; }
  main { grid-column: 2; } }
@media (max-width: 34rem) { .page { padding: 1.5rem 1rem 3rem; } h1 { font-size: 1.45rem; }
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; } dd { margin-bottom: 0.5rem; }
  th, td { padding: 0.4rem 0.45rem; } }
@media print { .page { max-width: none; display: block; padding: 0; } nav, .tools { display: none; }
  figure, tr { break-inside: avoid; } h1, h2, h3 { break-after: avoid; } .scroll { overflow: visible; }
  table { font-size: 0.7rem; } pre { max-height: none; white-space: pre-wrap; overflow-wrap: anywhere; } }
"""
)

SCRIPT = """
"use strict";
if (matchMedia("(min-width: 76rem)").matches)
  document.querySelector("nav > details").open = true;
addEventListener("beforeprint", () => { for (const it of document.querySelectorAll("details")) it.open = true; });
for (const box of document.querySelectorAll(".sortable")) {
  const body = box.querySelector("tbody"), heads = [...box.querySelectorAll("thead th")];
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
  const shown = box.querySelector("output"), filter = box.querySelector("input");
  if (filter) filter.hidden = false;  // without this script it would do nothing
  if (filter) filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\\s+/).filter(Boolean);
    for (const row of body.rows) row.hidden = !words.every((w) => row.textContent.toLowerCase().includes(w));
    const left = [...body.rows].filter((row) => !row.hidden).length;
    shown.textContent = words.length ? `${left} of ${body.rows.length} rows` : "";
  });
}
"""
"""Opens the contents where there is room, sorts and filters tables, opens what is folded before it is printed."""
