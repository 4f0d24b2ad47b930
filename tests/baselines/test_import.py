"""What ``import baselines`` gives, and what the command line settles before torch is loaded."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import baselines


def test_every_name_is_there() -> None:
    for name in baselines.__all__:
        assert getattr(baselines, name).__class__ is not type(sys)
    listed = {name for name in dir(baselines) if not name.startswith("_")}
    assert set(baselines.__all__) <= listed
    assert not listed & {"Any", "TYPE_CHECKING", "baselines", "cache", "import_module"}  # what completion offers
    with pytest.raises(AttributeError, match="has no attribute 'buidl'"):
        baselines.buidl  # noqa: B018


def test_type_checkers_see_the_same_names_and_no_others() -> None:
    body = ast.parse(Path(baselines.__file__).read_text(encoding="utf-8")).body
    for_checkers = next(
        part for part in body if isinstance(part, ast.If) and ast.unparse(part.test) == "TYPE_CHECKING"
    )
    seen: dict[str, object] = {}
    exec(compile(ast.Module(for_checkers.body, []), "checked", "exec"), seen)
    del seen["__builtins__"]
    assert sorted(seen) == [name for name in dir(baselines) if not name.startswith("_")]
    assert all(getattr(baselines, name) is seen[name] for name in seen)
    assert not any(isinstance(part, ast.FunctionDef) and part.name == "__getattr__" for part in body)


def test_the_command_line_lets_threads_sleep_before_torch_is_loaded() -> None:
    code = (
        "import os, sys, baselines; first = 'torch' in sys.modules, os.environ.get('GOMP_SPINCOUNT')\n"
        "import baselines.cli; print(*first, os.environ['GOMP_SPINCOUNT'])\n"
        "os.environ['GOMP_SPINCOUNT'] = '7'; import baselines.cli"
    )
    environment = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == ["False", "None", "10000"]


def test_modules_are_there_without_an_import_of_their_own() -> None:
    files = Path(baselines.__file__).parent.glob("[a-z]*")
    names = {one.stem for one in files if one.suffix == ".py" or (one / "__init__.py").is_file()}
    code = (
        "import sys, types, baselines\n"
        "listed, early = set(dir(baselines)), [name for name in sys.modules if name.startswith('baselines.')]\n"
        f"for name in {sorted(names)}:\n"
        "    found = getattr(baselines, name)\n"
        "    assert name in listed and found is sys.modules[f'baselines.{name}'], name\n"
        "assert early == ['baselines._needs'] and '__main__' not in listed, early\n"
        "assert isinstance(baselines.sweep, types.FunctionType) and baselines.presets.PRESETS\n"
        "for name in ('__main__', 'nothing', '', 'layers.s4'):\n"
        "    try: getattr(baselines, name)\n"
        "    except AttributeError as error: assert repr(name) in str(error)\n"
        "    else: raise AssertionError(name)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
    assert not names & set(baselines.__all__)  # otherwise what one gets would depend on what was imported before
