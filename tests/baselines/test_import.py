"""What ``import baselines`` gives, and what the command line settles before torch is loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

import baselines


def test_every_name_is_there() -> None:
    for name in baselines.__all__:
        assert getattr(baselines, name).__class__ is not type(sys)
    assert set(baselines.__all__) <= set(dir(baselines))
    with pytest.raises(AttributeError, match="has no attribute 'buidl'"):
        baselines.buidl  # noqa: B018


def test_the_command_line_lets_threads_sleep_before_torch_is_loaded() -> None:
    code = (
        "import os, sys, baselines; first = 'torch' in sys.modules, os.environ.get('GOMP_SPINCOUNT')\n"
        "import baselines.cli; print(*first, os.environ['GOMP_SPINCOUNT'])\n"
        "os.environ['GOMP_SPINCOUNT'] = '7'; import baselines.cli"
    )
    environment = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == ["False", "None", "10000"]
