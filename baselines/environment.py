"""Where a run ran: versions, machine, and the commit of the code."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch

import csp_data

__all__ = ["commit", "describe"]


def describe(device: torch.device) -> dict[str, Any]:
    """Return versions and machine as JSON values."""
    return {
        "csp_data": csp_data.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "commit": commit(Path(__file__).parent),
    }


def commit(folder: Path) -> str | None:
    """Return the git commit of the checkout that holds this code, with ``+dirty`` if tracked files were changed.

    ``None`` where there is no git, or the code is no part of a checkout (an installed package that happens to lie
    in someone else's repository, say).
    """
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    head = _git(folder, "rev-parse", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return head and head + ("+dirty" if changed else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
