"""Record where a run was made: versions, machine, and the commit of the code."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import torch

import csp_data

__all__ = ["code_version", "commit", "describe_environment"]

_OUTSIDE_NUMBERS = ("baselines.errors", "baselines.files", "baselines.runs", "baselines.training.ledger")
"""Modules that a run imports but whose code is in none of its numbers."""


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Return versions and machine as JSON values."""
    return {
        "csp_data": csp_data.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "cpu": _processor(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "commit": commit(Path(__file__).parent),
    }


def _processor() -> str | None:
    """Return the name of the processor, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or None


@lru_cache(maxsize=1)
def code_version() -> str:
    """Return 12 hexadecimal digits that name the code which computes a run's numbers.

    They are a digest of the modules that :mod:`baselines.experiment` imports from this package, directly or
    through others, without comments, docstrings and layout: what only shows results is not in it. What prepared
    the data is in the recipe's hash.
    """
    package = Path(__file__).parents[1]
    sources: dict[str, str] = {}
    pending = ["baselines.experiment"]
    while pending:
        name = pending.pop()
        if name in sources or any(f"{name}.".startswith(f"{part}.") for part in _OUTSIDE_NUMBERS):
            continue
        path = package.joinpath(*name.split(".")[1:])
        tree = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text("utf-8"))
        pending += _imported_modules(tree, package)
        sources[name] = ast.unparse(_without_docstrings(tree))
    text = "\0".join(f"{name}\0{sources[name]}" for name in sorted(sources))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _imported_modules(tree: ast.Module, package: Path) -> Iterator[str]:
    """Yield the modules of this package that a module imports, at its top or later."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            first, *rest = name.split(".")
            path = package.joinpath(*rest)
            if first == "baselines" and rest and (path.with_suffix(".py").is_file() or path.is_dir()):
                yield name


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstrings = [
                statement
                for statement in node.body
                if isinstance(statement, ast.Expr)
                and isinstance(statement.value, ast.Constant)
                and isinstance(statement.value.value, str)
            ]
            node.body = [statement for statement in node.body if statement not in docstrings] or [ast.Pass()]
    return tree


def commit(folder: Path) -> str | None:
    """Return the git commit of the checkout that holds this code, with ``+dirty`` if tracked files were changed.

    Of an installed package (which may happen to lie in someone else's repository) the commit that pip installed it
    from, or ``v`` and the version of a release. ``None`` where neither is known.
    """
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return _installed(folder)
    head = _git(folder, "rev-parse", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return head and head + ("+dirty" if changed else "")


def _installed(folder: Path) -> str | None:
    """Return what pip notes of where an installed package is from (PEP 610: nothing, if from an index)."""
    try:
        installed = distribution("csp-data")
        origin = json.loads(installed.read_text("direct_url.json") or "null")
        if not folder.resolve().is_relative_to(Path(str(installed.locate_file(""))).resolve()):
            return None  # another copy is imported
        return f"v{installed.version}" if origin is None else origin.get("vcs_info", {}).get("commit_id")
    except (PackageNotFoundError, OSError, ValueError, AttributeError):
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        # without the lock that `status` takes to refresh the index: killed with a run, it would leave it behind
        command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
        completed = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return completed.stdout.strip() if completed.returncode == 0 else None
