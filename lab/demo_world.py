"""What the demo, the tests of the path and the benches share: a lab with edgewise and its quickstart."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import onnx

from lab import demo_model, quickstart
from lab.cluster import Lab
from lab.load import Step
from lab.observe import Cluster, RunningLoad
from lab.quickstart import MODEL, NAMESPACE, SERVICE, PublishedVariant, Publisher
from lab.specs import SITE_LABEL, ControlPlaneOptions, NodeSpec

#: What Node Feature Discovery would say of a node with 8-bit dot products; here the label is put on by hand.
FEATURE: Final = "feature.node.kubernetes.io/cpu-cpuid.AVX512VNNI"
NODES: Final = (
    NodeSpec("edge-1", {SITE_LABEL: "plant-1", FEATURE: "true"}),
    NodeSpec("cloud-1", {SITE_LABEL: "cloud"}),
)
TARGET: Final = 0.080
SERVERS: Final = "edgewise.dev/component=server"
EDGE: Final = f"{SERVERS},edgewise.dev/side=edge"


def say(text: str = "") -> None:
    """A line on the screen, at once."""
    print(text, flush=True)


class World:
    """A lab, what was published in it, and what went wrong so far."""

    def __init__(self, lab: Lab, options: ControlPlaneOptions | None = None) -> None:
        self.lab = lab
        self.options = options or ControlPlaneOptions()
        self.cluster = Cluster(lab)
        self.work = lab.layout.home / "demo"
        self.publisher = Publisher.new()
        self.variants: list[PublishedVariant] = []
        self.failures: list[str] = []

    def apply(self, variants: list[PublishedVariant], version: str) -> str:
        """Apply the quickstart with these variants."""
        documents = quickstart.filled(self.lab.registry.host, self.publisher, variants, version)
        return self.lab.kubectl("apply", "-f", "-", text=quickstart.as_text(documents))

    def url(self, verb: str) -> str:
        """The model's address by the Service of the InferenceService."""
        address = self.cluster.get("service", SERVICE, NAMESPACE)["spec"]["clusterIP"]
        return f"http://{address}/v2/models/{MODEL}/{verb}"

    def load(self, steps: list[Step]) -> RunningLoad:
        """Load from the edge node's network, through the Service."""
        _, headers = demo_model.request()
        host = f"{SERVICE}.{NAMESPACE}"
        node = self.lab.node("edge-1")
        return RunningLoad(node, self.url("infer"), host, self.work / "request.bin", headers, steps, TARGET)

    def show(self, second: dict[str, Any]) -> None:
        """One second of load on the screen."""
        p95 = second["p95_ms"]
        say(
            f"   {second['second']:5.0f} s  {second['ended']:4d} ended  p95 {p95 if p95 else 0:6.1f} ms  "
            f"over target {second['over_target']:6.1%}  cloud {second['cloud']:6.1%}  "
            f"failed {second['failed']}"
        )

    def expect_no_failure(self, total: dict[str, Any], *, refusals_count: bool = True) -> None:
        """Say how many requests failed; any is a failure of the demo.

        Where more is asked than a machine may have, refusals (429) are shown, and are no failure.
        """
        say(f"   {total['due']} requests, {total['failed']} failed {total['failures'] or ''}")
        failed = total["failed"] - (0 if refusals_count else total["failures"].get("429", 0))
        if failed:
            self.failures.append(f"{failed} of {total['due']} requests failed")

    def changed_variants(self, version: str, publisher: Publisher) -> list[PublishedVariant]:
        """The model with other bytes (its version in the graph's documentation), published and signed."""
        found = []
        for variant in demo_model.prepare(self.work / f"model-{version}"):
            path = variant.folder / "model.onnx"
            graph = onnx.load(path)
            graph.doc_string = f"version {version}"
            onnx.save(graph, str(path))
            found.append(
                quickstart.publish_variant(
                    variant.folder, variant.name, self.lab.registry.host, publisher, version
                )
            )
        return found

    def blob_of_weights(self, version: str) -> str:
        """sha256 of the int8 variant's weights."""
        return hashlib.sha256(
            (self.work / f"model-{version}" / "int8" / "model.onnx").read_bytes()
        ).hexdigest()

    def refusal_by_node(self) -> str | None:
        """The text of a FailedMount event about bytes that are not the signed ones."""
        for event in self.cluster.items("events", NAMESPACE):
            if event.get("reason") == "FailedMount" and "hashes to" in event.get("message", ""):
                return str(event["message"])
        return None

    def is_true(self, type_: str, reason: str = "") -> bool:
        """Whether a condition of the service holds."""
        found = self.cluster.condition("einf", SERVICE, NAMESPACE, type_)
        return found.get("status") == "True" and (not reason or found.get("reason") == reason)

    def names(self) -> set[str]:
        """UIDs of the ready pods of the revision that has the traffic."""
        stable = self.cluster.get("einf", SERVICE, NAMESPACE)["status"]["rollout"]["stable"]
        chosen = f"{SERVERS},edgewise.dev/revision={stable}"
        return {pod["metadata"]["uid"] for pod in self.cluster.pods(NAMESPACE, chosen, ready=True)}
