"""What is reported of a run, and how runs of several seeds become one line.

A violation is a request over target, failed, refused or timed out: whatever a caller did not get as
promised. P99 is over the requests that were answered; who was not is in `refused` and `failed`. Cost is the
share of requests that were sent to the cloud, beside it the replicas that stood there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from edgewise.simulate.arrivals import Requests
from edgewise.simulate.scenario import Scenario

if TYPE_CHECKING:
    from edgewise.simulate.place import Place, Pool

EDGE, CLOUD = 0, 1
OK, FAILED, REFUSED = 0, 1, 2

#: Price of a percentage point of violations above the allowance, in percentage points of cloud use.
PENALTY: Final = 10.0
#: Relative change of K, and change of a share by weight, from which on a change of direction counts.
LIMIT_MOVE, SHARE_MOVE = 0.05, 0.01


@dataclass(frozen=True, slots=True)
class Series:
    """What a plot shows, second by second: rates in requests/s, shares in percent."""

    offered: NDArray[np.float64]
    violations: NDArray[np.float64]
    cloud: NDArray[np.float64]
    limit: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run. Shares are in percent of the requests, times in milliseconds.

    Attributes:
        requests: how many there were.
        violations: not answered within the target.
        refused, failed: of those, answered 429; answered 5xx or not at all.
        cloud: sent to the cloud.
        p99: of the answered requests.
        turns: changes of direction an hour and site, of K or of the share by weight.
        warm: cloud replicas that stood, on average.
        edge: edge replicas that stood, on average over sites.
        allowed: violations that were promised to be the most.
        by_site: violations and cloud use of each site's own requests, by its name.
        series: for plots.
    """

    requests: int
    violations: float
    refused: float
    failed: float
    cloud: float
    p99: float
    turns: float
    warm: float
    edge: float
    allowed: float
    by_site: Mapping[str, tuple[float, float]]
    series: Series

    @property
    def objective(self) -> float:
        """Cloud percent plus ten times the violation points above the allowance; lower is better."""
        return self.cloud + PENALTY * max(0.0, self.violations - self.allowed)


def measure(
    scenario: Scenario,
    latency: Sequence[float],
    side: bytearray,
    code: bytearray,
    places: Sequence[Place],
    pool: Pool,
    requests: Requests,
) -> Outcome:
    """Sum a run up."""
    times = np.asarray(latency)
    codes = np.frombuffer(bytes(code), dtype=np.uint8)
    to_cloud = np.frombuffer(bytes(side), dtype=np.uint8) == CLOUD
    answered = codes == OK
    bad = ~answered | (times > scenario.promise.target)
    count = max(1, len(times))
    seconds = math.ceil(scenario.duration)
    second = (
        np.minimum(np.asarray(requests.at, dtype=np.int64), seconds - 1)
        if len(times)
        else np.zeros(0, np.int64)
    )
    return Outcome(
        requests=len(times),
        violations=100.0 * float(bad.sum()) / count,
        refused=100.0 * float((codes == REFUSED).sum()) / count,
        failed=100.0 * float((codes == FAILED).sum()) / count,
        cloud=100.0 * float(to_cloud.sum()) / count,
        p99=1000.0 * float(np.quantile(times[answered], 0.99)) if answered.any() else math.inf,
        turns=mean(_turns(place) for place in places) * 3600.0 / seconds,
        warm=pool.warm_seconds / seconds,
        edge=mean(place.warm_seconds for place in places) / seconds,
        allowed=100.0 * scenario.promise.allowed,
        by_site=_by_site(scenario, np.asarray(requests.site, dtype=np.int64), bad, to_cloud),
        series=Series(
            offered=np.bincount(second, minlength=seconds).astype(float),
            violations=np.bincount(second, weights=bad, minlength=seconds).astype(float),
            cloud=np.bincount(second, weights=to_cloud, minlength=seconds).astype(float),
            limit=np.mean([place.limits for place in places], axis=0),
        ),
    )


def _by_site(
    scenario: Scenario, site: NDArray[np.int64], bad: NDArray[np.bool_], to_cloud: NDArray[np.bool_]
) -> dict[str, tuple[float, float]]:
    sites = scenario.each_site()
    count = np.maximum(1, np.bincount(site, minlength=len(sites)))
    shares = [
        100.0 * np.bincount(site, weights=each, minlength=len(sites)) / count for each in (bad, to_cloud)
    ]
    return {place.name: (float(shares[0][n]), float(shares[1][n])) for n, place in enumerate(sites)}


def _turns(place: Place) -> int:
    """Changes of direction of what the law moves: K where it moves it, else the share by weight."""
    learned = any(replica.law is not None for replica in place.replicas)
    if learned:
        values = [math.log(max(limit, 1e-3)) for limit in place.limits[2:]]
        return turns(values, LIMIT_MOVE)
    return turns(place.shares, SHARE_MOVE)


def turns(values: Sequence[float], move: float) -> int:
    """How often a series turns round; moves up to `move` are noise."""
    if not values:
        return 0
    last, direction, count = values[0], 0, 0
    for value in values:
        if abs(value - last) > move:
            now = 1 if value > last else -1
            count += direction not in (0, now)
            direction, last = now, value
    return count


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds with its 95 % confidence interval (Student's t)."""

    value: float
    margin: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ±{self.margin:.2f}" if self.margin else f"{self.value:.2f}"


#: Two-sided 95 % quantiles of Student's t by degrees of freedom, where the normal one is off by over 1 %.
_T95: Final = (
    12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11,
    2.10, 2.09, 2.09, 2.08, 2.07, 2.07, 2.06, 2.06, 2.06, 2.05, 2.05, 2.05, 2.04,
)  # fmt: skip


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and interval; of a single value there is no interval."""
    if len(values) < 2:
        return Estimate(values[0], 0.0)
    free = len(values) - 1
    quantile = _T95[free - 1] if free <= len(_T95) else 1.96
    return Estimate(mean(values), quantile * stdev(values) / math.sqrt(len(values)))


@dataclass(frozen=True, slots=True)
class Summary:
    """One law in one scenario over several seeds."""

    scenario: str
    law: str
    violations: Estimate
    cloud: Estimate
    objective: Estimate
    p99: Estimate
    refused: Estimate
    failed: Estimate
    turns: Estimate
    warm: Estimate
    edge: Estimate


def summarise(scenario: str, law: str, outcomes: Sequence[Outcome]) -> Summary:
    """One line out of the runs of several seeds."""

    def over(name: str) -> Estimate:
        return estimate([getattr(outcome, name) for outcome in outcomes])

    return Summary(
        scenario, law, over("violations"), over("cloud"), over("objective"), over("p99"), over("refused"),
        over("failed"), over("turns"), over("warm"), over("edge"),
    )  # fmt: skip


def on_front(lines: Sequence[Summary]) -> frozenset[str]:
    """Laws of one scenario that no other beats in both violations and cloud use (the Pareto front)."""

    def beats(one: Summary, other: Summary) -> bool:
        pairs = ((one.violations, other.violations), (one.cloud, other.cloud))
        return all(a.value <= b.value for a, b in pairs) and any(a.value < b.value for a, b in pairs)

    return frozenset(line.law for line in lines if not any(beats(other, line) for other in lines))
