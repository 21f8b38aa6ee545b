"""What the operator decides about the traffic of one service at one site.

``decide(signals, policy, state, now) -> (state, decision)``, pure. The rules of docs/traffic.md are small
modules of their own: sizes (1, 4), the pool's planner and neighbours (2, 6: `settle` and `share_site`, which
look at many pairs at once), the cloud's health (3), slow replicas (5), what is left of the allowance, law W.
Here they are put in order, and rule 7 is kept: who is silent or unknown is left as he is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from edgewise.traffic.admission import FLOOR
from edgewise.traffic.allowance import Allowance, spend
from edgewise.traffic.cloudhealth import CloudHealth, judge
from edgewise.traffic.policy import Decision, Policy, Reason, Signals, Way
from edgewise.traffic.pool import UTILISATION, Ask, Neighbour, grant, in_flight, yields
from edgewise.traffic.replicas import Watched, watch
from edgewise.traffic.sizing import Bounds, Sizes, TrafficState, observe, size
from edgewise.traffic.weights import WeightState, weigh

#: Seconds until the next look: when all is as usual, and when something is being tried.
LOOK, LOOK_CLOSELY = 2.0, 1.0
#: After nodes that were unreachable report again, nothing is taken away for this long, in seconds.
SETTLE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class State:
    """All that is remembered of one service at one site."""

    sizes: TrafficState = field(default_factory=TrafficState)
    health: CloudHealth = field(default_factory=CloudHealth)
    watched: Watched = field(default_factory=Watched)
    allowance: Allowance = field(default_factory=Allowance)
    weights: WeightState = field(default_factory=WeightState)
    unknown_at: float = -math.inf
    last: Decision | None = None


def bounds_of(policy: Policy) -> Bounds:
    """What the sizes may be."""
    return Bounds(
        edge_min=policy.edge_min,
        edge_max=policy.edge_max,
        cloud_min=policy.cloud_min,
        cloud_max=policy.cloud_max,
        target=policy.target,
        allowed=policy.allowed,
        edge_service=policy.edge_service,
        cloud_service=policy.cloud_service,
        may_spill=policy.may_leave,
    )


def decide(signals: Signals | None, policy: Policy, state: State, now: float) -> tuple[State, Decision]:
    """One look at one service at one site.

    Args:
        signals: what was seen since the last look; None when nothing could be read: everything stays.
        policy: what is declared.
        state: what the last look returned; `State()` at first.
        now: seconds of a steady clock.
    """
    if signals is None or signals.seconds <= 0:
        return _hold(policy, state, Reason.SILENT)
    seen = _observe(signals, policy, state, now)
    remembered, sizes = size(seen.sizes, bounds_of(policy), now)
    seen = replace(seen, sizes=remembered)
    decision = _decision(seen, sizes, signals, policy)
    if signals.unknown or now - seen.unknown_at < SETTLE_SECONDS:
        decision = _keep_what_stands(decision, state.last)
    return replace(seen, last=decision), decision


def _observe(signals: Signals, policy: Policy, state: State, now: float) -> State:
    """Every memory takes the period in."""
    count, seconds = signals.count, signals.seconds
    health = judge(state.health, count.cloud, seconds, now) if signals.cloud_ready else state.health
    helps = health.way is Way.OPEN
    sizes = observe(state.sizes, count, seconds, signals.cloud_ready, now, correct=helps)
    allowance = spend(state.allowance, count, sizes.offered, policy.allowed, seconds)
    weights = state.weights
    if policy.gateway:
        allowed = policy.allowed * min(1.0, allowance.told)
        weights = weigh(weights, signals, policy, allowed, sizes.cloud_share_bad, now)
    return replace(
        state,
        sizes=sizes,
        health=health,
        allowance=allowance,
        weights=weights,
        watched=watch(state.watched, signals.replicas, policy.edge_service, policy.allowed, seconds, now),
        unknown_at=now if signals.unknown else state.unknown_at,
    )


def _decision(seen: State, sizes: Sizes, signals: Signals, policy: Policy) -> Decision:
    way, cap = _way(seen, policy)
    part = seen.allowance.told
    decision = Decision(
        edge=sizes.edge,
        cloud=sizes.cloud,
        demand=seen.sizes.refused if policy.may_leave else 0.0,
        offered=seen.sizes.offered,
        way=way,
        ceiling=policy.ceiling,
        allowed=policy.allowed * part * priced(policy),
        cloud_in_flight=cap,
        share=seen.weights.share if policy.gateway and policy.may_leave else 1.0,
        without=seen.watched.out,
        look_in=LOOK_CLOSELY if way in (Way.CLOSED, Way.PROBE) else LOOK,
    )
    return replace(decision, reasons=_reasons(seen, signals, policy, decision))


def _way(seen: State, policy: Policy) -> tuple[Way, int | None]:
    """The router's second group, and how much of it. Residency and mode come before everything."""
    if not policy.may_leave:
        return Way.CLOSED, None
    if seen.health.way is Way.CLOSED:
        return Way.CLOSED, None
    if seen.health.way is Way.PROBE:
        return Way.PROBE, 1
    cap = None
    if policy.link_rate is not None:
        cap = in_flight(policy.link_rate, policy.cloud_service + policy.round_trip)
    return (Way.FAILURES if policy.mode == "Fallback" else Way.OPEN), cap


def priced(policy: Policy) -> float:
    """A price per spilled request lets the edge be late more often: up to twice, at one late request each."""
    return 1.0 + min(1.0, max(0.0, policy.price))


def _reasons(seen: State, signals: Signals, policy: Policy, decision: Decision) -> tuple[Reason, ...]:
    checks = (
        (Reason.UNKNOWN, signals.unknown > 0),
        (Reason.FORBIDDEN, not policy.may_leave),
        (Reason.NO_HELP, policy.may_leave and decision.way is Way.CLOSED),
        (Reason.PROBING, decision.way is Way.PROBE),
        (Reason.COLD, policy.may_leave and signals.cloud_ready == 0 and decision.demand > 0.5),
        (Reason.UNDERSIZED, seen.sizes.factor > 1.2),
        (Reason.METERED, policy.link_rate is not None and decision.demand > policy.link_rate),
        (Reason.PRICED, policy.price > 0),
        (Reason.SLOW, bool(decision.without)),
        (Reason.SPENT, seen.allowance.told < 1),
        (Reason.SHIFTED, decision.share < 1),
    )
    return tuple(reason for reason, holds in checks if holds)


def _hold(policy: Policy, state: State, why: Reason) -> tuple[State, Decision]:
    """Nothing changes but what policy demands at once: what may no longer leave does not."""
    last = state.last
    if last is None:
        last = Decision(
            edge=max(policy.edge_min, state.sizes.edge),
            cloud=max(policy.cloud_min, state.sizes.cloud) if policy.may_leave else 0,
            demand=0.0,
            offered=state.sizes.offered,
            way=_way(state, policy)[0],
            ceiling=policy.ceiling,
            allowed=policy.allowed * state.allowance.told * priced(policy),
        )
    last = replace(
        last,
        edge=min(policy.edge_max, max(policy.edge_min, last.edge)),
        cloud=min(policy.cloud_max, max(policy.cloud_min, last.cloud)) if policy.may_leave else 0,
        way=last.way if policy.may_leave else Way.CLOSED,
        share=last.share if policy.may_leave else 1.0,
        ceiling=min(last.ceiling, policy.ceiling),
        reasons=(why,),
    )
    return replace(state, last=last), last


def _keep_what_stands(decision: Decision, last: Decision | None) -> Decision:
    """Nodes are unknown: nothing is taken away, neither replicas nor the way out."""
    if last is None:
        return decision
    return replace(
        decision,
        edge=max(decision.edge, last.edge),
        cloud=max(decision.cloud, last.cloud),
        without=decision.without & last.without,
    )


def settle(
    decisions: Mapping[str, Decision], policies: Mapping[str, Policy], replicas: int
) -> dict[str, Decision]:
    """Rule 2 for one pool: what its sites may send when together they want more than it can give.

    Args:
        decisions: of every pair that uses the pool, by key.
        policies: likewise.
        replicas: most replicas the pool can have.

    As long as all fits, nothing is limited: what a site needs in the next second is not known in this one.
    """
    asks = {
        key: Ask(decision.demand, policies[key].cloud_service, policies[key].criticality)
        for key, decision in decisions.items()
        if decision.way is not Way.CLOSED
    }
    capacity = UTILISATION * replicas
    if sum(ask.rate * ask.work for ask in asks.values()) <= capacity:
        return dict(decisions)
    settled = dict(decisions)
    for key, rate in grant(asks, capacity).items():
        decision, policy = decisions[key], policies[key]
        if rate >= asks[key].rate:
            continue
        cap = in_flight(rate, policy.cloud_service + policy.round_trip)
        if decision.cloud_in_flight is not None:
            cap = min(cap, decision.cloud_in_flight)
        settled[key] = replace(
            decision, cloud_in_flight=cap, reasons=(*decision.reasons, Reason.SHORT), demand=rate
        )
    return settled


def share_site(
    decisions: Mapping[str, Decision], policies: Mapping[str, Policy], factors: Mapping[str, float]
) -> tuple[dict[str, Decision], dict[str, float]]:
    """Rule 6 for services that share the processors of one site: the least critical makes room.

    Args:
        decisions: of the services at the site, by key.
        policies: likewise.
        factors: what the last call returned; empty at first.

    Returns:
        The decisions with ceilings as they are now, and by what part each ceiling is lowered.
    """
    neighbours = [
        Neighbour(
            key=key,
            criticality=policies[key].criticality,
            ceiling=policies[key].ceiling,
            overloaded=Reason.SPENT in decision.reasons,
            factor=factors.get(key, 1.0),
        )
        for key, decision in decisions.items()
    ]
    now = yields(neighbours)
    shared = {}
    for key, decision in decisions.items():
        if now[key] < 1:
            ceiling = max(FLOOR, min(decision.ceiling, policies[key].ceiling * now[key]))
            decision = replace(decision, ceiling=ceiling, reasons=(*decision.reasons, Reason.YIELDS))
        shared[key] = decision
    return shared, now
