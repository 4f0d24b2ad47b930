"""Write tests/data/protocols: what the protocols give for the small trees of tests/csp_data/trees.py.

Run it only after a change of numbers that is meant, with the comparison against the published outputs passing.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np

import csp_data

TESTS = Path(__file__).parent.parent / "tests"


def load(file: str) -> ModuleType:
    """Import a module of the tests by its file."""
    spec = importlib.util.spec_from_file_location(Path(file).stem, TESTS / "csp_data" / file)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(TESTS / "csp_data" / file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Write one file a data set and protocol."""
    trees, tests = load("trees.py"), load("test_protocols.py")
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
