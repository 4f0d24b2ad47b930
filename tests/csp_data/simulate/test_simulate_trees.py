"""Simulated trees: the publishers' layouts, reproducible, plausible, and never to be taken for measurements."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import zipfile
from importlib import import_module
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import csp_data
from csp_data.errors import CspDataError, OptionError, UnknownNameError
from csp_data.simulate import (
    NAMES,
    full_hours,
    joystick,
    marker,
    ronin,
    simulate,
    slip,
    totalcapture,
    vector,
)
from csp_data.simulate.plan import DEFECT_RATE, Task, generator
from csp_data.simulate.stamp import STAMP, read_stamp

TINY = 1e-3  # h: as small as a tree can be


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("simulated")
    return {name: simulate(name, folder / name, hours=TINY, seed=1) for name in NAMES}


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def table(text: str) -> np.ndarray:
    return np.array([[float(word) for word in line.split()] for line in text.splitlines()])


# ---------- whole trees


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_bytes_whatever_the_jobs(trees, tmp_path, name):
    again = simulate(name, tmp_path / "again", hours=TINY, seed=1, jobs=2)
    assert digests(again) == digests(trees[name])


def test_another_seed_gives_other_recordings(trees, tmp_path):
    other = digests(simulate("marker", tmp_path / "other", hours=TINY, seed=2))
    assert not set(other.values()) & set(digests(trees["marker"]).values())


@pytest.mark.parametrize("name", NAMES)
def test_every_tree_says_that_it_is_simulated(trees, name):
    stamp = json.loads((trees[name] / STAMP).read_text())
    assert stamp["simulated"] is True
    assert (stamp["name"], stamp["seed"], stamp["hours"]) == (name, 1, TINY)
    assert stamp == read_stamp(trees[name])


def test_parts_of_a_tree_and_folders_around_it_are_simulated_too(trees):
    wanted = read_stamp(trees["slip"])
    assert wanted is not None
    assert read_stamp(trees["slip"] / "box_03") == wanted
    around = read_stamp(trees["slip"].parent)
    assert around is not None
    assert around["simulated"] is True


def test_a_damaged_stamp_still_says_simulated(tmp_path):
    assert read_stamp(tmp_path) is None
    for text in ("{", "[]", '{"simulated": false}'):
        (tmp_path / STAMP).write_text(text)
        stamp = read_stamp(tmp_path)
        assert stamp is not None
        assert stamp["simulated"] is True


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("protocol", ["paper", "strict"])
def test_the_readers_prepare_it(trees, tmp_path, name, protocol):
    path = csp_data.prepare(name, raw=trees[name], protocol=protocol, out=tmp_path / "out.h5")
    ds = csp_data.load(path=path)
    for split in (ds.split(part) for part in ds.parts):
        assert len(split) > 0
        assert all(np.isfinite(e.inputs).all() and np.isfinite(e.targets).all() for e in split)
        assert all(np.std(e.targets, axis=0).max() > 0 for e in split)


def test_hours_set_the_number_of_recordings_or_their_length(tmp_path):
    many = read_stamp(simulate("joystick", tmp_path / "a", hours=0.2, seed=0))
    assert many is not None
    assert many["recordings"] == round(0.2 * 3600 / 32.5)
    assert many["seconds"] == pytest.approx(720, rel=0.2)
    long = read_stamp(simulate("vector", tmp_path / "b", hours=0.2, seed=0))
    assert long is not None
    assert (long["recordings"], long["seconds"]) == (18, pytest.approx(720, rel=0.02))


def test_bad_requests_leave_nothing_behind(tmp_path):
    with pytest.raises(UnknownNameError, match="marker"):
        simulate("markers", tmp_path / "x", hours=1, seed=0)
    for name, value in (("hours", 0.0), ("hours", float("nan")), ("seed", -1)):
        with pytest.raises(OptionError, match=f"^{name}="):
            simulate("marker", tmp_path / "x", **{"hours": 1, "seed": 0, name: value})
    with pytest.raises(OptionError, match="archives"):
        simulate("marker", tmp_path / "x", hours=1, seed=0, archives=True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(OptionError, match="new or empty"):
        simulate("marker", tmp_path / "full", hours=TINY, seed=0)
    assert [path.name for path in tmp_path.rglob("*.txt")] == ["thesis.txt"]


def test_a_failure_half_way_leaves_nothing_behind(tmp_path, monkeypatch):
    def broken(*_: object) -> None:
        raise OSError("disk full")

    # the package's attribute of this name is the function, so the module is asked for by import
    monkeypatch.setattr(import_module("csp_data.simulate"), "write_stamp", broken)
    with pytest.raises(CspDataError, match="x cannot be written: disk full"):
        simulate("marker", tmp_path / "x", hours=TINY, seed=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_full_size_is_about_what_the_publishers_recorded(name):
    recordings = {"marker": 1000, "slip": 1100, "joystick": 1000, "ronin": 152, "vector": 18, "totalcapture": 46}
    source = {m.__name__.rsplit(".", 1)[1]: m for m in (joystick, marker, ronin, slip, totalcapture, vector)}[name]
    tasks = source.SIMULATION.plan(full_hours(name), 0, generator(0, "plan"))
    assert len(tasks) == pytest.approx(recordings[name], rel=0.01)
    assert len({task.id for task in tasks}) == len(tasks)
    if name in ("marker", "slip", "joystick"):
        for defect in {task.defect for task in tasks} - {None}:
            assert sum(task.defect == defect for task in tasks) / len(tasks) == pytest.approx(
                DEFECT_RATE, abs=0.01
            )


# ---------- layouts of the originals

GOLDEN_HDF5 = {
    "marker": ("marker_writing_hiss_dataset/raw", ("kinova_cartesian_states.h5", "reskin_sensor_values.h5")),
    "slip": ("intrinsic_slip_hiss_dataset/raw", ("kinova_cartesian_states.h5", "reskin_sensor_values.h5")),
    "joystick": ("joystick_control_hiss_dataset/raw", ("extreme3d_values.h5", "touch_sensor_values.h5")),
    "ronin": ("ronin/raw", ("data.hdf5",)),
}


def layout(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Key -> type and shape without time."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda key, item: (
                found.update({key: (str(item.dtype), item.shape[1:])}) if isinstance(item, h5py.Dataset) else None
            )
        )
    return found


@pytest.mark.parametrize("name", GOLDEN_HDF5)
def test_hdf5_layout_is_the_golden_one(trees, reference_dir, name):
    folder, files = GOLDEN_HDF5[name]
    golden = reference_dir / "golden" / "seed0" / folder
    depth = {len(path.relative_to(golden).parts) for path in golden.rglob(files[0])}
    assert {len(path.relative_to(trees[name]).parts) for path in trees[name].rglob(files[0])} == depth
    for file in files:
        wanted = layout(sorted(golden.rglob(file))[0])
        for path in trees[name].rglob(file):
            found = layout(path)
            assert found.items() >= wanted.items()
            assert name == "ronin" or found.keys() == wanted.keys()


def test_text_layouts_are_the_golden_ones(trees, reference_dir):
    golden = reference_dir / "golden" / "seed0"
    ours, theirs = (
        sorted(root.glob("*desk*normal1.synced.gt.txt"))[0].read_text().splitlines()
        for root in (trees["vector"], golden / "vector" / "raw")
    )
    assert ours[1] == theirs[1]
    assert len(ours[2].split(" ")) == len(theirs[2].split(" ")) == 8
    with tarfile.open(golden / "total_capture" / "raw" / "S1_imu.tar.gz") as imu:
        names = imu.getnames()
        for name in names:
            wanted = imu.extractfile(name).read(5000).decode().splitlines()  # type: ignore[union-attr]
            found = (trees["totalcapture"] / name).read_text().splitlines()
            for line, other in zip(found[:16], wanted[:16], strict=False):
                assert [len(field.split(" ")) for field in line.split("\t")] == [
                    len(field.split(" ")) for field in other.split("\t")
                ]
                assert re.split(r"[\t ]", line)[0].isalpha() == re.split(r"[\t ]", other)[0].isalpha()
    with tarfile.open(golden / "total_capture" / "raw" / "S1_vicon_pos_ori.tar.gz") as truth:
        for name in truth.getnames():
            head = truth.extractfile(name).readline().decode().split()  # type: ignore[union-attr]
            with (trees["totalcapture"] / name).open() as file:
                assert file.readline().split() == head


# ---------- the sources


def h5(path: Path, key: str) -> np.ndarray:
    with h5py.File(path) as file:
        return file[key][()]


def test_marker_draws_8_to_12_strokes_in_a_square():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        path = marker.strokes(rng, 22.0)
        time = np.linspace(0, 22, 2201)
        x, y, height = path(time)
        assert np.abs([x, y]).max() <= 0.05
        assert height.min() >= 0
        assert 8 <= (path.bulge[:, 2] == 0).sum() <= 12
        assert path.starts[0] > 0.5
        assert path.starts[-1] + path.durations[-1] < 21.5


def test_marker_and_slip_files_are_what_they_claim(trees):
    for name, span in (("marker", (14.5, 30)), ("slip", (24.5, 30))):
        for folder in {path.parent for path in trees[name].rglob("*.h5")}:
            values = h5(folder / "reskin_sensor_values.h5", "sensor_values")
            time = h5(folder / "reskin_sensor_values.h5", "timestamps")
            assert h5(folder / "reskin_sensor_values.h5", "num_datapoints") == len(time)
            assert span[0] < time[-1] - time[0] < span[1]
            assert np.abs(np.diff(values, axis=0)).max() < 1000
            assert np.abs(values).max() < 14_000
            quaternions = h5(folder / "kinova_cartesian_states.h5", "orientations")
            np.testing.assert_allclose(np.linalg.norm(quaternions, axis=1), 1.0, atol=1e-9)


def test_slip_has_ten_boxes_each_its_own(trees):
    assert sorted(p.name for p in trees["slip"].iterdir() if p.is_dir()) == [f"box_{k:02d}" for k in range(1, 11)]
    boxes = [slip.Box(generator(0, f"box_{k:02d}")) for k in range(1, 11)]
    assert len({box.slip_at for box in boxes}) == 10


@pytest.mark.parametrize("defect", ["jump", "duplicate stamps", "unequal lengths"])
def test_defects_are_what_they_are_called(tmp_path, defect):
    for source in (marker, slip, joystick):
        kind = "short" if source is joystick and defect == "jump" else defect
        task = Task("box_01/demonstration_3", 16.0, 5, group="box_01", kind="skin 0", defect=kind)
        source.SIMULATION.write(tmp_path / source.__name__, task)
        folder = tmp_path / source.__name__ / task.id
        touch = folder / ("touch_sensor_values.h5" if source is joystick else "reskin_sensor_values.h5")
        key = "palm_sensor_values" if source is joystick else "sensor_values"
        values, time = h5(touch, key), h5(touch, "timestamps")
        jumps = bool(np.abs(np.diff(values.reshape(len(values), -1), axis=0)).max() > 1000)
        assert jumps == (kind == "jump")
        assert bool((np.diff(time) == 0).any()) == (defect == "duplicate stamps")
        assert (np.diff(time) >= 0).all()
        assert (len(values) < len(time)) == (defect == "unequal lengths")


def test_short_joystick_demonstrations_are_planned_short():
    tasks = joystick.SIMULATION.plan(9.0, 0, generator(0, "plan"))
    assert {task.defect == "short" for task in tasks if task.seconds < 15} == {True}
    assert all(25 <= task.seconds <= 40 for task in tasks if task.defect != "short")


def test_joystick_counts_are_whole_and_near_their_baseline(trees):
    for path in trees["joystick"].rglob("touch_sensor_values.h5"):
        for key in joystick.ARRAYS:
            values = h5(path, key)
            assert (values == np.rint(values)).all()
            assert np.abs(np.median(values[:100], axis=0) - joystick.BASELINE).max() < 2500


def test_ronin_calibrates_to_gravity_and_the_pose(trees):
    kinds = set()
    for path in trees["ronin"].rglob("data.hdf5"):
        info = json.loads(path.with_name("info.json").read_text())
        optional = {"start_frame", "align_tango_to_body", "tango_reference_time"}
        kinds.add(tuple(sorted(optional & info.keys())))
        assert len(optional & info.keys()) in (0, 3)
        acce, game = h5(path, "synced/acce"), h5(path, "synced/game_rv")
        tango, position = h5(path, "pose/tango_ori"), h5(path, "pose/tango_pos")
        acce = np.array(info["imu_acce_scale"]) * (acce - info["imu_acce_bias"])
        # the published alignment: Tango's first pose, times the calibration, undoes the phone's first orientation
        q = lambda wxyz: Rotation.from_quat(wxyz, scalar_first=True)  # noqa: E731
        align = q(tango[0]) * q(info["start_calibration"]) * q(game[0]).inv()
        force = (align * q(game)).apply(acce)
        # over a whole walk the mean acceleration is the change of speed, at most 1.7 m/s in 20 s; the filter's
        # error tilts gravity
        bound = 0.1 + 9.81 * np.radians(info["grv_ori_error"])
        np.testing.assert_allclose(force.mean(axis=0), [0, 0, 9.81], atol=bound)
        seconds = np.diff(h5(path, "synced/time")[::200])
        assert (np.linalg.norm(np.diff(position[::200], axis=0), axis=1) < 2.5 * seconds).all()
    assert len(kinds) <= 2


def test_ronin_lists_every_published_sequence_once():
    names = [name for listed in ronin.LISTS.values() for name in listed]
    assert len(names) == len(set(names)) == 152
    tasks = ronin.SIMULATION.plan(TINY, 0, generator(0, "plan"))
    for listed in ronin.LISTS.values():
        assert {task.id for task in tasks} & set(listed)
    assert (
        sum(task.group == "seen_subjects_test_set" for task in ronin.SIMULATION.plan(23.1, 0, generator(0, "")))
        == 35
    )


def test_vector_imu_starts_before_the_truth_and_ends_after_it(trees):
    flips = []
    for path in trees["vector"].glob("*.imu.txt"):
        lines = path.read_text().split("\n", 3)
        assert lines[2] == "# timestamp gx gy gz ax ay az qx qy qz qw"
        imu = table(lines[3])
        truth = table(path.with_name(path.name.replace("imu", "gt")).read_text().split("\n", 2)[2])
        assert 0.9 < truth[0, 0] - imu[0, 0] < 2.6
        assert imu[-1, 0] > truth[-1, 0]
        assert np.median(np.diff(imu[:, 0])) == pytest.approx(0.005, rel=0.02)
        for quaternions in (imu[:, 7:], truth[:, 4:]):
            np.testing.assert_allclose(np.linalg.norm(quaternions, axis=1), 1.0, atol=3e-6)
        flips.append(((truth[1:, 4:] * truth[:-1, 4:]).sum(axis=1) < 0).sum())
    assert len(flips) == 18
    assert 0 < max(flips) <= vector.MOST_FLIPS


def test_totalcapture_text(trees):
    root = trees["totalcapture"]
    sequences = sorted(str(path.parent.relative_to(root)) for path in root.rglob("gt_skel_gbl_pos.txt"))
    assert len(sequences) == 46
    for sequence in sequences[::9]:
        subject, name = sequence.split("/")
        both = [root / subject / f"{subject.lower()}_{name}_Xsens{kind}.sensors" for kind in ("", "_AuxFields")]
        sensors = next(path for path in both if path.exists()).read_text().splitlines()
        count, frames = (int(word) for word in sensors[0].split("\t"))
        assert (count, len(sensors)) == (13, 1 + 14 * frames)
        assert sensors[1::14] == [str(k) for k in range(1, frames + 1)]
        for file, width in (("pos", 3), ("ori", 4)):
            lines = (root / sequence / f"gt_skel_gbl_{file}.txt").read_text().split("\n")
            assert lines.pop() == ""
            assert len(lines) == 1 + frames + 1  # names, and one frame more than the sensors
            fields = [line.split("\t") for line in lines]
            assert all(len(row) == 22 and row[21] == "" for row in fields)
            assert all(len(field.split(" ")) == width for field in fields[1][:21])
    kinds = {path.name.split("_Xsens")[1] for path in root.rglob("*.sensors")}
    assert kinds == {".sensors", "_AuxFields.sensors"}


def test_totalcapture_calibration_turns_sensors_to_bones(trees):
    """Sensor orientations, turned to the world by the calibration, keep a constant angle to their bones."""
    root = trees["totalcapture"] / "S1"
    lines = (root / "s1_walking1_Xsens.sensors").read_text().splitlines()
    frames = int(lines[0].split("\t")[1])
    rows = [line.split("\t") for line in lines[1:] if "\t" in line]
    text = (root / "s1_walking1_calib_imu_ref.txt").read_text()
    calibration = {line.split(" ")[0]: np.array(line.split(" ")[1:], float) for line in text.splitlines()[1:]}
    truth = (root / "walking1" / "gt_skel_gbl_ori.txt").read_text().splitlines()
    joints = truth[0].split()
    bones = np.array([[f.split(" ") for f in line.split("	")[:21]] for line in truth[1 : frames + 1]], float)
    for sensor, joint in (("Pelvis", "Hips"), ("L_LowLeg", "LeftLeg"), ("R_UpArm", "RightArm")):
        own = np.array([row[1:8] for row in rows if row[0] == sensor], float)
        world = Rotation.from_quat(calibration[sensor]) * Rotation.from_quat(own[:, :4], scalar_first=True)
        mount = Rotation.from_quat(bones[:, joints.index(joint)]).inv() * world
        assert np.degrees((mount[0].inv() * mount).magnitude().max()) < 2.5
        up = world.apply(own[:, 4:]).mean(axis=0)
        np.testing.assert_allclose(up, [0, 9.81, 0], atol=1.2)


def test_archives_hold_the_same_files(trees, tmp_path, untar):
    packed = simulate("totalcapture", tmp_path / "tc", hours=TINY, seed=1, archives=True)
    assert len(list(packed.glob("S?_*.tar*"))) == 10
    unpacked = tmp_path / "unpacked"
    for path in packed.glob("*.tar*"):
        untar(path, unpacked)
    assert digests(unpacked) == digests(trees["totalcapture"])
    packed = simulate("ronin", tmp_path / "ronin", hours=TINY, seed=1, archives=True)
    for path in packed.glob("*.zip"):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path / "zips")
    assert digests(tmp_path / "zips") == digests(trees["ronin"])


def test_compressed_trees_hold_the_same_arrays(trees, tmp_path):
    packed = simulate("marker", tmp_path / "marker", hours=TINY, seed=1, compressed=True)
    for path in packed.rglob("*.h5"):
        plain = trees["marker"] / path.relative_to(packed)
        with h5py.File(path) as ours, h5py.File(plain) as theirs:
            assert ours["timestamps"].compression == "gzip"
            for key in theirs:
                np.testing.assert_array_equal(ours[key][()], theirs[key][()])


def test_every_archive_and_every_hdf5_file_says_simulated(trees, tmp_path):
    for name in ("totalcapture", "ronin"):
        packed = simulate(name, tmp_path / name, hours=TINY, seed=1, archives=True)
        for path in packed.iterdir():
            if path.suffix == ".zip":
                with zipfile.ZipFile(path) as archive:
                    assert STAMP in archive.namelist()
            elif path.name != STAMP:
                with tarfile.open(path) as archive:
                    assert STAMP in archive.getnames()
    for name in ("marker", "slip", "joystick", "ronin"):
        for path in [*trees[name].rglob("*.h5"), *trees[name].rglob("*.hdf5")]:
            with h5py.File(path) as file:
                assert file.attrs["simulated"]
