"""What the routers and servers tell about one service, as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SideCount:
    """Counters of one side (edge or cloud) of a service at one router, since the router started.

    `late` are answers over the latency target; `failed` are answers with a 5xx status, or none at all;
    `refused` are answers 429. A counter that went backwards means that the router started anew.
    """

    started: float = 0.0
    ended: float = 0.0
    refused: float = 0.0
    failed: float = 0.0
    late: float = 0.0

    def since(self, before: SideCount) -> SideCount:
        """What was counted after `before`; after a restart of the router, everything."""
        if self.started < before.started:
            return self
        return SideCount(
            started=self.started - before.started,
            ended=max(0.0, self.ended - before.ended),
            refused=max(0.0, self.refused - before.refused),
            failed=max(0.0, self.failed - before.failed),
            late=max(0.0, self.late - before.late),
        )

    def __add__(self, other: SideCount) -> SideCount:
        return SideCount(
            self.started + other.started,
            self.ended + other.ended,
            self.refused + other.refused,
            self.failed + other.failed,
            self.late + other.late,
        )


@dataclass(frozen=True, slots=True)
class ServiceCount:
    """Counters of one service at one router.

    `retried` are requests that the edge refused or failed and that were sent on to the cloud.
    """

    edge: SideCount = SideCount()
    cloud: SideCount = SideCount()
    retried: float = 0.0

    def since(self, before: ServiceCount) -> ServiceCount:
        """What was counted after `before`."""
        retried = self.retried - before.retried
        return ServiceCount(
            self.edge.since(before.edge),
            self.cloud.since(before.cloud),
            retried if retried >= 0 else self.retried,
        )

    def __add__(self, other: ServiceCount) -> ServiceCount:
        return ServiceCount(self.edge + other.edge, self.cloud + other.cloud, self.retried + other.retried)

    @property
    def offered(self) -> float:
        """Requests that callers made: each is counted once, however many sides saw it."""
        return self.edge.started + max(0.0, self.cloud.started - self.retried)


@dataclass(frozen=True, slots=True)
class RouterCount:
    """Counters of every service at one router, at `at` seconds of some steady clock."""

    at: float
    services: Mapping[str, ServiceCount] = field(default_factory=dict)
