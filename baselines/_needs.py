"""Say which extra is missing before an import of it fails with a less helpful message."""

from importlib.util import find_spec

from csp_data.errors import MissingExtraError

for needed in ("torch", "einops", "numba", "safetensors", "tyro"):
    if find_spec(needed) is None:
        raise MissingExtraError("baselines", needed, "baselines")
