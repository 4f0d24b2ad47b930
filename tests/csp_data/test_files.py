"""Files that are found: pipes are not opened, damaged JSON is refused, and disks may have no locks."""

from __future__ import annotations

import errno
import os
import platform
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import csp_data
from csp_data.acquire.lockfile import LOCK_NAME, RECEIPTS_NAME
from csp_data.doctor import examine
from csp_data.errors import CardError, CspDataError
from csp_data.files import read_json
from csp_data.home import home
from csp_data.predictions import PredictionsError, read_predictions
from csp_data.simulate.stamp import STAMP, read_stamp

from .trees import write

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes among its files")
DEEP = "[" * 100_000


def run(*words: str | Path) -> tuple[int, str]:
    """Run a command that would wait for ever, if it opened a pipe."""
    command = [sys.executable, "-m", "csp_data", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_pipes_and_sockets_among_prepared_files(
    empty_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder := empty_home / "prepared").mkdir(parents=True)
    os.mkfifo(folder / "broad-0123456789ab.h5")
    monkeypatch.chdir(folder)  # a socket's path may have 107 characters
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("vector-0123456789ab.h5")
    code, said = run("doctor")
    assert code == 1
    assert "broad-0123456789ab.h5: cannot be read as HDF5 (it is a pipe)" in said
    assert "vector-0123456789ab.h5: cannot be read as HDF5 (it is a socket)" in said
    os.mkfifo(tmp_path / "mine.h5")
    for words in (["info", tmp_path / "mine.h5"], ["export", tmp_path / "mine.h5", "-o", tmp_path / "out.csv"]):
        code, said = run(*words)
        assert (code, "mine.h5: cannot be read as HDF5 (it is a pipe)" in said) == (1, True), said
    assert run("prepare", "sample", "-o", tmp_path / "mine.h5")[0] == 2
    assert run("clean", "--prepared", "--yes")[0] == 0
    assert not list(folder.glob("*.h5"))


def test_pipes_in_place_of_our_own_notes(empty_home: Path, tmp_path: Path) -> None:
    root = write("vector", tmp_path / "tree")
    for name in (STAMP, RECEIPTS_NAME):
        (root / name).unlink(missing_ok=True)
        os.mkfifo(root / name)
    csp_data.verify("sample")
    (stamps,) = (empty_home / "stamps").glob("*.json")
    stamps.unlink()
    os.mkfifo(stamps)
    assert run("verify", "sample")[0] == 0
    code, said = run("prepare", "vector", "--raw", root)
    assert code == 0, said
    assert csp_data.load(path=said.split()[-1]).kind == "simulated"
    os.mkfifo(root / LOCK_NAME)
    code, said = run("verify", "vector", "--raw", root)
    assert (code, f"{root / LOCK_NAME}: not a lock file (it is a pipe)" in said) == (1, True), said


def test_pipes_in_place_of_cards_and_predictions(tmp_path: Path) -> None:
    for name in ("card.toml", "predictions.npz"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(CardError, match=r"card\.toml: cannot be read \(it is a pipe\)"):
        csp_data.register(tmp_path)
    with pytest.raises(PredictionsError, match="it is a pipe"):
        read_predictions(tmp_path / "predictions.npz")


HUGE = (
    b"\x93NUMPY\x01\x00v\x00"
    + b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000, 1)}".ljust(117)
    + b"\n"
)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pred", HUGE),
        ("pred", HUGE.replace(b"}", b" ")),
        ("pred", np.zeros(3)),
        ("pred", np.zeros((2, 1))),
        ("pred", np.zeros((3, 1), "S1")),
        ("true pred", np.zeros((4, 1))),
        ("ids", np.array(["a", "b"], dtype=object)),  # a pickle, which could run anything
        ("lengths", np.array([4, -1])),
        ("lengths", np.array([1.0, 2.0])),
        ("lengths", np.array([1, 1])),
    ],
)
def test_predictions_that_do_not_fit_or_promise_more_than_there_is(
    tmp_path: Path, name: str, content: bytes | npt.NDArray[Any]
) -> None:
    """They ended in tracebacks, or gave an episode the steps of another."""
    arrays = {"ids": np.array(["a", "b"]), "lengths": np.array([1, 2]), "time": np.arange(3.0)}
    arrays |= {"true": np.zeros((3, 1)), "pred": np.ones((3, 1))}
    path = tmp_path / "predictions.npz"
    np.savez(path, **arrays)
    assert [p.time.tolist() for p in read_predictions(str(path))] == [[0.0], [1.0, 2.0]]
    if isinstance(content, bytes):
        del arrays[name]
        np.savez(path, **arrays)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(f"{name}.npy", content)
    else:
        np.savez(path, **{**arrays, **dict.fromkeys(name.split(), content)})
    with pytest.raises(PredictionsError, match="no readable predictions"):
        read_predictions(path)


@pytest.mark.parametrize(("at", "value"), [(8, 1), (10, 99)])  # a password, and an unknown compression
def test_predictions_packed_as_nobody_can_read_them(tmp_path: Path, at: int, value: int) -> None:
    path = tmp_path / "predictions.npz"
    np.savez(path, lengths=np.array([1]))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + at] = value
    path.write_bytes(content)
    with pytest.raises(PredictionsError, match="no readable predictions"):
        read_predictions(path)


def test_folders_and_pipes_named_like_python(tmp_path: Path) -> None:
    """An installed package with a folder ``templates.py``, say: no reader could be used."""
    from csp_data.card.plugins import ModuleReader

    (tmp_path / "reader.py").write_text("SOURCE = None\n")
    digest = ModuleReader("other", tmp_path).digest()
    (tmp_path / "folder.py").mkdir()
    os.mkfifo(tmp_path / "pipe.py")
    assert ModuleReader("other", tmp_path).digest() == digest


@pytest.mark.parametrize("text", [DEEP, '{"a": ' + DEEP, '{"a": 1' + 5000 * "0" + "}", "\x00", "{"])
def test_damaged_json_is_one_kind_of_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=r".") as caught:
        read_json(tmp_path / "x.json")
    assert "\n" not in str(caught.value)


def test_json_that_an_editor_has_marked(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": 1}', encoding="utf-8-sig")
    assert read_json(tmp_path / "x.json") == {"a": 1}


def test_json_nested_without_end(empty_home: Path, tmp_path: Path) -> None:
    """Each of these was a traceback."""
    root = write("vector", tmp_path / "tree")
    (root / STAMP).write_text(DEEP)
    assert read_stamp(root) == {"simulated": True}
    csp_data.verify("vector", raw=root)
    for stamps in (empty_home / "stamps").glob("*.json"):
        stamps.write_text(DEEP)
    (empty_home / "licences.json").write_text(DEEP)
    (root / RECEIPTS_NAME).write_text(DEEP)
    assert csp_data.verify("vector", raw=root).present
    mirror = shutil.copytree(root, tmp_path / "mirror")
    (mirror / LOCK_NAME).write_text(DEEP)
    with pytest.raises(CspDataError, match=r"not a lock file.*nested too deeply"):
        csp_data.download("vector", raw=tmp_path / "got", mirror=str(mirror), accept_licence=True)
    (tmp_path / "card.toml").write_text("a = " + DEEP)
    with pytest.raises(CardError, match=r"card\.toml: not TOML"):
        csp_data.register(tmp_path)


@pytest.mark.parametrize("text", ["[" * 60_000, "[]", "3", "{}", "", '{"name": '])
def test_prepared_files_with_a_protocol_that_is_none(empty_home: Path, text: str) -> None:
    import h5py

    path = csp_data.prepare("sample")
    with h5py.File(path, "r+") as file:
        file.attrs["protocol"] = text
    [row] = examine()["prepared"]
    assert "is damaged" in row["problem"]
    with pytest.raises(CspDataError, match=f"{path.name}"):
        csp_data.load(path=path)


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Folders that may not be looked into, by name: root may look into all."""
    names: set[str] = set()
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name not in names and real(path, mode))
    return names


def test_folders_that_may_not_be_looked_into(empty_home: Path, tmp_path: Path, closed: set[str]) -> None:
    """Each of these was a traceback."""
    root = write("vector", tmp_path / "tree")
    csp_data.prepare("sample")
    closed |= {"tree", "prepared"}
    with pytest.raises(CspDataError, match="tree cannot be looked into: Permission denied"):
        csp_data.verify("vector", raw=root)
    for call in (examine, lambda: csp_data.load("sample")):
        with pytest.raises(
            CspDataError, match=r"prepared cannot be looked into: Permission denied\. Set CSP_DATA_HOME"
        ):
            call()
    assert csp_data.prepare("sample", out=tmp_path / "x.h5").exists()


def test_a_link_to_itself_is_told(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(CspDataError, match=f"loop/x cannot be looked at: {os.strerror(errno.ELOOP)}"):
        csp_data.verify("vector", raw=tmp_path / "loop" / "x")


@pytest.mark.skipif(sys.platform != "linux", reason="another folder elsewhere")
def test_the_home_is_the_users_folder_of_data_where_none_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("CSP_DATA_HOME")
    assert home() == tmp_path / "csp-data"


def test_a_raw_file_that_cannot_be_read(tmp_path: Path, empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write("vector", tmp_path / "tree")

    def refused(path: Path, *arguments: object, **options: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(CspDataError, match=r"tree/.*imu.txt cannot be read: Permission denied\. Check its rights"):
        csp_data.verify("vector", raw=root)


WITHOUT_LOCKS = """
import ctypes, errno, fcntl, platform, struct, sys
from pathlib import Path

import csp_data
from csp_data.sources.hdf5 import read_arrays

# a filter of system calls (seccomp(2)): flock() is refused, everything else goes on
flock = {"x86_64": 73, "aarch64": 32}[platform.machine()]
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, flock), (0x06, 0, 0, 0x00050000 | errno.ENOLCK), (0x06, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack("HP", len(steps), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
    sys.exit("no filter")

path = Path(sys.argv[1])
with path.open() as file:
    try:
        fcntl.flock(file, fcntl.LOCK_SH)
    except OSError as error:
        assert error.errno == errno.ENOLCK
    else:
        sys.exit("no filter")
episode = csp_data.load(path=path).train[0]
print(episode.inputs.sum() == read_arrays(path, ["inputs"])["inputs"][: len(episode.inputs)].astype("f4").sum())
"""


@pytest.mark.skipif(
    (sys.platform, platform.machine()) not in (("linux", "x86_64"), ("linux", "aarch64")),
    reason="filters system calls",
)
def test_hdf5_files_on_a_disk_without_locks_are_read(tmp_path: Path) -> None:
    """As on NFS without its lock service: intact recordings were called damaged, to be deleted."""
    path = csp_data.prepare("sample", out=tmp_path / "sample.h5")
    command = [sys.executable, "-c", WITHOUT_LOCKS, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.stderr == "no filter\n":
        pytest.skip("system calls cannot be filtered here")
    assert (done.stdout, done.stderr) == ("True\n", "")
