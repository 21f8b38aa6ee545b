"""JSON from strangers: no duplicate keys, no depth, no surprise in size or numbers.

Two readers that take different values from one duplicate key is how a checked statement becomes another
one, so a duplicate is an error and not a warning.
"""

import json
from collections.abc import Iterable
from typing import Final

#: Deep enough for every document we read (a bundle needs 6), far from any parser's recursion limit.
MAX_DEPTH: Final = 32
#: Values in one document: a 100,000-file statement has about 400,000.
MAX_VALUES: Final = 2_000_000


class JsonError(ValueError):
    """The text is not JSON in the strict sense of this module; the message says where it breaks."""


def parse(data: bytes, *, max_bytes: int, max_depth: int = MAX_DEPTH) -> object:
    """Read one JSON document.

    Args:
        data: UTF-8 text without a byte order mark.
        max_bytes: refuse anything longer, before it is looked at.
        max_depth: nesting of objects and arrays.

    Raises:
        JsonError: too long, too deep, not UTF-8, a duplicate key, NaN or Infinity, a lone surrogate.
    """
    if len(data) > max_bytes:
        raise JsonError(f"{len(data)} bytes, at most {max_bytes} are read")
    try:
        value: object = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant
        )
    except RecursionError:
        raise JsonError(f"nested deeper than {max_depth}") from None
    except JsonError:
        raise
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError and integers of 4,301 digits
        raise JsonError(f"not JSON: {str(error)[:120]}") from None
    _bounded(value, max_depth)
    return value


def parse_object(data: bytes, *, max_bytes: int, max_depth: int = MAX_DEPTH) -> dict[str, object]:
    """Like `parse`, and the document has to be an object."""
    value = parse(data, max_bytes=max_bytes, max_depth=max_depth)
    if not isinstance(value, dict):
        raise JsonError(f"an object is wanted, found {kind(value)}")
    return value


def kind(value: object) -> str:
    """The JSON word for the type of a parsed value, for messages."""
    words = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return words.get(type(value), "a number")


class Fields:
    """Strict reading of one object: every access is typed, and `done` refuses what nobody asked for."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise JsonError(f"{where}: an object is wanted, found {kind(value)}")
        self._value: dict[str, object] = value
        self._seen: set[str] = set()
        self.where = where

    def __contains__(self, name: str) -> bool:
        return name in self._value

    def take(self, name: str) -> object:
        """The raw value; JsonError when it is absent."""
        self._seen.add(name)
        if name not in self._value:
            raise JsonError(f"{self.where}.{name} is missing")
        return self._value[name]

    def text(self, name: str, default: str | None = None) -> str:
        """A string, or `default` when absent."""
        if default is not None and name not in self._value:
            return default
        value = self.take(name)
        if not isinstance(value, str):
            raise JsonError(f"{self.where}.{name}: a string is wanted, found {kind(value)}")
        return value

    def number(self, name: str, default: int | None = None) -> int:
        """A whole number >= 0, or `default` when absent."""
        if default is not None and name not in self._value:
            return default
        value = self.take(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise JsonError(f"{self.where}.{name}: a whole number >= 0 is wanted")
        return value

    def items(self, name: str, *, required: bool = True) -> list[object]:
        """An array; empty when absent and not required."""
        if not required and name not in self._value:
            return []
        value = self.take(name)
        if not isinstance(value, list):
            raise JsonError(f"{self.where}.{name}: an array is wanted, found {kind(value)}")
        return value

    def texts(self, name: str, *, required: bool = True) -> list[str]:
        """An array of strings."""
        values = self.items(name, required=required)
        if not all(isinstance(value, str) for value in values):
            raise JsonError(f"{self.where}.{name}: an array of strings is wanted")
        return [str(value) for value in values]

    def fields(self, name: str) -> "Fields":
        """A nested object."""
        return Fields(self.take(name), f"{self.where}.{name}")

    def text_map(self, name: str) -> dict[str, str]:
        """An object whose values are all strings; empty when absent."""
        if name not in self._value:
            return {}
        value = self.take(name)
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise JsonError(f"{self.where}.{name}: an object of strings is wanted")
        return dict(value)

    def ignore(self, *names: str) -> None:
        """Accept these fields without reading them; each caller says why."""
        self._seen.update(names)

    def done(self) -> None:
        """Refuse every field that was not read: an unknown field may carry a meaning that we would lose."""
        unknown = sorted(set(self._value) - self._seen)
        if unknown:
            raise JsonError(f"{self.where}: unknown field {ascii(unknown[0])[:60]}")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise JsonError(f"the key {ascii(name)[:60]} appears twice in one object")
            seen.add(name)
    return result


def _refuse_constant(text: str) -> object:
    raise JsonError(f"{text} is not JSON")


def _bounded(root: object, max_depth: int) -> None:
    level: list[object] = [root]
    values = 0
    for _ in range(max_depth + 1):
        below: list[object] = []
        for value in level:
            children: Iterable[object] = ()
            if isinstance(value, dict):
                children = [*value.keys(), *value.values()]
            elif isinstance(value, list):
                children = value
            elif isinstance(value, str) and not value.isascii():
                _whole_characters(value)
            below.extend(children)
        values += len(level)
        if values > MAX_VALUES:
            raise JsonError(f"more than {MAX_VALUES} values")
        if not below:
            return
        level = below
    raise JsonError(f"nested deeper than {max_depth}")


def _whole_characters(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise JsonError("a string holds half a surrogate pair") from None
