"""RoNIN from an imitation of FRDR, and the terms that it asks to accept."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import pytest

import csp_data
from csp_data.acquire.download import Options, download_card
from csp_data.card import load_card
from csp_data.errors import AccessError, VerificationError

from .conftest import QUICK, fetch, run
from .hosts import frdr
from .servers import Server


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


def test_archives_are_kept_when_asked_and_locked_always(ronin, empty_home, tmp_path):
    card = load_card("ronin")
    sizeless = tuple(dataclasses.replace(entry, size=None) for entry in card.downloads)
    card = dataclasses.replace(card, downloads=sizeless)
    mirror = Path(shutil.copytree(ronin, tmp_path / "mirror"))
    archives = {path.name: path.read_bytes() for path in mirror.glob("*.zip")}
    options = Options(mirror=mirror.as_uri(), accept_licence=True, lock_file=tmp_path / "lock.json")
    for keep in (True, False):
        download_card(card, dataclasses.replace(options, raw=tmp_path / f"raw{keep}", keep_archives=keep))
        kept = tmp_path / f"raw{keep}.incoming"
        assert {path.name: path.read_bytes() for path in kept.glob("*.zip")} == (archives if keep else {})
        assert kept.exists() == keep
    lost = next((tmp_path / "rawFalse").rglob("*.hdf5"))
    content = lost.read_bytes()
    lost.unlink()
    download_card(card, dataclasses.replace(options, raw=tmp_path / "rawFalse"))
    assert lost.read_bytes() == content
    locked = json.loads((tmp_path / "lock.json").read_text())["datasets"]["ronin"]["archives"]
    assert {name: row["sha256"] for name, row in locked.items()} == {
        name: hashlib.sha256(content).hexdigest() for name, content in archives.items()
    }
    name = sorted(archives)[0]
    (mirror / name).write_bytes(archives[name] + b"x")
    with pytest.raises(VerificationError, match=rf"{name} is not the one that \S+/lock.json names: expected size"):
        download_card(card, dataclasses.replace(options, raw=tmp_path / "other"))


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


def test_licence_is_shown_once(empty_home, monkeypatch):
    asked = []
    with Server() as server:
        monkeypatch.setenv("CSP_DATA_REROUTE", f"https://www.frdr-dfdr.ca/={server.url}/")
        for _ in range(2):
            with pytest.raises(AccessError, match="does not have it"):
                fetch("ronin", ask_licence=lambda terms: asked.append(terms) or True)
    assert len(asked) == 1
    card = load_card("ronin")
    changed = dataclasses.replace(card, licence=dataclasses.replace(card.licence, terms="Other terms."))
    with pytest.raises(AccessError, match=r"its terms are not accepted.*\n*.*Other terms\."):
        download_card(changed, Options())
