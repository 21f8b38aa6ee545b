"""The lab itself, on real nodes: what a user of it relies on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import CommandFailedError, Lab, NodeSpec
from lab.hostnotes import NOTE, read_sysctls
from lab.process import marked
from lab.testing import spare_layout

pytestmark = pytest.mark.node

CHECKOUT = Path(__file__).parents[2]

#: A web server on every node that answers with the node's name, and a Service before both.
WEB = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      tolerations: [{operator: Exists}]
      containers:
      - name: web
        image: IMAGE
        env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
        command: [sh, -c, 'cd $(mktemp -d) && echo $NODE > index.html && exec python3 -m http.server 8080']
        readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""

#: Asks the address until both nodes have answered, and gives up after many requests. A node's kube-proxy
#: hears of a Service's pods a moment after the API server does; until then it refuses.
ASK = """
import sys, time, urllib.request
seen = set()
for _ in range(200):
    try:
        seen.add(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode().strip())
    except OSError:
        time.sleep(0.05)
    if len(seen) == 2:
        break
print(*sorted(seen))
"""


@pytest.fixture(scope="module")
def web(lab_nodes: Lab) -> Iterator[str]:
    """The ClusterIP of a Service with a pod on either node."""
    reference = lab_nodes.publish(lab_nodes.images.base())
    manifest = WEB.replace("IMAGE", reference)
    lab_nodes.kubectl("create", "namespace", "lab-test")
    lab_nodes.kubectl("apply", "-n", "lab-test", "-f", "-", text=manifest)
    lab_nodes.kubectl("rollout", "status", "-n", "lab-test", "daemonset/web", "--timeout=120s")
    yield lab_nodes.kubectl("get", "-n", "lab-test", "service/web", "-o", "jsonpath={.spec.clusterIP}")
    lab_nodes.kubectl("delete", "namespace", "lab-test")


def pod_on(lab: Lab, node: str) -> dict[str, object]:
    listing = json.loads(
        lab.kubectl("get", "pods", "-n", "lab-test", "-o", "json", f"--field-selector=spec.nodeName={node}")
    )
    (pod,) = listing["items"]
    return dict(pod)


def test_two_nodes_are_ready_under_their_own_names(lab_nodes: Lab) -> None:
    lab_nodes.kubectl("wait", "--for=condition=Ready", "node/edge-1", "node/cloud-1", "--timeout=30s")
    users = {event["user"]["username"] for event in lab_nodes.audit()}
    assert {"system:node:edge-1", "system:node:cloud-1"} <= users


def test_a_node_cannot_talk_itself_into_a_site(lab_nodes: Lab) -> None:
    patch = json.dumps({"metadata": {"labels": {"edgewise.node-restriction.kubernetes.io/site": "cloud"}}})
    user = lab_nodes.node("edge-1").folder / "kubeconfig"
    with pytest.raises(CommandFailedError, match="is not allowed to modify labels"):
        lab_nodes.kubectl("--kubeconfig", str(user), "patch", "node", "edge-1", "-p", patch)


def test_a_certificate_makes_a_user(lab_nodes: Lab) -> None:
    with pytest.raises(CommandFailedError, match='User "somebody" cannot list'):
        lab_nodes.kubectl("get", "secrets", user="somebody")
    assert [event for event in lab_nodes.audit("somebody") if event["responseStatus"]["code"] == 403]


def test_a_service_reaches_the_pods_of_both_nodes_from_everywhere(lab_nodes: Lab, web: str) -> None:
    url = f"http://{web}/"
    python = [sys.executable, "-c", ASK, url]
    for node in ("edge-1", "cloud-1"):
        assert lab_nodes.node(node).run(python) == "cloud-1 edge-1\n"
        inside = ["exec", "-n", "lab-test", pod_on(lab_nodes, node)["metadata"]["name"], "--"]  # type: ignore[index]
        assert lab_nodes.kubectl(*inside, "python3", "-c", ASK, url) == "cloud-1 edge-1\n"
    host = subprocess.run(python, capture_output=True, text=True, check=True)
    assert host.stdout == "cloud-1 edge-1\n"


def test_a_pod_trusts_the_api_server_by_its_own_ca(lab_nodes: Lab, web: str) -> None:
    ask = (
        "import os, ssl, urllib.request as u; d = '/var/run/secrets/kubernetes.io/serviceaccount/';"
        "c = ssl.create_default_context(cafile=d + 'ca.crt');"
        "print(u.urlopen('https://%s/version' % os.environ['KUBERNETES_SERVICE_HOST'], context=c).status)"
    )
    assert lab_nodes.kubectl("exec", "-n", "lab-test", "daemonset/web", "--", "python3", "-c", ask) == "200\n"


def test_logs_and_exec_reach_the_kubelet(lab_nodes: Lab, web: str) -> None:
    assert "GET / " in lab_nodes.kubectl("logs", "-n", "lab-test", "daemonset/web")


def test_what_is_changed_behind_the_registrys_back_is_served_changed(lab_nodes: Lab, web: str) -> None:
    image = lab_nodes.images.base()
    lab_nodes.registry.push(image)
    path = lab_nodes.registry.blob_path(image.content()[0])
    kept = path.read_bytes()
    url = f"http://{lab_nodes.registry.host}/v2/{image.repository}/blobs/{image.content()[0]}"
    try:
        path.write_bytes(b"X" + kept[1:])
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert answer.read() == b"X" + kept[1:]
    finally:
        path.write_bytes(kept)


def test_a_cut_link_passes_nothing_and_heals(lab_nodes: Lab, web: str) -> None:
    before = pod_on(lab_nodes, "edge-1")
    address = lab_nodes.node("edge-1").address
    reach = [sys.executable, "-c", f"import socket; socket.create_connection(({address!r}, 10250), 2)"]
    lab_nodes.cut("edge-1")
    try:
        assert subprocess.run(reach, capture_output=True, check=False).returncode != 0
        # Containers of a node that is cut off go on.
        inside = f"http://{before['status']['podIP']}:8080/"  # type: ignore[index]
        get = f"import urllib.request as u; print(u.urlopen({inside!r}, timeout=5).read().decode().strip())"
        assert lab_nodes.node("edge-1").run([sys.executable, "-c", get]) == "edge-1\n"
    finally:
        lab_nodes.join("edge-1")
    lab_nodes.node("edge-1").wait_until_ready(lab_nodes.api())
    subprocess.run(reach, capture_output=True, check=True)
    after = pod_on(lab_nodes, "edge-1")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]  # type: ignore[index]
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0  # type: ignore[index]


def test_a_reboot_keeps_who_the_node_is_and_what_is_on_its_disk(lab_nodes: Lab, web: str) -> None:
    node, api = lab_nodes.node("edge-1"), lab_nodes.api()
    pod, known = pod_on(lab_nodes, "edge-1"), api.get("/api/v1/nodes/edge-1")["metadata"]
    node.run(["sh", "-c", "echo kept > /var/lib/edgewise/note; echo lost > /run/note"], whole=True)
    assert (node.disk("/var/lib/edgewise") / "note").read_text() == "kept\n"
    lab_nodes.reboot("edge-1")
    assert node.run(
        ["sh", "-c", "cat /var/lib/edgewise/note; ls /run/note 2>&1 || true"], whole=True
    ).startswith("kept\n")
    assert not node.path("/run/note").exists()
    metadata = api.get("/api/v1/nodes/edge-1")["metadata"]
    assert (metadata["uid"], metadata["labels"]) == (known["uid"], known["labels"])
    jsonpath = "{.status.containerStatuses[0].restartCount}=1"
    name = str(pod["metadata"]["name"])  # type: ignore[index]
    lab_nodes.kubectl("wait", "-n", "lab-test", f"pod/{name}", f"--for=jsonpath={jsonpath}", "--timeout=90s")
    lab_nodes.kubectl("wait", "-n", "lab-test", f"pod/{name}", "--for=condition=Ready", "--timeout=90s")


def test_a_site_comes_back_from_a_power_cut_without_any_network(lab_nodes: Lab, web: str) -> None:
    name = str(pod_on(lab_nodes, "edge-1")["metadata"]["name"])  # type: ignore[index]
    restarts = [
        "get",
        "-n",
        "lab-test",
        f"pod/{name}",
        "-o",
        "jsonpath={.status.containerStatuses[0].restartCount}",
    ]
    before = int(lab_nodes.kubectl(*restarts))
    lab_nodes.isolate("edge-1")
    try:
        assert not lab_nodes.registry.is_running()
        lab_nodes.reboot_site("edge-1")
        jsonpath = f"{{.status.containerStatuses[0].restartCount}}={before + 1}"
        wait = ["wait", "-n", "lab-test", f"pod/{name}", "--timeout=90s"]
        lab_nodes.kubectl(*wait, f"--for=jsonpath={jsonpath}")
        lab_nodes.kubectl(*wait, "--for=condition=Ready")
    finally:
        lab_nodes.reunite()
    lab_nodes.node("cloud-1").wait_until_ready(lab_nodes.api())


def test_containers_outlive_the_kubelet(lab_nodes: Lab, web: str) -> None:
    before = pod_on(lab_nodes, "cloud-1")["status"]["containerStatuses"][0]["containerID"]  # type: ignore[index]
    lab_nodes.node("cloud-1").restart_kubelet()
    lab_nodes.node("cloud-1").wait_until_ready(lab_nodes.api())
    assert pod_on(lab_nodes, "cloud-1")["status"]["containerStatuses"][0]["containerID"] == before  # type: ignore[index]


def test_a_node_can_come_later_with_taints_and_labels(lab_nodes: Lab) -> None:
    spec = NodeSpec(
        "edge-9", {"edgewise.node-restriction.kubernetes.io/site": "plant-9"}, ("edge=yes:NoSchedule",)
    )
    lab_nodes.add_node(spec)
    try:
        found = lab_nodes.api().get("/api/v1/nodes/edge-9")
        assert found["metadata"]["labels"]["edgewise.node-restriction.kubernetes.io/site"] == "plant-9"
        assert [taint["key"] for taint in found["spec"]["taints"] if taint["key"] == "edge"] == ["edge"]
    finally:
        lab_nodes.remove_node("edge-9")
    assert lab_nodes.api().find("/api/v1/nodes/edge-9") is None


def host_state(prefix: str, interface: str) -> dict[str, object]:
    """What a lab could leave behind on the host."""
    namespaces = Path("/run/netns")
    groups = [
        entry for tree in Path("/sys/fs/cgroup").iterdir() if tree.is_dir() for entry in tree.glob(prefix)
    ]
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return {
        "namespaces": [n.name for n in namespaces.glob(f"{prefix}*")] if namespaces.exists() else [],
        "interfaces": [i for i in os.listdir("/sys/class/net") if i == interface],
        "cgroups": [str(group) for group in groups],
        "mounts": [point for point in mounts if prefix in point],
    }


#: How far a lab gets before it is killed: the first line of its progress that has this.
MOMENTS = ["ok start the control plane", ".. start the control plane", ".. start edge-1", "ok start edge-1"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_lab_that_crashed_at_any_moment_leaves_nothing_after_down(moment: str, lab_nodes: Lab) -> None:
    layout = spare_layout()
    environment = {
        **os.environ,
        "EDGEWISE_LAB_HOME": str(layout.home),
        "EDGEWISE_LAB_INSTANCE": str(layout.instance),
        "PYTHONPATH": str(CHECKOUT),
    }
    sysctls, clean = read_sysctls(), host_state(layout.prefix, layout.interface)
    assert not any(clean.values())
    crashing = subprocess.Popen(
        [sys.executable, "-m", "lab", "up"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    with crashing:
        assert crashing.stderr is not None
        for line in crashing.stderr:
            if moment in line:
                break
        crashing.send_signal(signal.SIGKILL)
    lab = Lab(layout)
    lab.down()
    assert host_state(layout.prefix, layout.interface) == clean
    assert not layout.home.exists()
    assert not list(marked(layout.home))
    assert read_sysctls() == sysctls
    # The session's own lab did not notice.
    assert str(layout.home) not in NOTE.read_text()
    lab_nodes.kubectl("wait", "--for=condition=Ready", "node/edge-1", "node/cloud-1", "--timeout=30s")


def test_up_after_a_crash_starts_afresh(lab_nodes: Lab) -> None:
    lab = Lab(spare_layout())
    pids: list[int] = []
    kill: Callable[[int, int], None] = os.kill
    try:
        lab.up(nodes=())
        lab.kubectl("create", "namespace", "from-before")
        pids = [identity.pid for identity in marked(lab.layout.home)]
        for pid in pids:
            kill(pid, signal.SIGKILL)
        assert not lab.is_running()
        lab.up(nodes=())
        assert "from-before" not in lab.kubectl("get", "namespaces", "-o", "name")
    finally:
        lab.down()
    assert not lab.layout.home.exists()
