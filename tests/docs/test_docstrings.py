"""Every example in a docstring is run, and what it says it prints is compared."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

import baselines
import csp_data

ROOT = Path(__file__).parents[2]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in ("csp_data", "baselines")
    for path in sorted((ROOT / package).rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 0  # or an example stands where doctest does not look
    assert found.failed == 0


def test_there_are_examples() -> None:
    assert {"csp_data.api.datasets", "baselines.models.factory"} <= set(MODULES)


@pytest.mark.parametrize(("package", "page"), [(csp_data, "api.md"), (baselines, "api-baselines.md")])
def test_every_public_name_stands_in_the_reference(package: ModuleType, page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    entries = set(re.findall(r"^   (?:\w+\.)*(\w+)$", text, re.MULTILINE))
    for name in set(package.__all__) - {"__version__"}:
        described = isinstance(getattr(package, name), type | FunctionType)
        assert name in entries if described else re.search(rf"`(?:csp_data\.)?{name}`", text), name


@pytest.mark.parametrize("page", ["api.md", "api-baselines.md"])
def test_names_of_the_reference_need_no_import_of_their_modules(
    page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``import baselines; baselines.training.data.load_part``, as the reference and errors write it, had none."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    checked = set()
    for block in re.split(r"currentmodule:: ", text)[1:]:
        prefix, *entries = re.findall(r"^(?:   )?([\w.]+)$", block, re.MULTILINE)
        for path in (f"{prefix}.{entry}" for entry in entries):
            found = importlib.import_module(path.partition(".")[0])
            for name in path.split(".")[1:]:
                inside = getattr(found, name)
                source = Path(found.__file__).read_text("utf-8") if isinstance(inside, ModuleType) else ""
                if source and f"{found.__name__}.{name} import" not in source:
                    monkeypatch.delitem(vars(found), name, raising=False)  # as before anybody imported it
                    assert getattr(found, name) is inside
                    checked.add(path)
                found = inside
    assert checked


@pytest.mark.parametrize(("package", "page"), [(csp_data, "api.md"), (baselines, "api-baselines.md")])
def test_whatever_a_public_function_must_be_given_stands_in_the_reference(package: ModuleType, page: str) -> None:
    """As where the grid of an ablation comes from, which only its tests knew."""
    entries = set(re.findall(r"^   (?:\w+\.)*(\w+)$", (ROOT / "docs" / page).read_text(), re.MULTILINE))
    needed = {
        kind.__name__
        for function in filter(inspect.isfunction, (getattr(package, name) for name in package.__all__))
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty
        for word in re.findall(r"\w+", str(parameter.annotation))
        if isinstance(kind := function.__globals__.get(word), type)
        and kind.__module__.startswith(package.__name__)
    }
    assert needed
    assert needed <= entries


@pytest.mark.parametrize("package", [csp_data, baselines])
def test_what_help_shows_of_a_function_is_the_same_in_every_process(package: ModuleType) -> None:
    functions = [one for name in package.__all__ if inspect.isfunction(one := getattr(package, name))]
    assert not [one.__name__ for one in functions if " object at 0x" in str(inspect.signature(one))]


def test_errors_that_docstrings_name_can_be_caught() -> None:
    """Those of baselines were defined in a dozen modules, none of which help() or dir() led to."""
    found = {*csp_data.errors.__all__, *baselines.errors.__all__}
    public = [getattr(package, name) for package in (csp_data, baselines) for name in package.__all__]
    classes = [one for one in public if inspect.isclass(one)]
    public += [one for of in classes for name, one in vars(of).items() if not name.startswith("_")]
    named = set()
    for one in public:
        section = re.search(r"^Raises\n-+\n(.*?)(?=\n\n\w[^\n]*\n-+\n|\Z)", inspect.getdoc(one) or "", re.S | re.M)
        lines = re.findall(r"^\w.*$", section[1], re.MULTILINE) if section else []
        named |= {name for line in lines for name in line.split(", ")}
    assert {"RunError", "OptionError"} <= named <= found


@pytest.mark.parametrize("package", [csp_data, baselines])
def test_whatever_takes_a_path_takes_text(package: ModuleType) -> None:
    named = [(name, getattr(package, name)) for name in package.__all__]
    classes = [(name, one) for name, one in named if inspect.isclass(one)]
    functions = [(name, one) for name, one in named if inspect.isfunction(one)]
    functions += [
        (f"{name}.{method}", one)
        for name, of in classes
        for method, one in inspect.getmembers(of, lambda one: inspect.isfunction(one) or inspect.ismethod(one))
        if not method.startswith("_")
    ]
    kinds = {
        f"{name}({parameter.name})": str(parameter.annotation)
        for name, function in functions
        for parameter in inspect.signature(function).parameters.values()
    }
    paths = {where: kind for where, kind in kinds.items() if re.search(r"\bPath\b", kind)}
    assert len(paths) > 10
    assert not {where: kind for where, kind in paths.items() if not re.search(r"\bstr\b", kind)}


def test_modules_that_the_docs_use_without_an_import_of_their_own_are_public() -> None:
    pages = [page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md")]
    used = {
        name
        for page in pages
        for name in re.findall(r"^.*?[ (=]csp_data\.([a-z]+)\.\w+\(.*\)$", page, re.MULTILINE)
    }
    assert "normalization" in used
    assert used <= set(csp_data.__all__)  # else type checkers and editors do not know them
