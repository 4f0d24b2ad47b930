"""Write files that are either whole or not there."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

from csp_data.output import temporary_beside

__all__ = ["atomic_bytes", "atomic_json"]


def atomic_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside its own, and rename it when its bytes are on the disk.

    A link stays, and the file that it leads to is written. In place of a device or a folder nothing is written:
    that is an OSError.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "there is something that is no file", str(path))
    path = path.resolve() if path.is_symlink() else path
    temporary = temporary_beside(path)
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
