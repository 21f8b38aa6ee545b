"""What edgewise does: law S in every replica, the edge first, and the operator's decisions (or law W)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgewise.simulate.control import Orders, ReplicaSeen, Setting, SideTotals, SiteOrders, SiteSeen
from edgewise.traffic.decide import State, decide, settle, share_site
from edgewise.traffic.policy import Decision, Policy, ReplicaSignal, Signals, Way
from edgewise.traffic.signals import ServiceCount, SideCount
from edgewise.traffic.sizing import TrafficState


class Edgewise:
    """The product's own code, fed with what the product can see. `gateway` runs it with weights only."""

    def __init__(self, *, gateway: bool = False, decides: bool = True) -> None:
        self._gateway = gateway
        self._decides = decides

    def begin(self, setting: Setting) -> Orders:
        """What is declared, before anything was seen."""
        self._setting = setting
        self._policies = [self._policy(number) for number in range(len(setting.sites))]
        self._states = [
            State(sizes=TrafficState(edge=policy.edge_min, cloud=policy.cloud_min))
            for policy in self._policies
        ]
        self._before: tuple[float, Sequence[SiteSeen]] | None = None
        self._devices: dict[str, list[str]] = {}
        self._factors: dict[str, dict[str, float]] = {}
        for number, site in enumerate(setting.sites):
            if site.device and self._decides:
                self._devices.setdefault(site.device, []).append(str(number))
        decisions = []
        for number, policy in enumerate(self._policies):
            self._states[number], decision = decide(None, policy, self._states[number], 0.0)
            decisions.append(decision)
        return self._orders(decisions)

    def look(self, now: float, seen: Sequence[SiteSeen] | None) -> Orders:
        """One look of the operator at all sites."""
        decisions = []
        for number, policy in enumerate(self._policies):
            signals = None if seen is None else self._signals(number, now, seen)
            self._states[number], decision = decide(signals, policy, self._states[number], now)
            decisions.append(decision)
        if seen is not None:
            self._before = (now, seen)
        return self._orders(decisions)

    def _policy(self, number: int) -> Policy:
        scenario, site = self._setting.scenario, self._setting.sites[number]
        promise = scenario.promise
        return Policy(
            target=promise.target,
            allowed=promise.allowed,
            ceiling=promise.max_in_flight,
            edge_service=self._setting.profile(number),
            cloud_service=self._setting.cloud_profile,
            edge_min=site.replicas.min,
            edge_max=site.replicas.max,
            cloud_min=0,
            cloud_max=scenario.cloud.replicas.max,
            round_trip=site.link.round_trip,
            mode="Burst" if site.may_spill else "Never",
            criticality=site.criticality,
            link_rate=site.link.metered,
            gateway=self._gateway,
        )

    def _signals(self, number: int, now: float, seen: Sequence[SiteSeen]) -> Signals:
        then, before = self._before if self._before is not None else (0.0, None)
        site = seen[number]
        past = before[number] if before is not None else None
        zero = SideTotals()
        count = ServiceCount(
            edge=_side(site.edge.since(past.edge if past else zero)),
            cloud=_side(site.cloud.since(past.cloud if past else zero)),
            retried=site.retried - (past.retried if past else 0),
        )
        known = {replica.number: replica for replica in past.replicas} if past else {}
        return Signals(
            seconds=now - then,
            count=count,
            edge_ready=site.edge_ready,
            cloud_ready=site.cloud_ready,
            replicas=tuple(_replica(each, known.get(each.number)) for each in site.replicas),
        )

    def _orders(self, decisions: Sequence[Decision]) -> Orders:
        keys = [str(number) for number in range(len(decisions))]
        settled = settle(
            dict(zip(keys, decisions, strict=True)),
            dict(zip(keys, self._policies, strict=True)),
            self._setting.scenario.cloud.replicas.max,
        )
        for device, services in self._devices.items():
            theirs = {key: settled[key] for key in services}
            policies = {key: self._policies[int(key)] for key in services}
            shared, self._factors[device] = share_site(theirs, policies, self._factors.get(device, {}))
            settled |= shared
        chosen = [settled[key] for key in keys]
        return Orders(
            sites=tuple(self._site(decision) for decision in chosen),
            cloud_replicas=sum(decision.cloud for decision in chosen),
            cloud_limit=max(policy.cloud_limit for policy in self._policies),
        )

    def _site(self, decision: Decision) -> SiteOrders:
        orders = SiteOrders(
            spill=not self._gateway,
            cloud_open=decision.way is not Way.CLOSED,
            replicas=decision.edge,
            ceiling=decision.ceiling,
            allowed=decision.allowed if self._decides else None,
            cloud_in_flight=decision.cloud_in_flight,
            share=decision.share,
            without=frozenset(int(name) for name in decision.without),
        )
        if self._gateway:
            return replace(orders, limit=self._setting.scenario.promise.max_in_flight, allowed=None)
        if not self._decides:
            return replace(orders, cloud_open=True, cloud_in_flight=None, without=frozenset())
        return orders


def _side(delta: SideTotals) -> SideCount:
    return SideCount(
        started=delta.started,
        ended=delta.ended,
        refused=delta.refused,
        failed=delta.failed,
        late=delta.late,
        early=sum(delta.buckets[:2]),
        very_late=sum(delta.buckets[4:]),
    )


def _replica(now: ReplicaSeen, before: ReplicaSeen | None) -> ReplicaSignal:
    return ReplicaSignal(
        name=str(now.number),
        in_flight=now.in_flight,
        ended=now.ended - (before.ended if before else 0),
        late=now.late - (before.late if before else 0),
        limit=now.limit,
    )
