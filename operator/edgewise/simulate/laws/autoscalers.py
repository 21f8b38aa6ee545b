"""What Kubernetes' horizontal pod autoscaler does, with the same cloud as everybody else has."""

from __future__ import annotations

import math

from edgewise.simulate.laws.base import Facts, SiteLaw, Window, Wish

#: The autoscaler's tolerance, and for how many seconds it keeps what it scaled up (its default).
TOLERANCE, STABLE_SECONDS = 0.1, 300.0


class Utilisation(SiteLaw):
    """The edge's share is scaled as an HPA scales replicas: by wanted over seen utilisation.

    Utilisation is the busy fraction of the edge replicas, with what waits beyond two requests a replica
    added to it (as concurrency-based autoscalers count).
    """

    def __init__(
        self, facts: Facts, aim: float, every: float, tolerance: float, up: float, width: float
    ) -> None:
        super().__init__(facts)
        self.aim, self.every, self.tolerance, self.up, self.width = aim, every, tolerance, up, width
        self._at = -math.inf
        self._replicas = facts.smallest
        self._needed_at = 0.0

    def step(self, now: float, window: Window) -> Wish:
        """Every `every` seconds, unless the ratio is within the tolerance."""
        replicas = max(1, window.edge_ready)
        answers = sum(window.edge.buckets)
        busy = min(1.0, answers * self.facts.profile / (window.seconds * replicas))
        busy += 0.1 * max(0, window.waiting - 2 * replicas) / replicas
        if now - self._at >= self.every:
            self._at = now
            ratio = self.aim / max(busy, 0.01)
            wanted = math.ceil(replicas * busy / self.aim - TOLERANCE)
            if wanted >= self._replicas or now - self._needed_at > STABLE_SECONDS:
                self._replicas, self._needed_at = wanted, now
            if abs(ratio - 1) > self.tolerance:
                self.share = min(1.0, max(0.02, min(self.share * ratio, self.share + self.up)))
        bounded = min(self.facts.largest, max(self.facts.smallest, self._replicas))
        return Wish(self.share, (1 - self.share) * window.offered, bounded)


class Latency(SiteLaw):
    """Autoscaling by latency alone: replicas times (P95 over target); at the most of them, the share."""

    def __init__(self, facts: Facts, aim: float, every: float, down: float, up: float, width: float) -> None:
        super().__init__(facts)
        self.aim, self.every, self.down, self.up, self.width = aim, every, down, up, width
        self._at = -math.inf
        self._replicas = facts.smallest
        self._needed_at = 0.0

    def step(self, now: float, window: Window) -> Wish:
        """Reacts to what has become late; the count falls when it was not needed for five minutes."""
        if now - self._at >= self.every and window.edge.ended:
            self._at = now
            ratio = window.p95(self.facts.target) / self.aim
            replicas = max(1, window.edge_ready)
            if abs(ratio - 1) > TOLERANCE:
                wanted = min(self.facts.largest, max(self.facts.smallest, math.ceil(replicas * ratio)))
                if wanted >= self._replicas or now - self._needed_at > STABLE_SECONDS:
                    self._replicas, self._needed_at = wanted, now
                if ratio > 1 and replicas >= self.facts.largest:
                    self.share = max(0.02, self.share - self.down)
                elif ratio < 1:
                    self.share = min(1.0, self.share + self.up)
        return Wish(self.share, (1 - self.share) * window.offered, self._replicas)
