"""What a law sees of the fleet, and what it may order: the same for ours and for every other law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from edgewise.simulate.arrivals import Requests
from edgewise.simulate.scenario import Scenario, Site

#: Upper bounds of the latency buckets that routers count in, as multiples of the target.
BUCKETS: Final = (0.25, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True, slots=True)
class SideTotals:
    """Counters of one side of one site since the start.

    `buckets` counts answers by latency, one more than BUCKETS; failed and refused are in none of them.
    """

    started: int = 0
    refused: int = 0
    failed: int = 0
    buckets: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)

    @property
    def ended(self) -> int:
        """Requests that got any answer."""
        return self.refused + self.failed + sum(self.buckets)

    @property
    def late(self) -> int:
        """Answers over target."""
        return sum(self.buckets[3:])

    def since(self, before: SideTotals) -> SideTotals:
        """What was counted after `before`."""
        return SideTotals(
            self.started - before.started,
            self.refused - before.refused,
            self.failed - before.failed,
            tuple(now - then for now, then in zip(self.buckets, before.buckets, strict=True)),
        )


@dataclass(frozen=True, slots=True)
class ReplicaSeen:
    """One edge replica: its number, requests in flight, answers and late ones since the start, and its K."""

    number: int
    in_flight: int
    ended: int
    late: int
    limit: float


@dataclass(frozen=True, slots=True)
class SiteSeen:
    """One site at one reading. `retried` were refused at the edge and went on to the cloud."""

    edge: SideTotals
    cloud: SideTotals
    retried: int
    edge_ready: int
    cloud_ready: int
    replicas: tuple[ReplicaSeen, ...] = ()

    @property
    def offered(self) -> int:
        """Requests that callers made since the start."""
        return self.edge.started + self.cloud.started - self.retried


@dataclass(frozen=True, slots=True)
class SiteOrders:
    """What is in force at a site.

    Attributes:
        share: of the requests that are sent to the edge by weight; 1 means all.
        spill: what the edge refuses or fails goes on to the cloud.
        cloud_open: whether the router has a cloud group at all.
        replicas: edge replicas wanted.
        limit: K set from outside; None leaves it to law S in each replica.
        ceiling: largest K of law S.
        allowed: share over target that law S may use; None means what was promised.
        cloud_in_flight: requests this site may have in the cloud at a time; None means any number.
        without: edge replicas that get no requests.
    """

    share: float = 1.0
    spill: bool = False
    cloud_open: bool = True
    replicas: int = 1
    limit: float | None = None
    ceiling: float = 8.0
    allowed: float | None = None
    cloud_in_flight: int | None = None
    without: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Orders:
    """What is in force everywhere: sites, and the pool that they share.

    `cloud_limit` is what one cloud replica admits at a time; None leaves it as the scenario has it.
    """

    sites: tuple[SiteOrders, ...]
    cloud_replicas: int
    cloud_limit: float | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """What a law knows before anything happened: what was declared, not what will come."""

    scenario: Scenario
    sites: tuple[Site, ...]

    def profile(self, site: int) -> float:
        """Service time at a site as the model's profile has it, in seconds."""
        return self.sites[site].profile or self.sites[site].service_time

    @property
    def cloud_profile(self) -> float:
        """Service time in the cloud as the profile has it, in seconds."""
        return self.scenario.cloud.service_time or self.profile(0)

    @property
    def cloud_stands(self) -> bool:
        """The pool is warm and nobody sizes it."""
        return self.scenario.cloud.replicas.min == self.scenario.cloud.replicas.max


class Law(Protocol):
    """Anything that can run a fleet. One instance sees one run."""

    def begin(self, setting: Setting) -> Orders:
        """The orders before the first request."""

    def look(self, now: float, seen: Sequence[SiteSeen] | None) -> Orders:
        """New orders from one reading of all counters; None when nothing could be read."""


class KnowsTheFuture(Protocol):
    """A law that is told what will come: not something to install, a bound to compare with."""

    def foresee(self, requests: Requests) -> None:
        """All requests of the run, before it begins."""
