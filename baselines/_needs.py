"""Says which extra is missing, before the first import of it fails with less of a hint."""

from importlib.util import find_spec

from csp_data.errors import MissingExtraError

for needed in ("torch", "einops", "numba", "safetensors", "tyro"):
    if find_spec(needed) is None:
        raise MissingExtraError("baselines", needed, "baselines")
