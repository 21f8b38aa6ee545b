"""Generates CustomResourceDefinitions from the pydantic kinds.

``python -m edgewise.api.crd FOLDER`` writes one file a kind; a test compares them with what is committed.

The way from pydantic's JSON schema to a structural schema is an allow-list: a keyword that is not known
here raises with its path, so a schema never gets weaker without a word. Rules of structural schemas:
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

import yaml
from pydantic import BaseModel

from edgewise.api.kinds import KINDS, Kind
from edgewise.api.meta import GROUP, MAX_NAME, VERSION

Schema = dict[str, Any]

_COPIED: Final = frozenset(
    {
        "type", "description", "default", "enum", "pattern", "format", "required",
        "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
        "minProperties", "maxProperties", "x-kubernetes-validations", "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys", "x-kubernetes-map-type", "x-kubernetes-int-or-string",
        "x-edgewise-column",
    }
)  # fmt: skip
_DROPPED: Final = frozenset({"title"})


class UnsupportedSchemaError(ValueError):
    """A pydantic schema uses a keyword that the generator does not know how to keep."""


def structural(model: type[BaseModel]) -> Schema:
    """The structural schema of a model, references inlined.

    Raises:
        UnsupportedSchemaError: a keyword outside the allow-list, or a recursive model.
    """
    raw = model.model_json_schema(by_alias=True)
    return _convert(raw, raw.get("$defs", {}), model.__name__, ())


def _convert(node: Schema, definitions: Schema, path: str, seen: tuple[str, ...]) -> Schema:
    node = dict(node)
    node.pop("$defs", None)
    if reference := node.pop("$ref", None):
        name = str(reference).rsplit("/", 1)[-1]
        if name in seen:
            raise UnsupportedSchemaError(f"{path}: {name} contains itself; CRDs know no recursion")
        node = dict(definitions[name]) | node
        return _convert(node, definitions, path, (*seen, name))
    if options := node.pop("anyOf", None):
        node = _merge_options(node, options, definitions, path)
        return _convert(node, definitions, path, seen)
    if "const" in node:
        node["enum"] = [node.pop("const")]
    schema: Schema = {}
    for key, value in node.items():
        here = f"{path}.{key}"
        if key == "properties":
            schema[key] = {
                name: _convert(child, definitions, f"{path}.{name}", seen) for name, child in value.items()
            }
        elif key == "items":
            schema[key] = _convert(value, definitions, f"{path}[]", seen)
        elif key == "additionalProperties" and isinstance(value, dict):
            schema[key] = _convert(value, definitions, f"{path}{{}}", seen)
        elif key == "propertyNames":
            # Structural schemas have no propertyNames; keys are bounded by a rule where it matters.
            continue
        elif key == "default" and value is None:
            continue
        elif key == "default":
            schema[key] = _without_none(value)
        elif key in _COPIED:
            schema[key] = value
        elif key not in _DROPPED:
            raise UnsupportedSchemaError(f"{here}: the generator does not know this keyword")
    if schema.get("x-kubernetes-int-or-string"):
        schema.pop("type", None)
    elif "type" not in schema:
        raise UnsupportedSchemaError(f"{path}: no type")
    return _tidy(schema)


def _without_none(value: Any) -> Any:
    """A default as the API server takes it: what is None is absent."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value


def _merge_options(node: Schema, options: list[Schema], definitions: Schema, path: str) -> Schema:
    """`T | None` becomes T (absent, not null, says "none"); `int | str` becomes int-or-string."""
    rest = [option for option in options if option.get("type") != "null"]
    if len(rest) == 1:
        return rest[0] | node
    if {option.get("type") for option in rest} == {"integer", "string"}:
        return node | {"x-kubernetes-int-or-string": True}
    raise UnsupportedSchemaError(f"{path}.anyOf: only T | None and int | str can be written in a CRD")


def _tidy(schema: Schema) -> Schema:
    """Sentences of docstrings on one line."""
    if "description" in schema:
        schema["description"] = " ".join(inspect.cleandoc(schema["description"]).split())
    return schema


def _take_columns(schema: Schema, path: str = "") -> Iterator[Schema]:
    """Remove the column marks from a schema and yield the printer columns that they ask for."""
    mark = schema.pop("x-edgewise-column", None)
    if mark is not None:
        yield mark | {"jsonPath": path}
    for name, child in schema.get("properties", {}).items():
        yield from _take_columns(child, f"{path}.{name}")


def crd(model: type[BaseModel]) -> Schema:
    """The CustomResourceDefinition of a kind."""
    kind = cast(Kind, model)
    whole = structural(model)
    properties = whole["properties"]
    properties.pop("metadata")
    for section in properties.values():
        section.pop("default", None)
    columns = list(_take_columns(whole)) + [
        {"name": name, "type": type_, "jsonPath": json_path} for name, type_, json_path in kind.COLUMNS
    ]
    columns.append({"name": "AGE", "type": "date", "jsonPath": ".metadata.creationTimestamp"})
    schema = {
        "type": "object",
        "description": whole["description"],
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            **properties,
        },
        "x-kubernetes-validations": [
            {
                "rule": f"self.metadata.name.size() <= {MAX_NAME}",
                "message": f"metadata.name may have {MAX_NAME} characters: names of children build on it",
            }
        ],
    }
    version: Schema = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": [
            {key: value for key, value in column.items() if value != 0} for column in columns
        ],
    }
    if "status" in properties:
        version["subresources"] = {"status": {}}
    singular = kind.KIND.lower()
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if kind.NAMESPACED else "Cluster",
            "names": {
                "kind": kind.KIND,
                "listKind": f"{kind.KIND}List",
                "plural": kind.PLURAL,
                "singular": singular,
                "shortNames": list(kind.SHORT),
                "categories": ["edgewise"],
            },
            "versions": [version],
        },
    }


def render(model: type[BaseModel]) -> str:
    """A CRD as the text of its file."""
    body = yaml.safe_dump(crd(model), sort_keys=False, width=110, allow_unicode=True)
    return f"# Generated from operator/edgewise/api by `make crds`; do not edit.\n{body}"


def main(folder: str) -> None:
    """Write every CRD into a folder, one file a kind."""
    for model in KINDS:
        plural = cast(Kind, model).PLURAL
        Path(folder, f"{GROUP}_{plural}.yaml").write_text(render(model), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
