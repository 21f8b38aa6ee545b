"""Everything that edgewise knows of a cluster: one table a kind, and the indexes that decisions use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from edgewise.api.edgemodel import EdgeModel
from edgewise.api.edgesite import EdgeSite
from edgewise.api.inferenceservice import InferenceService
from edgewise.api.meta import (
    LABEL_COMPONENT,
    LABEL_MANAGED_BY,
    LABEL_MODEL,
    LABEL_SERVICE,
    LABEL_SITE,
    MANAGED_BY,
)
from edgewise.api.rolloutpolicy import RolloutPolicy
from edgewise.catalog.catalogue import Catalogue
from edgewise.cluster.resources import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    POD,
    SERVICE,
    Object,
    Resource,
)
from edgewise.cluster.store import Table
from edgewise.cluster.views import NamespaceView, PodView, namespace_view, pod_view, slim
from edgewise.fleet.nodes import Node, parse_node
from edgewise.render.evidence import EVIDENCE
from edgewise.render.names import SERVER

#: Selects the children that edgewise made.
CHILDREN: Final = f"{LABEL_MANAGED_BY}={MANAGED_BY}"
_Model = TypeVar("_Model", bound=BaseModel)


class World:
    """The tables. Kopf feeds our kinds, nodes and namespaces; informers feed the children."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.models: Table[EdgeModel] = Table(
            _parser(EdgeModel), {"namespace": lambda model: [model.metadata.namespace]}
        )
        self.services: Table[InferenceService] = Table(
            _parser(InferenceService),
            {
                "model": lambda service: [f"{service.metadata.namespace}/{service.spec.model_ref.name}"],
                "namespace": lambda service: [service.metadata.namespace],
            },
        )
        self.rollout_policies: Table[RolloutPolicy] = Table(_parser(RolloutPolicy))
        self.sites: Table[EdgeSite] = Table(_parser(EdgeSite))
        #: Policies stay as they are: what is judged is the spec as the API server stores it.
        self.trust_policies: Table[Object] = Table(slim)
        self.nodes: Table[Node] = Table(lambda obj: parse_node(obj, catalogue))
        self.namespaces: Table[NamespaceView] = Table(namespace_view)
        self.pods: Table[PodView] = Table(
            pod_view,
            {
                "service": lambda pod: [f"{pod.namespace}/{pod.service}"] if pod.service else [],
                "site": lambda pod: [(pod.component, pod.site)],
            },
        )
        self.deployments = _children(by_service=True, by_site=True)
        self.config_maps = _children()
        self.service_objects = _children()
        self.endpoint_slices = _children()
        #: Revisions of services, and copies of models' evidence (without their data).
        self.revisions: Table[Object] = Table(
            _revision,
            {
                "service": lambda obj: _marked(obj, SERVER, LABEL_SERVICE),
                "model": lambda obj: _marked(obj, SERVER, LABEL_MODEL),
                "evidence": lambda obj: _marked(obj, EVIDENCE, LABEL_MODEL),
            },
        )

    def own(self) -> dict[str, Table[Any]]:
        """The tables that Kopf's events fill, by kind."""
        return {
            "EdgeModel": self.models,
            "InferenceService": self.services,
            "RolloutPolicy": self.rollout_policies,
            "TrustPolicy": self.trust_policies,
            "EdgeSite": self.sites,
            "Node": self.nodes,
            "Namespace": self.namespaces,
        }

    def children(self) -> list[tuple[Resource, Table[Any]]]:
        """The tables that informers fill."""
        return [
            (POD, self.pods),
            (DEPLOYMENT, self.deployments),
            (CONFIG_MAP, self.config_maps),
            (SERVICE, self.service_objects),
            (ENDPOINT_SLICE, self.endpoint_slices),
            (CONTROLLER_REVISION, self.revisions),
        ]


def _parser(model: type[_Model]) -> Callable[[Object], _Model]:
    return lambda obj: model.model_validate(obj)


def _children(by_service: bool = False, by_site: bool = False) -> Table[Object]:
    indexes: dict[str, Callable[[Object], list[Any]]] = {}
    if by_service:
        indexes["service"] = lambda obj: [f"{obj['metadata']['namespace']}/{_labels(obj).get(LABEL_SERVICE)}"]
    if by_site:
        indexes["site"] = lambda obj: [_labels(obj).get(LABEL_SITE, "")]
    return Table(slim, indexes)


def _labels(obj: Object) -> Object:
    labels: Object = obj["metadata"].get("labels") or {}
    return labels


def _marked(obj: Object, component: str, label: str) -> list[str]:
    labels = _labels(obj)
    if labels.get(LABEL_COMPONENT) != component:
        return []
    return [f"{obj['metadata']['namespace']}/{labels.get(label)}"]


def _revision(obj: Object) -> Object:
    """Evidence is read again when it is wanted; its bytes would fill the memory."""
    found = slim(obj)
    if _labels(obj).get(LABEL_COMPONENT) == EVIDENCE:
        found = {key: value for key, value in found.items() if key != "data"}
    return found
