"""The chart: what helm makes of it, and what it says to wrong values. No cluster is asked but for helm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.cluster import Lab
from lab.errors import CommandFailedError

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).resolve().parents[2]
CHART = str(ROOT / "charts" / "edgewise")


def rendered(lab: Lab, *more: str, namespace: str = "edgewise-system") -> list[dict[str, Any]]:
    """The chart's objects."""
    text = lab.helm("template", "edgewise", CHART, "--namespace", namespace, *more)
    return [document for document in yaml.safe_load_all(text) if document]


def test_lint_finds_nothing(lab_cluster: Lab) -> None:
    assert "0 chart(s) failed" in lab_cluster.helm("lint", "--strict", CHART)


def test_the_chart_carries_the_same_crds_and_policies_as_the_checkout() -> None:
    for folder in ("crds", "policies"):
        ours = {path.name: path.read_text() for path in (ROOT / folder).glob("*.yaml")}
        assert ours == {path.name: path.read_text() for path in Path(CHART, folder).glob("*.yaml")}


def test_every_name_follows_the_namespace_that_it_is_installed_into(lab_cluster: Lab) -> None:
    documents = rendered(lab_cluster, namespace="elsewhere")
    assert "edgewise-system" not in yaml.safe_dump_all(documents)
    policy = next(
        document
        for document in documents
        if document["kind"] == "ValidatingAdmissionPolicy"
        and document["metadata"]["name"] == "edgewise-verdicts"
    )
    assert (
        "'system:serviceaccount:elsewhere:edgewise-operator'"
        in policy["spec"]["validations"][0]["expression"]
    )


def test_policies_can_be_left_out(lab_cluster: Lab) -> None:
    kinds = {document["kind"] for document in rendered(lab_cluster, "--set", "policies.enabled=false")}
    assert not any(kind.startswith("ValidatingAdmission") for kind in kinds)


WRONG = [
    ("--set", "images.server=two words", "/images/server"),
    ("--set", "images.server=", "/images/server"),
    ("--set", "images.sever=typo", "sever"),
    ("--set", "imagePullPolicy=Sometimes", "'IfNotPresent', 'Always', 'Never'"),
    ("--set", "operator.replicas=4", "/operator/replicas"),
    ("--set", "operator.replicas=-1", "/operator/replicas"),
    ("--set-string", "operator.replicas=1", "/operator/replicas"),
    ("--set", "operator.client.rate=0", "/operator/client/rate"),
    ("--set", "agent.kubeletFolder=var/lib/kubelet", "/agent/kubeletFolder"),
    ("--set", "agent.dataFolder=/var/lib/edgewise/", "/agent/dataFolder"),
    ("--set", "fleet.discoveredSitesAllow=Some", "'Nothing', 'Everything'"),
    ("--set", "registries.plainHttp={http://registry:5000}", "/registries/plainHttp/0"),
    ("--set-string", "policies.enabled=yes", "/policies/enabled"),
    ("--set", "surprise=1", "surprise"),
]


@pytest.mark.parametrize(("flag", "setting", "says"), WRONG, ids=[setting for _, setting, _ in WRONG])
def test_a_wrong_value_is_refused_by_name(lab_cluster: Lab, flag: str, setting: str, says: str) -> None:
    with pytest.raises(CommandFailedError) as refused:
        lab_cluster.helm("template", "edgewise", CHART, flag, setting)
    assert says in str(refused.value)
