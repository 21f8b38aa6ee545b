"""One run: requests of all sites against replicas, links and the cloud, second by second.

Within a second requests are taken in the order of time; what a request meets later (the cloud at the end of
the link, the retry after a death) waits in a heap. Laws look at the counters between seconds. One request
costs a few microseconds, and the run depends on the scenario, the seed and the law's orders alone.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Final

from edgewise.simulate.arrivals import Requests
from edgewise.simulate.control import Law, Orders, Setting, SiteSeen
from edgewise.simulate.measure import CLOUD, EDGE, FAILED, OK, REFUSED, Outcome, measure
from edgewise.simulate.place import Place, Pool
from edgewise.simulate.scenario import Scenario
from edgewise.simulate.servers import Device

#: How long the router waits for a connection to the cloud, in seconds (as the rendered router does).
CONNECT_TIMEOUT: Final = 1.0
#: What a refusal and the second attempt cost, in seconds.
RETRY_COST: Final = 0.002


class Run:
    """State of one run. `go` is called once."""

    def __init__(self, scenario: Scenario, requests: Requests, law: Law, seed: int) -> None:
        self.scenario = scenario
        self.requests = requests
        self.law = law
        self.patience = max(5.0, 10 * scenario.promise.target)
        self.seconds = math.ceil(scenario.duration)
        size = self.seconds + math.ceil(self.patience) + 2
        sites = scenario.each_site()
        shared = {site.device: Device() for site in sites if site.device}
        self.places = [
            Place(
                site, scenario.promise, size, random.Random(f"{seed} site {number}"), shared.get(site.device)
            )
            for number, site in enumerate(sites)
        ]
        self.pool = Pool(scenario.cloud, self.places[0].site.service_time, random.Random(f"{seed} pool"))
        count = len(requests.at)
        self.latency = [0.0] * count
        self.side = bytearray(count)
        self.code = bytearray(count)
        #: Deferred: (when, order, request, whether it is at the cloud's door or at the site's once more).
        self.later: list[tuple[float, int, int, bool]] = []
        self.order = 0
        self.pick = {"least-request": 0, "two-choices": 2, "random": 1}[scenario.balance]
        self.edges = [bound * scenario.promise.target for bound in (0.25, 0.5, 1.0, 2.0, 4.0)]

    def go(self) -> Outcome:
        """Run to the end of the scenario."""
        setting = Setting(self.scenario, self.scenario.each_site())
        self._obey(0.0, self.law.begin(setting), first=True)
        at, sites, later = self.requests.at, self.requests.site, self.later
        index, count = 0, len(at)
        for second in range(self.seconds):
            until = second + 1.0
            while True:
                now = at[index] if index < count else math.inf
                if later and later[0][0] <= now:
                    if later[0][0] >= until:
                        break
                    when, _, request, at_cloud = heappop(later)
                    if at_cloud:
                        self._at_cloud(request, when)
                    else:
                        self._leave(request, when, self.places[sites[request]])
                    continue
                if now >= until:
                    break
                self._arrive(index, now, self.places[sites[index]])
                index += 1
            self._between(second)
        while later:
            when, _, request, at_cloud = heappop(later)
            if at_cloud:
                self._at_cloud(request, when)
            else:
                self._leave(request, when, self.places[sites[request]])
        return measure(
            self.scenario, self.latency, self.side, self.code, self.places, self.pool, self.requests
        )

    def _arrive(self, index: int, now: float, place: Place) -> None:
        """A request reaches its site's router."""
        place.offered += 1
        orders = place.orders
        if orders.share < 1.0 and not self._to_edge(index, orders.share, place):
            self._leave(index, now, place)
            return
        place.edge.started[int(now)] += 1
        replica = place.choose(now, self.pick)
        if replica is None or not replica.takes(now, self.requests.admission[index]):
            if orders.spill:
                place.edge.refused[int(now)] += 1
                place.retried += 1
                self._leave(index, now + RETRY_COST, place)
            else:
                self._end(index, place, EDGE, REFUSED, now, RETRY_COST)
            return
        end = replica.admit(now, self.requests.edge_work[index], self.patience)
        if replica.deaths:
            death = replica.dies(now, end)
            if death < math.inf:
                self._reset(index, death, place)
                return
        latency = end - now
        replica.note(end, latency > place.target.latency)
        if latency > self.patience:
            self._end(index, place, EDGE, FAILED, now, self.patience)
        else:
            self._end(index, place, EDGE, OK, now, latency)

    def _to_edge(self, index: int, share: float, place: Place) -> bool:
        """Split by weight; a sticky connection keeps the side that it got first."""
        to_edge = self.requests.side[index] < share
        connection = self.requests.connection[index]
        return place.sticky.setdefault(connection, to_edge) if connection >= 0 else to_edge

    def _reset(self, index: int, death: float, place: Place) -> None:
        """The replica died with the request in it: the router asks elsewhere, if it may."""
        if place.orders.spill:
            place.edge.failed[int(death)] += 1
            place.retried += 1
            self._defer(death, index, at_cloud=False)
        else:
            self._end(index, place, EDGE, FAILED, self.requests.at[index], death - self.requests.at[index])

    def _leave(self, index: int, now: float, place: Place) -> None:
        """Send a request to the cloud, where that is possible."""
        began = self.requests.at[index]
        cap = place.orders.cloud_in_flight
        full = cap is not None and place.away(now) >= cap
        if full or not (place.may_leave and self.pool.ready):
            # No cluster of the router counts this: the edge's refusal, if there was one, is counted already.
            self._note(index, EDGE, REFUSED, now - began)
            return
        place.cloud.started[int(now)] += 1
        if place.link_is_down(now):
            self._end(index, place, CLOUD, FAILED, began, now + CONNECT_TIMEOUT - began)
            return
        place.in_transit += 1
        self._defer(now + place.one_way(now), index, at_cloud=True)

    def _at_cloud(self, index: int, now: float) -> None:
        """A request reaches the cloud's balancer."""
        place = self.places[self.requests.site[index]]
        began = self.requests.at[index]
        place.in_transit -= 1
        back = place.one_way(now)
        replica = self.pool.choose(now)
        if replica is None or not replica.takes(now, self.requests.admission[index]):
            self._end(index, place, CLOUD, REFUSED, began, now + back - began)
            return
        end = replica.admit(now, self.requests.cloud_work[index], self.patience) + back
        if place.orders.cloud_in_flight is not None:
            heappush(place.returns, end)
        latency = end - began
        if latency > self.patience:
            self._end(index, place, CLOUD, FAILED, began, self.patience)
        else:
            self._end(index, place, CLOUD, OK, began, latency)

    def _end(self, index: int, place: Place, side: int, code: int, began: float, latency: float) -> None:
        """Note what a caller got, and count it in the second in which it went out."""
        self._note(index, side, code, latency)
        counts = place.edge if side == EDGE else place.cloud
        second = min(int(began + latency), counts.last)
        if code == OK:
            counts.buckets[bisect_left(self.edges, latency)][second] += 1
        elif code == FAILED:
            counts.failed[second] += 1
        else:
            counts.refused[second] += 1

    def _note(self, index: int, side: int, code: int, latency: float) -> None:
        self.latency[index] = latency
        self.side[index] = side
        self.code[index] = code

    def _defer(self, when: float, index: int, *, at_cloud: bool) -> None:
        self.order += 1
        heappush(self.later, (when, self.order, index, at_cloud))

    def _between(self, second: int) -> None:
        """What happens at the end of a second: law S, then a reading of the counters and new orders."""
        now = second + 1.0
        for place in self.places:
            place.tick(second, now)
        self.pool.tick(now)
        sight = self.scenario.sight
        if (second + 1) % sight.period:
            return
        seen: Sequence[SiteSeen] | None = None
        if not any(begin <= now < end for begin, end in sight.lost):
            ready = len(self.pool.ready)
            seen = [place.seen(now, ready) for place in self.places]
        self._obey(now, self.law.look(now, seen))

    def _obey(self, now: float, orders: Orders, *, first: bool = False) -> None:
        for place, wanted in zip(self.places, orders.sites, strict=True):
            place.obey(now, wanted, first=first)
        self.pool.obey(now, orders.cloud_replicas, orders.cloud_limit, first=first)


def run(scenario: Scenario, requests: Requests, law: Law, seed: int) -> Outcome:
    """Let a law run a fleet through a scenario.

    Args:
        scenario: who asks, who answers, what breaks.
        requests: what `draw` made of the scenario and the same seed.
        law: a fresh one.
        seed: of the times that replicas need to start.
    """
    foresee = getattr(law, "foresee", None)
    if foresee is not None:
        foresee(requests)
    return Run(scenario, requests, law, seed).go()
