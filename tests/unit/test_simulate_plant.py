"""The plant: queues against theory, gates, links, faults; and that nothing is lost on the way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.simulate.arrivals import draw
from edgewise.simulate.control import Orders, Setting, SiteOrders, SiteSeen
from edgewise.simulate.fleet import Run, run
from edgewise.simulate.measure import CLOUD, FAILED, OK, REFUSED, Outcome
from edgewise.simulate.scenario import Scenario, parse_scenario
from edgewise.simulate.servers import Replica
from edgewise.traffic.capacity import erlang_c


class Standing:
    """The same orders for ever."""

    def __init__(self, cloud: int = 8, **orders: Any) -> None:
        self.site = SiteOrders(**orders)
        self.cloud = cloud
        self.seen: list[Sequence[SiteSeen]] = []

    def begin(self, setting: Setting) -> Orders:
        self.orders = Orders(
            tuple(replace(self.site, replicas=site.replicas.min) for site in setting.sites), self.cloud
        )
        return self.orders

    def look(self, now: float, seen: Sequence[SiteSeen] | None) -> Orders:
        if seen is not None:
            self.seen.append(seen)
        return self.orders


def scenario(rate: float = 40, duration: float = 300, **more: Any) -> Scenario:
    site = {"name": "a", "load": {"steps": [{"at": 0, "rate": rate}]}, **more.pop("site", {})}
    return parse_scenario({"name": "t", "duration": duration, "sites": [site], **more})


def play(world: Scenario, law: Standing, seed: int = 1) -> Run:
    simulation = Run(world, draw(world, seed), law, seed)
    simulation.go()
    return simulation


def test_waiting_is_what_queueing_theory_says() -> None:
    """M/M/1 at 0.6: exponential service (spread 1), an endless queue; P(T > t) = exp(-(mu - lambda) t)."""
    world = scenario(
        rate=20,
        duration=4000,
        site={"spread": 1.0, "replicas": {"min": 1, "max": 1}},
        promise={"target": "80ms", "maxInFlight": 64},
    )
    simulation = play(world, Standing(limit=1e6))
    times = simulation.latency
    mu = 1 / 0.03
    for bound in (0.05, 0.1, 0.2):
        share = sum(time > bound for time in times) / len(times)
        assert share == pytest.approx(math.exp(-(mu - 20) * bound), rel=0.12)


def test_two_servers_wait_as_erlang_says() -> None:
    """A common queue (M/M/2) waits less than two queues of which the shorter is joined, but not by much."""
    world = scenario(
        rate=45, duration=2000, site={"spread": 1.0}, promise={"target": "80ms", "maxInFlight": 64}
    )
    simulation = play(world, Standing(limit=1e6))
    mean = sum(simulation.latency) / len(simulation.latency)
    common = 0.03 + erlang_c(2, 45 * 0.03) / (2 / 0.03 - 45)
    assert common <= mean * 1.05
    assert mean <= 1.3 * common


@settings(max_examples=25, deadline=None)
@given(st.floats(0.5, 6), st.floats(5, 200), st.integers(0, 100))
def test_no_gate_lets_in_more_than_its_limit(limit: float, rate: float, seed: int) -> None:
    replica, most = Replica(work=0.03, limit=limit, ready=0.0), 0
    now = 0.0
    world = scenario(rate=rate, duration=10)
    requests = draw(world, seed)
    for now, admission, work in zip(requests.at, requests.admission, requests.edge_work, strict=True):
        if replica.takes(now, admission):
            replica.admit(now, work, 5.0)
        most = max(most, replica.in_flight(now))
    assert most <= math.ceil(limit)


def test_the_same_seed_gives_the_same_run_and_another_one_does_not() -> None:
    world = scenario()

    def result(seed: int) -> tuple[float, ...]:
        outcome = run(world, draw(world, seed), Standing(spill=True), seed)
        return outcome.requests, outcome.violations, outcome.cloud, outcome.p99

    assert result(3) == result(3)
    assert result(3) != result(4)


def counted(simulation: Run) -> tuple[int, int]:
    place = simulation.places[0]
    size = len(place.edge.started)
    edge, cloud = place.edge.total(size), place.cloud.total(size)
    return edge.started + cloud.started - place.retried, edge.ended + cloud.ended - place.retried


@pytest.mark.parametrize(
    "orders", [{"share": 0.5}, {"spill": True}, {"share": 0.0}, {"spill": True, "limit": 1.0}]
)
def test_the_routers_counters_account_for_every_request(orders: dict[str, Any]) -> None:
    simulation = play(scenario(rate=90, duration=60), Standing(**orders))
    offered, ended = counted(simulation)
    assert offered == len(simulation.latency)
    assert ended == offered


def test_what_the_edge_refuses_goes_to_the_cloud_and_comes_back_in_time() -> None:
    simulation = play(scenario(rate=150, duration=60), Standing(spill=True, limit=2.0))
    away = [time for time, side in zip(simulation.latency, simulation.side, strict=True) if side == CLOUD]
    assert len(away) > 1000
    assert min(away) > 0.025
    assert all(code == OK for code in simulation.code)


def test_a_dead_link_fails_what_leaves_and_nothing_else() -> None:
    site = {"link": {"outage": {"during": [["0s", "60s"]]}}}
    simulation = play(scenario(rate=150, duration=60, site=site), Standing(spill=True, limit=2.0))
    for side, code in zip(simulation.side, simulation.code, strict=True):
        assert (code == FAILED) == (side == CLOUD)


def test_a_closed_cloud_answers_429_and_never_5xx() -> None:
    simulation = play(scenario(rate=150, duration=60), Standing(spill=True, limit=2.0, cloud_open=False))
    assert set(simulation.code) == {OK, REFUSED}
    assert CLOUD not in set(simulation.side)


def test_a_dying_replica_loses_no_request_that_may_be_sent_again() -> None:
    site = {"faults": [{"kind": "dead", "during": ["20s", "40s"]}]}
    simulation = play(scenario(rate=45, duration=60, site=site), Standing(spill=True, limit=2.0))
    assert all(code == OK for code in simulation.code)
    stranded = play(scenario(rate=45, duration=60, site=site), Standing(limit=2.0))
    assert any(code != OK for code in stranded.code)


def test_a_hanging_replica_holds_what_it_has_until_it_goes_on() -> None:
    replica = Replica(work=0.03, limit=2, ready=0.0, hangs=[(10.0, 20.0)])
    assert replica.admit(9.99, 1.0, 5.0) == pytest.approx(20.02)
    assert replica.admit(10.5, 1.0, 5.0) == pytest.approx(20.05)
    assert replica.in_flight(19.0) == 2
    # The router has hung up after five seconds; the server does not know.
    assert replica.seen_by_router(15.6) == 0
    assert replica.in_flight(20.03) == 1


def test_replicas_get_slower_as_the_scenario_says() -> None:
    site = {"faults": [{"kind": "slower", "during": ["100s", "200s"], "times": 2}]}
    simulation = play(scenario(rate=5, duration=300, site=site), Standing(limit=8.0))
    early = [t for t, at in zip(simulation.latency, simulation.requests.at, strict=True) if at < 100]
    late = [t for t, at in zip(simulation.latency, simulation.requests.at, strict=True) if at > 200]
    assert sum(late) / len(late) == pytest.approx(2 * sum(early) / len(early), rel=0.15)


def test_a_cold_replica_takes_no_requests_before_it_has_started() -> None:
    cloud = {"replicas": {"min": 0, "max": 4}, "startup": ["20s", "20s"]}
    simulation = play(scenario(rate=150, duration=60, cloud=cloud), Standing(cloud=4, spill=True, limit=2.0))
    away = [at for at, side in zip(simulation.requests.at, simulation.side, strict=True) if side == CLOUD]
    assert 20.0 <= min(away) < 21.5


def test_a_cap_on_the_cloud_holds() -> None:
    world = scenario(rate=150, duration=30)
    simulation = Run(world, draw(world, 1), Standing(spill=True, limit=2.0, cloud_in_flight=1), 1)
    outcome: Outcome = simulation.go()
    # One at a time for 55 ms each: at most about 18 a second of the 84 that the edge refuses.
    assert 30 * 10 < sum(side == CLOUD for side in simulation.side) < 30 * 19
    assert outcome.refused > 30


def test_lost_readings_are_not_shown_and_others_come_at_their_period() -> None:
    law = Standing(spill=True)
    play(scenario(duration=60, sight={"period": 5, "lost": [["20s", "31s"]]}), law)
    assert len(law.seen) == 12 - 3
    started = [seen[0].edge.started for seen in law.seen]
    assert started == sorted(started)


def test_sticky_connections_keep_their_side() -> None:
    world = scenario(rate=100, duration=20, site={"load": {"sticky": 1.0, "steps": [{"at": 0, "rate": 100}]}})
    simulation = play(world, Standing(share=0.5))
    sides: dict[int, set[int]] = {}
    for connection, side in zip(simulation.requests.connection, simulation.side, strict=True):
        sides.setdefault(connection, set()).add(side)
    assert all(len(found) == 1 for found in sides.values())
    assert {side for found in sides.values() for side in found} == {0, 1}
