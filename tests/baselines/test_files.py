"""Files that are whole or not there: what is in their place already."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import baselines
from baselines.cli import main
from baselines.errors import CspDataError
from baselines.files import atomic_bytes
from baselines.results import write_study
from baselines.runs.run import Run
from csp_data import Dataset


def test_a_link_stays_and_its_file_is_written(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "link"
    link.symlink_to("elsewhere/file")
    for content in (b"first", b"second"):
        atomic_bytes(link, content)
        assert link.is_symlink()
        assert (tmp_path / "elsewhere" / "file").read_bytes() == content
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["file"]


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    """Of root, a report to /dev/null took away everybody's: here a pipe stands for it."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "null").symlink_to(os.devnull)
    for name in ("pipe", "folder", "null"):
        with pytest.raises(OSError, match="no file") as caught:
            atomic_bytes(tmp_path / name, b"x")
        assert caught.value.filename == str(tmp_path / name)
    assert (tmp_path / "pipe").is_fifo()
    assert Path(os.devnull).is_char_device()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "null", "pipe"]


def test_a_tilde_stands_for_the_home_of_the_user(
    sample: Dataset,
    runs: dict[str, Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A folder of that name was made: shells leave it as it is in ``--out=~/x``, and Python does everywhere."""
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    made, _ = baselines.run(sample, "mean", baselines.TrainConfig(), "~/made")
    main(["train", "sample", "mean", "--seed=1", "--out=~/typed"])
    assert {path.name for path in (tmp_path / "user").iterdir()} == {"made", "typed"}
    assert baselines.read_run("~/made").config.key == made.config.key
    assert baselines.Predictor.of("~/made").model is not None
    assert [row.seed for row in baselines.load_results("~/typed")] == [1]
    capsys.readouterr()
    main(["table", "--format=json", "~/made", "~/typed"])
    assert [row["model"] for row in json.loads(capsys.readouterr().out)["rows"]] == ["mean"]
    write_study("~/study.csv", baselines.load_results("~/made"))
    assert [row.model for row in baselines.load_results("~/study.csv")] == ["mean"]
    stream = baselines.Streamer.of(baselines.load_model(runs["a"]), baselines.Interface.of(sample), "reference")
    baselines.save_state("~/state", stream)
    baselines.load_state("~/state", stream)
    with pytest.raises(CspDataError, match=str(tmp_path / "user" / "sweep")):
        baselines.read_sweep("~/sweep")
    assert not list((tmp_path / "work").iterdir())
