"""``csp-data doctor``: what it says is so, it changes nothing, and it works where much is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

import csp_data
from csp_data.cli import cli
from csp_data.doctor import GROUP, examine


def doctor(path: Path | None = None) -> tuple[int, dict, str]:
    """Run it in a process of its own, with a folder before all others that are imported from."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(path or ""), *sys.path]))}
    command = [sys.executable, "-m", "csp_data", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    return done.returncode, json.loads(done.stdout), done.stderr


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_processors_that_may_be_used_are_told(empty_home: Path) -> None:
    """On a cluster a job has few of the machine's."""
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "import sys; from csp_data.cli import main; sys.argv[1:] = ['doctor']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"{os.cpu_count()} processors" in done.stdout
    assert (", of which this process may use 1\n" in done.stdout) == (os.cpu_count() != 1)


def plugin(folder: Path, code: str) -> Path:
    """An installed package with a section of its own."""
    info = folder / "other-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nother = other_doctor:diagnose\n")
    (folder / "other_doctor.py").write_text(code)
    return folder


def listing(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")} if folder.exists() else {}


def test_an_empty_home_is_fine_and_stays_empty(empty_home: Path) -> None:
    found = examine()
    assert not empty_home.exists()
    assert found["problems"] == []
    assert (found["prepared"], found["reclaimable"]) == ([], [])
    assert [row["name"] for row in found["datasets"]] == ["sample"]
    assert found["environment"]["packages"]["numpy"] == __import__("numpy").__version__
    assert found["home"]["chosen_by"] == "CSP_DATA_HOME"


def test_sizes_and_what_can_be_reclaimed(empty_home: Path) -> None:
    path = csp_data.prepare("sample")
    incoming = empty_home / "raw" / "vector.incoming"
    incoming.mkdir(parents=True)
    (incoming / "a.zip.part").write_bytes(bytes(1234))
    (empty_home / "raw" / "broad").mkdir()
    (empty_home / "raw" / "broad" / "x.hdf5.part").write_bytes(bytes(55))
    before = listing(empty_home)
    found = examine()
    assert listing(empty_home) == before
    assert found["prepared"] == [
        {"path": str(path), "dataset": "sample", "protocol": "strict", "bytes": path.stat().st_size, "problem": ""}
    ]
    reclaimable = {row["command"]: row["bytes"] for row in found["reclaimable"]}
    assert reclaimable == {
        "csp-data clean broad": 55,
        "csp-data clean vector": 1234,
        "csp-data clean --prepared": path.stat().st_size,
    }
    assert {row["what"] for row in found["reclaimable"]} == {
        "unfinished downloads or imports of broad",
        "unfinished downloads or imports of vector",
        "1 prepared file, to be made again from the raw files",
    }
    assert found["home"]["bytes"] == sum(p.stat().st_size for p in empty_home.rglob("*") if p.is_file())
    for command in reclaimable:  # the commands that it names do what it says
        assert CliRunner().invoke(cli, [*command.split()[1:], "--yes"]).exit_code == 0
    assert examine()["reclaimable"] == []


def test_a_damaged_prepared_file_is_a_problem(empty_home: Path) -> None:
    path = csp_data.prepare("sample")
    path.write_bytes(path.read_bytes()[:1000])
    result = CliRunner().invoke(cli, ["doctor"])
    assert result.exit_code == 1
    assert f"{path} is not usable" in result.stderr
    assert "csp-data clean --prepared" in result.stderr


def test_data_sets_that_are_left_out_are_problems(
    empty_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a disk that is not mounted: it ended before it said anything."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "card.toml").write_text("name = 3")
    monkeypatch.setenv("CSP_DATA_PLUGINS", os.pathsep.join(str(tmp_path / name) for name in ("gone", "mine")))
    code, found, _ = doctor()
    assert code == 1
    gone, mine = found["problems"]
    assert f"{tmp_path / 'gone'}: is named in CSP_DATA_PLUGINS and is no folder" in gone
    assert mine.startswith("mine is left out: ")


def test_a_home_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").write_text("not a folder")
    monkeypatch.setenv("CSP_DATA_HOME", str(tmp_path / "home"))
    result = CliRunner().invoke(cli, ["doctor"])
    assert result.exit_code == 1
    assert "cannot be written to. Set CSP_DATA_HOME" in result.stderr


def test_a_home_that_is_a_link_to_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is not mounted: all was said to be well, and then that a file exists."""
    (tmp_path / "home").symlink_to(tmp_path / "gone")
    monkeypatch.setenv("CSP_DATA_HOME", str(tmp_path / "home"))
    assert CliRunner().invoke(cli, ["doctor"]).exit_code == 1
    for command in (["prepare", "sample"], ["download", "broad"]):
        result = CliRunner().invoke(cli, command)
        assert result.exit_code == 1
        why = f"{tmp_path}/home is a link to {tmp_path}/gone, which is not there. Set CSP_DATA_HOME"
        assert why in result.stderr.splitlines()[-1]
        assert "Errno" not in result.stderr


def test_without_torch(empty_home: Path, tmp_path: Path) -> None:
    """The section about training says why it is not there; all else is as it was."""
    pytest.importorskip("einops")  # without it, another package is said to be missing
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('no torch here')")
    plugin(tmp_path, "from baselines.doctor import diagnose")
    code, found, _ = doctor(tmp_path)
    assert code == 0
    assert found["plugins"]["other"] == {"not available": "no torch here"}
    assert found["datasets"]


def test_sections_of_other_packages(empty_home: Path, tmp_path: Path) -> None:
    works = plugin(tmp_path / "works", "def diagnose():\n    return {'lamps': 3}")
    assert doctor(works)[1]["plugins"]["other"] == {"lamps": 3}
    fails = plugin(tmp_path / "fails", "def diagnose():\n    raise RuntimeError('dark')")
    _, found, said = doctor(fails)
    assert found["plugins"]["other"] == {"error": "RuntimeError: dark"}
    assert "Traceback" not in said


def test_the_training_package_has_its_section() -> None:
    """Declared in pyproject.toml, so that csp_data finds it without importing it by name."""
    pytest.importorskip("torch")
    project = Path(__file__).parents[2] / "pyproject.toml"
    declared = tomllib.loads(project.read_text())["project"]["entry-points"][GROUP]
    module, _, function = declared["baselines"].partition(":")
    section = getattr(import_module(module), function)()
    assert section["torch"] == import_module("torch").__version__
    assert section["scan"] in section["scan_packages"]
    assert section["scan_packages"][section["scan"]] == "installed"
    json.dumps(section)


def test_files_of_a_folder_of_ones_own_are_no_problem(empty_home: Path) -> None:
    """Its card is in the file; the folder need not be known by name."""
    csp_data.prepare(str(Path(__file__).parents[2] / "examples" / "eflesh"))
    done = subprocess.run([sys.executable, "-m", "csp_data", "doctor"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "of a folder or plugin that is not registered" in done.stdout


@pytest.mark.parametrize("how", [[], ["--json"]])
def test_no_password_in_an_address_is_shown(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch, how: list[str]
) -> None:
    """What it says is pasted into reports of faults; where such an address is used, it is refused."""
    monkeypatch.setenv("CSP_DATA_MIRROR", "https://ann:se@cret@host/{name}")
    monkeypatch.setenv("CSP_DATA_REROUTE", "https://a/=http://ann:secret@b/ https://c/=http://d/x@y")
    said = CliRunner().invoke(cli, ["doctor", *how]).stdout
    assert "https://...@host/{name}" in said
    assert "https://a/=http://...@b/ https://c/=http://d/x@y" in said
    assert "cret" not in said
