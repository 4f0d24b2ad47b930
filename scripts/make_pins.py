"""Write tests/data/protocols: what the protocols give for the small trees of tests/csp_data/trees.py.

Run it only after a change of numbers that is meant, with the comparison against the published outputs passing.
"""

from __future__ import annotations

import os
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import numpy as np

import csp_data

TESTS = Path(__file__).parent.parent / "tests" / "csp_data"


def main() -> None:
    """Write one file a data set and protocol."""
    sys.path += [str(TESTS), str(TESTS / "prepare")]
    trees, tests = import_module("trees"), import_module("test_protocols")
    tests.PINS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CSP_DATA_HOME"] = f"{folder}/home"
        for name in tests.SIX:
            root = trees.write(name, Path(folder) / name, rough=True)
            for protocol in ("paper", "strict"):
                dataset = csp_data.load(name, raw=root, protocol=protocol)
                np.savez_compressed(tests.PINS / f"{name}_{protocol}.npz", **tests.pinned(dataset))
                print(name, protocol, dataset)


if __name__ == "__main__":
    main()
