"""Named plug-ins. A plug-in is one file that registers itself; no list elsewhere is edited."""

import importlib
import pkgutil
from collections.abc import Iterator
from threading import RLock
from typing import Generic, Protocol, TypeVar

from harness.errors import UserError


class Named(Protocol):
    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)


class Registry(Generic[T]):
    """Plug-ins of one kind, by name, in the order of their names."""

    def __init__(self, kind: str, package: str) -> None:
        self._kind = kind
        self._package = package
        self._items: dict[str, T] = {}
        self._lock = RLock()  # a plug-in may look another one up while it is imported
        self._loading = False
        self._loaded = False

    def register(self, item: T) -> T:
        """Add `item`; a second item of the same name is a mistake in the program."""
        if item.name in self._items:
            raise ValueError(f"{self._kind} {item.name!r} is registered twice")
        self._items[item.name] = item
        return item

    def _load(self) -> None:
        """Import every module of the plug-in package once, so that each registers itself."""
        with self._lock:
            if self._loaded or self._loading:
                return
            self._loading = True
            try:
                package = importlib.import_module(self._package)
                for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
                    importlib.import_module(f"{self._package}.{module}")
                self._loaded = True
            finally:
                self._loading = False

    def __getitem__(self, name: str) -> T:
        self._load()
        try:
            return self._items[name]
        except KeyError:
            known = ", ".join(self.names())
            raise UserError(f"no {self._kind} named {name!r}; known: {known}") from None

    def names(self) -> list[str]:
        self._load()
        return sorted(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter([self[name] for name in self.names()])
