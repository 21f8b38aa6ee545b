"""Law W: the edge's weight where the data plane knows weights only (``dataPlane: Gateway``).

Feed-forward on legal capacity: the share is the largest e for which

    e * F_e(e * rate) + (1 - e) * F_c <= allowance

with F_e from queueing theory (capacity.py) at a service time that is learned, and F_c the share of the
cloud's answers that is late; without such an e the one with the fewest late requests. The service time is
learned by likelihood: a grid of hypotheses around the profile, each of which predicts how many answers
fall within half of the target, within it, within twice it, and beyond. Evidence fades over 90 s. A
hypothesis under which the edge is overloaded gets fixed mass on the late buckets, since theory has no
stationary answer there.

Not learned from: the two periods after a share moved by more than 0.05 or the rate jumped (what ends then
began before), and a site in backlog. A backlog (more in flight than fits the target) lowers the share at
once and only for the time being. Down at once; up after 3 s, by at most 0.1 a second. No answer for two
periods with work waiting is a stall: 1 % of the requests go on as a probe. A side without a ready replica
gets nothing, at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from edgewise.traffic.capacity import shares_over
from edgewise.traffic.policy import Policy, Signals

GRID: Final = tuple(2.0 ** (step / 4) for step in range(-8, 9))
MEMORY: Final = 90.0
EVIDENCE: Final = 0.33
RATE_SECONDS, RETURN_SECONDS = 6.0, 15.0
UP_AFTER, UP_STEP, BAND = 3.0, 0.1, 0.04
PROBE: Final = 0.01
OVERLOADED: Final = (0.01, 0.01, 0.04, 0.94)


@dataclass(frozen=True, slots=True)
class WeightState:
    """What law W remembers. `grid` is the log-likelihood of each hypothesis, up to a constant."""

    share: float = 1.0
    grid: tuple[float, ...] = ()
    rate: float | None = None
    high_rate: float = 0.0
    in_flight: float = 0.0
    deaf_until: float = -math.inf
    up_since: float | None = None
    answered_at: float = -math.inf
    backlog: bool = False


def weigh(
    state: WeightState, signals: Signals, policy: Policy, allowance: float, cloud_late: float, now: float
) -> WeightState:
    """The new share, in `WeightState.share`.

    Args:
        state: what was remembered.
        signals: the last period.
        policy: what was declared.
        allowance: share of all requests that may be late now.
        cloud_late: share of the cloud's answers that is late.
        now: seconds of a steady clock.
    """
    state = _rates(state, signals, now)
    servers = max(1, signals.edge_ready)
    stalled = state.in_flight >= servers and now - state.answered_at >= max(2.0, 2 * signals.seconds)
    deep = 1.5 * servers * policy.target / policy.edge_service + 1
    backlog = state.in_flight > deep or (state.backlog and state.in_flight > 2 * servers)
    if not state.grid:
        state = replace(state, grid=tuple(-0.5 * math.log2(times) ** 2 for times in GRID))
    if now >= state.deaf_until and not backlog and not stalled:
        state = _learn(state, signals, policy, servers)
    if stalled:
        wanted = PROBE if signals.cloud_ready and cloud_late < 0.9 else 0.5
    else:
        service = policy.edge_service * _best(state.grid)
        wanted = _split(state.high_rate, servers, service, policy, allowance, cloud_late)
        if backlog:
            free = max(0.0, servers / service - (state.in_flight - servers))
            wanted = min(wanted, free / max(state.high_rate, 1e-6))
    if not signals.cloud_ready or not signals.edge_ready:
        # A weight on a side with no endpoint is answered 503 by gateways: never, and not step by step.
        return replace(state, share=0.0 if signals.cloud_ready else 1.0, up_since=None, backlog=backlog)
    return _move(replace(state, backlog=backlog), wanted, signals.seconds, now)


def _rates(state: WeightState, signals: Signals, now: float) -> WeightState:
    """Rates that rise with a jump and fall slowly; requests in flight; when the edge answered last."""
    count, seconds = signals.count, signals.seconds
    rate = count.offered / seconds
    before = rate if state.rate is None else state.rate
    jump = abs(rate - before) > 3 * math.sqrt(max(before, 1 / seconds) / seconds)
    jump = jump and abs(rate - before) * seconds > 4
    if not jump:
        rate = before + (rate - before) * min(1.0, seconds / RATE_SECONDS)
    high = max(rate, state.high_rate + (rate - state.high_rate) * min(1.0, seconds / RETURN_SECONDS))
    in_flight = max(0.0, state.in_flight + count.edge.started - count.edge.ended)
    return replace(
        state,
        rate=rate,
        high_rate=high,
        in_flight=in_flight,
        deaf_until=now + signals.seconds if jump else state.deaf_until,
        answered_at=now if count.edge.ended > count.edge.failed or in_flight < 1 else state.answered_at,
    )


def _learn(state: WeightState, signals: Signals, policy: Policy, servers: int) -> WeightState:
    """Weigh the hypotheses by what ended in this period."""
    edge = signals.count.edge
    good = max(0.0, edge.ended - edge.failed - edge.refused)
    counts = (
        min(good, edge.early),
        max(0.0, good - edge.late - edge.early),
        max(0.0, edge.late - edge.very_late),
        edge.very_late,
    )
    if not good:
        return state
    rate = edge.started / signals.seconds
    fade = math.exp(-signals.seconds / MEMORY)
    grid = []
    for times, old in zip(GRID, state.grid, strict=True):
        parts = _predicted(servers, rate, policy.edge_service * times, policy.target)
        gain = sum(n * math.log(part) for n, part in zip(counts, parts, strict=True))
        grid.append(old * fade + EVIDENCE * gain)
    top = max(grid)
    return replace(state, grid=tuple(value - top for value in grid))


def _predicted(servers: int, rate: float, service: float, target: float) -> tuple[float, ...]:
    """How a hypothesis spreads answers over the four buckets; never quite 0, for no theory is that sure."""
    if rate * service / servers >= 0.98:
        return OVERLOADED
    late = shares_over(servers, rate, service, (0.5 * target, target, 2.0 * target))
    parts = (1 - late[0], late[0] - late[1], late[1] - late[2], late[2])
    return tuple(0.97 * max(0.0, part) + 0.0075 for part in parts)


def _best(grid: tuple[float, ...]) -> float:
    """The mean of the hypotheses' logarithms under their posterior."""
    weights = [math.exp(value) for value in grid]
    total = sum(weights)
    return math.exp(sum(w * math.log(times) for w, times in zip(weights, GRID, strict=True)) / total)


def _split(
    rate: float, servers: int, service: float, policy: Policy, allowance: float, cloud_late: float
) -> float:
    """The largest share within the allowance; without one, the share with the fewest late requests."""

    def bad(share: float) -> float:
        here = shares_over(servers, share * rate, service, (policy.target,))[0] if share else 0.0
        return share * here + (1 - share) * cloud_late

    if bad(1.0) <= allowance:
        return 1.0
    if cloud_late > allowance:
        return min((percent / 100 for percent in range(100, -1, -4)), key=bad)
    # bad is convex, and within the allowance at 0: the shares within it are those up to some point.
    low, high = 0.0, 1.0
    for _ in range(7):
        middle = (low + high) / 2
        low, high = (middle, high) if bad(middle) <= allowance else (low, middle)
    return low


def _move(state: WeightState, wanted: float, seconds: float, now: float) -> WeightState:
    """Down at once, up late and slowly; small differences are noise."""
    share, up_since = state.share, None
    if wanted < share - BAND:
        share = wanted
    elif wanted > share + BAND or (wanted >= 0.995 > share):
        up_since = now if state.up_since is None else state.up_since
        if now - up_since >= UP_AFTER:
            share = min(wanted, share + UP_STEP * seconds)
    moved = abs(share - state.share) > 0.05
    deaf = max(state.deaf_until, now + 2 * seconds) if moved else state.deaf_until
    return replace(state, share=share, up_since=up_since, deaf_until=deaf)
