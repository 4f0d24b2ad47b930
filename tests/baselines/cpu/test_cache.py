"""What a process that compiles the loops computes, a process that finds them compiled computes as well."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba", reason="loops are compiled by numba")

STEP = """
import hashlib, torch, baselines
torch.set_num_threads(1)
digest = hashlib.sha256()
for name in ("hiss-s4-mamba", "flat-transformer", "flat-gru"):
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
    command = [sys.executable, "-c", STEP]
    first, again = (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300).stdout
        for _ in range(2)
    )
    assert list(tmp_path.rglob("*.nbc"))
    assert first == again
