"""Whole data sets from imitations of their hosts, as a person fetches them."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import threading
import time

import pytest
from click.testing import CliRunner

import csp_data
from csp_data.acquire.client import Patience
from csp_data.acquire.download import Options, download_card
from csp_data.card import bundled_root, load_card
from csp_data.cli import cli
from csp_data.errors import AccessError, CspDataError, MissingDataError, VerificationError
from csp_data.simulate import simulate

from .conftest import QUICK
from .hosts import PAGES, Drive, frdr
from .servers import Resource, Server, drop, status, tree


def fetch(name, **options):
    return download_card(load_card(name), Options(**{"patience": QUICK, **options}))


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def vector(tmp_path_factory):
    return simulate("vector", tmp_path_factory.mktemp("sim") / "vector", hours=0.01, seed=0)


@pytest.fixture(scope="module")
def marker(tmp_path_factory):
    return simulate("marker", tmp_path_factory.mktemp("sim") / "marker", hours=0.005, seed=0)


@pytest.fixture(scope="module")
def ronin(tmp_path_factory):
    return simulate("ronin", tmp_path_factory.mktemp("sim") / "ronin", hours=0.01, seed=0, archives=True)


@pytest.fixture(scope="module")
def totalcapture(tmp_path_factory):
    return simulate("totalcapture", tmp_path_factory.mktemp("sim") / "tc", hours=0.005, seed=0, archives=True)


# broad


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


@pytest.fixture
def sample_mirror(monkeypatch):
    """A data set like broad whose files are the shipped sample's: all there, all with published digests."""
    card = load_card("sample")
    folder = bundled_root(card)
    from csp_data import api
    from csp_data.commands import acquire as commands

    mine = dataclasses.replace(card, name="excerpt", bundled=None)
    for module in (api, commands):
        monkeypatch.setattr(module, "load_card", lambda name: mine if name == "excerpt" else load_card(name))
    with Server(tree(folder)) as server:
        yield server


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


@pytest.mark.parametrize("as_address", [True, False])
def test_a_folder_is_a_mirror(empty_home, sample_mirror, as_address, tmp_path):
    folder = shutil.copytree(bundled_root(load_card("sample")), tmp_path / "a b" / "excerpt")
    mirror = folder.as_uri() if as_address else str(folder.parent / "{name}")
    assert run("download", "excerpt", "--mirror", mirror).exit_code == 0
    assert sample_mirror.seen == []
    wrong = run("download", "excerpt", "--mirror", str(tmp_path / "nowhere"))
    assert wrong.exit_code == 2
    assert "a folder, or an address that begins with" in wrong.stderr


def test_load_downloads_only_when_asked(sample_mirror, empty_home, monkeypatch):
    monkeypatch.setenv("CSP_DATA_MIRROR", sample_mirror.url)
    with pytest.raises(MissingDataError):
        csp_data.load("excerpt")
    assert sample_mirror.seen == []
    assert len(csp_data.load("excerpt", download=True).train) > 0
    assert csp_data.load("excerpt").train


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


def test_one_wrong_file_does_not_keep_the_others_away(sample_mirror, empty_home):
    path = sorted(sample_mirror.resources)[0]
    sample_mirror.resources[path] = Resource(b"\0" * len(sample_mirror.resources[path].body))
    result = run("download", "excerpt", "--mirror", sample_mirror.url)
    assert result.exit_code == 3
    assert f"{path[1:]}: what came from" in result.stderr
    assert len(csp_data.verify("excerpt").present) == 12


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


@pytest.mark.parametrize(
    ("mirror", "words"),
    [("ftp://host/", "begins with http"), ("http://ann:secret@host/", "no user or password")],
)
def test_unusable_mirror(mirror, words, empty_home):
    result = run("download", "broad", "--mirror", mirror)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "secret" not in result.output


def test_host_gone_ends_soon_and_says_so(empty_home):
    with Server() as server:
        address = server.url
    result = run("download", "broad", "--mirror", address, "--tries", "1")
    assert result.exit_code == 4
    assert "cannot be reached (connection refused)" in result.stderr
    assert "csp-data import broad PATH" in result.stderr


def test_bundled_set_needs_no_download(empty_home):
    assert run("download", "sample").exit_code == 0


# Google Drive


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


@pytest.mark.parametrize("page", PAGES)
def test_every_page_of_drive_is_told_and_none_is_stored(page, vector, empty_home, monkeypatch):
    code, text, words = PAGES[page]
    with Drive() as drive:
        for entry in load_card("vector").downloads:
            drive.pages[entry.drive] = (code, text)
        monkeypatch.setenv("CSP_DATA_REROUTE", drive.reroute)
        with pytest.raises(AccessError, match=words) as caught:
            fetch("vector")
    assert "board_slow1.synced.imu.txt" in str(caught.value)
    assert "import" in str(caught.value)
    assert list((empty_home / "raw" / "vector").iterdir()) == []


@pytest.mark.parametrize("page", PAGES)
def test_a_folder_that_is_not_listed(page, empty_home, monkeypatch):
    code, text, words = PAGES[page]
    with Drive() as drive:
        drive.listing = lambda id_: Resource(b"", always=drive.show(code, text))
        monkeypatch.setenv("CSP_DATA_REROUTE", drive.reroute)
        with pytest.raises(AccessError, match=words):
            fetch("marker")


def test_listing_is_tried_again(marker, empty_home, monkeypatch, tmp_path):
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


def test_hostile_names_in_a_listing(empty_home, monkeypatch):
    with Drive() as drive:
        drive.folders[load_card("marker").access.drive_folder] = (
            "x",
            [("a", "marker_writing_hiss_dataset", "folder")],
        )
        drive.folders["a"] = ("y", [("b", "../../evil.h5", "file")])
        monkeypatch.setenv("CSP_DATA_REROUTE", drive.reroute)
        with pytest.raises(AccessError, match="leads out of the folder"):
            fetch("marker")


def test_form_that_leads_elsewhere_is_not_followed(empty_home, monkeypatch):
    form = '<html><form id="download-form" action="https://evil.example/"><input name="id"></form></html>'
    with Drive() as drive:
        for entry in load_card("vector").downloads:
            drive.pages[entry.drive] = (200, form)
        monkeypatch.setenv("CSP_DATA_REROUTE", drive.reroute)
        with pytest.raises(AccessError, match=r"evil\.example, which is not Google's"):
            fetch("vector")


# FRDR


def test_ronin_from_frdr_with_redirects(ronin, empty_home, monkeypatch):
    front, store, reroute = frdr(ronin)
    monkeypatch.setenv("CSP_DATA_REROUTE", reroute)
    with front, store:
        store.resources["/train_dataset_1.zip"].cut = 100_000
        # the simulation's archives are smaller than the size that is published of one of them
        wrong = run("download", "ronin", "--accept-licence")
        assert wrong.exit_code == 3
        assert "unseen_subjects_test_set.zip: expected 3211376453 bytes" in wrong.stderr
        card = load_card("ronin")
        sizeless = tuple(dataclasses.replace(entry, size=None) for entry in card.downloads)
        mine = dataclasses.replace(card, downloads=sizeless)
        report = download_card(mine, Options(accept_licence=True, patience=QUICK))
    assert {file.status for file in report.failures} <= {"missing"}
    assert len(report.present) == 2 * len(csp_data.sources.load_source(card).find(report.root))
    assert {file.trust for file in report.present} == {"locked"}
    assert {p.name for p in report.root.iterdir() if p.is_dir()} == {
        path[1:-4] for path in store.resources if path.endswith("zip")
    }
    assert store.count("/train_dataset_1.zip") == 2  # the second run had it
    assert len(csp_data.load("ronin").train) > 0


def test_ronin_record_unavailable_says_how_by_hand(empty_home, monkeypatch):
    with Server() as server:
        monkeypatch.setenv("CSP_DATA_REROUTE", f"https://www.frdr-dfdr.ca/={server.url}/")
        result = run("download", "ronin", "--accept-licence")
    assert result.exit_code == 4
    assert "10.20383/102.0543" in result.stderr
    assert "csp-data import ronin" in result.stderr


def test_licence_is_never_accepted_silently(empty_home):
    result = run("download", "ronin")  # CliRunner's stdin is no terminal
    assert result.exit_code == 4
    assert "--accept-licence" in result.stderr
    assert "non-commercial" in result.stderr.lower()
    asked = []
    with pytest.raises(AccessError, match="not accepted"):
        fetch("ronin", ask_licence=lambda terms: asked.append(terms) or False)
    assert len(asked) == 1


def test_licence_is_shown_once(ronin, empty_home, monkeypatch):
    asked = []
    with Server() as server:
        monkeypatch.setenv("CSP_DATA_REROUTE", f"https://www.frdr-dfdr.ca/={server.url}/")
        for _ in range(2):
            with pytest.raises(AccessError, match="does not have it"):
                fetch("ronin", ask_licence=lambda terms: asked.append(terms) or True)
    assert len(asked) == 1


# TotalCapture


@pytest.mark.parametrize(
    ("way", "challenge"),
    [("environment", "Basic"), ("netrc", "Basic"), ("prompt", "Basic"), ("environment", "Digest")],
)
def test_totalcapture_with_http_authentication(
    totalcapture, empty_home, monkeypatch, tmp_path, way, challenge, caplog
):
    """Names on the server vary in case; a redirect leads to another host, which sees no password."""
    with Server(host="127.0.0.2") as store, Server() as server:
        for path, resource in tree(totalcapture).items():
            name = path[1:].replace("_imu.tar", "_imu.tar.gz").replace(".gz.gz", ".gz")
            if "vicon" in name:
                store.resources["/" + name] = resource
                resource = Resource(
                    b"", always=lambda h, r, name=name: status(302, b"", Location=f"{store.url}/{name}")(h, r)
                )
            server.resources[f"/tc/{name}"] = resource
            resource.user = ("ann", "s3cret")
            resource.challenges = (
                'Basic realm="data"'
                if challenge == "Basic"
                else f'Digest realm="data", qop="auth", nonce="{server.nonce}"',
            )
        for name in ("USER", "PASSWORD"):
            monkeypatch.delenv(f"CSP_DATA_TOTALCAPTURE_{name}", raising=False)
        ask = None
        if way == "environment":
            monkeypatch.setenv("CSP_DATA_TOTALCAPTURE_USER", "ann")
            monkeypatch.setenv("CSP_DATA_TOTALCAPTURE_PASSWORD", "s3cret")
        elif way == "netrc":
            (tmp_path / "netrc").write_text("machine 127.0.0.1 login ann password s3cret\n")
            (tmp_path / "netrc").chmod(0o600)
            monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        else:
            ask = lambda host: ("ann", "s3cret")  # noqa: E731
        for resource in store.resources.values():
            resource.user = None
        with caplog.at_level("DEBUG"), pytest.raises(AccessError) as caught:
            fetch("totalcapture", mirror=server.url + "/tc", accept_licence=True, ask_password=ask)
        assert "Gyro_Mag" in str(caught.value)  # which this mirror does not hold
        assert not any("Authorization" in seen.headers for seen in store.seen)
        assert len(store.seen) >= 5
    report = csp_data.verify("totalcapture")
    assert not report.failures
    assert {file.trust for file in report.present} == {"locked"}
    path = csp_data.prepare("totalcapture")
    dataset = csp_data.load("totalcapture")
    assert dataset.path == path
    assert len(dataset.train) > 0
    assert len(dataset.targets.names) == 63
    written = b"".join(path.read_bytes() for path in empty_home.rglob("*") if path.is_file())
    assert b"s3cret" not in written
    assert "s3cret" not in caplog.text + str(caught.value) + "".join(str(seen.path) for seen in server.seen)


def test_totalcapture_without_password(empty_home):
    result = run("download", "totalcapture", "--accept-licence")
    assert result.exit_code == 4
    assert "CSP_DATA_TOTALCAPTURE_PASSWORD" in result.stderr
    assert ".netrc" in result.stderr


def test_wrong_password(empty_home):
    served = {"/S1_imu.tar.gz": Resource(b"x", user=("ann", "right"))}
    with Server(served) as server, pytest.raises(AccessError, match="denies access") as caught:
        fetch("totalcapture", mirror=server.url, accept_licence=True, ask_password=lambda host: ("ann", "wrong!"))
    assert "wrong!" not in str(caught.value)


# lock file


def test_lock_file_makes_the_next_machine_get_the_same_bytes(vector, empty_home, tmp_path, monkeypatch):
    lock = tmp_path / "csp-data.lock.json"
    served = tree(vector)
    with Server(served) as mirror:
        fetch("vector", mirror=mirror.url, lock_file=lock, raw=tmp_path / "one")
        first = lock.read_bytes()
        name = next(path for path in served if path.endswith("gt.txt"))
        served[name] = Resource(served[name].body + b"\n")
        with pytest.raises(VerificationError, match=rf"{name[1:]}: expected \d+ bytes, the server offers"):
            fetch("vector", mirror=mirror.url, lock_file=lock, raw=tmp_path / "two")
        served[name] = Resource(bytes(len(served[name].body) - 1))
        with pytest.raises(VerificationError, match="expected sha256"):
            fetch("vector", mirror=mirror.url, lock_file=lock, raw=tmp_path / "two")
    assert lock.read_bytes() == first


def test_mirror_of_a_lab_serves_its_raw_folder(marker, empty_home, tmp_path):
    """The publisher's folder is not listed: the lab's lock file says what there is."""
    csp_data.import_raw("marker", marker, raw=tmp_path / "lab")
    with Server(tree(tmp_path / "lab")) as mirror:
        report = fetch("marker", mirror=mirror.url)
    assert len(report.present) == len(list(marker.rglob("*.h5")))
    with Server() as empty, pytest.raises(AccessError, match=r"no csp-data\.lock\.json"):
        fetch("marker", mirror=empty.url, raw=tmp_path / "other")


def test_mirror_lock_that_leads_out_is_refused(empty_home, tmp_path):
    row = {"size": 1, "sha256": "0" * 64}
    lock = {"version": 1, "datasets": {"marker": {"files": {"../../evil": row}, "archives": {}}}}
    served = {"/csp-data.lock.json": Resource(json.dumps(lock).encode())}
    with Server(served) as mirror, pytest.raises(CspDataError, match="leads out"):
        fetch("marker", mirror=mirror.url)


def test_interrupt_keeps_what_arrived(sample_mirror, empty_home, monkeypatch):
    """Ctrl-C in the middle: exit at once, .part files stay, the next run ends it."""
    for resource in sample_mirror.resources.values():
        resource.rate = 1e5
    raw = empty_home / "raw" / "excerpt"

    def interrupt_when_bytes_are_there():
        while not any(part.stat().st_size for part in raw.glob("*.part")):
            time.sleep(0.01)
        # a real signal: it wakes the main thread from its wait, as Ctrl-C does
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    threading.Thread(target=interrupt_when_bytes_are_there, daemon=True).start()
    result = run("download", "excerpt", "--mirror", sample_mirror.url)
    assert result.exit_code == 1
    assert "Run the command again" in result.stderr
    parts = list(raw.glob("*.part"))
    assert parts
    for resource in sample_mirror.resources.values():
        resource.rate = None
    assert run("download", "excerpt", "--mirror", sample_mirror.url).exit_code == 0
    assert any("Range" in seen.headers for seen in sample_mirror.seen)
    assert not list(raw.glob("*.part*"))
