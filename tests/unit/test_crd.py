"""The CRDs: generated, committed, and never weaker than the pydantic kinds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import BaseModel

from edgewise.api.crd import UnsupportedSchemaError, crd, render, structural
from edgewise.api.kinds import KINDS, Kind

ROOT = Path(__file__).resolve().parents[2]


def walk(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    if isinstance(schema.get("items"), dict):
        yield from walk(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from walk(schema["additionalProperties"], f"{path}{{}}")


@pytest.mark.parametrize("model", KINDS, ids=lambda model: model.__name__)
def test_what_is_committed_is_what_the_kinds_say(model: type[BaseModel]) -> None:
    name = f"edgewise.dev_{cast(Kind, model).PLURAL}.yaml"
    assert (ROOT / "crds" / name).read_text() == render(model)
    assert (ROOT / "charts/edgewise/crds" / name).read_text() == render(model)


def test_the_chart_has_the_policies_as_they_are() -> None:
    ours = {path.name: path.read_text() for path in (ROOT / "policies").glob("*.yaml")}
    assert ours
    assert ours == {
        path.name: path.read_text() for path in (ROOT / "charts/edgewise/policies").glob("*.yaml")
    }


@pytest.mark.parametrize("model", KINDS, ids=lambda model: model.__name__)
def test_every_text_list_and_map_of_a_spec_is_bounded(model: type[BaseModel]) -> None:
    whole = crd(model)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for path, schema in walk(whole["properties"]["spec"], "spec"):
        kind = schema.get("type")
        if kind == "string":
            assert "maxLength" in schema or "enum" in schema, path
        if kind == "array":
            assert "maxItems" in schema, path
        if "additionalProperties" in schema:
            assert "maxProperties" in schema, path
        assert schema.get("description") or "[]" in path or "{}" in path, path
        assert "$ref" not in schema, path
        assert "anyOf" not in schema, path


def test_a_keyword_that_a_crd_cannot_keep_is_refused_with_its_path() -> None:
    class Odd(BaseModel):
        value: int | list[str]

    with pytest.raises(UnsupportedSchemaError, match=r"Odd\.value\.anyOf"):
        structural(Odd)


def test_a_model_that_contains_itself_is_refused() -> None:
    class Tree(BaseModel):
        children: list[Tree] = []

    Tree.model_rebuild(_types_namespace={"Tree": Tree})
    with pytest.raises(UnsupportedSchemaError, match="contains itself"):
        structural(Tree)


def test_pythons_own_operator_stays_importable() -> None:
    import operator

    assert operator.add(1, 2) == 3
    assert [path.name for path in (ROOT / "operator").iterdir() if path.suffix == ".py"] == []
