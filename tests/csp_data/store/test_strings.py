"""Damage to where a prepared file holds its texts: HDF5 looked for their end for ever, or took gigabytes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import csp_data
from csp_data.store.strings import MAGIC

OPEN = """
import resource, sys
from pathlib import Path
import csp_data
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
for path in sys.argv[1:]:
    try:
        repr(csp_data.load(path=path))
        print("taken")
    except csp_data.CspDataError as error:
        print(error)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "x.h5"
    return csp_data.prepare("sample", window=csp_data.Window(5), out=path).read_bytes()


def said_of(files: list[bytes], folder: Path) -> list[str]:
    """Open files one after the other in a process that is ended if it never comes to an end."""
    paths = [folder / f"{i}.h5" for i in range(len(files))]
    for path, content in zip(paths, files, strict=True):
        path.write_bytes(content)
    command = [sys.executable, "-c", OPEN, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


def changed(content: bytes, place: int, value: int, size: int) -> bytes:
    return content[:place] + value.to_bytes(size, "little") + content[place + size :]


def test_heaps_without_an_end(whole: bytes, tmp_path: Path) -> None:
    """An object without a number is free space, as long as it says: of length 0, it is never behind one."""
    heaps = [i for i in range(len(whole)) if whole.startswith(MAGIC, i)]
    assert len(heaps) > 1  # of the tables and of the attributes
    first = {heap: heap + 16 for heap in heaps}
    endless = [changed(changed(whole, at, 0, 2), at + 8, 0, 8) for at in first.values()]
    backwards = [changed(whole, at + 8, 2**64 - 24, 8) for at in first.values()]  # and the head of 16
    said = said_of([*endless, *backwards], tmp_path)
    assert len(said) == 2 * len(heaps)
    for line, heap in zip(said, heaps * 2, strict=True):
        assert f"is damaged (text {'0' if line in said[: len(heaps)] else ''}" in line
        assert f"of the heap at byte {heap} has no possible length" in line


@pytest.mark.parametrize("column", ["id", "group", "split", "recording"])
def test_texts_longer_than_what_holds_them(whole: bytes, column: str, tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_bytes(whole)
    with h5py.File(tmp_path / "x.h5") as file:
        place = file[f"episodes/{column}"].id.get_offset()
    (said,) = said_of([changed(whole, place + 3 * 16, 2**32 - 2, 4)], tmp_path)
    assert f"0.h5: is damaged (/episodes/{column} promises 42949" in said


def test_random_damage_comes_to_an_end(whole: bytes, tmp_path: Path) -> None:
    """To the heaps alone, which are a hundredth of the file: heads of texts, and what is in them."""
    rng = np.random.default_rng(0)
    heap = whole.index(MAGIC)
    files = []
    for _ in range(60):
        place = heap + 16 + 8 * int(rng.integers(0, 250))
        files.append(changed(whole, place, int(rng.choice([0, 1, 2**63, int(rng.integers(2**32))])), 8))
    assert len(said_of(files, tmp_path)) == len(files)


def test_files_that_were_packed_anew_are_taken(whole: bytes, tmp_path: Path) -> None:
    """Others may store the arrays in one piece or compressed, and have texts that look like heaps."""
    (tmp_path / "x.h5").write_bytes(whole)
    for options in ({}, {"chunks": True, "compression": "gzip"}):
        path = tmp_path / f"packed{len(options)}.h5"
        with h5py.File(tmp_path / "x.h5") as file, h5py.File(path, "w") as packed:
            packed.attrs.update(file.attrs)
            packed.attrs.pop("tables_crc32")
            for name in ("episodes", "windows", "normalization"):
                file.copy(name, packed)
            for name in ("inputs", "targets"):
                packed.create_dataset(name, data=file[name], **options).attrs.update(file[name].attrs)
            packed["episodes/group"][:] = [f"GCOL {i}" * 100 for i in range(len(packed["episodes/group"]))]
        made, first = csp_data.load(path=path), csp_data.load(path=tmp_path / "x.h5")
        np.testing.assert_array_equal(made.train[1].inputs, first.train[1].inputs)
        assert made.train[1].group.startswith("GCOL")


@pytest.mark.parametrize("damage", [(8, 2**40, 8), (8, 0, 8), (5, 7, 1)])
def test_heads_of_heaps(whole: bytes, damage: tuple[int, int, int], tmp_path: Path) -> None:
    """A length that is none is refused; bytes that mean nothing are not looked at, by HDF5 neither."""
    offset, value, size = damage
    heap = whole.index(MAGIC)
    sound = changed(whole, heap + offset, value, size)
    endless = changed(changed(sound, heap + 16, 0, 2), heap + 24, 0, 8)
    said = said_of([sound, endless], tmp_path)
    assert said[0] == "taken" if offset == 5 else f"heap of texts at byte {heap} has no possible length" in said[0]
    assert f"byte {heap} has no possible length: {value if offset == 8 else 0}" in said[1]
