"""What edgewise knows of the cluster, in memory, fed by watches and read by decisions."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from edgewise.cluster.resources import Object, key_of

T = TypeVar("T")
Index = Callable[[T], Iterable[Hashable]]


class Table(Generic[T]):
    """Objects of one kind by key, parsed once, with secondary indexes.

    Listeners are called with the object before and after; they must only note keys.
    """

    def __init__(self, parse: Callable[[Object], T], indexes: Mapping[str, Index[T]] | None = None) -> None:
        self._parse = parse
        self._rows: dict[str, tuple[str, T]] = {}
        self._functions = dict(indexes or {})
        self._indexes: dict[str, dict[Hashable, dict[str, None]]] = {name: {} for name in self._functions}
        self.listeners: list[Callable[[str, T | None, T | None], None]] = []
        #: Objects that could not be parsed, with the reason: they are kept out, and said.
        self.broken: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[T]:
        return (value for _, value in self._rows.values())

    def keys(self) -> set[str]:
        """The keys of all objects."""
        return set(self._rows)

    def get(self, key: str) -> T | None:
        """The object of a key, or None."""
        row = self._rows.get(key)
        return row[1] if row else None

    def by(self, index: str, value: Hashable) -> list[T]:
        """Objects that an index files under `value`, in order of their keys."""
        return [self._rows[key][1] for key in sorted(self._indexes[index].get(value, ()))]

    def upsert(self, obj: Object) -> bool:
        """Put an object in; False when it is the one that stands there already."""
        key = key_of(obj)
        version = str(obj["metadata"].get("resourceVersion", ""))
        old = self._rows.get(key)
        if old is not None and version and old[0] == version:
            return False
        try:
            value = self._parse(obj)
        except ValueError as error:
            self.broken[key] = str(error)
            return self.discard(key)
        self.broken.pop(key, None)
        if old is not None:
            self._unfile(key, old[1])
        self._rows[key] = (version, value)
        for name, function in self._functions.items():
            for entry in function(value):
                self._indexes[name].setdefault(entry, {})[key] = None
        self._tell(key, old[1] if old else None, value)
        return True

    def discard(self, key: str) -> bool:
        """Take an object out; False when it was not there."""
        row = self._rows.pop(key, None)
        if row is None:
            return False
        self._unfile(key, row[1])
        self._tell(key, row[1], None)
        return True

    def replace(self, objects: Iterable[Object]) -> None:
        """Make the table hold exactly `objects`, as after a list."""
        seen = set()
        for obj in objects:
            seen.add(key_of(obj))
            self.upsert(obj)
        self.keep_only(seen)

    def keep_only(self, keys: set[str]) -> None:
        """Take out every object whose key is not among `keys`."""
        for key in self.keys() - keys:
            self.discard(key)

    def _unfile(self, key: str, value: T) -> None:
        for name, function in self._functions.items():
            for entry in function(value):
                rows = self._indexes[name].get(entry)
                if rows is not None:
                    rows.pop(key, None)
                    if not rows:
                        del self._indexes[name][entry]

    def _tell(self, key: str, old: T | None, new: T | None) -> None:
        for listener in self.listeners:
            listener(key, old, new)
