"""Files that are either whole or not there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["atomic_bytes", "atomic_json"]


def atomic_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside its own, and rename it when its bytes are on the disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)  # a full disk names none
        raise
    finally:
        temporary.unlink(missing_ok=True)


def atomic_json(path: Path, values: Any) -> None:
    """Write values as readable JSON with :func:`atomic_bytes`; NaN is refused, as JSON has none."""
    atomic_bytes(path, (json.dumps(values, indent=2, allow_nan=False) + "\n").encode())
