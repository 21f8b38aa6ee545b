"""The catalogue of accelerators and runtimes: loaded from data, checked against its schema."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

import yaml

#: The label by which a person names an accelerator that nothing else tells of.
USER_LABEL: Final = "edgewise.dev/accelerator"


class CatalogueError(ValueError):
    """The catalogue's data do not follow its schema."""


@dataclass(frozen=True, slots=True)
class LabelRule:
    """A node has the class when it carries this label with this value; an empty label always holds."""

    label: str
    value: str

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether a node with `labels` meets the rule."""
        return not self.label or labels.get(self.label) == self.value


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A class of accelerator and the rules that find it; one that holds is enough."""

    class_: str
    rules: tuple[LabelRule, ...]


@dataclass(frozen=True, slots=True)
class Runtime:
    """A server that runs some formats on some classes."""

    name: str
    formats: frozenset[str]
    accelerators: frozenset[str]
    image: str
    port: int
    ready: str
    live: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Facts about hardware and servers."""

    accelerators: tuple[Accelerator, ...]
    runtimes: tuple[Runtime, ...]

    def classes(self, labels: Mapping[str, str]) -> frozenset[str]:
        """The accelerator classes of a node with these labels."""
        found = {
            accelerator.class_
            for accelerator in self.accelerators
            if any(rule.holds(labels) for rule in accelerator.rules)
        }
        by_hand = labels.get(USER_LABEL)
        return frozenset(found | ({by_hand} if by_hand else set()))

    def rules(self, class_: str) -> tuple[LabelRule, ...]:
        """What a node must carry to have `class_`: alternatives, the user's label the last of them."""
        own = next((known.rules for known in self.accelerators if known.class_ == class_), ())
        if any(not rule.label for rule in own):
            return ()
        return (*own, LabelRule(USER_LABEL, class_))

    def runtime(self, format_: str, class_: str) -> Runtime | None:
        """The first runtime that runs a format on a class, or None."""
        return next(
            (entry for entry in self.runtimes if format_ in entry.formats and class_ in entry.accelerators),
            None,
        )

    def nearest(self, class_: str) -> tuple[str, ...]:
        """Known classes that are spelled like `class_`, for messages."""
        known = [accelerator.class_ for accelerator in self.accelerators]
        return tuple(difflib.get_close_matches(class_, known, n=2, cutoff=0.5))


def parse(data: Mapping[str, Any]) -> Catalogue:
    """A catalogue from its data.

    Raises:
        CatalogueError: the data do not follow the schema; the message names the place.
    """
    # Imported here: the operator reads only its own catalogue, which tests have checked; memory counts.
    import jsonschema

    try:
        jsonschema.validate(data, _data("schema.yaml"))
    except jsonschema.ValidationError as error:
        raise CatalogueError(f"catalogue, {error.json_path}: {error.message}") from error
    return _read(data)


def _read(data: Mapping[str, Any]) -> Catalogue:
    return Catalogue(
        accelerators=tuple(
            Accelerator(
                entry["class"],
                tuple(LabelRule(rule.get("label", ""), rule.get("value", "")) for rule in entry["rules"]),
            )
            for entry in data["accelerators"]
        ),
        runtimes=tuple(
            Runtime(
                name=entry["name"],
                formats=frozenset(entry["formats"]),
                accelerators=frozenset(entry["accelerators"]),
                image=entry["image"],
                port=entry["port"],
                ready=entry["ready"],
                live=entry["live"],
            )
            for entry in data["runtimes"]
        ),
    )


@cache
def builtin() -> Catalogue:
    """The catalogue that edgewise ships."""
    return _read(shipped())


def shipped() -> dict[str, Any]:
    """The data of that catalogue, as `parse` takes them."""
    return _data("accelerators.yaml") | _data("runtimes.yaml")


def _data(name: str) -> dict[str, Any]:
    text = resources.files("edgewise.catalog").joinpath(name).read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded
