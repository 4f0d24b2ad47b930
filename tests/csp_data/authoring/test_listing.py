"""`csp-data files`: what it prints is what a card lists."""

from __future__ import annotations

import hashlib
import os
import shutil
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest
from click.testing import CliRunner

import csp_data
from csp_data.authoring.template import new_source
from csp_data.cli import cli

EXAMPLE = Path(__file__).parents[3] / "examples" / "eflesh"


def printed(*arguments: object) -> dict[str, list[dict[str, object]]]:
    done = CliRunner().invoke(cli, ["files", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return tomllib.loads(done.stdout)


def test_it_is_the_list_of_the_example() -> None:
    card = tomllib.loads((EXAMPLE / "card.toml").read_text())
    assert printed(EXAMPLE) == {"files": card["files"]}


def test_addresses_and_names_that_need_care(tmp_path: Path) -> None:
    folder = new_source("cart", tmp_path / "cart")
    raw = (folder / "recordings").rename(tmp_path / "raw")
    odd = raw / 'the "first" é\\ \x7f'
    (raw / "r0").rename(odd)
    (only,) = printed(folder, "--raw", raw, "--url", "https://lab.example/x/").values()
    for row in only:
        content = (raw / str(row["path"])).read_bytes()
        assert unquote(str(row["url"])).endswith("/x/" + str(row["path"]))
        assert (row["size"], row["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert {row["path"] for row in only} == {
        f"{name}/{file}.csv" for name in (odd.name, "r1", "r2", "r3") for file in ("sensor", "truth")
    }
    archive = Path(shutil.make_archive(str(tmp_path / "cart 1.0"), "gztar", raw))
    lists = printed(folder, "--raw", raw, "--archive", archive, "--url", "https://lab.example")
    assert all("url" not in row for row in lists["files"])
    (row,) = lists["downloads"]
    assert row["url"] == "https://lab.example/cart%201.0.tar.gz"
    assert (row["path"], row["size"]) == ("cart 1.0.tar.gz", archive.stat().st_size)


def test_a_file_that_the_card_lists_besides_stays_in_the_list(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "eflesh"))
    (folder / "recordings" / "LICENCE").write_text("MIT")
    card = folder / "card.toml"
    card.write_text(card.read_text().replace("files = [\n", 'files = [\n    { path = "LICENCE" },\n'))
    assert {"path": "LICENCE", "size": 3, "sha256": hashlib.sha256(b"MIT").hexdigest()} in printed(folder)["files"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--url", "ftp://lab.example"], "an address that begins with http:// or https://"),
        (["--archive", "nowhere.zip"], "The archive: not found at nowhere.zip"),
        (["--archive", str(EXAMPLE / "card.toml")], "an archive that csp-data unpacks"),
        (["--raw", "nowhere"], "Recordings of eflesh: not found at nowhere"),
    ],
)
def test_what_cannot_be_listed(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(cli, ["files", str(EXAMPLE), *arguments])
    assert done.exit_code != 0
    assert message in done.output


def test_a_name_that_no_card_can_hold(tmp_path: Path) -> None:
    folder = new_source("cart", tmp_path / "cart")
    try:
        (folder / "recordings" / "r0").rename(folder / "recordings" / os.fsdecode(b"r\xff"))
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    done = CliRunner().invoke(cli, ["files", str(folder)])
    assert "expected text in UTF-8, found 'r\\udcff/sensor.csv'. Rename it" in done.output
    assert csp_data.verify(str(folder)).failures == ()
