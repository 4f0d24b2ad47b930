from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

from baselines.layers import LAYERS

SCRIPT = Path(__file__).with_name("other_device.py")
# torch has a GRU for CPUs and one fused for devices; the latter has no rule for tensors without contents
THERE = tuple(kind for kind in LAYERS if kind != "gru")


@pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch cannot register a device from Python",
)
def test_models_train_and_stream_on_a_device_and_a_step_takes_nothing_from_the_host() -> None:
    levels = ["hiss-s4-mamba-lstm last", "hiss-s4d-mamba2 linear", "hiss-lru-tcn attention"]
    names = [*(f"flat-{kind} last" for kind in THERE), *levels]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *names], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    failures = json.loads(done.stdout.splitlines()[-1])
    assert len(failures) == 2 * len(names)
    assert {name: why for name, why in failures.items() if why is not None} == {}
