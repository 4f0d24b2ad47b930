"""Archives that mean harm, archives that are broken, and archives that are fine."""

from __future__ import annotations

import bz2
import io
import stat
import struct
import tarfile
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from csp_data.acquire import archive
from csp_data.acquire.archive import Limits, inspect, is_archive, unpack
from csp_data.errors import CspDataError, UnsafeArchiveError

from .conftest import noise

BAD_NAMES = {
    "up": "../evil.txt",
    "up in the middle": "a/../../evil.txt",
    "up at the end": "a/..",
    "up by backslash": "a\\..\\..\\evil.txt",
    "absolute": "/tmp/evil.txt",
    "absolute twice": "//tmp/evil.txt",
    "drive": "C:\\evil.txt",
    "drive, no slash": "C:evil.txt",
    "network share": "\\\\host\\share\\evil.txt",
    "newline": "a\nb.txt",
    "escape": "a\x1b[2Jb.txt",
    "too long part": "x" * 300,
    "too long part in UTF-8": "\u00e9" * 200,  # file systems count bytes
    "too long": "y/" * 600 + "z",
    "dot": ".",
}
TWICE = {
    "same": ("a.txt", "a.txt"),
    "by dot": ("a.txt", "./a.txt"),
    "by case": ("a.txt", "A.TXT"),
    "by folding": ("stra\u00dfe.txt", "STRASSE.TXT"),
    "by accent": ("caf\u00e9.txt", "cafe\u0301.txt"),
    "file then folder": ("a", "a/b.txt"),
    "file, then two folders": ("a", "a/b/c.txt"),
    "folder then file": ("a/b.txt", "a"),
}
FORMS = ("zip", "tar", "tar.gz", "tar.xz")


def pack(path, rows, form):
    """Write an archive of (name, content) rows with the standard library, which writes any name."""
    if form == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in rows:
                info = zipfile.ZipInfo("x")
                info.filename, info.compress_type = name, zipfile.ZIP_DEFLATED
                with pytest.warns(UserWarning, match="Duplicate name") if name in file.namelist() else _nothing():
                    file.writestr(info, content)
    else:
        with tarfile.open(path, "w:" + form[4:]) as file:
            for name, content in rows:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    return path


class _nothing:
    def __enter__(self):
        pass

    def __exit__(self, *_):
        pass


def tar_member(path, form, **fields):
    with tarfile.open(path, "w:" + form[4:]) as file:
        good = tarfile.TarInfo("good.txt")
        file.addfile(good)
        info = tarfile.TarInfo("bad")
        for name, value in fields.items():
            setattr(info, name, value)
        file.addfile(info)
    return path


def zip_member(path, *, mode=0, content=b"x", flags=0, method=None):
    """Write a zip whose member has a file type, flags or a method of its own."""
    with zipfile.ZipFile(path, "w") as file:
        info = zipfile.ZipInfo("bad")
        info.create_system, info.external_attr = 3, mode << 16
        file.writestr(info, content)
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\x01\x02")
    for start, offset in ((0, 6), (central, 8)):
        if flags:
            data[start + offset] |= flags
        if method is not None:
            data[start + offset + 2 : start + offset + 4] = struct.pack("<H", method)
    path.write_bytes(data)
    return path


def overlapping(path):
    """One member whose bytes are another one, each with the right check sum (the core of the better zip bomb)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("b", b"\0" * 100_000)
        inner = file.getinfo("b")
        end = file.start_dir
    packed = path.read_bytes()[:end]
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a", packed)
        inner.header_offset = file.start_dir - end
        file.filelist.append(inner)
    return path


def lying(path, claimed):
    """A member whose central entry states another size than it has."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a", b"\0" * 100_000)
        file.getinfo("a").file_size = claimed
    return path


def bomb(path, form):
    """80 MiB of zeros."""
    if form == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
            file.writestr("zeros", bytes(80 << 20))
    else:
        extra = {"preset": 0} if form == "tar.xz" else {"compresslevel": 1}
        with tarfile.open(path, "w:" + form[4:], **extra) as file:
            info = tarfile.TarInfo("zeros")
            info.size = 80 << 20
            file.addfile(info, io.BytesIO(bytes(80 << 20)))
    return path


def huge_header(path):
    """A pax header that claims 8 GiB, which a careless reader would load."""
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 8 << 30
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    return path


def negative_size(path):
    info = tarfile.TarInfo("a")
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" * 11 + b"\x9c"  # base 256: -100
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % (sum(block[:512]))
    path.write_bytes(bytes(block) + bytes(1024))
    return path


def many(path, form, count):
    return pack(path, [(f"{i}.txt", b"") for i in range(count)], form)


def damaged(path, form, how):
    pack(path, [(f"{i}.bin", noise(20_000, i)) for i in range(3)], form)
    data = bytearray(path.read_bytes())
    if isinstance(how, float):
        data = data[: int(how * len(data))]
    else:
        data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    path.write_bytes(data)
    return path


CASES = {}
for form_ in FORMS:
    for label_, name_ in BAD_NAMES.items():
        CASES[f"{form_}: {label_}"] = (form_, lambda p, n=name_, f=form_: pack(p, [("good", b"1"), (n, b"2")], f))
    for label_, names_ in TWICE.items():
        CASES[f"{form_}: twice, {label_}"] = (
            form_,
            lambda p, n=names_, f=form_: pack(p, [(x, b"1") for x in n], f),
        )
    for how_ in (0.1, 0.5, 0.9, 0.99):
        if form_ != "tar" or how_ < 0.9:  # only zeros behind the end mark are missing then
            CASES[f"{form_}: cut at {how_}"] = (form_, lambda p, f=form_, h=how_: damaged(p, f, h))
    if form_ != "tar":  # which is as large as what it holds
        CASES[f"{form_}: bomb"] = (form_, lambda p, f=form_: bomb(p, f))
    CASES[f"{form_}: many members"] = (form_, lambda p, f=form_: many(p, f, 1001))
for form_ in ("zip", "tar.gz", "tar.xz"):
    CASES[f"{form_}: damaged"] = (form_, lambda p, f=form_: damaged(p, f, "flip"))
KINDS = {
    "link out": {"type": tarfile.SYMTYPE, "linkname": "../../etc/passwd"},
    "link in": {"type": tarfile.SYMTYPE, "linkname": "good.txt"},
    "hard link out": {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"},
    "character device": {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3},
    "block device": {"type": tarfile.BLKTYPE},
    "fifo": {"type": tarfile.FIFOTYPE},
    "sparse": {"type": tarfile.GNUTYPE_SPARSE},
    "unknown kind": {"type": b"Z", "name": "../x"},
}
for form_ in FORMS[1:]:
    for label_, fields_ in KINDS.items():
        CASES[f"{form_}: {label_}"] = (form_, lambda p, f=form_, k=fields_: tar_member(p, f, **k))
CASES |= {
    "zip: link": ("zip", lambda p: zip_member(p, mode=stat.S_IFLNK | 0o777, content=b"../../etc/passwd")),
    "zip: fifo": ("zip", lambda p: zip_member(p, mode=stat.S_IFIFO | 0o644)),
    "zip: device": ("zip", lambda p: zip_member(p, mode=stat.S_IFCHR | 0o644)),
    "zip: encrypted": ("zip", lambda p: zip_member(p, flags=1)),
    "zip: unknown method": ("zip", lambda p: zip_member(p, method=97)),
    "zip: overlap": ("zip", overlapping),
    "zip: states less": ("zip", lambda p: lying(p, 10)),
    "zip: states more": ("zip", lambda p: lying(p, 200_000)),
    "zip: NUL in a name": ("zip", lambda p: pack(p, [("a\0b", b"1")], "zip")),
    "tar: huge header": ("tar", huge_header),
    "tar: negative size": ("tar", negative_size),
    "zip: no archive": ("zip", lambda p: p.write_bytes(b"<html>sorry</html>") and p),
    "zip: empty file": ("zip", lambda p: p.write_bytes(b"") or p),
    "tar: zeros in the middle": (
        "tar",
        lambda p: p.write_bytes(pack(p, [("a", b"1")], "tar").read_bytes()[:700]) and p,
    ),
}
SMALL = Limits(members=1000)


def test_there_are_at_least_100_cases():
    assert len(CASES) >= 100


@pytest.mark.parametrize("case", CASES)
def test_hostile_archive_is_refused_and_leaves_nothing(case, tmp_path):
    form, build = CASES[case]
    box = tmp_path / "box"
    box.mkdir()
    path = build(tmp_path / f"case.{form}")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UnsafeArchiveError) as caught:
        unpack(path, box / "out", limits=SMALL)
    assert str(path) in str(caught.value)
    assert "Nothing was unpacked" in str(caught.value)
    assert caught.value.exit_code == 3
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("form", ["tar", "zip"])
def test_damage_that_bzip2_finds_is_told_as_such(form, tmp_path):
    """It raises an OSError, which was taken for a disk's, or for none of ours."""
    path = tmp_path / f"a.{form}"
    if form == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as packed:
            packed.writestr("a.txt", bytes(range(256)) * 40)
    else:
        path.write_bytes(
            bz2.compress(pack(tmp_path / "b.tar", [("a.txt", bytes(range(256)) * 40)], "tar").read_bytes())
        )
    content = bytearray(path.read_bytes())
    start = content.index(b"BZh") + 60
    content[start : start + 20] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(UnsafeArchiveError, match=r"is damaged \(Invalid data stream\)"):
        unpack(path, tmp_path / "out")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that exists and cannot be read")
def test_an_archive_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "a.zip"
    path.symlink_to("/proc/self/mem")
    with pytest.raises(CspDataError, match=r"a\.zip cannot be read: .*Check its rights and its disk"):
        unpack(path, tmp_path / "out")


def test_refusal_comes_before_anything_is_written(tmp_path, monkeypatch):
    """The bad member stands last; not even the good ones before it reach the disk."""
    written = []
    monkeypatch.setattr(archive, "_write", lambda *args: written.append(args))
    for form in FORMS:
        path = pack(tmp_path / f"a.{form}", [("good.txt", b"1"), ("../evil.txt", b"2")], form)
        with pytest.raises(UnsafeArchiveError, match="leads out"):
            unpack(path, tmp_path / "out")
    assert written == []


@pytest.mark.parametrize("form", [*FORMS, "tar.bz2"])
def test_good_archive_comes_out_whole(form, tmp_path):
    rows = [("a/b/c.bin", noise(3 << 20)), ("./a/d.txt", b"d"), ("empty", b""), ("\u00e9.txt", b"e")]
    path = pack(tmp_path / f"good.{form}", rows, form)
    moved = []
    members = unpack(path, tmp_path / "out", moved=moved.append)
    found = {
        p.relative_to(tmp_path / "out").as_posix(): p.read_bytes()
        for p in (tmp_path / "out").rglob("*")
        if p.is_file()
    }
    assert found == {name.removeprefix("./"): content for name, content in rows}
    assert sum(moved) == sum(len(content) for _, content in rows) == sum(member.size for member in members)
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name, "out"]
    assert is_archive(path)


def test_archives_with_folder_members(tmp_path):
    for form in ("zip", "tar"):
        path = tmp_path / f"f.{form}"
        if form == "zip":
            with zipfile.ZipFile(path, "w") as file:
                file.mkdir("a")
                file.writestr("a/b", b"1")
                file.mkdir("A")  # equal where case does not count; folders may be named again
        else:
            with tarfile.open(path, "w") as file:
                for name in (".", "a", "a/b", "a"):  # a folder again, as tar --append leaves it
                    info = tarfile.TarInfo(name)
                    info.type = tarfile.REGTYPE if name == "a/b" else tarfile.DIRTYPE
                    file.addfile(info)
        assert [str(member.path) for member in inspect(path)] == ["a/b"]


def test_wrong_check_sum_leaves_nothing(tmp_path):
    """Deflated bytes that decode well to something else: only the CRC tells."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("good", b"0" * 1000)
        file.writestr("bad", b"1" * 1000)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"1" * 1000, b"2" * 1000))
    with pytest.raises(UnsafeArchiveError, match="'bad' is damaged"):
        unpack(path, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


def test_ratio_allows_what_recordings_compress_to(tmp_path):
    text = "\n".join(f"{i / 200:.6f} 0.01 -0.02 9.81" for i in range(200_000)).encode()
    path = pack(tmp_path / "a.zip", [("imu.txt", text)], "zip")
    tight = Limits(allowance=1, ratio=200)
    assert inspect(path, tight)[0].size == len(text)


def test_a_small_archive_may_become_64_mib(tmp_path):
    """A sensor at rest packs to a thousandth, as a bomb does; only its size is harmless."""
    path = pack(tmp_path / "a.zip", [("imu.txt", bytes(4 << 20))], "zip")
    assert path.stat().st_size * Limits().ratio < 4 << 20
    assert inspect(path)[0].size == 4 << 20


@pytest.mark.parametrize("form", FORMS)
def test_no_archive_becomes_more_than_the_total(form, tmp_path):
    """Whatever its ratio, and though no member alone is too large."""
    path = pack(tmp_path / f"a.{form}", [(name, noise(30_000)) for name in "abc"], form)
    assert len(inspect(path, Limits(total=110_000))) == 3
    with pytest.raises(UnsafeArchiveError, match="unpacks to more than the 80000 bytes allowed"):
        inspect(path, Limits(total=80_000))


def test_an_archive_that_changes_while_it_is_read_leaves_nothing(tmp_path):
    """A member is renamed after the first look; the letters' sum, which tar checks, stays."""
    path = pack(tmp_path / "a.tar", [("large", noise(3 << 20)), ("bc.txt", b"1")], "tar")

    def rename(count):
        path.write_bytes(path.read_bytes().replace(b"bc.txt", b"cb.txt"))

    with pytest.raises(UnsafeArchiveError, match="changed while it was read"):
        unpack(path, tmp_path / "out", moved=rename)
    assert [file.name for file in tmp_path.iterdir()] == ["a.tar"]


@pytest.mark.parametrize("form", FORMS)
def test_stopping_leaves_nothing(form, tmp_path):
    path, stop, moved = pack(tmp_path / f"a.{form}", [("a", noise(3 << 20))], form), threading.Event(), []

    def stop_at_once(count):
        moved.append(count)
        stop.set()

    with pytest.raises(CspDataError, match="stopped while unpacking; nothing is left of it"):
        unpack(path, tmp_path / "out", moved=stop_at_once, stop=stop)
    assert sum(moved) < 3 << 20
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_what_a_killed_process_had_unpacked_is_replaced(tmp_path):
    path = pack(tmp_path / "a.zip", [("a.txt", b"1")], "zip")
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part" / "half.txt").write_bytes(b"0")
    unpack(path, tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["a.txt"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.zip", "out"]


def test_disk_too_small_is_said_first(tmp_path, monkeypatch):
    path = pack(tmp_path / "a.zip", [("a", b"x" * 1000)], "zip")
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda folder: SimpleNamespace(free=100))
    with pytest.raises(CspDataError, match="unpacks to 1000 bytes, and only"):
        unpack(path, tmp_path / "out")
