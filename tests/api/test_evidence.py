"""Copies of evidence on a real API server: kept once, found again, replaced, and gone with their model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from edgewise.api.edgemodel import EdgeModel
from edgewise.catalog import catalogue
from edgewise.cluster.client import Client
from edgewise.cluster.connect import connect
from edgewise.cluster.informer import Informer
from edgewise.cluster.resources import CONTROLLER_REVISION
from edgewise.cluster.world import CHILDREN, World
from edgewise.provenance.request import VariantInput
from edgewise.reconcilers.context import Context, Settings
from edgewise.reconcilers.evidence import EvidenceCopies
from lab import quickstart
from lab.cluster import Lab

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).resolve().parents[2]
URI = "oci://registry.example/models/m@sha256:" + "1" * 64
AWAY = VariantInput("int8", URI, "tree:sha256:" + "2" * 64, "onnx", b"", (), "connection refused")


def fetched(*bundles: bytes) -> VariantInput:
    return VariantInput("int8", URI, AWAY.digest, "onnx", b'{"schemaVersion":2}', bundles)


@pytest.fixture
async def client(lab_cluster: Lab) -> AsyncIterator[Client]:
    user = f"evidence-{uuid4().hex[:8]}"
    found = await connect(str(lab_cluster.kubeconfig(user, ["system:masters"])), rate=1000, burst=1000)
    yield found
    await found.close()


@pytest.fixture
async def world(client: Client) -> AsyncIterator[World]:
    found = World(catalogue.builtin())
    informer = Informer(client, CONTROLLER_REVISION, found.revisions, CHILDREN, "default")
    task = asyncio.create_task(informer.run())
    await informer.synced.wait()
    yield found
    task.cancel()


@pytest.fixture
def model(lab_cluster: Lab) -> EdgeModel:
    lab_cluster.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    lab_cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    document = next(doc for doc in quickstart.manifests() if doc["kind"] == "EdgeModel")
    document["metadata"] = {"name": f"model-{uuid4().hex[:8]}", "namespace": "default"}
    made = lab_cluster.kubectl("create", "-f", "-", "-o", "json", text=json.dumps(document))
    return EdgeModel.model_validate(json.loads(made))


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the world outside changes it
            await asyncio.sleep(0.02)


async def test_evidence_is_kept_once_found_when_the_source_is_away_and_replaced(
    client: Client, world: World, model: EdgeModel, lab_cluster: Lab
) -> None:
    context = Context(client, world, catalogue.builtin(), Settings("default", {}), lambda *_: None, "")
    copies = EvidenceCopies(context)
    key = f"default/{model.metadata.name}"
    assert await copies.recall(model.metadata, AWAY) == AWAY

    await copies.keep(model, [fetched(b"one")])
    await until(lambda: len(world.revisions.by("evidence", key)) == 1)
    kept = world.revisions.by("evidence", key)
    assert "data" not in kept[0]  # the bytes stay with the API server
    assert world.revisions.by("model", key) == []
    assert await copies.recall(model.metadata, AWAY) == fetched(b"one")
    other = VariantInput("x", "oci://elsewhere", AWAY.digest, "onnx", b"", (), "away")
    assert await copies.recall(model.metadata, other) == other

    await copies.keep(model, [fetched(b"one")])
    assert world.revisions.by("evidence", key) == kept

    await copies.keep(model, [fetched(b"one", b"two")])
    await until(
        lambda: (
            [obj["metadata"]["name"] for obj in world.revisions.by("evidence", key)]
            not in ([], [kept[0]["metadata"]["name"]])
        )
    )
    await until(lambda: len(world.revisions.by("evidence", key)) == 1)
    assert await copies.recall(model.metadata, AWAY) == fetched(b"one", b"two")

    lab_cluster.kubectl("delete", "edgemodel", model.metadata.name, "-n", "default")
    await until(lambda: world.revisions.by("evidence", key) == [])
