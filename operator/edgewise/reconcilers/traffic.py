"""Traffic of a site: look at its router, size both sides of every service there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import Gauge

from edgewise.api.inferenceservice import InferenceService
from edgewise.api.meta import SIDE_CLOUD, SIDE_EDGE, seconds
from edgewise.cluster.views import PodView
from edgewise.reconcilers.context import Context, SiteTraffic
from edgewise.reconcilers.replica_looks import ReplicaLooks
from edgewise.reconcilers.routing import orders_of, services_at
from edgewise.reconcilers.traffic_policy import policy_of
from edgewise.reconcilers.traffic_start import traffic_of
from edgewise.render.names import ROUTER
from edgewise.signals import envoy
from edgewise.signals.scrape import ScrapeError, Scraper
from edgewise.traffic.decide import decide, settle, share_site
from edgewise.traffic.policy import Decision, ReplicaSignal, Signals
from edgewise.traffic.signals import ServiceCount

#: Seconds between two looks at a router.
PERIOD: Final = 2.0
#: Seconds that a router has for taking up a configuration; the kubelet's remounting is in them.
SETTLING: Final = 10.0
#: Work a second and ready cloud replica above which the cloud is crowded, and the part of it where it is not.
CROWDED: Final = 0.85
RELIEVED: Final = 0.6
_OFFERED: Final = Gauge("edgewise_offered_requests_per_second", "Requests callers make.", ["service", "site"])
_REFUSED: Final = Gauge(
    "edgewise_spilled_requests_per_second", "Requests that go to the cloud.", ["service", "site"]
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look showed of a service: counters by router, replicas, and whether a router was silent."""

    counts: Mapping[str, ServiceCount]
    replicas: tuple[ReplicaSignal, ...]
    silent: bool


class TrafficReconciler:
    """Reads counters, and asks for a pass of a service when a size of it changed."""

    def __init__(self, context: Context, scraper: Scraper) -> None:
        self._context = context
        self._scraper = scraper
        self._replicas = ReplicaLooks(context, scraper)
        #: What was told of a service at a site last; only a change of it is told again.
        self._said: dict[tuple[str, str], object] = {}

    async def __call__(self, key: str) -> float | None:
        """One look at the router of a site. Silence changes nothing; it is only remembered."""
        world = self._context.world
        site = world.sites.get(key)
        if site is None or site.spec.tier != "Edge":
            return None
        services = {service.metadata.key: service for service in services_at(world, key)}
        routers = [pod for pod in world.pods.by("site", (ROUTER, key)) if pod.takes_requests]
        if services and routers:
            await self._look(key, services, routers)
        return PERIOD

    async def _look(
        self, site: str, services: Mapping[str, InferenceService], routers: list[PodView]
    ) -> None:
        targets = {key: seconds(service.spec.shift.latency.target) for key, service in services.items()}
        seen: dict[str, dict[str, ServiceCount]] = {key: {} for key in services}
        silent = False
        behind: dict[str, str] = {}
        for router in routers:
            try:
                text = await self._scraper.fetch(envoy.url(router.address))
            except ScrapeError:
                silent = True
                continue
            behind |= self._behind(site, router.name, envoy.in_force(text))
            for key, count in envoy.counts(text, targets).items():
                if key in seen:
                    seen[key][router.uid] = count
        self._note_behind(site, behind)
        for key, service in services.items():
            replicas = () if silent else await self._replicas.look(key, site, targets[key])
            self._learn(key, service, site, Seen(seen[key], replicas, silent))
        self._share(site, list(services))

    def _behind(self, site: str, router: str, found: envoy.InForce) -> dict[str, str]:
        """What to say of a router that goes by something else than was written a while ago."""
        known = self._context.routers.get(site)
        if known is None or self._context.clock() - known.since < SETTLING:
            return {}
        late = sorted(name for name, version in known.wanted.items() if found.versions.get(name) != version)
        if not late:
            return {}
        refused = f"; it has refused {found.refused} updates since it started" if found.refused else ""
        return {router: f"{', '.join(late)} not in force{refused}"}

    def _note_behind(self, site: str, behind: Mapping[str, str]) -> None:
        known = self._context.routers.get(site)
        if known is not None and known.behind != behind:
            known.behind = behind
            self._context.enqueue("EdgeSite", site, 0)

    def _learn(self, key: str, service: InferenceService, site: str, seen: Seen) -> None:
        """Decide for one service from what was counted since the last look."""
        context, now = self._context, self._context.clock()
        policy = policy_of(context.world, key, service, site)
        here = context.world.sites.get(site)
        outside = here is not None and here.spec.upstream is not None
        known = traffic_of(context, key, service, site)
        signals = None if seen.silent else self._signals(key, site, known, seen, now)
        known.policy, known.stale, known.outside = policy, seen.silent, outside
        known.state, known.decision = decide(signals, policy, known.state, now)
        if not seen.silent:
            known.last, known.at = seen.counts, now
            _OFFERED.labels(key, site).set(known.state.sizes.offered)
            _REFUSED.labels(key, site).set(known.state.sizes.refused)
            known.crowded = is_crowded(known)

    def _signals(self, key: str, site: str, known: SiteTraffic, seen: Seen, now: float) -> Signals:
        # A router that is seen for the first time has counted before we looked: it starts the next delta.
        delta = sum(
            (count.since(known.last[uid]) for uid, count in seen.counts.items() if uid in known.last),
            ServiceCount(),
        )
        world = self._context.world
        pods = world.pods.by("service", key)
        edge = [pod for pod in pods if pod.side == SIDE_EDGE and pod.site == site]
        nodes = [world.nodes.get(pod.node) for pod in edge]
        return Signals(
            seconds=max(0.1, now - known.at),
            count=delta,
            edge_ready=sum(pod.takes_requests for pod in edge),
            cloud_ready=(
                1 if known.outside else sum(pod.takes_requests and pod.side == SIDE_CLOUD for pod in pods)
            ),
            replicas=seen.replicas,
            unknown=sum(node is not None and not node.ready for node in nodes),
        )

    def _share(self, site: str, keys: Sequence[str]) -> None:
        """Settle what services of one site, and sites of one service, leave each other; tell who changed."""
        context = self._context
        here = {key: context.traffic[key][site] for key in keys}
        decisions, factors = share_site(
            {key: known.decision for key, known in here.items()},
            {key: known.policy for key, known in here.items()},
            {key: known.factor for key, known in here.items()},
        )
        for key, known in here.items():
            known.factor = factors[key]
            known.decision = self._settled(key, site, decisions[key])
            said = (
                known.sizes,
                known.stale,
                round(known.spilled, 2),
                orders_of(known),
            )
            if said != self._said.get((key, site)):
                self._said[(key, site)] = said
                context.enqueue("InferenceService", key, 0)
                context.enqueue("EdgeSite", site, 0)

    def _settled(self, key: str, site: str, decision: Decision) -> Decision:
        """What the service's cloud replicas leave for this site, when all sites want more than they give."""
        known = {
            name: each
            for name, each in self._context.traffic[key].items()
            if name == site or not each.outside
        }
        if known[site].outside:
            return decision
        # What the others want, not what they were left with: else everybody would seem to fit.
        decisions = {name: each.state.last or each.decision for name, each in known.items()}
        decisions[site] = decision
        policies = {name: each.policy for name, each in known.items()}
        return settle(decisions, policies, policies[site].cloud_max)[site]


def is_crowded(known: SiteTraffic) -> bool:
    """Whether the cloud gets more than its ready replicas hold: on above CROWDED, off below a part of it.

    As long as it holds all, a limit would refuse what chance has brought together for a moment.
    """
    if known.outside:
        return False
    rates = known.state.sizes
    load = rates.refused * known.policy.cloud_service / max(1, rates.cloud_ready)
    return load > (CROWDED * RELIEVED if known.crowded else CROWDED)
