"""What readers from outside give: arrays of any kind are taken, what is none is refused with the reader's name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import csp_data
from csp_data.authoring.template import new_source
from csp_data.errors import DamagedRecordingError, MissingDataError, SourceError
from csp_data.recording import Recording

Change = Callable[[Any], Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_source("given", tmp_path_factory.mktemp("given") / "own")


def load(folder: Path, *, values: Change | None = None, **changes: Change) -> csp_data.Dataset:
    """Load recordings whose accelerations, find(), read() or target are changed."""
    source = csp_data.info(folder).reader()  # type: ignore[misc]

    def of_stream(recording: Recording) -> Recording:
        stream = recording.streams["accelerometer"]
        fields = values(stream) if values is not None else {}
        return replace(recording, streams={**recording.streams, "accelerometer": replace(stream, **fields)})

    find, read, target = (changes.get(name, lambda given: given) for name in ("find", "read", "target"))
    changed = csp_data.Source(
        lambda root: find(source.find(root)),
        lambda *given: read(of_stream(source.read(*given))),
        source.layout,
        {"velocity": lambda edges: target(source.targets["velocity"](edges))},
    )
    csp_data.register(folder / "card.toml", changed)
    return csp_data.load("given", raw=folder / "recordings", resample="mean", input_hz=10, target_hz=5)


def same(one: csp_data.Dataset, other: csp_data.Dataset, tolerance: float = 0) -> None:
    for a, b in zip(one.train, other.train, strict=True):
        np.testing.assert_allclose(a.inputs, b.inputs, atol=tolerance)
        np.testing.assert_array_equal(a.targets, b.targets)


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u8", ">f8", "f4", "O", "list"])
def test_numbers_of_any_kind_are_taken_as_what_they_are(folder: Path, kind: str) -> None:
    """Sums of small whole numbers ran over: means of two bytes of 200 were 72."""

    def whole(stream: Any) -> dict[str, Any]:
        return {"values": np.round(np.abs(stream.values) * 50) % 128}

    def given(stream: Any) -> dict[str, Any]:
        values = whole(stream)["values"]
        return {"values": values.tolist() if kind == "list" else values.astype(kind)}

    same(load(folder, values=given), load(folder, values=whole))


def test_frames_and_lists_are_taken(folder: Path) -> None:
    pd = pytest.importorskip("pandas")
    whole = load(folder)
    frame = load(folder, values=lambda s: {"values": pd.DataFrame(s.values), "time": pd.Series(s.time)})
    same(frame, whole)
    same(load(folder, target=lambda values: values.tolist()), whole)
    same(load(folder, target=pd.DataFrame), whole)


def test_the_card_says_how_a_stream_is_used(folder: Path) -> None:
    same(load(folder, values=lambda s: {"role": "reference", "kind": "rotation"}), load(folder))


def test_masked_values_are_none(folder: Path) -> None:
    with pytest.raises(DamagedRecordingError, match=r"acc_x of accelerometer .* found nan"):
        load(folder, values=lambda s: {"values": np.ma.masked_greater(s.values, 0.5)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"values": lambda s: {"values": s.values + 0j}},
            "r0: accelerometer: expected an array of numbers, found c",
        ),
        ({"values": lambda s: {"values": s.values.astype(str)}}, "accelerometer: expected an array of numbers"),
        ({"values": lambda s: {"values": [["a"]]}}, "accelerometer: expected an array of numbers"),
        ({"values": lambda s: {"time": s.time.astype("M8[s]")}}, "accelerometer: expected an array of numbers"),
        ({"target": lambda v: v + 0j}, "r0: target velocity: expected an array of numbers, found complex"),
        ({"target": lambda v: None}, "r0: target velocity: expected the shape"),
        ({"read": lambda r: None}, r"r0: read\(\) should return a csp_data.Recording, .* found NoneType"),
        ({"read": lambda r: replace(r, streams=[*r.streams.values()])}, r"r0: read\(\) should return"),
        ({"read": lambda r: replace(r, id="other")}, r"r0: read\(\) changed id or group to 'other', 'r0'"),
        ({"read": lambda r: replace(r, group="other")}, r"r0: read\(\) changed id or group to 'r0', 'other'"),
        (
            {"read": lambda r: replace(r, streams={n: (s.time, s.values) for n, s in r.streams.items()})},
            r"r0: read\(\) should return a csp_data.Stream for each stream, found tuple for 'accelerometer'",
        ),
        (
            {"values": lambda s: {"channels": tuple(f"{channel}\x1b[2J" for channel in s.channels)}},
            r"names of channels without control characters, found 'acc_x\\x1b\[2J'",
        ),
        ({"read": lambda r: replace(r, active=(5.0,))}, r"as active the first and the last second .* \(5\.0,\)"),
        ({"read": lambda r: replace(r, active=(5.0, np.nan))}, r"as active the first .* \(5\.0, nan\)"),
        ({"read": lambda r: replace(r, active="ab")}, r"as active the first .* 'ab'"),
        ({"read": lambda r: replace(r, active=(9, 5))}, r"as active the first .* \(9, 5\)"),
        ({"read": lambda r: replace(r, notes="hello")}, "a tuple of csp_data.Note as notes, found 'hello'"),
        ({"read": lambda r: replace(r, notes=("hello",))}, "a tuple of csp_data.Note as notes"),
        ({"find": lambda found: None}, r"find\(\) should give a csp_data.Found for each recording, gave None"),
        ({"find": lambda found: [f.files[0] for f in found]}, r"find\(\) should give a csp_data.Found"),
        ({"find": lambda found: [replace(f, files=()) for f in found]}, "files should be paths"),
        ({"find": lambda found: [replace(f, files=f.files[0]) for f in found]}, "files should be paths"),
        ({"find": lambda found: [replace(f, id=i) for i, f in enumerate(found)]}, "id and group should be text"),
        ({"find": lambda found: [replace(f, id=f.id + "\0") for f in found]}, "id and group should be text"),
    ],
)
def test_what_a_reader_may_not_give(folder: Path, change: dict[str, Change], message: str) -> None:
    with pytest.raises(SourceError, match=f"reader given: .*{message}"):
        load(folder, **change)


def test_what_find_gives_may_be_made_on_the_way(folder: Path) -> None:
    def made(found: Any) -> Iterator[Any]:
        for one in found:
            yield replace(one, files=list(map(str, one.files)))

    same(load(folder, find=made), load(folder))


def test_functions_of_a_folders_reader_in_another_source(folder: Path) -> None:
    """Another process could not import what they come from: the pool broke."""
    load(folder)
    report = csp_data.check_source("given", raw=folder / "recordings")
    assert report.ok, str(report)


def test_a_reader_that_fails_elsewhere_hides_no_message(folder: Path, tmp_path: Path) -> None:
    """What a folder looks like is asked of all readers."""
    source = csp_data.info(folder).reader()  # type: ignore[misc]
    broken = csp_data.Source(lambda root: [next(root.glob("none"))], source.read, "l", source.targets)
    csp_data.register(folder / "card.toml", broken)
    with pytest.raises(MissingDataError, match="What is there: nothing"):
        csp_data.load("marker", raw=tmp_path)


def test_an_active_part_of_any_kind_of_numbers(folder: Path) -> None:
    whole = load(folder, read=lambda r: replace(r, active=(5.0, 20.0)))
    for active in ([5, 20], np.array([5.0, 20.0]), (np.float32(5), np.int64(20))):
        same(load(folder, read=lambda r, active=active: replace(r, active=active)), whole)
