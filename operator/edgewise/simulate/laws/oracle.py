"""A split by somebody who knows rate, faults and links of the coming second: a bound, not a product."""

from __future__ import annotations

from collections.abc import Sequence

from edgewise.simulate.arrivals import Array, Requests
from edgewise.simulate.control import Orders, Setting, SiteSeen
from edgewise.simulate.laws.base import ByWeights, Facts, SiteLaw, Window, Wish
from edgewise.simulate.scenario import Fault, Site
from edgewise.simulate.servers import Slowdown
from edgewise.traffic.capacity import share_late

#: What is late of the cloud when nothing is wrong with it, and how much of it one may use.
CLOUD_LATE, CLOUD_USE = 0.003, 0.85
#: How many seconds ahead the cloud is sized.
AHEAD = 60


class Clairvoyant(ByWeights):
    """The largest edge share that keeps the promise as queueing theory has it, for the true state.

    `scale` corrects the theory, and is tuned for each scenario on the tuning seeds.
    """

    def __init__(self, scale: float, cloud_limit: float | None = None) -> None:
        super().__init__(self._site, cloud_limit)
        self._scale = scale
        self._next = 0
        self._rates: Array | None = None

    def foresee(self, requests: Requests) -> None:
        """Learn every rate of the run."""
        self._rates = requests.rates

    def begin(self, setting: Setting) -> Orders:
        """Start with what the first second needs."""
        self._known = setting
        return super().begin(setting)

    def look(self, now: float, seen: Sequence[SiteSeen] | None) -> Orders:
        """What is hidden from others does not hinder it, but it decides only when others do."""
        return super().look(now, seen)

    def _site(self, facts: Facts) -> SiteLaw:
        if self._rates is None:
            raise RuntimeError("the clairvoyant law was not told the future; call foresee first")
        number, self._next = self._next, self._next + 1
        return _Split(facts, self._known, number, self._rates[number], self._scale)


class _Split(SiteLaw):
    def __init__(self, facts: Facts, setting: Setting, number: int, rates: Array, scale: float) -> None:
        super().__init__(facts)
        self.site: Site = setting.sites[number]
        self.sites = len(setting.sites)
        self.rates, self.scale = rates, scale
        self.spread2 = self.site.spread**2
        self._known: dict[tuple[float, ...], float] = {}

    def step(self, now: float, window: Window) -> Wish:
        second = min(int(now), len(self.rates) - 1)
        rate = float(self.rates[second])
        work = self.site.service_time * self._slower(now)
        replicas = self._alive(now)
        trouble = self._link_trouble(now)
        cloud = CLOUD_USE * window.cloud_ready / self.sites / self.facts.cloud_profile
        key = (rate, work, replicas, trouble, cloud)
        if key not in self._known:
            self._known[key] = self._best(rate, work, replicas, 1.0 if trouble else CLOUD_LATE, cloud)
        self.share = self._known[key]
        ahead = float(self.rates[second : second + AHEAD].max())
        return Wish(self.share, max(0.0, ahead - self.scale * self._legal(work, replicas)))

    def _best(self, rate: float, work: float, replicas: int, cloud_late: float, cloud: float) -> float:
        """The largest edge share within the allowance; without one, the share with the fewest violations."""
        best, fewest = 0.0, 2.0
        for percent in range(100, -1, -1):
            share = percent / 100
            here = self._late(share * rate / self.scale, work, replicas)
            away = (1 - share) * rate
            there = cloud_late if away <= cloud else 1.0
            bad = share * here + (1 - share) * there
            if bad <= self.facts.allowed:
                return share
            if bad < fewest:
                best, fewest = share, bad
        return best

    def _late(self, rate: float, work: float, replicas: int) -> float:
        """Share over target at the edge."""
        if not rate or not replicas:
            return 1.0 if rate else 0.0
        batch = float(self.site.load.batch)
        return share_late(replicas, rate, work, self.facts.target, batch, self.spread2)

    def _legal(self, work: float, replicas: int) -> float:
        """About what the edge can take, for the size of the cloud."""
        return 0.6 * replicas / work

    def _slower(self, now: float) -> float:
        times = 1.0
        for fault in self.site.faults:
            if fault.kind == "slower" and fault.replicas is None:
                times *= Slowdown(*fault.during, times=fault.times).at(now)
        return times

    def _alive(self, now: float) -> int:
        gone: set[int] = set()
        for fault in self.site.faults:
            if fault.kind != "slower" and fault.during[0] <= now < fault.during[1]:
                gone.update(_hit(fault, self.site))
        return self.site.replicas.max - len(gone)

    def _link_trouble(self, now: float) -> bool:
        link = self.site.link
        outage = link.outage
        if outage.every and now >= outage.every and now % outage.every < outage.lasts:
            return True
        if any(begin <= now < end for begin, end in outage.during):
            return True
        late = link.round_trip + link.slower_by + self.facts.cloud_profile > self.facts.target
        return late and any(begin <= now < end for begin, end in link.slow)


def _hit(fault: Fault, site: Site) -> Sequence[int]:
    return range(site.replicas.max) if fault.replicas is None else fault.replicas
