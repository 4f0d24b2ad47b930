"""Damaged recordings: what readers and the pipeline refuse, with which words, and what goes on without them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner

import csp_data
from csp_data import parallel
from csp_data.card import load_card
from csp_data.cli import cli
from csp_data.errors import DamagedRecordingError, MissingDataError
from csp_data.protocol import resolve
from csp_data.sources import load_source, ronin
from csp_data.sources.skeleton import check_inches

SIX = ("joystick", "marker", "ronin", "slip", "totalcapture", "vector")


@pytest.mark.parametrize("name", SIX)
def test_a_cut_or_missing_file_is_named(name: str, tree: Callable[[str], Path]) -> None:
    root = tree(name)
    card = load_card(name)
    source, protocol = load_source(card), resolve(card, "paper")
    for file in source.find(root)[0].files:
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
        with pytest.raises(DamagedRecordingError, match=r"expected .* found .*") as caught:
            source.read(source.find(root)[0], card, protocol)
        assert file.name in str(caught.value)
        assert file.stem.split(".")[0] in str(caught.value)
        if file != load_source(load_card(name)).find(root)[0].files[0]:
            file.unlink()
            with pytest.raises(DamagedRecordingError) as caught:
                source.read(source.find(root)[0], card, protocol)
            assert caught.value.path.name.lower() == file.name.lower()
        file.write_bytes(content)
    source.read(source.find(root)[0], card, protocol)


def test_damaged_recordings_are_skipped_only_on_request(tree: Callable[[str], Path], empty_home: Path) -> None:
    root = tree("marker")
    whole = csp_data.load("marker", raw=root)
    parts = {row.id: row.split for row in whole.episodes}
    victim = root / "demonstration_2" / "reskin_sensor_values.h5"
    content = victim.read_bytes()
    victim.write_bytes(content[:1000])
    before = list(empty_home.glob("prepared/*"))
    with pytest.raises(DamagedRecordingError, match="demonstration_2"):
        csp_data.load("marker", raw=root)
    assert [file for file in empty_home.glob("prepared/*.h5") if file not in before] == []
    assert not list(empty_home.glob("prepared/*.part"))
    dataset = csp_data.load("marker", raw=root, skip_damaged=True)
    left = {row.id: row.split for row in dataset.episodes}
    assert left == {id_: part for id_, part in parts.items() if id_ != "demonstration_2"}
    (note,) = [note for note in dataset.provenance["notes"] if note["kind"] == "skip"]
    assert note["recording"] == "demonstration_2"
    assert "reskin_sensor_values.h5" in note["detail"]
    result = CliRunner().invoke(cli, ["info", "marker", "--raw", str(root), "--prepared", "--skip-damaged"])
    assert "demonstration_2: damaged recording skipped" in result.output
    assert "1,000 recordings promised, 5 found, 4 used" in result.output
    for command, out in (("export", "left.npz"), ("plot", "left.svg")):
        line = [command, "marker", "--raw", str(root), "-o", str(empty_home / out), "--skip-damaged"]
        assert CliRunner().invoke(cli, line).exit_code == 0
    with np.load(empty_home / "left.npz") as written:
        assert set(written["id"]) == set(left)
    with pytest.raises(DamagedRecordingError, match="demonstration_2"):  # what lacks it is not taken for the whole
        csp_data.load("marker", raw=root)
    victim.write_bytes(content)
    assert {row.id: row.split for row in csp_data.load("marker", raw=root).episodes} == parts


def test_a_damaged_file_stops_several_processes_as_it_stops_one(
    tree: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = tree("marker")
    file = root / "demonstration_3/reskin_sensor_values.h5"
    file.write_bytes(file.read_bytes()[:5000])
    said = []
    for jobs, least in ((1, 1 << 40), (2, 0)):
        monkeypatch.setattr(parallel, "WORTH_PROCESSES", least)
        with pytest.raises(DamagedRecordingError, match=r"truncated file.*--skip-damaged") as caught:
            csp_data.prepare("marker", raw=root, jobs=jobs, out=tmp_path / "out.h5")
        assert caught.value.path == file
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert not (tmp_path / "out.h5").exists()


def test_verify_names_the_file_at_fault(tree: Callable[[str], Path]) -> None:
    root = tree("marker")
    good, bad = (
        root / f"demonstration_3/{name}.h5" for name in ("reskin_sensor_values", "kinova_cartesian_states")
    )
    bad.write_text("<html>")
    (root / "demonstration_10" / good.name.replace("reskin_sensor_values", "kinova_cartesian_states")).unlink()
    (root / "SIMULATED.json").write_text('{"name": "marker"}')
    status = {file.path: file for file in csp_data.verify("marker", raw=root, deep=True).files}
    assert status["demonstration_3/kinova_cartesian_states.h5"].status == "unreadable"
    assert status["demonstration_3/reskin_sensor_values.h5"].status == "ok"
    assert status["demonstration_10/kinova_cartesian_states.h5"].status == "missing"
    assert "SIMULATED.json" not in status
    assert "csp-data verify" not in str(status["demonstration_3/kinova_cartesian_states.h5"])
    quick = {file.path: file.status for file in csp_data.verify("marker", raw=root).files}
    assert quick["demonstration_10/kinova_cartesian_states.h5"] == "missing"


def test_the_random_split_keeps_the_place_of_a_skipped_recording(tree: Callable[[str], Path]) -> None:
    root = tree("slip")
    parts = {row.id: row.split for row in csp_data.load("slip", raw=root).episodes}
    for id_ in list(parts)[:2]:
        file = root / id_ / "kinova_cartesian_states.h5"
        content = file.read_bytes()
        file.write_bytes(b"nothing")
        left = {row.id: row.split for row in csp_data.load("slip", raw=root, skip_damaged=True).episodes}
        assert left == {name: part for name, part in parts.items() if name != id_}
        file.write_bytes(content)


def test_a_clock_in_nanoseconds_is_refused_with_its_rate(tree: Callable[[str], Path], trees: ModuleType) -> None:
    root = tree("ronin")
    trees.rewrite(root / "train_dataset_1/a001_1/data.hdf5", **{"synced/time": lambda t: t * 1e9})
    with pytest.raises(
        DamagedRecordingError,
        match=r"a001_1: rate of accelerometer: expected about 200 Hz.* looks like nanoseconds",
    ):
        csp_data.load("ronin", raw=root)


@pytest.mark.parametrize("protocol", ["paper", "strict"])
@pytest.mark.parametrize("change", [lambda t: t[::-1], lambda t: t[0] + 0 * t], ids=["backward", "still"])
def test_a_clock_that_never_goes_on_is_refused(
    protocol: str,
    change: Callable[[np.ndarray], np.ndarray],
    tree: Callable[[str], Path],
    trees: ModuleType,
) -> None:
    """All its samples but one were left out, and the recording with them, without a word."""
    root = tree("marker")
    trees.rewrite(root / "demonstration_2/kinova_cartesian_states.h5", timestamps=change)
    with pytest.raises(
        DamagedRecordingError, match=r"demonstration_2: time of position: .* none later than the first"
    ):
        csp_data.load("marker", raw=root, protocol=protocol)


def test_numbers_with_decimal_commas_are_refused(tree: Callable[[str], Path]) -> None:
    """Each was taken for two numbers, and of the times only the seconds counted: accelerations of 1e8 m/s^2."""
    root = tree("vector")
    for file in root.glob("desk*imu.txt"):
        file.write_text(file.read_text().replace(".", ","))
    with pytest.raises(DamagedRecordingError, match=r"desk_fast1.*rate of accelerometer: .* found 1 Hz"):
        csp_data.load("vector", raw=root)


def test_a_clock_of_which_most_stamps_are_repeated(tree: Callable[[str], Path], trees: ModuleType) -> None:
    """A recorder that polls faster than the sensor measures: what is new is used."""
    root = tree("marker")
    file = root / "demonstration_2/kinova_cartesian_states.h5"
    whole = csp_data.load("marker", raw=root, protocol="strict")
    thrice = {"timestamps": 0, "positions": 0, "orientations": 0}
    trees.rewrite(file, **dict.fromkeys(thrice, lambda values: np.repeat(values, 3, axis=0)))
    again = csp_data.load("marker", raw=root, protocol="strict")
    for before, after in zip(whole.train, again.train, strict=True):
        np.testing.assert_array_equal(before.targets, after.targets)


@pytest.mark.parametrize("protocol", ["paper", "strict"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("row", [0, 40, -1])
def test_a_time_that_is_no_number_is_refused(
    protocol: str, value: float, row: int, tree: Callable[[str], Path], trees: ModuleType
) -> None:
    """All samples after it were left out as if their times went backward, or the whole recording."""
    root = tree("marker")

    def broken(time: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        time[row] = value
        return time

    trees.rewrite(root / "demonstration_2/kinova_cartesian_states.h5", timestamps=broken)
    with pytest.raises(
        DamagedRecordingError, match=r"demonstration_2: time of sample \d+ of position: .*found (nan|inf)"
    ):
        csp_data.load("marker", raw=root, protocol=protocol)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_clip_hides_no_value_that_is_no_number(
    value: float, tree: Callable[[str], Path], trees: ModuleType
) -> None:
    """Nor does a baseline spread it: the message says how many samples there are in the file."""
    root = tree("joystick")

    def broken(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        values[0, 0] = value
        return values

    trees.rewrite(root / "demonstration_2/touch_sensor_values.h5", palm_sensor_values=broken)
    with pytest.raises(
        DamagedRecordingError,
        match=rf"channel palm_1_x of tactile .*found {value} \(1 such samples\).*leave these rows out",
    ):
        csp_data.load("joystick", raw=root)


def test_if_all_is_skipped_the_reason_is_said(tree: Callable[[str], Path], trees: ModuleType) -> None:
    root = tree("ronin")
    for file in root.rglob("data.hdf5"):
        trees.rewrite(file, **{"synced/time": lambda time: time * 1e9})
    with pytest.raises(MissingDataError, match=r"were skipped as damaged, the first: .*nanoseconds"):
        csp_data.load("ronin", raw=root, skip_damaged=True)


def test_positions_in_metres_are_refused_with_their_reach(tree: Callable[[str], Path]) -> None:
    root = tree("totalcapture")
    (file,) = root.rglob("rom1/gt_skel_gbl_pos.txt")
    head, *rows = file.read_text().splitlines()
    metres = [
        "\t".join(" ".join(f"{float(v) * 0.0254:.6f}" for v in j.split()) for j in r.split("\t")) for r in rows
    ]
    file.write_text("\n".join([head, *metres]))
    with pytest.raises(DamagedRecordingError, match=r"12 to 130 inches, found 1\.\d+, which looks like metres"):
        csp_data.load("totalcapture", raw=root)


@pytest.mark.parametrize(
    ("inches_per_unit", "unit"),
    [(1.0, None), (1 / 0.0254, "metres"), (1 / 2.54, "centimetres"), (1 / 25.4, "milli")],
)
def test_the_reach_of_a_skeleton_is_that_of_a_body_wherever_it_goes(
    inches_per_unit: float, unit: str | None
) -> None:
    body = np.stack([np.linspace(-8, 8, 21), np.linspace(0, 67, 21), np.zeros(21)], axis=1)
    walk = np.linspace(0, 400, 50)[:, None, None] * [1.0, 0.0, -1.0]
    position = (body + walk) / inches_per_unit
    if unit is None:
        check_inches(Path("made.txt"), position)
        return
    with pytest.raises(DamagedRecordingError, match=rf"found {67 / inches_per_unit:.2f}, which looks like {unit}"):
        check_inches(Path("made.txt"), position)


def test_empty_lines_of_a_skeleton_count_for_nothing(tree: Callable[[str], Path]) -> None:
    """Positions were read without them, and orientations were looked up as if they were frames."""
    root = tree("totalcapture")
    whole = csp_data.load("totalcapture", raw=root)
    for kind in ("pos", "ori"):
        (file,) = root.rglob(f"rom1/gt_skel_gbl_{kind}.txt")
        head, *rows = file.read_text().splitlines()
        file.write_text("\n".join([head, "", *rows[:5], "", *rows[5:]]))
    again = csp_data.load("totalcapture", raw=root)
    for before, after in zip(whole.train, again.train, strict=True):
        np.testing.assert_array_equal(before.targets, after.targets)


def test_zeros_as_quaternions_are_refused_in_one_line(tree: Callable[[str], Path], trees: ModuleType) -> None:
    """Numpy's warnings stood before the message."""
    root = tree("ronin")
    trees.rewrite(root / "train_dataset_1/a001_1/data.hdf5", **{"pose/tango_ori": lambda q: 0 * q})
    result = CliRunner().invoke(cli, ["prepare", "ronin", "--raw", str(root)])
    assert result.exit_code == 3
    [line] = result.stderr.splitlines()
    assert "a001_1: channel acc_x" in line
    assert csp_data.verify("ronin", raw=root, deep=True).failures


def test_recordings_of_other_channels_are_refused(tree: Callable[[str], Path], trees: ModuleType) -> None:
    root = tree("joystick")
    trees.rewrite(root / "demonstration_2/touch_sensor_values.h5", palm_sensor_values=lambda values: values[:, :1])
    with pytest.raises(
        DamagedRecordingError, match=r"demonstration_2: input channels: expected the 27 of .* found 24"
    ):
        csp_data.load("joystick", raw=root, protocol="strict")


@pytest.mark.parametrize(
    ("name", "file", "change", "message"),
    [
        (
            "marker",
            "demonstration_1/reskin_sensor_values.h5",
            {"sensor_values": None},
            "'sensor_values' is missing",
        ),
        (
            "marker",
            "demonstration_1/reskin_sensor_values.h5",
            {"sensor_values": lambda v: v[:, :29]},
            r"shape of tactile: expected \(T, 30\)",
        ),
        (
            "marker",
            "demonstration_1/kinova_cartesian_states.h5",
            {"timestamps": lambda t: t[:1]},
            "T of at least 2",
        ),
        (
            "slip",
            "box_a/demonstration_1/kinova_cartesian_states.h5",
            {"orientations": lambda q: q * (np.arange(len(q)) != 7)[:, None]},
            "orientation at .* expected a norm of 1, found 0",
        ),
        ("joystick", "demonstration_1/extreme3d_values.h5", {"axes": lambda v: v[:, :2]}, r"expected \(T, 3\)"),
        (
            "joystick",
            "demonstration_1/touch_sensor_values.h5",
            {"palm_sensor_values": lambda v: v[..., :2]},
            r"shape of 'palm': expected \(T, ..., 3\)",
        ),
        ("ronin", "train_dataset_1/a001_1/data.hdf5", {"pose/tango_pos": None}, "'pose/tango_pos' is missing"),
        ("ronin", "train_dataset_1/a001_1/data.hdf5", {"synced/acce": lambda v: v[:-1]}, "shape of 'synced/acce'"),
        (
            "ronin",
            "train_dataset_1/a001_1/data.hdf5",
            {"synced/acce": lambda v: v.astype("S8")},
            "expected numbers",
        ),
        ("ronin", "train_dataset_1/a001_1/data.hdf5", {"synced/time": lambda t: t[0]}, "shape of 'synced/time'"),
        (
            "ronin",
            "train_dataset_1/a001_1/data.hdf5",
            {key: lambda v: v[:1] for key in (*ronin.ARRAYS, "pose/ekf_ori")},
            r"shape of 'synced/time': expected \(1,\)",
        ),
        (
            "ronin",
            "train_dataset_1/a001_1/data.hdf5",
            {"synced/acce": lambda v: v * 1e45},
            "acc_., row 0 of an episode: expected finite numbers, as float32 holds them",
        ),
    ],
)
def test_arrays_of_another_shape_are_refused(
    name: str,
    file: str,
    change: dict[str, Callable[[np.ndarray], np.ndarray]],
    message: str,
    tree: Callable[[str], Path],
    trees: ModuleType,
) -> None:
    root = tree(name)
    trees.rewrite(root / file, **change)
    with pytest.raises(DamagedRecordingError, match=message):
        csp_data.load(name, raw=root)


def test_an_array_larger_than_any_memory_is_refused(tree: Callable[[str], Path]) -> None:
    """Of what is never written only the size stands in the file."""
    root = tree("marker")
    file = root / "demonstration_1/reskin_sensor_values.h5"
    with h5py.File(file, "r+") as opened:
        del opened["sensor_values"]
        opened.create_dataset("sensor_values", shape=(10**13, 30), dtype="f8", chunks=(64, 30))
    with pytest.raises(DamagedRecordingError, match="'sensor_values' cannot be read"):
        csp_data.load("marker", raw=root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"imu_acce_scale": [1.0, 2.0]}, "field 'imu_acce_scale': expected 3 numbers"),
        ({"start_calibration": None}, "field 'start_calibration'"),
        ({"start_frame": 10**6}, "start_frame: expected 0 to"),
        ({"start_frame": None}, "start_frame: expected 0 to .*found None"),
        ({"start_frame": "first"}, "start_frame: expected 0 to .*found 'first'"),
        ({"start_frame": 0.5}, "start_frame: expected 0 to .*found 0.5"),
        ({"grv_ori_error": "small"}, "info.json: field 'grv_ori_error': expected a number, found 'small'"),
        ({"grv_ori_error": 10**400}, "info.json: field 'grv_ori_error': expected a number"),
        ({"imu_acce_scale": [10**400, 1, 1]}, "info.json: field 'imu_acce_scale': expected 3 numbers"),
    ],
)
def test_a_wrong_info_file_is_refused(
    change: dict[str, object], message: str, tree: Callable[[str], Path]
) -> None:
    root = tree("ronin")
    file = root / "train_dataset_1/a001_1/info.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(DamagedRecordingError, match=message):
        csp_data.load("ronin", raw=root)


@pytest.mark.parametrize("text", ["", "[", "[1]", "[" * 100_000])
def test_an_info_file_that_is_no_object_is_refused(text: str, tree: Callable[[str], Path]) -> None:
    root = tree("ronin")
    (root / "train_dataset_1/a001_1/info.json").write_text(text)
    with pytest.raises(DamagedRecordingError, match=r"info\.json: .*expected a JSON"):
        csp_data.load("ronin", raw=root)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("L_UpArm\t", "L_Elbow\t", r"sensor 'L_UpArm'|frames: expected"),
        ("\t0.", "\tx", "frames: expected"),
        ("13\t", "13\tmany ", "header: expected"),
        ("Head\t", "Head\t1.0\t2.0\t", "values a sensor|frames"),
        ("13\t", "99999999999999999999\t", "header: expected"),
        ("13\t", "13\t9999999999", "frames: expected 9999999999"),
        ("13\t", "13\t9999999999999999999", "frames: expected 9999999999999999999"),
    ],
)
def test_a_wrong_sensors_file_is_refused(
    before: str, after: str, message: str, tree: Callable[[str], Path]
) -> None:
    root = tree("totalcapture")
    (file,) = root.rglob("s1_rom1_Xsens.sensors")
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))
    with pytest.raises(DamagedRecordingError, match=message):
        csp_data.load("totalcapture", raw=root)


Rows = list[list[str]]


def words(row: int, columns: slice, word: str) -> Callable[[Rows], Rows]:
    """Replace words of a row of a text file."""
    return lambda rows: [
        [word if i == row and j in range(100)[columns] else old for j, old in enumerate(line)]
        for i, line in enumerate(rows)
    ]


@pytest.mark.parametrize(
    ("name", "file", "change", "message"),
    [
        ("vector", "board_slow1.synced.gt.txt", words(7, slice(4, 8), "0.7"), r"quaternion at 10\.\d+ s: .* 1\.4"),
        ("vector", "board_slow1.synced.gt.txt", words(7, slice(4, 8), "nan"), r"quaternion at 10\.\d+ s: .* nan"),
        ("vector", "board_slow1.synced.gt.txt", lambda rows: rows[:2], "at least 8 and 2"),
        ("vector", "board_slow1.synced.imu.txt", lambda rows: [row[:6] for row in rows], "at least 7 and 2"),
        (
            "totalcapture",
            "rom1/gt_skel_gbl_pos.txt",
            words(0, slice(2, 3), "Back"),
            "line 1: .*'Spine1' among them",
        ),
        ("totalcapture", "s1_rom1_Xsens.sensors", words(9, slice(1, 5), "0.0"), "orientations: .* quaternions"),
        ("totalcapture", "s1_rom1_Xsens.sensors", lambda rows: [["13", "1"], *rows[1:15]], "two frames or more"),
        (
            "totalcapture",
            "s1_rom1_calib_imu_ref.txt",
            words(3, slice(4, 5), "x"),
            "rotations: expected name x y z w",
        ),
    ],
)
def test_text_files_of_other_numbers_are_refused(
    name: str, file: str, change: Callable[[Rows], Rows], message: str, tree: Callable[[str], Path]
) -> None:
    root = tree(name)
    (path,) = root.rglob(file)
    rows = change([line.split() for line in path.read_text().splitlines()])
    path.write_text("\n".join(" ".join(row) for row in rows) + "\n")
    card = load_card(name)
    source = load_source(card)
    (found,) = [one for one in source.find(root) if path in one.files]
    with pytest.raises(DamagedRecordingError, match=message) as caught:
        source.read(found, card, resolve(card, "strict"))
    assert caught.value.path == path


def test_the_same_recording_twice_is_refused(tree: Callable[[str], Path]) -> None:
    root = tree("vector")
    (root / "again").mkdir()
    for file in root.glob("board*"):
        shutil.copy(file, root / "again")
    with pytest.raises(DamagedRecordingError, match=r"'board_slow1': expected one of that id, found another at"):
        csp_data.load("vector", raw=root)
