"""What a process that compiles the loops computes, a process that finds them compiled computes as well."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import baselines

pytest.importorskip("numba", reason="loops are compiled by numba")

STEP = """
import hashlib, sys, torch, baselines
torch.set_num_threads(1)
digest = hashlib.sha256()
for name in sys.argv[1:]:
    torch.manual_seed(0)
    model = baselines.build(name, in_dim=6, out_dim=3, preset="small")
    x = torch.randn(4, 200, 6)
    loss = model(x).square().mean()
    loss.backward()
    for value in (loss, *(p.grad for p in model.parameters() if p.grad is not None)):
        digest.update(value.detach().numpy().tobytes())
print(digest.hexdigest())
"""


def test_compiled_now_or_before_is_the_same_to_the_last_bit(tmp_path: Path) -> None:
    """Numba's cache once gave callers other copies of their helpers than the process that had compiled them."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", STEP, "hiss-s4-mamba", "flat-transformer", "flat-gru"]
    first, again = (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300).stdout
        for _ in range(2)
    )
    assert list(tmp_path.rglob("*.nbc"))
    assert first == again


def unwritable_copy(folder: Path) -> Path:
    """Copy the package to where no compiled code can be kept beside it."""
    shutil.copytree(
        Path(baselines.__file__).parent, folder / "baselines", ignore=shutil.ignore_patterns("__pycache__")
    )
    for place in {path.parent for path in folder.rglob("*.py")}:
        (place / "__pycache__").touch()  # a file, in whose place not even root can make a folder
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="the user's cache folder is elsewhere")
@pytest.mark.parametrize("lacking", ["home", "room"])
def test_loops_are_not_kept_where_that_fails_later(lacking: str, tmp_path: Path) -> None:
    """A user without a home got a folder named ~ in every working folder; a full disk ended the training."""
    place = unwritable_copy(tmp_path / "package")
    work = tmp_path / "work"
    work.mkdir()
    environment = {"PYTHONPATH": f"{place}{os.pathsep}{Path(baselines.__file__).parents[1]}", "HOME": "~"}
    libc = ctypes.CDLL(None, use_errno=True)
    if lacking == "room":
        if libc.mount(b"tmpfs", str(work).encode(), b"tmpfs", 0, b"size=64k") != 0:
            pytest.skip("cannot mount a small disk here")
        environment["NUMBA_CACHE_DIR"] = str(work / "cache")
    program = "from baselines.cpu.flags import KEPT; print(KEPT)"
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, env=environment, cwd=work, capture_output=True, text=True, check=True)
    left = [path.name for path in work.iterdir()]
    if lacking == "room":
        libc.umount2(str(work).encode(), 2)
    assert done.stdout == "False\n"
    assert {"home": "this user has no home folder", "room": f"too little room in {work}"}[lacking] in done.stderr
    assert "~" not in left


@pytest.mark.skipif(sys.platform != "linux", reason="the user's cache folder is elsewhere")
def test_loops_that_cannot_be_kept_are_compiled_all_the_same(tmp_path: Path) -> None:
    """Where package and home may only be read, numba refused to compile anything, whichever module of loops."""
    source = Path(baselines.__file__).parent
    with_loops = [path for path in source.rglob("*.py") if "@njit(" in path.read_text()]
    modules = [".".join(path.relative_to(source.parent).with_suffix("").parts) for path in with_loops]
    assert "baselines.scan.cpu" in modules
    program = "".join(f"import {module}\n" for module in modules) + STEP
    unwritable_copy(tmp_path)
    (tmp_path / "cache").touch()
    kept = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    kept |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(source.parent)}
    refused = {
        **kept,
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{source.parent}",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    normal, other = (
        subprocess.run(
            [sys.executable, "-P", "-c", program, "flat-lru"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        for environment in (kept, refused)
    )
    assert "NUMBA_CACHE_DIR" not in normal.stderr
    assert other.stderr.count("Set NUMBA_CACHE_DIR to a folder you own") == 1
    assert normal.stdout == other.stdout
