"""Readers: layouts they accept, what they mend, and what they refuse with which words."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import csp_data
from csp_data.card import load_card
from csp_data.errors import DamagedRecordingError, MissingDataError
from csp_data.protocol import resolve
from csp_data.recording import Recording
from csp_data.signal.rotation import rotate
from csp_data.sources import load_source, recognise

SIX = ("joystick", "marker", "ronin", "slip", "totalcapture", "vector")


def read(name: str, root: Path, number: int = 0, protocol: str = "paper") -> Recording:
    card = load_card(name)
    source = load_source(card)
    return source.read(source.find(root)[number], card, resolve(card, protocol))


@pytest.mark.parametrize("name", SIX)
def test_a_tree_of_another_source_is_told_apart(name: str, tree: Callable[[str], Path]) -> None:
    other = "vector" if name != "vector" else "ronin"
    root = tree(other)
    with pytest.raises(MissingDataError) as caught:
        csp_data.load(name, raw=root)
    message = str(caught.value)
    assert load_source(load_card(name)).layout in message
    assert f"It looks like {other}" in message
    assert sorted(entry.name for entry in root.iterdir())[0] in message


def test_marker_and_slip_are_told_apart(tree: Callable[[str], Path], tmp_path: Path) -> None:
    """They have the same files: told by a folder a box, the publisher's folders, and what a simulation says."""
    marker, slip = tree("marker"), tree("slip")
    with pytest.raises(
        MissingDataError, match=r"marker \(folders demonstration_N side by side .* like slip \(4 rec"
    ):
        csp_data.load("marker", raw=slip)
    both = tmp_path / "unpacked"
    both.mkdir()
    marker = marker.rename(both / "marker_writing_hiss_dataset")
    slip = slip.rename(both / "intrinsic_slip_hiss_dataset")
    for name, here, ids in (("marker", marker, 5), ("slip", slip, 4)):
        assert len(load_source(load_card(name)).find(both)) == ids
        assert len(load_source(load_card(name)).find(here)) == ids
    with pytest.raises(MissingDataError, match=r"like marker \(5 recordings\)\."):
        csp_data.load("slip", raw=marker)
    (both / "marker_writing_full_dataset").mkdir()
    inner = marker.rename(both / "marker_writing_full_dataset" / "raw")
    with pytest.raises(MissingDataError, match=r"like marker \(5 recordings\)\."):
        csp_data.load("slip", raw=inner)


def test_a_simulated_tree_is_what_its_stamp_says(
    tree: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    root = tree("marker")
    csp_data.load("slip", raw=root, split="paper")
    said = "no folder of a box above the demonstration: it counts as a box in 5 recordings; demonstration_"
    assert said in caplog.text
    shown = re.search(r"the gripper turns by ([\d.]+) degrees; marker recordings have the same files", caplog.text)
    assert shown is not None
    with h5py.File(next(root.rglob("demonstration_1/kinova*"))) as file:
        turns = Rotation.from_quat(file["orientations"][:])  # scipy's order is the file's: x y z w
    assert float(shown[1]) == pytest.approx(np.degrees((turns * turns[0].inv()).magnitude().max()), rel=0.06)
    (root / "SIMULATED.json").write_text('{"simulated": true, "name": "marker"}')
    with pytest.raises(MissingDataError, match=r"like marker \(5 recordings\)\."):
        csp_data.load("slip", raw=root)
    assert csp_data.load("marker", raw=root).kind == "simulated"


def test_an_empty_folder_is_said_to_be_empty(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"What is there: nothing\. "):
        csp_data.load("marker", raw=tmp_path)
    assert recognise(tmp_path) == {}


@pytest.mark.parametrize(("name", "channels"), [("marker", 30), ("slip", 30), ("joystick", 27)])
def test_demonstrations_are_found_at_any_depth(
    name: str, channels: int, tree: Callable[[str], Path], tmp_path: Path
) -> None:
    root = tree(name)
    source = load_source(load_card(name))
    ids = [recording.id for recording in source.find(root)]
    above = tmp_path / "above"
    above.mkdir()
    root.rename(above / f"{name}_HISS_dataset")
    assert [recording.id for recording in source.find(above)] == ids
    for file in above.rglob("*.h5"):
        file.rename(file.with_name(file.name.upper()))
    assert [recording.id for recording in source.find(above)] == ids
    assert read(name, above).streams["tactile"].values.shape[1] == channels


@pytest.mark.parametrize("name", SIX)
def test_folders_that_are_linked_from_another_disk_are_looked_into_once(
    name: str, tree: Callable[[str], Path], tmp_path: Path
) -> None:
    root, source = tree(name), load_source(load_card(name))
    linked = tmp_path / "linked"
    linked.mkdir()
    for entry in root.iterdir():
        (linked / entry.name).symlink_to(entry)
    assert [recording.id for recording in source.find(linked)] == [recording.id for recording in source.find(root)]
    assert read(name, linked).streams.keys() == read(name, root).streams.keys()
    found = source.find(root)
    (root / "here").symlink_to(root)  # without end
    (root / "again").symlink_to(found[0].files[0].parent)  # twice
    (root / "nowhere").symlink_to(tmp_path / "gone")
    assert source.find(root) == found
    for link in ("b", "a"):  # of two to one folder the first by name counts
        (tmp_path / "two" / link).parent.mkdir(exist_ok=True)
        (tmp_path / "two" / link).symlink_to(root)
    assert len(source.find(tmp_path / "two")) == len(found)
    assert {recording.files[0].parts[len(tmp_path.parts) + 1] for recording in source.find(tmp_path / "two")} == {
        "a"
    }


def test_totalcapture_is_found_as_the_published_code_sorts_it(tree: Callable[[str], Path], tmp_path: Path) -> None:
    """A folder a sequence, whose sensors are imu.txt or, as its next script reads it, imu.sensors."""
    root, card = tree("totalcapture"), load_card("totalcapture")
    source = load_source(card)
    found = source.find(root)
    for number, recording in enumerate(found):
        copy = tmp_path / ("total_capture/train" if number % 2 else "total_capture_test") / recording.id
        copy.mkdir(parents=True)
        names = ("imu.sensors" if number % 2 else "imu.txt", "calib_imu_ref.txt")
        for file, name in zip(recording.files, (*names, *(f.name for f in recording.files[2:])), strict=True):
            shutil.copy(file, copy / name)
    copies = source.find(tmp_path / "total_capture")
    assert [r.id for r in copies] == [r.id for r in found][1::2]
    every = tmp_path / "all"
    every.mkdir()
    for folder in ("total_capture", "total_capture_test"):
        (tmp_path / folder).rename(every / folder)
    copies = source.find(every)
    assert [(r.id, r.group, r.subject) for r in copies] == [(r.id, r.group, r.subject) for r in found]
    protocol = resolve(card, "paper")
    for one, other in zip(found, copies, strict=True):
        before, after = (source.read(recording, card, protocol).streams for recording in (one, other))
        for name, stream in before.items():
            np.testing.assert_array_equal(stream.values, after[name].values)


def test_totalcapture_is_found_however_it_was_unpacked(tree: Callable[[str], Path], tmp_path: Path) -> None:
    root = tree("totalcapture")
    whole = read("totalcapture", root)
    flat = tmp_path / "flat"
    for file in sorted(root.rglob("*")):
        if file.is_file():
            person = file.relative_to(root).parts[0][:2].upper()
            inside = file.parent.name if file.name.startswith("gt_") else ""
            target = flat / person / inside.upper() / file.name.upper()
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    same = read("totalcapture", flat)
    assert same.id == whole.id
    np.testing.assert_array_equal(same.streams["position"].values, whole.streams["position"].values)


@pytest.mark.parametrize(
    ("root", "sensors", "id_"),
    [
        ("any", "Acting1_Xsens.sensors", "s0_acting1"),
        ("S3", "acting1_Xsens_AuxFields.sensors", "s3_acting1"),
        ("S1", "s2_imu/more/acting1_Xsens.sensors", "s2_acting1"),
        ("S1", "s2/s4_acting1_Xsens.sensors", "s4_acting1"),
        ("s1x", "S5_IMU/acting1_xsens.sensors", "s5_acting1"),
    ],
)
def test_whose_totalcapture_sequence_it_is(root: str, sensors: str, id_: str, tmp_path: Path) -> None:
    """The file's name says it, or else the nearest folder that does, up to the root; files are not opened."""
    base, person = tmp_path / root, id_[:2]
    aux = base / "sensors" / person / "acting1_Xsens_AuxFields.sensors"
    truth = base / "truth" / person.upper() / "acting1" / "gt_skel_gbl_pos.txt"
    calibration = base / "calibration" / f"{person}_Acting1_calib_imu_ref.txt"
    for file in (base / sensors, aux, truth, calibration, aux.with_name("._s1_x1_xsens.sensors")):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (found,) = load_source(load_card("totalcapture")).find(base)
    assert (found.id, found.group, found.subject) == (id_, id_, person)
    missing = base / person.upper() / "acting1" / "gt_skel_gbl_ori.txt"  # where it should be
    main = min(base / sensors, aux, key=lambda file: ("Aux" in file.name, file))  # of two exports the shorter one
    assert found.files == (main, calibration, truth, missing)


def test_ronin_sequences_are_found_in_and_beside_the_publishers_folders(tmp_path: Path) -> None:
    """In the order of the publisher's archives, which is that of the published code; what lies elsewhere after."""
    for folder in ("b/a002_3", "b/more/a001_1", "Unseen_Subjects_Test_Set/a009_1", "x/TRAIN_DATASET_2/A000_7"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "data.hdf5").touch()
    (tmp_path / "b/a002_3/INFO.JSON").touch()
    (
        tmp_path / "b/more/a001_1/Info.json"
    ).touch()  # as it stands there, not as it could be asked for on some disks
    (tmp_path / "b/a002_3/other.hdf5").touch()
    found = load_source(load_card("ronin")).find(tmp_path)
    ids = ["train_dataset_2/a000_7", "unseen_subjects_test_set/a009_1", "a001_1", "a002_3"]
    assert [recording.id for recording in found] == ids
    assert [recording.group for recording in found] == ["a000", "a009", "a001", "a002"]
    assert [recording.subject for recording in found] == ["a000", "a009", "a001", "a002"]
    assert [recording.files[1].name for recording in found] == ["info.json", "info.json", "Info.json", "INFO.JSON"]


def test_an_input_much_slower_than_its_card_is_said(
    tree: Callable[[str], Path], caplog: pytest.LogCaptureFixture, trees: ModuleType
) -> None:
    root = tree("marker")
    trees.rewrite(
        root / "demonstration_2/reskin_sensor_values.h5",
        timestamps=lambda t: t[::8],
        sensor_values=lambda v: v[::8],
    )
    csp_data.load("marker", raw=root, protocol="paper")
    assert (
        "rate of an input unlike the card's in 1 recording; demonstration_2: tactile: about 100 Hz" in caplog.text
    )


def test_a_skeleton_that_contradicts_the_order_is_warned_of(
    tree: Callable[[str], Path], trees: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    """Bones that are rigid under one order only: the children turn with their parents."""
    root = tree("totalcapture")
    time = np.arange(330) / 60
    turn = trees.turning(time, 3, rough=True)  # w x y z
    offsets = np.tile([0.0, 8.0, 3.0], (330, 21, 1)) * np.arange(21)[:, None] / 2
    joints = rotate(np.repeat(turn, 21, axis=0), offsets.reshape(-1, 3)).reshape(330, 21, 3)
    for kind, values in (("pos", joints), ("ori", np.repeat(turn[:, None, [1, 2, 3, 0]], 21, axis=1))):
        (file,) = root.rglob(f"rom1/gt_skel_gbl_{kind}.txt")
        rows = ["\t".join(" ".join(f"{v:.6f}" for v in joint) for joint in row) for row in values]
        file.write_text("\n".join(["\t".join(trees.JOINTS), *rows]) + "\n")
    assert not [n for n in read("totalcapture", root, 1, "strict").notes if n.kind == "warning"]
    (note,) = [n for n in read("totalcapture", root, 1, "paper").notes if n.kind == "warning"]
    assert "as xyzw" in note.detail
    csp_data.load("totalcapture", raw=root, protocol="paper")
    assert "contradict truth_quaternions in 1 recording; s1_rom1" in caplog.text


def test_ronin_orientations(tree: Callable[[str], Path], trees: ModuleType) -> None:
    """At rest with no calibration all estimates agree; without ekf_ori it cannot be asked for."""
    root = tree("ronin")
    options = ("game-rv", "ekf", "lowest-error")
    loaded = [csp_data.load("ronin", raw=root, orientation=option) for option in options]
    for other in loaded[1:]:
        for episode in (1, 2):  # in these game_rv and ekf_ori have the lowest error
            np.testing.assert_array_equal(other.train[episode].inputs, loaded[0].train[episode].inputs)
    turned = csp_data.load("ronin", raw=root, orientation="gyro-integration")
    np.testing.assert_array_equal(turned.train[0].inputs, loaded[2].train[0].inputs)
    assert not np.allclose(turned.train[0].inputs, loaded[0].train[0].inputs)
    trees.rewrite(root / "train_dataset_1/a001_1/data.hdf5", **{"pose/ekf_ori": None})
    with pytest.raises(DamagedRecordingError, match="Choose orientation='game-rv'"):
        csp_data.load("ronin", raw=root, orientation="ekf")
