"""Law S: how many requests an edge replica may have in flight before it refuses the next one.

A refused request is answered 429 at once and the site's router sends it to the cloud, so work moves request
by request and nobody has to notice a burst first. What is left to learn, slowly and from the replica's own
numbers, is the limit K: large enough that the replica is busy, small enough that what it admits is answered
within the target.

The law (t and S in seconds, rates in requests per second, counts over one period of dt = 1 to 15 s)::

    K0   = clip(target/S - 0.8, 0.5, ceiling)   S: one request alone; 0.8: rest of the one in work
    admit while depth < floor(K); one more with probability frac(K); else refuse
    lam, lc = exponential means over 5 s: offered, refused
    vc   = share of the cloud's answers that are late or bad, over 5 s, prior 0.02 of weight 4;
           0 if nobody tells
    vv   = (bad + allowed*lam*30) / (ended + lam*30), bad and ended decaying over 300 s
    al   = allowed * clip(1 + 2*(allowed - vv)/allowed, 0.3, 2)
    when at least 20 requests ended since the last step:
        v  = bad/ended since then;  fe = max(0.02, 1 - lc/lam)
        ae = 2*allowed if vc > 0.3 else clip((al - (1 - fe)*min(vc, allowed))/fe, 0.3*al, 3*al)
        er = clip((ae - v)/ae, -2, 1)
        er < 0                            K *= exp(0.03*er)
        else, if >= 10 % were refused     K *= exp(0.01*er)
        K stays within [0.5, ceiling]

K falls faster than it rises, rises only while it binds (an idle replica proves nothing), and holds when
nothing ends. Sources: the law and its constants are edgewise's own, from simulations of 13 scenarios in
which halving or doubling any constant moved the objective by at most 2 of 28. K0: the last of K requests is
answered after K*S when their service times are equal; 0.8*S is kept in reserve because they are not.

Worked examples (they are the test table)::

    target 0.080, S 0.030, ceiling 8   K0 = 1.8667
    target 0.080, S 0.200, ceiling 8   K0 = 0.5       slower than the target: every other request while idle
    target 1.000, S 0.010, ceiling 8   K0 = 8
    K 2.25: depth 1 admits; depth 2 admits for draws below 0.25; depth 3 never
    K 2, 20 ended, 0 late, 20 refused  er = 1         K = 2.0201
    K 2, 20 ended, 0 late, 0 refused   er = 1         K = 2          the limit did not bind
    K 2, 20 ended, 20 late             er = -2        K = 1.8835
    K 2, 19 ended, 19 late             too few        K = 2
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

FLOOR = 0.5
"""Smallest K: an idle replica still takes every other request, else it never learns that it has recovered."""

RESIDUAL = 0.8
"""Share of a service time that the request in work still needs, on average, when another one arrives."""

ENOUGH = 20
"""Requests that must have ended before K moves: one late of 20 is the usual allowance of 5 %."""

FALL, RISE = 0.03, 0.01
"""Largest relative step per unit of error, downwards and upwards."""

BINDING = 0.10
"""Share of the offered requests that must have been refused for K to rise."""

RATE_SECONDS, CLOUD_SECONDS, SPENT_SECONDS = 5.0, 5.0, 300.0
"""Memories, in seconds: of the rates, of the cloud's answers, and of the allowance that was spent."""

PRIOR_SHARE, PRIOR_WEIGHT, PRIOR_REQUEST_SECONDS = 0.02, 4.0, 30.0
"""What is believed of the cloud before it answers; seconds of traffic that the spent allowance starts
with."""

CLOUD_IN_TROUBLE = 0.3
"""Share of the cloud's answers late or bad above which the edge may be late more often itself."""


@dataclass(frozen=True, slots=True)
class Target:
    """What was promised for one service, and how far K may go.

    Attributes:
        latency: seconds, from admission to the answer.
        allowed: share of requests that may be over it, for example 0.05.
        ceiling: largest K (`maxInFlight`), at least 0.5.
    """

    latency: float
    allowed: float
    ceiling: float

    def __post_init__(self) -> None:
        """Refuse numbers for which the law has no meaning.

        Raises:
            ValueError: with the field, what was found and what is wanted.
        """
        if not (0 < self.latency < math.inf):
            raise ValueError(f"latency target is {self.latency!r}; wanted: seconds above 0")
        if not 0 < self.allowed < 1:
            raise ValueError(f"allowed share over target is {self.allowed!r}; wanted: above 0 and below 1")
        if not FLOOR <= self.ceiling < math.inf:
            raise ValueError(f"ceiling of requests in flight is {self.ceiling!r}; wanted: at least {FLOOR}")


@dataclass(frozen=True, slots=True)
class Period:
    """What one replica counted during the last `seconds`; every count is a difference, none is a total.

    Attributes:
        seconds: length of the period.
        offered: requests that arrived, refused ones included.
        refused: requests that were answered 429.
        ended: admitted requests whose answer went out.
        bad: those of `ended` that were over target, or failed by our own fault.
        cloud_ended: answers of the cloud side, if somebody tells; else 0.
        cloud_bad: those of `cloud_ended` that were over target or failed.
    """

    seconds: float
    offered: int = 0
    refused: int = 0
    ended: int = 0
    bad: int = 0
    cloud_ended: int = 0
    cloud_bad: int = 0


@dataclass(frozen=True, slots=True)
class Admission:
    """K and all that is remembered to move it. Made by `start`, moved by `step`.

    Attributes:
        limit: K, requests in flight; its fraction is a probability.
        offered_rate: requests per second, None before the first period.
        refused_rate: requests per second.
        cloud_good: weight of the cloud's good answers.
        cloud_bad: weight of its late or bad answers.
        cloud_heard: whether anybody ever told about the cloud.
        spent: bad requests, decaying over 300 s.
        spent_of: ended requests, decaying likewise.
        offered: requests offered since K was last judged.
        refused: of those, refused.
        ended: requests ended since K was last judged.
        bad: of those, bad.
    """

    limit: float
    offered_rate: float | None = None
    refused_rate: float = 0.0
    cloud_good: float = PRIOR_WEIGHT * (1 - PRIOR_SHARE)
    cloud_bad: float = PRIOR_WEIGHT * PRIOR_SHARE
    cloud_heard: bool = False
    spent: float = 0.0
    spent_of: float = 0.0
    offered: int = 0
    refused: int = 0
    ended: int = 0
    bad: int = 0


def start(target: Target, profile_seconds: float | None) -> Admission:
    """K before anything was learned.

    Args:
        target: what was promised.
        profile_seconds: seconds of one request alone on this replica; of a replica that works on n requests
            side by side, that time divided by n. None when no profile is known: half the target is assumed.
            (A profile wrong by a factor of two either way costs little: K finds its place.)
    """
    seconds = target.latency / 2 if profile_seconds is None else profile_seconds
    if not 0 < seconds < math.inf:
        raise ValueError(f"profile latency is {profile_seconds!r}; wanted: seconds above 0")
    return Admission(limit=_clip(target.latency / seconds - RESIDUAL, FLOOR, target.ceiling))


def admits(limit: float, in_flight: int, draw: float) -> bool:
    """May one more request enter?

    Args:
        limit: K.
        in_flight: requests admitted and not yet answered, counted at this very moment.
        draw: a random number in [0, 1), drawn anew for each request.
    """
    whole = math.floor(limit)
    return in_flight < whole or (in_flight == whole and draw < limit - whole)


def step(admission: Admission, period: Period, target: Target) -> Admission:
    """Take the counts of one period in, and move K if they suffice. Without requests K holds."""
    if period.seconds <= 0:
        return admission
    seen = _remember(admission, period)
    if seen.ended < ENOUGH:
        return replace(seen, limit=_clip(seen.limit, FLOOR, target.ceiling))
    error = _error(seen, target)
    limit = seen.limit
    if error < 0:
        limit *= math.exp(FALL * error)
    elif seen.refused >= BINDING * seen.offered:
        limit *= math.exp(RISE * error)
    return replace(seen, limit=_clip(limit, FLOOR, target.ceiling), offered=0, refused=0, ended=0, bad=0)


def _remember(old: Admission, period: Period) -> Admission:
    """The memories after one more period; K is as before."""
    share = min(1.0, period.seconds / RATE_SECONDS)
    offered_rate = period.offered / period.seconds
    if old.offered_rate is not None:
        offered_rate = _toward(old.offered_rate, offered_rate, share)
    cloud_fade = math.exp(-period.seconds / CLOUD_SECONDS)
    spent_fade = math.exp(-period.seconds / SPENT_SECONDS)
    prior = (1 - cloud_fade) * PRIOR_WEIGHT
    cloud_good = period.cloud_ended - period.cloud_bad
    return Admission(
        limit=old.limit,
        offered_rate=offered_rate,
        refused_rate=_toward(old.refused_rate, period.refused / period.seconds, share),
        cloud_good=old.cloud_good * cloud_fade + prior * (1 - PRIOR_SHARE) + cloud_good,
        cloud_bad=old.cloud_bad * cloud_fade + prior * PRIOR_SHARE + period.cloud_bad,
        cloud_heard=old.cloud_heard or period.cloud_ended > 0,
        spent=old.spent * spent_fade + period.bad,
        spent_of=old.spent_of * spent_fade + period.ended,
        offered=old.offered + period.offered,
        refused=old.refused + period.refused,
        ended=old.ended + period.ended,
        bad=old.bad + period.bad,
    )


def _error(seen: Admission, target: Target) -> float:
    """How far the share over target is from what it may be here: 1 is perfect, below 0 is too much."""
    allowed = target.allowed
    rate = max(seen.offered_rate or 0.0, 1e-6)
    prior = rate * PRIOR_REQUEST_SECONDS
    spent = (seen.spent + allowed * prior) / (seen.spent_of + prior)
    allowance = allowed * _clip(1 + 2 * (allowed - spent) / allowed, 0.3, 2.0)
    cloud = seen.cloud_bad / (seen.cloud_good + seen.cloud_bad) if seen.cloud_heard else 0.0
    at_edge = max(0.02, 1 - seen.refused_rate / rate)
    if cloud > CLOUD_IN_TROUBLE:
        here = 2 * allowed
    else:
        left = allowance - (1 - at_edge) * min(cloud, allowed)
        here = _clip(left / at_edge, 0.3 * allowance, 3 * allowance)
    return _clip((here - seen.bad / seen.ended) / here, -2.0, 1.0)


def _toward(value: float, other: float, share: float) -> float:
    return value + (other - value) * share


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
