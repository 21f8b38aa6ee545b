"""What decisions about traffic are made from, and what they say. Times in seconds, rates in requests/s."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from edgewise.traffic.admission import FLOOR
from edgewise.traffic.signals import ServiceCount

Criticality = Literal["Critical", "High", "Normal", "BestEffort"]
#: Who is served first when not all can be.
RANK: dict[Criticality, int] = {"Critical": 0, "High": 1, "Normal": 2, "BestEffort": 3}


class Way(StrEnum):
    """What of a site's requests may go to the cloud: the router's second group."""

    #: There is no second group; what the edge refuses reaches the caller as 429.
    CLOSED = "Closed"
    #: One request at a time, to see whether the cloud is back.
    PROBE = "Probe"
    #: Only what the edge cannot answer at all (``cloud.mode: Fallback``).
    FAILURES = "Failures"
    #: Whatever the edge refuses or fails.
    OPEN = "Open"


class Reason(StrEnum):
    """Why a decision is as it is; `explain` shows them with the numbers."""

    SILENT = "SignalsSilent"
    UNKNOWN = "NodesUnknown"
    FORBIDDEN = "CloudForbidden"
    NO_HELP = "CloudNoHelp"
    PROBING = "CloudProbed"
    COLD = "CloudCold"
    UNDERSIZED = "CloudSlowerThanProfile"
    SHORT = "PoolShort"
    METERED = "LinkMetered"
    PRICED = "SpillingPriced"
    SLOW = "SlowWithoutLoad"
    YIELDS = "YieldsToMoreCritical"
    SPENT = "AllowanceSpent"
    SHIFTED = "WeightsShifted"


@dataclass(frozen=True, slots=True)
class Policy:
    """What is declared for one service at one site.

    Attributes:
        target: latency in seconds.
        allowed: share of requests that may be over it.
        ceiling: largest K of an edge replica.
        edge_min, edge_max: edge replicas at this site.
        cloud_min, cloud_max: cloud replicas for all sites of the service.
        edge_service, cloud_service: seconds of one request, from the model's profile.
        round_trip: to the cloud and back.
        mode: what may leave the site.
        resident: whether every cloud backend lies in a region that the service may use.
        criticality: who comes first.
        link_rate: most requests/s that a metered link may carry; None means any number.
        price: of one spilled request, in late requests: 0.1 says that ten spilled ones weigh as one late.
        gateway: the data plane knows weights only, so law W runs.
        external: somebody else sets replica counts; only the demand is published.
    """

    target: float
    allowed: float
    edge_service: float
    cloud_service: float
    ceiling: float = 8.0
    edge_min: int = 1
    edge_max: int = 1
    cloud_min: int = 0
    cloud_max: int = 0
    round_trip: float = 0.0
    mode: Literal["Never", "Fallback", "Burst"] = "Burst"
    resident: bool = True
    criticality: Criticality = "Normal"
    link_rate: float | None = None
    price: float = 0.0
    gateway: bool = False
    external: bool = False

    def __post_init__(self) -> None:
        """Refuse what has no meaning.

        Raises:
            ValueError: with what was found and what is wanted.
        """
        for name in ("target", "edge_service", "cloud_service"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)!r}; wanted: seconds above 0")
        if not 0 < self.allowed < 1:
            raise ValueError(f"allowed is {self.allowed!r}; wanted: a share above 0 and below 1")
        if self.ceiling < FLOOR:
            raise ValueError(f"ceiling is {self.ceiling!r}; wanted: at least {FLOOR}")
        for side in ("edge", "cloud"):
            low, high = getattr(self, f"{side}_min"), getattr(self, f"{side}_max")
            if not 0 <= low <= high:
                raise ValueError(f"{side} replicas are {low} to {high}; wanted: 0 <= min <= max")

    @property
    def may_leave(self) -> bool:
        """Whether any request may leave the site: mode, residency and a pool that may have replicas."""
        return self.mode != "Never" and self.resident and self.cloud_max > 0

    @property
    def cloud_limit(self) -> float:
        """Requests that a cloud replica should admit: as many as are answered in time.

        The last of n is answered after n service times and the way; half a service time of the first is
        over on average. Where nothing can be in time the ceiling stands: late is then the best there is.
        """
        fit = int((self.target - self.round_trip) / self.cloud_service + 0.5)
        return float(min(self.ceiling, fit)) if fit >= 1 else self.ceiling


@dataclass(frozen=True, slots=True)
class ReplicaSignal:
    """One edge replica over the last period: requests in flight now, answers, late ones, and its K."""

    name: str
    in_flight: float
    ended: float
    late: float
    limit: float


@dataclass(frozen=True, slots=True)
class Signals:
    """What was seen of one service at one site since the last look.

    Attributes:
        seconds: length of the period, above 0.
        count: what the site's routers counted in it.
        edge_ready, cloud_ready: replicas that take requests.
        replicas: the edge replicas one by one, where that is known.
        unknown: edge replicas on nodes that are unreachable: neither there nor gone.
    """

    seconds: float
    count: ServiceCount
    edge_ready: int
    cloud_ready: int
    replicas: tuple[ReplicaSignal, ...] = ()
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What should be in force for one service at one site.

    Attributes:
        edge: edge replicas.
        cloud: cloud replicas that this site's demand asks for; the planner adds sites up.
        demand: requests/s that this site wants to send to the cloud.
        offered: requests/s that callers make (published for external autoscalers).
        way: the router's second group.
        cloud_in_flight: requests this site may have in the cloud at a time; None means any number.
        ceiling: largest K.
        allowed: share over target that law S may use at this site now.
        share: the edge's weight where only weights exist; 1 with a router.
        without: edge replicas that should get no requests.
        reasons: why, most important first.
        look_in: seconds until the next look is due.
    """

    edge: int
    cloud: int
    demand: float
    offered: float
    way: Way
    ceiling: float
    allowed: float
    cloud_in_flight: int | None = None
    share: float = 1.0
    without: frozenset[str] = frozenset()
    reasons: tuple[Reason, ...] = ()
    look_in: float = 2.0
