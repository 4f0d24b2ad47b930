"""Make the pictures in docs/images from what is there now: the viewer, a report and three plots.

    python scripts/screenshots.py [--report PAGE.html]

Needs the extras plot, view and test, and Debian's chromium. docs/howto-look.md says which runs the report is of.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import csp_data
from csp_data import LowPass, plot

OUT = Path(__file__).parents[1] / "docs" / "images"
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def plots(out: Path = OUT) -> None:
    """Save the three plots."""
    sample = csp_data.load("sample")
    plot.save(sample.plot(part="test", episode=1, lowpass=LowPass(hz=2.0)), out / "plot-episode.png")
    plot.save(sample.plot("lowpass", part="test", episode=1, lowpass=LowPass(hz=2.0)), out / "plot-lowpass.png")
    recording = plot.recording_figure(csp_data.read_recording("sample"), kind=sample.kind)
    plot.save(recording, out / "plot-recording.png")


def pages(report: Path | None) -> None:
    """Photograph the viewer, and the report where there is one."""
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "csp_data", "view", "sample", "--no-browser"]
    viewer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert viewer.stdout is not None
        address = viewer.stdout.readline().strip()
        with sync_playwright() as started:
            browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=OPTIONS)
            page = browser.new_page(viewport={"width": 1280, "height": 760})
            page.goto(f"{address}?figure=lowpass&part=test&episode=1&hz=2")
            page.locator(".csp-figure svg").first.wait_for()
            page.screenshot(path=OUT / "viewer.png")
            if report is not None:
                page.goto(report.resolve().as_uri())
                page.screenshot(path=OUT / "report.png")
            browser.close()
    finally:
        viewer.terminate()
        viewer.wait()


def main() -> None:
    """Make all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, help="a page that csp-baselines report made")
    given = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    plots()
    pages(given.report)


if __name__ == "__main__":
    main()
