"""How fast a change takes hold: ``python -m bench.changes`` (as root; about two minutes).

Services are declared one after the other, and for each of them three moments are compared, by the API
server's own audit log and by what the site's router answers: the declaration was stored, the operator's
Deployment was stored, and the router knew the service.
"""

from __future__ import annotations

import json
import statistics
import time
import urllib.error
import urllib.request
from datetime import datetime
from typing import Any

from lab import product
from lab.cluster import Lab
from lab.demo import Demo
from lab.observe import wait_for
from lab.quickstart import NAMESPACE, SERVICE
from lab.testing import spare_layout

ROUNDS = 12
OPERATOR = f"system:serviceaccount:{product.NAMESPACE}:edgewise-operator"


def declared(demo: Demo, name: str) -> dict[str, Any]:
    """The demo's service under another name."""
    found = demo.cluster.get("einf", SERVICE, NAMESPACE)
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": found["apiVersion"], "kind": found["kind"], "metadata": metadata,
            "spec": found["spec"]}  # fmt: skip


def is_known(router: str, host: str) -> bool:
    """Whether the router has a route for a host; 503 for want of a ready server is one."""
    request = urllib.request.Request(f"http://{router}:8080/v2/health/ready", headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310
            return True
    except urllib.error.HTTPError as error:
        return error.code != 404


def moment(event: dict[str, Any]) -> float:
    """When the API server had done what was asked; seconds since the epoch."""
    return datetime.fromisoformat(event["stageTimestamp"]).timestamp()


def one_change(demo: Demo, router: str, number: int) -> tuple[float, float]:
    """Seconds from declaration to Deployment, and from the router's ConfigMap to the router."""
    name = f"bench-{number}"
    before = len(demo.lab.audit())
    demo.lab.kubectl("create", "-f", "-", text=json.dumps(declared(demo, name)))
    end = time.monotonic() + 30
    while not is_known(router, f"{name}.{NAMESPACE}"):
        if time.monotonic() > end:
            raise TimeoutError(f"the router does not know {name} after 30 s")
        time.sleep(0.005)
    known = time.time()
    stored = applied = written = 0.0
    for event in demo.lab.audit()[before:]:
        target, user = event.get("objectRef", {}), event["user"].get("username")
        resource, verb = target.get("resource"), event["verb"]
        if resource == "inferenceservices" and verb == "create":
            stored = moment(event)
        elif user == OPERATOR and resource == "deployments" and verb == "patch" and not applied:
            applied = moment(event) if target["name"].startswith(name) else 0.0
        elif user == OPERATOR and resource == "configmaps" and verb == "patch" and moment(event) < known:
            written = moment(event)
    demo.lab.kubectl("delete", "einf", name, "-n", NAMESPACE, "--timeout=60s")
    wait_for("its pods gone", lambda: not pods_of(demo, name))
    return applied - stored, known - written


def pods_of(demo: Demo, service: str) -> list[dict[str, Any]]:
    """Pods of a service, those that are going included."""
    return demo.cluster.items("pods", NAMESPACE, f"edgewise.dev/service={service}")


def main() -> None:
    """Start a lab, measure, take it down."""
    lab = Lab(spare_layout(4))
    demo = Demo(lab)
    try:
        demo.start_cluster()
        demo.publish()
        demo.install()
        demo.serve()
        found = demo.cluster.pods(product.NAMESPACE, "edgewise.dev/component=router", ready=True)
        router = str(found[0]["status"]["podIP"])
        changes = [one_change(demo, router, number) for number in range(ROUNDS)]
        for what, values, wanted in (
            ("declared to Deployment stored", [first for first, _ in changes], 0.1),
            ("ConfigMap stored to in force in the router", [second for _, second in changes], 2.0),
        ):
            print(
                f"{what:<44} p50 {statistics.median(values) * 1000:7.1f} ms, "
                f"longest {max(values) * 1000:7.1f} ms of {ROUNDS} (wanted: p50 < {wanted * 1000:g} ms)"
            )
    finally:
        lab.down()


if __name__ == "__main__":
    main()
