"""Looks at the edge replicas of a service one by one, where there are several at a site."""

from __future__ import annotations

import asyncio
from typing import Final

from edgewise.api.meta import SIDE_EDGE
from edgewise.cluster.views import PodView
from edgewise.reconcilers.context import Context
from edgewise.reconcilers.routing import port_of
from edgewise.signals import serving
from edgewise.signals.scrape import ScrapeError, Scraper
from edgewise.signals.serving import ReplicaCount
from edgewise.traffic.policy import ReplicaSignal

#: A single replica is never left out, so nothing is asked of it.
SEVERAL: Final = 2


class ReplicaLooks:
    """Remembers what each replica counted, to tell what it did since the last look."""

    def __init__(self, context: Context, scraper: Scraper) -> None:
        self._context = context
        self._scraper = scraper
        self._last: dict[tuple[str, str], dict[str, ReplicaCount]] = {}

    async def look(self, key: str, site: str, target: float) -> tuple[ReplicaSignal, ...]:
        """What the replicas of a service did; those that do not answer, or are not ours, are left out.

        Args:
            key: the service's.
            site: where.
            target: its latency target, in seconds.
        """
        pods = [
            pod
            for pod in self._context.world.pods.by("service", key)
            if pod.side == SIDE_EDGE and pod.site == site and pod.takes_requests
        ]
        if len(pods) < SEVERAL:
            self._last.pop((key, site), None)
            return ()
        before = self._last.get((key, site), {})
        found = await asyncio.gather(*(self._ask(key, pod, target) for pod in pods))
        now = {pod.name: count for pod, count in zip(pods, found, strict=True) if count is not None}
        self._last[(key, site)] = now
        return tuple(
            ReplicaSignal(
                name=name,
                in_flight=count.in_flight,
                ended=max(0.0, count.ended - before[name].ended),
                late=max(0.0, count.late - before[name].late),
                limit=count.limit,
            )
            for name, count in sorted(now.items())
            if name in before
        )

    async def _ask(self, key: str, pod: PodView, target: float) -> ReplicaCount | None:
        port = port_of(self._context.world, key, pod)
        if port is None:
            return None
        try:
            return serving.replica_count(await self._scraper.fetch(serving.url(pod.address, port)), target)
        except ScrapeError:
            return None
