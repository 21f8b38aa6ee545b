"""The gate: counts what is in flight, refuses what is too much, and moves its limit by law S.

All methods are called from the event loop's thread only; that, not a lock, makes the count true.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from edgewise.serving.orders import Orders
from edgewise.serving.settings import Settings
from edgewise.traffic.admission import FLOOR, Admission, Period, Target, admits, start, step


@dataclass(slots=True)
class Gate:
    """Admission of one replica.

    Attributes:
        settings: target, ceiling and side. On the cloud side the limit is not learned: there is nobody to
            send the overflow to, only a queue to bound.
        draw: gives random numbers in [0, 1).
        in_flight: requests admitted and not yet answered.
    """

    settings: Settings
    draw: Callable[[], float] = random.random
    in_flight: int = 0
    _target: Target = field(init=False)
    _admission: Admission = field(init=False)
    _offered: int = 0
    _refused: int = 0
    _ended: int = 0
    _bad: int = 0

    def __post_init__(self) -> None:
        """Start from the profile, if there is one."""
        target, profile = self.settings.target, self.settings.profile_seconds
        self._target = target
        if self.learns:
            # n inferences side by side answer n requests in the time of one.
            seconds = None if profile is None else profile / self.settings.concurrency
            self._admission = start(target, seconds)
        else:
            self._admission = Admission(limit=target.ceiling)

    @property
    def learns(self) -> bool:
        """Whether the limit moves."""
        return self.settings.side == "edge"

    @property
    def limit(self) -> float:
        """K, requests in flight; its fraction is a probability."""
        return self._admission.limit

    def heed(self, orders: Orders) -> None:
        """Take in what the site's router says, on the operator's behalf. It can only lower what was set."""
        settled = self.settings.target
        if self.learns:
            self._target = Target(
                latency=settled.latency,
                allowed=orders.allowed or settled.allowed,
                ceiling=_lower(settled.ceiling, orders.ceiling),
            )
        else:
            self._admission = Admission(limit=_lower(settled.ceiling, orders.cloud_limit))

    def enter(self) -> bool:
        """Take one more request in, or refuse it. Who enters must `leave`."""
        self._offered += 1
        if not admits(self.limit, self.in_flight, self.draw()):
            self._refused += 1
            return False
        self.in_flight += 1
        return True

    def leave(self, seconds: float, *, failed: bool) -> None:
        """A request was answered, `seconds` after it entered; `failed` when that was this server's fault."""
        self.in_flight -= 1
        self._ended += 1
        self._bad += failed or seconds > self.settings.target.latency

    def abandon(self) -> None:
        """A request never arrived in full: its time was the caller's, and says nothing about this replica."""
        self.in_flight -= 1

    def tick(self, seconds: float) -> None:
        """`seconds` have passed since the last tick: let the law see what was counted."""
        period = Period(
            seconds=seconds, offered=self._offered, refused=self._refused, ended=self._ended, bad=self._bad
        )
        self._offered = self._refused = self._ended = self._bad = 0
        if self.learns:
            self._admission = step(self._admission, period, self._target)


def _lower(settled: float, told: float | None) -> float:
    return settled if told is None else max(FLOOR, min(told, settled))
