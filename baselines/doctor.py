"""The section of ``csp-data doctor`` about training: torch, its device, and the backends of the scan."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch

from baselines.scan import BACKENDS, resolve_backend

__all__ = ["diagnose"]


def diagnose() -> dict[str, Any]:
    """Return versions and devices as plain values; the entry point ``csp_data.doctor`` names this function."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "torch": torch.__version__,
        "device": gpus[0] if gpus else "cpu",
        "gpus": gpus,
        "threads": torch.get_num_threads(),
        "scan": resolve_backend("auto", "cuda" if gpus else "cpu"),
        "scan_packages": {
            name: "installed" if importlib.util.find_spec(package) else f"missing {package}"
            for name, package in BACKENDS.items()
        },
    }
