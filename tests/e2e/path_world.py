"""What the tests of the whole path share: the installed product with a service that is Ready."""

from __future__ import annotations

from typing import Any

from lab import product
from lab.demo import Demo
from lab.demo_world import EDGE, SERVERS
from lab.observe import wait_for
from lab.quickstart import NAMESPACE
from lab.specs import ControlPlaneOptions

#: Kubernetes gives an unreachable node up after 50 s and its pods after 300 s more. Here it is in a hurry,
#: so that a test can wait for it.
HASTY = ControlPlaneOptions(node_grace=12, eviction=10)
#: The user that the operator is for the API server.
OPERATOR = f"system:serviceaccount:{product.NAMESPACE}:edgewise-operator"
SYSTEM = ("-n", product.NAMESPACE)


def uids(demo: Demo, labels: str = SERVERS) -> set[str]:
    """UIDs of the pods of servers."""
    return {pod["metadata"]["uid"] for pod in demo.cluster.pods(NAMESPACE, labels)}


def kept(demo: Demo, before: set[str]) -> bool:
    """Whether no server was replaced since `uids` said `before`: no new one at the edge, and none lost.

    The cloud side grows and shrinks with the load of earlier tests; one of its pods has to be the same.
    """
    edge, now = uids(demo, EDGE), uids(demo)
    others = before - edge
    return edge <= before and bool(edge) and (not others or bool(now & others))


def operator_image(demo: Demo) -> str:
    """The image that the operator runs from."""
    pods: list[dict[str, Any]] = demo.cluster.pods(
        product.NAMESPACE, "app.kubernetes.io/component=operator", ready=True
    )
    return str(pods[0]["spec"]["containers"][0]["image"])


def leader(demo: Demo) -> str:
    """UID of the operator's pod that holds the lease."""
    return str(demo.cluster.get("lease", "edgewise-operator", product.NAMESPACE)["spec"]["holderIdentity"])


def restart_operator(demo: Demo) -> None:
    """Put another pod of the operator into the place of the one that runs, and wait until it leads."""
    before = leader(demo)
    demo.lab.kubectl("rollout", "restart", "deployment/edgewise-operator", *SYSTEM)
    demo.lab.kubectl("rollout", "status", "deployment/edgewise-operator", *SYSTEM, "--timeout=90s")
    wait_for("another leader", lambda: leader(demo) not in {"", before})


def lease_writes(demo: Demo, since: int = 0) -> int:
    """How often an operator has renewed its lease, after so many of its requests."""
    return sum(
        event["verb"] == "update" and event["objectRef"]["resource"] == "leases"
        for event in demo.lab.audit(OPERATOR)[since:]
    )
