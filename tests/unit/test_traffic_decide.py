"""The operator's decision: what must hold whatever is seen, and what each rule promises."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.traffic.admission import FLOOR
from edgewise.traffic.decide import State, decide, settle, share_site
from edgewise.traffic.policy import Decision, Policy, Reason, ReplicaSignal, Signals, Way
from edgewise.traffic.signals import ServiceCount, SideCount

POLICY = Policy(
    target=0.08, allowed=0.05, edge_service=0.03, cloud_service=0.03, edge_min=1, edge_max=4, cloud_max=8,
    round_trip=0.025,
)  # fmt: skip


@st.composite
def sides(draw: st.DrawFn, most: int = 500) -> SideCount:
    started, ended = draw(st.integers(0, most)), draw(st.integers(0, most))
    refused = draw(st.integers(0, ended))
    failed = draw(st.integers(0, ended - refused))
    late = draw(st.integers(0, ended - refused - failed))
    return SideCount(started, ended, refused, failed, late, early=0, very_late=draw(st.integers(0, late)))


@st.composite
def signals(draw: st.DrawFn) -> Signals:
    names = draw(st.sets(st.sampled_from("abcd"), max_size=4))
    edge = draw(sides())
    return Signals(
        seconds=draw(st.floats(0.5, 15)),
        count=ServiceCount(edge, draw(sides()), retried=draw(st.integers(0, edge.started))),
        edge_ready=len(names),
        cloud_ready=draw(st.integers(0, 8)),
        replicas=tuple(
            ReplicaSignal(
                name,
                in_flight=draw(st.integers(0, 8)),
                ended=draw(st.integers(0, 100)),
                late=draw(st.integers(0, 100)),
                limit=draw(st.floats(FLOOR, 8)),
            )
            for name in sorted(names)
        ),
        unknown=draw(st.integers(0, 2)),
    )


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    edge, cloud = (sorted((draw(st.integers(0, 6)), draw(st.integers(0, 6)))) for _ in range(2))
    return Policy(
        target=draw(st.floats(0.01, 2)),
        allowed=draw(st.floats(0.01, 0.3)),
        edge_service=draw(st.floats(0.001, 1)),
        cloud_service=draw(st.floats(0.001, 1)),
        ceiling=draw(st.floats(FLOOR, 16)),
        edge_min=edge[0], edge_max=edge[1], cloud_min=cloud[0], cloud_max=cloud[1],
        round_trip=draw(st.floats(0, 0.5)),
        mode=draw(st.sampled_from(["Never", "Fallback", "Burst"])),
        resident=draw(st.booleans()),
        criticality=draw(st.sampled_from(["Critical", "High", "Normal", "BestEffort"])),
        link_rate=draw(st.none() | st.floats(0.1, 100)),
        price=draw(st.floats(0, 3)),
        gateway=draw(st.booleans()),
    )  # fmt: skip


histories = st.lists(st.none() | signals(), max_size=8)


def run(policy: Policy, history: list[Signals | None]) -> list[Decision]:
    state, now, decisions = State(), 0.0, []
    for each in history:
        now += each.seconds if each else 2.0
        state, decision = decide(each, policy, state, now)
        decisions.append(decision)
    return decisions


@settings(max_examples=150)
@given(policies(), histories)
def test_whatever_is_seen_the_decision_stays_within_what_is_declared(
    policy: Policy, history: list[Signals | None]
) -> None:
    for decision in run(policy, history):
        assert policy.edge_min <= decision.edge <= policy.edge_max
        assert decision.ceiling <= policy.ceiling
        assert 0 < decision.allowed < 1
        assert 0 <= decision.share <= 1
        assert decision.demand >= 0
        if policy.may_leave:
            assert policy.cloud_min <= decision.cloud <= policy.cloud_max


@settings(max_examples=150)
@given(policies(), histories)
def test_residency_and_mode_hold_in_every_decision(policy: Policy, history: list[Signals | None]) -> None:
    for forbidden in (replace(policy, resident=False), replace(policy, mode="Never")):
        for decision in run(forbidden, history):
            assert decision.way is Way.CLOSED
            assert (decision.cloud, decision.demand, decision.share) == (0, 0.0, 1.0)


@settings(max_examples=100)
@given(policies(), histories, st.integers(1, 5))
def test_silence_changes_nothing(policy: Policy, history: list[Signals | None], silent: int) -> None:
    decisions = run(policy, [*history, *[None] * silent])
    for before, after in zip(decisions[-silent - 1 : -1], decisions[-silent:], strict=False):
        assert replace(after, reasons=()) == replace(before, reasons=())
    assert decisions[-1].reasons == (Reason.SILENT,)


@settings(max_examples=50)
@given(policies(), histories)
def test_the_same_history_gives_the_same_decisions(policy: Policy, history: list[Signals | None]) -> None:
    assert run(policy, history) == run(policy, history)


@settings(max_examples=100)
@given(policies(), histories)
def test_half_of_the_replicas_at_least_get_requests(policy: Policy, history: list[Signals | None]) -> None:
    state, now = State(), 0.0
    for each in history:
        now += each.seconds if each else 2.0
        before = state
        state, decision = decide(each, policy, state, now)
        if each is not None and not each.unknown and before.last is not None:
            there = {one.name for one in each.replicas}
            assert len(decision.without & there) <= len(there) // 2


@given(policies(), histories)
def test_with_weights_and_no_cloud_ready_everything_stays(
    policy: Policy, history: list[Signals | None]
) -> None:
    gateway = replace(policy, gateway=True)
    cold = [replace(each, cloud_ready=0) if each else None for each in history]
    assert all(decision.share == 1.0 for decision in run(gateway, cold))


def busy(spilled: float, *, late: float = 0.0, ready: int = 8, seconds: float = 1.0) -> Signals:
    """100 requests/s of which `spilled` go to the cloud, where `late` of them are late."""
    cloud = SideCount(started=spilled, ended=spilled, late=late * spilled)
    edge = SideCount(started=100, ended=100, refused=spilled)
    return Signals(seconds, ServiceCount(edge, cloud, retried=spilled), 2, ready)


def test_a_cloud_that_is_always_late_is_taken_out_and_tried_again() -> None:
    decisions = run(POLICY, [busy(30)] * 20 + [busy(30, late=1.0)] * 15)
    assert decisions[19].way is Way.OPEN
    closed = next(number for number, one in enumerate(decisions) if one.way is Way.CLOSED)
    assert 20 <= closed < 32
    assert Reason.NO_HELP in decisions[closed].reasons
    probe = next(one for one in decisions[closed:] if one.way is Way.PROBE)
    assert probe.cloud_in_flight == 1


def test_a_cloud_that_is_well_again_is_open_again() -> None:
    nothing = replace(busy(30), count=ServiceCount(SideCount(started=100, ended=100, refused=30)))
    healed = replace(busy(1), seconds=1.0)
    history = [busy(30)] * 5 + [busy(30, late=1.0)] * 12 + [nothing] * 12 + [healed] * 3
    assert run(POLICY, history)[-1].way is Way.OPEN


def test_a_late_cloud_that_is_only_too_small_grows() -> None:
    calm = run(POLICY, [busy(30)] * 20)[-1]
    late = run(POLICY, [busy(30, late=0.4)] * 20)[-1]
    assert late.way is Way.OPEN
    assert late.cloud > calm.cloud
    assert Reason.UNDERSIZED in late.reasons


def test_a_jump_is_answered_in_the_first_look() -> None:
    quiet = replace(busy(0), count=ServiceCount(SideCount(started=15, ended=15)), cloud_ready=0)
    flood = replace(busy(0), count=ServiceCount(SideCount(started=150, ended=150, refused=85)), cloud_ready=0)
    decisions = run(POLICY, [quiet] * 30 + [flood])
    assert decisions[-2].cloud == 0
    # ceil(1.3 * 85 * 0.03 / 0.6) = 6 are needed, more are started: the pool's most.
    assert decisions[-1].cloud == 8
    assert Reason.COLD in decisions[-1].reasons


def test_unknown_nodes_keep_what_stands() -> None:
    history = [busy(30)] * 10
    idle = replace(busy(0), count=ServiceCount(), unknown=1)
    decisions = run(POLICY, [*history, *[replace(idle, seconds=15.0)] * 60])
    assert decisions[-1].edge >= decisions[9].edge
    assert decisions[-1].cloud >= decisions[9].cloud
    assert Reason.UNKNOWN in decisions[-1].reasons


def test_a_metered_link_caps_what_is_in_flight() -> None:
    metered = run(replace(POLICY, link_rate=10.0), [busy(30)] * 10)[-1]
    # Little: 10/s for 55 ms, with slack.
    assert metered.cloud_in_flight == 1
    assert Reason.METERED in metered.reasons
    assert run(POLICY, [busy(30)] * 10)[-1].cloud_in_flight is None


def test_a_price_lets_the_edge_be_late_more_often() -> None:
    free, priced = (run(replace(POLICY, price=price), [busy(30)] * 10)[-1] for price in (0.0, 0.5))
    assert priced.allowed == pytest.approx(1.5 * free.allowed)


def test_what_was_late_lowers_what_the_edge_may_be() -> None:
    bad = replace(
        busy(10, late=0.5), count=replace(busy(10, late=0.5).count, edge=SideCount(100, 100, 10, 0, 15))
    )
    good = run(POLICY, [busy(10)] * 60)[-1]
    spent = run(POLICY, [bad] * 60)[-1]
    assert spent.allowed < POLICY.allowed < good.allowed
    assert Reason.SPENT in spent.reasons


def test_where_refusing_helps_nobody_the_edge_is_not_told_to_refuse_more() -> None:
    lost = replace(busy(0), count=ServiceCount(SideCount(100, 100, 40, 0, 2)), cloud_ready=0)
    assert run(POLICY, [lost] * 60)[-1].allowed >= 0.5 * POLICY.allowed


def test_fallback_takes_failures_only() -> None:
    assert run(replace(POLICY, mode="Fallback"), [busy(1)] * 3)[-1].way is Way.FAILURES


@pytest.mark.parametrize(
    ("service", "round_trip", "limit"),
    [(0.03, 0.025, 2), (0.03, 0.0, 3), (0.12, 0.0, 1), (0.03, 0.2, 8), (0.001, 0.0, 8)],
)
def test_what_a_cloud_replica_admits_is_what_is_in_time(
    service: float, round_trip: float, limit: int
) -> None:
    assert replace(POLICY, cloud_service=service, round_trip=round_trip).cloud_limit == limit


@pytest.mark.parametrize(
    ("field", "value"),
    [("target", 0.0), ("allowed", 1.0), ("edge_service", -1.0), ("ceiling", 0.1), ("edge_min", 9)],
)
def test_a_policy_without_meaning_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match="wanted"):
        replace(POLICY, **{field: value})


def wanting(rate: float, way: Way = Way.OPEN) -> Decision:
    return Decision(edge=2, cloud=4, demand=rate, offered=100, way=way, ceiling=8, allowed=0.05)


def test_a_pool_that_suffices_limits_nobody() -> None:
    decisions = {"a": wanting(40), "b": wanting(20)}
    assert settle(decisions, {key: POLICY for key in decisions}, replicas=4) == decisions


def test_a_short_pool_serves_the_critical_first() -> None:
    policies = {"a": replace(POLICY, criticality="Critical"), "b": POLICY, "c": POLICY}
    settled = settle({"a": wanting(60), "b": wanting(60), "c": wanting(60)}, policies, replicas=4)
    # 4 * 0.85 / 0.03 = 113 requests/s: 60 for the critical one, 26.7 for each of the others.
    assert settled["a"].cloud_in_flight is None
    assert settled["b"].demand == settled["c"].demand == pytest.approx(26.7, abs=0.1)
    assert settled["b"].cloud_in_flight == 2
    assert Reason.SHORT in settled["b"].reasons


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 200), min_size=1),
    st.integers(0, 10),
    st.sets(st.sampled_from("abcdef")),
)
def test_settling_never_gives_more_than_was_wanted_nor_opens_what_is_closed(
    rates: dict[str, float], replicas: int, closed: set[str]
) -> None:
    decisions = {key: wanting(rate, Way.CLOSED if key in closed else Way.OPEN) for key, rate in rates.items()}
    settled = settle(decisions, {key: POLICY for key in rates}, replicas)
    for key, decision in settled.items():
        assert decision.demand <= decisions[key].demand
        assert decision.way is decisions[key].way


@given(
    st.lists(st.tuples(policies(), st.booleans()), min_size=1, max_size=5),
    st.integers(1, 30),
)
def test_sharing_a_site_lowers_ceilings_within_bounds_and_never_those_of_the_critical(
    services: list[tuple[Policy, bool]], looks: int
) -> None:
    declared = {str(number): policy for number, (policy, _) in enumerate(services)}
    decisions = {
        str(number): replace(wanting(10), ceiling=policy.ceiling, reasons=(Reason.SPENT,) if in_need else ())
        for number, (policy, in_need) in enumerate(services)
    }
    factors: dict[str, float] = {}
    for _ in range(looks):
        shared, factors = share_site(decisions, declared, factors)
    for key, decision in shared.items():
        assert FLOOR <= decision.ceiling <= declared[key].ceiling
        if declared[key].criticality == "Critical":
            assert decision.ceiling == declared[key].ceiling
        assert (Reason.YIELDS in decision.reasons) == (factors[key] < 1)
