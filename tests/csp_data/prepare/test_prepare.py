"""Preparing: determinism, caching, atomicity, and refusal of what is wrong."""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import filelock
import h5py
import numpy as np
import pytest

import csp_data
from csp_data import STRICT, LowPass, Window, home, parallel
from csp_data.authoring.template import new_source
from csp_data.card import registry as cards
from csp_data.errors import (
    CspDataError,
    DamagedRecordingError,
    MissingDataError,
    OptionError,
    StoreError,
    UnknownNameError,
    VerificationError,
)
from csp_data.prepare import recipe
from csp_data.prepare.recipe import INPUT_CHECKS
from csp_data.protocol import resolve
from csp_data.store import Prepared

SAMPLE = csp_data.verify("sample").root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the sample's raw files that a test may damage."""
    return Path(shutil.copytree(SAMPLE, tmp_path / "raw"))


def arrays(path: Path) -> dict[str, bytes]:
    """All arrays of a file, as bytes."""
    found: dict[str, bytes] = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: (
                found.update(
                    {name: np.asarray(item[()]).astype("S" if item.dtype == object else item.dtype).tobytes()}
                )
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    return found


def test_arrays_do_not_depend_on_the_number_of_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "WORTH_PROCESSES", 0)
    one = csp_data.prepare("sample", out=tmp_path / "one.h5", jobs=1)
    two = csp_data.prepare("sample", out=tmp_path / "two.h5", jobs=2)
    assert arrays(one) == arrays(two)
    assert {"inputs", "targets", "episodes/id", "normalization/inputs/scale"} <= set(arrays(one))


def test_an_equal_recipe_is_prepared_once(empty_home: Path) -> None:
    first = csp_data.prepare("sample")
    stamp = first.stat().st_mtime_ns
    assert csp_data.prepare("sample", protocol=STRICT.replace(lowpass=None)) == first
    assert first.stat().st_mtime_ns == stamp
    other = csp_data.prepare("sample", lowpass=LowPass(5.0))
    assert other != first
    assert first.parent == empty_home / "prepared"


def test_what_is_prepared_can_be_loaded_where_nothing_can_be_written(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home that an administrator made for all: a lock, which writes, was asked for first."""
    path = csp_data.prepare("sample")

    def refused(lock: filelock.FileLock, **options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(filelock.FileLock, "acquire", refused)
    assert csp_data.load("sample").path == path
    with pytest.raises(CspDataError, match=r"cannot write to .* another place: out= \(-o\) or raw= \(--raw\)"):
        csp_data.load("sample", input_hz=100)


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="only root can become a user without a home")
def test_a_user_without_a_home_is_told_what_to_set() -> None:
    """As in a container that runs under any number; it was a traceback."""
    code = (
        "import os, csp_data.home as of, csp_data\nos.setuid(54321)\n"
        "try: of.home()\nexcept csp_data.CspDataError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], env={}, capture_output=True, text=True, check=True)
    assert done.stdout == "This user has no home folder. Set CSP_DATA_HOME to a folder you own.\n"


@pytest.mark.skipif(not Path(os.devnull).is_char_device(), reason="Windows has no devices among its files")
def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    """Of root, ``-o /dev/null`` took away everybody's."""
    (tmp_path / "null").symlink_to(os.devnull)
    for write in (lambda out: csp_data.prepare("sample", out=out), csp_data.load("sample").to_npz):
        with pytest.raises(OptionError, match="expected the name of a file; this is a device, pipe or socket"):
            write(tmp_path / "null")
        with pytest.raises(OptionError, match="this is a folder"):
            write(tmp_path)
    assert (tmp_path / "null").is_char_device()


def test_a_link_stays_and_its_file_is_written(tmp_path: Path) -> None:
    """``/dev/stdout`` is one, and of root it was replaced."""
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "link.h5"
    link.symlink_to("elsewhere/sample.h5")  # which is not there yet
    assert csp_data.prepare("sample", out=link) == tmp_path / "elsewhere" / "sample.h5"
    assert link.is_symlink()
    assert csp_data.load(path=link).parts == ("train", "val", "test")


def test_a_damaged_prepared_file_is_made_again(empty_home: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = csp_data.prepare("sample")
    whole = arrays(path)
    path.write_bytes(path.read_bytes()[:1000])
    assert csp_data.prepare("sample") == path
    assert arrays(path) == whole
    (said,) = caplog.messages
    assert said.startswith(f"{path} is made again: it cannot be read as HDF5 (")
    assert "csp-data prepare" not in said  # which is what happens just now


def test_a_prepared_file_with_damaged_samples_is_made_again(
    empty_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It was kept, and so the message's advice led nowhere."""
    path = csp_data.prepare("sample")
    whole = arrays(path)
    for name in ("inputs", "episodes/start_s"):
        with h5py.File(path, "r+") as file:
            file[name][:1] += 1
        before = path.stat().st_ino
        if name == "inputs":
            assert csp_data.load("sample").path.stat().st_ino == before  # loading looks at no samples
        with pytest.raises(StoreError, match=r"another checksum .*: csp-data prepare NAME\."):
            _ = csp_data.load("sample").train[0]
        assert csp_data.prepare("sample") == path
        assert arrays(path) == whole
        assert f"{path} is made again: it is damaged (" in caplog.text
        caplog.clear()
    assert csp_data.prepare("sample") == path
    assert not caplog.messages


def test_statistics_are_those_of_the_training_part() -> None:
    ds = csp_data.load("sample")
    rows = np.concatenate([episode.targets for episode in ds.train]).astype(np.float64)
    np.testing.assert_allclose(ds.normalization.targets.shift, rows.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(ds.normalization.targets.scale, rows.std(axis=0, ddof=1), rtol=1e-9)
    inputs = np.concatenate(
        [np.hstack([e.inputs, np.diff(e.inputs, axis=0, prepend=e.inputs[:1])]) for e in ds.train]
    ).astype(np.float64)
    np.testing.assert_allclose(ds.normalization.inputs.scale, inputs.std(axis=0, ddof=1), rtol=1e-6)
    everything = csp_data.load("sample", statistics="all")
    assert not np.allclose(everything.normalization.targets.scale, ds.normalization.targets.scale)


def test_the_low_pass_runs_over_each_episode_alone() -> None:
    plain, smooth = csp_data.load("sample"), csp_data.load("sample", lowpass=LowPass(2.0, 3, "causal"))
    for before, after in zip(plain.val, smooth.val, strict=True):
        np.testing.assert_allclose(after.inputs, LowPass(2.0).apply(before.inputs, 50.0), atol=1e-4)
        np.testing.assert_array_equal(after.targets, before.targets)


def test_windows_are_indices_within_one_episode() -> None:
    ds = csp_data.load("sample", window=Window(10, stride=5))
    with h5py.File(ds.path) as file:
        table = np.stack(
            [
                file["windows"][k][()]
                for k in ("episode", "input_start", "input_stop", "target_start", "target_stop")
            ]
        )
    episode, input_start, input_stop, target_start, target_stop = table
    assert (input_stop - input_start == 500).all()
    assert (target_stop - target_start == 50).all()
    rows = ds.episodes
    assert all(
        rows[e].input_start <= a and b <= rows[e].input_stop
        for e, a, b in zip(episode, input_start, input_stop, strict=True)
    )
    assert sum(len(ds.split(part).windows) for part in ("train", "val", "test")) == len(episode)
    whole, window = ds.train[0], ds.train.windows[1]
    np.testing.assert_array_equal(window.inputs, whole.inputs[250:750])
    np.testing.assert_array_equal(window.targets, whole.targets[25:75])
    np.testing.assert_allclose(window.time, whole.time[250:750])
    np.testing.assert_allclose(window.target_time, whole.target_time[25:75])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lowpass": LowPass(25.0)}, r"lowpass\.hz=25\.0.*below 25 Hz"),
        ({"window": Window(60)}, r"window\.seconds=60.*at most .* s, the length of episode"),
        ({"window": Window(10.1)}, r"window\.seconds=10\.1.*multiple of 0\.2 s"),
        ({"target_hz": 7}, r"target_hz=7.*divides input_hz=50"),
        ({"input_hz": -1}, "input_hz=-1.*above 0 Hz"),
        (
            {"input_hz": 2860},
            r"input_hz=2860.*at most 2857\.14 Hz of sample, whose fastest stream has 285\.714 Hz",
        ),
        ({"resample": "cubic"}, "resample='cubic'.*linear, mean"),
        ({"input_hertz": 50}, "input_hertz=50.*a field of Protocol.*Did you mean 'input_hz'"),
        ({"subjects": 3}, r"subjects=3.*a field of Protocol.*, window\.$"),
    ],
)
def test_options_out_of_bounds_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        csp_data.load("sample", **options)


def test_inputs_may_have_a_higher_rate_than_was_recorded(tmp_path: Path) -> None:
    """Not any rate: a million Hz took 13 GB of memory."""
    path = tmp_path / "fast.h5"
    episode = csp_data.load(path=csp_data.prepare("sample", input_hz=2000, out=path)).train[0]
    stream = csp_data.read_recording("sample", episode.id).streams["gyroscope"]
    np.testing.assert_allclose(
        episode.inputs[:, 3], np.interp(episode.time, stream.time, stream.values[:, 0]), rtol=1e-6, atol=1e-9
    )
    environment = {**os.environ, "CSP_DATA_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "csp_data", "prepare", "sample", "--input-hz", "3000"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--input-hz 3000: expected at most 2857.14 Hz" in done.stderr
    assert not (tmp_path / "prepared").exists()


def test_data_of_a_low_rate_may_have_the_usual_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their cards need not say anything of it."""
    monkeypatch.setattr(cards, "_added", {})
    card = new_source("slow", tmp_path / "slow") / "card.toml"
    card.write_text(re.sub(r"rate_hz = .*", "rate_hz = 3", card.read_text()))
    with pytest.raises(DamagedRecordingError, match="about 3 Hz"):  # it was read
        csp_data.prepare(tmp_path / "slow")
    with pytest.raises(OptionError, match=r"input_hz=60.*at most 50 Hz of slow, whose fastest stream has 3 Hz"):
        csp_data.prepare(tmp_path / "slow", input_hz=60)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "sampel"}, "data set 'sampel'. Did you mean 'sample'"),
        ({"name": "sample", "protocol": "strickt"}, "Did you mean 'strict'"),
        ({"name": "sample", "inputs": ("gyro",)}, "Did you mean 'gyroscope'"),
        ({"name": "sample", "inputs": ("position",)}, "input stream 'position' of sample"),
        ({"name": "sample", "target": "velocty"}, "Did you mean 'velocity'"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(options: dict[str, object], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        csp_data.load(**options)


def test_the_magnetometer_is_added_on_request() -> None:
    ds = csp_data.load("sample", inputs=["accelerometer", "gyroscope", "magnetometer"])
    assert ds.channels.names[6:] == ("mag_x", "mag_y", "mag_z")
    assert ds.channels.units[6] == "uT"
    assert ds.train[0].inputs.shape[1] == 9
    assert 10 < np.linalg.norm(ds.train[0].inputs[:, 6:], axis=1).mean() < 100  # the Earth's field


def test_an_altered_or_truncated_recording_stops_everything(tree: Path, empty_home: Path) -> None:
    victim = tree / "03_undisturbed_slow_rotation_C.hdf5"
    data = bytearray(victim.read_bytes())
    data[20000] ^= 1
    victim.write_bytes(data)
    (tree / "05_undisturbed_slow_rotation_with_breaks_B.hdf5").write_bytes(b"\x89HDF")
    with pytest.raises(VerificationError, match="2 of 13") as caught:
        csp_data.load("sample", raw=tree)
    assert "03_undisturbed_slow_rotation_C.hdf5: altered: expected sha256" in str(caught.value)
    assert "truncated: expected" in str(caught.value)
    assert not list(empty_home.glob("prepared/*.h5"))


def test_missing_recordings_are_left_out_and_said(tree: Path) -> None:
    (tree / "02_undisturbed_slow_rotation_B.hdf5").unlink()
    ds = csp_data.load("sample", raw=tree)
    assert len(ds.train) == len(csp_data.load("sample").train) - 1
    assert ds.provenance["missing"] == ["02_undisturbed_slow_rotation_B.hdf5"]
    for gone in ("12_undisturbed_slow_translation_C", "30_disturbed_stationary_magnet_C"):
        (tree / f"{gone}.hdf5").unlink()
    with pytest.raises(MissingDataError, match="for the part val"):
        csp_data.load("sample", raw=tree)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"nowhere.*open access, no account"):
        csp_data.load("broad", raw=tmp_path / "nowhere")


def test_a_foreign_or_newer_file_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1]
    with pytest.raises(StoreError, match="not a file prepared by csp-data"):
        csp_data.load(path=tmp_path / "other.h5")
    path = csp_data.prepare("sample", out=tmp_path / "sample.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 99
    with pytest.raises(StoreError, match="format version 99"):
        Prepared(path)
    with pytest.raises(StoreError, match=r"HDF5 \(Is a directory\)\. Prepare it again"):
        csp_data.load(path=tmp_path)
    with pytest.raises(StoreError, match="no such file"):
        Prepared(tmp_path / "none.h5")


COMMAND = [sys.executable, "-m", "csp_data", "prepare", "sample"]


def test_a_killed_run_leaves_nothing_that_looks_complete(tmp_path: Path) -> None:
    environment = {**os.environ, "CSP_DATA_HOME": str(tmp_path)}
    begin = time.monotonic()
    subprocess.run(COMMAND, env=environment, check=True, capture_output=True, timeout=60)
    usual = time.monotonic() - begin
    (reference,) = (tmp_path / "prepared").glob("*.h5")
    whole = arrays(reference)
    rng = random.Random(0)
    for _ in range(8):
        shutil.rmtree(tmp_path / "prepared", ignore_errors=True)
        process = subprocess.Popen(COMMAND, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.3, 1.0) * usual)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
        for left in (tmp_path / "prepared").glob("*.h5"):
            assert arrays(left) == whole
    subprocess.run(COMMAND, env=environment, check=True, capture_output=True, timeout=60)
    assert arrays(reference) == whole


def test_several_processes_at_once_make_it_once(tmp_path: Path) -> None:
    environment = {**os.environ, "CSP_DATA_HOME": str(tmp_path)}
    running = [subprocess.Popen(COMMAND, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    paths = {process.communicate(timeout=60)[0].strip() for process in running}
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(paths) == 1
    assert [file.name for file in (tmp_path / "prepared").glob("*.h5")] == [Path(paths.pop()).name]


def test_if_all_is_too_short_that_is_said() -> None:
    with pytest.raises(MissingDataError, match=r"Left out were: \d+ x piece shorter than min_episode_s\.$"):
        csp_data.prepare("sample", min_episode_s=600)
    with pytest.raises(MissingDataError, match="Left out were: 13 x recording of a length outside recording_s"):
        csp_data.prepare("sample", recording_s=(600, 900))


@pytest.mark.parametrize(
    ("options", "advice", "followed"),
    [
        ({"window": Window(30)}, "min_episode_s=30.", {"min_episode_s": 30}),
        (
            {"window": Window(40)},
            "No episode of the train part is longer than 36.8 s.",
            {"window": Window(36.8), "min_episode_s": 36.8},
        ),
        (
            {"window": Window(11), "min_episode_s": 11, "look_ahead_s": 1.0},
            "min_episode_s=12.",
            {"min_episode_s": 12},
        ),
        ({"window": Window(11), "look_ahead_s": 1.0}, "min_episode_s=12.", {"min_episode_s": 12}),
        (
            {"window": Window(24.2), "min_episode_s": 24.2, "grid": "own-start"},
            "min_episode_s=24.4.",
            {"min_episode_s": 24.4},
        ),
        (
            {"window": Window(8), "min_episode_s": 8, "max_duration_s": 30},
            "max_duration_s=30 ends it there. Choose another, or None for all.",
            {"max_duration_s": None},
        ),
        (
            {"window": Window(30), "min_episode_s": 30, "max_duration_s": 20},
            "max_duration_s=20 ends it there.",
            {"max_duration_s": 30},
        ),
        (
            {"window": Window(8), "min_episode_s": 8, "max_duration_s": 30, "grid": "own-start"},
            "max_duration_s=30 ends it there.",
            {"max_duration_s": None},
        ),
        (
            {"window": Window(5), "min_episode_s": 5, "resplit": {"neighbours": "both", "piece_s": 10}},
            "resplit.piece_s=10 bounds them all",
            {"resplit": {"neighbours": "both", "piece_s": 14}, "min_episode_s": 30},
        ),
    ],
)
def test_what_is_said_of_windows_that_are_too_long_helps(
    options: dict[str, object], advice: str, followed: dict[str, object]
) -> None:
    """``min_episode_s`` counts before a grid is laid: what is shorter only after that it does not leave out."""
    with pytest.raises(OptionError) as caught:
        csp_data.prepare("sample", **options)
    assert advice in str(caught.value)
    csp_data.prepare("sample", **{**options, **followed})


def test_clean_waits_for_who_is_preparing(empty_home: Path) -> None:
    """And does not delete the file that is being written."""
    path = empty_home / "prepared" / "sample-000000000000.h5"
    part = path.with_name(f".{path.name}.part")
    line = [sys.executable, "-m", "csp_data", "clean", "--prepared", "--yes"]
    with home.lock(path):
        part.write_bytes(b"being written")
        cleaning = subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        assert cleaning.stderr is not None
        assert "another process works on" in cleaning.stderr.readline()
        part.replace(path)  # as preparing does, which would fail without it
    assert cleaning.communicate(timeout=60) == (None, "")
    assert cleaning.returncode == 0
    assert path.read_bytes() == b"being written"


def test_nothing_is_written_through_a_link_in_a_home_of_several_people(empty_home: Path) -> None:
    precious = empty_home.with_name("precious")
    precious.write_text("mine")
    path = csp_data.prepare("sample")
    (stamps,) = (empty_home / "stamps").glob("*.json")
    for file, link in ((path, path.with_name(f".{path.name}.part")), (stamps, stamps)):
        file.unlink()
        link.symlink_to(precious)
    assert csp_data.load(path=csp_data.prepare("sample")).parts == ("train", "val", "test")
    assert precious.read_text() == "mine"
    assert not path.is_symlink()
    assert not stamps.is_symlink()


def made_by_an_earlier_version(path: Path, checks: int | None) -> Path:
    """Let a file say that it was made under earlier checks of its inputs."""
    with h5py.File(path, "r+") as file:
        del file.attrs["input_checks"]
        file.attrs.pop("tables_crc32")
        if checks is not None:
            file.attrs["input_checks"] = checks
        file.attrs["created_by"] = "csp-data of old"
    return path


@pytest.mark.parametrize("checks", [None, INPUT_CHECKS - 1])
def test_a_file_made_under_weaker_checks_is_made_again(
    tree: Path, empty_home: Path, caplog: pytest.LogCaptureFixture, checks: int | None
) -> None:
    path = made_by_an_earlier_version(csp_data.prepare("sample", raw=tree), checks)
    before = arrays(path)
    assert csp_data.load(path=path).provenance["created_by"] == "csp-data of old"  # as it is
    assert csp_data.prepare("sample", raw=tree) == path  # the same recipe, so the same name
    assert "an earlier version" in caplog.text
    assert csp_data.load(path=path).provenance["created_by"] != "csp-data of old"
    assert arrays(path) == before
    stamp = path.stat().st_mtime_ns
    caplog.clear()
    csp_data.prepare("sample", raw=tree)
    assert path.stat().st_mtime_ns == stamp
    assert not caplog.records


def test_a_file_of_a_later_version_is_taken(tree: Path, empty_home: Path) -> None:
    path = made_by_an_earlier_version(csp_data.prepare("sample", raw=tree), INPUT_CHECKS + 1)
    csp_data.prepare("sample", raw=tree)
    assert csp_data.load(path=path).provenance["created_by"] == "csp-data of old"


def test_what_was_prepared_stays_when_its_raw_files_are_now_refused(
    tree: Path, empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made_by_an_earlier_version(csp_data.prepare("sample", raw=tree), None)

    def refuse(*_: object) -> None:
        raise DamagedRecordingError(tree, "a stricter check", "a", "b")

    monkeypatch.setattr(sys.modules["csp_data.prepare.pipeline"], "cut_recordings", refuse)
    with pytest.raises(DamagedRecordingError):
        csp_data.prepare("sample", raw=tree)
    assert csp_data.load(path=path).provenance["created_by"] == "csp-data of old"


@pytest.mark.parametrize("folder_stays", [False, True])
def test_what_was_prepared_is_named_when_the_raw_files_are_gone(
    tree: Path, empty_home: Path, folder_stays: bool
) -> None:
    path = csp_data.prepare("sample", raw=tree)
    shutil.copy(path, path.with_name("sample-other-0123456789ab.h5"))  # of another data set
    path.with_name("sample-111111111111.h5").symlink_to("/on/a/disk/that/is/not/here")
    shutil.rmtree(tree)
    if folder_stays:
        tree.mkdir()
    with pytest.raises(MissingDataError) as caught:
        csp_data.load("sample", raw=tree)
    assert str(caught.value).endswith(f"by its path (in Python load(path=...)): {path}")
    assert len(csp_data.load(path=path).train) > 0


@pytest.mark.parametrize(
    ("name", "hashes"),
    {
        "broad": {"strict": "260cf1a83710"},
        "joystick": {"paper": "5b205a46d788", "strict": "f8b60af21941"},
        "marker": {"paper": "18613145a388", "strict": "d89e1de0c2f2"},
        "ronin": {"paper": "92751c949ad5", "strict": "014b07e11322"},
        "sample": {"strict": "895dbdbc144d"},
        "slip": {"paper": "bbbf53115a1d", "strict": "b542c960ef1a"},
        "totalcapture": {"paper": "3d4a55768d56", "strict": "6c88bbdb4ed1"},
        "vector": {"paper": "035f3c3aa9e4", "strict": "708c2a013a2c"},
    }.items(),
)
def test_recipes_of_built_in_data_sets_stay_what_they_are(name: str, hashes: dict[str, str]) -> None:
    """As when the results that ship were computed (at ab364f5): a file that is prepared would be made again."""
    card = csp_data.info(name)
    assert {p: recipe.recipe_hash(card, resolve(card, p), "0") for p in card.splits} == hashes


def test_what_is_left_out_depends_on_the_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    card = csp_data.info("sample")
    hashes = {skip: recipe.recipe_hash(card, STRICT, "0", skip_damaged=skip) for skip in (False, True)}
    monkeypatch.setattr(recipe, "INPUT_CHECKS", INPUT_CHECKS + 1)
    assert recipe.recipe_hash(card, STRICT, "0") == hashes[False]
    assert recipe.recipe_hash(card, STRICT, "0", skip_damaged=True) != hashes[True]


def test_of_a_benchmark_that_is_incomplete_it_is_said(
    trees: ModuleType, tmp_path: Path, empty_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its errors are put beside published ones, whose parts and scales are those of all recordings."""
    raw = trees.write("vector", tmp_path / "raw")
    for protocol in ("paper", "strict"):
        caplog.clear()
        csp_data.prepare("vector", raw=raw, protocol=protocol)
        assert f"{len(trees.NAMES['vector'])} of the 18 recordings that the publisher of vector" in caplog.text
    caplog.clear()
    csp_data.simulate("vector", tmp_path / "simulated", hours=0.05, seed=0)
    csp_data.prepare("vector", raw=tmp_path / "simulated", protocol="paper")
    assert "publisher" not in caplog.text, "simulated recordings are never put beside published numbers"
