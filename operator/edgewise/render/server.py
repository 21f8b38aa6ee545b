"""The Deployment of one variant of one revision of a service at one site."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from edgewise.api.edgemodel import Variant
from edgewise.api.meta import API_VERSION, CSI_DRIVER, SIDE_EDGE, seconds
from edgewise.render.names import SERVER, child_name, labels, owner
from edgewise.rollout.revision import NodeRule, Revision

#: Seconds that a server goes on answering after it was told to end, so that routers can leave it.
DRAIN_SECONDS: Final = 5
_PRIORITY: Final = {
    "Critical": "edgewise-critical",
    "High": "edgewise-high",
    "Normal": "edgewise-normal",
    "BestEffort": "edgewise-best-effort",
}
#: A node that does not answer is unknown, not gone: what runs at the edge stays where it is.
_STAY: Final = [
    {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
    {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"},
    {"key": "node-role.kubernetes.io/edge", "operator": "Exists", "effect": "NoSchedule"},
]


@dataclass(frozen=True, slots=True)
class Server:
    """Everything that decides what a server's Deployment looks like."""

    namespace: str
    service: str
    service_uid: str
    criticality: str
    site: str
    #: Labels that nodes of the site carry.
    site_labels: tuple[tuple[str, str], ...]
    side: str
    revision: Revision
    variant: Variant
    accelerator: str
    replicas: int

    @property
    def name(self) -> str:
        """Name of the Deployment."""
        return child_name(self.service, self.site, self.revision.hash)


def deployment(server: Server) -> dict[str, Any]:
    """The Deployment of a server.

    Raises:
        ValueError: the revision was made by a newer edgewise than this one.
    """
    if server.revision.render_version != 1:
        raise ValueError(
            f"revision {server.revision.hash} of {server.service} was rendered by version "
            f"{server.revision.render_version} of the templates; this edgewise knows version 1: upgrade it"
        )
    marks = labels(
        SERVER,
        server.service,
        server.site,
        variant=server.variant.name,
        revision=server.revision.hash,
        side=server.side,
    )
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": server.name,
            "namespace": server.namespace,
            "labels": marks,
            "ownerReferences": owner(API_VERSION, "InferenceService", server.service, server.service_uid),
        },
        "spec": {
            "replicas": server.replicas,
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": marks},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {"metadata": {"labels": marks}, "spec": _pod(server, marks)},
        },
    }


def _pod(server: Server, marks: dict[str, str]) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "priorityClassName": _PRIORITY[server.criticality],
        "terminationGracePeriodSeconds": 30,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "nodeSelector": dict(server.site_labels),
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": marks},
            }
        ],
        "containers": [_container(server)],
        "volumes": [
            {
                "name": "model",
                "csi": {
                    "driver": CSI_DRIVER,
                    "readOnly": True,
                    "volumeAttributes": {"model": server.revision.model, "digest": server.variant.digest},
                },
            }
        ],
    }
    if server.side == SIDE_EDGE:
        spec["tolerations"] = _STAY
    rules = server.revision.node_rules.get(server.accelerator) or []
    if rules:
        spec["affinity"] = {"nodeAffinity": _affinity(rules)}
    return spec


def _affinity(rules: list[NodeRule]) -> dict[str, Any]:
    """Nodes with the accelerator class: each rule is an alternative."""
    terms = [
        {"matchExpressions": [{"key": rule.label, "operator": "In", "values": [rule.value]}]}
        for rule in rules
    ]
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}


def _container(server: Server) -> dict[str, Any]:
    revision, variant = server.revision, server.variant
    ref = revision.server(variant.format, server.accelerator)
    if ref is None:
        raise ValueError(
            f"revision {revision.hash} has no server for {variant.format} on {server.accelerator}; "
            "set the image of that runtime in the chart's values"
        )
    profile = next((entry for entry in variant.profile if entry.accelerator == server.accelerator), None)
    environment = {
        "EDGEWISE_MODEL_NAME": revision.model,
        "EDGEWISE_MODEL_VERSION": revision.version,
        "EDGEWISE_MODEL_PATH": "/models",
        "EDGEWISE_PORT": str(ref.port),
        "EDGEWISE_SIDE": server.side,
        "EDGEWISE_SITE": server.site,
        "EDGEWISE_REVISION": revision.hash,
        "EDGEWISE_LATENCY_TARGET": f"{revision.target:g}",
        "EDGEWISE_ALLOWED_OVER_TARGET": f"{1 - revision.percentile / 100:.4g}",
        "EDGEWISE_PROFILE_LATENCY": f"{seconds(profile.latency):g}" if profile else "",
        "EDGEWISE_CONCURRENCY": str(profile.concurrency if profile else 1),
        "EDGEWISE_MAX_IN_FLIGHT": str(revision.max_in_flight),
        "EDGEWISE_DRAIN_SECONDS": str(DRAIN_SECONDS),
    }
    return {
        "name": "server",
        "image": ref.image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": ref.port, "protocol": "TCP"}],
        "env": [{"name": name, "value": value} for name, value in environment.items() if value],
        "resources": variant.resources.model_dump(exclude_none=True, exclude_defaults=True),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "startupProbe": _probe(ref.ready, period=1, failures=120),
        "readinessProbe": _probe(ref.ready, period=2, failures=1),
        "livenessProbe": _probe(ref.live, period=10, failures=3),
        "volumeMounts": [{"name": "model", "mountPath": "/models", "readOnly": True}],
    }


def _probe(path: str, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }
