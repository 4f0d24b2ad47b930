"""Processes that are killed, processes that race, disks that are full, and homes that cannot be written."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import h5py
import pytest

import csp_data
from csp_data.acquire.client import Client
from csp_data.acquire.download import Options, download_card
from csp_data.acquire.lockfile import read_lock
from csp_data.acquire.transfer import RemoteFile, fetch
from csp_data.card import FileEntry, bundled_root, load_card
from csp_data.errors import CspDataError, TransferError
from csp_data.simulate import simulate

from .conftest import QUICK, noise
from .servers import Resource, Server, tree

KILLS = {"download": 20, "unpack": 12, "prepare": 10, "lock": 8}


class Zygote:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.temporary = home.with_name("zygote-tmp")
        self.temporary.mkdir()
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("zygote.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "CSP_DATA_HOME": str(home),
                "NO_PROXY": "*",
                "OMP_NUM_THREADS": "1",
                "TMPDIR": str(self.temporary),
            },
        )

    def run(self, *task, **options):
        env = {"CSP_DATA_HOME": str(self.home)}
        self.process.stdin.write(json.dumps({"task": task, "env": env, **options}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return answer["codes"], answer["seconds"]


@pytest.fixture(scope="module")
def zygote(tmp_path_factory):
    zygote = Zygote(tmp_path_factory.mktemp("zygote") / "home")
    yield zygote
    zygote.process.stdin.close()
    zygote.process.stdout.close()
    zygote.process.wait(10)


def forget(zygote, *paths):
    """Begin with nothing: an empty home, and no trace of the given places."""
    for path in (zygote.home, *paths, *(path.with_name(path.name + ".incoming") for path in paths)):
        shutil.rmtree(path, ignore_errors=True)


def kill_often(zygote, times, task, before, check_killed, check_done):
    """Kill the task at random moments of its usual time; after each, run it to its end and check both states."""
    before()
    codes, usual = zygote.run(*task)
    assert codes == [0]
    check_done()
    moments = random.Random(times)
    killed = 0
    while killed < times:
        before()
        codes, _ = zygote.run(*task, kill_after=moments.uniform(0.0, usual))
        killed += codes == [-9]
        check_killed()
        assert zygote.run(*task)[0] == [0]
        check_done()
    return killed


def equal_where_complete(folder, truth):
    """Nothing with a final name is wrong."""
    for name, content in truth.items():
        assert not (folder / name).exists() or (folder / name).read_bytes() == content, name


def test_killed_while_downloading(zygote, tmp_path):
    source = bundled_root(load_card("sample"))
    truth = {p.name: p.read_bytes() for p in source.glob("*.hdf5")}
    raw = tmp_path / "excerpt"

    def done():
        assert {p.name: p.read_bytes() for p in raw.glob("*.hdf5")} == truth
        assert not list(raw.glob("*.part*"))

    with Server(tree(source)) as server:
        for item in server.resources.values():
            item.rate = 15e6
        killed = kill_often(
            zygote,
            KILLS["download"],
            ["download", "sample", server.url, str(raw)],
            lambda: forget(zygote, raw),
            lambda: equal_where_complete(raw, truth),
            done,
        )
        assert any("Range" in seen.headers for seen in server.seen)
    assert killed == KILLS["download"]


def test_killed_while_unpacking(zygote, tmp_path):
    source = simulate("vector", tmp_path / "sim", hours=0.01, seed=0)
    truth = {p.name: p.read_bytes() for p in source.glob("*.txt")}
    archive = tmp_path / "v.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in truth.items():
            file.writestr(name, content)
    raw = tmp_path / "vector"

    def done():
        root = raw / "v" if (raw / "v").exists() else raw
        assert {p.name: p.read_bytes() for p in root.glob("*.txt")} == truth
        assert set(read_lock(raw / "csp-data.lock.json", "vector").files) == {
            p.relative_to(raw).as_posix() for p in root.glob("*.txt")
        }
        assert not raw.with_name("vector.incoming").joinpath("import").exists()
        assert not list(zygote.temporary.iterdir())  # where no later import looks

    def partly():
        for folder in (raw, raw / "v"):
            equal_where_complete(folder, truth)

    killed = kill_often(
        zygote,
        KILLS["unpack"],
        ["import", "vector", str(archive), str(raw)],
        lambda: forget(zygote, raw),
        partly,
        done,
    )
    assert killed == KILLS["unpack"]


def test_killed_while_preparing(zygote, tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out" / "excerpt.h5"
    shutil.copytree(bundled_root(load_card("sample")), raw)
    arrays = {}

    def read():
        with h5py.File(out) as file:
            return {key: file[key][()].tobytes() for key in ("inputs", "targets")}

    def done():
        assert arrays.setdefault("first", read()) == read()

    def partly():
        if out.exists():
            assert read() == arrays["first"]

    killed = kill_often(
        zygote,
        KILLS["prepare"],
        ["prepare", "sample", str(raw), str(out)],
        lambda: forget(zygote, out.parent),
        partly,
        done,
    )
    assert killed == KILLS["prepare"]


def test_killed_while_writing_the_lock(zygote, tmp_path):
    path = tmp_path / "lock" / "csp-data.lock.json"

    def partly():
        rows = read_lock(path, "vector").files  # raises if it is no whole lock file
        assert len(rows) % 20 == 0

    def done():
        assert len(read_lock(path, "vector").files) == 800

    killed = kill_often(
        zygote, KILLS["lock"], ["lock", str(path), 0, 40], lambda: forget(zygote, path.parent), partly, done
    )
    assert killed == KILLS["lock"]


def test_kills_are_50():
    assert sum(KILLS.values()) == 50


def test_8_processes_download_one_set_once(zygote, tmp_path):
    source = bundled_root(load_card("sample"))
    truth = {p.name: p.read_bytes() for p in source.glob("*.hdf5")}
    forget(zygote)
    with Server(tree(source)) as server:
        codes, _ = zygote.run("download", "sample", server.url, str(tmp_path / "raw"), count=8)
        asked = [seen.path for seen in server.seen]
    assert codes == [0] * 8
    assert sorted(asked) == sorted(f"/{name}" for name in truth)  # each file once
    assert {p.name: p.read_bytes() for p in (tmp_path / "raw").glob("*.hdf5")} == truth


def test_8_processes_write_one_lock_file(zygote, tmp_path):
    path = tmp_path / "csp-data.lock.json"
    codes, _ = zygote.run("lock", str(path), "#", 8, count=8)
    assert codes == [0] * 8
    assert len(read_lock(path, "vector").files) == 8 * 8 * 20


def test_one_killed_holder_does_not_block_the_others(zygote, tmp_path):
    source = bundled_root(load_card("sample"))
    forget(zygote)
    with Server(tree(source)) as server:
        for item in server.resources.values():
            item.rate = 15e6
        codes, _ = zygote.run("download", "sample", server.url, str(tmp_path / "raw"), count=3, kill_after=0.1)
    assert codes[0] == -9
    assert codes[1:] == [0, 0]
    assert len(list((tmp_path / "raw").glob("*.hdf5"))) == 13


# disks


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MiB; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 0, b"size=2m") != 0:
        pytest.skip(f"cannot mount a tmpfs here: {os.strerror(ctypes.get_errno())}")
    yield folder
    libc.umount2(str(folder).encode(), 2)


def test_disk_that_fills_up_while_it_is_written(small_disk):
    """Another program takes the room meanwhile; what arrived is kept, and it goes on when there is room again."""
    body = noise(1 << 20)
    target = small_disk / "f.bin"
    with Server({"/f.bin": Resource(body, etag='"1"')}) as server:
        server.resources["/f.bin"].rate = 5e6
        wanted = RemoteFile("f.bin", server.url + "/f.bin", len(body))

        def hog(count):
            if not (small_disk / "hog").exists() and count:
                (small_disk / "hog").write_bytes(bytes((2 << 20) - (400 << 10)))

        from csp_data.acquire.transfer import Watch

        with pytest.raises(CspDataError, match=r"the disk is full .*room for \d+ more bytes.*bytes are kept"):
            fetch(wanted, target, Client(QUICK), watch=Watch(moved=hog))
        kept = (small_disk / "f.bin.part").stat().st_size
        assert 0 < kept < len(body)
        (small_disk / "hog").unlink()
        (small_disk / "hog").mkdir()
        fetch(wanted, target, Client(QUICK))
        assert server.seen[-1].headers["Range"] == f"bytes={kept}-"
    assert target.read_bytes() == body


def test_disk_too_small_for_the_set(small_disk, monkeypatch):
    """The sizes are known: nothing is asked for, nothing is written."""
    monkeypatch.setenv("CSP_DATA_HOME", str(small_disk))
    with (
        Server() as server,
        pytest.raises(CspDataError, match=r"needs about [\d.]+ MB in .*, and 2\.\d+ MB are free"),
    ):
        csp_data.download("broad", mirror=server.url)
    assert server.seen == []


def test_a_disk_with_room_for_the_rest_of_a_file_is_large_enough(small_disk):
    body = noise(3 << 19)
    entry = FileEntry("f.bin", size=len(body), sha256=hashlib.sha256(body).hexdigest())
    with Server({"/f.bin": Resource(body, etag='"1"', cut=1 << 20)}) as server:
        file = replace(entry, url=server.url + "/f.bin")
        card = replace(load_card("sample"), name="excerpt", bundled=None, files=(file,))
        options = Options(raw=small_disk / "raw", patience=replace(QUICK, tries=1))
        with pytest.raises(TransferError, match=f"{1 << 20} bytes are kept"):
            download_card(card, options)
        assert shutil.disk_usage(small_disk).free < len(body)
        download_card(card, options)
    assert (small_disk / "raw" / "f.bin").read_bytes() == body


def test_archive_too_large_for_the_disk(small_disk, tmp_path, monkeypatch):
    path = tmp_path / "v.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.txt", noise(3 << 20))
    monkeypatch.setenv("CSP_DATA_HOME", str(small_disk))
    with pytest.raises(CspDataError, match="unpacks to 3145728 bytes, and only"):
        csp_data.import_raw("vector", path)


@pytest.mark.parametrize("name", ["x.h5", "x.npz", "x.nc", "x.csv", "parquet", "hf"])
def test_a_result_too_large_for_the_disk(name, small_disk, monkeypatch):
    """One line, nothing left that looks like a file, and no crash of HDF5 at the end of the program."""
    (small_disk / "hog").write_bytes(bytes(3 << 19))
    kind = [] if "." in name else ["--format", name]
    command = ["prepare", "sample"] if name == "x.h5" else ["export", "sample", *kind]
    line = [sys.executable, "-m", "csp_data", *command, "-o", str(small_disk / name)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert re.fullmatch(rf"Error: .*{name} cannot be written: .*(No space left|are free).*\n", done.stderr)
    assert {path.name for path in small_disk.iterdir()} <= {"hog", "x.h5.lock"}
    (small_disk / "hog").unlink()


@pytest.mark.parametrize("limit", [300_000, (1 << 20) - 1])  # the last block is written but for a byte
def test_file_size_limit_is_told_like_a_full_disk(limit, tmp_path):
    """The same fault for those who may not mount: the kernel refuses to let the file grow."""
    body = noise(1 << 20)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Server({"/f.bin": Resource(body, etag='"1"')}) as server:
        wanted = RemoteFile("f.bin", server.url + "/f.bin", len(body))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            with pytest.raises(CspDataError, match=f"room for {len(body) - limit} more .* {limit} bytes are kept"):
                fetch(wanted, tmp_path / "f.bin", Client(QUICK))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        fetch(wanted, tmp_path / "f.bin", Client(QUICK))
    assert (tmp_path / "f.bin").read_bytes() == body


# homes


@pytest.fixture(params=["a file stands there", "read-only file system"])
def bad_home(request, tmp_path, monkeypatch):
    """A home that not even root can write to (root passes by file modes)."""
    folder = tmp_path / "home"
    libc = ctypes.CDLL(None, use_errno=True)
    if request.param == "a file stands there":
        folder.write_text("not a folder")
    else:
        folder.mkdir()
        if libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 1, b"size=1m") != 0:  # 1: MS_RDONLY
            pytest.skip(f"cannot mount a tmpfs here: {os.strerror(ctypes.get_errno())}")
    monkeypatch.setenv("CSP_DATA_HOME", str(folder))
    yield folder
    if request.param != "a file stands there":
        libc.umount2(str(folder).encode(), 2)


def test_unwritable_home_is_told_with_what_to_do(bad_home):
    for act in (
        lambda: csp_data.download("broad", mirror="http://127.0.0.1:9/"),
        lambda: csp_data.import_raw("vector", bad_home.parent),
        lambda: csp_data.prepare("sample"),
    ):
        with pytest.raises(CspDataError, match=r"cannot write to .*CSP_DATA_HOME"):
            act()


def test_unwritable_home_can_still_verify(bad_home):
    assert not csp_data.verify("sample").failures
    assert not csp_data.verify("sample", deep=True).failures


def test_a_whole_folder_that_can_only_be_read_needs_no_download(vector, empty_home, tmp_path):
    """It asked for the deletion of a file that was not there, which such a folder refuses."""
    raw = tmp_path / "raw"
    kept = csp_data.import_raw("vector", vector, raw=raw)
    libc, place = ctypes.CDLL(None, use_errno=True), str(raw).encode()
    bind, only_read_again = 4096, 4096 | 32 | 1
    if libc.mount(place, place, None, bind, None) != 0:
        pytest.skip(f"cannot mount here: {os.strerror(ctypes.get_errno())}")
    try:
        assert libc.mount(None, place, None, only_read_again, None) == 0
        with pytest.raises(OSError, match="Read-only"):
            (raw / "x").touch()
        report = csp_data.download("vector", raw=raw, mirror=vector.as_uri())
    finally:
        libc.umount2(place, 2)
    assert {file.path for file in report.present} == {file.path for file in kept.present}
