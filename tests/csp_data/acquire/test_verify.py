"""What verification says of every way in which files can be wrong, and on what grounds it trusts the others."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import csp_data
from csp_data.acquire import digests, verify
from csp_data.acquire.digests import Stamps, digest_file
from csp_data.acquire.lockfile import LOCK_NAME, Locked, LockedSet, extend_lock, read_lock
from csp_data.acquire.report import FileReport, failure_lines
from csp_data.acquire.structure import structure_problems
from csp_data.acquire.verify import verify_tree
from csp_data.card import SplitCard, bundled_root, load_card
from csp_data.errors import CspDataError, UnknownNameError, VerificationError
from csp_data.sources import find_in

from .conftest import noise, run


@pytest.fixture
def tree(vector, tmp_path, empty_home):
    return shutil.copytree(vector, tmp_path / "tree")


def status(report, path):
    return next(file for file in report.files if file.path == path)


def test_trust_grows_from_nothing_to_structure_to_locked(tree):
    assert {file.trust for file in csp_data.verify("vector", raw=tree).present} == {None}
    assert {file.trust for file in csp_data.verify("vector", raw=tree, deep=True).present} == {"structure"}
    assert {file.trust for file in csp_data.verify("vector", raw=tree).present} == {"structure"}  # remembered
    rows = {p.name: Locked(p.stat().st_size, digest_file(p).sha256) for p in tree.glob("*.txt")}
    extend_lock(tree / LOCK_NAME, "vector", LockedSet(rows))
    assert {file.trust for file in csp_data.verify("vector", raw=tree).present} == {"locked"}


def test_change_takes_the_trust_away(tree):
    csp_data.verify("vector", raw=tree, deep=True)
    file = tree / "desk_fast1.synced.gt.txt"
    file.write_bytes(file.read_bytes() + b"\n")
    report = csp_data.verify("vector", raw=tree)
    assert status(report, file.name).trust is None
    assert status(report, "sofa_fast1.synced.gt.txt").trust == "structure"


def test_a_missing_recording_is_named_whatever_its_id(tree):
    """Brackets stand for nothing in lists: their patterns have * and ? alone."""
    card = load_card("vector")
    ids = [recording.id for recording in find_in(card, tree)]
    lists = SplitCard(train=(*ids, "desk[2]"))
    card = replace(card, splits={"strict": lists, "paper": lists}, promised=len(ids) + 1)
    assert status(verify_tree(card, tree), "desk[2]").status == "missing"


def test_files_that_changed_since_they_were_prepared_are_named_until_prepared_again(tree, tmp_path):
    file = tree / "desk_fast1.synced.gt.txt"
    original = file.read_bytes()

    def changed(*, deep=False):
        report = csp_data.verify("vector", raw=tree, deep=deep)
        assert not report.failures
        assert report.ok
        return [row.path for row in report.files if row.changed]

    csp_data.verify("vector", raw=tree)
    file.write_bytes(original + b"\n")
    assert changed() == []  # nothing was prepared yet
    file.write_bytes(original)
    csp_data.prepare("vector", raw=tree, out=tmp_path / "a.h5")
    assert changed() == []
    file.write_bytes(original + b"\n")
    assert changed() == [file.name]
    assert changed(deep=True) == [file.name]  # it can be read; it is still not what was prepared
    said = run("verify", "vector", "--raw", tree)
    assert said.exit_code == 0
    assert said.stdout.endswith("(36 structure), 1 changed since data were last prepared from them\n")
    assert f"  {file.name}: changed since data were last prepared from it\n" in said.stderr
    csp_data.prepare("vector", raw=tree, out=tmp_path / "b.h5")
    assert changed() == []
    file.write_bytes(original)
    assert changed() == [file.name]
    csp_data.prepare("vector", raw=tree, out=tmp_path / "a.h5")  # is there already
    assert changed() == []


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda data: b"<html>quota</html>", "line 1: expected 1 numbers, found '<html>quota</html>'"),
        (lambda data: data[: len(data) // 2], "expected 11 numbers, found"),
        (lambda data: b"", "holds no numbers"),
    ],
)
def test_unreadable_recordings_are_named_with_a_fix(tree, damage, problem):
    name = "desk_fast1.synced.imu.txt"
    (tree / name).write_bytes(damage((tree / name).read_bytes()))
    report = csp_data.verify("vector", raw=tree, deep=True)
    [failure] = report.failures
    assert not report.ok
    assert (failure.path, failure.status) == (name, "unreadable")
    assert problem in failure.found
    assert "Delete it." in failure.fix
    assert "csp-data download vector" in failure.fix


def scaled(column: int, factor: float):
    return lambda rows: np.where(np.arange(rows.shape[1]) == column, rows * factor, rows)


def with_nan(where: tuple[object, object]):
    def change(rows):
        rows[where] = np.nan
        return rows

    return change


@pytest.mark.parametrize(
    ("kind", "change", "problem"),
    [
        ("imu", scaled(0, 1e3), r"accelerometer: expected about 200 Hz, .* which looks like milliseconds"),
        ("imu", scaled(0, 1e-3), r"accelerometer: expected about 200 Hz, time in seconds, found 2e\+05 Hz"),
        ("imu", scaled(0, -1), r"accelerometer: expected a clock, found a median step of 0 s"),
        ("imu", scaled(0, 0), r"accelerometer: expected a clock, found a median step of 0 s"),
        ("imu", with_nan((7, 0)), r"accelerometer: expected finite times"),
        ("imu", with_nan((7, 1)), r"(gyroscope|accelerometer): expected finite values, found nan in \w+_x, row 7"),
        ("gt", with_nan((slice(None), slice(1, 4))), r"position: expected finite values, found none"),
        ("gt", with_nan((7, slice(1, 4))), None),  # a camera that loses sight for a moment
        ("gt", lambda rows: rows[::60], None),  # truth comes at many rates
    ],
)
def test_what_is_read_must_be_possible(vector, tmp_path, kind, change, problem):
    for part in ("imu", "gt"):
        file = Path(shutil.copy(vector / f"desk_fast1.synced.{part}.txt", tmp_path))
        if part == kind:
            lines = change(np.loadtxt(file))
            np.savetxt(file, lines, fmt="%.9f")
    card = load_card("vector")
    (found,) = find_in(card, tmp_path)
    (result,) = structure_problems(card, [found], 1)
    if problem is None:
        assert result is None
    else:
        path, text, _ = result
        assert path == found.files[0]
        assert re.match(f"stream {problem}", text), text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes among its files")
@pytest.mark.parametrize(
    ("kind", "name", "locked"),
    [
        ("a pipe", "desk_fast1.synced.gt.txt", False),
        ("a pipe", "desk_fast1.synced.gt.txt", True),
        ("a pipe", "desk_fast1.synced.imu.txt", False),
        ("a socket", "desk_fast1.synced.gt.txt", False),
        ("a device", "desk_fast1.synced.gt.txt", False),
    ],
)
def test_what_is_no_file_is_refused_and_never_read(tree, tmp_path, monkeypatch, name, kind, locked):
    """Opening a pipe waits for somebody who writes, and a device may have no end: they hung."""
    if locked:
        rows = {p.name: Locked(p.stat().st_size, digest_file(p).sha256) for p in tree.glob("*.txt")}
        extend_lock(tree / LOCK_NAME, "vector", LockedSet(rows))
    (tree / name).unlink()
    if kind == "a pipe":
        os.mkfifo(tree / name)
    elif kind == "a device":
        (tree / name).symlink_to("/dev/zero")
    else:
        monkeypatch.chdir(tree)  # a socket's path may have 107 characters
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(name)
    for command in (["verify", "--deep"], ["prepare", "--out", tmp_path / "x.h5"]):
        words = [sys.executable, "-m", "csp_data", command[0], "vector", "--raw", tree, *command[1:]]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 3, done.stderr
        said = " ".join((done.stdout + done.stderr).split())
        assert f"{name}: unreadable: expected a readable recording, found {kind}. Delete it. Run" in said
    csp_data.prepare("vector", raw=tree, out=tmp_path / "x.h5", skip_damaged=True)
    dataset = csp_data.load(path=tmp_path / "x.h5")
    [note] = [note for note in dataset.provenance["notes"] if note["kind"] == "skip"]
    assert note["recording"] == "desk_fast1"
    assert f"found {kind}" in note["detail"]


@pytest.mark.parametrize("damage", ["unreadable", "missing", "truncated"])
def test_an_intact_file_says_which_file_of_its_recording_failed(tree, damage):
    bad, good = tree / "desk_fast1.synced.gt.txt", tree / "desk_fast1.synced.imu.txt"
    if damage == "truncated":
        rows = {bad.name: Locked(bad.stat().st_size, digest_file(bad).sha256)}
        extend_lock(tree / LOCK_NAME, "vector", LockedSet(rows))
    if damage == "missing":
        bad.unlink()
    else:
        bad.write_bytes(bad.read_bytes()[:-1] if damage == "truncated" else b"<html>quota</html>")
    report = csp_data.verify("vector", raw=tree, deep=True)
    assert [(file.path, file.status) for file in report.failures] == [(bad.name, damage)]
    assert {file.path: (file.trust, file.beside) for file in report.present} == {
        path.name: (None, bad.name) if path == good else ("structure", "")
        for path in tree.glob("*.txt")
        if path != bad
    }
    assert report.summary().endswith("35 of 36 files verified (1 of a recording with a failed file, 34 structure)")


def test_locked_files_missing_altered_truncated_and_extra(tree):
    rows = {p.name: Locked(p.stat().st_size, digest_file(p).sha256) for p in tree.glob("*.txt")}
    extend_lock(tree / LOCK_NAME, "vector", LockedSet(rows))
    missing, altered, short = sorted(rows)[:3]
    (tree / missing).unlink()
    data = bytearray((tree / altered).read_bytes())
    data[100] ^= 1
    (tree / altered).write_bytes(data)
    (tree / short).write_bytes((tree / short).read_bytes()[:-1])
    (tree / "notes.md").write_text("mine")
    (tree / "x.zip.part").write_text("left over")
    result = run("verify", "vector", "--raw", tree, "--json")
    assert result.exit_code == 3
    rows = {file["path"]: file for file in json.loads(result.stdout)["files"]}
    assert {rows[path]["status"] for path in (missing,)} == {"missing"}
    assert rows[altered]["status"] == "altered"
    assert rows[short]["status"] == "truncated"
    assert (rows["notes.md"]["status"], rows["notes.md"]["failed"]) == ("extra", False)
    assert "csp-data clean" in rows["x.zip.part"]["fix"]
    assert all(row["fix"] for row in rows.values() if row["status"] != "ok")
    (tree / "plan.md").write_text("mine too")
    said = run("verify", "vector", "--raw", tree).stderr
    assert "  notes.md: extra\n  plan.md: extra\n" in said
    assert said.count("No recording lists it: keep or delete it.") == 1


def test_quick_trusts_unchanged_files_and_deep_does_not(tree):
    """The same size and time with other bytes: only reading tells."""
    rows = {p.name: Locked(p.stat().st_size, digest_file(p).sha256) for p in tree.glob("*.txt")}
    extend_lock(tree / LOCK_NAME, "vector", LockedSet(rows))
    assert not csp_data.verify("vector", raw=tree).failures
    file = tree / sorted(rows)[0]
    times = file.stat()
    data = bytearray(file.read_bytes())
    data[50] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not csp_data.verify("vector", raw=tree).failures
    assert [f.path for f in csp_data.verify("vector", raw=tree, deep=True).failures] == [file.name]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no process can be kept to some processors")
def test_no_more_at_once_than_processors_that_the_process_may_use(tree, monkeypatch):
    """A job of a cluster has few of its machine's: a process for each would take more memory than it has."""
    at_once = []

    def threads(count):
        at_once.append(count)
        return ThreadPoolExecutor(count)

    def open_all(card, found, jobs):
        at_once.append(jobs)
        return structure_problems(card, found, jobs)

    monkeypatch.setattr(digests, "ThreadPoolExecutor", threads)
    monkeypatch.setattr(verify, "structure_problems", open_all)
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(usable)})
    try:
        report = verify_tree(load_card("vector"), tree, deep=True)
    finally:
        os.sched_setaffinity(0, usable)
    assert {file.trust for file in report.present} == {"structure"}
    assert set(at_once) == {1}
    assert len(at_once) > 1


def test_stamps_know_what_was_read(tmp_path, empty_home):
    (tmp_path / "a").write_bytes(noise(1000))
    stamps = Stamps(tmp_path)
    first = stamps.digests(["a"])["a"]
    assert first.git_blob is None
    assert stamps.digests(["a"], git_blobs={"a"})["a"].git_blob is not None
    assert Stamps(tmp_path).digests(["a"])["a"].sha256 == first.sha256
    stamps.set_readable(["a"])
    assert stamps.readable("a")
    (tmp_path / "a").write_bytes(noise(1001))
    assert not stamps.readable("a")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "[]",
        '{"files": 3}',
        '{"files": {"a": 3}}',
        '{"files": {"a": {"mtime_ns": 1}}}',
        '{"files": {"a": {"mtime_ns": 1, "digest": 3, "readable": true}}}',
        '{"files": {"a": {"mtime_ns": 1, "digest": {"bytes": 1}, "readable": true}}}',
    ],
)
def test_damaged_stamps_only_cost_time(text, tmp_path, empty_home):
    (tmp_path / "a").write_bytes(noise(1000))
    Stamps(tmp_path).digests(["a"])
    path = Stamps(tmp_path).path
    path.write_text(text)
    expected = hashlib.sha256(noise(1000)).hexdigest()
    assert Stamps(tmp_path).digests(["a"])["a"].sha256 == expected
    assert json.loads(path.read_text())["files"]["a"]["digest"]["sha256"] == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        '{"version": 1}',
        '{"version": "x"}',
        '{"version": 1, "datasets": {"vector": 3}}',
    ],
)
def test_damaged_lock_file_is_told_not_ignored(tree, text):
    (tree / LOCK_NAME).write_text(text)
    with pytest.raises(CspDataError, match=r"csp-data\.lock\.json: not a lock file.*Restore it"):
        csp_data.verify("vector", raw=tree)


def test_lock_file_of_a_newer_version(tree):
    (tree / LOCK_NAME).write_text('{"version": 99, "datasets": {}}')
    with pytest.raises(CspDataError, match="newer version"):
        csp_data.verify("vector", raw=tree)


def test_lock_entries_never_change(tmp_path):
    path = tmp_path / LOCK_NAME
    extend_lock(path, "vector", LockedSet({"a": Locked(1, "0" * 64)}))
    before = path.read_bytes()
    with pytest.raises(VerificationError, match=r"a: .* expects sha256 0000.*delete its entry"):
        extend_lock(path, "vector", LockedSet({"b": Locked(2, "1" * 64), "a": Locked(1, "2" * 64)}))
    assert path.read_bytes() == before
    longest = "x" * 255  # the longest name that file systems take
    extend_lock(path, "marker", LockedSet(archives={longest: Locked(3, "3" * 64)}))
    assert read_lock(path, "vector").files == {"a": Locked(1, "0" * 64)}
    assert read_lock(path, "marker").archives == {longest: Locked(3, "3" * 64)}


def test_only_what_the_card_knows_and_is_as_it_should_be_is_read(tmp_path):
    folder = Path(shutil.copytree(bundled_root(load_card("sample")), tmp_path / "raw"))
    first, second, third, *_ = sorted(folder.glob("*.hdf5"))
    shutil.copy(second, folder / "99_mine.hdf5")
    third.unlink()
    assert csp_data.read_recording("sample", first.stem, raw=folder).id == first.stem
    for id_ in ("99_mine", third.stem):
        with pytest.raises(UnknownNameError, match=id_):
            csp_data.read_recording("sample", id_, raw=folder)
    data = bytearray(second.read_bytes())
    data[len(data) // 2] ^= 1
    second.write_bytes(data)
    with pytest.raises(VerificationError, match=f"{second.name}: altered"):
        csp_data.read_recording("sample", first.stem, raw=folder)


@pytest.mark.parametrize("name", csp_data.names())
def test_every_card_says_how_to_get_its_files(name: str):
    card = load_card(name)
    addresses = [entry.url for entry in (*card.files, *card.downloads) if entry.url]
    assert all(address.startswith("https://") and "@" not in address for address in addresses)
    fetched = addresses or card.access.drive_folder or any(e.drive for e in card.downloads)
    assert card.bundled or fetched, "no address in files or downloads, no drive_folder, nothing bundled"


def test_the_ids_of_vector_are_36_different_ones():
    ids = [entry.drive for entry in load_card("vector").downloads]
    assert len(set(ids)) == len(ids) == 36


def test_one_line_says_how_to_get_all_missing_files(tmp_path: Path):
    (tmp_path / "01_undisturbed_slow_rotation_A.hdf5").write_bytes(b"cut")
    lines = failure_lines(verify_tree(load_card("broad"), tmp_path).failures)
    assert len(lines) == 39 + 1
    assert lines[1] == "02_undisturbed_slow_rotation_B.hdf5: missing"
    assert lines[-1] == f"For 38 of these: Get it again: csp-data download broad --raw {tmp_path}."
    assert "altered: expected" in lines[0]


def test_what_mends_several_files_is_said_once():
    bad = [
        FileReport(name, "missing", None, "a file", "nothing", fix) for name, fix in zip("abc", "xyx", strict=True)
    ]
    assert failure_lines(bad) == [
        "a: missing",
        "b: missing. y",
        "c: missing",
        "For 2 of these: x",
    ]
    assert failure_lines(bad[:2]) == [str(file) for file in bad[:2]]


def test_a_lock_file_that_is_a_link_stays_one(tmp_path: Path) -> None:
    """It can be shared in a repository, with a link to it in the raw folder."""
    shared, link = tmp_path / "shared.json", tmp_path / LOCK_NAME
    link.symlink_to(shared)
    extend_lock(link, "made", LockedSet({"a.txt": Locked(1, "0" * 64)}))
    assert link.is_symlink()
    assert read_lock(shared, "made").files == {"a.txt": Locked(1, "0" * 64)}
