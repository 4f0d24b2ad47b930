"""Files that are whole or not there: what is in their place already."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from baselines.files import atomic_bytes


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
