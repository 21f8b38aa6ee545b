"""Routes read from what stands in the cluster."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgewise.api.inferenceservice import InferenceService
from edgewise.cluster.world import World
from edgewise.reconcilers.context import SiteTraffic
from edgewise.reconcilers.routing import orders_of, port_of, routes_of
from edgewise.reconcilers.service_decide import decide
from edgewise.reconcilers.service_view import gather
from edgewise.reconcilers.traffic import is_crowded
from edgewise.reconcilers.traffic_policy import policy_of
from edgewise.reconcilers.traffic_start import traffic_of
from edgewise.render import envoy
from edgewise.render.envoy_upstream import Upstream
from edgewise.render.orders import Orders, standing_orders
from edgewise.render.router import router_name
from edgewise.traffic.allowance import resume
from edgewise.traffic.decide import State
from edgewise.traffic.decide import decide as decide_traffic
from edgewise.traffic.policy import Decision, Policy, Signals, Way
from edgewise.traffic.signals import ServiceCount
from edgewise.traffic.sizing import TrafficState
from tests.unit.cluster_world import (
    KEY,
    context_of,
    deployment,
    filled_world,
    pod,
    resident,
    site,
    with_upstream,
)

POLICY = Policy(target=0.08, allowed=0.05, edge_service=0.02, cloud_service=0.02, cloud_max=4)


@pytest.fixture
def world() -> World:
    return filled_world()


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


@pytest.mark.parametrize(
    ("region", "answers"),
    [("eu-de", True), ("us-east", False), (None, False)],
    ids=["inside", "outside", "nowhere"],
)
def test_residency_holds_in_the_path_whatever_runs_where(
    world: World, region: str | None, answers: bool
) -> None:
    world.sites.upsert(site("plant-1", "Edge", "eu-de"))
    world.sites.upsert(site("cloud", "Cloud", region))
    service = resident(world, "eu-de", "eu-fr")
    assert addresses(world, "edge") == {"aa": ("10.0.0.1", "10.0.0.2")}
    assert addresses(world, "cloud") == ({"aa": ("10.0.2.1",)} if answers else {})
    assert policy_of(world, KEY, service, "plant-1").may_leave is answers


def test_a_site_with_an_upstream_sends_what_it_refuses_there_and_nowhere_else(world: World) -> None:
    with_upstream(world, credentials="token")
    (route,) = routes_of(world, "plant-1", {})
    (cloud,) = [found for found in route.backends if found.side == "cloud"]
    assert cloud.upstream == Upstream("cloud.example", 443, tls=True, credential=True)
    assert (cloud.revision, cloud.weight, cloud.addresses) == ("upstream", 1000, ())
    service = world.services.get(KEY)
    assert service is not None
    assert policy_of(world, KEY, service, "plant-1").may_leave


def test_an_upstream_outside_the_regions_is_not_used(world: World) -> None:
    for region, used in ((None, False), ("us-east", False), ("eu-de", True)):
        with_upstream(world, **({"region": region} if region else {}))
        service = resident(world, "eu-de")
        (route,) = routes_of(world, "plant-1", {})
        assert any(found.upstream for found in route.backends) is used
        assert policy_of(world, KEY, service, "plant-1").may_leave is used


def test_servers_in_the_cloud_go_when_every_site_has_an_upstream(world: World) -> None:
    context = context_of(world)
    world.sites.upsert(site("cloud", "Cloud", None))
    with_upstream(world)
    view = gather(context, KEY)
    assert view is not None
    assert [found.name for found in view.edges] == ["plant-1"]
    decision = decide(view)
    assert "cloud-cloud-aa" in {obj["metadata"]["name"] for obj in decision.retired}
    assert all(server.side == "edge" for server in decision.servers)
    assert not [found for found in decision.refused if found.message.startswith("cloud")]


def test_what_a_service_declares_becomes_its_policy(world: World) -> None:
    world.sites.upsert(site("cloud", "Cloud", None))
    service = world.services.get(KEY)
    assert service is not None
    document = service.model_dump(by_alias=True, mode="json")
    document["spec"]["shift"] |= {"price": {"perSpilledRequest": "0.25"}, "maxInFlight": 4}
    document["spec"]["cloud"]["mode"] = "Fallback"
    policy = policy_of(world, KEY, InferenceService.model_validate(document), "plant-1")
    assert (policy.price, policy.ceiling, policy.mode, policy.may_leave) == (0.25, 4.0, "Fallback", True)
    assert policy.allowed == pytest.approx(0.05)
    assert policy.edge_service == pytest.approx(0.02)  # a quarter of the target: no model, no profile


def test_a_site_that_is_gone_lies_in_no_region(world: World) -> None:
    resident(world, "eu-de")
    assert addresses(world, "edge") == addresses(world, "cloud") == {}


def test_what_runs_outside_the_regions_goes_and_nothing_new_is_placed_there(world: World) -> None:
    world.sites.upsert(site("plant-1", "Edge", "eu-de"))
    world.sites.upsert(site("plant-2", "Edge", "us-east"))
    world.sites.upsert(site("cloud", "Cloud", None))
    for name in ("plant-1", "plant-2"):
        labelled = world.sites.get(name)
        assert labelled is not None
        labelled.metadata.labels["line"] = "yes"
    resident(world, "eu-de")
    view = gather(context_of(world), KEY)
    assert view is not None
    assert [found.name for found in view.edges] == ["plant-1"]
    assert view.abroad == {"plant-2", "cloud"}
    decision = decide(view)
    assert {obj["metadata"]["name"] for obj in decision.retired} == {"edge-plant-2-aa", "cloud-cloud-aa"}
    assert "in the regions of spec.residency" in "; ".join(found.message for found in decision.refused)


def known(in_flight: int | None = None, ceiling: float = 8.0, crowded: bool = False) -> SiteTraffic:
    decision = Decision(
        edge=1,
        cloud=1,
        demand=0,
        offered=0,
        way=Way.OPEN,
        ceiling=ceiling,
        allowed=0.04,
        cloud_in_flight=in_flight,
    )
    return SiteTraffic(State(), POLICY, decision, crowded=crowded)


def test_orders_move_in_steps() -> None:
    told = [orders_of(known(count)).in_flight for count in (0, 1, 2, 3, 4, 10, 100)]
    assert told == [0, 1, 2, 3, 4, 9, 86]
    assert orders_of(known(101)) == orders_of(known(100))
    assert orders_of(known()).in_flight is None
    assert orders_of(known(ceiling=3.1)).ceiling == 3.0


def test_a_cloud_refuses_early_only_while_it_is_crowded() -> None:
    assert orders_of(known()).cloud_limit is None
    assert orders_of(known(crowded=True)).cloud_limit == POLICY.cloud_limit

    def at(rate: float, ready: int, before: bool) -> bool:
        found = known(crowded=before)
        found.state = State(sizes=TrafficState(refused=rate, cloud_ready=ready))
        return is_crowded(found)

    assert [at(rate, 1, False) for rate in (10, 40, 43)] == [False, False, True]
    assert [at(rate, 1, True) for rate in (43, 30, 20)] == [True, True, False]
    assert not at(80, 2, False)
    assert at(43, 0, False)


@pytest.mark.parametrize("told", [0.3, 0.8, 1.0, 1.5])
def test_an_operator_that_starts_over_tells_routers_what_they_are_told_already(
    world: World, told: float
) -> None:
    world.sites.upsert(site("plant-1", "Edge", None))
    world.sites.upsert(site("cloud", "Cloud", None))
    context = context_of(world)
    service = world.services.get(KEY)
    assert service is not None
    first = traffic_of(context, KEY, service, "plant-1")
    first.state = State(sizes=first.state.sizes, allowance=resume(told, first.policy.allowed))
    first.state, first.decision = decide_traffic(None, first.policy, replace(first.state, last=None), 0.0)
    files = envoy.files(routes_of(world, "plant-1", {KEY: orders_of(first)}))
    name = router_name("plant-1")
    world.config_maps.upsert(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "edgewise-system", "labels": {}},
            "data": files,
        }
    )
    again = context_of(world)
    second = traffic_of(again, KEY, service, "plant-1")
    assert envoy.files(routes_of(world, "plant-1", {KEY: orders_of(second)})) == files
    # And a look without traffic changes nothing either.
    quiet = Signals(seconds=2.0, count=ServiceCount(), edge_ready=2, cloud_ready=1)
    second.state, second.decision = decide_traffic(quiet, second.policy, second.state, again.clock() + 2.0)
    assert envoy.files(routes_of(world, "plant-1", {KEY: orders_of(second)})) == files


def test_routes_of_somebody_else_tell_nothing() -> None:
    for text in ("", "[]", "{}", '{"resources": []}'):
        with pytest.raises((KeyError, TypeError, ValueError, IndexError)):
            standing_orders(text)
