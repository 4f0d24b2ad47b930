"""A publisher corrects a data set: what tells the versions apart, and what keeps those of before as they were."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import csp_data
from csp_data.adapters.common import described
from csp_data.authoring.template import new_source
from csp_data.cli import cli
from csp_data.errors import MissingDataError

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "eflesh"
PLACE = """
[[targets]]
name = "place"
channels = ["pos_x"]
unit = "m"
increment = false
summary = "Position at the end of the step."
"""


@pytest.fixture
def cart(tmp_path: Path) -> Path:
    """What `csp-data new` writes, version 1.0, with a second target."""
    folder = new_source("cart", tmp_path / "cart")
    change(folder, 'protocol = "strict"\n', 'protocol = "strict"\nversion = "1.0"\n')
    change(folder, "\n[splits.strict]", PLACE + "\n[splits.strict]")
    reader = folder / "reader.py"
    place = '"place": lambda edges: edges["position"][1:]'
    reader.write_text(
        reader.read_text().replace('{"velocity": velocity}', '{"velocity": velocity, ' + place + "}")
    )
    return folder


def change(folder: Path, old: str, new: str) -> None:
    card = folder / "card.toml"
    text = card.read_text()
    assert old in text
    card.write_text(text.replace(old, new))


def test_a_version_is_shown_and_carried_along(cart: Path) -> None:
    ds = csp_data.load(cart)
    assert "(simulated; version 1.0)" in CliRunner().invoke(cli, ["info", str(cart)]).output
    assert ds.provenance["card"]["version"] == described(ds)["version"] == "1.0"
    assert csp_data.croissant("cart")["version"] == "1.0"
    change(cart, 'version = "1.0"\n', "")
    csp_data.register(cart)
    assert "version" not in csp_data.croissant("cart")  # that of csp-data stood there


def test_a_file_keeps_the_card_of_its_version(cart: Path, tmp_path: Path) -> None:
    """The targets of the later card were taken for those of the file, and its texts for what the file is."""
    path = csp_data.prepare(cart, out=tmp_path / "made.h5")
    change(cart, "an accelerometer on a cart", "a cart with an accelerometer")
    csp_data.register(cart)
    ds = csp_data.load(path=path)
    assert ds.card.title == "cart: a cart with an accelerometer"  # what was corrected of the same version
    change(cart, PLACE, "")
    change(cart, "\n[[targets]]", PLACE + "\n[[targets]]")
    change(cart, '"1.0"', '"1.1"')
    change(cart, "a cart with an accelerometer", "a train")
    csp_data.register(cart)
    assert csp_data.info("cart").targets[0].name == "place"
    ds = csp_data.load(path=path)
    assert (ds.card.version, ds.card.targets[0].name) == ("1.0", "velocity")
    assert ds.card.title == "cart: an accelerometer on a cart"
    assert "version 1.0" in CliRunner().invoke(cli, ["info", str(path)]).output


def test_a_file_names_every_raw_file_that_it_was_made_from() -> None:
    """Those beside the main file of a recording, such as the reference, were not in the list."""
    card = csp_data.info(EXAMPLE)
    files = csp_data.load(EXAMPLE).provenance["files"]
    assert {(file["path"], file["sha256"]) for file in files} == {(f.path, f.sha256) for f in card.files}


def eflesh_without(text: str, tmp_path: Path) -> Path:
    """Copy the example; its card then lists no file whose path has this text."""
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "eflesh"))
    card = folder / "card.toml"
    card.write_text("".join(line for line in card.read_text().splitlines(keepends=True) if text not in line))
    return folder


def test_a_file_that_the_card_forgot_counts_all_the_same(tmp_path: Path) -> None:
    """Its main file is listed, so the recording is used, and what a reader opens beside it with it."""
    folder = eflesh_without("states.csv.gz", tmp_path)
    (check,) = (check for check in csp_data.check_source(folder).checks if check.name == "recordings")
    assert check.status == "failed"
    assert (
        "lists 20250401_014340_probe/sensor.csv.gz, and not 20250401_014340_probe/states.csv.gz"
        in check.details[0]
    )
    before = csp_data.load(folder)
    (states,) = folder.glob("recordings/*_014340_*/states.csv.gz")
    lines = gzip.decompress(states.read_bytes()).decode().splitlines()
    rows = [line.rsplit(",", 1) for line in lines]
    doubled = "".join(f"{row},{float(force) * (1 if float(force) < 0 else 2)}\n" for row, force in rows)
    states.write_bytes(gzip.compress(doubled.encode()))
    after = csp_data.load(folder)
    np.testing.assert_allclose(after.train[0].targets, 2 * before.train[0].targets)


def test_recordings_that_the_card_forgot_are_named(tmp_path: Path) -> None:
    folder = eflesh_without("014340_probe/", tmp_path)
    (check,) = (check for check in csp_data.check_source(folder).checks if check.name == "recordings")
    assert check.status == "warning"
    assert check.details == ("left out: 1 recording, as the card does not list 20250401_014340_probe",)


def test_what_is_gone_is_got_by_a_command(tmp_path: Path) -> None:
    """Where one can fetch it; how by hand stood there alone. The name would be unknown to the command."""
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "eflesh"))
    raw = (folder / "recordings").rename(tmp_path / "raw")
    card = folder / "card.toml"
    text = card.read_text().replace('bundled = "recordings"\n', "")
    card.write_text(
        text.replace("files = [", 'downloads = [{ path = "a.zip", url = "https://lab.example/a.zip" }]\nfiles = [')
    )
    for left in ("20250401_014340_probe", "20250401_015037_probe", "20250401_015717_probe"):
        shutil.rmtree(raw / left)
        with pytest.raises(
            MissingDataError, match=f"Run csp-data download {folder} --raw {raw}, or by hand: It lies"
        ):
            csp_data.prepare(folder, raw=raw)
