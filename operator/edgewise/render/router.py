"""The router of a site: its Deployment in the operator's namespace, and the ConfigMap with its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgewise.render import envoy_bootstrap as envoy
from edgewise.render.access import ROUTER_PORT
from edgewise.render.envoy_upstream import CREDENTIAL_FOLDER, CREDENTIAL_KEY
from edgewise.render.names import ROUTER, child_name, labels


@dataclass(frozen=True, slots=True)
class Router:
    """Everything that decides what a site's router looks like."""

    namespace: str
    site: str
    #: Labels that nodes of the site carry.
    site_labels: tuple[tuple[str, str], ...]
    image: str
    #: The operator's Deployment, which owns the routers: they go when edgewise is uninstalled.
    owner: tuple[dict[str, Any], ...]
    #: Secret with the credential for the site's upstream; empty for none.
    credentials: str = ""

    @property
    def name(self) -> str:
        """Name of the Deployment and of the ConfigMap."""
        return router_name(self.site)


def router_name(site: str) -> str:
    """Name of the Deployment and the ConfigMap of a site's router."""
    return child_name("edgewise-router", site)


def config_map(router: Router, files: Mapping[str, str]) -> dict[str, Any]:
    """The ConfigMap that the router reads its files from."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": router.name,
            "namespace": router.namespace,
            "labels": labels(ROUTER, site=router.site),
            "ownerReferences": list(router.owner),
        },
        "data": dict(files),
    }


def deployment(router: Router) -> dict[str, Any]:
    """The router's Deployment. Nothing in it depends on services, so their changes restart no router."""
    marks = labels(ROUTER, site=router.site)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": router.name,
            "namespace": router.namespace,
            "labels": marks,
            "ownerReferences": list(router.owner),
        },
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": marks},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": marks},
                "spec": {
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "priorityClassName": "edgewise-critical",
                    "terminationGracePeriodSeconds": 30,
                    "nodeSelector": dict(router.site_labels),
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 65532,
                        "runAsGroup": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "tolerations": [
                        {"key": key, "operator": "Exists", "effect": "NoExecute"}
                        for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
                    ],
                    "containers": [_container(router)],
                    "volumes": [
                        {"name": "config", "configMap": {"name": router.name}},
                        *([_credentials(router)] if router.credentials else []),
                    ],
                },
            },
        },
    }


def _container(router: Router) -> dict[str, Any]:
    ready = {"httpGet": {"path": "/ready", "port": "stats"}}
    return {
        "name": "envoy",
        "image": router.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["envoy"],
        "args": ["--config-yaml", envoy.bootstrap(), "--concurrency", "1", "--log-level", "warn"],
        "ports": [
            {"name": "http", "containerPort": ROUTER_PORT, "protocol": "TCP"},
            {"name": "stats", "containerPort": envoy.STATS_PORT, "protocol": "TCP"},
        ],
        "resources": {"requests": {"cpu": "50m", "memory": "96Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "startupProbe": {**ready, "periodSeconds": 1, "failureThreshold": 60},
        "readinessProbe": {**ready, "periodSeconds": 5, "failureThreshold": 2},
        "livenessProbe": {**ready, "periodSeconds": 10, "failureThreshold": 6},
        # New connections go elsewhere before this one stops listening.
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "volumeMounts": [
            {"name": "config", "mountPath": envoy.FOLDER, "readOnly": True},
            *([_mount()] if router.credentials else []),
        ],
    }


def _credentials(router: Router) -> dict[str, Any]:
    """The Secret's one key. Not optional: requests without it would be refused by the upstream anyway."""
    item = {"key": CREDENTIAL_KEY, "path": CREDENTIAL_KEY}
    return {"name": "credentials", "secret": {"secretName": router.credentials, "items": [item]}}


def _mount() -> dict[str, Any]:
    return {"name": "credentials", "mountPath": CREDENTIAL_FOLDER, "readOnly": True}
