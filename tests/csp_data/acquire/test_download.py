"""Whole data sets into an empty home, as a person fetches them: what is there is not fetched again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil

import pytest

import csp_data
from csp_data.acquire.download import Options, download_card
from csp_data.card import FileEntry, bundled_root, load_card
from csp_data.errors import MissingDataError

from .conftest import QUICK, run
from .servers import Resource, Server, drop, tree


def test_broad_from_a_mirror_then_prepare_and_load(reference_dir, empty_home):
    """The published files by HTTP into an empty home; the mirror holds 18 of 39, and the rest is named."""
    with Server(tree(reference_dir / "data" / "broad")) as mirror:
        result = run("download", "broad", "--mirror", mirror.url)
        first = len(mirror.seen)
        again = run("download", "broad", "--mirror", mirror.url)
    assert result.exit_code == again.exit_code == 4
    assert "21 files of broad did not come, 18 are here and verified" in result.stderr
    assert "prepare and load leave out what is missing" in result.stderr
    assert "01_undisturbed_slow_rotation_A.hdf5: the server does not have it (404)" in result.stderr
    assert len(mirror.seen) == first + 21  # what is here is not asked for again
    report = csp_data.verify("broad")
    assert [file.trust for file in report.present] == ["published"] * 18
    dataset = csp_data.load("broad", jobs=1)
    assert len(dataset.provenance["files"]) == 18


def test_download_verify_prepare_load_from_an_empty_home(sample_mirror, empty_home):
    result = run("download", "excerpt", "--mirror", sample_mirror.url + "/{name}", "--json")
    assert result.exit_code == 4  # {name} is filled in: there is no such folder on this server
    result = run("download", "excerpt", "--mirror", sample_mirror.url, "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["ok"]
    assert {file["trust"] for file in report["files"]} == {"published"}
    assert len(csp_data.load("excerpt").train) == len(csp_data.load("sample").train)
    assert not (empty_home / "raw" / "excerpt.incoming").exists()


def test_load_downloads_only_when_asked(sample_mirror, empty_home, monkeypatch, capfd):
    monkeypatch.setenv("CSP_DATA_MIRROR", sample_mirror.url)
    with pytest.raises(MissingDataError):
        csp_data.load("excerpt")
    assert sample_mirror.seen == []
    assert len(csp_data.load("excerpt", download=True).train) > 0
    assert csp_data.load("excerpt").train
    assert capfd.readouterr().err == ""


def test_load_shows_how_far_it_is_when_asked(sample_mirror, empty_home, monkeypatch, capfd):
    """In a notebook, too, whose stderr is no terminal."""
    monkeypatch.setenv("CSP_DATA_MIRROR", sample_mirror.url)
    csp_data.load("excerpt", download=True, progress=True)
    shown = capfd.readouterr().err
    assert "download excerpt: 100%" in shown
    assert "prepare excerpt: 100%" in shown


def test_altered_file_is_fetched_again(sample_mirror, empty_home):
    run("download", "excerpt", "--mirror", sample_mirror.url)
    file = sorted((empty_home / "raw" / "excerpt").glob("*.hdf5"))[0]
    data = bytearray(file.read_bytes())
    data[1000] ^= 1
    file.write_bytes(data)
    assert csp_data.verify("excerpt").failures[0].status == "altered"
    before = len(sample_mirror.seen)
    assert run("download", "excerpt", "--mirror", sample_mirror.url).exit_code == 0
    assert [seen.path for seen in sample_mirror.seen[before:]] == [f"/{file.name}"]


def test_what_a_person_put_there_is_not_fetched_again(sample_mirror, empty_home, tmp_path):
    """Told by a git blob id, the only digest that is published of most files of broad."""
    folder = bundled_root(load_card("sample"))
    names = sorted(path.name for path in folder.glob("*.hdf5"))[:2]
    whole = {name: (folder / name).read_bytes() for name in names}
    blobs = {name: hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() for name, data in whole.items()}
    entries = tuple(FileEntry(name, git_blob=blob) for name, blob in blobs.items())
    card = dataclasses.replace(load_card("sample"), name="excerpt", bundled=None, files=entries)
    shutil.copy(folder / names[0], tmp_path / names[0])
    report = download_card(card, Options(raw=tmp_path, mirror=sample_mirror.url, patience=QUICK))
    assert [file.trust for file in report.present] == ["published"] * 2
    assert [seen.path for seen in sample_mirror.seen] == [f"/{names[1]}"]


def test_one_wrong_file_does_not_keep_the_others_away(sample_mirror, empty_home):
    path = sorted(sample_mirror.resources)[0]
    sample_mirror.resources[path] = Resource(b"\0" * len(sample_mirror.resources[path].body))
    result = run("download", "excerpt", "--mirror", sample_mirror.url)
    assert result.exit_code == 3
    assert f"{path[1:]}: what came from" in result.stderr
    assert len(csp_data.verify("excerpt").present) == 12


def test_an_answer_that_ends_within_its_head_is_one_line(sample_mirror, empty_home):
    path, resource = sorted(sample_mirror.resources.items())[0]
    resource.script.append(drop(b"HTTP/1.1 200 OK\r\nContent-Len"))
    result = run("download", "excerpt", "--mirror", sample_mirror.url, "--tries", "1")
    told = f"{path[1:]}: the connection ended at byte 0 of {len(resource.body)}; gave up after 1 attempt ("
    assert result.stderr.startswith(f"Error: {told}"), result.stderr
    assert "Traceback" not in result.stderr


def test_every_file_that_did_not_come_is_named(sample_mirror, empty_home):
    """The first twelve with their reasons, the others by name."""
    names = [path[1:] for path in sorted(sample_mirror.resources)]
    sample_mirror.resources.clear()
    result = run("download", "excerpt", "--mirror", sample_mirror.url)
    assert result.exit_code == 4
    assert "13 files of excerpt did not come, 0 are here" in result.stderr
    assert [result.stderr.count(f"  {name}: the server does not have it (404)") for name in names[:12]] == [1] * 12
    assert f"  and 1 more: {names[12]}\n" in result.stderr
    assert "can be used as it is" not in result.stderr  # nothing is here


def test_a_damaged_file_that_no_other_replaces_is_not_called_usable(sample_mirror, empty_home):
    assert run("download", "excerpt", "--mirror", sample_mirror.url).exit_code == 0
    first, second, *_ = sorted((empty_home / "raw" / "excerpt").glob("*.hdf5"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    sample_mirror.resources.clear()
    said = run("download", "excerpt", "--mirror", sample_mirror.url).stderr
    assert "2 files of excerpt did not come, 11 are here and verified:" in said
    assert f"\nStill here, and in the way of prepare and load:\n  {second.name}: truncated: expected " in said
    assert "can be used as it is" not in said
    assert run("prepare", "excerpt").exit_code == 3
    second.unlink()
    assert run("download", "excerpt", "--mirror", sample_mirror.url).stderr.endswith(
        "leave out what is missing.\n"
    )
    assert run("prepare", "excerpt").exit_code == 0


def test_bundled_set_needs_no_download(empty_home):
    assert run("download", "sample").exit_code == 0


@pytest.mark.parametrize("name", [name for name in csp_data.names() if not load_card(name).bundled])
def test_no_set_hangs_or_breaks_without_a_network(name, empty_home, monkeypatch):
    """Every host refuses connections; every command says which, and what to do by hand."""
    with Server() as gone:
        hosts = "https://drive.google.com/", "https://raw.githubusercontent.com/", "https://www.frdr-dfdr.ca/"
        hosts = (*hosts, "https://cvssp.org/")
        monkeypatch.setenv("CSP_DATA_REROUTE", " ".join(f"{host}={gone.url}/" for host in hosts))
    monkeypatch.setenv("CSP_DATA_TOTALCAPTURE_USER", "ann")
    monkeypatch.setenv("CSP_DATA_TOTALCAPTURE_PASSWORD", "secret")
    result = run("download", name, "--accept-licence", "--tries", "1", "--timeout", "1")
    assert result.exit_code == 4, result.output
    assert "cannot be reached (connection refused)" in result.stderr
    assert "import" in result.stderr
    before = "\n" if "did not come" in result.stderr else " "  # once, after the files
    assert result.stderr.count(f"{before}Try again later, or use a mirror") == 1
    assert result.stderr.count("Try again later") == 1
