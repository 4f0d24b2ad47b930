"""A raw folder one too high or too low: the message names the one that fits, and that one works."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import csp_data
from csp_data.acquire import nearby
from csp_data.card import bundled_root, load_card
from csp_data.cli import cli
from csp_data.errors import MissingDataError

Tree = Callable[[str], Path]


def named_instead(name: str, raw: Path | str) -> str:
    """Return the folder that the refusal of another names."""
    with pytest.raises(MissingDataError) as caught:
        csp_data.prepare(name, raw=raw)
    (option,) = re.findall(r"pass that folder as raw= \((--raw .*?)\)\.", str(caught.value))
    return shlex.split(option)[1]


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """The recordings of a card that lists its files, two folders deep, and folders in them."""
    root = bundled_root(load_card("sample"))
    assert root is not None
    made = Path(shutil.copytree(root, tmp_path / "up here" / "x" / "broad"))
    (made / "inside" / "deeper").mkdir(parents=True)
    return made


@pytest.mark.parametrize("given", ["..", "../..", "inside", "inside/deeper"])
def test_files_that_a_card_lists_lie_higher_or_lower(
    listed: Path, given: str, empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instead = named_instead("sample", (listed / given).resolve())
    assert csp_data.prepare("sample", raw=instead) == csp_data.prepare("sample")
    monkeypatch.chdir((listed / given).resolve())
    assert Path(named_instead("sample", ".")).resolve() == Path(instead).resolve()
    result = CliRunner().invoke(cli, ["verify", "sample", "--raw", "."])
    assert result.exit_code == 3
    assert (
        f"has 13 of its 13 files: pass that folder as raw= (--raw {named_instead('sample', '.')})" in result.stderr
    )


def test_a_folder_of_recordings_that_are_partly_there_is_named_no_other(listed: Path) -> None:
    """A part of the files is missing: nothing around has more of them."""
    for file in sorted(listed.glob("*.hdf5"))[4:]:
        file.unlink()
    with pytest.raises(MissingDataError, match="for the part val") as caught:
        csp_data.prepare("sample", raw=listed)
    assert "pass that folder" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "inside"),
    [("marker", "demonstration_1"), ("joystick", "demonstration_2"), ("ronin", "*unseen*")],
)
def test_recordings_lie_higher(name: str, inside: str, tree: Tree, empty_home: Path) -> None:
    root = tree(name)
    low = next(path for path in sorted(root.rglob(inside)) if path.is_dir())
    assert named_instead(name, low) == str(root)
    assert csp_data.prepare(name, raw=root).exists()


def test_a_box_of_slip_is_not_passed_for_marker_recordings(tree: Tree, empty_home: Path) -> None:
    """Its folder was proposed, and then read as the wrong set without a word."""
    root = tree("slip")
    with pytest.raises(MissingDataError, match=r"It looks like slip \(4 rec") as caught:
        csp_data.prepare("marker", raw=root)
    assert "pass that folder" not in str(caught.value)


def test_archives_are_not_looked_into_and_the_command_that_unpacks_them_is_named(
    tree: Tree, tmp_path: Path, empty_home: Path
) -> None:
    sent = tmp_path / "as sent"
    shutil.make_archive(str(sent / "joystick_control_hiss_dataset"), "zip", tree("joystick"))
    with pytest.raises(MissingDataError, match=r"Its archives are there \(joystick_\w*\.zip\): run") as caught:
        csp_data.prepare("joystick", raw=sent)
    (command,) = re.findall(r"run csp-data (import .*?), which", str(caught.value))
    verified = CliRunner().invoke(cli, ["verify", "joystick", "--raw", str(sent)])
    assert command in verified.stderr
    assert "_dataset.zip: extra. An archive, which is not looked into" in verified.stderr
    result = CliRunner().invoke(cli, shlex.split(command))
    assert result.exit_code == 4, result.output  # fewer than the publisher has
    assert csp_data.prepare("joystick").exists()


def test_folders_with_many_files_are_not_searched(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder above may be a whole disk."""
    monkeypatch.setattr(nearby, "ENTRIES", 3)
    with pytest.raises(MissingDataError) as caught:
        csp_data.prepare("marker", raw=tree("marker") / "demonstration_1")
    assert "pass that folder" not in str(caught.value)


def test_the_folder_of_one_person_is_enough(tree: Tree, empty_home: Path) -> None:
    """Files of the truth were looked for in ``S1/S1``."""
    root = tree("totalcapture")
    for part in (root / "s1_imu" / "s1", root / "s1_vicon" / "S1"):
        shutil.copytree(part, root / "S1", dirs_exist_ok=True)
        shutil.rmtree(part)
    whole = csp_data.load("totalcapture", raw=root)
    one = csp_data.read_recording("totalcapture", raw=root / "S1")
    assert one.id in {row.recording for row in whole.episodes}
    assert one.streams["position"].values.tolist() == (
        csp_data.read_recording("totalcapture", one.id, raw=root).streams["position"].values.tolist()
    )


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """Simulations of sets whose files are alike, beside each other."""
    for name in ("marker", "slip", "joystick"):
        csp_data.simulate(name, tmp_path / "trees" / name, hours=0.02, seed=0)
    return tmp_path / "trees"


def test_simulations_beside_each_other_are_not_mixed(several: Path, empty_home: Path) -> None:
    """Marker recordings counted as slip recordings: they have the same files."""
    alone = csp_data.load("slip", raw=several / "slip")
    among = csp_data.load("slip", raw=several)
    assert [f"slip/{row.recording}" for row in alone.episodes] == [row.recording for row in among.episodes]
    assert named_instead("marker", several) == str(several / "marker")
    assert named_instead("slip", several / "marker") == str(several)
    report = csp_data.import_raw("slip", several, raw=several.parent / "taken")
    assert {path.split("/")[-3] for path in report.digests} == {row.group for row in alone.episodes}


def test_groups_that_are_too_few_are_named(several: Path) -> None:
    with pytest.raises(MissingDataError, match=r"recordings are of one group \(slip\), and no group is divided"):
        csp_data.prepare("slip", raw=several, protocol="strict")
