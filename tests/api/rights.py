"""What the chart's accounts may do, and what they must not: questions for ``kubectl auth can-i``.

Each is a verb, a resource (a subresource or a name follows a slash or two) and a namespace, "" for all.
"""

from __future__ import annotations

SYSTEM = "edgewise-system"
OURS = ("edgemodels", "inferenceservices", "rolloutpolicies", "trustpolicies", "edgesites")
OPERATOR_DOES = [
    *[(verb, f"{plural}.edgewise.dev", "") for plural in OURS for verb in ("get", "list", "watch")],
    *[
        ("patch", f"{plural}.edgewise.dev/status", "")
        for plural in ("edgemodels", "inferenceservices", "edgesites")
    ],
    ("create", "edgesites.edgewise.dev", ""),
    *[(verb, "events", "") for verb in ("create", "patch")],
    *[(verb, kind, "") for kind in ("nodes", "namespaces", "pods") for verb in ("get", "list", "watch")],
    *[
        (verb, kind, "")
        for kind in ("deployments.apps", "controllerrevisions.apps")
        for verb in ("get", "list", "watch", "create", "patch", "delete")
    ],
    *[
        (verb, kind, "")
        for kind in ("services", "endpointslices.discovery.k8s.io")
        for verb in ("get", "list", "watch", "create", "patch")
    ],
    *[(verb, "configmaps", SYSTEM) for verb in ("get", "list", "watch", "create", "patch", "delete")],
    ("patch", "pods", SYSTEM),
    ("create", "secrets", SYSTEM),
    ("get", "secrets//edgewise-verdict-key", SYSTEM),
    ("create", "leases.coordination.k8s.io", SYSTEM),
    ("get", "leases.coordination.k8s.io//edgewise-operator", SYSTEM),
    ("update", "leases.coordination.k8s.io//edgewise-operator", SYSTEM),
]
OPERATOR_DOES_NOT = [
    *[(verb, "secrets", SYSTEM) for verb in ("get", "list", "watch", "update", "patch", "delete")],
    ("get", "secrets//other", SYSTEM),
    ("patch", "secrets//edgewise-verdict-key", SYSTEM),
    *[(verb, "secrets", "vision") for verb in ("get", "list", "watch", "create")],
    *[(verb, "trustpolicies.edgewise.dev", "") for verb in ("create", "update", "patch", "delete")],
    *[(verb, "edgemodels.edgewise.dev", "vision") for verb in ("create", "update", "patch", "delete")],
    *[(verb, "inferenceservices.edgewise.dev", "vision") for verb in ("create", "update", "patch", "delete")],
    *[(verb, "edgesites.edgewise.dev", "") for verb in ("update", "patch", "delete")],
    *[(verb, "configmaps", "vision") for verb in ("get", "list", "create", "patch", "delete")],
    *[(verb, "pods", "vision") for verb in ("create", "patch", "delete")],
    ("create", "pods/exec", SYSTEM),
    ("patch", "nodes", ""),
    ("delete", "services", "vision"),
    ("update", "leases.coordination.k8s.io//other", SYSTEM),
    *[
        (verb, "clusterroles.rbac.authorization.k8s.io", "")
        for verb in ("create", "patch", "bind", "escalate")
    ],
    ("create", "serviceaccounts/token", SYSTEM),
    ("impersonate", "users", ""),
]
AGENT_DOES = [
    ("get", "edgemodels.edgewise.dev", ""),
    ("get", "configmaps//edgewise-verdict-keys", SYSTEM),
]
AGENT_DOES_NOT = [
    *[(verb, "edgemodels.edgewise.dev", "vision") for verb in ("list", "watch", "patch", "update", "create")],
    ("patch", "edgemodels.edgewise.dev/status", "vision"),
    ("get", "inferenceservices.edgewise.dev", "vision"),
    ("get", "trustpolicies.edgewise.dev", ""),
    *[(verb, "configmaps", SYSTEM) for verb in ("get", "list", "watch", "create")],
    ("get", "configmaps//other", SYSTEM),
    ("patch", "configmaps//edgewise-verdict-keys", SYSTEM),
    ("get", "configmaps//edgewise-verdict-keys", "vision"),
    *[("get", kind, SYSTEM) for kind in ("secrets", "pods", "services")],
    ("get", "secrets//edgewise-verdict-key", SYSTEM),
    *[(verb, "nodes", "") for verb in ("get", "list", "patch")],
    ("create", "serviceaccounts/token", SYSTEM),
]
