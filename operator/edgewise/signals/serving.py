"""A server's own metrics as plain counts: what its router cannot tell of one replica among several.

Only servers of ours have these names (`edgewise.serving.metrics`); of others nothing is known here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_SAMPLE: Final = re.compile(r"^edgewise_(\w+)(?:\{([^}]*)\})? ([0-9.e+-]+)$", re.MULTILINE)
_LE: Final = re.compile(r'le="([^"]+)"')


@dataclass(frozen=True, slots=True)
class ReplicaCount:
    """One server since it started: requests in flight now, answers, late ones, and its limit K."""

    in_flight: float
    ended: float
    late: float
    limit: float


def url(address: str, port: int) -> str:
    """Where a server's metrics are."""
    return f"http://{address}:{port}/metrics"


def replica_count(text: str, target: float) -> ReplicaCount | None:
    """Counts out of a server's metrics; None when they are not those of a server of ours.

    Args:
        text: Prometheus' text format.
        target: latency target in seconds; the histogram has a bucket there.
    """
    plain: dict[str, float] = {}
    in_time = answers = ended = 0.0
    for name, labels, value in _SAMPLE.findall(text):
        if name == "request_duration_seconds_bucket":
            bound = _LE.search(labels)
            if bound is not None and float(bound.group(1)) <= target * 1.001:
                in_time = max(in_time, float(value))
        elif name == "request_duration_seconds_count":
            answers = float(value)
        elif name == "requests_ended_total":
            ended += float(value)
        elif not labels:
            plain[name] = float(value)
    if "in_flight" not in plain or "admission_limit" not in plain:
        return None
    return ReplicaCount(plain["in_flight"], ended, max(0.0, answers - in_time), plain["admission_limit"])
