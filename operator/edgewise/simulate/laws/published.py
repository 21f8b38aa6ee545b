"""Rules of published systems, as far as they apply to one model at edge and cloud.

INFaaS: Romero and others, USENIX ATC 2021. LA-IMR: Seo, Nguyen and Elmroth, arXiv:2505.07417. Both are
written here from what the papers say, with what they leave open as a setting that is tuned.
"""

from __future__ import annotations

import math

from edgewise.simulate.laws.base import Facts, SiteLaw, Window, Wish
from edgewise.traffic.capacity import erlang_c


class Infaas(SiteLaw):
    """Profiled throughput decides: send what the edge is profiled for there, the rest to the other worker.

    A worker whose latency is over its promise counts as overloaded and gets less at once; it gets its share
    back after a number of calm looks. Scaling down waits for calm looks too.
    """

    width = 2.0

    def __init__(self, facts: Facts, headroom: float, relief: float, calm: float) -> None:
        super().__init__(facts)
        self.headroom, self.relief, self.calm = headroom, relief, calm
        self._factor = 1.0
        self._bad_at = -math.inf
        self._replicas = facts.smallest
        self._needed_at = 0.0

    def step(self, now: float, window: Window) -> Wish:
        """One round of the worker's autoscaler and of the dispatcher."""
        facts = self.facts
        one = self.headroom / facts.profile
        wanted = min(facts.largest, max(facts.smallest, math.ceil(window.offered / one)))
        if wanted >= self._replicas:
            self._replicas, self._needed_at = wanted, now
        elif now - self._needed_at > self.calm:
            self._replicas, self._needed_at = self._replicas - 1, now
        if window.late_share > facts.allowed:
            if now - self._bad_at >= self.width:
                self._factor = max(0.05, self._factor * self.relief)
            self._bad_at = now
        elif now - self._bad_at > self.calm:
            self._factor = min(1.0, self._factor / self.relief)
            self._bad_at = now
        fits = max(1, window.edge_ready) * one
        self.share = min(1.0, fits / max(window.offered, 1e-6)) * self._factor
        return Wish(self.share, (1 - self.share) * window.offered, self._replicas)


class LaImr(SiteLaw):
    """Latency from utilisation in closed form decides what stays, and how many replicas there are.

    ``g(rate) = profile * (1 + U^gamma) + ErlangC(N, rate/mu) / (N*mu - rate)`` for N replicas of rate mu;
    what stays at the edge is the most with g at most `slack` targets; replicas are the fewest with it.
    The rate is an exponential mean.
    """

    def __init__(self, facts: Facts, gamma: float, slack: float, memory: float, keep: float) -> None:
        super().__init__(facts)
        self.gamma, self.slack, self.memory, self.keep = gamma, slack, memory, keep
        self._rate: float | None = None
        self._replicas = facts.smallest
        self._needed_at = 0.0

    def latency(self, rate: float, replicas: int) -> float:
        """g, in seconds."""
        most = replicas / self.facts.profile
        if rate >= most:
            return math.inf
        work = self.facts.profile * (1 + math.pow(rate / most, self.gamma))
        return work + erlang_c(replicas, rate * self.facts.profile) / (most - rate)

    def step(self, now: float, window: Window) -> Wish:
        """Offload what the closed form says is too much."""
        facts, bound = self.facts, self.slack * self.facts.target
        before = window.offered if self._rate is None else self._rate
        rate = self._rate = before + (window.offered - before) * min(1.0, facts.period / self.memory)
        wanted = facts.smallest
        while wanted < facts.largest and self.latency(rate, max(1, wanted)) > bound:
            wanted += 1
        if wanted >= self._replicas or now - self._needed_at > self.keep:
            self._replicas, self._needed_at = wanted, now
        replicas = max(1, window.edge_ready)
        low, high = 0.0, 1.0
        if self.latency(rate, replicas) <= bound:
            low = 1.0
        for _ in range(12 if low < 1 else 0):
            middle = (low + high) / 2
            low, high = (middle, high) if self.latency(middle * rate, replicas) <= bound else (low, middle)
        self.share = low
        return Wish(self.share, (1 - self.share) * window.offered, self._replicas)
