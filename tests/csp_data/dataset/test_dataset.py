"""Dataset, Split, Episode and the torch view."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import csp_data
from csp_data.errors import OptionError, StoreError, UnknownNameError
from csp_data.normalization import Affine
from csp_data.store import EpisodeRow


@pytest.fixture(scope="module")
def ds() -> csp_data.Dataset:
    return csp_data.load("sample")


def test_shapes_times_and_names(ds: csp_data.Dataset) -> None:
    for part in (ds.train, ds.val, ds.test):
        for episode in part:
            assert episode.split == part.name
            assert episode.inputs.dtype == episode.targets.dtype == np.float32
            assert episode.inputs.shape == (10 * len(episode.targets), 6)
            assert episode.targets.shape[1] == len(ds.targets.names) == 3
            np.testing.assert_allclose(np.diff(episode.time), 1 / 50, atol=1e-9)
            np.testing.assert_allclose(episode.time[9::10], episode.target_time, atol=1e-9)
    assert ds.rates == (50.0, 5.0)
    assert ds.channels.names == ("acc_x", "acc_y", "acc_z", "gyr_x", "gyr_y", "gyr_z")
    assert "real recordings" in repr(ds)


def test_parts_share_no_group(ds: csp_data.Dataset) -> None:
    assert not ds.train.groups & ds.val.groups
    assert not (ds.train.groups | ds.val.groups) & ds.test.groups
    assert len(ds.episodes) == len(ds.train) + len(ds.val) + len(ds.test)


def test_indexing(ds: csp_data.Dataset) -> None:
    assert ds.train[-1].id == ds.train.rows[-1].id
    assert [e.id for e in ds.train[1:3]] == [row.id for row in ds.train.rows[1:3]]
    with pytest.raises(IndexError):
        ds.train[99]
    for row in ds.test.rows:
        assert ds.test[row.id].id == row.id
    assert ds.test[ds.test.rows[1].id] == ds.test[1]
    with pytest.raises(
        UnknownNameError, match=f"no episode {ds.train.rows[0].id!r} of test.* Known: {ds.test.rows[0].id}"
    ):
        ds.test[ds.train.rows[0].id]
    assert ds.test.rows[0].id in ds.test
    assert ds.train.rows[0].id not in ds.test
    assert ds.test[0] in ds.test
    assert ds.train[0] not in ds.test
    with pytest.raises(UnknownNameError, match="Known: train, val, test"):
        ds.split("dev")
    with pytest.raises(UnknownNameError, match=r"no part 'eval' .*Known: train, val, test"):
        _ = ds.eval


def test_a_loop_over_a_part_does_not_look_through_all_episodes_each_time() -> None:
    """``ds.train[i]`` and ``split[id]`` did: ten thousand recordings took as long as a hundred million steps."""

    class Counting(tuple[EpisodeRow, ...]):
        passes = 0

        def __iter__(self) -> Iterator[EpisodeRow]:
            Counting.passes += 1
            return super().__iter__()

    dataset = csp_data.load("sample", window=csp_data.Window(4, 2))
    index = dataset.prepared.index
    dataset.prepared.index = replace(index, episodes=Counting(index.episodes))
    for _ in range(20):
        ids = [dataset.train[i].id for i in range(len(dataset.train))]
        assert len(dataset.train.windows[-1].targets) == 20
    assert Counting.passes == 1
    assert [dataset.train[id_].id for id_ in ids] == ids


def test_episodes_are_equal_if_their_numbers_are(ds: csp_data.Dataset) -> None:
    """What a sequence promises asks for it: ``in``, ``index``, ``count``; numpy's == raised."""
    assert ds.train[0] == ds.train[0] != ds.train[1]
    assert ds.train[1] in ds.train
    assert ds.train[1] not in ds.val
    assert ds.train.index(ds.train[2]) == 2
    assert len({*ds.train, *ds.train}) == len(ds.train)
    assert ds.train[0] != "an episode"
    other = replace(ds.train[0], targets=ds.train[0].targets + 1)
    assert other != ds.train[0]
    for name in ("id", "group", "split"):
        assert replace(ds.train[0], **{name: "other"}) != ds.train[0]


def test_a_file_is_found_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is opened when samples are asked for, and again after ``close`` or in another process."""
    monkeypatch.chdir(tmp_path)
    csp_data.prepare("sample", out="here.h5")
    loaded = csp_data.load(path="here.h5")
    monkeypatch.chdir("/")
    first = loaded.train[0]
    assert pickle.loads(pickle.dumps(loaded)).train[0] == first
    assert str(loaded.path) == "here.h5"


def test_another_file_in_its_place_is_not_read_as_it(tmp_path: Path) -> None:
    """Rows of one recipe were read from the file of another."""
    path = csp_data.prepare("sample", out=tmp_path / "x.h5")
    loaded = csp_data.load(path=path)
    first = loaded.train[0]
    csp_data.prepare("sample", out=path, input_hz=100)
    assert loaded.train[0] == first  # still open
    loaded.close()
    loaded.close()  # nothing is open any more
    with pytest.raises(StoreError, match=r"x\.h5: is another file than was loaded.*Load it again"):
        loaded.train[0]
    csp_data.prepare("sample", out=path)
    assert loaded.train[0] == first
    loaded.close()
    path.unlink()
    with pytest.raises(StoreError, match="is no longer there"):
        loaded.train[0]


def test_a_file_made_again_under_stricter_checks_is_another(tmp_path: Path) -> None:
    """Its recipe is the same, but what was refused may be missing from its rows."""
    path = csp_data.prepare("sample", out=tmp_path / "x.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["input_checks"] -= 1
        file.attrs.pop("tables_crc32")
    loaded = csp_data.load(path=path)
    csp_data.prepare("sample", out=path)
    with pytest.raises(StoreError, match=r"x\.h5: is another file than was loaded.*Load it again"):
        _ = loaded.train[0].inputs


def test_threads_may_read_while_another_closes_the_file(ds: csp_data.Dataset) -> None:
    """The file was called damaged when it was closed between two steps of a read."""
    prepared = csp_data.load(path=ds.path).prepared
    wanted = {name: ds.prepared.read(name, 0, 300) for name in ("inputs", "targets")}
    over = threading.Event()

    def close_again_and_again() -> None:
        while not over.wait(1e-4):  # without a pause it would hold the interpreter
            prepared.close()

    def read() -> bool:
        return all(
            np.array_equal(prepared.read(name, 0, 300), rows) for _ in range(500) for name, rows in wanted.items()
        )

    with ThreadPoolExecutor(5) as pool:
        closing = pool.submit(close_again_and_again)
        try:
            readers = [pool.submit(read) for _ in range(4)]
            assert all(reader.result() for reader in readers)
        finally:
            over.set()
    closing.result()
    prepared.close()


def test_too_many_open_files_damage_none(ds: csp_data.Dataset) -> None:
    prepared = csp_data.load(path=ds.path).prepared
    resource = pytest.importorskip("resource", reason="Windows has no such limit")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Path(os.devnull).open() as last:  # no number above its own is given out
        resource.setrlimit(resource.RLIMIT_NOFILE, (last.fileno(), hard))
        try:
            with pytest.raises(StoreError, match=r"cannot be read \(Too many open files\)"):
                prepared.read("inputs", 0, 3)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    np.testing.assert_array_equal(prepared.read("inputs", 0, 3), ds.prepared.read("inputs", 0, 3))


def test_a_copy_in_another_process_reads_for_itself(ds: csp_data.Dataset) -> None:
    _ = ds.train[0]
    copy = pickle.loads(pickle.dumps(ds))
    np.testing.assert_array_equal(copy.test[0].inputs, ds.test[0].inputs)
    copy.close()


def test_load_takes_a_name_or_a_path(ds: csp_data.Dataset) -> None:
    again = csp_data.load(path=ds.path)
    assert again.protocol == ds.protocol == csp_data.STRICT
    with pytest.raises(OptionError, match="either a name or a path"):
        csp_data.load()
    with pytest.raises(OptionError, match="beside it"):
        csp_data.load(path=ds.path, protocol="strict")


def test_protocols_survive_json() -> None:
    protocol = csp_data.STRICT.replace(
        lowpass=csp_data.LowPass(5.0, 2, "zero"), window=csp_data.Window(10), inputs=["gyroscope"], clip=3000.0
    )
    assert csp_data.Protocol.from_json(protocol.to_json()) == protocol


def test_torch_view(ds: csp_data.Dataset) -> None:
    torch = pytest.importorskip("torch")
    from csp_data.adapters.torch import collate

    view = ds.to_torch("val")
    inputs, targets = view[0]
    assert inputs.shape == (len(ds.val[0].inputs), 12)
    np.testing.assert_allclose(
        ds.normalization.targets.invert(targets.double().numpy()), ds.val[0].targets, atol=1e-6
    )
    raw = ds.to_torch("val", normalized=False)
    np.testing.assert_array_equal(raw[0][0].numpy(), ds.val[0].inputs)
    for (some, _), episode in zip(raw[-1:], ds.val[-1:], strict=True):
        np.testing.assert_array_equal(some.numpy(), episode.inputs)
    assert raw[:0] == []
    loader = torch.utils.data.DataLoader(view, batch_size=len(view), collate_fn=collate, num_workers=1)
    (batch,) = list(loader)
    assert batch.mask.sum(dim=1).tolist() == [len(e.targets) for e in ds.val]
    assert (batch.targets[~batch.mask] == 0).all()
    torch.testing.assert_close(batch.inputs[0, : len(inputs)], inputs)
    padded, wanted, mask = batch  # as those who did not write the loop take it, to move or to pin its tensors
    assert (padded is batch.inputs, wanted is batch.targets, mask is batch.mask) == (True,) * 3
    physical = ds.normalization.targets.invert(batch.targets)  # a tensor
    for predicted, e in zip(physical, ds.val, strict=True):
        np.testing.assert_allclose(predicted[: len(e.targets)], e.targets, atol=1e-6)


def test_another_shift_and_scale(ds: csp_data.Dataset) -> None:
    own = ds.normalization
    double = Affine(own.inputs.shift, 2 * own.inputs.scale)
    other = ds.with_normalization(csp_data.Normalization(double, own.targets))
    np.testing.assert_allclose(other.to_torch("val")[0][0], ds.to_torch("val")[0][0] / 2, rtol=1e-6)
    assert (ds.normalization, other.normalization.inputs, other.path) == (own, double, ds.path)
    assert [one.has_own_normalization for one in (ds, other, other.with_normalization(None))] == [
        True,
        False,
        True,
    ]
    assert other.with_normalization(own).has_own_normalization
    assert pickle.loads(pickle.dumps(other)).normalization == other.normalization
    lists: Any = Affine(own.targets.shift.tolist(), own.targets.scale.tolist())  # type: ignore[arg-type]
    assert ds.with_normalization(csp_data.Normalization(double, lists)).normalization == other.normalization
    for inputs, expected in (
        (Affine(own.inputs.shift[:6], own.inputs.scale[:6]), r"normalization.inputs=\(6,\): expected 12 values"),
        (Affine(own.inputs.shift, 0 * own.inputs.scale), "scales above 0"),
        (Affine(own.inputs.shift * np.nan, own.inputs.scale), "finite shifts"),
        (own, "a csp_data.Normalization"),
    ):
        wrong: Any = csp_data.Normalization(inputs, own.targets)  # type: ignore[arg-type]
        with pytest.raises(OptionError, match=expected):
            ds.with_normalization(wrong)


def test_a_window_in_torch_is_a_piece_of_its_episodes_features() -> None:
    """Its first sample, too, has changed since the one before it, and all is clipped before it is scaled."""
    pytest.importorskip("torch")
    ds = csp_data.load("sample", window=csp_data.Window(4, 2), clip=2.0)
    shift, scale = ds.normalization.inputs.shift, ds.normalization.inputs.scale
    for (inputs, targets), window in zip(ds.to_torch("val"), ds.val.windows, strict=True):
        episode = ds.val[window.id]
        changes = np.zeros_like(episode.inputs)
        changes[1:] = episode.inputs[1:] - episode.inputs[:-1]
        made = (np.clip(np.hstack([episode.inputs, changes]), -2, 2) - shift) / scale
        first = int(np.abs(episode.time - window.time[0]).argmin())
        np.testing.assert_allclose(inputs, made[first : first + 200], atol=1e-5)
        np.testing.assert_allclose(ds.normalization.targets.invert(targets), window.targets, atol=1e-6)


def test_reading_all_episodes_at_once_gives_each_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = csp_data.load("sample")
    for rows in (1, 4000, 8192):
        monkeypatch.setattr("csp_data.dataset.dataset.BLOCK_BYTES", rows * 4 * len(dataset.channels.names))
        for part in dataset.parts:
            split = dataset.split(part)
            together = list(split)
            assert len(together) == len(split)
            for i, episode in enumerate(together):
                alone = split[i]
                assert (episode.id, episode.group, episode.split) == (alone.id, alone.group, alone.split)
                for name in ("inputs", "targets", "time", "target_time"):
                    np.testing.assert_array_equal(getattr(episode, name), getattr(alone, name))
            backwards = list(dataset.read_rows(split.rows[::-1]))
            assert backwards == together[::-1]
            twice = list(dataset.read_rows([split.rows[0], split.rows[0]]))
            assert twice == together[:1] * 2


def test_a_damaged_file_is_said_to_be_one(tmp_path: Path) -> None:
    """Bytes changed by a disk, in what describes the arrays: wherever they are, it is our error."""
    whole = csp_data.prepare("sample", window=csp_data.Window(10)).read_bytes()
    rng = np.random.default_rng(0)
    told = []
    for i in range(80):
        first = int(rng.integers(4000) if i % 2 else rng.integers(len(whole) - 60_000, len(whole)))
        path = tmp_path / f"{i}.h5"
        path.write_bytes(whole[:first] + b"\xa4\xa4" + whole[first + 2 :])
        try:
            ds = csp_data.load(path=path)
            assert ds.kind
            assert ds.card
            for part in ds.parts:
                assert [episode.inputs for episode in ds.split(part)]
                assert [window.targets for window in ds.split(part).windows]
            ds.close()
        except StoreError as error:
            told.append(str(path) in str(error))
        path.unlink()
    assert len(told) > 20
    assert all(told)
