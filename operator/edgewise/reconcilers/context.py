"""What every reconciler shares: the client, what is known, and what passes found out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from edgewise.catalog.catalogue import Catalogue
from edgewise.cluster.client import Client
from edgewise.cluster.events import Recorder
from edgewise.cluster.world import World
from edgewise.traffic.decide import State
from edgewise.traffic.policy import Decision, Policy
from edgewise.traffic.signals import ServiceCount
from edgewise.traffic.sizing import Sizes


@dataclass(frozen=True, slots=True)
class Settings:
    """How this operator was installed."""

    namespace: str
    #: Images by the name that the runtime catalogue gives them, and ``router``.
    images: Mapping[str, str]
    plain_http: frozenset[str] = frozenset()
    #: Whether sites that nobody declared let every namespace in (one-site clusters) or none (hubs).
    discovered_sites_allow_all: bool = False
    #: The operator's own Deployment as an owner reference, so that routers go with it.
    owner: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class ModelJudgement:
    """What the last judgement of a model said. `inputs` tells what it was about.

    `verified` are the typed digests that may be placed; never read back from status.
    """

    inputs: tuple[object, ...]
    verified: frozenset[str]
    message: str
    expires: datetime | None = None


@dataclass(slots=True)
class SiteTraffic:
    """What is remembered of one service at one site between two looks at its router."""

    state: State
    policy: Policy
    #: In force: this site's own, cut to what the pool and its neighbours at the site leave.
    decision: Decision
    #: By what part the ceiling is lowered for neighbours at the site.
    factor: float = 1.0
    #: The cloud is an address outside the cluster, so none of its replicas are ours.
    outside: bool = False
    #: More is sent to the cloud than its ready replicas hold, so it is better that they refuse early.
    crowded: bool = False
    #: Counters at the last look, by router pod, and when that was (steady clock, seconds).
    last: Mapping[str, ServiceCount] = field(default_factory=dict)
    at: float = 0.0
    #: The router did not answer lately, so nothing was learned.
    stale: bool = False

    @property
    def sizes(self) -> Sizes:
        """Replicas wanted at this site's edge, and in the cloud for it."""
        return Sizes(edge=self.decision.edge, cloud=0 if self.outside else self.decision.cloud)

    @property
    def spilled(self) -> float:
        """Share of the offered requests that the cloud gets."""
        rates = self.state.sizes
        return rates.refused / rates.offered if rates.offered > 0.5 else 0.0


@dataclass(slots=True)
class RouterConfiguration:
    """What the routers of a site should go by, and which of them do not."""

    #: Version by file.
    wanted: Mapping[str, str]
    #: When that was written last (steady clock, seconds).
    since: float
    #: Router pods that go by something else, although they had the time to take it, and what they say.
    behind: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Context:
    """Shared by all reconcilers of one operator."""

    client: Client
    world: World
    catalogue: Catalogue
    settings: Settings
    #: Ask for a pass: kind, key, and in how many seconds (0: now).
    enqueue: Callable[[str, str, float], None]
    #: UID of the namespace kube-system: which cluster this is.
    cluster: str
    judgements: dict[str, ModelJudgement] = field(default_factory=dict)
    #: By service key, then by site.
    traffic: dict[str, dict[str, SiteTraffic]] = field(default_factory=dict)
    #: By site.
    routers: dict[str, RouterConfiguration] = field(default_factory=dict)
    #: Seconds since the epoch.
    clock: Callable[[], float] = time.time
    recorder: Recorder = field(init=False)

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.client, self.clock)

    def now(self) -> datetime:
        """The time, aware."""
        return datetime.fromtimestamp(self.clock(), UTC)


def stamp(moment: datetime) -> str:
    """RFC 3339 to the second, as Kubernetes writes times."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
