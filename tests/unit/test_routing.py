"""Routes read from what stands in the cluster."""

from __future__ import annotations

from typing import Any

import pytest

from edgewise.catalog import catalogue
from edgewise.cluster.world import World
from edgewise.reconcilers.routing import orders_of, port_of, routes_of
from edgewise.render.envoy import Orders
from edgewise.traffic.policy import Decision, Policy, Way
from lab import quickstart

KEY = "vision/line-inspection"
LABELS = {"app.kubernetes.io/managed-by": "edgewise", "edgewise.dev/component": "server",
          "edgewise.dev/service": "line-inspection"}  # fmt: skip


def marks(side: str, site: str, revision: str) -> dict[str, str]:
    return {**LABELS, "edgewise.dev/side": side, "edgewise.dev/site": site, "edgewise.dev/revision": revision}


def deployment(side: str, site: str, revision: str, port: int = 8080) -> dict[str, Any]:
    container = {"name": "server", "ports": [{"containerPort": port}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": f"{side}-{site}-{revision}",
            "namespace": "vision",
            "labels": marks(side, site, revision),
        },
        "spec": {"replicas": 1, "template": {"spec": {"containers": [container]}}},
    }


def pod(name: str, address: str, side: str, site: str, revision: str, ready: bool = True) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "vision",
            "uid": name,
            "labels": marks(side, site, revision),
        },
        "spec": {"nodeName": "edge-1"},
        "status": {
            "podIP": address,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


@pytest.fixture
def world() -> World:
    """A service with two edge servers at plant-1, one at plant-2 and one in the cloud."""
    found = World(catalogue.builtin())
    service = next(doc for doc in quickstart.manifests() if doc["kind"] == "InferenceService")
    service["status"] = {"rollout": {"stable": "aa"}}
    service["spec"]["request"] = {"timeout": "10s", "maxBody": "1Mi"}
    found.services.upsert(service)
    for side, site in (("edge", "plant-1"), ("edge", "plant-2"), ("cloud", "cloud")):
        found.deployments.upsert(deployment(side, site, "aa"))
    found.pods.upsert(pod("one", "10.0.0.1", "edge", "plant-1", "aa"))
    found.pods.upsert(pod("two", "10.0.0.2", "edge", "plant-1", "aa"))
    found.pods.upsert(pod("far", "10.0.1.1", "edge", "plant-2", "aa"))
    found.pods.upsert(pod("sky", "10.0.2.1", "cloud", "cloud", "aa"))
    return found


def addresses(world: World, side: str, **orders: Orders) -> dict[str, tuple[str, ...]]:
    (route,) = routes_of(world, "plant-1", orders and {KEY: orders["orders"]})
    return {found.revision: found.addresses for found in route.backends if found.side == side}


def test_a_site_reaches_its_own_servers_and_the_clouds(world: World) -> None:
    assert addresses(world, "edge") == {"aa": ("10.0.0.1", "10.0.0.2")}
    assert addresses(world, "cloud") == {"aa": ("10.0.2.1",)}
    assert routes_of(world, "nowhere", {}) == []


def test_what_a_service_says_of_requests_is_in_its_route(world: World) -> None:
    (route,) = routes_of(world, "plant-1", {})
    assert (route.timeout, route.max_body, route.patience) == (10.0, 2**20, 2.0)
    assert route.orders == Orders()


def test_a_server_that_is_left_out_gets_nothing_unless_it_is_the_last(world: World) -> None:
    without = Orders(without=frozenset({"two"}))
    assert addresses(world, "edge", orders=without) == {"aa": ("10.0.0.1",)}
    everyone = Orders(without=frozenset({"one", "two", "far", "sky"}))
    assert addresses(world, "edge", orders=everyone) == {"aa": ("10.0.0.1", "10.0.0.2")}


def test_a_new_revision_takes_no_request_before_it_is_the_stable_one(world: World) -> None:
    world.deployments.upsert(deployment("edge", "plant-1", "bb", 9000))
    world.pods.upsert(pod("new", "10.0.0.9", "edge", "plant-1", "bb"))
    (route,) = routes_of(world, "plant-1", {})
    weights = {(found.side, found.revision): (found.weight, found.port) for found in route.backends}
    assert weights[("edge", "aa")] == (1000, 8080)
    assert weights[("edge", "bb")] == (0, 9000)
    new = world.pods.get("vision/new")
    assert new is not None
    assert port_of(world, KEY, new) == 9000


def test_orders_move_in_steps() -> None:
    policy = Policy(target=0.08, allowed=0.05, edge_service=0.02, cloud_service=0.02, cloud_max=4)

    def told(in_flight: int | None, ceiling: float = 8.0) -> Orders:
        decision = Decision(edge=1, cloud=1, demand=0, offered=0, way=Way.OPEN, ceiling=ceiling,
                            allowed=0.04, cloud_in_flight=in_flight)  # fmt: skip
        return orders_of(decision, policy)

    assert told(None).in_flight is None
    assert [told(count).in_flight for count in (0, 1, 2, 3, 4, 10, 100)] == [0, 1, 2, 3, 4, 9, 86]
    assert told(101) == told(100)
    assert told(None, 3.1).ceiling == 3.0
    assert told(None).cloud_limit == policy.cloud_limit
