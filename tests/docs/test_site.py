"""The built site: its links lead somewhere, nothing comes from outside, it works on a desktop and on a phone."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import filelock
import pytest

ROOT = Path(__file__).parents[2]
pytest.importorskip("sphinx", reason="the site needs the extra 'docs'")


class Page(HTMLParser):
    """Anchors of a page, where its links lead, and what a browser would fetch to show it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and "href" in given:
            (self.links if given.get("rel") in ("next", "prev", "canonical") else self.loads).append(given["href"])
        elif "src" in given:
            self.loads.append(given["src"])


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from this checkout with warnings as errors: once, for all workers of a run.

    Two builds at once write the same generated pages, and fail.
    """
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    out, built = base / "site", base / "site.built"
    command = [sys.executable, "-m", "sphinx", "-E", "-W", "--keep-going", "-q", "-b", "html", "docs", str(out)]
    environment = {**os.environ, "CSP_DATA_OFFLINE": "1"}
    with filelock.FileLock(base / "site.lock"):
        if not built.exists():
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
            assert done.returncode == 0, done.stderr[-3000:]
            built.touch()
    return out


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[Path, Page]:
    return {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_own_links_lead_somewhere(pages: dict[Path, Page]) -> None:
    dead, checked = [], 0
    for path, page in pages.items():
        for link in (*page.links, *page.loads):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link.startswith("data:"):
                continue
            checked += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                dead.append(f"{path.name}: {link}")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                dead.append(f"{path.name}: {link} (no such anchor)")
    assert not dead
    assert checked > 1000


def test_nothing_is_loaded_from_outside(site: Path, pages: dict[Path, Page]) -> None:
    outside = [
        f"{path.name}: {load}" for path, page in pages.items() for load in page.loads if urlsplit(load).netloc
    ]
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        outside += [
            f"{path.name}: {url}" for url in re.findall(r"""(?:url\(|@import)\s*["']?(https?:[^"')]+)""", text)
        ]
    assert not outside
    assert any("<math" in (site / name).read_text(encoding="utf-8") for name in ("models.html", "protocols.html"))


def test_the_gallery_can_be_had_as_notebooks(site: Path) -> None:
    """Each script of the gallery as a notebook with the same code; the scripts run when the site is built."""
    notebooks = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in site.rglob("*.ipynb")}
    scripts = {path.stem: path for path in (ROOT / "docs" / "gallery").glob("plot_*.py")}
    assert set(notebooks) == set(scripts)
    for name, script in scripts.items():
        cells = [cell for cell in notebooks[name]["cells"] if cell["cell_type"] == "code"]
        code = "\n".join("".join(cell["source"]) for cell in cells)
        assert ast.dump(ast.parse(code)) == ast.dump(ast.Module(ast.parse(script.read_text()).body[1:], []))
        page = (site / "generated" / "gallery" / f"{name}.html").read_text(encoding="utf-8")
        assert "Figure size" not in page  # in place of the figure


def test_pages_load_in_a_browser(site: Path, pages: dict[Path, Page]) -> None:
    """No message on the console, no request that fails or leaves, and no page wider than a phone or a window."""
    sync = pytest.importorskip("playwright.sync_api", reason="the browser test needs playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no chromium on this machine")
    wrong: dict[str, list[str]] = defaultdict(list)
    now = [""]
    with sync.sync_playwright() as run:
        browser = run.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = browser.new_page()
        page.on("console", lambda said: said.type in ("error", "warning") and wrong[now[0]].append(said.text))
        page.on("pageerror", lambda error: wrong[now[0]].append(str(error)))
        page.on("requestfailed", lambda request: wrong[now[0]].append(f"failed: {request.url}"))
        page.on("request", lambda request: request.url.startswith("http") and wrong[now[0]].append(request.url))
        for path in sorted(pages):
            now[0] = path.relative_to(site.resolve()).as_posix()
            page.goto(path.as_uri())
            for width in (390, 1280):
                page.set_viewport_size({"width": width, "height": 800})
                wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                if wide > 0:
                    wrong[now[0]].append(f"{wide} px wider than a window of {width}")
        now[0] = "search"
        page.goto((site / "search.html").resolve().as_uri() + "?q=causal")
        page.wait_for_selector("#search-results li a", timeout=20_000)
        browser.close()
    assert not wrong
