"""The writer of prepared files: chunks written as they lie on the disk, against what h5py reads."""

from __future__ import annotations

import pickle
import random
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import csp_data
from csp_data.dataset import Dataset
from csp_data.errors import StoreError
from csp_data.normalization import Affine, Normalization
from csp_data.store import Channels, Header, Prepared, Writer
from csp_data.store import reader as reading
from csp_data.store import writer as writing

CHUNK_ROWS = 8
HEADER = Header(dataset="x", protocol="{}", recipe_hash="0" * 12, source_digest="0" * 64, provenance="{}")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(1, 3 * CHUNK_ROWS), min_size=1, max_size=6), width=st.integers(1, 3))
def test_episodes_of_any_length_are_read_as_they_were_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lengths: list[int], width: int
) -> None:
    monkeypatch.setattr(writing, "CHUNK_BYTES", 4 * width * CHUNK_ROWS)
    rng = np.random.default_rng(len(lengths))
    episodes = [(rng.normal(size=(2 * n, width)), rng.normal(size=(n, 1)).astype("f4")) for n in lengths]
    names = tuple("abc"[:width])
    with Writer(tmp_path / "x.h5") as writer:
        writer.begin(Channels(names, ("m",) * width, 2.0), Channels(("t",), ("m",), 1.0))
        for i, (inputs, targets) in enumerate(episodes):
            writer.append(str(i), f"g{i}", i / 3, inputs, targets, f"r{i}")
        writer.assign(["train"] * len(episodes))
        of_inputs, of_targets = (Affine(rng.normal(size=n), rng.uniform(1, 2, size=n)) for n in (width, 1))
        writer.finish(HEADER, Normalization(of_inputs, of_targets), None)
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["inputs"].chunks == (CHUNK_ROWS, width)
        for i, name in enumerate(("inputs", "targets")):
            np.testing.assert_array_equal(file[name], np.concatenate([e[i] for e in episodes]).astype("f4"))
    prepared = Prepared(tmp_path / "x.h5")
    for read, given_ in zip(vars(prepared.index.normalization).values(), (of_inputs, of_targets), strict=True):
        np.testing.assert_array_equal([read.shift, read.scale], [given_.shift, given_.scale])
    for i, row in enumerate(prepared.index.episodes):
        assert (row.id, row.group, row.start_s, row.recording) == (str(i), f"g{i}", i / 3, f"r{i}")
    for row, (inputs, targets) in zip(prepared.index.episodes, episodes, strict=True):
        np.testing.assert_array_equal(
            prepared.read("inputs", row.input_start, row.input_stop), inputs.astype("f4")
        )
        np.testing.assert_array_equal(prepared.read("targets", row.target_start, row.target_stop), targets)
    end = prepared.index.episodes[-1].input_stop
    for start, stop in ((1, 1), (2, 1), (end, end + 1), (end - 1, end + 5)):
        rows = np.concatenate([inputs for inputs, _ in episodes]).astype("f4")[start:stop]
        np.testing.assert_array_equal(prepared.read("inputs", start, stop), rows, strict=True)
    prepared.close()


def test_rows_are_written_by_the_mebibyte() -> None:
    """Smaller chunks would be many to read and to keep a list of, larger ones a burden for short files."""
    with h5py.File(csp_data.prepare("sample")) as file:
        for name in ("inputs", "targets"):
            rows, width = file[name].chunks
            assert width == file[name].shape[1]
            assert 2**19 < 4 * rows * width <= 2**20
            assert file[name].compression is None  # else any row would cost a whole chunk


@pytest.mark.parametrize(
    ("where", "change"),
    [
        ("episodes/input_start", lambda v: v + (np.arange(len(v)) == 1)),
        ("episodes/target_stop", lambda v: v + 1),
        ("episodes/target_stop", lambda v: v.astype(float)),
        ("episodes/start_s", lambda v: v.astype("S8")),
        ("episodes/group", lambda v: v[:, None]),
        ("episodes/id", lambda v: v[0]),
        ("episodes/group", None),
        ("episodes/input_stop", lambda _: h5py.SoftLink("/normalization")),
        ("windows/episode", lambda v: v.astype("u8")),
        ("windows/episode", lambda v: v + 10_000),
        ("windows/episode", lambda v: v - 1),
        ("windows/target_stop", lambda v: v + 10_000),
        ("windows/target_stop", lambda v: 0 * v),
        ("windows/input_start", lambda v: -v - 1),
        ("windows/input_start", lambda v: v + 0.5),
        ("normalization/inputs/scale", lambda v: 0 * v),
        ("normalization/inputs/shift", lambda v: v + np.nan),
        ("normalization/targets/shift", lambda v: v[:2]),
        ("normalization/targets/scale", lambda v: v[:2]),
        ("normalization/inputs/scale", lambda v: -v),
        ("inputs@channels", ["a"]),
        ("inputs@units", ["m"]),
        ("inputs@channels", [f"a{i}\x1b[2J" for i in range(6)]),  # a terminal would obey
        ("episodes/id", lambda v: [f"{i}\x1b]0;x\x07" for i in range(len(v))]),
        ("@dataset", "sample\x9b2J"),
        ("inputs@rate_hz", np.inf),
        ("targets@units", [1.0, 2.0, 3.0]),
        ("targets@rate_hz", -5.0),
        ("targets@rate_hz", 0.0),
        ("@dataset", 3),
        ("@format_version", np.inf),
        ("@input_checks", np.inf),
        ("@provenance", "3"),
        ("@provenance", '{"kind": "simulated"}'),
        ("episodes/recording", None),
    ],
)
def test_tables_that_do_not_fit_are_refused_as_damaged(tmp_path: Path, where: str, change: object) -> None:
    """Other rows were read, or what used them ended in a traceback."""
    path = csp_data.prepare("sample", window=csp_data.Window(5), out=tmp_path / "x.h5")
    name, at, attribute = where.partition("@")
    with h5py.File(path, "r+") as file:
        file.attrs.pop("tables_crc32")  # as in files of earlier versions
        if at:
            file[name or "/"].attrs[attribute] = change
        else:
            values = file[name][()]
            del file[name]
            if change is not None:
                file[name] = change(values)
    lacking = change is None or (where == "@provenance" and change != "3")
    what = "is damaged or of an earlier version" if lacking else "is damaged"
    with pytest.raises(StoreError, match=rf"x\.h5: {what} \("):
        repr(csp_data.load(path=path))


def test_a_normalization_of_one_column_is_not_taken_for_all(tmp_path: Path) -> None:
    """Numpy would spread it over all columns, and no number would look wrong."""
    path = csp_data.prepare("sample", out=tmp_path / "x.h5")
    with h5py.File(path, "r+") as file:
        for name in ("normalization/inputs/shift", "normalization/inputs/scale"):
            values = file[name][()]
            del file[name]
            file[name] = values[:1]
    with pytest.raises(StoreError, match=r"/normalization/inputs is of another number of columns"):
        csp_data.load(path=path)


@pytest.mark.parametrize("name", ["inputs", "episodes/start_s"])
@pytest.mark.parametrize("kind", ["link", "storage", "virtual"])
def test_values_that_are_in_another_file_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    """A prepared file of somebody else's would bring a private one into whatever is exported or shown."""
    path = csp_data.prepare("sample", out=tmp_path / "x.h5")
    other = tmp_path / "private.h5"
    with h5py.File(path, "r+") as file, h5py.File(other, "w") as private:
        data, attributes = file[name], dict(file[name].attrs)
        private["key"] = data[()]
        shape, dtype = data.shape, data.dtype
        del file[name]
        if kind == "link":
            file[name] = h5py.ExternalLink(other.name, "/key")
        elif kind == "storage":
            file.create_dataset(name, shape, dtype, external=[(str(other), 0, h5py.h5f.UNLIMITED)])
        else:
            layout = h5py.VirtualLayout(shape=shape, dtype=dtype)
            layout[...] = h5py.VirtualSource(other.name, "key", shape=shape)
            file.create_virtual_dataset(name, layout)
        if kind != "link":
            file[name].attrs.update(attributes)
    with pytest.raises(StoreError, match=rf"x\.h5: is damaged \(/{name}.* another file"):
        csp_data.load(path=path)


def _all_of(dataset: Dataset) -> list[object]:
    index = dataset.prepared.index
    arrays = [
        index.windows,
        *vars(index.normalization.inputs).values(),
        *vars(index.normalization.targets).values(),
    ]
    episodes = [episode for part in dataset.parts for episode in dataset.split(part)]
    dataset.close()
    return [index.header, index.inputs, index.targets, index.episodes, *(a.tobytes() for a in arrays), episodes]


def test_no_flipped_bit_changes_what_is_read_without_a_word(tmp_path: Path) -> None:
    path = csp_data.prepare("sample", window=csp_data.Window(5), out=tmp_path / "x.h5")
    whole, content = _all_of(csp_data.load(path=path)), bytearray(path.read_bytes())
    taken = np.flatnonzero(np.frombuffer(content, "u1"))  # the rest is room in chunks that nobody reads
    rng, refused = random.Random(0), 0
    for place in [*taken[:30_000:1200], *taken[30_000::40_000], *taken[-30_000::1200]]:
        content[place] ^= (bit := 1 << rng.randrange(8))
        path.write_bytes(content)
        try:
            assert _all_of(csp_data.load(path=path)) == whole, (place, bit)
        except StoreError:
            refused += 1
        content[place] ^= bit
    assert refused > 50


@pytest.mark.parametrize("name", ["inputs", "targets"])
def test_damaged_samples_are_told_by_whoever_reads_them_first(tmp_path: Path, name: str) -> None:
    """They were taken for numbers. What a window leaves out of an episode counts, too; other episodes do not."""
    path = csp_data.prepare("sample", window=csp_data.Window(5), out=tmp_path / "x.h5")
    row = csp_data.load(path=path).train.rows[2]
    with h5py.File(path, "r+") as file:
        file[name][getattr(row, f"{name[:-1]}_stop") - 1, 1] += 1e-6
    said = rf"x\.h5: is damaged \({name} of episode {row.id} have another checksum .* csp-data prepare NAME\.$"
    for read in (
        lambda ds: ds.train[2],
        lambda ds: ds.train.windows[next(i for i in range(99) if ds.train.windows.span(i)[0].id == row.id)],
        lambda ds: list(ds.train),
        lambda ds: ds.prepared.check(),
    ):
        dataset = csp_data.load(path=path)
        assert dataset.train[1].inputs.any()
        for _ in range(2):  # the second time, too
            with pytest.raises(StoreError, match=said):
                read(dataset)
        dataset.close()
    with h5py.File(path, "r+") as file:
        for column in ("input_crc32", "target_crc32"):
            del file["episodes"][column]  # files of earlier versions have none
    assert csp_data.load(path=path).train[2].inputs.any()


def test_a_read_tells_of_damage_in_every_episode_that_it_touches_and_in_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the episodes lie in the chunks, and in the pieces in which what is compared only is read."""
    monkeypatch.setattr(writing, "CHUNK_BYTES", 4 * CHUNK_ROWS)
    monkeypatch.setattr(reading, "READ_BYTES", 4 * 3)
    lengths, rng = (1, 7, 0, 9, 1, 20, 0), np.random.default_rng(0)
    ends = np.cumsum(lengths)
    with Writer(path := tmp_path / "x.h5") as writer:
        writer.begin(Channels(("a",), ("m",), 1.0), Channels(("t",), ("m",), 1.0))
        for i, length in enumerate(lengths):
            writer.append(str(i), "g", 0.0, rng.normal(size=(length, 1)), np.zeros((length, 1)), str(i))
        writer.assign(["train"] * len(lengths))
        one = Affine(np.zeros(1), np.ones(1))
        writer.finish(HEADER, Normalization(one, one), np.zeros((0, 5), dtype=np.int64))
    fresh = pickle.dumps(Prepared(path))  # a copy has compared nothing yet
    spans = [tuple(sorted(rng.integers(0, ends[-1] + 3, size=2))) for _ in range(20)]
    for row in (0, 1, 4, 7, 8, 16, 17, 18, 37):
        with h5py.File(path, "r+") as file:
            rows = file["inputs"][:]
            file["inputs"][row] += 1
        damaged = int(np.searchsorted(ends, row, side="right"))
        for start, stop in [*spans, (row, row), (row, row + 1)]:
            copy = pickle.loads(fresh)
            touched = {int(np.searchsorted(ends, at, side="right")) for at in range(start, min(stop, ends[-1]))}
            np.testing.assert_array_equal(copy.read("targets", start, stop), 0)
            for _ in range(2):
                if damaged in touched:
                    with pytest.raises(StoreError, match=rf"inputs of episode {damaged} have another checksum"):
                        copy.read("inputs", start, stop)
                else:
                    np.testing.assert_array_equal(copy.read("inputs", start, stop), rows[start:stop])
            copy.close()
        with h5py.File(path, "r+") as file:
            file["inputs"][:] = rows
    prepared = Prepared(path)
    prepared.check()
    monkeypatch.setattr(reading, "crc32", None)  # nothing is compared twice
    for start, stop in zip(ends - lengths, ends, strict=True):
        np.testing.assert_array_equal(prepared.read("inputs", start, stop), rows[start:stop])
    prepared.close()


def test_checksums_are_those_of_zlib(tmp_path: Path) -> None:
    """As docs/format.md lays them down, for readers in other languages."""
    with h5py.File(csp_data.prepare("sample", window=csp_data.Window(5), out=tmp_path / "x.h5")) as file:
        rows = file["episodes"]
        for side in ("input", "target"):
            spans = zip(rows[f"{side}_start"], rows[f"{side}_stop"], strict=True)
            found = [zlib.crc32(file[f"{side}s"][start:stop].astype("<f4").tobytes()) for start, stop in spans]
            np.testing.assert_array_equal(rows[f"{side}_crc32"], found)
        texts = [
            file.attrs[name] for name in ("dataset", "protocol", "recipe_hash", "source_digest", "provenance")
        ]
        texts += [file.attrs["created_by"]]
        texts += [
            text for name in ("inputs", "targets") for at in ("channels", "units") for text in file[name].attrs[at]
        ]
        columns = [rows[name].asstr()[()] for name in ("id", "group", "split", "recording")]
        texts += [text for row in zip(*columns, strict=True) for text in row]
        parts = [text.encode() + b"\0" for text in texts]
        extents = [rows[f"{side}_{end}"] for side in ("input", "target") for end in ("start", "stop")]
        windows = ("episode", "input_start", "input_stop", "target_start", "target_stop")
        for whole in (
            [file.attrs["format_version"], file.attrs["input_checks"]],
            np.transpose(extents),
            np.transpose([file["windows"][name] for name in windows]),
        ):
            parts.append(np.array(whole, "<i8").tobytes())
        real = [[file[name].attrs["rate_hz"] for name in ("inputs", "targets")], rows["start_s"]]
        real += [file[f"normalization/{n}/{which}"] for n in ("inputs", "targets") for which in ("shift", "scale")]
        parts += [np.array(values, "<f8").tobytes() for values in real]
        assert file.attrs["tables_crc32"] == zlib.crc32(b"".join(parts))
