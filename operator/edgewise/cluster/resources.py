"""Where the kinds that edgewise reads and writes live on the API server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

from edgewise.api.kinds import KINDS, Kind
from edgewise.api.meta import API_VERSION

#: An object as the API server gives it.
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind and the path that it is served under."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The request path of a collection, an object or a subresource."""
        root = "/api/v1" if self.api_version == "v1" else f"/apis/{self.api_version}"
        parts = [root]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/".join(parts)


POD: Final = Resource("v1", "Pod", "pods")
NODE: Final = Resource("v1", "Node", "nodes", namespaced=False)
NAMESPACE: Final = Resource("v1", "Namespace", "namespaces", namespaced=False)
SECRET: Final = Resource("v1", "Secret", "secrets")
CONFIG_MAP: Final = Resource("v1", "ConfigMap", "configmaps")
SERVICE: Final = Resource("v1", "Service", "services")
EVENT: Final = Resource("v1", "Event", "events")
DEPLOYMENT: Final = Resource("apps/v1", "Deployment", "deployments")
CONTROLLER_REVISION: Final = Resource("apps/v1", "ControllerRevision", "controllerrevisions")
ENDPOINT_SLICE: Final = Resource("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
LEASE: Final = Resource("coordination.k8s.io/v1", "Lease", "leases")

OURS: Final[dict[str, Resource]] = {
    cast(Kind, model).KIND: Resource(
        API_VERSION, cast(Kind, model).KIND, cast(Kind, model).PLURAL, cast(Kind, model).NAMESPACED
    )
    for model in KINDS
}

_BY_KIND: Final = {
    resource.kind: resource
    for resource in (
        POD, NODE, NAMESPACE, SECRET, CONFIG_MAP, SERVICE, EVENT, DEPLOYMENT, CONTROLLER_REVISION,
        ENDPOINT_SLICE, LEASE, *OURS.values(),
    )
}  # fmt: skip


def resource_of(obj: Object) -> Resource:
    """The resource that an object belongs to, by its kind.

    Raises:
        KeyError: a kind that edgewise does not handle.
    """
    return _BY_KIND[obj["kind"]]


def key_of(obj: Object) -> str:
    """``namespace/name`` of an object, or ``name`` when it has no namespace."""
    metadata = obj["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])
