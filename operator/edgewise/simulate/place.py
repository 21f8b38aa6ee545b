"""The two ends of a request: a site with its replicas, router and link; and the pool in the cloud."""

from __future__ import annotations

import random
from dataclasses import replace
from heapq import heappop

from edgewise.simulate.control import BUCKETS, ReplicaSeen, SideTotals, SiteOrders, SiteSeen
from edgewise.simulate.scenario import Cloud, Link, Promise, Site
from edgewise.simulate.servers import Device, Replica, faulted
from edgewise.traffic.admission import Target, start


class Counts:
    """What a router counts of one side, by second; `total` adds it up as far as it was asked for."""

    def __init__(self, size: int) -> None:
        self.last = size - 1
        self.started = [0] * size
        self.refused = [0] * size
        self.failed = [0] * size
        self.buckets = [[0] * size for _ in range(len(BUCKETS) + 1)]
        self._upto = 0
        self._total = SideTotals()

    def total(self, second: int) -> SideTotals:
        """Counters up to the beginning of a second; seconds may only grow."""
        span = slice(self._upto, second)
        self._upto = second
        self._total = SideTotals(
            self._total.started + sum(self.started[span]),
            self._total.refused + sum(self.refused[span]),
            self._total.failed + sum(self.failed[span]),
            tuple(n + sum(bucket[span]) for n, bucket in zip(self._total.buckets, self.buckets, strict=True)),
        )
        return self._total


class Place:
    """One service at one site."""

    def __init__(
        self, site: Site, promise: Promise, size: int, stream: random.Random, device: Device | None = None
    ) -> None:
        self.site = site
        self.device = device
        self.promise = promise
        self.target = Target(promise.target, promise.allowed, promise.max_in_flight)
        self.edge, self.cloud = Counts(size), Counts(size)
        self.orders = SiteOrders()
        self.replicas: list[Replica] = []
        self.ready: list[Replica] = []
        self.stream = stream
        self.offered = self.retried = 0
        self.sticky: dict[int, bool] = {}
        self.in_transit = 0
        self.returns: list[float] = []
        self.may_leave = True
        #: For every second: the mean K of the ready replicas, and the share by weight.
        self.limits: list[float] = []
        self.shares: list[float] = []
        self.warm_seconds = 0

    def choose(self, now: float, pick: int) -> Replica | None:
        """The replica that the router's balancing gives: fewest in flight of all, of two drawn, or any."""
        ready = self.ready
        if not ready:
            return None
        if pick:
            ready = self.stream.choices(ready, k=pick)
        best, least = None, 1 << 30
        for replica in ready:
            if replica.deaths and not replica.serves(now):
                continue
            count = replica.seen_by_router(now)
            if count < least or (count == least and best is not None and replica.turn < best.turn):
                best, least = replica, count
        if best is not None:
            best.turn = now
        return best

    def away(self, now: float) -> int:
        """Requests of this site that are in the cloud or on the way."""
        returns = self.returns
        while returns and returns[0] <= now:
            heappop(returns)
        return len(returns) + self.in_transit

    def link_is_down(self, now: float) -> bool:
        """Whether the link to the cloud is gone."""
        outage = self.site.link.outage
        if outage.every and now >= outage.every and now % outage.every < outage.lasts:
            return True
        return any(begin <= now < end for begin, end in outage.during)

    def one_way(self, now: float) -> float:
        """Seconds from the site to the cloud or back."""
        link: Link = self.site.link
        trip = link.round_trip
        if link.slow and any(begin <= now < end for begin, end in link.slow):
            trip += link.slower_by
        return trip / 2

    def obey(self, now: float, orders: SiteOrders, *, first: bool = False) -> None:
        """Put orders in force; replicas that are added need their time to start."""
        bounds = self.site.replicas
        wanted = min(bounds.max, max(bounds.min, orders.replicas))
        while len(self.replicas) < wanted:
            ready = now if first else now + self.stream.uniform(*self.site.startup)
            self.replicas.append(self._new(ready, len(self.replicas), orders))
        del self.replicas[wanted:]
        self.may_leave = orders.cloud_open and self.site.may_spill
        allowed = orders.allowed or self.promise.allowed
        if (orders.ceiling, allowed) != (self.target.ceiling, self.target.allowed):
            self.target = replace(self.target, ceiling=orders.ceiling, allowed=allowed)
        for replica in self.replicas:
            if orders.limit is not None:
                replica.law, replica.limit = None, orders.limit
            else:
                replica.limit = min(replica.limit, orders.ceiling)
        self.orders = orders
        self._refresh(now)

    def _new(self, ready: float, number: int, orders: SiteOrders) -> Replica:
        law = None
        if orders.limit is None:
            law = start(self.target, self.site.profile or self.site.service_time)
        limit = law.limit if law else orders.limit or 1.0
        device = self.device or Device()
        return faulted(Replica(self.site.service_time, limit, ready, law, device), number, self.site.faults)

    def tick(self, second: int, now: float) -> None:
        """Law S of every replica sees the second that has passed."""
        for replica in self.replicas:
            replica.tick(second, self.target)
        self._refresh(now)
        self.warm_seconds += len(self.ready)
        limits = [replica.limit for replica in self.ready]
        self.limits.append(sum(limits) / len(limits) if limits else 0.0)
        self.shares.append(self.orders.share)

    def _refresh(self, now: float) -> None:
        without = self.orders.without
        self.ready = [
            replica
            for number, replica in enumerate(self.replicas)
            if replica.ready <= now and number not in without
        ]

    def seen(self, now: float, cloud_ready: int) -> SiteSeen:
        """What can be read of this site at `now`."""
        second = int(now)
        return SiteSeen(
            edge=self.edge.total(second),
            cloud=self.cloud.total(second),
            retried=self.retried,
            edge_ready=sum(replica.serves(now) for replica in self.ready),
            cloud_ready=cloud_ready,
            replicas=tuple(
                ReplicaSeen(number, replica.in_flight(now), replica.answered, replica.late, replica.limit)
                for number, replica in enumerate(self.replicas)
                if replica.serves(now)
            ),
        )


class Pool:
    """The cloud replicas that all sites share."""

    def __init__(self, cloud: Cloud, edge_time: float, stream: random.Random) -> None:
        self.cloud = cloud
        self.work = cloud.service_time or edge_time
        self.replicas: list[Replica] = []
        self.ready: list[Replica] = []
        self.stream = stream
        self.warm_seconds = 0
        self.limit = float(cloud.in_flight)

    def choose(self, now: float) -> Replica | None:
        """The replica with the fewest requests in flight."""
        best, least = None, 1 << 30
        for replica in self.ready:
            count = replica.in_flight(now)
            if count < least:
                if not count:
                    return replica
                best, least = replica, count
        return best

    def obey(self, now: float, wanted: int, limit: float | None, *, first: bool = False) -> None:
        """Start or end replicas; those that are ended finish what they have."""
        bounds = self.cloud.replicas
        self.limit = float(self.cloud.in_flight) if limit is None else limit
        wanted = min(bounds.max, max(bounds.min, wanted))
        while len(self.replicas) < wanted:
            at_once = first and len(self.replicas) < bounds.min
            ready = now if at_once else now + self.stream.uniform(*self.cloud.startup)
            self.replicas.append(Replica(self.work, self.limit, ready))
        if wanted < len(self.replicas):
            # Those that are not there yet go first, then the youngest.
            self.replicas.sort(key=lambda replica: replica.ready)
            del self.replicas[wanted:]
        for replica in self.replicas:
            replica.limit = self.limit
        self._refresh(now)

    def tick(self, now: float) -> None:
        """The end of a second."""
        self._refresh(now)
        self.warm_seconds += len(self.replicas)

    def _refresh(self, now: float) -> None:
        self.ready = [replica for replica in self.replicas if replica.ready <= now]
