"""What the routers and servers tell about one service, as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SideCount:
    """Counters of one side (edge or cloud) of a service at one router, since the router started.

    `late` are answers over the latency target; `failed` are answers with a 5xx status, or none at all;
    `refused` are answers 429. `early` are answers within half of the target, `very_late` those over twice
    of it; only law W asks for them. A counter that went backwards means that the router started anew.
    """

    started: float = 0.0
    ended: float = 0.0
    refused: float = 0.0
    failed: float = 0.0
    late: float = 0.0
    early: float = 0.0
    very_late: float = 0.0

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
            early=max(0.0, self.early - before.early),
            very_late=max(0.0, self.very_late - before.very_late),
        )

    def __add__(self, other: SideCount) -> SideCount:
        return SideCount(
            self.started + other.started,
            self.ended + other.ended,
            self.refused + other.refused,
            self.failed + other.failed,
            self.late + other.late,
            self.early + other.early,
            self.very_late + other.very_late,
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

    @property
    def lost(self) -> float:
        """Requests that the edge refused or failed and that were not sent on to the cloud."""
        sent_on = min(self.retried, self.cloud.started)
        return max(0.0, self.edge.refused + self.edge.failed - sent_on)

    @property
    def bad(self) -> float:
        """Requests whose callers did not get what was promised.

        Late and failed answers of both sides and the cloud's refusals; and of what the edge refused or
        failed, whatever was not sent on to the cloud.
        """
        return self.edge.late + self.lost + self.cloud_bad

    @property
    def cloud_bad(self) -> float:
        """The cloud's answers that were late, failed or refusals."""
        return self.cloud.late + self.cloud.failed + self.cloud.refused


@dataclass(frozen=True, slots=True)
class RouterCount:
    """Counters of every service at one router, at `at` seconds of some steady clock."""

    at: float
    services: Mapping[str, ServiceCount] = field(default_factory=dict)
