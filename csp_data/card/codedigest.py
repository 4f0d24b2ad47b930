"""A digest of what a function does, so that what was computed by an earlier version of it can be told."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import joblib

__all__ = ["digest_of"]


def digest_of(*functions: Any) -> str:
    """Return a digest of functions: of their files, their code, and all that it uses beside its arguments.

    That is what they take from around them, as a script or notebook may change it between two calls: variables,
    defaults, helpers and classes of the same module, the arguments of ``functools.partial``, the object of a
    method. Of other modules only the names count.
    """
    seen: set[int] = set()
    return hashlib.sha256(
        b"\0".join(part for function in functions for part in _parts(function, seen))
    ).hexdigest()


def _parts(value: Any, seen: set[int], module: dict[str, Any] | None = None) -> Iterator[bytes]:
    """Yield the parts of a function or value; `module` holds the names of the one whose function uses it."""
    if isinstance(value, FunctionType):
        if module is not None and value.__globals__ is not module:
            yield f"{value.__module__}.{value.__qualname__}".encode()
        elif id(value) not in seen:
            seen.add(id(value))
            yield from _of_function(value, seen)
    elif isinstance(value, MethodType):
        yield from _parts(value.__func__, seen)
        yield from _parts(value.__self__, seen, getattr(value.__func__, "__globals__", None))
    elif isinstance(value, functools.partial):
        for part in (value.func, *value.args, *(item for pair in sorted(value.keywords.items()) for item in pair)):
            yield from _parts(part, seen)
    elif isinstance(value, ModuleType):
        yield value.__name__.encode()
    elif isinstance(value, type):
        yield f"{value.__module__}.{value.__qualname__}".encode()
        if module is not None and value.__module__ == module.get("__name__") and id(value) not in seen:
            seen.add(id(value))
            for name, inner in sorted(vars(value).items()):
                functions = list(_functions_in(inner))
                if functions or not name.startswith("__"):  # others are Python's own, some made as they are needed
                    yield name.encode()
                    for part in functions or [inner]:
                        yield from _parts(part, seen, module)
    else:
        yield from _parts(type(value), seen, module)
        with suppress(Exception):  # what cannot be pickled may raise anything; it is told by its type alone
            yield str(joblib.hash(value)).encode()


def _functions_in(attribute: Any) -> Iterator[Any]:
    """Yield what an attribute of a class runs: a method of any kind, or the parts of a property."""
    candidates = (attribute, *(getattr(attribute, name, None) for name in ("__func__", "fget", "fset", "func")))
    return (candidate for candidate in candidates if isinstance(candidate, FunctionType))


def _of_function(function: FunctionType, seen: set[int]) -> Iterator[bytes]:
    file = inspect.getsourcefile(function)
    if file is not None and Path(file).is_file():
        yield hashlib.sha256(Path(file).read_bytes()).digest()
    yield _code_bytes(function.__code__)
    cells = [cell for cell in function.__closure__ or () if _is_filled(cell)]
    used = [function.__globals__[name] for name in sorted(_names(function.__code__) & function.__globals__.keys())]
    for value in (*(cell.cell_contents for cell in cells), *used):
        yield from _parts(value, seen, function.__globals__)
    for value in (function.__defaults__, function.__kwdefaults__):
        yield from _parts(value, seen)


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # of a name that has no value yet
        return False


def _names(code: CodeType) -> set[str]:
    """Return the names that code and the functions in it look up outside of them."""
    inner = (_names(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*inner)


def _code_bytes(code: CodeType) -> bytes:
    """Return what a function does, without the addresses that ``repr`` of nested code would show."""
    return b"\0".join([code.co_code, repr(code.co_names).encode(), *map(_constant, code.co_consts)])


def _constant(constant: object) -> bytes:
    if isinstance(constant, CodeType):
        return _code_bytes(constant)
    # the order of a set of texts is another in each process
    return repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant).encode()
