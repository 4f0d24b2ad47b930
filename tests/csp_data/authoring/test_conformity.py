"""The conformity suite: passes on what is right, and fails on each kind of damage, in the check that is for it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import csp_data
from csp_data.authoring.report import Check, SourceReport
from csp_data.card import Card, read_card
from csp_data.cli import cli
from csp_data.errors import MissingDataError, SourceError, VerificationError
from csp_data.signal.plausible import doubtful, implausible, sentinels

CARD = """
name = "made"
title = "Made for a test"
kind = "simulated"
protocol = "strict"
summary = "A mass on a slide: accelerometer, gyroscope, position."
obtain = "It is computed."
unlisted = "used"
[licence]
id = "MIT"
name = "MIT"
url = "https://example.org"
redistribution = true
terms = "t"
[citation]
text = "t"
doi = "d"
bibtex = "b"
[[streams]]
name = "imu"
role = "input"
channels = ["x", "y", "z"]
unit = "m/s^2"
rate_hz = 100
frame = "sensor"
[[streams]]
name = "gyroscope"
role = "input"
channels = ["x", "y", "z"]
unit = "rad/s"
rate_hz = 100
frame = "sensor"
[[streams]]
name = "position"
role = "reference"
channels = ["p"]
unit = "m"
rate_hz = 50
frame = "room"
[[targets]]
name = "velocity"
channels = ["v"]
unit = "m"
increment = true
summary = "s"
[splits.strict]
rule = "groups"
shares = { train = 0.5, val = 0.25, test = 0.25 }
"""


def find(root: Path) -> list[csp_data.Found]:
    return [csp_data.Found(path.stem, path.stem, (path,)) for path in sorted(root.glob("*.txt"))]


def read(found: csp_data.Found, card: Card, protocol: csp_data.Protocol) -> csp_data.Recording:
    """The recording of a closed formula; its file holds a phase."""
    phase = float(found.files[0].read_text())
    time, slow = np.arange(1000) / 100, np.arange(500) / 50
    wave = np.stack([np.sin(time + phase), np.cos(time + phase), 9.81 + 0 * time + 0.1 * np.sin(3 * time)], axis=1)
    streams = {
        "imu": csp_data.Stream.of(card.stream("imu"), time, wave),
        "gyroscope": csp_data.Stream.of(card.stream("gyroscope"), time, np.roll(wave, 1, axis=1)),
        "position": csp_data.Stream.of(card.stream("position"), slow, np.sin(slow + phase)[:, None]),
    }
    return csp_data.Recording(found.id, found.group, found.files[0], streams)


def velocity(edges: dict[str, np.ndarray]) -> np.ndarray:
    return np.diff(edges["position"], axis=0)


GOOD = csp_data.Source(find, read, "text files with a phase", {"velocity": velocity})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    for i in range(4):
        (tmp_path / "raw" / f"r{i}.txt").write_text(f"{0.3 * i}")
    return tmp_path / "raw"


def report(root: Path, source: csp_data.Source = GOOD, card: str = CARD) -> dict[str, tuple[str, str]]:
    file = root.parent / "made.toml"
    file.write_text(card)
    csp_data.register(file, source)
    made = csp_data.check_source("made", raw=root)
    assert made.ok == (not made.failures)
    assert all(check.name in str(made) for check in made.checks)
    return {check.name: (check.status, " ".join(check.details)) for check in made.checks}


def test_a_good_source_passes_all(root: Path) -> None:
    found = report(root)
    assert {status for status, _ in found.values()} == {"ok"}
    assert found["round trip"][1] == "train 2, val 1, test 1 episodes under the protocol strict"


def test_recordings_that_gaps_cut_to_pieces_are_noticed(root: Path) -> None:
    """After the first seconds, a sensor that drops out before every full second: no piece is long enough."""

    def of(whole_s: float, gap_s: float) -> csp_data.Source:
        def torn(found: csp_data.Found, card: Card, protocol: csp_data.Protocol) -> csp_data.Recording:
            recording = read(found, card, protocol)
            turning = recording.streams["gyroscope"]
            there = (turning.time <= whole_s) | (turning.time % 1 < 0.995 - gap_s)
            return replace(recording, streams={**recording.streams, "gyroscope": turning.select(there)})

        return replace(GOOD, read=torn)

    assert report(root, of(5.5, 0.2))["alignment"][0] == "ok"  # of which every piece but that one is left out
    assert report(root, of(3.5, 0.05))["alignment"][0] == "ok"  # gaps that are bridged
    status, said = report(root, of(3.5, 0.2))["alignment"]
    assert (status, said.count("gaps leave 3.8 of the 9.8 s in common: longer ones than max_gap_s end")) == (
        "warning",
        4,
    )


def test_channels_that_stand_still_are_named(root: Path) -> None:
    def still(found: csp_data.Found, card: Card, protocol: csp_data.Protocol) -> csp_data.Recording:
        recording = read(found, card, protocol)
        stopped = replace(recording.streams["imu"], values=recording.streams["imu"].values * [0, 1, 1])
        return replace(recording, streams={**recording.streams, "imu": stopped})

    status, said = report(root, replace(GOOD, read=still))["values"]
    assert (status, said) == ("warning", "imu: x never changes in any recording")
    assert str(csp_data.check_source("made", raw=root)).endswith("12 of 12 checks passed, 1 with a warning")


ORIENTATION = """
[[streams]]
name = "orientation"
role = "reference"
kind = "rotation"
channels = ["qw", "qx", "qy", "qz"]
unit = "1"
rate_hz = 50
frame = "sensor to room"
[[targets]]"""


@pytest.mark.parametrize(
    ("late", "rows", "up", "status", "said"),
    [
        (0.0, [0, 1, 2, 3], 1, "ok", "gyroscope and orientation turn alike in 4 of 4"),
        (0.05, [0, 1, 2, 3], 1, "warning", "r0: the gyroscope turns 0.050 s after the orientation; add -0.050 s"),
        (-0.4, [0, 1, 2, 3], 1, "failed", "r0: the gyroscope turns 0.400 s before the orientation; add +0.400 s"),
        (0.0, [0, 3, 1, 2], 1, "warning", "r0: the gyroscope turns about another axis than the orientation"),
        (0.0, [0, 1, 2, 3], -1, "warning", "r0: the accelerometer reads gravity downwards"),
    ],
)
def test_a_gyroscope_that_does_not_turn_like_the_orientation(
    late: float, rows: list[int], up: int, status: str, said: str, root: Path
) -> None:
    """The sensor turns about z by an angle of sin(t + phase) + 0.3 sin(3 t)."""

    def turning(found: csp_data.Found, card: Card, protocol: csp_data.Protocol) -> csp_data.Recording:
        recording = read(found, card, protocol)
        time, phase = np.arange(1000) / 100, float(found.files[0].read_text())
        rate = np.cos(time + phase) + 0.9 * np.cos(3 * time)
        half = (np.sin(time + phase) + 0.3 * np.sin(3 * time)) / 2
        rates = np.stack([1e-3 * np.sin(5 * time), 1e-3 * np.cos(4 * time), rate], axis=1)
        quaternions = np.stack([np.cos(half), 1e-4 * np.sin(time), 1e-4 * np.sin(2 * time), np.sin(half)], axis=1)
        streams = {
            "imu": replace(recording.streams["imu"], values=up * recording.streams["imu"].values),
            "gyroscope": csp_data.Stream.of(card.stream("gyroscope"), time + late, rates),
            "orientation": csp_data.Stream.of(card.stream("orientation"), time, quaternions[:, rows]),
        }
        return replace(recording, streams={**recording.streams, **streams})

    card = CARD.replace("[[targets]]", ORIENTATION.strip(), 1)
    card = card.replace('unit = "m/s^2"', 'unit = "m/s^2"\nquantity = "specific force"')
    found = report(root, replace(GOOD, read=turning), card)
    assert found["alignment"][0] == status, found["alignment"]
    assert said in found["alignment"][1]
    assert {check for check, (what, _) in found.items() if what != "ok"} <= {"alignment"}


@pytest.mark.parametrize(
    ("late", "gravity", "status", "said"),
    [
        (0.0, 9.81, "ok", "accelerometer and position move alike in 4 of 4"),
        (
            0.05,
            9.81,
            "warning",
            "r0: the accelerometer moves 0.050 s after the position; if they are of one rigid",
        ),
        (
            -0.4,
            9.81,
            "failed",
            "r0: the accelerometer moves 0.400 s before the position; if they are of one rigid",
        ),
        (0.0, 0.0, "warning", "r0: the accelerometer agrees with the position without gravity; was it taken off?"),
    ],
)
def test_an_accelerometer_that_does_not_move_like_the_position(
    late: float, gravity: float, status: str, said: str, root: Path
) -> None:
    """Beside a gyroscope, but without an orientation; it moves along all axes, faster from second to second."""

    def moving(found: csp_data.Found, card: Card, protocol: csp_data.Protocol) -> csp_data.Recording:
        recording = read(found, card, protocol)
        phase, rates, size = float(found.files[0].read_text()), np.array([3.0, 4.3, 2.2]), 0.1

        def place(time: np.ndarray) -> np.ndarray:
            return size * np.sin(rates * time[:, None] + 0.2 * time[:, None] ** 2 + phase)

        time, step = np.arange(1400) / 100, 1e-3
        force = (place(time - step) - 2 * place(time) + place(time + step)) / step**2 + [0, 0, gravity]
        seen = np.arange(700) / 50
        streams = {
            "imu": csp_data.Stream.of(card.stream("imu"), time + late, force),
            "position": csp_data.Stream.of(card.stream("position"), seen, place(seen)),
        }
        return replace(recording, streams={**recording.streams, **streams})

    card = CARD.replace('channels = ["p"]', 'channels = ["px", "py", "pz"]').replace('["v"]', '["vx", "vy", "vz"]')
    card = card.replace('unit = "m/s^2"', 'unit = "m/s^2"\nquantity = "specific force"')
    found = report(root, replace(GOOD, read=moving), card)
    assert found["alignment"][0] == status, found["alignment"]
    assert said in found["alignment"][1]
    assert {check for check, (what, _) in found.items() if what != "ok"} <= {"alignment"}


Change = Callable[[csp_data.Recording], csp_data.Recording]


def stream(name: str, **changes: Callable[[csp_data.Stream], object]) -> Change:
    def damaged(recording: csp_data.Recording) -> csp_data.Recording:
        own = recording.streams[name]
        new = replace(own, **{key: change(own) for key, change in changes.items()})  # type: ignore[arg-type]
        return replace(recording, streams={**recording.streams, name: new})

    return damaged


def spoilt(values: np.ndarray, rows: slice, value: float) -> np.ndarray:
    values = values.copy()
    values[rows] = value
    return values


DAMAGED: dict[str, tuple[Change, str, str]] = {
    "another id": (lambda r: replace(r, id="x"), "reading", "changed id or group"),
    "a stream missing": (lambda r: replace(r, streams={"imu": r.streams["imu"]}), "streams", "'gyroscope'"),
    "a stream too many": (lambda r: replace(r, streams={**r.streams, "b": r.streams["imu"]}), "streams", "'b'"),
    "a column missing": (stream("imu", values=lambda s: s.values[:, :2]), "streams", "expected 3 columns"),
    "channels swapped": (stream("imu", channels=lambda s: ("y", "x", "z")), "streams", "channels x, y, z"),
    "another unit": (stream("imu", unit=lambda s: "g"), "streams", "unit 'm/s^2', found 'g'"),
    "another role": (stream("imu", role=lambda s: "reference"), "streams", "role 'input'"),
    "lengths differ": (stream("imu", time=lambda s: s.time[:-1]), "streams", "values (T, C)"),
    "float32 times": (stream("imu", time=lambda s: s.time.astype("f4")), "streams", "loses its digits"),
    "no samples": (
        stream("imu", time=lambda s: s.time[:1], values=lambda s: s.values[:1]),
        "streams",
        "at least 2",
    ),
    "milliseconds": (
        stream("imu", time=lambda s: s.time * 1000),
        "clocks",
        "found 0.1 Hz, samples 10 apart, which looks like milliseconds",
    ),
    "a clock that runs back": (
        stream("imu", time=lambda s: np.where(np.arange(1000) % 10 == 5, s.time - 0.1, s.time)),
        "clocks",
        "do not lie after",
    ),
    "NaN in the clock": (
        stream("imu", time=lambda s: spoilt(s.time, slice(5, 6), np.nan)),
        "clocks",
        "not finite",
    ),
    "NaN in an input": (
        stream("imu", values=lambda s: spoilt(s.values, slice(5, 9), np.nan)),
        "values",
        "4 input rows are not finite; leave them out in read",
    ),
    "a reference without values": (
        stream("position", values=lambda s: spoilt(s.values, slice(0, 400), np.nan)),
        "values",
        "80% of the reference rows",
    ),
    "g": (stream("imu", values=lambda s: s.values / 9.81), "units", "looks like g"),
    "degrees per second": (
        stream("gyroscope", values=lambda s: np.rad2deg(s.values)),
        "units",
        "looks like deg/s",
    ),
    "millimetres": (stream("position", values=lambda s: s.values * 1000), "units", "looks like mm"),
    "other origins": (stream("position", time=lambda s: s.time + 1.7e9), "alignment", "subtract the difference"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damage_is_found_by_the_check_for_it(root: Path, kind: str) -> None:
    change, check, message = DAMAGED[kind]
    found = report(root, replace(GOOD, read=lambda f, c, p: change(read(f, c, p))))
    status, details = found[check]
    assert status == "failed", found
    assert message in details
    before = list(found)[: list(found).index(check)]
    assert all(found[name][0] != "failed" for name in before)


def raising(found: csp_data.Found, card: Card, protocol: csp_data.Protocol) -> csp_data.Recording:
    raise KeyError("no such column")


def restless(found: csp_data.Found, card: Card, protocol: csp_data.Protocol) -> csp_data.Recording:
    recording = read(found, card, protocol)
    noise = np.random.default_rng().normal(size=(1000, 3))
    return stream("imu", values=lambda s: s.values + noise)(recording)


def ahead(edges: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(edges["position"][-1] - edges["position"][1:])


@pytest.mark.parametrize(
    ("changes", "check", "message"),
    [
        ({"find": lambda root: []}, "recordings", "finds nothing"),
        ({"find": lambda root: [*find(root), find(root)[0]]}, "recordings", "'r0' stands twice"),
        ({"find": lambda root: [replace(f, group="") for f in find(root)]}, "recordings", "expected a Found"),
        (
            {"find": lambda root: [replace(f, files=(Path("no"),)) for f in find(root)]},
            "recordings",
            "is not there",
        ),
        ({"find": lambda root: [replace(f, group="one") for f in find(root)]}, "splits", "has no recording"),
        ({"read": raising}, "reading", "KeyError"),
        ({"read": restless}, "reading", "other numbers the second time"),
        ({"targets": {"velocity": lambda e: e["position"]}}, "targets", "expected shape"),
        ({"targets": {"velocity": lambda e: velocity(e) * np.nan}}, "targets", "not finite"),
        ({"targets": {"velocity": lambda e: velocity(e) * 0}}, "targets", "never changes"),
        ({"targets": {"velocity": ahead}}, "targets", "depends on what comes after"),
    ],
)
def test_readers_that_break_the_contract(root: Path, changes: dict[str, object], check: str, message: str) -> None:
    found = report(root, replace(GOOD, **changes))  # type: ignore[arg-type]
    assert found[check][0] == "failed", found
    assert message in found[check][1]


def test_order_that_changes(root: Path) -> None:
    calls = []

    def shuffled(folder: Path) -> list[csp_data.Found]:
        calls.append(1)
        return find(folder)[:: 1 if len(calls) % 2 else -1]

    found = report(root, replace(GOOD, find=shuffled))
    assert "another order" in found["recordings"][1]


def test_a_group_in_two_parts(root: Path) -> None:
    lists = '[splits.strict]\ntrain = ["r0"]\nval = ["r1"]\ntest = ["r2", "r3"]\n'
    card = CARD[: CARD.index("[splits.strict]")] + lists
    same = replace(GOOD, find=lambda folder: [replace(f, group=f.group.replace("r3", "r0")) for f in find(folder)])
    found = report(root, same, card)
    assert found["splits"][0] == "failed"
    assert "group 'r0'" in found["splits"][1]
    assert report(root, GOOD, card)["splits"] == ("ok", "strict")
    person = {"r0": "Ada", "r1": "Ada", "r3": "Bob"}  # of r2 it is not known
    known = replace(GOOD, find=lambda folder: [replace(f, subject=person.get(f.id, "")) for f in find(folder)])
    assert report(root, known, card)["splits"] == ("ok", "strict (other parts share Ada with train)")
    absent = report(root, GOOD, card.replace('"r3"', '"r9"'))["splits"]
    assert absent[0] == "warning"
    assert "'r9'" in absent[1]
    assert "'r3'" in absent[1]


@pytest.mark.parametrize(("scale", "status"), [(0.04, "ok"), (40, "warning"), (400, "failed")])
def test_a_fingers_position_in_millimetres(root: Path, scale: float, status: str) -> None:
    """It swings with 1 rad/s, so that its highest speed is `scale` a second: 40 mm/s are no 40 m/s."""
    change = stream("position", values=lambda s: scale * s.values)
    found, said = report(root, replace(GOOD, read=lambda f, c, p: change(read(f, c, p))))["units"]
    assert found == status
    assert ("above 40 m/s, faster than people run" in said) == (status == "warning")


@pytest.mark.parametrize("scale", [1.0, 60.0])
def test_angles_in_radians_on_a_card_that_says_degrees(root: Path, scale: float) -> None:
    """Errors would be told in the wrong unit; one large angle in one recording tells that they are degrees."""

    def turned(found: csp_data.Found, card: Card, protocol: csp_data.Protocol) -> csp_data.Recording:
        size = scale if found.id == "r1" else 1.0
        return stream("position", values=lambda s: size * s.values)(read(found, card, protocol))

    card = CARD.replace('unit = "m"', 'unit = "deg"')
    said = report(root, replace(GOOD, read=turned), card)["units"]
    if scale == 1:
        assert said == ("warning", "position: no value in any recording is beyond 1 deg; are these rad?")
    else:
        assert said[0] == "ok"


def test_a_file_that_find_does_not_list_is_named(root: Path) -> None:
    """Offsets of clocks beside the recordings, say: prepared data stayed as they were when one was mended."""
    shared = root / "offsets.json"
    shared.write_text("0.5")

    def late(found: csp_data.Found, card: Card, protocol: csp_data.Protocol) -> csp_data.Recording:
        offset = float(shared.read_text())
        return stream("imu", time=lambda s: s.time + offset)(read(found, card, protocol))

    status, said = report(root, replace(GOOD, read=late))["another process"]
    assert status == "failed"
    assert said.startswith("r0: read opens offsets.json, which find does not list among its files")
    both = replace(
        GOOD, find=lambda folder: [replace(f, files=(*f.files, shared)) for f in find(folder)], read=late
    )
    assert report(root, both)["another process"] == ("ok", "")
    before = csp_data.prepare("made", raw=root)
    shared.write_text("0.6")
    assert csp_data.prepare("made", raw=root) != before


def test_a_copy_in_another_part(root: Path) -> None:
    """It is in no group of its original: what is reported would have been learned."""
    lists = '[splits.strict]\ntrain = ["r0", "r4"]\nval = ["r1"]\ntest = ["r2", "r3"]\n'
    card = CARD[: CARD.index("[splits.strict]")] + lists
    (root / "r4.txt").write_text("9")
    assert report(root, GOOD, card)["splits"][0] == "ok"
    (root / "r3.txt").write_bytes((root / "r0.txt").read_bytes())
    status, said = report(root, GOOD, card)["splits"]
    assert status == "failed"
    assert "r3 in test is a copy of r0 in train" in said
    (root / "r3.txt").write_bytes((root / "r2.txt").read_bytes())
    status, said = report(root, GOOD, card)["splits"]
    assert status == "warning"
    assert "r3 in test is a copy of r2 in test" in said
    assert report(root, GOOD, card.replace(', "r3"', ""))["splits"][1].endswith("in no part, such as 'r3'")


def test_of_many_channels_some_are_named(root: Path) -> None:
    """A skin of 48 channels filled the screen, once for each recording."""
    names = tuple(f"t{i:02d}" for i in range(48))
    change = stream("imu", channels=lambda s: names, values=lambda s: np.tile(s.values, 16))
    status, said = report(root, replace(GOOD, read=lambda f, c, p: change(read(f, c, p))))["streams"]
    assert status == "failed"
    assert "expected the channels x, y, z, found t00, t01, t02, t03, t04, t05, ..., t45, t46, t47 (48)" in said


def test_a_file_that_changed_fails_the_round_trip(root: Path) -> None:
    listed = 'files = [{ path = "r0.txt", size = 99 }]\n'
    found = report(root, GOOD, CARD.replace("[licence]", listed + "[licence]", 1))
    assert found["round trip"][0] == "failed"
    assert "expected 99 bytes" in found["round trip"][1]


def test_files_outside_the_folder_are_the_readers_mistake(root: Path) -> None:
    """A reader that resolves links, and a folder that is one."""
    link = root.parent / "link"
    link.symlink_to(root)
    resolving = replace(GOOD, find=lambda folder: find(folder.resolve()))
    assert {status for status, _ in report(root, resolving).values()} == {"ok"}
    assert f"outside the folder that it was asked about, {link}" in report(link, resolving)["reading"][1]
    for call in (csp_data.verify, csp_data.prepare):
        with pytest.raises(SourceError, match=r"r0\.txt: find gives a file outside the folder"):
            call("made", raw=link)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes among its files")
def test_what_fails_verification_is_never_opened(root: Path) -> None:
    """Opening a pipe waits for somebody who writes: the suite hung."""
    (root / "r0.txt").unlink()
    (root / "r1.txt").write_text("0.25")
    os.mkfifo(root / "r0.txt")
    opened = []

    def noting(found: csp_data.Found, card: Card, protocol: csp_data.Protocol) -> csp_data.Recording:
        opened.append(found.id)
        return read(found, card, protocol) if found.files[0].is_file() else raising(found, card, protocol)

    listed = 'files = [{ path = "r1.txt", size = 99 }]\n'
    found = report(root, replace(GOOD, read=noting), CARD.replace("[licence]", listed + "[licence]", 1))
    assert set(opened) == {"r2", "r3"}
    assert found["recordings"] == ("failed", f"r0: the main file {root / 'r0.txt'} is no file")
    assert found["reading"][0] == "failed"
    assert "r0: r0.txt: unreadable: expected a readable recording, found a pipe." in found["reading"][1]
    assert "r1: r1.txt: truncated: expected 99 bytes, found 4 bytes." in found["reading"][1]
    assert "found a pipe" in found["round trip"][1]


def test_a_damaged_first_recording_is_named_once(root: Path) -> None:
    (root / "r0.txt").write_text("no number")
    status, details = report(root)["reading"]
    assert status == "failed"
    assert details.count("could not convert") == 1


def test_a_marker_that_the_cameras_lose_and_export_as_0_is_noticed() -> None:
    """A hundredth of the rows, once: no other value can be judged by so few."""
    time = np.arange(2000) / 100
    path = np.stack([0.4 * np.sin(time), 0.9 + 0.02 * np.cos(3 * time), 0.1 * np.sin(2 * time)], axis=1)

    def said(values: np.ndarray) -> list[str]:
        channels = tuple(f"m{i // 3}_{'xyz'[i % 3]}" for i in range(values.shape[1]))
        return list(sentinels(csp_data.Stream(time, values, channels, "m", "reference")))

    lost = path.copy()
    lost[700:720] = 0
    (problem,) = said(np.hstack([path, lost]))
    assert problem == "m1_x, m1_y, m1_z are all 0 in 20 of 2000 rows, with jumps to it and back"
    assert said(path) == []
    lost[700:720] = np.nan
    assert said(lost) == []
    assert said(path - path[1000]) == []  # goes through 0
    assert said(np.maximum(path[:, :1], 0) * [0.1, 0.2, 1]) == []  # a foot's force


def test_sentinels_are_told_from_clipping_and_rest() -> None:
    time = np.arange(2000) / 100
    wave = 1000 * np.sin(time)
    card = read_card(CARD, "made").stream("position")
    of = lambda values: list(sentinels(csp_data.Stream.of(card, time, values[:, None])))  # noqa: E731
    assert of(wave) == []
    assert of(np.clip(wave, -700, 700)) == []
    assert of(np.maximum(wave, 0)) == []
    assert of(np.round(wave / 500)) == []  # stands still between jumps, and often at 0
    assert of(np.full(2000, np.nan)) == []
    assert "p is -1 in 25% of the rows" in of(np.where(np.arange(2000) % 4 == 0, -1.0, wave))[0]
    for none in (-99999.0, 99999.0):  # a sensor that was away once
        away = np.where(np.arange(2000) // 9 == 50, none, wave)
        assert of(away) == [f"p is {none:g} in 9 of 2000 rows, far from all other values"]
    assert of(np.where(np.arange(2000) == 50, -99999.0, wave)) == []  # a fault of one sample is no value for none
    assert of(np.where(np.arange(2000) // 9 == 50, -5000.0, wave)) == []


LEVEL = np.tile([0.2, -0.3, 9.8], (50, 1))
TURNING = np.outer(np.sin(np.arange(50)), [3.0, 0.5, -1.0])
FIELD = np.tile([20.0, 5.0, -40.0], (50, 1))
WALKING = np.outer(np.arange(50) / 10, [1.0, 1.0, 0.1])


@pytest.mark.parametrize(
    ("unit", "values", "scale", "said"),
    [
        ("m/s^2", LEVEL, 1, None),
        ("m/s^2", LEVEL, 1 / 9.80665, "looks like g"),
        ("m/s^2", LEVEL, 1000 / 9.80665, "looks like mg"),
        ("m/s^2", LEVEL[:, [2]], 1 / 9.80665, "looks like g"),  # of one axis
        ("m/s^2", TURNING / 3, 1, None),  # without gravity, and about as long as 1 g would be
        ("rad/s", TURNING, 1, None),
        ("rad/s", TURNING, 180 / np.pi, "looks like deg/s"),
        ("uT", FIELD, 1, None),
        ("uT", FIELD, 1e-2, "looks like gauss or mT"),
        ("uT", FIELD, 1e3, None),  # a magnet is near
        ("uT", FIELD * 1e2, 1e3, "looks like nT"),
        ("m", WALKING, 1, None),
        ("m", WALKING, 1e3, "looks like mm or cm"),
        ("V", LEVEL, 1e9, None),  # of which no rule is known
    ],
)
def test_units_that_are_often_mistaken(unit: str, values: np.ndarray, scale: float, said: str | None) -> None:
    spoilt = np.insert(values * scale, 7, np.nan, axis=0)
    spoilt[7, :-1] = 0.0  # a sample without all its values counts for nothing
    names = tuple("xyz"[: spoilt.shape[1]])
    found = list(implausible(csp_data.Stream(np.arange(51) / 10, spoilt, names, unit, "input")))
    assert len(found) == (said is not None)
    assert all(str(said) in problem for problem in found)
    assert list(implausible(csp_data.Stream(np.zeros(1), spoilt[:1], names, unit, "input"))) == []


@pytest.mark.parametrize(
    ("unit", "speed", "asked"),
    [("m", 12.0, False), ("m", 20.0, True), ("m", 140.0, True), ("m", 160.0, False), ("m/s^2", 20.0, False)],
)
def test_positions_faster_than_people_are_asked_about(unit: str, speed: float, asked: bool) -> None:
    """Not what is surely wrong, which is refused, nor what is no position."""
    time = np.arange(50) / 10
    moving = csp_data.Stream(time, speed * time[:, None], ("x",), unit, "reference")
    found = list(doubtful(moving))
    assert [f"above {speed:.0f} m/s, faster than people run" in line for line in found] == [True] * asked
    assert list(doubtful(moving.select(slice(1)))) == []


@pytest.mark.parametrize(
    ("unit", "values", "scale", "asked"),
    [
        ("uT", FIELD, 1, ""),
        ("uT", FIELD, 1e3, "as nT"),
        ("nT", FIELD, 1, "as uT"),
        ("nT", FIELD, 1e3, ""),
        ("mT", FIELD, 1, "as uT"),
        ("mT", FIELD, 1e-3, ""),
        ("uT", FIELD, 4, ""),  # beside a motor
        ("uT", FIELD, 100, ""),  # a skin with magnets
        ("mT", FIELD, 0.1, ""),
        ("uT", FIELD * np.nan, 1, ""),
        ("g", LEVEL, 1, "are these m/s^2"),
        ("g", LEVEL, 0.1, ""),
    ],
)
def test_what_a_sensor_at_rest_would_show_in_another_unit_is_asked_about(
    unit: str, values: np.ndarray, scale: float, asked: str
) -> None:
    found = list(doubtful(csp_data.Stream(np.arange(50) / 10, values * scale, tuple("xyz"), unit, "input")))
    assert len(found) == bool(asked)
    assert all(asked in line for line in found)


def test_angles_that_jump_by_a_whole_turn_or_look_like_degrees_are_asked_about() -> None:
    time = np.arange(2000) / 100
    heading = 2.5 * np.sin(time) + 0.5 * time  # in rad, beyond half a turn

    def asked(values: np.ndarray, unit: str, kind: str = "vector") -> list[str]:
        return list(doubtful(csp_data.Stream(time, values[:, None], ("yaw",), unit, "input", kind)))  # type: ignore[arg-type]

    wrapped = (heading + np.pi) % (2 * np.pi) - np.pi
    times = int(np.count_nonzero(np.abs(np.diff(wrapped)) > 6))
    assert times > 2
    for values, unit, period in ((wrapped, "rad", 2 * np.pi), (np.degrees(wrapped), "deg", 360)):
        (problem,) = asked(values, unit)
        assert problem.startswith(f"yaw jumps by a whole turn ({times} times)")
        assert ("period=360" in problem) == (unit == "deg")
        assert len(asked(np.where(np.arange(2000) % 50 == 7, np.nan, values), unit)) == 1
        assert asked(np.unwrap(values, period=period), unit) == []
    assert asked(np.degrees(wrapped), "1") == asked(np.degrees(wrapped), "deg", "rotation") == []
    assert asked(np.tile([0.0, 360.0], 1000), "deg") == []  # which is no angle that turns
    assert "above 172 rad/s, ten turns a second; are these degrees?" in asked(np.degrees(heading), "rad")[0]
    assert asked(np.degrees(heading), "deg") == []


def test_quaternions_have_a_norm_of_1() -> None:
    def of(values: np.ndarray) -> list[str]:
        names = tuple(f"q{i}" for i in range(values.shape[1]))
        stream = csp_data.Stream(np.arange(len(values)) / 10, values, names, "1", "reference", "rotation")
        return list(implausible(stream))

    angle = np.arange(20) / 7
    two = np.stack([np.cos(angle), np.sin(angle), 0 * angle, 0 * angle] * 2, axis=1)
    assert of(two) == []
    assert of(np.insert(two, 3, np.nan, axis=0)) == []
    assert of(two[:0]) == []
    assert "found 0.5 to 1" in of(two * np.where(np.arange(8) < 4, 1, 0.5))[0]
    assert "four columns each, found 7 columns" in of(two[:, :7])[0]


def test_what_was_skipped_has_not_passed() -> None:
    checks = (
        Check("reader", "ok"),
        Check("reading", "failed", ("first", "second")),
        Check("another process", "skipped", ("third",)),
    )
    lines = str(SourceReport("x", Path("raw"), checks)).splitlines()
    assert lines[-1].startswith("1 of 3 checks passed, 1 skipped; ")
    details = zip(lines[2:5], ("first", "second", "third"), strict=True)
    assert {line.index(word) for line, word in details} == {len("  skipped  another process ")}


def test_the_command(root: Path, tmp_path: Path) -> None:
    good = CliRunner().invoke(cli, ["check", "sample", "--limit", "1"])
    assert good.exit_code == 0
    assert "12 of 12 checks passed" in good.stdout
    report(root, replace(GOOD, read=raising))
    bad = CliRunner().invoke(cli, ["check", "made", "--raw", str(root), "--json"])
    assert bad.exit_code == 3
    rows = json.loads(bad.stdout)
    assert not rows["ok"]
    assert {c["name"]: c["status"] for c in rows["checks"]}["round trip"] == "skipped"
    with pytest.raises(VerificationError, match="reading"):
        csp_data.check_source("made", raw=root).raise_for_failures()
    with pytest.raises(MissingDataError, match="It is computed"):
        csp_data.check_source("made", raw=tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["marker", "slip", "joystick", "ronin", "vector", "totalcapture"])
def test_sources_of_the_package_conform(name: str, tmp_path: Path) -> None:
    raw = csp_data.simulate(name, tmp_path / "raw", hours=0.01, seed=0)
    made = csp_data.check_source(name, raw=raw, limit=2)
    assert made.ok, str(made)
