"""``csp-data new``: a folder with card, reader, test, and simulated recordings, to start a data set from."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from csp_data.card import names
from csp_data.errors import CspDataError, OptionError
from csp_data.home import expanded
from csp_data.output import check_new_folder
from csp_data.simulate.stamp import STAMP

__all__ = ["new_source"]

CARD = '''# What this data set is. docs/cards.md describes every field; lines marked "yours" are the example's.
name = "{name}"
title = "{name}: an accelerometer on a cart"  # yours
kind = "simulated"  # "real recordings" when yours have taken the place of the example's
protocol = "strict"
bundled = "recordings"  # folder beside this file; leave the line out to keep raw files elsewhere (--raw)
unlisted = "used"  # or, once you publish them, a list of the files with digests: csp-data files
summary = """
Simulated by csp-data new: a cart swings on a track; the task is to tell its velocity from its acceleration.
"""  # yours
obtain = "It lies beside this card."  # yours
defects = []

[licence]
id = "unstated"  # yours: MIT, CC-BY-4.0, ...
name = "No licence is stated"
url = "none"
redistribution = false
terms = "Ask whoever recorded them before you pass them on."

[citation]
text = "Not published."  # yours
doi = "none"
bibtex = "@misc{{{name}, title = {{{name}}}}}"

[[streams]]
name = "accelerometer"
role = "input"
channels = ["acc_x"]
unit = "m/s^2"
rate_hz = 100
frame = "along the track, gravity not included"

[[streams]]
name = "position"
role = "reference"
channels = ["pos_x"]
unit = "m"
rate_hz = 50
frame = "along the track"

[[targets]]
name = "velocity"
channels = ["vel_x"]
unit = "m"
increment = true  # a change over the step: the pipeline divides by the step, which gives m/s
summary = "Displacement over the step."

[splits.strict]
rule = "groups"  # or lists of ids: train = ["..."], val = ["..."], test = ["..."]
shares = {{ train = 0.5, val = 0.25, test = 0.25 }}
'''

READER = '''"""Reads {name}: one folder per recording, with sensor.csv and truth.csv (header, seconds, values)."""

import numpy as np

import csp_data
from csp_data.sources.text import numbers, read_bytes


def find(root):
    """List the recordings, sorted, without opening them. What shares a group is never on both sides of a split."""
    files = sorted(root.rglob("sensor.csv"))
    return [csp_data.Found(f.parent.name, f.parent.name, (f, f.with_name("truth.csv"))) for f in files]


def read(found, card, protocol):
    """Read one recording: each stream of the card, at its own times in seconds."""
    files = dict(zip(("accelerometer", "position"), found.files))
    if not files["position"].exists():  # a trained model can predict it all the same: csp-baselines predict
        del files["position"]
    tables = {{name: table(path, ("time", *card.stream(name).channels)) for name, path in files.items()}}
    streams = {{name: csp_data.Stream.of(card.stream(name), t[:, 0], t[:, 1:]) for name, t in tables.items()}}
    return csp_data.Recording(found.id, found.group, found.files[0], streams)


def table(path, columns):
    """Read columns by their names in the header line; a bad line, or an empty cell, is named in the error."""
    header, _, rows = read_bytes(path).partition(b"\\n")
    names = header.decode("utf-8-sig", "replace").strip().split(",")
    if wrong := [column for column in columns if names.count(column) != 1]:
        found, how = f"{{header[:80]!r}}", "docs/howto-own-data.md shows how to read files of other programs."
        raise csp_data.DamagedRecordingError(path, "line 1", f"one column named {{wrong[0]}}", found, how)
    return numbers(rows, len(names), path, skipped=1)[:, [names.index(column) for column in columns]]


def velocity(edges):
    """Displacement over each step, from the positions at the N + 1 edges of N steps."""
    return np.diff(edges["position"], axis=0)


SOURCE = csp_data.Source(find, read, "folders with sensor.csv and truth.csv", {{"velocity": velocity}})
'''

TEST = '''"""Tests of {name}. Run them with: python -m pytest {file}"""

import shutil
from pathlib import Path

import numpy as np
import pytest

import csp_data

FOLDER = Path(__file__).parent
EXAMPLE = (FOLDER / "recordings" / "{stamp}").exists()


def test_it_conforms():
    report = csp_data.check_source(str(FOLDER))
    assert report.ok, str(report)


@pytest.mark.skipif(not EXAMPLE, reason="the example's recordings are gone: test a motion that you know instead")
def test_the_target_of_a_known_motion(tmp_path):
    """The cart of recording r1 is at 0.5 sin(2 t + 1) m."""
    ds = csp_data.load(path=csp_data.prepare(str(FOLDER), out=tmp_path / "made.h5"))
    episode = next(e for part in ds.parts for e in ds.split(part) if e.id == "r1")
    end, step = episode.target_time, 1 / ds.rates[1]
    want = 0.5 * (np.sin(2 * end + 1) - np.sin(2 * (end - step) + 1)) / step
    np.testing.assert_allclose(episode.targets[:, 0], want, atol=0.01)


def test_a_damaged_file_is_named(tmp_path):
    card = csp_data.info(str(FOLDER))
    source = card.reader()
    raw = shutil.copytree(FOLDER / "recordings", tmp_path / "raw")
    found = source.find(raw)[0]
    text = found.files[0].read_bytes()
    found.files[0].write_bytes(text[: len(text) // 2] + b"?")
    with pytest.raises(csp_data.DamagedRecordingError, match=found.files[0].name):
        source.read(found, card, csp_data.STRICT)
'''


def new_source(name: str, folder: Path | str | None = None) -> Path:
    """Write a folder with ``card.toml``, ``reader.py``, a test and simulated recordings, all of which works.

    Parameters
    ----------
    name
        Of the data set: lower-case letters, digits, ``-`` and ``_``, a letter first.
    folder
        Folder to make; by default one called `name` here.

    Returns
    -------
    Path
        The folder. Its recordings carry the stamp that marks everything made of them as simulated.

    Raises
    ------
    OptionError
        If the name cannot be used, or the folder is there and not empty.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
        raise OptionError("name", name, "lower-case letters, digits, - and _, a letter first")
    if name in names():
        raise OptionError("name", name, "a name that no data set has yet")
    path = expanded(folder, "folder") if folder is not None else expanded(name, "name")
    check_new_folder(path, "folder")
    test = f"test_{name.replace('-', '_')}.py"
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / "card.toml").write_text(CARD.format(name=name), encoding="utf-8")
        (path / "reader.py").write_text(READER.format(name=name), encoding="utf-8")
        text = TEST.format(name=name, file=(path / test).as_posix(), stamp=STAMP)
        (path / test).write_text(text, encoding="utf-8", errors="backslashreplace")  # a folder may have any name
        _recordings(path / "recordings", name)
    except OSError as error:
        raise CspDataError(f"{path} cannot be written: {error}.") from error
    return path


def _recordings(root: Path, name: str) -> None:
    """Write four recordings of 30 s: the cart of number i is at 0.5 sin(2 t + i) m."""
    for i in range(4):
        folder = root / f"r{i}"
        folder.mkdir(parents=True)
        fast, slow = np.arange(3000) / 100, np.arange(1500) / 50
        for file, header, time, values in (
            ("sensor.csv", "time,acc_x", fast, -2.0 * np.sin(2 * fast + i)),
            ("truth.csv", "time,pos_x", slow, 0.5 * np.sin(2 * slow + i)),
        ):
            lines = [header, *(f"{t:.2f},{v:.6f}" for t, v in zip(time, values, strict=True))]
            (folder / file).write_text("\n".join(lines) + "\n", encoding="utf-8")
    content = {"simulated": True, "name": name, "generator": "csp-data new"}
    (root / STAMP).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
