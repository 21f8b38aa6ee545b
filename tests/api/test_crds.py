"""The CRDs and admission policies on a real API server: each rule with a good and a bad sample."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edgewise.provenance.policy import ArtifactLimits, read_policy
from lab import quickstart
from lab.cluster import Lab
from lab.errors import CommandFailedError
from lab.quickstart import Publisher

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).resolve().parents[2]
Document = dict[str, Any]
Change = Callable[[Document], Any]


@pytest.fixture(scope="module")
def lab(lab_cluster: Lab) -> Lab:
    """An API server with the CRDs and the policies of this checkout."""
    lab_cluster.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    lab_cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    lab_cluster.kubectl("apply", "-f", str(ROOT / "policies"))
    lab_cluster.kubectl("apply", "-f", "-", text=quickstart.as_text(quickstart.manifests()))
    return lab_cluster


def sample(kind: str) -> Document:
    """The quickstart's object of a kind, under a name of its own."""
    found = copy.deepcopy(next(d for d in quickstart.manifests() if d["kind"] == kind))
    found["metadata"]["name"] = "sample"
    return found


def try_out(lab: Lab, document: Document) -> str:
    """What the API server says to a server-side dry run."""
    return lab.kubectl("apply", "--dry-run=server", "-f", "-", text=json.dumps(document))


def set_path(path: str, value: Any) -> Change:
    """Set a value deep in a document; numbers in the path are list positions."""

    def change(document: Document) -> None:
        *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        here: Any = document
        for part in parents:
            here = here[part]
        here[last] = value

    return change


KINDS = ["EdgeModel", "InferenceService", "RolloutPolicy", "TrustPolicy", "EdgeSite"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_quickstarts_objects_are_accepted(lab: Lab, kind: str) -> None:
    assert "created" in try_out(lab, sample(kind))


BAD: list[tuple[str, str, Any, str]] = [
    ("EdgeModel", "metadata.name", "n" * 41, "may have 40 characters"),
    ("EdgeModel", "spec.version", "one", "spec.version"),
    ("EdgeModel", "spec.variants.0.uri", "oci://registry.example/models/m:latest", "spec.variants"),
    ("EdgeModel", "spec.variants.0.uri", f"oci://user@registry.example/m@sha256:{'0' * 64}", "uri"),
    ("EdgeModel", "spec.variants.0.digest", "sha256:1", "digest"),
    ("EdgeModel", "spec.variants.0.format", "pickle", "onnx"),
    ("EdgeModel", "spec.variants.0.accelerators", [], "accelerators"),
    ("EdgeModel", "spec.variants.0.resources.requests.cpu", "lots", "cpu"),
    ("EdgeModel", "spec.variants", [], "variants"),
    ("EdgeModel", "spec.surprise", 1, 'unknown field "spec.surprise"'),
    ("InferenceService", "spec.edge.replicas", {"min": 3, "max": 1}, "must not be larger than replicas.max"),
    ("InferenceService", "spec.edge.replicas", {"min": 0, "max": 0}, "must be at least 1"),
    ("InferenceService", "spec.cloud.replicas", {"min": 0, "max": 0}, "or write mode: Never"),
    ("InferenceService", "spec.shift.latency.target", "fast", "target"),
    ("InferenceService", "spec.shift.price", {"perSpilledRequest": "2"}, "perSpilledRequest"),
    ("InferenceService", "spec.request", {"timeout": "2h"}, "request.timeout must be from 100ms to 1h"),
    ("InferenceService", "spec.request", {"timeout": "10ms"}, "request.timeout must be from 100ms to 1h"),
    ("InferenceService", "spec.request", {"maxBody": "1Gi"}, "request.maxBody must be from 1Ki to 256Mi"),
    ("InferenceService", "spec.request", {"maxBody": "1"}, "request.maxBody must be from 1Ki to 256Mi"),
    ("InferenceService", "spec.shift.latency.percentile", 100, "percentile"),
    ("InferenceService", "spec.criticality", "Extreme", "Critical"),
    ("InferenceService", "spec.residency", {"regions": []}, "regions"),
    ("InferenceService", "spec.residency", {"regions": ["EU DE"]}, "regions"),
    ("InferenceService", "spec.cloud.mode", "Always", "Fallback"),
    ("InferenceService", "spec.route", {"hostname": "a.example"}, 'unknown field "spec.route"'),
    ("EdgeSite", "spec.region", "Europe!", "region"),
    ("EdgeSite", "spec.upstream", {"url": "inference.cloud.example"}, "url"),
    ("EdgeSite", "spec.upstream", {"url": "https://cloud.example/path"}, "url"),
    ("EdgeSite", "spec.upstream", {"url": "https://user@cloud.example"}, "url"),
    ("EdgeSite", "spec.upstream", {"url": "https://a.example", "credentials": "A b"}, "credentials"),
    (
        "InferenceService",
        "spec.sites.selector",
        {"matchExpressions": [{"key": "a", "operator": "In", "values": []}]},
        "In and NotIn need values",
    ),
    ("RolloutPolicy", "spec.strategy", "Canary", "BlueGreen"),
    ("RolloutPolicy", "spec.progressDeadline", "soon", "progressDeadline"),
    ("RolloutPolicy", "spec.rollback.keepRevisions", 0, "keepRevisions"),
    ("TrustPolicy", "spec.require.0.anyOf", ["nobody"], "must be the name of one of spec.authorities"),
    ("TrustPolicy", "spec.require.0.threshold", 2, "it can never be met"),
    ("TrustPolicy", "spec.match.sources", ["https://registry.example/**"], "sources"),
    ("TrustPolicy", "spec.match.sources", [], "sources"),
    ("TrustPolicy", "spec.authorities.0.key.pem", "secret", "pem"),
    ("TrustPolicy", "spec.mode", "Warn", "Enforce"),
    ("TrustPolicy", "spec.authorities.0.key.notAfter", "soon", "notAfter"),
    ("TrustPolicy", "spec.formats", {"allow": []}, "allow"),
    ("TrustPolicy", "spec.artifact", {"allowedIgnorePaths": [""]}, "allowedIgnorePaths"),
    ("TrustPolicy", "spec.artifact", {"maxBundleBytes": "much"}, "maxBundleBytes"),
    ("TrustPolicy", "spec.freshness", {"monotonic": True}, 'unknown field "spec.freshness"'),
    ("EdgeSite", "spec.nodeSelector.matchLabels", {"zone": "a"}, "a node could set any other label itself"),
    ("EdgeSite", "spec.nodeSelector.matchLabels", {}, "matchLabels"),
    ("EdgeSite", "spec.tier", "Fog", "Edge"),
]


@pytest.mark.parametrize(("kind", "path", "value", "says"), BAD, ids=lambda value: str(value)[:32])
def test_a_wrong_manifest_is_refused_and_told_what_to_write(
    lab: Lab, kind: str, path: str, value: Any, says: str
) -> None:
    document = sample(kind)
    set_path(path, value)(document)
    with pytest.raises(CommandFailedError) as refused:
        try_out(lab, document)
    assert says in str(refused.value)


def test_a_policy_with_everything_in_it_is_stored_as_the_verifier_reads_it(lab: Lab) -> None:
    document = sample("TrustPolicy")
    document["spec"] |= {
        "mode": "Audit",
        "formats": {"allow": ["onnx", "tvm"]},
        "artifact": {
            "maxFiles": 7,
            "maxBytes": "1Gi",
            "maxBundleBytes": "1Mi",
            "allowedIgnorePaths": ["model.sig", "README.md"],
        },
    }
    key = document["spec"]["authorities"][0]["key"]
    key |= {"pem": Publisher.new().public_pem, "notAfter": "2027-01-01T00:00:00Z"}
    stored = json.loads(
        lab.kubectl("apply", "--dry-run=server", "-o", "json", "-f", "-", text=json.dumps(document))
    )
    read = read_policy("sample", "", stored["spec"])
    assert not read.enforce
    assert read.formats == {"onnx", "tvm"}
    assert read.artifact == ArtifactLimits(frozenset({"model.sig", "README.md"}), 7, 1 << 30, 1 << 20)
    assert read.authorities[0].not_after == datetime(2027, 1, 1, tzinfo=UTC)


def test_bytes_change_only_together_with_the_version(lab: Lab) -> None:
    model = next(d for d in quickstart.manifests() if d["kind"] == "EdgeModel")
    model["spec"]["variants"][0]["digest"] = f"tree:sha256:{'a' * 64}"
    with pytest.raises(CommandFailedError, match=r"raise spec\.version together with a digest"):
        try_out(lab, model)
    model["spec"]["version"] = "1.0.1"
    assert "configured" in try_out(lab, model)


def pod(**csi: Any) -> Document:
    """A pod with a model volume."""
    volume = {
        "driver": "models.edgewise.dev",
        "readOnly": True,
        "volumeAttributes": {"model": "m", "digest": "tree:sha256:0"},
    }
    container = {
        "name": "c",
        "image": "none.example/none",
        "volumeMounts": [{"name": "m", "mountPath": "/m"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "reader", "namespace": "default"},
        "spec": {"containers": [container], "volumes": [{"name": "m", "csi": volume | csi}]},
    }


def test_pods_may_not_speak_for_the_kubelet(lab: Lab) -> None:
    assert "created" in try_out(lab, pod())
    forged = {"model": "m", "csi.storage.k8s.io/pod.namespace": "vision"}
    with pytest.raises(CommandFailedError, match="these are the kubelet's word"):
        try_out(lab, pod(volumeAttributes=forged))
    with pytest.raises(CommandFailedError, match="write readOnly: true"):
        try_out(lab, pod(readOnly=False))


def test_verdicts_are_written_by_the_operators_account_alone(lab: Lab) -> None:
    patch = json.dumps({"status": {"usedBy": 1}})
    command = ("patch", "edgemodel", "text-detector", "-n", "vision", "--subresource=status", "--type=merge")
    with pytest.raises(CommandFailedError, match="only edgewise's operator writes"):
        lab.kubectl(*command, "-p", patch)
    account = "system:serviceaccount:edgewise-system:edgewise-operator"
    as_operator = (f"--as={account}", "--as-group=system:masters")
    assert "patched" in lab.kubectl(*command, "-p", patch, *as_operator)
