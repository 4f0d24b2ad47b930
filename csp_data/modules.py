"""Modules of a package that are imported when they are first used, as some need what not everybody installs."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["modules_when_used"]


def modules_when_used(package: str) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package of that ``__name__`` whose modules need no import of their own."""

    def get(name: str) -> Any:
        from pkgutil import iter_modules  # not with the package: few ask for a module this way

        path = import_module(package).__path__
        if not name.startswith("_") and any(module.name == name for module in iter_modules(path)):
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get
