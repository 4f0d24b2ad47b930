"""A reader that was registered from Python does something else: what it prepared before is not taken again."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import csp_data
from csp_data.card import registry as cards
from csp_data.card.codedigest import digest_of

EXAMPLE = Path(__file__).parents[3] / "examples" / "eflesh"


def scaled(factor: float) -> Any:
    return lambda edges: edges["force"][1:] * factor


def times(edges: Any, factor: float, offset: float = 0.0) -> Any:
    return edges["force"][1:] * factor + offset


class Reader:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def target(self, edges: Any) -> Any:
        return edges["force"][1:] * self.factor

    def __call__(self, edges: Any) -> Any:
        return self.target(edges)


WAYS = {
    "a variable around it": scaled,
    "an argument of partial": lambda factor: partial(times, factor=factor),
    "a positional one": lambda factor: partial(lambda factor, edges: times(edges, factor), factor),
    "an object's method": lambda factor: Reader(factor).target,
    "an object": Reader,
    "a default": lambda factor: eval(f"lambda edges, by={factor}: edges['force'][1:] * by"),
    "other code of the same file": lambda factor: {
        1.0: lambda edges: edges["force"][1:],
        2.0: lambda edges: edges["force"][1:] * 2.0,
    }[factor],
}


@pytest.mark.parametrize("way", WAYS)
def test_what_a_function_uses_is_part_of_what_it_does(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that registered the same reader with another factor got the numbers of the first one."""
    monkeypatch.setattr(cards, "_added", {})
    source = csp_data.info(EXAMPLE).reader()  # type: ignore[misc]
    made = []
    for factor in (1.0, 2.0, 1.0):
        again = csp_data.Source(source.find, source.read, source.layout, {"force": WAYS[way](factor)})
        csp_data.register(EXAMPLE / "card.toml", again)
        made.append(csp_data.load("eflesh", raw=EXAMPLE / "recordings"))
    np.testing.assert_allclose(made[1].train[0].targets, 2.0 * made[0].train[0].targets)
    assert made[2].path == made[0].path


def in_notebook(*cells: str) -> str:
    """Run cells, which are in no file, and digest the function ``read``."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells:
        exec(compile(cell, "<cell>", "exec"), names)
    return digest_of(names["read"])


def test_helpers_and_variables_of_a_notebook_count() -> None:
    read = "def read(x):\n    return [helper(y) for y in x]"
    helper = "def helper(y):\n    return y * SCALE"
    first = in_notebook("SCALE = 2", helper, read)
    assert in_notebook("SCALE = 2", helper, "other = 3", read) == first
    assert in_notebook("SCALE = 3", helper, read) != first
    assert in_notebook("SCALE = 2", helper.replace("*", "+"), read) != first


def test_classes_of_a_notebook_count() -> None:
    parser = "class Parser:\n    def parse(self, x):\n        return self.word(x)\n"
    parser += "    @property\n    def p(self):\n        return 1\n"
    word = "    @staticmethod\n    def word(x):\n        return x + 1\n    SCALE = 3\n"
    for use in (
        "def read(x):\n    return Parser().parse(x)",
        "read = Parser().parse",
        "P = Parser()\ndef read(x):\n    return P.p",
    ):
        first = in_notebook(parser + word, use)
        assert in_notebook(parser + word, use) == first
        assert in_notebook(parser + word.replace("+", "-"), use) != first
        assert in_notebook(parser + word.replace("SCALE = 3", "SCALE = 4"), use) != first
        assert in_notebook(parser.replace("return 1", "return 2") + word, use) != first


def test_functions_of_other_modules_count_by_name() -> None:
    first = in_notebook("import numpy as np\nfrom numpy import diff as d\ndef read(x):\n    return np.sqrt(d(x))")
    assert (
        in_notebook("import numpy as np\nfrom numpy import diff as d\ndef read(x):\n    return np.sqrt(d(x))")
        == first
    )
    assert (
        in_notebook("import numpy as np\nfrom numpy import sum as d\ndef read(x):\n    return np.sqrt(d(x))")
        != first
    )


def test_modules_count_by_name() -> None:
    read = "def read(x):\n    return m.sqrt(x)"
    assert in_notebook("import math as m", read) != in_notebook("import cmath as m", read)


def test_functions_that_call_themselves_and_what_cannot_be_pickled() -> None:
    assert in_notebook("def read(x):\n    return read(x - 1)")
    assert in_notebook(
        "import threading\nLOCK = threading.Lock()\ndef read(x):\n    return LOCK, later\nlater = read"
    )
    assert in_notebook(
        "def make():\n    def read(x):\n        return empty\n    return read\n    empty = 1\nread = make()"
    )


def test_it_is_the_same_in_every_process() -> None:
    code = "def read(x):\n    return x in {'a', 'b', 'c', 'd', 'e'} and TABLE, ONE, TWO\n"
    code += "TABLE, ONE, TWO = {'y': {'b', 'c'}, 'x': 1}, 1, 2"
    program = f"from csp_data.card.codedigest import digest_of\nexec({code!r})\nprint(digest_of(read))"
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1
