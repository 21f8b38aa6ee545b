"""Envoy's view of one revision at one side: how its servers are reached, and when they are left out.

There are no active health checks: docs/adr/0008.

Reference of every field: https://www.envoyproxy.io/docs/envoy/v1.40.0/.
"""

from __future__ import annotations

from typing import Any, Final

from edgewise.api.meta import SIDE_EDGE
from edgewise.render.envoy_bootstrap import TYPE, source

#: The default of 3 concurrent retries a cluster would show refusals to callers.
_UNLIMITED: Final = 1_000_000


def cluster(name: str, side: str, in_flight: int | None = None) -> dict[str, Any]:
    """The cluster `name`, as `cluster_name` makes it; its addresses come from a file of its own.

    `in_flight` is how many requests it may have at a time; None for any number.
    """
    return {
        "@type": TYPE + "config.cluster.v3.Cluster",
        "name": name,
        "type": "EDS",
        "connect_timeout": "0.25s" if side == SIDE_EDGE else "1s",
        "lb_policy": "LEAST_REQUEST",
        "eds_cluster_config": {"eds_config": source(f"eds-{name}.json")},
        "circuit_breakers": {"thresholds": [limits(in_flight)]},
        "outlier_detection": OUTLIERS,
    }


def limits(in_flight: int | None) -> dict[str, int]:
    """Bounds of a cluster: on requests at a time where there is one, and on nothing else."""
    found = dict.fromkeys(("max_retries", "max_pending_requests", "max_connections"), _UNLIMITED)
    return found | {"max_requests": _UNLIMITED if in_flight is None else in_flight}


#: Servers whose answers are errors or do not come: out for 5 s, then 10, 15 ... Refusals (429) do not count.
OUTLIERS: Final = {
    "consecutive_5xx": 5,
    "interval": "2s",
    "base_ejection_time": "5s",
    "max_ejection_time": "30s",
    "max_ejection_percent": 50,
    "enforcing_success_rate": 0,
}
