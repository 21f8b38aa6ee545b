"""Envoy's configuration for one site's router, as files: LDS, CDS, RDS and one EDS file a cluster.

Every request tries the edge group first; a request that it refuses or fails is sent once more, to the
cloud group, where there is one. Reference of every field: https://www.envoyproxy.io/docs/envoy/v1.40.0/.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from edgewise.api.meta import SIDE_CLOUD, SIDE_EDGE
from edgewise.render.access import ROUTER_PORT
from edgewise.render.envoy_bootstrap import TYPE, http_filter_chain, source
from edgewise.render.envoy_cluster import cluster
from edgewise.render.envoy_upstream import SDS_FILE, Upstream, secret, upstream_cluster
from edgewise.render.orders import NO_ORDERS, Orders, told
from edgewise.traffic.policy import Way

#: A body up to this size can be sent a second time, in bytes.
BODY_LIMIT: Final = 16 * 2**20
#: Requests that no side could take are refused, as by a full server, and never an error: the cloud's share
#: is used up (UO), nobody listens (UF), nobody is left (UH).
_FULL: Final = {"response_flag_filter": {"flags": ["UO", "UF", "UH"]}}
#: Nor are those that both sides left without an answer for longer than their patience.
_SILENT: Final = {
    "extension_filter": {
        "name": "envoy.access_loggers.extension_filters.cel",
        "typed_config": {
            "@type": TYPE + "extensions.access_loggers.filters.cel.v3.ExpressionFilter",
            "expression": "response.code_details == 'upstream_per_try_timeout'",
        },
    }
}
_NOBODY: Final = "no server of this service has been started yet; try again later\n"


@dataclass(frozen=True, slots=True)
class Backend:
    """One revision of one side of a service.

    Attributes:
        weight: its share of the side's 1,000.
        addresses: of its pods.
        upstream: an address outside the cluster, in the place of pods.
    """

    side: str
    revision: str
    weight: int
    addresses: tuple[str, ...]
    port: int
    upstream: Upstream | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """One service at a site.

    Attributes:
        orders: what was decided about its requests.
        timeout: seconds for a request, its second try included.
        patience: seconds for the first try, when there is a second; a server that hangs is left then.
        max_body: bytes of a body that can be sent a second time; a larger one is tried once.
    """

    namespace: str
    service: str
    backends: tuple[Backend, ...]
    timeout: float = 30.0
    patience: float = 5.0
    max_body: int = BODY_LIMIT
    orders: Orders = NO_ORDERS


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
                "@type": TYPE + "config.route.v3.RouteConfiguration",
                "name": "routes",
                "virtual_hosts": [_virtual_host(route) for route in ordered],
            }
        ],
        "cds.json": [],
    }
    for route in ordered:
        for backend in route.backends:
            name = cluster_name(route.namespace, route.service, backend.side, backend.revision)
            limit = route.orders.in_flight if backend.side == SIDE_CLOUD else None
            if backend.upstream is not None:
                documents["cds.json"].append(upstream_cluster(name, backend.upstream, limit))
                documents |= {SDS_FILE: secret()} if backend.upstream.credential else {}
                continue
            documents["cds.json"].append(cluster(name, backend.side, limit))
            documents[f"eds-{name}.json"] = [_endpoints(name, backend)]
    return {name: _document(resources) for name, resources in documents.items()}


def versions(files: Mapping[str, str]) -> dict[str, str]:
    """The version that each file carries, as the router repeats it once the file is in force.

    Envoy repeats none for secrets.
    """
    return {name: str(json.loads(text)["version_info"]) for name, text in files.items() if name != SDS_FILE}


def _document(resources: list[Any]) -> str:
    """A discovery response whose version is the hash of its resources."""
    content = json.dumps(resources, sort_keys=True, separators=(",", ":"))
    version = hashlib.sha256(content.encode()).hexdigest()[:12]
    return f'{{"resources":{content},"version_info":"{version}"}}'


def _listener() -> dict[str, Any]:
    return {
        "@type": TYPE + "config.listener.v3.Listener",
        "name": "requests",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": ROUTER_PORT}},  # noqa: S104
        "per_connection_buffer_limit_bytes": 1 << 20,
        "filter_chains": [
            http_filter_chain(
                {
                    "stat_prefix": "requests",
                    "rds": {"route_config_name": "routes", "config_source": source("rds.json")},
                    "local_reply_config": {"mappers": [_refused(_FULL), _refused(_SILENT)]},
                }
            )
        ],
    }


def _refused(what: Mapping[str, Any]) -> dict[str, Any]:
    """Turn an answer of Envoy's own into a refusal."""
    return {
        "filter": dict(what),
        "status_code": 429,
        "headers_to_add": [{"header": {"key": "retry-after", "value": "1"}}],
    }


def _virtual_host(route: Route) -> dict[str, Any]:
    host = f"{route.service}.{route.namespace}"
    names = (host, f"{host}.svc", f"{host}.svc.cluster.local")
    return {
        "name": host,
        "domains": [domain for name in names for domain in (name, f"{name}:*")],
        "request_body_buffer_limit": route.max_body,
        "routes": [{"match": {"prefix": "/"}, **_action(route)}],
        **told(route.orders),
    }


def _action(route: Route) -> dict[str, Any]:
    """Where requests go; callers of a service without any server are told to come again, as by a full one."""
    groups = _groups(route)
    if not groups:
        return {
            "direct_response": {"status": 429, "body": {"inline_string": _NOBODY}},
            "response_headers_to_add": [{"header": {"key": "retry-after", "value": "5"}}],
        }
    plugin = {
        "@type": TYPE
        + "extensions.router.cluster_specifiers.priority_group.v3.PriorityGroupClusterSpecifier",
        "priority_groups": groups,
    }
    return {
        "route": {
            "timeout": f"{route.timeout:g}s",
            "retry_policy": _retry(route, len(groups) > 1),
            **_host(route),
            "inline_cluster_specifier_plugin": {
                "extension": {
                    "name": "envoy.router.cluster_specifier_plugin.priority_group",
                    "typed_config": plugin,
                }
            },
        }
    }


def _host(route: Route) -> dict[str, Any]:
    """The name that the cloud's address goes by; servers in the cluster do not look at it."""
    for backend in route.backends:
        if backend.upstream is not None:
            authority = backend.upstream.authority
            return {"host_rewrite_literal": authority, "append_x_forwarded_host": True}
    return {}


def _retry(route: Route, other_side: bool) -> dict[str, Any]:
    """One more try, at the other side. Inference has no side effects, so a broken-off request is sent again.

    "reset" stands for that, and for a server that does not answer within `patience`.
    """
    refusals = [429] if route.orders.way in (Way.OPEN, Way.PROBE) else []
    return {
        "retry_on": "retriable-status-codes,connect-failure,refused-stream,reset",
        "retriable_status_codes": [*refusals, 502, 503, 504],
        "num_retries": 1,
        "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.001s"},
        "refresh_cluster_on_retry": True,
        **({"per_try_timeout": f"{route.patience:g}s"} if other_side else {}),
    }


def _groups(route: Route) -> list[dict[str, Any]]:
    """Edge before cloud. A side without any address is left out: Envoy answers 503 for an empty cluster."""
    groups = []
    for side in (SIDE_EDGE, SIDE_CLOUD) if route.orders.way is not Way.CLOSED else (SIDE_EDGE,):
        clusters = [
            {
                "cluster_name": cluster_name(route.namespace, route.service, side, backend.revision),
                "weight": backend.weight,
            }
            for backend in route.backends
            if backend.side == side and backend.weight > 0 and (backend.addresses or backend.upstream)
        ]
        if clusters:
            groups.append({"name": side, "clusters": clusters})
    return groups


def _endpoints(name: str, backend: Backend) -> dict[str, Any]:
    return {
        "@type": TYPE + "config.endpoint.v3.ClusterLoadAssignment",
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
