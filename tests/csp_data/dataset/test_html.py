"""What notebooks show: well-formed, escaped, and true to the data."""

from __future__ import annotations

import dataclasses
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

import csp_data
from csp_data.dataset.html import POINTS, sparkline
from csp_data.predictions import EpisodePrediction


def test_a_report_names_what_failed(tmp_path: Path) -> None:
    raw = Path(shutil.copytree(csp_data.verify("sample").root, tmp_path / "raw"))
    victim = next(raw.glob("*.hdf5"))
    victim.write_bytes(victim.read_bytes()[:1000])
    first, second = repr(csp_data.verify("sample", raw=raw)).splitlines()
    assert "12 of 13 files verified" in first
    assert second.startswith(f"  {victim.name}: truncated")


def test_a_dataset_shows_its_parts_and_channels() -> None:
    ds = csp_data.load("sample")
    root = ET.fromstring(ds._repr_html_())
    cells = ["".join(cell.itertext()) for cell in root.iter("td")]
    for part in ds.parts:
        at = cells.index(part)
        assert cells[at + 1 : at + 3] == [str(len(ds.split(part))), f"{ds.split(part).seconds / 60:.1f}"]
    assert ", ".join(ds.channels.names) in cells
    assert "m/s², rad/s" in cells  # as in figures
    assert ds.path.name in "".join(root.itertext())


def test_an_episode_draws_its_channels() -> None:
    episode = csp_data.load("sample").train[0]
    root = ET.fromstring(episode._repr_html_())
    lines = list(root.iter("{http://www.w3.org/2000/svg}polyline"))
    assert len(lines) == episode.inputs.shape[1] + episode.targets.shape[1]
    hostile = dataclasses.replace(episode, id="<script>alert(1)</script>")
    assert "<script>" not in hostile._repr_html_()


def test_of_many_channels_it_says_how_many_are_drawn() -> None:
    episode = dataclasses.replace(csp_data.load("sample").train[0], inputs=np.zeros((500, 60), np.float32))
    inputs, targets = ET.fromstring(episode._repr_html_()).iter("tr")
    lines = list(inputs.iter("{http://www.w3.org/2000/svg}polyline"))
    assert f"{len(lines)} of 60 channels drawn" in "".join(inputs.itertext())
    assert f'aria-label="{len(lines)} of 60 channels over time"' in ET.tostring(inputs, encoding="unicode")
    assert "drawn" not in "".join(targets.itertext())


def test_a_sparkline_keeps_the_extremes() -> None:
    values = np.zeros((100_000, 2), np.float32)
    values[71_234, 0] = 1  # one sample in a hundred thousand is still seen
    root = ET.fromstring(sparkline(values))
    peak, flat = ([float(pair.split(",")[1]) for pair in line.get("points", "").split()] for line in root)
    assert len(peak) <= 2 * POINTS
    assert min(peak) == 2
    assert max(peak) == 88
    assert set(flat) == {45.0}
    assert sparkline(np.full((3, 1), np.nan, np.float32))
    assert sparkline(np.zeros((0, 1), np.float32))


def test_what_a_cell_ends_with_fits_on_a_screen() -> None:
    """A dataclass would print all that it holds: of a recording, its samples."""
    ds = csp_data.load("sample", window=csp_data.Window(seconds=10, stride=5))
    spans = [len(window.targets) for window in ds.val.windows]
    assert repr(ds.val.windows) == f"<Windows of val: {len(spans)}, {sum(spans) / 5 / 60:.1f} min>"
    minutes = sum(len(episode.targets) for episode in ds.val) / 5 / 60
    assert repr(ds.val) == f"<Split val: {len(ds.val)} episodes, {minutes:.1f} min>"
    checked = csp_data.verify("sample")
    assert repr(checked) == checked.summary()
    values = np.zeros((184, 3))
    assert repr(EpisodePrediction("a", values[:, 0], values, values)).endswith("a: pred and true (184, 3)>")
    recording = csp_data.read_recording("sample", 0)
    gyroscope = recording.streams["gyroscope"]
    for shown, words in (
        (recording, (recording.id, f"gyroscope {len(gyroscope.time)}")),
        (gyroscope, ("gyr_x, gyr_y, gyr_z (rad/s), input", str(len(gyroscope.values)))),
        *((csp_data.info(name), (name, csp_data.info(name).title)) for name in csp_data.names()),
    ):
        assert all(word in repr(shown) for word in words)
        assert len(repr(shown)) < 300
