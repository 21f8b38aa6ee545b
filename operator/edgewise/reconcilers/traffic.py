"""Traffic of a site: look at its router, size both sides of every service there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from prometheus_client import Gauge

from edgewise.api.inferenceservice import InferenceService
from edgewise.api.meta import LABEL_SERVICE, LABEL_SIDE, LABEL_SITE, SIDE_CLOUD, SIDE_EDGE, seconds
from edgewise.cluster.views import PodView
from edgewise.reconcilers.context import Context, SiteTraffic
from edgewise.render.names import ROUTER
from edgewise.signals import envoy
from edgewise.signals.scrape import ScrapeError, Scraper
from edgewise.traffic.signals import ServiceCount
from edgewise.traffic.sizing import Bounds, Sizes, TrafficState, observe, size

#: Seconds between two looks at a router.
PERIOD: Final = 2.0
#: Seconds that a router has for taking up a configuration; the kubelet's remounting is in them.
SETTLING: Final = 10.0
#: Service time that is assumed when the model has no profile, as a part of the target.
_ASSUMED_PART: Final = 0.25
_OFFERED: Final = Gauge("edgewise_offered_requests_per_second", "Requests callers make.", ["service", "site"])
_REFUSED: Final = Gauge(
    "edgewise_spilled_requests_per_second", "Requests that go to the cloud.", ["service", "site"]
)


class TrafficReconciler:
    """Reads counters, and asks for a pass of a service when a size of it changed."""

    def __init__(self, context: Context, scraper: Scraper) -> None:
        self._context = context
        self._scraper = scraper

    async def __call__(self, key: str) -> float | None:
        """One look at the router of a site. Silence changes nothing; it is only remembered."""
        world = self._context.world
        site = world.sites.get(key)
        if site is None or site.spec.tier != "Edge":
            return None
        services = self._services(key)
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
            self._learn(key, service, site, seen[key], silent)

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

    def _learn(
        self, key: str, service: InferenceService, site: str, seen: Mapping[str, ServiceCount], silent: bool
    ) -> None:
        context = self._context
        now = context.clock()
        known = context.traffic.get((key, site))
        if known is None:
            known = context.traffic[(key, site)] = self._start(key, service, site, now)
            known.last, known.at = dict(seen), now
            return
        if silent:
            if not known.stale:
                known.stale = True
                context.enqueue("InferenceService", key, 0)
            return
        # A router that is seen for the first time has counted before we looked: it starts the next delta.
        delta = sum(
            (count.since(known.last[uid]) for uid, count in seen.items() if uid in known.last), ServiceCount()
        )
        passed = max(0.1, now - known.at)
        before = (known.sizes, known.stale, _share(known.state))
        known.last, known.at, known.stale = dict(seen), now, False
        state = observe(known.state, delta, passed, self._cloud_ready(key), now)
        known.state, known.sizes = size(state, self._bounds(key, service, site), now)
        _OFFERED.labels(key, site).set(known.state.offered)
        _REFUSED.labels(key, site).set(known.state.refused)
        if (known.sizes, known.stale) != before[:2] or abs(_share(known.state) - before[2]) > 0.01:
            context.enqueue("InferenceService", key, 0)

    def _start(self, key: str, service: InferenceService, site: str, now: float) -> SiteTraffic:
        """Begin from what stands there: an operator that has just started changes nothing."""
        edge, cloud = service.spec.edge.replicas.min, service.spec.cloud.replicas.min
        for obj in self._context.world.deployments.by("service", key):
            marks, replicas = obj["metadata"]["labels"], int(obj["spec"].get("replicas", 1))
            if marks[LABEL_SIDE] == SIDE_EDGE and marks[LABEL_SITE] == site:
                edge = max(edge, replicas)
            elif marks[LABEL_SIDE] == SIDE_CLOUD:
                cloud = max(cloud, replicas)
        return SiteTraffic(
            TrafficState(edge=edge, edge_at=now, cloud=cloud, cloud_at=now), Sizes(edge=edge, cloud=cloud)
        )

    def _services(self, site: str) -> dict[str, InferenceService]:
        """Services that run at a site, by key."""
        found = {}
        for obj in self._context.world.deployments.by("site", site):
            name = obj["metadata"]["labels"].get(LABEL_SERVICE)
            key = f"{obj['metadata']['namespace']}/{name}"
            service = self._context.world.services.get(key) if name else None
            if service is not None:
                found[key] = service
        return found

    def _cloud_ready(self, key: str) -> int:
        return sum(
            pod.takes_requests and pod.side == SIDE_CLOUD
            for pod in self._context.world.pods.by("service", key)
        )

    def _bounds(self, key: str, service: InferenceService, site: str) -> Bounds:
        latency = service.spec.shift.latency
        target = seconds(latency.target)
        edge, cloud = service.spec.edge.replicas, service.spec.cloud.replicas
        return Bounds(
            edge_min=edge.min,
            edge_max=edge.max,
            cloud_min=cloud.min,
            cloud_max=cloud.max,
            target=target,
            allowed=1 - latency.percentile / 100,
            edge_service=self._profile(key, service, SIDE_EDGE, site) or target * _ASSUMED_PART,
            cloud_service=self._profile(key, service, SIDE_CLOUD, "") or target * _ASSUMED_PART,
            may_spill=service.spec.cloud.mode != "Never",
        )

    def _profile(self, key: str, service: InferenceService, side: str, site: str) -> float | None:
        """Seconds of one request as the model's profile has it for the variant that runs there."""
        model = self._context.world.models.get(f"{service.metadata.namespace}/{service.spec.model_ref.name}")
        if model is None:
            return None
        for obj in self._context.world.deployments.by("service", key):
            marks = obj["metadata"]["labels"]
            if marks[LABEL_SIDE] != side or (site and marks[LABEL_SITE] != site):
                continue
            for variant in model.spec.variants:
                if variant.name == marks.get("edgewise.dev/variant") and variant.profile:
                    return seconds(variant.profile[0].latency)
        return None


def _share(state: TrafficState) -> float:
    return state.refused / state.offered if state.offered > 0.5 else 0.0
