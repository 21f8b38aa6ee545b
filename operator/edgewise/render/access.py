"""How callers inside the cluster reach a service: a Service without selector, and the routers behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from edgewise.api.meta import API_VERSION
from edgewise.render.names import ROUTER, labels, owner

ROUTER_PORT: Final = 8080


def service(namespace: str, name: str, uid: str) -> dict[str, Any]:
    """The Service ``<name>.<namespace>``; its endpoints are routers, so it has no selector."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels(ROUTER, name),
            "ownerReferences": owner(API_VERSION, "InferenceService", name, uid),
        },
        "spec": {
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": ROUTER_PORT}],
            "type": "ClusterIP",
        },
    }


def endpoint_slice(namespace: str, name: str, uid: str, routers: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The EndpointSlice of that Service: (address, node) of each ready router, in order."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-routers",
            "namespace": namespace,
            "labels": labels(ROUTER, name)
            | {
                "kubernetes.io/service-name": name,
                "endpointslice.kubernetes.io/managed-by": "edgewise.dev",
            },
            "ownerReferences": owner(API_VERSION, "InferenceService", name, uid),
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": ROUTER_PORT, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": [address], "nodeName": node, "conditions": {"ready": True}}
            for address, node in sorted(routers)
        ],
    }
