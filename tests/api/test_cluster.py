"""The asyncio client, the informer and the lease against a real API server; requests are counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY

from edgewise.api.conditions import condition
from edgewise.api.edgemodel import EdgeModel, EdgeModelStatus
from edgewise.cluster.apply import apply_changed
from edgewise.cluster.client import Client
from edgewise.cluster.connect import connect
from edgewise.cluster.errors import ConflictError
from edgewise.cluster.events import Recorder
from edgewise.cluster.informer import Informer
from edgewise.cluster.lease import Lease
from edgewise.cluster.resources import CONFIG_MAP, EVENT, Object, key_of
from edgewise.cluster.store import Table
from lab import quickstart
from lab.cluster import Lab

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).resolve().parents[2]


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
    first, second = (
        Lease(client, "default", f"test-lease-{uuid4().hex[:8]}", name) for name in ("first", "second")
    )
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


async def test_transitions_become_events_and_the_same_ones_are_added_up(
    lab_cluster: Lab, client: Client
) -> None:
    lab_cluster.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    lab_cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    document = next(doc for doc in quickstart.manifests() if doc["kind"] == "EdgeModel")
    document["metadata"] = {"name": f"told-{uuid4().hex[:8]}", "namespace": "default"}
    model = EdgeModel.model_validate(await client.create(document))
    recorder = Recorder(client, lambda: 1_800_000_000.0)

    def status(holds: bool) -> EdgeModelStatus:
        reason = "PolicySatisfied" if holds else "Unsigned"
        found = condition("Verified", holds, reason, "what was found").model_copy(
            update={"last_transition_time": "2027-01-15T08:00:00Z"}
        )
        return EdgeModelStatus(conditions=[found])

    before = model.status
    for holds in (True, False, True, True):
        await recorder.report("EdgeModel", model.metadata, before, status(holds))
        before = status(holds)
    events, _ = await client.list(EVENT, "default")
    told = {
        (event["type"], event["reason"]): event["count"]
        for event in events
        if event["involvedObject"]["uid"] == model.metadata.uid
    }
    assert told == {("Normal", "PolicySatisfied"): 2, ("Warning", "Unsigned"): 1}
    shown = lab_cluster.kubectl("describe", "edgemodel", model.metadata.name)
    assert "Verified: what was found" in shown


async def test_a_second_apply_is_no_request_in_the_servers_own_audit(lab_cluster: Lab) -> None:
    user = f"counted-{uuid4().hex[:8]}"
    client = await connect(str(lab_cluster.kubeconfig(user, ["system:masters"])))
    try:
        await apply_changed(client, config("audited", a="1"), None)
        stands = await live(client, "audited")
        await apply_changed(client, config("audited", a="1"), stands)
        assert stands is not None
        await client.delete(stands)
    finally:
        await client.close()

    def verbs() -> list[str]:
        return [event["verb"] for event in lab_cluster.audit(user) if event["stage"] == "ResponseComplete"]

    await until(lambda: "delete" in verbs())
    assert verbs() == ["patch", "get", "delete"]


async def test_a_field_that_somebody_else_changed_is_set_again(client: Client) -> None:
    wanted = config("drift", a="1")
    await apply_changed(client, wanted, None)
    other = await live(client, "drift")
    assert other is not None
    await client.replace({**other, "data": {"a": "changed", "theirs": "kept"}})
    assert await apply_changed(client, wanted, await live(client, "drift"))
    after = await live(client, "drift")
    assert after is not None
    assert after["data"] == {"a": "1", "theirs": "kept"}
    assert not await apply_changed(client, wanted, after)
    await client.delete(after)


async def test_an_informer_resumes_after_the_api_server_was_away_without_listing_again(
    lab_cluster: Lab, client: Client
) -> None:
    user = f"watcher-{uuid4().hex[:8]}"
    watching = await connect(str(lab_cluster.kubeconfig(user, ["system:masters"])))
    table: Table[Object] = Table(lambda obj: obj)
    task = asyncio.create_task(Informer(watching, CONFIG_MAP, table, "test=resume", "default").run())
    marked = config("resumed", a="1")
    marked["metadata"]["labels"] = {"test": "resume"}
    made = await client.apply(marked)
    await until(lambda: len(table) == 1)
    await asyncio.to_thread(lab_cluster.restart_control_plane)
    marked["data"] = {"a": "2"}
    await client.apply(marked)
    await until(lambda: (table.get(key_of(made)) or {}).get("data") == {"a": "2"})
    task.cancel()
    await watching.close()
    await client.delete({**made, "metadata": {k: made["metadata"][k] for k in ("name", "namespace", "uid")}})
    events = lab_cluster.audit(user)
    assert len([e for e in events if e["verb"] == "list" and e["stage"] == "ResponseComplete"]) == 1


async def test_a_lease_that_is_not_renewed_is_taken_over_after_its_time_and_no_earlier(
    client: Client,
) -> None:
    now = 0.0
    name = f"test-expiry-{uuid4().hex[:8]}"
    first, second = (Lease(client, "default", name, holder, lambda: now) for holder in ("first", "second"))
    dead = asyncio.create_task(first.run())
    async with asyncio.timeout(20):
        await first.acquired.wait()
    dead.cancel()
    waiting = asyncio.create_task(second.run())
    before = requests()
    await until(lambda: requests() > before)
    assert not second.held()
    now = 16.0
    assert not first.held()
    async with asyncio.timeout(20):
        await second.acquired.wait()
    assert second.held()
    waiting.cancel()
