"""Say which extra is missing before an import of it fails with a less helpful message."""

import sys
from importlib.util import find_spec
from pathlib import Path

from csp_data.errors import MissingExtraError

for needed in ("torch", "einops", "numba", "safetensors", "tyro"):
    if find_spec(needed) is None:
        missing = MissingExtraError("baselines", needed, "baselines")
        if Path(sys.argv[0]).stem == "csp-baselines":  # a program's user gets a line, not the stack of an import
            sys.exit(f"Error: {missing}")
        raise missing
