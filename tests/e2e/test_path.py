"""The whole path on real parts: the demo's steps as tests, and what a demo would be too long for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import edgewise
from lab import product, quickstart
from lab.cluster import Lab
from lab.demo import EDGE, NODES, SERVERS, Demo
from lab.errors import CommandFailedError
from lab.load import Step
from lab.observe import wait_for
from lab.quickstart import MODEL, NAMESPACE, SERVICE
from lab.specs import SITE_LABEL, ControlPlaneOptions
from lab.testing import spare_layout

pytestmark = pytest.mark.node

#: Kubernetes gives an unreachable node up after 50 s and its pods after 300 s more. Here it is in a hurry,
#: so that a test can wait for it.
HASTY = ControlPlaneOptions(node_grace=12, eviction=10)
OPERATOR = f"system:serviceaccount:{product.NAMESPACE}:edgewise-operator"

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

#: A pod that nobody rendered, as somebody would write it who wants a model that is not theirs.
THIEF = """
apiVersion: v1
kind: Pod
metadata: {name: thief, namespace: NAMESPACE}
spec:
  containers:
    - name: read
      image: IMAGE
      command: [sleep, "60"]
      volumeMounts: [{name: model, mountPath: /models}]
  nodeName: edge-1
  volumes:
    - name: model
      csi: {driver: models.edgewise.dev, readOnly: true, volumeAttributes: {model: MODEL, digest: "DIGEST"}}
"""


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """The demo up to the point where the service is Ready."""
    lab = Lab(spare_layout(4))
    found = Demo(lab, HASTY)
    try:
        found.start_cluster()
        found.publish()
        found.install()
        found.serve()
        found.ask()
        yield found
    finally:
        lab.down()


def uids(demo: Demo, labels: str = SERVERS) -> set[str]:
    return {pod["metadata"]["uid"] for pod in demo.cluster.pods(NAMESPACE, labels)}


def operator_pods(demo: Demo) -> list[dict[str, Any]]:
    return demo.cluster.pods(product.NAMESPACE, "app.kubernetes.io/component=operator", ready=True)


def operator_image(demo: Demo) -> str:
    return str(operator_pods(demo)[0]["spec"]["containers"][0]["image"])


def restart_operator(demo: Demo) -> None:
    system = ("-n", product.NAMESPACE)
    demo.lab.kubectl("rollout", "restart", "deployment/edgewise-operator", *system)
    demo.lab.kubectl("rollout", "status", "deployment/edgewise-operator", *system, "--timeout=90s")


def lease_writes(demo: Demo, since: int = 0) -> int:
    return sum(
        event["verb"] == "update" and event["objectRef"]["resource"] == "leases"
        for event in demo.lab.audit(OPERATOR)[since:]
    )


def test_nodes_are_those_of_the_demo(demo: Demo) -> None:
    assert set(demo.lab.nodes()) == {node.name for node in NODES}


def test_each_site_serves_the_variant_that_its_accelerator_runs(demo: Demo) -> None:
    placed = {
        pod["spec"]["nodeName"]: pod["metadata"]["labels"]["edgewise.dev/variant"]
        for pod in demo.cluster.pods(NAMESPACE, SERVERS, ready=True)
    }
    assert placed == {"edge-1": "int8", "cloud-1": "original"}


def test_edge_pods_killed_under_load_fail_no_request(demo: Demo) -> None:
    load = demo.load([Step(10, 8)])
    for second in load.seconds():
        if second["second"] == 3.0:
            demo.cluster.kill_containers(demo.cluster.pods(NAMESPACE, EDGE))
    assert load.total["due"] > 40
    assert load.total["failures"] == {}
    wait_for("the edge pod back", lambda: demo.cluster.pods(NAMESPACE, EDGE, ready=True))


def test_changed_bytes_and_unknown_signers_are_refused_and_what_runs_stays(demo: Demo) -> None:
    demo.attack()


def test_an_operator_killed_under_load_fails_no_request_and_replaces_no_pod(demo: Demo) -> None:
    demo.failures.clear()
    demo.kill_operator()
    assert demo.failures == []


def test_another_namespace_gets_neither_model_nor_verdict(demo: Demo) -> None:
    lab = demo.lab
    lab.kubectl("create", "namespace", "elsewhere")
    model = demo.cluster.get("edgemodel", MODEL, NAMESPACE)
    image = demo.cluster.pods(NAMESPACE, EDGE)[0]["spec"]["containers"][0]["image"]
    digest = next(v.digest for v in demo.variants if v.name == "int8")
    text = THIEF.replace("NAMESPACE", "elsewhere").replace("IMAGE", image).replace("DIGEST", digest)
    lab.kubectl("apply", "-f", "-", text=text.replace("MODEL", MODEL))

    def refusal() -> str:
        events = demo.cluster.items("events", "elsewhere")
        return next((e["message"] for e in events if e["reason"] == "FailedMount"), "")

    assert "text-detector" in wait_for("a refusal", refusal)
    # The same with the other namespace's verdicts copied, as somebody might who may write the object.
    copy = {
        "apiVersion": model["apiVersion"],
        "kind": "EdgeModel",
        "metadata": {"name": MODEL, "namespace": "elsewhere"},
        "spec": model["spec"],
    }
    lab.kubectl("apply", "-f", "-", text=json.dumps(copy))
    status = json.dumps({"status": {"verdicts": model["status"]["verdicts"]}})
    with pytest.raises(CommandFailedError, match="only edgewise's operator writes"):
        lab.kubectl(
            *("patch", "edgemodel", MODEL, "-n", "elsewhere", "--subresource=status", "--type=merge"),
            "-p",
            status,
        )

    def verdict() -> dict[str, str]:
        return demo.cluster.condition("edgemodel", MODEL, "elsewhere", "Verified")

    assert wait_for("a judgement", verdict)["reason"] == "NoPolicy"
    assert demo.cluster.pods("elsewhere", "", ready=True) == []
    lab.kubectl("delete", "namespace", "elsewhere", "--timeout=60s")


def test_a_new_policy_and_a_new_verdict_key_restart_no_pod(demo: Demo) -> None:
    before = uids(demo)
    policy = next(doc for doc in quickstart.manifests() if doc["kind"] == "TrustPolicy")
    policy["metadata"]["name"] = "vision-models-too"
    policy["spec"]["match"]["sources"] = [f"oci://{demo.lab.registry.host}/models/**"]
    policy["spec"]["authorities"][0]["key"]["pem"] = demo.publisher.public_pem
    demo.lab.kubectl("apply", "-f", "-", text=json.dumps(policy))
    system = ("-n", product.NAMESPACE)
    old = demo.cluster.get("edgemodel", MODEL, NAMESPACE)["status"]["verdicts"]
    demo.lab.kubectl("delete", "secret", "edgewise-verdict-key", *system)
    demo.lab.kubectl("rollout", "restart", "deployment/edgewise-operator", *system)

    def signed_anew() -> bool:
        verdicts = demo.cluster.get("edgemodel", MODEL, NAMESPACE)["status"]["verdicts"]
        return bool(verdicts) and all(verdict not in old for verdict in verdicts)

    wait_for("verdicts by the new key", signed_anew, within=90)
    assert uids(demo) == before
    demo.lab.kubectl("delete", "trustpolicy", "vision-models-too")


def test_an_agent_that_is_replaced_leaves_mounted_volumes_alone(demo: Demo) -> None:
    before = uids(demo)
    demo.lab.kubectl("rollout", "restart", "daemonset/edgewise-agent", "-n", product.NAMESPACE)
    demo.lab.kubectl(
        "rollout", "status", "daemonset/edgewise-agent", "-n", product.NAMESPACE, "--timeout=90s"
    )
    assert uids(demo) == before
    demo.ask()


def test_version_two_and_back_again(demo: Demo) -> None:
    two = demo.changed_variants("2.0.0", demo.publisher)

    def serves(version: str) -> bool:
        status = demo.cluster.get("einf", SERVICE, NAMESPACE)["status"]
        return status["version"] == version and status["rollout"]["phase"] == "Promoted"

    load = demo.load([Step(8, 25)])
    demo.apply(two, "2.0.0")
    wait_for("version 2.0.0", lambda: serves("2.0.0"), within=60)
    reference = json.dumps({"spec": {"modelRef": {"version": "1.0.0"}}})
    demo.lab.kubectl("patch", "einf", SERVICE, "-n", NAMESPACE, "--type=merge", "-p", reference)
    wait_for("version 1.0.0", lambda: serves("1.0.0"), within=60)
    assert load.finish()["failures"] == {}


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


def test_an_operator_that_starts_over_an_unchanged_world_writes_nothing_but_its_lease(demo: Demo) -> None:
    """A whole pass over everything, counted by the API server itself."""
    lab = demo.lab
    restart_operator(demo)
    wait_for("the new operator's lease", lambda: lease_writes(demo) > 0)
    seen = len(lab.audit(OPERATOR))
    restart_operator(demo)
    wait_for("a look at the routers after the first pass", lambda: lease_writes(demo, seen) > 3)
    asked = [event for event in lab.audit(OPERATOR)[seen:] if event["verb"] not in {"list", "watch", "get"}]
    writes = {(event["verb"], event["objectRef"]["resource"]) for event in asked}
    assert writes - {("create", "tokenreviews")} <= {("update", "leases")}


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
    assert uids(demo) == before
    wait_for("the service ready", lambda: demo.is_true("Ready"))
    assert uids(demo) == before


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
    assert uids(demo) == before

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


def test_uninstall_waits_for_mounted_models_and_then_leaves_nothing(demo: Demo) -> None:
    with pytest.raises(CommandFailedError, match="pods use models that only its agent can unmount"):
        product.uninstall(demo.lab)
    assert demo.cluster.pods(NAMESPACE, SERVERS, ready=True)
    demo.lab.kubectl("delete", "einf", SERVICE, "-n", NAMESPACE, "--timeout=60s")
    wait_for("no pod left", lambda: not demo.cluster.items("pods", NAMESPACE), within=90)
    demo.lab.kubectl("delete", "namespace", NAMESPACE, "--timeout=90s")
    product.uninstall(demo.lab)
    wait_for("nothing left", lambda: not demo.cluster.items("pods", product.NAMESPACE), within=60)
    assert demo.cluster.items("csidrivers") == []
    left = demo.lab.kubectl("get", "deploy,ds,cm,secret,lease", "-n", product.NAMESPACE, "-o", "name").split()
    assert [name for name in left if "edgewise" in name and "lease" not in name] == []
