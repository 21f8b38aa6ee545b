"""The asyncio client, the informer and the lease against a real API server; requests are counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client import REGISTRY

from edgewise.cluster.apply import apply_changed
from edgewise.cluster.client import Client
from edgewise.cluster.connect import connect
from edgewise.cluster.errors import ConflictError
from edgewise.cluster.informer import Informer
from edgewise.cluster.lease import Lease
from edgewise.cluster.resources import CONFIG_MAP, Object, key_of
from edgewise.cluster.store import Table
from lab.cluster import Lab

pytestmark = pytest.mark.cluster


@pytest.fixture
async def client(lab_cluster: Lab) -> AsyncIterator[Client]:
    """An administrator's client."""
    found = await connect(str(lab_cluster.kubeconfig()), rate=1000, burst=1000)
    yield found
    await found.close()


def config(name: str, **data: str) -> Object:
    metadata = {"name": name, "namespace": "default", "labels": {"test": "cluster"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def requests() -> float:
    samples = (s for metric in REGISTRY.collect() for s in metric.samples)
    return sum(s.value for s in samples if s.name == "rest_client_requests_total")


async def live(client: Client, name: str) -> Object | None:
    return await client.get(CONFIG_MAP, "default", name)


async def test_what_is_as_wanted_costs_no_request_and_drift_is_repaired(client: Client) -> None:
    assert await apply_changed(client, config("one", a="1", b="2"), None)
    stands = await live(client, "one")
    before = requests()
    assert not await apply_changed(client, config("one", a="1", b="2"), stands)
    assert requests() == before
    assert await apply_changed(client, config("one", a="1"), stands)
    after = await live(client, "one")
    assert after is not None
    assert after["data"] == {"a": "1"}
    await client.delete(after)


async def test_a_delete_takes_just_the_object_that_was_meant(client: Client) -> None:
    made = await client.create(config("two", a="1"))
    wrong = {**made, "metadata": {**made["metadata"], "uid": "11111111-2222-3333-4444-555555555555"}}
    with pytest.raises(ConflictError):
        await client.delete(wrong)
    await client.delete(made)
    await client.delete(made)
    assert await live(client, "two") is None


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the world outside changes it
            await asyncio.sleep(0.02)


async def test_an_informer_follows_what_happens(client: Client) -> None:
    table: Table[Object] = Table(lambda obj: obj)
    informer = Informer(client, CONFIG_MAP, table, "test=informer", "default")
    task = asyncio.create_task(informer.run())
    await informer.synced.wait()
    marked = config("three", a="1")
    marked["metadata"]["labels"] = {"test": "informer"}
    made = await client.apply(marked)
    await until(lambda: table.get(key_of(made)) is not None)
    marked["data"] = {"a": "2"}
    await client.apply(marked)
    await until(lambda: (table.get(key_of(made)) or {}).get("data") == {"a": "2"})
    await client.delete({**made, "metadata": {k: made["metadata"][k] for k in ("name", "namespace", "uid")}})
    await until(lambda: len(table) == 0)
    task.cancel()


async def test_lists_come_in_pages_and_whole(client: Client) -> None:
    names = [f"page-{number}" for number in range(520)]
    for start in range(0, len(names), 40):
        await asyncio.gather(*(client.apply(config(name)) for name in names[start : start + 40]))
    found, version = await client.list(CONFIG_MAP, "default", "test=cluster", metadata_only=True)
    assert version
    assert {key_of(obj) for obj in found} >= {f"default/{name}" for name in names}
    for start in range(0, len(found), 40):
        await asyncio.gather(*(client.delete(obj) for obj in found[start : start + 40]))


async def test_a_lease_has_one_holder_and_passes_on_when_let_go(client: Client) -> None:
    first, second = (Lease(client, "default", "test-lease", name) for name in ("first", "second"))
    holder = asyncio.create_task(first.run())
    await first.acquired.wait()
    waiting = asyncio.create_task(second.run())
    await asyncio.sleep(0)
    assert first.held()
    assert not second.held()
    holder.cancel()
    await first.release()
    async with asyncio.timeout(20):
        await second.acquired.wait()
    assert second.held()
    assert not first.held()
    waiting.cancel()
