"""The benchmark runs and reports; what it measures is for a person to judge."""

import json
import shutil

import pytest
from click.testing import CliRunner

from csp_data.cli import cli


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("sha256sum")), reason="needs curl and sha256sum")
def test_bench_transfer_reports_times_ratios_and_memory(empty_home):
    result = CliRunner().invoke(cli, ["bench", "transfer", "--size", "0.02", "--repeat", "1", "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert rows["size_bytes"] == 20_000_000
    assert rows["download_ratio"] == pytest.approx(rows["download_s"] / rows["curl_and_sha256sum_s"])
    assert rows["deep_speed_ratio"] == pytest.approx(rows["sha256sum_s"] / rows["deep_digest_s"])
    if "openssl_s" in rows:
        assert rows["deep_speed_ratio_to_openssl"] == pytest.approx(rows["openssl_s"] / rows["deep_digest_s"])
    assert 0 < rows["download_peak_memory_bytes"] < 100e6


def test_bench_without_its_tools_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    result = CliRunner().invoke(cli, ["bench", "transfer"])
    assert result.exit_code == 1
    assert "curl: not found" in result.stderr
