"""What must outlast something: operators that die or change, keys, agents, links, power."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import edgewise
from lab import product, quickstart
from lab.demo import Demo
from lab.demo_world import EDGE
from lab.errors import CommandFailedError
from lab.load import Step
from lab.observe import wait_for
from lab.quickstart import MODEL, NAMESPACE
from lab.specs import SITE_LABEL
from tests.e2e.path_world import OPERATOR, kept, lease_writes, operator_image, restart_operator, uids

pytestmark = pytest.mark.node

#: A pod that says nothing of unreachable nodes, to see what Kubernetes does with such pods.
PLAIN = """
apiVersion: v1
kind: Pod
metadata: {name: plain, namespace: NAMESPACE}
spec:
  nodeName: edge-1
  containers:
    - name: sleep
      image: IMAGE
      command: [sleep, "3600"]
      securityContext:
        allowPrivilegeEscalation: false
        capabilities: {drop: [ALL]}
        runAsNonRoot: true
        runAsUser: 65532
        seccompProfile: {type: RuntimeDefault}
"""


def test_an_operator_killed_under_load_fails_no_request_and_replaces_no_pod(demo: Demo) -> None:
    demo.failures.clear()
    demo.kill_operator()
    assert demo.failures == []


def test_a_new_policy_and_a_new_verdict_key_restart_no_pod(demo: Demo) -> None:
    before = uids(demo)
    policy = next(doc for doc in quickstart.manifests() if doc["kind"] == "TrustPolicy")
    policy["metadata"]["name"] = "vision-models-too"
    policy["spec"]["match"]["sources"] = [f"oci://{demo.lab.registry.host}/models/**"]
    policy["spec"]["authorities"][0]["key"]["pem"] = demo.publisher.public_pem

    def verdicts() -> list[str]:
        status = demo.cluster.get("edgemodel", MODEL, NAMESPACE)["status"]
        return [verdict["envelope"] for verdict in status["verdicts"]]

    def key() -> str:
        return str(json.loads(verdicts()[0])["signatures"][0]["keyid"])

    old = verdicts()
    demo.lab.kubectl("apply", "-f", "-", text=json.dumps(policy))
    wait_for("verdicts under both policies", lambda: verdicts() and not {*old} & {*verdicts()})
    old_key = key()
    demo.lab.kubectl("delete", "secret", "edgewise-verdict-key", "-n", product.NAMESPACE)
    restart_operator(demo)
    wait_for("verdicts by the new key", lambda: verdicts() and key() != old_key, within=90)
    assert kept(demo, before)
    demo.lab.kubectl("delete", "trustpolicy", "vision-models-too")
    wait_for("verdicts under one policy", lambda: demo.is_true("Ready"))


def test_an_agent_that_is_replaced_leaves_mounted_volumes_alone(demo: Demo) -> None:
    before = uids(demo)
    demo.lab.kubectl("rollout", "restart", "daemonset/edgewise-agent", "-n", product.NAMESPACE)
    demo.lab.kubectl(
        "rollout", "status", "daemonset/edgewise-agent", "-n", product.NAMESPACE, "--timeout=90s"
    )
    assert kept(demo, before)
    demo.ask()


def test_an_operator_that_starts_over_an_unchanged_world_writes_nothing_but_its_lease(demo: Demo) -> None:
    """A whole pass over everything, counted by the API server itself."""
    lab = demo.lab
    restart_operator(demo)
    begun = len(lab.audit(OPERATOR))
    wait_for("a whole pass", lambda: lease_writes(demo, begun) > 2)
    seen = len(lab.audit(OPERATOR))
    restart_operator(demo)
    wait_for("a look at the routers after the first pass", lambda: lease_writes(demo, seen) > 3)
    asked = [event for event in lab.audit(OPERATOR)[seen:] if event["verb"] not in {"list", "watch", "get"}]
    writes = {(event["verb"], event["objectRef"]["resource"]) for event in asked}
    assert writes == {("update", "leases")}


def test_another_version_of_edgewise_restarts_no_pod_of_a_service(demo: Demo, tmp_path: Path) -> None:
    before, running = uids(demo), operator_image(demo)
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements", "operator", "images"):
        source = product.ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    version = tmp_path / "operator/edgewise/__init__.py"
    version.write_text(version.read_text().replace(edgewise.__version__, "9.9.9"))
    images = product.publish_images(demo.lab, "next", tmp_path)
    load = demo.load([Step(8, 20)])
    product.install(demo.lab, product.values(demo.lab, images))
    assert load.finish()["failures"] == {}
    assert operator_image(demo) == images["operator"] != running
    assert kept(demo, before)
    wait_for("the service ready", lambda: demo.is_true("Ready"))
    assert kept(demo, before)


def test_a_site_cut_off_for_longer_than_kubernetes_waits_serves_on_and_keeps_its_pods(demo: Demo) -> None:
    lab, before = demo.lab, uids(demo, EDGE)
    image = demo.cluster.pods(NAMESPACE, EDGE)[0]["spec"]["containers"][0]["image"]
    lab.kubectl("apply", "-f", "-", text=PLAIN.replace("NAMESPACE", NAMESPACE).replace("IMAGE", image))

    def evicted() -> bool:
        return "deletionTimestamp" in demo.cluster.get("pod", "plain", NAMESPACE)["metadata"]

    lab.cut("edge-1")
    try:
        wait_for("the plain pod given up", evicted, within=120)
        assert uids(demo, EDGE) == before
        demo.ask()  # from within the site
    finally:
        lab.join("edge-1")
    lab.node("edge-1").wait_until_ready(lab.api())
    wait_for("the service ready", lambda: demo.is_true("Ready"), within=90)
    assert uids(demo, EDGE) == before
    demo.ask()


def test_a_site_with_its_operator_reboots_without_any_network_and_serves_again(demo: Demo) -> None:
    """A cluster of one site: the operator runs there, and nothing outside is reachable."""
    lab, system = demo.lab, product.NAMESPACE
    before = uids(demo)
    moved = json.dumps({"operator": {"nodeSelector": {SITE_LABEL: "plant-1"}}})
    chart = str(product.ROOT / "charts/edgewise")
    lab.helm(
        *("upgrade", product.RELEASE, chart, "-n", system, "--reuse-values", "--wait", "--timeout", "120s"),
        *("--values", "-"),
        text=moved,
    )
    assert kept(demo, before)

    def restarts() -> int:
        pods = demo.cluster.pods(NAMESPACE, EDGE)
        return sum(s["restartCount"] for pod in pods for s in pod["status"]["containerStatuses"])

    known = restarts()
    lab.isolate("edge-1")
    try:
        assert not lab.registry.is_running()
        lab.reboot_site("edge-1")
        wait_for("the server started again", lambda: restarts() > known, within=120)
        wait_for("the server ready", lambda: demo.cluster.pods(NAMESPACE, EDGE, ready=True), within=120)

        def answered() -> bool:
            try:
                demo.ask()
            except CommandFailedError:
                return False
            return True

        wait_for("an answer", answered, within=90)
    finally:
        lab.reunite()
    lab.node("cloud-1").wait_until_ready(lab.api())
    assert uids(demo, EDGE) <= before
