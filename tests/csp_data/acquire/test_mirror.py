"""Copies of a publisher: addresses, folders, what a lab serves, and the lock file that holds all to one truth."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

import csp_data
from csp_data.acquire.lockfile import Locked, LockedSet, extend_lock
from csp_data.acquire.place import unpacked_files
from csp_data.card import bundled_root, load_card
from csp_data.errors import AccessError, CspDataError, OptionError, VerificationError
from csp_data.simulate.stamp import read_stamp

from .conftest import fetch, run
from .servers import Resource, Server, status, tree


@pytest.mark.parametrize("as_address", [True, False])
def test_a_folder_is_a_mirror(empty_home, sample_mirror, as_address, tmp_path):
    folder = shutil.copytree(bundled_root(load_card("sample")), tmp_path / "a b" / "excerpt")
    mirror = folder.as_uri() if as_address else str(folder.parent / "{name}")
    assert run("download", "excerpt", "--mirror", mirror).exit_code == 0
    assert sample_mirror.seen == []
    wrong = run("download", "excerpt", "--mirror", str(tmp_path / "nowhere"))
    assert wrong.exit_code == 2
    assert "a folder, or an address that begins with" in wrong.stderr


def test_file_mirror_works_offline(empty_home, sample_mirror, monkeypatch):
    monkeypatch.setenv("CSP_DATA_OFFLINE", "1")
    result = run("download", "excerpt")
    assert result.exit_code == 4
    assert "CSP_DATA_OFFLINE" in result.stderr
    monkeypatch.setenv("CSP_DATA_MIRROR", bundled_root(load_card("sample")).as_uri())
    assert run("download", "excerpt").exit_code == 0
    monkeypatch.delenv("CSP_DATA_MIRROR")
    assert run("download", "excerpt").exit_code == 0  # all is there: nothing to fetch
    assert sample_mirror.seen == []


@pytest.mark.parametrize("way", ["folder", "server"])
def test_of_a_file_that_its_publisher_has_replaced_the_lock_file_is_named(way, vector, empty_home, tmp_path):
    """No digest of it is published: what the publisher has was called "not the publisher's file"."""
    root, new = empty_home / "raw" / "vector", Path(shutil.copytree(vector, tmp_path / "new"))
    assert run("download", "vector", "--mirror", vector).exit_code == 0
    lock, file = root / "csp-data.lock.json", new / "desk_fast1.synced.imu.txt"
    file.write_text(file.read_text().replace("# IMU data", "# imu data", 1))
    advice = f"If its publisher has replaced it, delete its entry in {lock}, and run the command again."
    (root / file.name).unlink()
    with Server(tree(new)) as server:
        mirror = str(new) if way == "folder" else server.url
        refused = run("download", "vector", "--mirror", mirror)
        assert refused.exit_code == 3
        assert f" is not the one that {lock} names: expected sha256 " in refused.stderr
        assert advice in refused.stderr
        shutil.copy(file, root)
        assert advice in run("verify", "vector").stderr
        rows = json.loads(lock.read_text())
        del rows["datasets"]["vector"]["files"][file.name]
        lock.write_text(json.dumps(rows))
        (root / file.name).unlink()
        assert run("download", "vector", "--mirror", mirror).exit_code == 0
    assert (root / file.name).read_bytes() == file.read_bytes()


def test_the_way_without_a_mirror_is_one(empty_home, sample_mirror, monkeypatch, tmp_path):
    """Where the environment names the mirror, the command that was given used it again."""
    assert "mirror: csp-data download excerpt." in run("download", "excerpt", "--mirror", tmp_path).stderr
    monkeypatch.setenv("CSP_DATA_MIRROR", str(tmp_path))
    said = re.search(r"mirror: (\w+)=(\w*) csp-data download excerpt\.", run("download", "excerpt").stderr)
    assert said is not None
    monkeypatch.setenv(said[1], said[2])
    assert "mirror" not in run("download", "excerpt").stderr


@pytest.mark.parametrize(
    ("mirror", "words"),
    [
        ("ftp://host/", "begins with http"),
        ("http://", "begins with http"),
        ("http://[", "begins with http"),
        ("http://host:99999/", "begins with http"),
        ("http://ann:secret@host:99999/", "begins with http"),
        ("http://ann:secret@host/", "no user or password"),
    ],
)
def test_unusable_mirror(mirror, words, empty_home):
    result = run("download", "broad", "--mirror", mirror)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "secret" not in result.output


def test_no_password_in_a_reroute(empty_home, monkeypatch):
    """None would be sent; it would stand in messages."""
    monkeypatch.setenv("CSP_DATA_REROUTE", "https://raw.githubusercontent.com/=http://ann:se@cret@127.0.0.1:9/a")
    result = run("download", "broad")
    assert result.exit_code == 2
    assert "=...@127.0.0.1:9" in result.stderr
    assert "no user or password" in result.stderr
    assert "cret" not in result.output


def test_host_gone_ends_soon_and_says_so(empty_home):
    with Server() as server:
        address = server.url
    result = run("download", "broad", "--mirror", address, "--tries", "1")
    assert result.exit_code == 4
    assert "cannot be reached (connection refused)" in result.stderr
    assert "csp-data import broad PATH" in result.stderr


def test_mirror_of_a_lab_serves_its_raw_folder(marker, empty_home, tmp_path):
    """The publisher's folder is not listed: the lab's lock file says what there is."""
    csp_data.import_raw("marker", marker, raw=tmp_path / "lab")
    with Server(tree(tmp_path / "lab")) as mirror:
        report = fetch("marker", mirror=mirror.url)
    assert len(report.present) == len(list(marker.rglob("*.h5")))
    with Server() as empty, pytest.raises(AccessError, match=r"no csp-data\.lock\.json"):
        fetch("marker", mirror=empty.url, raw=tmp_path / "other")


@pytest.mark.parametrize("served", ["by a server", "in a folder"])
def test_what_comes_from_a_mirror_of_a_simulated_tree_is_simulated(served, vector, empty_home):
    """Nothing else tells: of these files, the publisher states no digest."""
    with Server(tree(vector)) as mirror:
        fetch("vector", mirror=mirror.url if served == "by a server" else str(vector))
    assert csp_data.load("vector").kind == "simulated"
    assert read_stamp(empty_home / "raw" / "vector") == read_stamp(vector)


def test_a_simulated_mirror_of_which_nothing_came_marks_nothing(vector, empty_home):
    with Server({"/SIMULATED.json": tree(vector)["/SIMULATED.json"]}) as mirror, pytest.raises(AccessError):
        fetch("vector", mirror=mirror.url)
    assert read_stamp(empty_home / "raw" / "vector") is None


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("", {}),
        ("x" * 256, {}),
        ("y/" * 2000 + "x", {}),
        ("a\0b", {}),
        ("a\x1b[2Jb", {}),
        ("\ud800", {}),
        ("a", {"size": "12"}),
        ("a", {"size": -1}),
        ("a", {"size": 1.5}),
        ("a", {"size": float("inf")}),
        ("a", {"sha256": None}),
        ("a", {"sha256": "0" * 63}),
        ("a", {"more": 1}),
    ],
)
def test_mirror_lock_with_impossible_entries_is_refused(name, row, empty_home):
    row = {"size": 1, "sha256": "0" * 64, **row}
    lock = {"version": 1, "datasets": {"marker": {"files": {name: row}, "archives": {}}}}
    served = {"/csp-data.lock.json": Resource(json.dumps(lock).encode())}
    with Server(served) as mirror, pytest.raises(CspDataError, match=r"csp-data\.lock\.json: not a lock file"):
        fetch("marker", mirror=mirror.url)


def test_a_folder_whose_name_is_not_utf8_is_mirrored(vector, empty_home, tmp_path):
    lab = tmp_path / "lab"
    inside = lab / os.fsdecode(b"scenes_\xff")
    try:
        shutil.copytree(vector, inside)
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    kept = csp_data.import_raw("vector", lab, raw=tmp_path / "raw")
    served = tree(tmp_path / "raw")
    with Server({unquote(quote(os.fsencode(path))): resource for path, resource in served.items()}) as mirror:
        report = fetch("vector", mirror=mirror.url, raw=tmp_path / "other")
    assert {file.path for file in report.present} == {file.path for file in kept.present}
    assert any("\udcff" in file.path for file in report.present)


@pytest.mark.parametrize("name", ["csp-data.lock.json", "CSP-data.lock.json/.", "csp-data.unpacked.json"])
def test_a_mirror_does_not_bring_the_file_by_which_it_is_trusted(name, empty_home):
    """It replaced the digests of the first copies, which every later copy must equal."""
    lock = empty_home / "raw" / "marker" / "csp-data.lock.json"
    extend_lock(lock, "marker", LockedSet({"a": Locked(1, "0" * 64)}))
    before, other = lock.read_bytes(), b"{}"
    row = {"size": len(other), "sha256": hashlib.sha256(other).hexdigest()}
    listed = {"version": 1, "datasets": {"marker": {"files": {name: row}, "archives": {}}}}
    served = {f"/{name}": Resource(other), "/csp-data.lock.json": Resource(json.dumps(listed).encode())}
    with Server(served) as mirror, pytest.raises(AccessError, match=r"(?i:csp-data)\..*json.* is listed there"):
        fetch("marker", mirror=mirror.url)
    assert lock.read_bytes() == before


def test_an_archive_does_not_bring_the_files_by_which_it_is_trusted(tmp_path):
    for name in ("x.txt", "csp-data.lock.json", "csp-data.unpacked.json"):
        (tmp_path / name).write_text("{}")
    assert unpacked_files(load_card("totalcapture"), tmp_path) == {"x.txt": tmp_path / "x.txt"}


@pytest.mark.parametrize("name", ["../../evil", "a/../evil", "/evil", "..\\evil"])
def test_mirror_lock_that_leads_out_is_refused(name, empty_home):
    row = {"size": 1, "sha256": "0" * 64}
    lock = {"version": 1, "datasets": {"marker": {"files": {name: row}, "archives": {}}}}
    served = {"/csp-data.lock.json": Resource(json.dumps(lock).encode())}
    with Server(served) as mirror, pytest.raises(CspDataError, match="leads out"):
        fetch("marker", mirror=mirror.url)


def test_lock_file_makes_the_next_machine_get_the_same_bytes(vector, empty_home, tmp_path, monkeypatch):
    lock = tmp_path / "csp-data.lock.json"
    served = tree(vector)
    with Server(served) as mirror:
        words = ["vector", "--raw", tmp_path / "one", "--lock", lock]
        assert run("download", *words, "--mirror", mirror.url, "--accept-licence").exit_code == 0
        first = lock.read_bytes()
        assert not (tmp_path / "one" / lock.name).exists()
        name = next(path for path in served if path.endswith("gt.txt"))
        served[name] = Resource(served[name].body + b"\n")
        with pytest.raises(VerificationError, match=rf"{name[1:]}: expected \d+ bytes, the server offers"):
            fetch("vector", mirror=mirror.url, lock_file=lock, raw=tmp_path / "two")
        served[name] = Resource(bytes(len(served[name].body) - 1))
        with pytest.raises(VerificationError, match="expected sha256"):
            csp_data.download("vector", mirror=mirror.url, lock=lock, raw=tmp_path / "two", accept_licence=True)
    changed = tmp_path / "one" / name[1:]
    changed.write_bytes(changed.read_bytes() + b"\n")  # it can still be read
    assert run("verify", *words[:3]).exit_code == 0
    assert f"{name[1:]}: altered" in run("verify", *words).stderr
    brought = run("import", "vector", tmp_path / "one", "--raw", tmp_path / "three", "--lock", lock)
    assert f"{name[1:]}: altered" in brought.stderr
    report = csp_data.import_raw("vector", tmp_path / "one", raw=tmp_path / "four", lock=lock)
    assert [file.path for file in report.failures] == [name[1:]]
    assert lock.read_bytes() == first


@pytest.mark.parametrize("second", [503, 404])
def test_files_that_may_come_later_are_told_from_those_that_need_a_person(second, vector, empty_home):
    served = tree(vector)
    for kind, code in (("gt", 503), ("imu", second)):
        served[f"/desk_fast1.synced.{kind}.txt"].always = status(code)
    with Server(served) as mirror, pytest.raises(CspDataError) as error:
        fetch("vector", mirror=mirror.url)
    assert isinstance(error.value, AccessError) == (second == 404)
    assert "2 files of vector did not come, 34 are here and verified:" in str(error.value)
    assert ("Run the command again later; what has arrived is kept." in str(error.value)) == (second == 503)


@pytest.mark.parametrize("mirror", ["", " ", "nothere", "ftp://127.0.0.1/"])
def test_a_mirror_that_is_none_is_refused_before_anything_is_made(tmp_path: Path, mirror: str) -> None:
    """Of an empty one, as of a variable that is not set, the publisher was asked."""
    with pytest.raises(OptionError, match=r"mirror='.*expected a folder, or an address"):
        csp_data.download("vector", raw=tmp_path / "raw", mirror=mirror, accept_licence=True)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_planned_leaves_no_folder_of_unfinished_work(tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    with pytest.raises(AccessError, match="lists it"):
        csp_data.download(
            "marker", raw=tmp_path / "raw", mirror=(tmp_path / "mirror").as_uri(), accept_licence=True
        )
    assert not (tmp_path / "raw.incoming").exists()
