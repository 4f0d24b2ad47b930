"""BROAD: targets on analytic trajectories, and the original recordings where they are at hand."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import csp_data
from csp_data import STRICT, Recording, Stream
from csp_data.card import load_card
from csp_data.errors import DamagedRecordingError
from csp_data.prepare.examples import examples
from csp_data.sources import Found, load_source

CARD = load_card("broad")
SOURCE = load_source(CARD)
RATE = 2000 / 7


def recording(
    position: np.ndarray, orientation: np.ndarray, time: np.ndarray, inputs: np.ndarray | None = None
) -> Recording:
    """A recording made of given poses, all streams on one clock."""
    values = {
        "accelerometer": np.zeros((len(time), 3)) if inputs is None else inputs,
        "gyroscope": np.zeros((len(time), 3)),
        "magnetometer": np.zeros((len(time), 3)),
        "position": position,
        "orientation": orientation,
    }
    streams = {name: Stream.of(CARD.stream(name), time, array) for name, array in values.items()}
    return Recording(id="made", group="made", path=Path("made.hdf5"), streams=streams)


def circle(time: np.ndarray, radius: float = 0.5, turn: float = 1.2) -> tuple[np.ndarray, np.ndarray]:
    """Driving around a circle, facing along it: the motion is the same all the time in the sensor's frame."""
    angle = turn * time
    position = radius * np.stack([np.sin(angle), 1 - np.cos(angle), 0 * angle], axis=1)
    orientation = np.stack([np.cos(angle / 2), 0 * angle, 0 * angle, np.sin(angle / 2)], axis=1)
    return position, orientation


def test_velocity_in_the_sensors_frame_on_a_circle() -> None:
    time = np.arange(0, 20, 1 / RATE)
    position, orientation = circle(time)
    (example,), _ = examples(recording(position, orientation, time), CARD, SOURCE, STRICT)
    # chord of an arc of 0.2 s, seen from the tangent at its end
    arc, radius = 1.2 * 0.2, 0.5
    chord = radius * np.array([np.sin(arc), 1 - np.cos(arc), 0])
    expected = Rotation.from_rotvec([0, 0, arc]).inv().apply(chord) / 0.2
    assert example.targets.shape == (99, 3)
    np.testing.assert_allclose(example.targets, np.tile(expected, (99, 1)), atol=2e-5)


def test_velocity_in_the_start_frame_and_per_step() -> None:
    time = np.arange(0, 20, 1 / RATE)
    position, orientation = circle(time)
    half_turn = Rotation.from_rotvec([0, 0, np.pi / 2])
    turned = (half_turn * Rotation.from_quat(orientation, scalar_first=True)).as_quat(scalar_first=True)
    protocol = STRICT.replace(target="velocity-in-start-frame", target_per="step")
    (example,), _ = examples(recording(half_turn.apply(position), turned, time), CARD, SOURCE, protocol)
    edges = np.arange(100) * 0.2
    np.testing.assert_allclose(example.targets, np.diff(circle(edges)[0], axis=0), atol=5e-6)


def test_inputs_and_targets_lie_on_one_clock() -> None:
    """An input that is the position itself must end each chunk where the target's displacement ends."""
    time = np.arange(0, 30, 1 / RATE) + 1.7e9
    position = np.stack([0.3 * (time - time[0]), 0.1 * (time - time[0]), 0 * time], axis=1)
    still = np.tile([1.0, 0, 0, 0], (len(time), 1))
    (example,), _ = examples(recording(position, still, time, inputs=position), CARD, SOURCE, STRICT)
    ends = example.inputs[STRICT.chunk - 1 :: STRICT.chunk, :3]
    np.testing.assert_allclose(np.diff(ends, axis=0) * 5, example.targets[1:], atol=1e-6)
    assert example.start_s == time[0]


def test_short_gaps_are_interpolated_long_ones_split_and_both_are_counted() -> None:
    time = np.arange(0, 30, 1 / RATE)
    position, orientation = circle(time)
    whole, _ = examples(recording(position, orientation, time), CARD, SOURCE, STRICT)
    position[2000:2020] = np.nan  # 0.07 s
    orientation[5000:5100] = np.nan  # 0.35 s
    made, notes = examples(recording(position, orientation, time), CARD, SOURCE, STRICT)
    assert [example.id for example in made] == ["made.1", "made.2"]
    assert {example.group for example in made} == {"made"}
    assert sorted((note.what, note.detail.split(":")[0]) for note in notes) == [
        ("gap ends an episode", "0.354 s at 17.497 s"),
        ("reference samples without a value interpolated", "position"),
    ]
    count = len(made[0].targets)
    np.testing.assert_allclose(made[0].targets, whole[0].targets[:count], atol=2e-3)
    assert made[1].start_s == pytest.approx(5100 / RATE)


def test_nan_in_an_input_is_refused_with_channel_and_time() -> None:
    time = np.arange(0, 10, 1 / RATE)
    bad = np.zeros((len(time), 3))
    bad[1000, 1] = np.nan
    with pytest.raises(DamagedRecordingError, match=r"made\.hdf5.*acc_y of accelerometer at 3\.500 s"):
        examples(recording(*circle(time), time, inputs=bad), CARD, SOURCE, STRICT)


def test_rest_at_both_ends_is_trimmed_by_the_named_rule() -> None:
    ds = csp_data.load("sample")
    kept = csp_data.load("sample", trim_rest_s=None)
    assert kept.train.seconds > ds.train.seconds
    assert {row.id for row in kept.train.rows} == {row.id for row in ds.train.rows}


def write(path: Path, **changes: object) -> Found:
    time = np.arange(0, 10, 1 / RATE)
    position, orientation = circle(time)
    arrays: dict[str, object] = {
        "imu_acc": np.zeros((len(time), 3)),
        "imu_gyr": np.zeros((len(time), 3)),
        "imu_mag": np.zeros((len(time), 3)),
        "opt_pos": position,
        "opt_quat": orientation,
        "movement": np.ones(len(time), dtype=bool),
        **changes,
    }
    with h5py.File(path, "w") as file:
        file.attrs["sampling_rate"] = arrays.pop("rate", RATE)
        for name, values in arrays.items():
            if values is not None:
                file[name] = values
    return Found("made", "made", (path,))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"opt_quat": None}, "array 'opt_quat' is missing"),
        ({"imu_gyr": np.zeros((5, 3))}, "shape of 'imu_gyr'"),
        ({"imu_mag": np.zeros((2857, 2))}, "shape of 'imu_mag'"),
        ({"rate": 100.0}, r"sampling_rate: expected 285\.7 Hz, found 100"),
        ({"rate": "often"}, "attribute 'sampling_rate': expected numbers"),
        ({"rate": [RATE, RATE]}, r"shape of 'sampling_rate': expected \(\)"),
        ({"rate": h5py.Empty("f8")}, "attribute 'sampling_rate': expected numbers, found none"),
        ({"movement": np.ones(12)}, "shape of 'movement'"),
        ({"movement": np.ones(5000)}, "shape of 'movement'"),
        ({"imu_acc": 1.0}, "shape of 'imu_acc'"),
        ({"imu_acc": np.full((2857, 3), b"a")}, "'imu_acc': expected numbers"),
        ({"imu_acc": np.zeros((2857, 3), dtype=complex)}, "'imu_acc': expected numbers"),
        ({"opt_pos": h5py.Empty("f8")}, "'opt_pos': expected numbers, found none"),
        ({"opt_pos": h5py.SoftLink("/opt_pos")}, "'opt_pos' cannot be read"),
        ({"opt_pos": h5py.ExternalLink("gone.h5", "/x")}, "'opt_pos' is missing"),
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path: Path, changes: dict[str, object], problem: str) -> None:
    with pytest.raises(DamagedRecordingError, match=problem):
        SOURCE.read(write(tmp_path / "made.hdf5", **changes), CARD, STRICT)


def test_a_file_that_is_not_hdf5_is_refused(tmp_path: Path) -> None:
    (tmp_path / "made.hdf5").write_text("<html>")
    with pytest.raises(DamagedRecordingError, match="cannot be read"):
        SOURCE.read(Found("made", "made", (tmp_path / "made.hdf5",)), CARD, STRICT)


def test_the_original_trials(reference_dir: Path) -> None:
    raw = reference_dir / "data" / "broad"
    report = csp_data.verify("broad", raw=raw, deep=True)
    assert len(report.present) == 18
    assert {file.trust for file in report.present} == {"published"}
    assert {file.status for file in report.failures} == {"missing"}
    ds = csp_data.load("broad", raw=raw, jobs=2)
    assert len(ds.train.groups | ds.val.groups | ds.test.groups) == 18
    assert not ds.train.groups & ds.test.groups
    assert len(ds.provenance["missing"]) == 21
    assert ds.train.seconds > 15 * 60
    # at rest an accelerometer reads gravity: 9.8 m/s^2 within 2 % before the movement starts
    still = csp_data.load("broad", raw=raw, jobs=2, trim_rest_s=None)
    first = [episode for episode in still.train if not episode.id.endswith((".2", ".3"))]
    norms = [np.median(np.linalg.norm(episode.inputs[:500, :3], axis=1)) for episode in first]
    np.testing.assert_allclose(norms, 9.81, rtol=0.02)


def test_the_sample_is_an_excerpt_of_the_original(reference_dir: Path) -> None:
    ours = Path(csp_data.verify("sample").root)
    for file in sorted(ours.glob("*.hdf5")):
        with h5py.File(file) as excerpt, h5py.File(reference_dir / "data" / "broad" / file.name) as trial:
            begin = int(excerpt.attrs["changes"].split("samples ")[1].split()[0])
            for name in ("imu_acc", "imu_gyr", "imu_mag", "opt_pos", "opt_quat"):
                rows = trial[name][begin : begin + len(excerpt[name])]
                np.testing.assert_array_equal(excerpt[name][()], rows.astype(np.float32))
