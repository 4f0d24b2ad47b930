"""A file of one's own as it was run, with the modules that it imports from its own folder.

Those are loaded as they lie there, whatever this process loaded under the same names before, and compiled from
what was read, not from a cache. So a model has the same code in every process, and its run can keep all of it.
"""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    PathFinder,
    SourceFileLoader,
)
from importlib.metadata import packages_distributions
from pathlib import Path
from types import CodeType, ModuleType

from baselines.models.own_file import digest_of, error_of_own, prints_apart

__all__ = ["Imports", "Program", "program_of"]

FOLDERS: set[str] = set()
"""Folders of models' files that were put into ``sys.path``."""

PROGRAMS: dict[tuple[Path, bytes, Path], Program] = {}
"""What was run, by its file, the file's code and its folder."""

SOURCES: dict[str, bytes] = {}
"""What modules in folders of models were compiled from, by their paths."""

INSTALLED = ("site-packages", "dist-packages")
"""Folders of packages that are installed: they may lie below a model's folder and are not of it."""

STDLIB = Path(sysconfig.get_path("stdlib"))
"""Folder of Python's own modules, which may also lie there."""

KEPT = ("__main__", "__mp_main__", "baselines", "csp_data")
"""Modules that no model's file stands in for."""


class Imports:
    """Modules that a model imported from its folder: found by their names while it is at work, and no longer.

    Parameters
    ----------
    folder
        The folder.
    modules
        By their names.
    """

    def __init__(self, folder: Path, modules: dict[str, ModuleType]) -> None:
        self.folder, self.modules = folder, modules

    def use(self) -> None:
        """Let what a function imports now be this model's."""
        if _at_work[-1] is self:
            return
        _at_work[-1].leave()
        _at_work[-1] = self
        for name, module in self.modules.items():
            sys.modules.setdefault(name, module)
        _search(self.folder)

    def leave(self) -> None:
        """Take the modules away from where Python finds them."""
        for name, module in self.modules.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]

    def __deepcopy__(self, memo: object) -> Imports:
        return self


_at_work = [Imports(Path("/"), {})]
"""Of the model that was at work last."""


class Program:
    """A file's code, run once, and what it imported from its folder.

    Parameters
    ----------
    file
        Where the file lies.
    code
        What it holds.
    folder
        Whose modules it may import.
    names
        Modules that are known to be the folder's, whatever is installed.

    Attributes
    ----------
    imported
        Files of modules that were imported from the folder, by their paths from there: by the file when it was
        run, and within the latest :meth:`importing`.
    imports
        The modules of these files.
    """

    def __init__(self, file: Path, code: bytes, folder: Path, names: Set[str] = frozenset()) -> None:
        self.file, self.code, self.folder = file, code, folder.resolve()  # as Python has it in sys.path
        self.names = names
        self.imports = Imports(self.folder, {})
        self.imported: dict[str, bytes] = {}
        self._module: ModuleType | None = None
        self._modules: dict[str, ModuleType] = {}
        self._files: dict[str, bytes] = {}

    @property
    def files(self) -> dict[str, bytes]:
        """The file and those that it imported, by their paths from the folder."""
        return {self.file.name: self.code, **self.imported}

    @property
    def is_current(self) -> bool:
        """Whether what it imported when it was run still lies there as it was."""
        files = {self.folder / path: code for path, code in self._files.items()}
        return all(file.is_file() and file.read_bytes() == code for file, code in files.items())

    @contextmanager
    def importing(self) -> Iterator[None]:
        """Let it import from its folder before all that is neither of Python nor installed.

        Modules of other models, and those of the caller with the names of files in the folder, are out of the way
        meanwhile, and so are those that its functions imported when it was made before: each model's are seen.
        """
        _at_work[-1].leave()
        finder = _FolderFinder(self.folder, self.names)
        hidden = {name for name in {name.partition(".")[0] for name in sys.modules} if finder.find_spec(name)}
        callers = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in hidden}
        for name in callers:
            del sys.modules[name]
        before = {*sys.modules}
        sys.modules.update(self._modules)
        _search(self.folder)
        sys.meta_path.insert(0, finder)
        try:
            yield
        finally:
            sys.meta_path.remove(finder)
            self.imports = _at_work[-1] = Imports(self.folder, self._loaded_since(before))
            self.imported = {**self._files_of(self.imports.modules), **self._files}
            sys.modules.update(callers)

    def run(self) -> ModuleType:
        """Run the file, unless it was run before; within :meth:`importing`."""
        if self._module is not None:
            return self._module
        name = f"_csp_baselines_model_{digest_of(self.code)}"
        spec = importlib.util.spec_from_file_location(name, self.file)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        before = {*sys.modules}
        sys.modules[name] = module  # dataclasses look their module up
        try:
            with prints_apart():
                exec(compile(self.code, str(self.file), "exec"), vars(module))
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            raise error_of_own(self.file.name, "running the file", error, str(self.file)) from error
        self._module, self._modules = module, self._loaded_since(before)
        self._files = self._files_of(self._modules)
        PROGRAMS[self.file, self.code, self.folder] = self
        return module

    def _loaded_since(self, before: Set[str]) -> dict[str, ModuleType]:
        """Return the modules in the folder and below that are loaded, but for those of some names."""
        added = [(name, module) for name, module in sys.modules.items() if name not in before]
        return {name: module for name, module in added if _lies_in(self.folder, name, module)}

    def _files_of(self, modules: Mapping[str, ModuleType]) -> dict[str, bytes]:
        files = {Path(file) for module in modules.values() if (file := vars(module).get("__file__")) is not None}
        return {
            file.relative_to(self.folder).as_posix(): SOURCES.get(str(file)) or file.read_bytes()
            for file in sorted(files - {self.folder / self.file.name})
        }


def program_of(file: Path, code: bytes, folder: Path, names: Set[str] = frozenset()) -> Program:
    """Return a file's code to be run, or as it was run before, if what it imported has not changed since."""
    known = PROGRAMS.get((file, code, folder.resolve()))
    return known if known is not None and known.is_current else Program(file, code, folder, names)


def _search(folder: Path) -> None:
    """Put a folder behind all others in which modules are looked for, and let what lies there be read anew."""
    if _finder_of not in sys.path_hooks:
        sys.path_hooks.insert(0, _finder_of)
    if str(folder) not in {*sys.path} - FOLDERS:
        FOLDERS.add(str(folder))
        # they stay, for what is imported when a function is called
        sys.path[:] = [path for path in sys.path if path not in FOLDERS]
        sys.path += [str(folder), *sorted(FOLDERS - {str(folder)})]
    READ_ANEW.add(folder)
    for path in [*sys.path_importer_cache]:
        if _is_below(folder, Path(path)):
            del sys.path_importer_cache[path]


READ_ANEW: set[Path] = set()
"""Folders of models: modules in them and below are compiled from their sources."""


class _SourceLoader(SourceFileLoader):
    """Compiles what it reads, and keeps it: a cache tells a file that changed within a second from none."""

    def get_code(self, fullname: str) -> CodeType:
        source = SOURCES[self.path] = self.get_data(self.path)
        return self.source_to_code(source, self.path)


def _finder_in(folder: str) -> FileFinder:
    return FileFinder(folder, (ExtensionFileLoader, EXTENSION_SUFFIXES), (_SourceLoader, SOURCE_SUFFIXES))


def _finder_of(path: str) -> FileFinder:
    """Find modules in a folder of a model, or below one (a hook of ``sys.path_hooks``)."""
    with suppress(OSError):  # where it may not be looked into
        if Path(path).is_dir() and any(_is_below(folder, Path(path)) for folder in READ_ANEW):
            return _finder_in(path)
    raise ImportError(path)


class _FolderFinder(MetaPathFinder):
    """Finds the modules of a folder, as Python does those beside a script, but hides nothing that is installed."""

    def __init__(self, folder: Path, names: Set[str]) -> None:
        self._finder, self._names = _finder_in(str(folder)), names

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if path is not None or fullname in KEPT or fullname in sys.stdlib_module_names:
            return None
        spec = self._finder.find_spec(fullname)
        if spec is None or fullname in self._names:
            return spec
        if spec.loader is None:  # any folder; a package that is one goes before it, wherever it lies
            other = PathFinder.find_spec(fullname)
            if other is not None and other.loader is not None:
                return None
        return None if _is_installed(fullname) else spec


def _is_below(folder: Path, path: Path) -> bool:
    """Tell whether a path lies in a folder or below it, but not where Python or what is installed lies."""
    if not path.is_relative_to(folder) or (path.is_relative_to(STDLIB) and not folder.is_relative_to(STDLIB)):
        return False
    return not {*INSTALLED} & {*path.relative_to(folder).parts}


def _lies_in(folder: Path, name: str, module: ModuleType) -> bool:
    """Tell whether a module is found under its name in a folder or in one below it.

    What belongs to an installed package is not of the folder, even if it lies there.
    """
    values = getattr(module, "__dict__", {})  # some modules import others when they are asked for anything
    places = [values.get("__file__"), *values.get("__path__", ())]  # a package without __init__ has no file
    found = next((place for place in places if isinstance(place, str)), "")
    if not found.startswith(str(folder)) or not _is_below(folder, place := Path(found)):
        return False
    place = place.parent if place.name == "__init__.py" else place.with_name(place.name.partition(".")[0])
    parts = tuple(name.split("."))
    return place.relative_to(folder).parts[-len(parts) :] == parts and not _is_installed(parts[0])


@cache
def _is_installed(name: str) -> bool:
    return name in KEPT or name in packages_distributions()
