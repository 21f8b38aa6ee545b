"""The small rules one by one: pool, neighbours, replicas, the cloud's health, the allowance."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.traffic.admission import FLOOR
from edgewise.traffic.allowance import HELPLESS, LEAST, MOST, Allowance, spend
from edgewise.traffic.cloudhealth import CloudHealth, judge
from edgewise.traffic.policy import RANK, Criticality, ReplicaSignal, Way
from edgewise.traffic.pool import Ask, Neighbour, grant, in_flight, yields
from edgewise.traffic.replicas import HUNG_SECONDS, RETRY_SECONDS, Watched, watch
from edgewise.traffic.signals import ServiceCount, SideCount

classes: st.SearchStrategy[Criticality] = st.sampled_from(["Critical", "High", "Normal", "BestEffort"])
asks = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=2),
    st.builds(Ask, rate=st.floats(0, 1000), work=st.floats(0.001, 2), criticality=classes),
    max_size=8,
)


@pytest.mark.parametrize(
    ("first", "grants"),
    [("Normal", (0.4, 0.2, 0.4)), ("Critical", (0.5, 0.2, 0.3)), ("BestEffort", (0.0, 0.2, 0.8))],
)
def test_grants_as_worked(first: Criticality, grants: tuple[float, ...]) -> None:
    found = grant({"a": Ask(0.5, 1, first), "b": Ask(0.2, 1), "c": Ask(1.0, 1)}, 1.0)
    assert tuple(found[key] for key in "abc") == pytest.approx(grants)


@given(asks, st.floats(0, 500))
def test_grants_fit_the_pool_and_nobody_gets_more_than_asked(wanted: dict[str, Ask], capacity: float) -> None:
    grants = grant(wanted, capacity)
    assert grants.keys() == wanted.keys()
    assert all(0 <= grants[key] <= ask.rate for key, ask in wanted.items())
    assert sum(grants[key] * ask.work for key, ask in wanted.items()) <= capacity * (1 + 1e-9) + 1e-9


@given(asks, st.floats(0, 500))
def test_nothing_is_left_over_while_somebody_wants_it(wanted: dict[str, Ask], capacity: float) -> None:
    grants = grant(wanted, capacity)
    used = sum(grants[key] * ask.work for key, ask in wanted.items())
    short = any(grants[key] < ask.rate * (1 - 1e-9) for key, ask in wanted.items())
    assert not short or used == pytest.approx(capacity)


@given(asks, st.floats(0, 500))
def test_who_is_less_critical_waits_for_those_above(wanted: dict[str, Ask], capacity: float) -> None:
    grants = grant(wanted, capacity)
    short = [
        RANK[ask.criticality] for key, ask in wanted.items() if grants[key] < ask.rate * (1 - 1e-6) - 1e-9
    ]
    for key, ask in wanted.items():
        if short and RANK[ask.criticality] > min(short):
            assert grants[key] * ask.work == pytest.approx(0.0, abs=1e-6)


@given(asks, st.floats(0.1, 500))
def test_within_a_class_who_is_short_has_no_less_than_anybody(
    wanted: dict[str, Ask], capacity: float
) -> None:
    grants = grant(wanted, capacity)
    for key, ask in wanted.items():
        if grants[key] >= ask.rate * (1 - 1e-9):
            continue
        for other, theirs in wanted.items():
            if theirs.criticality == ask.criticality:
                assert grants[key] * ask.work >= grants[other] * theirs.work * (1 - 1e-6) - 1e-9


def test_in_flight_follows_little() -> None:
    assert in_flight(100, 0.055) == math.ceil(100 * 0.055 * 1.3)
    assert in_flight(0, 0.055) == 0
    assert in_flight(0.01, 0.055) == 1


neighbours = st.lists(
    st.builds(
        Neighbour,
        key=st.uuids().map(str),
        criticality=classes,
        ceiling=st.floats(FLOOR, 16),
        overloaded=st.booleans(),
        factor=st.floats(0.1, 1),
    ),
    max_size=6,
    unique_by=lambda each: each.key,
)


@given(neighbours)
def test_ceilings_stay_usable_and_the_critical_never_yield(services: list[Neighbour]) -> None:
    factors = yields(services)
    most = min((RANK[each.criticality] for each in services if each.overloaded), default=None)
    for each in services:
        assert factors[each.key] <= 1
        assert factors[each.key] >= min(each.factor, FLOOR / each.ceiling)
        if most is not None and (each.criticality == "Critical" or RANK[each.criticality] <= most):
            assert factors[each.key] == each.factor


def test_the_least_critical_yields_first_and_comes_back() -> None:
    def site(overloaded: bool, best_effort: float, normal: float) -> list[Neighbour]:
        return [
            Neighbour("high", "High", 8, overloaded),
            Neighbour("normal", "Normal", 8, False, normal),
            Neighbour("rest", "BestEffort", 8, False, best_effort),
        ]

    best_effort, normal = 1.0, 1.0
    while best_effort * 8 > FLOOR:
        factors = yields(site(True, best_effort, normal))
        assert factors["normal"] == 1.0
        assert factors["rest"] < best_effort
        best_effort = factors["rest"]
    assert yields(site(True, best_effort, normal))["normal"] < 1.0
    calm = yields(site(False, best_effort, 1.0))
    assert calm["rest"] > best_effort


def look(
    watched: Watched, now: float, *replicas: tuple[str, float, float, float, float], seconds: float = 1.0
) -> Watched:
    signals = [ReplicaSignal(*each) for each in replicas]
    return watch(watched, signals, service=0.03, allowed=0.05, seconds=seconds, now=now)


def test_a_replica_that_hangs_beside_a_working_one_gets_no_more_requests_until_it_answers() -> None:
    watched, now = Watched(), 0.0
    while not watched.out:
        now += 1.0
        watched = look(watched, now, ("a", 2, 0, 0, 2.0), ("b", 1, 30, 0, 2.0))
        assert now < HUNG_SECONDS + 3
    assert watched.out == {"a"}
    watched = look(watched, now + 100, ("a", 2, 0, 0, 2.0), ("b", 1, 30, 0, 2.0))
    assert watched.out == {"a"}
    assert look(watched, now + 101, ("a", 0, 2, 2, 2.0), ("b", 1, 30, 0, 2.0)).out == frozenset()


def test_a_replica_that_is_slow_at_its_floor_is_taken_out_and_tried_again() -> None:
    watched = Watched()
    for second in range(1, 5):
        watched = look(watched, second, ("a", 1, 10, 8, FLOOR), ("b", 1, 30, 0, 2.0))
    assert watched.out == {"a"}
    watched = look(watched, 5 + RETRY_SECONDS, ("a", 0, 0, 0, FLOOR), ("b", 1, 30, 0, 2.0))
    assert watched.out == frozenset()


def test_when_all_hang_or_are_slow_none_is_taken_out() -> None:
    watched = Watched()
    for second in range(1, 60):
        watched = look(watched, second, ("a", 2, 0, 0, FLOOR), ("b", 2, 0, 0, FLOOR))
        assert watched.out == frozenset()
    for second in range(60, 120):
        watched = look(watched, second, ("a", 1, 30, 20, FLOOR), ("b", 1, 30, 20, FLOOR))
        assert watched.out == frozenset()


def test_the_last_replica_stays_whatever_it_does() -> None:
    watched = Watched()
    for second in range(1, 60):
        watched = look(watched, second, ("a", 2, 0, 0, FLOOR))
    assert watched.out == frozenset()


def test_replicas_that_are_gone_are_forgotten() -> None:
    watched = look(Watched(), 1.0, ("a", 1, 3, 0, 2.0))
    assert look(watched, 2.0, ("b", 1, 3, 0, 2.0)).records.keys() == {"b"}


@given(st.lists(st.tuples(st.integers(0, 200), st.floats(0, 1)), max_size=60))
def test_the_cloud_is_closed_only_on_evidence(looks: list[tuple[int, float]]) -> None:
    health, now = CloudHealth(), 0.0
    for ended, bad in looks:
        now += 1.0
        before = health
        health = judge(health, SideCount(ended, ended, late=round(bad * ended)), 1.0, now)
        if before.way is Way.OPEN and health.way is Way.CLOSED:
            assert ended > 0
            assert bad > 0
        assert health.way in (Way.OPEN, Way.CLOSED, Way.PROBE)


def test_a_silent_cloud_is_not_judged() -> None:
    health = CloudHealth()
    for second in range(100):
        health = judge(health, SideCount(), 1.0, float(second))
    assert health.way is Way.OPEN


@given(st.lists(st.tuples(st.integers(0, 500), st.floats(0, 1), st.floats(0, 1)), max_size=40))
def test_what_is_told_stays_between_its_bounds(looks: list[tuple[int, float, float]]) -> None:
    allowance = Allowance()
    for started, late, refused in looks:
        edge = SideCount(
            started, started, refused=round(refused * started), late=round((1 - refused) * late * started)
        )
        allowance = spend(allowance, ServiceCount(edge), float(started), 0.05, 1.0)
        assert LEAST - 1e-9 <= allowance.told <= MOST + 0.05


def test_lost_refusals_do_not_lower_what_is_told_below_the_helpless_part() -> None:
    allowance = Allowance()
    for _ in range(100):
        allowance = spend(allowance, ServiceCount(SideCount(100, 100, refused=50)), 100.0, 0.05, 1.0)
    assert allowance.told == pytest.approx(HELPLESS)
