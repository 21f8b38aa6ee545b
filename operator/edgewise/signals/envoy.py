"""A router's statistics as plain counts.

Envoy's names: https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/upstream/cluster_manager/cluster_stats.
The text is taken apart here and not by ``prometheus_client.parser``: only a few families of it are wanted,
at every tick, from every router.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from edgewise.api.meta import SIDE_EDGE
from edgewise.render.envoy import split_cluster_name
from edgewise.render.envoy_bootstrap import STATS_PORT
from edgewise.traffic.signals import ServiceCount, SideCount

#: Only what is counted here is asked for.
PATH: Final = (
    r"/stats/prometheus?text_readouts=true&filter="
    r"^cluster\.[^.]*_[^.]*\.(retry\.)?upstream_rq_(total|completed|retry|429|5xx|time)$"
    r"|version_text$|update_rejected$"
)
_LINE: Final = re.compile(r"^envoy_cluster_(?:retry_)?upstream_rq_?(\w*)\{([^}]*)\} ([0-9.e+-]+)$")
_VERSION: Final = re.compile(r"^envoy_(\w+)_version_text\{([^}]*)\} 0$", re.MULTILINE)
_REJECTED: Final = re.compile(r"^envoy_\w+_update_rejected\{[^}]*\} ([0-9]+)$", re.MULTILINE)
#: The file that each kind of discovery reads; endpoints have one a cluster.
_FILES: Final = {
    "listener_manager_lds": "lds.json",
    "http_rds": "rds.json",
    "cluster_manager_cds": "cds.json",
}
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')


class _Cluster:
    """What is counted of one cluster."""

    def __init__(self) -> None:
        self.started = self.ended = self.refused = self.failed = self.retried = 0.0
        #: Answers up to a time in seconds, cumulative.
        self.buckets: list[tuple[float, float]] = []

    @property
    def answers(self) -> float:
        """Answers in all buckets."""
        return self.buckets[-1][1] if self.buckets else 0.0

    def late(self, target: float) -> float:
        """Answers over `target` seconds; inside a bucket they are taken as spread evenly."""
        low, below = 0.0, 0.0
        for high, count in self.buckets:
            if high >= target:
                part = (target - low) / (high - low) if high != float("inf") else 1.0
                return max(0.0, self.buckets[-1][1] - (below + (count - below) * part))
            low, below = high, count
        return 0.0


def url(address: str) -> str:
    """Where a router's statistics are."""
    return f"http://{address}:{STATS_PORT}{PATH}"


def counts(text: str, targets: Mapping[str, float]) -> dict[str, ServiceCount]:
    """Counts by service key (``namespace/name``); `targets` are latency targets in seconds, by service.

    Revisions of a side are added up. Services without a target count nothing as late.
    """
    clusters: dict[str, _Cluster] = defaultdict(_Cluster)
    for line in text.splitlines():
        found = _LINE.match(line)
        if found:
            _take(clusters, found.group(1), dict(_LABEL.findall(found.group(2))), float(found.group(3)))
    services: dict[str, ServiceCount] = {}
    for name, cluster in clusters.items():
        parts = split_cluster_name(name)
        if parts is None:
            continue
        key = f"{parts[0]}/{parts[1]}"
        side = SideCount(
            started=cluster.started, ended=cluster.ended, refused=cluster.refused, failed=cluster.failed
        )
        if key in targets:
            target = targets[key]
            side = replace(
                side,
                late=cluster.late(target),
                early=cluster.answers - cluster.late(target / 2),
                very_late=cluster.late(2 * target),
            )
        if parts[2] == SIDE_EDGE:
            found_here = ServiceCount(edge=side, retried=cluster.retried)
        else:
            found_here = ServiceCount(cloud=side, retried=cluster.retried)
        services[key] = services.get(key, ServiceCount()) + found_here
    return services


@dataclass(frozen=True, slots=True)
class InForce:
    """What a router goes by: the version of each of its files, and how many updates it has refused."""

    versions: Mapping[str, str]
    refused: int


def in_force(text: str) -> InForce:
    """The configuration in force, out of a router's statistics.

    A file that a router cannot use leaves the last good one in force, so its version tells.
    """
    found: dict[str, str] = {}
    for kind, rest in _VERSION.findall(text):
        labels = dict(_LABEL.findall(rest))
        if kind == "cluster" and "envoy_cluster_name" in labels:
            found[f"eds-{labels['envoy_cluster_name']}.json"] = labels.get("text_value", "")
        elif kind in _FILES:
            found[_FILES[kind]] = labels.get("text_value", "")
    return InForce(found, sum(int(count) for count in _REJECTED.findall(text)))


def _take(clusters: dict[str, _Cluster], family: str, labels: Mapping[str, str], value: float) -> None:
    """Add a sample to its cluster.

    An answer that led to a second try is counted at the cluster that gave it, in a family of its own
    (`retry_`); the second try (`_retry`) is counted at the cluster that got it.
    """
    cluster = clusters[labels.get("envoy_cluster_name", "")]
    match family:
        case "total":
            cluster.started += value
        case "completed":
            cluster.ended += value
        case "retry":
            cluster.retried += value
        case "" if labels.get("envoy_response_code") == "429":
            cluster.refused += value
        case "xx" if labels.get("envoy_response_code_class") == "5":
            cluster.failed += value
        case "time_bucket":
            # Envoy counts in milliseconds.
            le = labels["le"]
            cluster.buckets.append((float("inf") if le == "+Inf" else float(le) / 1000.0, value))
