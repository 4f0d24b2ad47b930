"""Recordings that give no episode: that is said when it happens, and by ``info`` and ``--json`` afterwards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import csp_data
from csp_data.authoring.template import new_source
from csp_data.cli import cli
from csp_data.errors import MissingDataError
from csp_data.prepare.reporting import log_lost, log_notes
from csp_data.recording import Note
from csp_data.sources import Found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four recordings of 30 s in four groups."""
    return new_source("mine", tmp_path / "mine")


Run = Callable[..., tuple[str, str]]


@pytest.fixture
def run(folder: Path, empty_home: Path) -> Run:
    def command(word: str, *options: str) -> tuple[str, str]:
        done = CliRunner().invoke(cli, [word, str(folder), *options])
        assert done.exit_code == 0, done.stderr
        return done.stdout, done.stderr

    return command


def change_times(file: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    head, *lines = file.read_text().splitlines()
    rows = np.array([[float(value) for value in line.split(",")] for line in lines])
    rows[:, 0] = change(rows[:, 0])
    rows = rows[np.isfinite(rows[:, 0])]
    file.write_text("\n".join([head, *(",".join(f"{value:.6f}" for value in row) for row in rows)]) + "\n")


def test_streams_without_common_time(folder: Path, run: Run) -> None:
    """Preparing did not mention it: a clock that started at another time took a recording away."""
    change_times(folder / "recordings" / "r1" / "truth.csv", lambda time: time + 1e6)
    why = "recording whose streams have no time in common left out"
    detail = "accelerometer 0.000 to 29.990 s, position 1000000.000 to 1000029.980 s"
    out, said = run("prepare")
    assert Path(out.strip()).is_file()
    assert f"WARNING: 1 of 4 recordings of mine gave no episode; r1: {why}: {detail}." in said
    out, said = run("prepare", "--json")
    assert said == ""  # it is there already
    made = json.loads(out)
    assert made["recordings"] == {"promised": None, "found": 4, "used": 3, "in_no_part": 0}
    assert made["counts"] == {why: 1}
    out, _ = run("info", "--prepared")
    assert "4 found, 3 used\n" in out
    assert f"r1: {why}: {detail}" in out


def test_a_list_that_fits_no_recording(folder: Path, empty_home: Path) -> None:
    """Another folder was proposed, or the groups were said to be too few."""
    card = folder / "card.toml"
    text = card.read_text()
    lists = '[splits.strict]\nheld_out = []\ntrain = ["r0"]\nval = ["r1"]\ntest = ["r[23]"]\n'
    card.write_text(text[: text.index("[splits.strict]")] + lists)
    shutil.copytree(folder / "recordings", folder.parent / "more")
    why = r"The card lists r\[23\] for it\. Recordings are r0, r1, r2 and 1 more; in a list, \* and \? stand for"
    with pytest.raises(MissingDataError, match=rf"for the part test of mine \(strict\).*{why}"):
        csp_data.prepare(folder)
    card.write_text(card.read_text().replace("r[23]", "r?"))
    assert csp_data.load(folder).test.rows[0].recording == "r2"


def test_pieces_that_are_all_too_short(folder: Path, run: Run) -> None:
    """A gap of half a second after each second."""
    change_times(
        folder / "recordings" / "r1" / "sensor.csv", lambda time: np.where(time % 1.5 < 1.0, time, np.nan)
    )
    _, said = run("prepare")
    assert "WARNING: 1 of 4 recordings of mine gave no episode; r1: gap ends an episode: 0.51" in said
    assert "piece shorter than min_episode_s left out: 0.990 s" in said
    out, _ = run("info", "--prepared")
    assert "r1: piece shorter than min_episode_s left out: 0.990 s" in out
    _, said = run("prepare", "--min-episode", "0.5", "--target-hz", "1")
    assert "piece shorter than a target step left out: 0.990 s" in said


def test_an_active_part_without_samples(folder: Path, run: Run) -> None:
    """Nothing at all was noted."""
    reader = folder / "reader.py"
    active = 'active=(90.0, 95.0) if found.id == "r1" else None'
    reader.write_text(
        reader.read_text().replace("found.files[0], streams)", f"found.files[0], streams, {active})")
    )
    _, said = run("prepare")
    assert "r1: recording whose active part has no samples left out: active from 90.000 to 95.000 s" in said


def test_what_a_protocol_excludes_is_no_surprise(folder: Path, run: Run) -> None:
    """It is counted; a limit that was asked for needs no warning."""
    change_times(folder / "recordings" / "r0" / "truth.csv", lambda time: np.where(time < 10, time, np.nan))
    card = folder / "card.toml"
    card.write_text(card.read_text() + "\n[protocols.strict]\nrecording_s = [20, 40]\n")
    out, said = run("prepare", "--json")
    assert said == ""
    assert json.loads(out)["counts"] == {"recording of a length outside recording_s left out": 1}
    assert (
        "r0: recording of a length outside recording_s left out: position: 9.98 s" in run("info", "--prepared")[0]
    )


def test_recordings_in_no_part(folder: Path, run: Run) -> None:
    """A recording that was added, but not to the card's lists."""
    card = folder / "card.toml"
    text = card.read_text()
    lists = '[splits.strict]\nrule = "lists"\ntrain = ["r0"]\nval = ["r3"]\ntest = ["r1"]\n'
    card.write_text(text[: text.index("[splits.strict]")] + lists)
    assert json.loads(run("prepare", "--json")[0])["recordings"]["in_no_part"] == 1
    assert "4 found, 3 used, 1 in no part of the split" in run("info", "--prepared")[0]


def test_a_recording_that_is_there_twice(folder: Path, run: Run) -> None:
    """As after two imports from folders of different layout: a copy can be in train, and the first in test."""
    shutil.copytree(folder / "recordings" / "r1", folder / "recordings" / "r8")
    said = run("prepare")[1]
    detail = "r8/sensor.csv holds the same bytes as r1/sensor.csv"
    assert f"WARNING: recording that is a copy of another in 1 recording; r8: {detail}" in said
    assert f"r8: recording that is a copy of another: {detail}" in run("info", "--prepared")[0]


def test_of_many_damaged_recordings_the_first_are_named(caplog: pytest.LogCaptureFixture) -> None:
    """There was a warning for each: hundreds pushed all else out of sight."""
    notes = [Note(f"r{i}", "damaged recording skipped", "x.csv: line 7", "skip") for i in range(25)]
    with caplog.at_level("DEBUG"):
        log_notes(notes)
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warned[:20] == [f"r{i}: damaged recording skipped: x.csv: line 7" for i in range(20)]
    assert warned[20:] == ["5 more damaged recordings skipped (--verbose names them)"]
    assert all(any(f"r{i}:" in message for message in caplog.messages) for i in range(25))
    caplog.clear()
    log_notes(notes[:20])
    assert len(caplog.messages) == 20
    log_lost(csp_data.info("sample"), [Found(note.recording, "me", ()) for note in notes], set(), notes)
    assert len(caplog.messages) == 20  # all are told already
