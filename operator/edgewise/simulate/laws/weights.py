"""Laws that move a weight between edge and cloud."""

from __future__ import annotations

import math

from edgewise.simulate.laws.base import Facts, SiteLaw, Window, Wish


class Static(SiteLaw):
    """A share that somebody chose once; 1 is all-edge, 0 is all-cloud."""

    def __init__(self, facts: Facts, share: float) -> None:
        super().__init__(facts)
        self.share = share

    def step(self, now: float, window: Window) -> Wish:
        """The same always."""
        return Wish(self.share, (1 - self.share) * window.offered)


class Threshold(SiteLaw):
    """Down a step while P95 is above `high` targets, up a step while it is below `low` targets."""

    def __init__(
        self, facts: Facts, high: float, low: float, down: float, up: float, width: float, wait: float
    ) -> None:
        super().__init__(facts)
        self.high, self.low, self.down, self.up, self.width, self.wait = high, low, down, up, width, wait
        self._at = -math.inf

    def step(self, now: float, window: Window) -> Wish:
        """One step at most every `wait` seconds."""
        p95 = window.p95(self.facts.target)
        if now - self._at >= self.wait:
            if window.edge.ended and p95 > self.high:
                self.share, self._at = max(0.0, self.share - self.down), now
            elif p95 < self.low and self.share < 1:
                self.share, self._at = min(1.0, self.share + self.up), now
        away = 1 - self.share
        return Wish(self.share, max(away, 0.01 if away else 0.0) * window.offered)


class Aimd(SiteLaw):
    """Multiply the share while more than `above` is late, add to it otherwise (as TCP does)."""

    def __init__(
        self, facts: Facts, above: float, factor: float, add: float, width: float, wait: float
    ) -> None:
        super().__init__(facts)
        self.above, self.factor, self.add, self.width, self.wait = above, factor, add, width, wait
        self._at = -math.inf

    def step(self, now: float, window: Window) -> Wish:
        """Additive increase, multiplicative decrease."""
        if now - self._at >= self.wait:
            if window.late_share > self.above:
                self.share, self._at = max(0.01, self.share * self.factor), now
            else:
                self.share = min(1.0, self.share + self.add * self.facts.period)
        return Wish(self.share, (1 - self.share) * window.offered)


class Integral(SiteLaw):
    """Integrates how far the late share is from `aim`; the logarithm of the share is what moves."""

    def __init__(self, facts: Facts, aim: float, gain: float, width: float, dead: float, up: float) -> None:
        super().__init__(facts)
        self.aim, self.gain, self.width, self.dead, self.up = aim, gain, width, dead, up
        self._log, self._at = 0.0, -math.inf

    def step(self, now: float, window: Window) -> Wish:
        """No step within `dead` seconds of a large one: its effect has to show first."""
        if now - self._at >= self.dead:
            error = (self.aim - window.late_share) / self.aim
            move = max(-4 * self.gain, min(self.up, self.gain * error))
            self._log = min(0.0, max(math.log(0.01), self._log + move))
            if error < -1:
                self._at = now
        self.share = math.exp(self._log)
        return Wish(self.share, (1 - self.share) * window.offered)


class InFlight(SiteLaw):
    """Holds the requests in flight at the edge at `aim` a replica (Little's law), by the rate it lets in."""

    def __init__(self, facts: Facts, aim: float, gain: float, memory: float) -> None:
        super().__init__(facts)
        self.aim, self.gain, self.memory = aim, gain, memory
        self._in_flight = 0.0
        self._rate: float | None = None
        self._offered: float | None = None

    def step(self, now: float, window: Window) -> Wish:
        """A jump of the offered rate changes the share at once, the rest follows the integral."""
        replicas = max(1, window.edge_ready)
        full = replicas / self.facts.profile
        passed = self.facts.period
        self._in_flight += (window.waiting / replicas - self._in_flight) * min(1.0, passed / self.memory)
        before = window.offered if self._offered is None else self._offered
        self._offered = before + (window.offered - before) * min(1.0, passed / 2)
        rate = 0.6 * full if self._rate is None else self._rate
        error = (self.aim - self._in_flight) / self.aim
        if self.share < 0.999 or error < 0:
            rate *= math.exp(max(-0.3, min(0.1, self.gain * error * passed)))
        self._rate = min(2.4 * full, max(0.05 * full, rate))
        self.share = min(1.0, self._rate / max(self._offered, 1e-3))
        return Wish(self.share, (1 - self.share) * window.offered)
