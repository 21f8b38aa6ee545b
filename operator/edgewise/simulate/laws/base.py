"""What laws by weights have in common: one small controller a site, and a cloud that follows them.

Every one of them gets the same cloud: replicas for the rate that it sends there at 60 % utilisation, kept
for five minutes; and without a ready cloud replica everything stays at the edge.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from edgewise.simulate.control import BUCKETS, Orders, Setting, SideTotals, SiteOrders, SiteSeen
from edgewise.traffic.capacity import replicas_for

#: The common rule of the cloud: utilisation, and seconds for which replicas are kept.
UTILISATION: Final = 0.6
KEEP_SECONDS: Final = 300.0
#: Edge replicas are kept this long, in seconds, where a law has no rule of its own.
EDGE_KEEP_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What a controller of one site knows from the start. Times in seconds."""

    profile: float
    cloud_profile: float
    target: float
    allowed: float
    round_trip: float
    smallest: int
    largest: int
    period: float


@dataclass(frozen=True, slots=True)
class Window:
    """Counts of one site over the last `seconds`, and what is there now."""

    seconds: float
    edge: SideTotals
    cloud: SideTotals
    offered: float
    edge_ready: int
    cloud_ready: int
    waiting: int

    @property
    def late_share(self) -> float:
        """Share of the edge's answers that were not as promised; 0 when there were none."""
        ended = self.edge.ended
        return (self.edge.late + self.edge.failed + self.edge.refused) / ended if ended else 0.0

    def p95(self, target: float) -> float:
        """95th percentile of the edge's latency as read off the buckets, as a multiple of the target."""
        total = self.edge.ended
        if not total:
            return 0.0
        wanted, below, low = 0.95 * total, 0.0, 0.0
        for bound, count in zip(BUCKETS, self.edge.buckets, strict=False):
            if below + count >= wanted:
                return low + (bound - low) * (wanted - below) / count
            below, low = below + count, bound
        return 2 * BUCKETS[-1]


@dataclass(slots=True)
class Wish:
    """What a controller of one site wants: the edge's share, requests/s in the cloud, edge replicas."""

    share: float
    cloud_rate: float
    replicas: int | None = None


class SiteLaw:
    """A controller of one site. `width` is the length of its window in seconds."""

    width = 1.0

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.share = 1.0

    def step(self, now: float, window: Window) -> Wish:
        """Decide from the last window."""
        raise NotImplementedError


@dataclass(slots=True)
class _Memory:
    """Readings of a site that a window still needs, and how long its replicas are kept."""

    readings: deque[tuple[float, SiteSeen]]
    replicas: int
    replicas_at: float = 0.0
    wish: Wish | None = None


class ByWeights:
    """Runs one `SiteLaw` a site, and sizes the cloud by the common rule."""

    def __init__(self, make: Callable[[Facts], SiteLaw], cloud_limit: float | None = None) -> None:
        self._make = make
        self._cloud_limit = cloud_limit
        self._cloud = 0
        self._cloud_at = 0.0

    def begin(self, setting: Setting) -> Orders:
        """All at the edge."""
        self._setting = setting
        promise = setting.scenario.promise
        self._laws = [
            self._make(
                Facts(
                    profile=setting.profile(number),
                    cloud_profile=setting.cloud_profile,
                    target=promise.target,
                    allowed=promise.allowed,
                    round_trip=site.link.round_trip,
                    smallest=site.replicas.min,
                    largest=site.replicas.max,
                    period=setting.scenario.sight.period,
                )
            )
            for number, site in enumerate(setting.sites)
        ]
        nothing = SiteSeen(SideTotals(), SideTotals(), 0, 0, 0)
        self._memories = [_Memory(deque([(0.0, nothing)]), site.replicas.min) for site in setting.sites]
        self._orders = self._order([Wish(law.share, 0.0) for law in self._laws])
        return self._orders

    def look(self, now: float, seen: Sequence[SiteSeen] | None) -> Orders:
        """Step every site; a reading that failed changes nothing."""
        if seen is None:
            return self._orders
        wishes = []
        for law, memory, site in zip(self._laws, self._memories, seen, strict=True):
            window = self._window(law, memory, now, site)
            wish = law.step(now, window)
            if wish.replicas is None:
                wish.replicas = self._edge(law.facts, memory, now, window.offered)
            if not site.cloud_ready:
                wish.share = 1.0
            wishes.append(wish)
        self._size(now, sum(wish.cloud_rate for wish in wishes))
        self._orders = self._order(wishes)
        return self._orders

    def _window(self, law: SiteLaw, memory: _Memory, now: float, site: SiteSeen) -> Window:
        readings = memory.readings
        while len(readings) > 1 and readings[1][0] <= now - law.width:
            readings.popleft()
        then, before = readings[0]
        readings.append((now, site))
        return Window(
            seconds=now - then,
            edge=site.edge.since(before.edge),
            cloud=site.cloud.since(before.cloud),
            offered=(site.offered - before.offered) / (now - then),
            edge_ready=site.edge_ready,
            cloud_ready=site.cloud_ready,
            waiting=site.edge.started - site.edge.ended,
        )

    @staticmethod
    def _edge(facts: Facts, memory: _Memory, now: float, offered: float) -> int:
        if facts.smallest == facts.largest:
            return facts.largest
        fit = replicas_for(1.1 * offered, facts.profile, facts.target, facts.allowed, max(1, facts.largest))
        if fit >= memory.replicas or now - memory.replicas_at > EDGE_KEEP_SECONDS:
            memory.replicas, memory.replicas_at = fit, now
        return memory.replicas

    def _size(self, now: float, rate: float) -> None:
        wanted = math.ceil(rate * self._setting.cloud_profile / UTILISATION)
        if wanted >= self._cloud or now - self._cloud_at > KEEP_SECONDS:
            self._cloud, self._cloud_at = wanted, now

    def _order(self, wishes: Sequence[Wish]) -> Orders:
        return Orders(
            sites=tuple(
                SiteOrders(
                    share=round(min(1.0, max(0.0, wish.share)), 3),
                    replicas=wish.replicas or 0,
                    limit=self._setting.scenario.promise.max_in_flight,
                )
                for wish in wishes
            ),
            cloud_replicas=self._cloud,
            cloud_limit=self._cloud_limit,
        )
