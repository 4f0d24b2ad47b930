"""Croissant documents of all cards: valid for the reference implementation, and equal to the cards."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import csp_data
from csp_data.authoring.listing import as_toml, listed_files
from csp_data.authoring.template import new_source
from csp_data.card.plugins import FolderReader
from csp_data.card.registry import read_external_card
from csp_data.cli import cli
from csp_data.describe.croissant import bibtex_fields, croissant

# of rdflib, which mlcroissant reads JSON-LD with
pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")


@pytest.mark.parametrize("name", csp_data.names())
def test_the_reference_implementation_reads_it(name: str, tmp_path: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="validation needs mlcroissant")
    card = csp_data.info(name)
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps(croissant(card)), encoding="utf-8")
    found = mlcroissant.Dataset(jsonld=path)
    assert found.metadata.name == name
    rows = list(found.records("channels"))
    assert [row["channels/channel"] for row in rows] == [c for s in card.streams for c in s.channels]
    assert {row["channels/rate_hz"] for row in rows} == {float(stream.rate_hz) for stream in card.streams}
    assert not found.metadata.ctx.issues.errors


def test_a_broken_document_is_refused(tmp_path: Path) -> None:
    """So that the test above can fail."""
    mlcroissant = pytest.importorskip("mlcroissant", reason="validation needs mlcroissant")
    document: dict[str, Any] = croissant(csp_data.info("sample"))
    document["recordSet"][0]["field"][0]["dataType"] = "sc:Nonsense"
    del document["distribution"][0]["sha256"]
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(mlcroissant.ValidationError):
        mlcroissant.Dataset(jsonld=path)


def test_files_and_parts_are_the_cards() -> None:
    card = csp_data.info("sample")
    document = csp_data.croissant("sample")
    assert {entry["sha256"] for entry in document["distribution"]} == {file.sha256 for file in card.files}
    (parts,) = (records for records in document["recordSet"] if records["name"] == "parts")
    assert {row["parts/recording"]: row["parts/part"] for row in parts["data"]} == card.splits["strict"].part_of()
    assert document["description"] == " ".join(f"{card.title}. {card.summary}".split())
    assert document["url"] == f"https://doi.org/{card.citation.doi}"
    assert document["version"] == csp_data.__version__
    assert document["rai:dataLimitations"] == [" ".join(defect.split()) for defect in card.defects]
    first = {records["name"]: records["data"][0] for records in document["recordSet"]}
    stream, target, file = card.streams[0], card.targets[0], card.files[0]
    expected = {
        "stream": stream.name,
        "channel": "acc_x",
        "unit": "m/s^2",
        "frame": stream.frame,
        "axes": stream.axes,
    }
    assert first["channels"].items() > {f"channels/{key}": value for key, value in expected.items()}.items()
    expected = {"target": target.name, "channel": "vel_x", "unit": "m", "per_step": True, "what": target.summary}
    assert first["targets"] == {f"targets/{key}": value for key, value in expected.items()}
    expected = {"file": file.path, "bytes": file.size, "sha256": file.sha256}
    assert first["files"].items() > {f"files/{key}": value for key, value in expected.items()}.items()


def test_command_line() -> None:
    done = CliRunner().invoke(cli, ["info", "vector", "--croissant"])
    assert done.exit_code == 0
    assert json.loads(done.stdout) == csp_data.croissant("vector")


@pytest.mark.parametrize("name", csp_data.names())
def test_citations_are_whole(name: str) -> None:
    card = csp_data.info(name)
    fields = bibtex_fields(card.citation.bibtex)
    assert {"author", "title", "year"} <= set(fields)
    assert fields["year"] in card.citation.text
    last = fields["author"].split(" and ")[0].partition(",")[0]
    assert last in card.citation.text
    assert card.citation.bibtex.strip() in csp_data.cite(name)


def test_a_set_that_is_not_published(tmp_path: Path) -> None:
    """No author, no year, no address: what `csp-data new` writes."""
    card = read_external_card(FolderReader(new_source("unpublished", tmp_path / "own")))
    document = croissant(card)
    assert not {"creator", "datePublished", "url"} & set(document)
    assert "none" not in json.dumps({k: v for k, v in document.items() if k not in ("@context", "recordSet")})
    mlcroissant = pytest.importorskip("mlcroissant", reason="validation needs mlcroissant")
    path = tmp_path / "own.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    assert len(list(mlcroissant.Dataset(jsonld=path).records("channels"))) == 2


def test_files_in_an_archive_are_said_to_be_in_it(tmp_path: Path) -> None:
    """They had addresses of their own, which lead nowhere; the reference implementation now finds them inside."""
    mlcroissant = pytest.importorskip("mlcroissant", reason="validation needs mlcroissant")
    folder = new_source("cart", tmp_path / "cart")
    archive = Path(shutil.make_archive(str(tmp_path / "cart-1.0"), "zip", folder / "recordings"))
    lists = as_toml(listed_files(folder, archives=[archive]))
    path = folder / "card.toml"
    path.write_text(
        "\n".join(lists if line.startswith("unlisted") else line for line in path.read_text().split("\n"))
    )
    document = croissant(read_external_card(FolderReader(folder)))
    *files, _ = document["distribution"]
    assert {file["name"] for file in files} == {"sensor.csv", "truth.csv"}
    assert {file["encodingFormat"] for file in files} == {"text/csv"}
    column = {"@type": "cr:Field", "@id": "read/time", "name": "time", "dataType": "sc:Float"}
    column["source"] = {"fileObject": {"@id": files[0]["@id"]}, "extract": {"column": "time_s"}}
    document["recordSet"] = [{"@type": "cr:RecordSet", "@id": "read", "name": "read", "field": [column]}]
    (tmp_path / "made.json").write_text(json.dumps(document), encoding="utf-8")
    records = mlcroissant.Dataset(jsonld=tmp_path / "made.json").records("read")
    times = [row["read/time"] for row in itertools.islice(records, 3)]
    rows = (folder / "recordings" / files[0]["@id"]).read_text().splitlines()
    assert times == [float(row.split(",")[0]) for row in rows[1:4]]
