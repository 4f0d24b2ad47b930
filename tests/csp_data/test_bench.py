"""The benchmark of preparing runs and reports; what it measures is for a person to judge."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import csp_data
from csp_data.bench import _prepare, _read_raw, _reading, _tree_bytes, bench_prepare
from csp_data.cli import cli
from csp_data.errors import CspDataError
from csp_data.simulate import simulate


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trees")


def test_bench_prepare_reports_times_memory_and_the_floor(raw: Path) -> None:
    arguments = [
        "bench",
        "prepare",
        "vector",
        "--hours",
        "0.02",
        "--raw",
        str(raw),
        "--jobs",
        "2",
        "--repeat",
        "1",
    ]
    result = CliRunner().invoke(cli, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)
    assert (row["name"], row["kind"], row["protocol"], row["jobs"]) == ("vector", "simulated", "paper", 2)
    assert (raw / "vector" / "SIMULATED.json").exists()
    files = list((raw / "vector").rglob("*.txt"))
    assert row["raw_bytes"] == sum(path.stat().st_size for path in files)
    assert row["seconds_per_hour"] * row["hours_per_second"] == pytest.approx(1.0)
    assert row["ratio_to_floor"] == pytest.approx(row["prepare_s"] / row["floor_s"])
    assert min(row["prepare_s"], row["floor_s"]) > 0
    # two workers beside the main process, each with numpy and h5py
    assert 60e6 < row["peak_bytes"] < 2e9
    assert min(row["open_ms"], row["load_ms"]) > 0


def test_the_floor_reads_every_byte_of_the_recordings(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x/y"] = np.arange(1000.0)
    (tmp_path / "b.txt").write_text("1 2 3\n")
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert _read_raw(sorted(tmp_path.iterdir())) == size


def test_memory_of_a_process_and_its_children() -> None:
    alone = _tree_bytes(os.getpid())
    if not alone:
        pytest.skip("/proc is needed")
    hold = "x = bytearray(50_000_000); x[::4096] = b'1' * len(x[::4096]); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        both = _tree_bytes(os.getpid())
        assert child.stdin is not None
        child.stdin.write(b"\n")
    assert both - alone > 45e6


def test_what_is_timed_is_the_protocol_that_was_asked_for(tmp_path: Path, empty_home: Path) -> None:
    tree = simulate("vector", tmp_path / "vector", hours=0.01, seed=0)
    work = {"name": "vector", "raw": str(tree), "protocol": "strict", "out": str(tmp_path / "x.h5"), "jobs": 1}
    _prepare(work)
    _reading(work)
    made = [tmp_path / "x.h5", *(empty_home / "prepared").glob("*.h5")]
    assert [csp_data.load(path=path).protocol.name for path in made] == ["strict", "strict"]


def test_a_measurement_that_fails_says_why(tmp_path: Path) -> None:
    tree = simulate("vector", tmp_path / "vector", hours=0.02, seed=0)
    next(tree.rglob("*.gt.txt")).write_text("nonsense\n")
    with pytest.raises(CspDataError, match=r"bench: _prepare of vector failed:[\s\S]*DamagedRecordingError"):
        bench_prepare("vector", tree, jobs=1, repeat=1)


def test_a_protocol_that_is_not_there_is_refused_before_trees_are_made(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        cli, ["bench", "prepare", "vector", "--protocol", "zz", "--raw", str(tmp_path / "raw")]
    )
    assert result.exit_code == 2
    assert "There is no protocol 'zz' of vector. Known: paper, strict." in result.stderr
    assert not (tmp_path / "raw").exists()
