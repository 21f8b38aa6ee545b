"""Children as small frozen values: what decisions read of Pods, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgewise.api.meta import LABEL_COMPONENT, LABEL_REVISION, LABEL_SERVICE, LABEL_SIDE, LABEL_SITE
from edgewise.cluster.resources import Object


@dataclass(frozen=True, slots=True)
class PodView:
    """One pod of ours."""

    name: str
    namespace: str
    uid: str
    component: str
    service: str
    site: str
    side: str
    revision: str
    node: str
    address: str
    ready: bool
    terminating: bool
    annotations: Mapping[str, str]

    @property
    def takes_requests(self) -> bool:
        """Whether requests may be sent to it."""
        return self.ready and not self.terminating and bool(self.address)


def pod_view(obj: Object) -> PodView:
    """A pod from its object."""
    metadata, status = obj["metadata"], obj.get("status", {})
    labels = metadata.get("labels") or {}
    return PodView(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata.get("uid", ""),
        component=labels.get(LABEL_COMPONENT, ""),
        service=labels.get(LABEL_SERVICE, ""),
        site=labels.get(LABEL_SITE, ""),
        side=labels.get(LABEL_SIDE, ""),
        revision=labels.get(LABEL_REVISION, ""),
        node=obj.get("spec", {}).get("nodeName", ""),
        address=status.get("podIP", ""),
        ready=any(
            condition.get("type") == "Ready" and condition.get("status") == "True"
            for condition in status.get("conditions") or ()
        ),
        terminating=bool(metadata.get("deletionTimestamp")),
        annotations=metadata.get("annotations") or {},
    )


@dataclass(frozen=True, slots=True)
class NamespaceView:
    """A namespace: its name, UID and labels."""

    name: str
    uid: str
    labels: Mapping[str, str]


def namespace_view(obj: Object) -> NamespaceView:
    """A namespace from its object."""
    metadata = obj["metadata"]
    return NamespaceView(metadata["name"], metadata.get("uid", ""), metadata.get("labels") or {})


def slim(obj: Object) -> Object:
    """An object without what no decision reads: the field owners, and kubectl's copy of the manifest."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    annotations = metadata.get("annotations")
    if annotations:
        metadata["annotations"] = {
            key: value
            for key, value in annotations.items()
            if key != "kubectl.kubernetes.io/last-applied-configuration"
        }
    return obj | {"metadata": metadata}
