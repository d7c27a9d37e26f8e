"""Registries of options classes of one kind (losses, networks, ...), by the names that select them.

A class registers itself when it is defined. An unknown name is searched for in the modules of the registry's package,
so that one new file is enough to add a variant. Modules outside the package are listed in `plugins:` of a
configuration, or in the environment variable PARAGONSR_PLUGINS.
"""

import importlib
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar

from paragonsr.errors import UserError

Entry = TypeVar("Entry")

PLUGINS_VARIABLE = "PARAGONSR_PLUGINS"
"""Environment variable: comma-separated modules that every command imports when a name is unknown."""


class Registry(Generic[Entry]):
    """Entries by case-insensitive name.

    Args:
        package: package whose modules are imported when a name is unknown; "package.module" imports only that module.
    """

    def __init__(self, package: str) -> None:
        self._package = package
        self._entries: dict[str, Entry] = {}
        self._names: dict[str, str] = {}
        self._complete = False

    def add(self, entry: Entry, name: str, aliases: Sequence[str] = ()) -> None:
        """Register an entry.

        Raises:
            TypeError: another entry has this name.
        """
        for spelling in (name, *aliases):
            taken = self._names.get(spelling.lower())
            if taken is not None and _qualified(self._entries[taken]) != _qualified(entry):
                raise TypeError(
                    f"{_qualified(entry)}: the name {spelling!r} is already used by {_qualified(self._entries[taken])}"
                )
            self._names[spelling.lower()] = name
        self._entries[name] = entry

    def find(self, name: str) -> Entry | None:
        """Entry with that name or alias; None if neither the package nor the plugins have one."""
        if name.lower() not in self._names:
            self.complete()
        found = self._names.get(name.lower())
        return None if found is None else self._entries[found]

    def complete(self) -> None:
        """Import every module of the package, and the plugins given in the environment, once."""
        if not self._complete:
            self._complete = True
            for module in _modules(self._package):
                importlib.import_module(module)
            import_plugins([name for name in os.environ.get(PLUGINS_VARIABLE, "").split(",") if name.strip()])

    def names(self) -> list[str]:
        """Registered names, without aliases, in the order of registration."""
        return list(self._entries)

    def items(self) -> Iterator[tuple[str, Entry]]:
        """Name and entry, in the order of registration."""
        return iter(self._entries.items())

    def by_module(self) -> list[Entry]:
        """Registered entries by the names of their modules: the same order whatever was imported first."""
        return sorted(self._entries.values(), key=lambda entry: str(getattr(entry, "__module__", "")))

    def entries(self) -> Iterator[Entry]:
        """Registered entries, in the order of registration."""
        return iter(self._entries.values())


def _qualified(entry: object) -> str:
    return f"{getattr(entry, '__module__', '')}.{getattr(entry, '__qualname__', entry)}"


def _modules(package: str) -> Iterator[str]:
    paths = getattr(importlib.import_module(package), "__path__", None)
    if paths is not None:
        yield from (f"{package}.{found.name}" for found in pkgutil.iter_modules(paths) if not found.ispkg)


def import_plugins(names: Sequence[str], where: str = PLUGINS_VARIABLE) -> None:
    """Import plugin modules.

    Args:
        names: importable modules ("my_package.losses"), or Python files ("my_losses.py", or "my_losses" for a file in
            the working directory).
        where: origin of the names, for messages.

    Raises:
        UserError: a module does not exist or cannot be imported.
    """
    for name in map(str.strip, names):
        try:
            _import_plugin(name)
        except ModuleNotFoundError as error:
            missing = error.name or name
            raise UserError(
                f"the plugin {name!r} cannot be imported: there is no module {missing!r}",
                where=where,
                fix="Give an importable module, or the path of a Python file.",
            ) from None
        except (ImportError, SyntaxError, TypeError, OSError) as error:
            raise UserError(f"the plugin {name!r} cannot be imported: {error}", where=where) from error


def _import_plugin(name: str) -> ModuleType:
    file = Path(name if name.endswith(".py") else f"{name}.py").expanduser()
    if not file.exists():
        return importlib.import_module(name.removesuffix(".py"))
    if file.stem in sys.modules:
        return sys.modules[file.stem]
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[file.stem]
        raise
    return module
