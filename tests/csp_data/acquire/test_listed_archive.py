"""A publisher who packs all recordings into an archive and lists on the card, by digest, what is inside."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from csp_data.acquire.download import Options, download_card
from csp_data.acquire.importing import import_card
from csp_data.acquire.report import Report
from csp_data.acquire.verify import verify_tree
from csp_data.card import Card, FileEntry, bundled_root, load_card
from csp_data.errors import AccessError, VerificationError

from .conftest import QUICK
from .servers import Resource, Server


def entry(path: str, content: bytes) -> FileEntry:
    return FileEntry(path, size=len(content), sha256=hashlib.sha256(content).hexdigest())


def published(files: dict[str, bytes], version: str, tmp_path: Path) -> tuple[Card, Path]:
    """Pack files as GitHub and Zenodo do, below a folder named after the version; list them on a card."""
    archive = tmp_path / f"excerpt-{version}.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(f"excerpt-{version}/README.md", f"Version {version}")
        for path, content in files.items():
            packed.writestr(f"excerpt-{version}/{path}", content)
            packed.writestr(f"excerpt-{version}/00_backup/{path}", b"an older copy")
    card = replace(
        load_card("sample"),
        name="excerpt",
        bundled=None,
        files=tuple(entry(path, content) for path, content in files.items()),
        downloads=(entry(archive.name, archive.read_bytes()),),
    )
    return card, archive


@pytest.fixture
def files() -> dict[str, bytes]:
    sample = load_card("sample")
    folder = bundled_root(sample)
    assert folder is not None
    return {entry.path: (folder / entry.path).read_bytes() for entry in sample.files[:3]}


def get(card: Card, server: Server | None = None, **options: object) -> Report:
    if server is not None:
        here = tuple(replace(entry, url=f"{server.url}/{entry.path}") for entry in card.downloads)
        card = replace(card, downloads=here)
    return download_card(card, Options(patience=QUICK, **options))  # type: ignore[arg-type]


def test_its_files_come_to_where_the_card_lists_them(files, empty_home, tmp_path):
    card, archive = published(files, "1.0", tmp_path)
    first, second, *_ = sorted(files)
    with Server({f"/{archive.name}": Resource(archive.read_bytes())}) as server:
        root = get(card, server).root
        (root / first).write_bytes(b"damaged")
        (root / second).unlink()
        report = get(card, server)
        get(card, server)
        assert server.count(f"/{archive.name}") == 2  # when all is there, nothing is asked for
    assert {file.path: file.trust for file in report.files} == dict.fromkeys(files, "published")
    assert all((root / path).read_bytes() == content for path, content in files.items())


@pytest.mark.parametrize("state", ["whole", "damaged"])
@pytest.mark.parametrize("digest", ["stated", "not stated"])
def test_an_archive_that_came_whole_is_not_fetched_again(state, digest, files, empty_home, tmp_path):
    """A process that was killed while it unpacked, or that had no room to, leaves it there."""
    card, archive = published(files, "1.0", tmp_path)
    if digest == "not stated":
        card = replace(card, downloads=(FileEntry(archive.name),))
    content, incoming = archive.read_bytes(), tmp_path / "raw.incoming"
    incoming.mkdir()
    (incoming / archive.name).write_bytes(content if state == "whole" else content[:1000])
    with Server({f"/{archive.name}": Resource(content)}) as server:
        report = get(card, server, raw=tmp_path / "raw")
        assert server.count(f"/{archive.name}") == (state == "damaged")
    assert {file.path: file.trust for file in report.files} == dict.fromkeys(files, "published")
    assert not incoming.exists()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_another_version_replaces_what_changed_and_brings_what_is_new(files, version, empty_home, tmp_path):
    """Also if the publisher did not give the archive another name."""
    first, second, third = sorted(files)
    card, archive = published({first: files[first], second: files[third]}, "1.0", tmp_path)
    with Server({f"/{archive.name}": Resource(archive.read_bytes())}) as server:
        root = get(card, server).root
    card, archive = published(files, version, tmp_path)
    assert {file.path for file in verify_tree(card, root).failures} == {second, third}
    with Server({f"/{archive.name}": Resource(archive.read_bytes())}) as server:
        assert get(card, server).failures == ()
    assert all((root / path).read_bytes() == content for path, content in files.items())


def test_a_mirror_has_the_archive_or_what_is_inside(files, empty_home, tmp_path):
    card, archive = published(files, "1.0", tmp_path)
    packed, loose, empty = (tmp_path / name for name in ("packed", "loose", "empty"))
    for folder in (packed, empty):
        folder.mkdir()
    shutil.copy(archive, packed)
    assert import_card(card, [archive], raw=loose).failures == ()
    for mirror in (packed, loose):
        report = get(card, mirror=str(mirror), raw=tmp_path / f"from {mirror.name}")
        assert {file.path: file.trust for file in report.files} == dict.fromkeys(files, "published")
    with pytest.raises(AccessError, match=f"4 files of excerpt did not come(.|\n)*{archive.name}: not found"):
        get(card, mirror=str(empty), raw=tmp_path / "nothing")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_without_a_list_another_version_is_told_by_the_archive(files, version, empty_home, tmp_path):
    """The old recordings were used under the new card, and the download ended in advice for an import."""
    card, archive = published(files, "1.0", tmp_path)
    root = get(replace(card, files=(), unlisted="used"), mirror=str(tmp_path)).root
    files[min(files)] = files[max(files)]
    card, archive = published(files, version, tmp_path)
    card = replace(card, files=(), unlisted="used")
    (row,) = verify_tree(card, root).failures
    assert (row.path, row.status) == ("excerpt-1.0.zip", "altered")
    assert (card.downloads[0].sha256 if version == "1.0" else archive.name) in row.expected
    with pytest.raises(VerificationError, match=f"another version of excerpt: delete {root}"):
        get(card, mirror=str(tmp_path))
    shutil.rmtree(root)
    assert get(card, mirror=str(tmp_path)).failures == ()


def test_archives_of_another_data_set_in_the_folder_are_none_of_this_one(files, empty_home, tmp_path):
    card, _ = published(files, "1.0", tmp_path)
    other, _ = published(files, "7.0", tmp_path)
    for name, of in (("other", other), ("excerpt", card)):
        mine = replace(of, name=name, files=(), unlisted="used")
        root = get(mine, mirror=str(tmp_path), raw=tmp_path / "raw").root
    assert not [row for row in verify_tree(mine, root).failures if row.path.endswith(".zip")]
