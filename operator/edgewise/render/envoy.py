"""Envoy's configuration for one site's router, as files: LDS, CDS, RDS and one EDS file a cluster.

Every request tries the edge group first; a request that it refuses or fails is sent once more, to the
cloud group, where there is one. Reference of every field: https://www.envoyproxy.io/docs/envoy/v1.40.0/.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from edgewise.api.meta import SIDE_CLOUD, SIDE_EDGE
from edgewise.render.access import ROUTER_PORT

FOLDER: Final = "/etc/edgewise/router"
ADMIN_PORT: Final = 9901
#: What the operator and the kubelet may see of the admin interface.
STATS_PORT: Final = 9902
#: A body up to this size can be sent a second time, in bytes.
BODY_LIMIT: Final = 16 * 2**20
#: Default of 3 concurrent retries a cluster would show refusals to callers.
_UNLIMITED: Final = 1_000_000
_TYPE: Final = "type.googleapis.com/envoy."
#: Milliseconds; fine enough that a latency target lies within 25 % of a boundary.
BUCKETS_MS: Final = (
    1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 35, 40, 50, 60, 70, 80, 90, 100, 120, 150, 175, 200, 250,
    300, 350, 400, 500, 600, 800, 1000, 1250, 1500, 2000, 2500, 3000, 4000, 5000, 7500, 10000, 30000, 60000,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Backend:
    """One revision of one side of a service: its share of the side's 1,000, and its addresses."""

    side: str
    revision: str
    weight: int
    addresses: tuple[str, ...]
    port: int


@dataclass(frozen=True, slots=True)
class Route:
    """One service at a site. `timeout` in seconds."""

    namespace: str
    service: str
    backends: tuple[Backend, ...]
    timeout: float = 30.0


def cluster_name(namespace: str, service: str, side: str, revision: str) -> str:
    """Name of an Envoy cluster. Underscores occur in no part, so `split_cluster_name` undoes it."""
    return "_".join((namespace, service, side, revision))


def split_cluster_name(name: str) -> tuple[str, str, str, str] | None:
    """Namespace, service, side and revision of a cluster; None for one that is not a service's."""
    parts = name.split("_")
    return (parts[0], parts[1], parts[2], parts[3]) if len(parts) == 4 else None


def files(routes: Iterable[Route]) -> dict[str, str]:
    """The router's files by name. The same routes give the same bytes."""
    ordered = sorted(routes, key=lambda route: (route.namespace, route.service))
    documents: dict[str, Any] = {
        "lds.json": [_listener()],
        "rds.json": [
            {
                "@type": _TYPE + "config.route.v3.RouteConfiguration",
                "name": "routes",
                "virtual_hosts": [_virtual_host(route) for route in ordered],
            }
        ],
        "cds.json": [],
    }
    for route in ordered:
        for backend in route.backends:
            name = cluster_name(route.namespace, route.service, backend.side, backend.revision)
            documents["cds.json"].append(_cluster(name, backend.side))
            documents[f"eds-{name}.json"] = [_endpoints(name, backend)]
    return {
        name: json.dumps({"resources": resources}, sort_keys=True, separators=(",", ":"))
        for name, resources in documents.items()
    }


def bootstrap() -> str:
    """The part of the configuration that never changes while a router runs."""
    admin = {"socket_address": {"address": "127.0.0.1", "port_value": ADMIN_PORT}}
    allowed = ("/stats/prometheus", "/ready", "/config_dump")
    config = {
        "node": {"id": "router", "cluster": "edgewise"},
        "admin": {"address": admin},
        "stats_config": {
            "histogram_bucket_settings": [
                {"match": {"safe_regex": {"regex": ".*"}}, "buckets": list(BUCKETS_MS)}
            ]
        },
        "dynamic_resources": {"lds_config": _source("lds.json"), "cds_config": _source("cds.json")},
        "static_resources": {
            "clusters": [
                {
                    "name": "admin",
                    "type": "STATIC",
                    "load_assignment": {
                        "cluster_name": "admin",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": admin}}]}],
                    },
                }
            ],
            "listeners": [
                {
                    "name": "stats",
                    "address": {"socket_address": {"address": "0.0.0.0", "port_value": STATS_PORT}},  # noqa: S104
                    "filter_chains": [
                        _http_filter_chain(
                            {
                                "stat_prefix": "stats",
                                "route_config": {
                                    "virtual_hosts": [
                                        {
                                            "name": "admin",
                                            "domains": ["*"],
                                            "routes": [
                                                {"match": {"path": path}, "route": {"cluster": "admin"}}
                                                for path in allowed
                                            ],
                                        }
                                    ]
                                },
                            }
                        )
                    ],
                }
            ],
        },
    }
    return json.dumps(config, sort_keys=True)


def _source(name: str) -> dict[str, Any]:
    """A file that Envoy reads again whenever the kubelet swaps the ConfigMap's folder."""
    return {
        "path_config_source": {"path": f"{FOLDER}/{name}", "watched_directory": {"path": FOLDER}},
        "resource_api_version": "V3",
    }


def _http_filter_chain(manager: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "filters": [
            {
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": _TYPE
                    + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    "http_filters": [
                        {
                            "name": "envoy.filters.http.router",
                            "typed_config": {"@type": _TYPE + "extensions.filters.http.router.v3.Router"},
                        }
                    ],
                    **manager,
                },
            }
        ]
    }


def _listener() -> dict[str, Any]:
    return {
        "@type": _TYPE + "config.listener.v3.Listener",
        "name": "requests",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": ROUTER_PORT}},  # noqa: S104
        "per_connection_buffer_limit_bytes": 1 << 20,
        "filter_chains": [
            _http_filter_chain(
                {
                    "stat_prefix": "requests",
                    "rds": {"route_config_name": "routes", "config_source": _source("rds.json")},
                }
            )
        ],
    }


def _virtual_host(route: Route) -> dict[str, Any]:
    host = f"{route.service}.{route.namespace}"
    names = (host, f"{host}.svc", f"{host}.svc.cluster.local")
    return {
        "name": host,
        "domains": [domain for name in names for domain in (name, f"{name}:*")],
        "request_body_buffer_limit": BODY_LIMIT,
        # Inference has no side effects, so a request that broke off is sent again as well ("reset").
        "retry_policy": {
            "retry_on": "retriable-status-codes,connect-failure,refused-stream,reset",
            "retriable_status_codes": [429, 502, 503, 504],
            "num_retries": 1,
            "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.001s"},
            "refresh_cluster_on_retry": True,
        },
        "routes": [
            {
                "match": {"prefix": "/"},
                "route": {
                    "timeout": f"{route.timeout:g}s",
                    "inline_cluster_specifier_plugin": {
                        "extension": {
                            "name": "envoy.router.cluster_specifier_plugin.priority_group",
                            "typed_config": {
                                "@type": _TYPE + "extensions.router.cluster_specifiers.priority_group.v3."
                                "PriorityGroupClusterSpecifier",
                                "priority_groups": _groups(route),
                            },
                        }
                    },
                },
            }
        ],
    }


def _groups(route: Route) -> list[dict[str, Any]]:
    """Edge before cloud. A side without any address is left out: Envoy answers 503 for an empty cluster.

    When no side has one, both stay: whoever comes first is used as soon as it has an address.
    """
    empty = not any(backend.addresses for backend in route.backends)
    groups = []
    for side in (SIDE_EDGE, SIDE_CLOUD):
        clusters = [
            {
                "cluster_name": cluster_name(route.namespace, route.service, side, backend.revision),
                "weight": backend.weight,
            }
            for backend in route.backends
            if backend.side == side and backend.weight > 0 and (backend.addresses or empty)
        ]
        if clusters:
            groups.append({"name": side, "clusters": clusters})
    return groups


def _cluster(name: str, side: str) -> dict[str, Any]:
    limits = dict.fromkeys(
        ("max_retries", "max_requests", "max_pending_requests", "max_connections"), _UNLIMITED
    )
    return {
        "@type": _TYPE + "config.cluster.v3.Cluster",
        "name": name,
        "type": "EDS",
        "connect_timeout": "0.25s" if side == SIDE_EDGE else "1s",
        "lb_policy": "LEAST_REQUEST",
        "eds_cluster_config": {"eds_config": _source(f"eds-{name}.json")},
        "circuit_breakers": {"thresholds": [limits]},
    }


def _endpoints(name: str, backend: Backend) -> dict[str, Any]:
    return {
        "@type": _TYPE + "config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": name,
        "endpoints": [
            {
                "lb_endpoints": [
                    {"endpoint": {"address": {"socket_address": {"address": ip, "port_value": backend.port}}}}
                    for ip in sorted(backend.addresses)
                ]
            }
        ],
    }
