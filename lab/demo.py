"""``python -m lab.demo``: edgewise's main job on a real cluster, on one screen, with its evidence."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from lab import demo_model, product, quickstart, toolchain
from lab.cluster import Lab
from lab.demo_world import EDGE, NODES, SERVERS, World, say
from lab.errors import LabError
from lab.load import Step
from lab.observe import ROOT, wait_for
from lab.quickstart import MODEL, NAMESPACE, SERVICE, Publisher
from lab.specs import SITE_LABEL

#: Requests/s before and after; less on a machine where one server would be busier than a quarter with it.
CALM: Final = 12.0
BUSY: Final = 0.25
STORM: Final = 4


class Demo(World):
    """The steps, in order. Each leaves its evidence on the screen, or fails."""

    def run(self) -> None:
        """All steps."""
        steps: list[tuple[str, Callable[[], None]]] = [
            ("a cluster: one edge node, one cloud node", self.start_cluster),
            ("a publisher's key; a real model in two variants, signed and pushed", self.publish),
            ("helm install, then kubectl apply -f examples/quickstart/", self.install),
            ("verified, placed by accelerator, fetched, hashed, mounted read-only, served", self.serve),
            ("a real picture, a real answer", self.ask),
            (f"{STORM} x the load, then every edge pod is killed under load", self.overload),
            ("one byte changed; a model signed by an unknown key", self.attack),
            ("the operator is killed with -9 under load", self.kill_operator),
        ]
        for number, (title, step) in enumerate(steps, 1):
            began = time.monotonic()
            say(f"\n== {number}. {title}")
            step()
            say(f"   ({time.monotonic() - began:.1f} s)")
        self.look_around()

    def start_cluster(self) -> None:
        """API server, controllers, etcd, and two nodes with kubelet and containerd of their own."""
        self.lab.down()
        self.lab.up(NODES, self.options)
        self.work.mkdir(parents=True, exist_ok=True)
        say(self.lab.kubectl("get", "nodes", "-L", SITE_LABEL))

    def publish(self) -> None:
        """OpenSSF Model Signing over each variant's folder; artifact and signature into the registry."""
        self.lab.registry.start()
        for variant in demo_model.prepare(self.work / "model"):
            pushed = quickstart.publish_variant(
                variant.folder, variant.name, self.lab.registry.host, self.publisher
            )
            self.variants.append(pushed)
            say(f"   {variant.name:9} {variant.size / 2**20:5.2f} MiB  {pushed.digest}\n{'':13}{pushed.uri}")

    def install(self) -> None:
        """Images from images/, the chart from charts/, the manifests from examples/."""
        images = product.publish_images(self.lab)
        product.install(self.lab, product.values(self.lab, images))
        say(self.lab.kubectl("get", "pods", "-n", product.NAMESPACE, "-o", "wide"))
        self.applied_at = time.monotonic()
        say(self.apply(self.variants, "1.0.0"))

    def serve(self) -> None:
        """Wait until the service is Ready, and show what each part says."""
        wait_for("InferenceService Ready", lambda: self.is_true("Ready"), within=120)
        say(f"   kubectl apply to Ready: {time.monotonic() - self.applied_at:.1f} s")
        for kind, type_ in (("edgemodel", "Verified"), ("einf", "Placed")):
            name = MODEL if kind == "edgemodel" else SERVICE
            found = self.cluster.condition(kind, name, NAMESPACE, type_)
            say(f"   {kind} {type_}={found['status']} {found['reason']}: {found['message']}")
        for pod in self.cluster.pods(NAMESPACE, SERVERS):
            node = self.lab.node(pod["spec"]["nodeName"])
            uid = pod["metadata"]["uid"]
            mounts = node.run(["cat", "/proc/mounts"], whole=True).splitlines()
            mine = next(line for line in mounts if uid in line and "kubernetes.io~csi" in line)
            say(f"   {pod['metadata']['labels']['edgewise.dev/variant']:9} on {node.name}: {mine.split()[3]}")
            if "ro," not in mine:
                raise LabError(f"the model is mounted writable: {mine}")
        say(self.lab.kubectl("get", "einf,em", "-n", NAMESPACE))
        say(self.lab.kubectl("get", "site"))

    def ask(self) -> None:
        """One request through the site's router, by the Service's address."""
        body, headers = demo_model.request()
        (self.work / "request.bin").write_bytes(body)
        answer = self.work / "answer.bin"
        said = self.lab.node("edge-1").run(
            [
                *(sys.executable, str(ROOT / "lab/ask.py"), self.url("infer"), f"{SERVICE}.{NAMESPACE}"),
                *(str(self.work / "request.bin"), str(answer)),
                *(f"{name}:{value}" for name, value in headers.items()),
            ]
        )
        got = json.loads(said)
        say(f"   answered by {got['x-edgewise-side']} at {got['x-edgewise-site']}")
        say(f"   {demo_model.explain_answer(demo_model.read_answer(answer.read_bytes(), got))}")

    def overload(self) -> None:
        """Calm, four times as much, calm; then calm with every edge pod killed."""
        alone = self.load([Step(4, 5)]).finish()["p50_ms"]
        calm = min(CALM, round(BUSY / (alone / 1000), 1))
        say(f"   a request alone takes {alone:.1f} ms: {calm:g} -> {STORM * calm:g} -> {calm:g} requests/s")
        load = self.load([Step(calm, 10), Step(STORM * calm, 20), Step(calm, 10)])
        phases: dict[str, list[dict[str, Any]]] = {"before": [], "during": [], "after": []}
        for second in load.seconds():
            at = second["second"]
            phases["before" if at <= 10 else "during" if at <= 30 else "after"].append(second)
            self.show(second)
        for name, seconds in phases.items():
            ended = sum(s["ended"] for s in seconds) or 1
            over = sum(s["over_target"] * s["ended"] for s in seconds) / ended
            cloud = sum(s["cloud"] * (s["ended"] - s["failed"]) for s in seconds) / ended
            say(f"   {name:7} {ended:5d} requests, over target {over:.1%}, in the cloud {cloud:.1%}")
        self.expect_no_failure(load.total, refusals_count=False)
        say("   now every edge pod is killed, under load")
        load = self.load([Step(calm, 12)])
        for second in load.seconds():
            self.show(second)
            if second["second"] == 4.0:
                self.cluster.kill_containers(self.cluster.pods(NAMESPACE, EDGE))
        self.expect_no_failure(load.total)

    def attack(self) -> None:
        """The node refuses bytes that are not those that were signed; the operator refuses a stranger."""
        before = self.names()
        changed = self.changed_variants("1.0.1", self.publisher)
        victim = next(variant for variant in changed if variant.name == "int8")
        blob = self.lab.registry.blob_path(f"sha256:{self.blob_of_weights('1.0.1')}")
        data = bytearray(blob.read_bytes())
        data[len(data) // 2] ^= 1
        blob.write_bytes(bytes(data))
        say(f"   version 1.0.1 is signed well; then one bit of its {victim.name} weights is turned")
        self.apply(changed, "1.0.1")
        say(f"   node: {wait_for('a refusal by the node', self.refusal_by_node, within=90)}")
        self.apply(self.variants, "1.0.0")
        wait_for("version 1.0.0 again", lambda: self.is_true("Progressing", "Promoted"), within=90)
        stranger = self.changed_variants("1.0.2", Publisher.new())
        self.apply(stranger, "1.0.2")

        def denied() -> str | None:
            found = self.cluster.condition("edgemodel", MODEL, NAMESPACE, "Verified")
            return f"{found['reason']}: {found['message']}" if found.get("status") == "False" else None

        say(f"   operator: {wait_for('a refusal by the operator', denied)}")
        self.apply(self.variants, "1.0.0")
        wait_for("the model verified again", lambda: self.is_true("ModelVerified"))
        left = before & self.names()
        say(f"   {len(left)} of {len(before)} pods are the same as before the attacks")
        if left != before:
            raise LabError(f"pods were replaced: {sorted(before - left)}")

    def kill_operator(self) -> None:
        """SIGKILL; the traffic goes on, and the operator takes up what it finds."""
        before = self.names()
        load = self.load([Step(CALM, 15)])
        for second in load.seconds():
            self.show(second)
            if second["second"] == 4.0:
                pods = self.cluster.pods(product.NAMESPACE, "app.kubernetes.io/component=operator")
                self.cluster.kill_containers(pods)
                say("   operator killed")
        self.expect_no_failure(load.total)

        def back() -> bool:
            pods = self.cluster.pods(product.NAMESPACE, "app.kubernetes.io/component=operator", ready=True)
            return any(s["restartCount"] for pod in pods for s in pod["status"]["containerStatuses"])

        wait_for("the operator back", back)
        unchanged = self.names() == before
        say(f"   the operator is back; pods unchanged: {unchanged}")
        if not unchanged:
            self.failures.append("an operator that was started again replaced pods")

    def look_around(self) -> None:
        """What was left running."""
        say("\n== 9. left running; have a look around")
        say(f"   export KUBECONFIG={self.lab.kubeconfig()}")
        say(f"   export PATH={self.lab.toolchain.path(toolchain.KUBECTL).parent}:$PATH")
        say("   kubectl get einf,em,site -A")
        say("   make demo-down    takes everything down again and leaves nothing behind")


def main() -> int:
    """Run the demo; 0 when every step held."""
    if os.geteuid() != 0:
        sys.stderr.write("the demo starts real nodes in network namespaces and has to run as root\n")
        return 2
    demo = Demo(Lab())
    try:
        demo.run()
    except LabError as error:
        sys.stderr.write(f"\ndemo: {error}\nIt was left as it is, for a look; make demo-down ends it.\n")
        return 1
    for failure in demo.failures:
        sys.stderr.write(f"demo: {failure}\n")
    return 1 if demo.failures else 0


if __name__ == "__main__":
    sys.exit(main())
