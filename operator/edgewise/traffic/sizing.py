"""Sizes of both sides of a service (rules 1 and 4).

Pure: `size(state, bounds, now) -> (state, sizes)`. Work itself is moved by the routers, request by request;
what is left to decide is slow, and a silence of the signals changes nothing.

Rates are exponential means over 5 s, but a jump that chance does not explain (three standard deviations of
a Poisson count, and five requests) counts at once: a cold cloud needs its orders in the first second.

While the cloud is short of what is needed because replicas are still starting, more of them are started
than are needed (`HURRY` times), for the first ones of many are there sooner than the last one of few; the
surplus goes when enough are ready.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from edgewise.traffic.capacity import replicas_for
from edgewise.traffic.signals import ServiceCount

#: Time constant of the rates, in seconds.
RATE_SECONDS: Final = 5.0
#: Cloud capacity is kept this long after it was last needed, in seconds.
KEEP_SECONDS: Final = 300.0
#: Edge replicas are kept this long after they were last needed, in seconds.
EDGE_KEEP_SECONDS: Final = 120.0
#: The cloud is sized for this multiple of what the edge refuses, at this utilisation.
HEADROOM: Final = 1.3
UTILISATION: Final = 0.6
#: Above this share of late or failed answers the cloud is too small, whatever its profile says.
CLOUD_BAD: Final = 0.1
CLOUD_GOOD: Final = 0.05
_FACTOR_STEP: Final = 1.25
_FACTOR_SECONDS: Final = 3.0
_FACTOR_MAX: Final = 4.0
#: Replicas that are started for each one that is missing.
HURRY: Final = 2.0
#: Prior of the cloud's share of bad answers, and its weight in requests.
_PRIOR: Final = 0.02
_PRIOR_WEIGHT: Final = 4.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the service allows and what its model's profile says. Times in seconds."""

    edge_min: int
    edge_max: int
    cloud_min: int
    cloud_max: int
    target: float
    allowed: float
    edge_service: float
    cloud_service: float
    may_spill: bool


@dataclass(frozen=True, slots=True)
class TrafficState:
    """What is remembered of a service between two looks. Rates in requests/s, times in seconds."""

    offered: float = 0.0
    refused: float = 0.0
    cloud_bad: float = _PRIOR * _PRIOR_WEIGHT
    cloud_good: float = (1 - _PRIOR) * _PRIOR_WEIGHT
    factor: float = 1.0
    factor_at: float = -math.inf
    cloud: int = 0
    cloud_at: float = -math.inf
    edge: int = 0
    edge_at: float = -math.inf
    cloud_ready: int = 0

    @property
    def cloud_share_bad(self) -> float:
        """Share of the cloud's answers that are late or failed, lately."""
        return self.cloud_bad / (self.cloud_bad + self.cloud_good)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Replicas wanted: at this site's edge, and in the cloud for this site."""

    edge: int
    cloud: int


def observe(
    state: TrafficState,
    delta: ServiceCount,
    seconds: float,
    cloud_ready: int,
    now: float,
    *,
    correct: bool = True,
) -> TrafficState:
    """Take in what a router counted in the last `seconds`.

    Without `correct` a late cloud is not taken for one that is too small: something else is wrong with it.
    """
    # What the edge could not take is the demand, whether or not there was a cloud to take it.
    away = max(delta.cloud.started, delta.edge.refused + delta.edge.failed)
    decay = math.exp(-seconds / (RATE_SECONDS if delta.cloud.started or delta.cloud.ended else 10.0))
    bad = min(delta.cloud.ended, delta.cloud.late + delta.cloud.failed + delta.cloud.refused)
    state = replace(
        state,
        offered=follow(state.offered, delta.offered, seconds),
        refused=follow(state.refused, away, seconds),
        cloud_ready=cloud_ready,
        cloud_bad=state.cloud_bad * decay + bad + (1 - decay) * _PRIOR * _PRIOR_WEIGHT,
        cloud_good=state.cloud_good * decay
        + (delta.cloud.ended - bad)
        + (1 - decay) * (1 - _PRIOR) * _PRIOR_WEIGHT,
    )
    return _correct(state, seconds, cloud_ready, now) if correct else state


def follow(rate: float, count: float, seconds: float) -> float:
    """A rate in requests/s after one more period: the mean moves slowly, a jump upwards counts at once."""
    expected = rate * seconds
    if count - expected > max(5.0, 3 * math.sqrt(max(expected, count / 4))):
        return count / seconds
    return rate + (count / seconds - rate) * (1.0 - math.exp(-seconds / RATE_SECONDS))


def _correct(state: TrafficState, seconds: float, cloud_ready: int, now: float) -> TrafficState:
    """Grow the cloud beyond its profile while it is all there and still late; forget that slowly."""
    if state.cloud_share_bad > CLOUD_BAD:
        if cloud_ready >= state.cloud > 0 and now - state.factor_at >= _FACTOR_SECONDS:
            return replace(state, factor=min(_FACTOR_MAX, state.factor * _FACTOR_STEP), factor_at=now)
    elif state.cloud_share_bad < CLOUD_GOOD:
        return replace(state, factor=max(1.0, state.factor * 0.99**seconds))
    return state


def size(state: TrafficState, bounds: Bounds, now: float) -> tuple[TrafficState, Sizes]:
    """The replicas that the observed demand asks for, inside the service's bounds.

    Edge: the fewest that take the offered demand, with a tenth to spare, inside the target; offered, not
    what is left after spilling, or the edge would shrink as it sheds. Cloud:
    ``ceil(max(1.3 * refused, 0.1 / service) * service / 0.6 * factor)`` once anything is refused.
    Both fall only after they were not needed for a while.
    """
    wanted = replicas_for(
        1.1 * state.offered, bounds.edge_service, bounds.target, bounds.allowed, max(1, bounds.edge_max)
    )
    edge = min(bounds.edge_max, max(bounds.edge_min, wanted))
    if edge >= state.edge or now - state.edge_at > EDGE_KEEP_SECONDS:
        state = replace(state, edge=edge, edge_at=now)
    cloud = 0
    if bounds.may_spill:
        needed = 0
        if state.refused > 0.01:
            rate = max(HEADROOM * state.refused, 0.1 / bounds.cloud_service)
            needed = math.ceil(rate * bounds.cloud_service / UTILISATION * state.factor)
        cloud = min(bounds.cloud_max, max(bounds.cloud_min, needed))
    if cloud >= state.cloud or now - state.cloud_at > KEEP_SECONDS:
        state = replace(state, cloud=cloud, cloud_at=now)
    missing = max(0, cloud - state.cloud_ready)
    hurried = max(state.cloud, state.cloud_ready + math.ceil(HURRY * missing)) if missing else state.cloud
    return state, Sizes(
        edge=min(bounds.edge_max, max(bounds.edge_min, state.edge)),
        cloud=min(bounds.cloud_max, max(bounds.cloud_min, hurried)) if bounds.may_spill else 0,
    )
