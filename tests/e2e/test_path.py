"""The whole path on real parts: the demo's steps as tests, and what a demo would be too long for."""

from __future__ import annotations

import json

import pytest

from lab.demo import Demo
from lab.demo_world import EDGE, NODES, SERVERS
from lab.errors import CommandFailedError
from lab.load import Step
from lab.observe import wait_for
from lab.quickstart import MODEL, NAMESPACE, SERVICE

pytestmark = pytest.mark.node

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


def test_nodes_are_those_of_the_demo(demo: Demo) -> None:
    assert set(demo.lab.nodes()) == {node.name for node in NODES}


def test_each_site_serves_the_variant_that_its_accelerator_runs(demo: Demo) -> None:
    def placed() -> dict[str, str]:
        return {
            pod["spec"]["nodeName"]: pod["metadata"]["labels"]["edgewise.dev/variant"]
            for pod in demo.cluster.pods(NAMESPACE, SERVERS, ready=True)
        }

    # The service is Ready with its edge; the cloud's server may still be starting.
    wait_for("a ready server in the cloud", lambda: "cloud-1" in placed())
    assert placed() == {"edge-1": "int8", "cloud-1": "original"}


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
