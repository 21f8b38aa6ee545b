"""What became of a load: counts of one stretch of time, and their summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Summary:
    """What ended within one second (or, for the total, within all of them).

    Attributes:
        second: seconds since the start, at the end of this stretch.
        due: requests that were due.
        ended: requests that ended, answered or failed.
        p50_ms: median latency of the answers of 200, in milliseconds; None without any.
        p95_ms: the 95th percentile likewise.
        over_target: share of `ended` that was late or failed, 0 to 1.
        cloud: share of the answers of 200 that the cloud gave (header `x-edgewise-side`), 0 to 1.
        failed: requests without an answer of 200.
        failures: those by HTTP status, or `timeout`, `connection`, `dropped`.
        in_flight: requests without an answer yet.
    """

    second: float
    due: int
    ended: int
    p50_ms: float | None
    p95_ms: float | None
    over_target: float
    cloud: float
    failed: int
    failures: Mapping[str, int]
    in_flight: int


@dataclass(slots=True)
class Tally:
    """Counts of one stretch, while it lasts."""

    due: int = 0
    late: int = 0
    cloud: int = 0
    seconds: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)

    def summary(self, second: float, in_flight: int) -> Summary:
        """The counts as shares and percentiles."""
        ordered = sorted(self.seconds)
        failed = self.failures.total()
        ended = len(ordered) + failed
        return Summary(
            second=round(second, 1),
            due=self.due,
            ended=ended,
            p50_ms=_percentile_ms(ordered, 0.50),
            p95_ms=_percentile_ms(ordered, 0.95),
            over_target=round((self.late + failed) / ended, 4) if ended else 0.0,
            cloud=round(self.cloud / len(ordered), 4) if ordered else 0.0,
            failed=failed,
            failures=dict(self.failures),
            in_flight=in_flight,
        )


def row(summary: Summary) -> str:
    """A summary as a line of text, for people."""
    p50, p95 = (f"{ms:7.1f}" if ms is not None else "      -" for ms in (summary.p50_ms, summary.p95_ms))
    failures = " ".join(f"{why}:{count}" for why, count in sorted(summary.failures.items()))
    return (
        f"{summary.second:6.1f} s {summary.due:5d} due {summary.ended:5d} ended  p50 {p50} ms  p95 {p95} ms"
        f"  over {summary.over_target:6.1%}  cloud {summary.cloud:6.1%}  failed {summary.failed} {failures}"
    )


def _percentile_ms(ordered: Sequence[float], share: float) -> float | None:
    if not ordered:
        return None
    return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)
