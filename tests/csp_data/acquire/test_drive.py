"""Data sets from an imitation of Google Drive: files by id, folders, and every page that is none of the two."""

from __future__ import annotations

import json
import shutil

import pytest

import csp_data
from csp_data.acquire import transfer
from csp_data.acquire.client import Client, Patience
from csp_data.acquire.drive import opener
from csp_data.acquire.transfer import RemoteFile
from csp_data.card import load_card
from csp_data.errors import AccessError

from .conftest import QUICK, fetch, run
from .hosts import FORMS_BEFORE_2023, PAGES, Drive
from .servers import Resource, drop, status


def test_vector_from_drive_then_prepare_and_load(vector, empty_home, monkeypatch):
    """36 files by their ids, one behind the confirmation form and cut on the way."""
    with Drive() as drive:
        for entry in load_card("vector").downloads:
            drive.files[entry.drive] = (
                entry.path,
                Resource((vector / entry.path).read_bytes(), etag=f'"{entry.path}"'),
            )
        first = load_card("vector").downloads[0].drive
        drive.large.add(first)
        drive.files[first][1].cut = 10_000
        monkeypatch.setenv("CSP_DATA_REROUTE", drive.reroute)
        result = run("download", "vector")
        assert result.exit_code == 0, result.stderr
    assert any(seen.path == "/download" and seen.headers.get("Range") == "bytes=10000-" for seen in drive.seen)
    report = csp_data.verify("vector")
    assert len(report.present) == 36
    assert {file.trust for file in report.present} == {"locked"}
    lock = json.loads((empty_home / "raw" / "vector" / "csp-data.lock.json").read_text())
    assert len(lock["datasets"]["vector"]["files"]) == 36
    assert len(csp_data.load("vector").train) > 0


def test_marker_from_a_drive_folder_then_prepare_and_load(marker, empty_home, monkeypatch, tmp_path):
    """The folder holds other sets too; what is fetched has the names that an import gives."""
    shared = tmp_path / "shared"
    shutil.copytree(
        marker, shared / "marker_writing_hiss_dataset", ignore=shutil.ignore_patterns("SIMULATED.json")
    )
    for other in ("marker_writing_full_dataset", "intrinsic_slip_hiss_dataset"):
        (shared / other).mkdir()
        (shared / other / "x.h5").write_bytes(b"not wanted")
    with Drive() as drive:
        drive.share(shared, load_card("marker").access.drive_folder)
        drive.folders[load_card("marker").access.drive_folder][1].append(("d", "notes", "doc"))
        monkeypatch.setenv("CSP_DATA_REROUTE", drive.reroute)
        result = run("download", "marker", "--json")
        wanted = {p.relative_to(marker).as_posix() for p in marker.rglob("*.h5")}
        got = {p.relative_to(empty_home / "raw" / "marker").as_posix() for p in (empty_home / "raw").rglob("*.h5")}
        assert got == wanted
    statuses = {file["status"] for file in json.loads(result.stdout)["files"] if file["failed"]}
    assert statuses <= {"missing"}  # the simulation has fewer recordings than the publisher promises
    assert result.exit_code == 4
    assert {file.trust for file in csp_data.verify("marker").present} == {"locked"}
    assert len(csp_data.load("marker").train) > 0


def test_the_full_version_is_fetched_only_when_asked(marker, empty_home, monkeypatch, tmp_path):
    """Drive holds both beside each other, with files of the same names."""
    demonstration = sorted(path.parent for path in marker.rglob("*.h5"))[0]
    inside = demonstration.relative_to(marker)
    folder = shutil.copytree(demonstration, tmp_path / "shared" / "marker_writing_hiss_dataset" / inside)
    shutil.copytree(folder, tmp_path / "shared" / "marker_writing_full_dataset" / inside)
    for file in folder.iterdir():
        file.write_bytes(b"compact")
    with Drive() as drive:
        drive.share(tmp_path / "shared", load_card("marker").access.drive_folder)
        monkeypatch.setenv("CSP_DATA_REROUTE", drive.reroute)
        for variant in ("full", "compact"):
            raw = tmp_path / variant
            fetch("marker", raw=raw, variant=variant)
            for file in demonstration.iterdir():
                wanted = file.read_bytes() if variant == "full" else b"compact"
                assert (raw / inside / file.name).read_bytes() == wanted


@pytest.mark.parametrize("form", FORMS_BEFORE_2023)
def test_older_confirmation_pages_lead_to_the_file(form, monkeypatch, tmp_path):
    """A link with its ampersands escaped, or an address in a script, escaped as JSON."""
    with Drive() as drive:
        drive.files["x-1"] = ("f.bin", Resource(b"1" * 1000))
        drive.large.add("x-1")
        drive.confirmed_at = "/uc"
        drive.form = lambda id_, name: FORMS_BEFORE_2023[form].replace("ID", id_)
        monkeypatch.setenv("CSP_DATA_REROUTE", drive.reroute)
        client = Client(QUICK)
        transfer.fetch(RemoteFile("f.bin", ""), tmp_path / "f.bin", client, opener=opener(client, "x-1", "f.bin"))
    assert (tmp_path / "f.bin").read_bytes() == b"1" * 1000


@pytest.mark.parametrize("page", PAGES)
def test_every_page_of_drive_is_told_and_none_is_stored(page, empty_home, monkeypatch):
    code, text, words = PAGES[page]
    with Drive() as drive:
        for entry in load_card("vector").downloads:
            drive.pages[entry.drive] = (code, text)
        monkeypatch.setenv("CSP_DATA_REROUTE", drive.reroute)
        with pytest.raises(AccessError, match=words) as caught:
            fetch("vector")
    file, *advice = str(caught.value).split("\n  board_slow1.synced.imu.txt: ")[1].split("\n")
    id_ = load_card("vector").downloads[0].drive
    assert file.endswith(f" (https://drive.google.com/file/d/{id_}/view).")
    assert [line for line in advice if "import" in line] == advice[-1:]  # once, after the files
    assert list((empty_home / "raw" / "vector").iterdir()) == []


@pytest.mark.parametrize("page", PAGES)
def test_a_folder_that_is_not_listed(page, empty_home, monkeypatch):
    code, text, words = PAGES[page]
    with Drive() as drive:
        drive.listing = lambda id_: Resource(b"", always=drive.show(code, text))
        monkeypatch.setenv("CSP_DATA_REROUTE", drive.reroute)
        with pytest.raises(AccessError, match=words):
            fetch("marker")


def test_listing_is_tried_again_which_is_said(marker, empty_home, monkeypatch, tmp_path, caplog):
    shutil.copytree(marker, tmp_path / "shared" / "marker_writing_hiss_dataset")
    with Drive() as drive:
        drive.share(tmp_path / "shared", load_card("marker").access.drive_folder)
        first, listing = [drop(), status(503), status(429)], drive.listing

        def unsteady(id_):
            resource = listing(id_)
            resource.script = first[:1]
            del first[:1]
            return resource

        drive.listing = unsteady
        monkeypatch.setenv("CSP_DATA_REROUTE", drive.reroute)
        assert len(fetch("marker", patience=Patience(tries=5, first_wait_s=0.001)).present) > 0
    assert first == []
    assert [m.rpartition("; ")[2] for m in caplog.messages] == [f"attempt {n} in 0.0 s" for n in (2, 3, 4)]


@pytest.mark.parametrize("name", ["../../evil.h5", "..\\evil.h5", "..", ".", " "])
def test_hostile_names_in_a_listing(name, empty_home, monkeypatch):
    with Drive() as drive:
        drive.folders[load_card("marker").access.drive_folder] = (
            "x",
            [("a", "marker_writing_hiss_dataset", "folder")],
        )
        drive.folders["a"] = ("y", [("b", name, "file")])
        monkeypatch.setenv("CSP_DATA_REROUTE", drive.reroute)
        with pytest.raises(AccessError, match="leads out of the folder"):
            fetch("marker")


def test_two_files_of_one_name_are_not_mixed(empty_home, monkeypatch):
    """Google Drive allows it; both were written to one place at once."""
    with Drive() as drive:
        top = load_card("marker").access.drive_folder
        drive.folders[top] = ("x", [("a", "marker_writing_hiss_dataset", "folder")])
        drive.folders["a"] = ("y", [("b", "demonstration_1", "folder"), ("c", "demonstration_1", "folder")])
        for folder, file in (("b", "f1"), ("c", "f2")):
            drive.folders[folder] = ("z", [(file, "reskin_sensor_values.h5", "file")])
            drive.files[file] = ("reskin_sensor_values.h5", Resource(file.encode() * 1000))
        monkeypatch.setenv("CSP_DATA_REROUTE", drive.reroute)
        with pytest.raises(AccessError, match=r"demonstration_1/reskin_sensor_values\.h5 stands there more than"):
            fetch("marker")
    assert list((empty_home / "raw" / "marker").iterdir()) == []


def test_form_that_leads_elsewhere_is_not_followed(empty_home, monkeypatch):
    form = '<html><form id="download-form" action="https://evil.example/"><input name="id"></form></html>'
    with Drive() as drive:
        for entry in load_card("vector").downloads:
            drive.pages[entry.drive] = (200, form)
        monkeypatch.setenv("CSP_DATA_REROUTE", drive.reroute)
        with pytest.raises(AccessError, match=r"evil\.example, which is not Google's"):
            fetch("vector")
