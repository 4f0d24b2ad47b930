"""csp-data new: what it writes works as it is, and is labelled simulated."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import csp_data
from csp_data.authoring.template import new_source
from csp_data.cli import cli
from csp_data.errors import DamagedRecordingError


def test_the_skeleton_passes_its_own_test_and_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = CliRunner().invoke(cli, ["new", "my-cart", "--out", str(tmp_path / "cart")])
    assert result.exit_code == 0, result.output
    folder = tmp_path / "cart"
    assert str(folder) in result.stdout
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=dict(os.environ),
        timeout=300,
    )
    assert "3 passed" in done.stdout, done.stdout
    ds = csp_data.load(str(folder))
    assert (ds.name, ds.kind) == ("my-cart", "simulated")
    assert ds.targets.units == ("m/s",)
    main = pytest.importorskip("baselines.cli").main
    main(["train", str(folder), "mean", "--out", str(tmp_path / "run")])
    assert "mean on my-cart (simulated)" in capsys.readouterr().out


def test_without_the_stamp_the_kind_is_the_cards(tmp_path: Path) -> None:
    folder = tmp_path / "cart"
    CliRunner().invoke(cli, ["new", "cart", "--out", str(folder)])
    (folder / "recordings" / "SIMULATED.json").unlink()
    assert csp_data.load(str(folder)).kind == "simulated"
    card = folder / "card.toml"
    card.write_text(card.read_text().replace('kind = "simulated"', 'kind = "real recordings"'))
    assert csp_data.load(str(folder)).kind == "real recordings"


@pytest.mark.parametrize(
    ("name", "message"), [("sample", "no data set has yet"), ("../x", "a letter first"), ("Big", "a letter first")]
)
def test_names_that_cannot_be(name: str, message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["new", name, "--out", str(tmp_path / "x")])
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "x").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    result = CliRunner().invoke(cli, ["new", "cart", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_columns_are_found_by_their_names(tmp_path: Path) -> None:
    """Programs write them in any order, with others between, and behind a byte order mark."""
    folder = new_source("columns", tmp_path / "own")
    file = folder / "recordings" / "r1" / "sensor.csv"
    as_made = csp_data.read_recording(folder, "r1").streams["accelerometer"]
    rows = [line.split(",") for line in file.read_text().splitlines()[1:]]
    lines = ["acc_x,frame,time", *(f"{value},{i},{time}" for i, (time, value) in enumerate(rows))]
    file.write_text("\r\n".join(lines) + "\r\n", encoding="utf-8-sig")
    read = csp_data.read_recording(folder, "r1").streams["accelerometer"]
    np.testing.assert_array_equal(read.time, as_made.time)
    np.testing.assert_array_equal(read.values, as_made.values)
    for header in ("acc_x,frame,time_s", "acc_x,acc_x,time", "time;acc_x", "0.1,0.2,0.3"):
        file.write_text("\n".join([header, *lines[1:]]))
        with pytest.raises(DamagedRecordingError, match=r"line 1: expected one column .*, found b.*howto-own"):
            csp_data.read_recording(folder, "r1")
