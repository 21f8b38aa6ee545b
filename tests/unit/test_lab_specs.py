from __future__ import annotations

import pytest

from lab.specs import SITE_LABEL, NodeSpec


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("edge-2", {}),
        ("edge-2=plant-2", {SITE_LABEL: "plant-2"}),
        ("edge-2=plant-2,gpu=yes,rack=4", {SITE_LABEL: "plant-2", "gpu": "yes", "rack": "4"}),
    ],
)
def test_the_command_lines_form(text: str, labels: dict[str, str]) -> None:
    spec = NodeSpec.parse(text)
    assert (spec.name, spec.labels) == ("edge-2", labels)


@pytest.mark.parametrize("text", ["Edge", "edge_1", "-edge", "", "edge=site,label", "a" * 43])
def test_what_is_no_node_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="wanted"):
        NodeSpec.parse(text)


def test_the_node_object_carries_labels_taints_and_roles() -> None:
    spec = NodeSpec("n", {"a": "b"}, taints=("edge=yes:NoSchedule", "gone:NoExecute"), roles=("edge",))
    node = spec.manifest()
    assert node["metadata"]["labels"] == {
        "a": "b",
        "node-role.kubernetes.io/edge": "",
        "kubernetes.io/hostname": "n",
    }
    assert node["spec"]["taints"] == [
        {"key": "edge", "value": "yes", "effect": "NoSchedule"},
        {"key": "gone", "effect": "NoExecute"},
    ]


def test_a_taint_without_an_effect_is_refused() -> None:
    with pytest.raises(ValueError, match="NoSchedule"):
        NodeSpec("n", taints=("edge=yes",))


def test_a_spec_survives_the_disk() -> None:
    spec = NodeSpec("n", {"a": "b"}, taints=("gone:NoExecute",), roles=("edge",))
    assert NodeSpec.from_json(spec.to_json()) == spec
