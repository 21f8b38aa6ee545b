"""What a user says about a lab: its nodes and the control plane's patience."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

#: The label that says to which site a node belongs. Its prefix is one that a kubelet may not set on itself
#: (admission plugin NodeRestriction), so no node can talk itself into a site.
SITE_LABEL = "edgewise.node-restriction.kubernetes.io/site"

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?")
_TAINT = re.compile(r"(?P<key>[^=:]+)(=(?P<value>[^:]*))?:(?P<effect>NoSchedule|PreferNoSchedule|NoExecute)")


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One node.

    Attributes:
        name: of the Node object; a DNS label.
        labels: put on the node by the administrator, before its kubelet registers it.
        taints: `key=value:Effect` or `key:Effect`, put on by the administrator likewise.
        roles: shown by kubectl, as labels `node-role.kubernetes.io/ROLE`.
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"node name is {self.name!r}; wanted lower-case letters, digits and -, at most 42"
            )
        for taint in self.taints:
            if not _TAINT.fullmatch(taint):
                raise ValueError(f"taint is {taint!r}; wanted key=value:NoSchedule or key:NoExecute")

    def manifest(self) -> dict[str, Any]:
        """The Node object as the administrator creates it."""
        roles = {f"node-role.kubernetes.io/{role}": "" for role in self.roles}
        labels = {**self.labels, **roles, "kubernetes.io/hostname": self.name}
        node: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": labels},
        }
        if self.taints:
            node["spec"] = {"taints": [_taint(text) for text in self.taints]}
        return node

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "labels": dict(self.labels)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> NodeSpec:
        """Back from plain values."""
        return cls(value["name"], dict(value["labels"]), tuple(value["taints"]), tuple(value["roles"]))

    @classmethod
    def parse(cls, text: str) -> NodeSpec:
        """Read `NAME`, `NAME=SITE` or `NAME=SITE,label=value,...`, as the command line takes it.

        Raises:
            ValueError: the text has another form.
        """
        name, _, rest = text.partition("=")
        site, *pairs = rest.split(",")
        labels = {SITE_LABEL: site} if site else {}
        for pair in pairs:
            key, separator, value = pair.partition("=")
            if not separator:
                raise ValueError(f"label is {pair!r}; wanted key=value")
            labels[key] = value
        return cls(name, labels)


def _taint(text: str) -> dict[str, str]:
    found = _TAINT.fullmatch(text)
    assert found is not None  # noqa: S101 - checked when the spec was made
    taint = {"key": found["key"], "effect": found["effect"]}
    if found["value"]:
        taint["value"] = found["value"]
    return taint


#: The smallest fleet that is one: an edge site and the cloud, a node each.
DEFAULT_NODES = (
    NodeSpec("edge-1", {SITE_LABEL: "plant-1"}, roles=("edge",)),
    NodeSpec("cloud-1", {SITE_LABEL: "cloud"}, roles=("cloud",)),
)


@dataclass(frozen=True, slots=True)
class ControlPlaneOptions:
    """How patient the control plane is; the defaults are Kubernetes' own.

    Attributes:
        node_grace: seconds without a sign of life after which a node is taken for unreachable.
        eviction: seconds after which pods on an unreachable node are evicted, where they do not say it
            themselves.
    """

    node_grace: int = 50
    eviction: int = 300
