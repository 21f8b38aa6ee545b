"""Which keys an event asks for: every change in a table, as passes over what depends on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgewise.api.edgemodel import EdgeModel
from edgewise.api.inferenceservice import InferenceService
from edgewise.api.meta import LABEL_MODEL, LABEL_SERVICE, LABEL_SIDE, LABEL_SITE, SIDE_EDGE
from edgewise.cluster.resources import Object
from edgewise.cluster.views import PodView
from edgewise.cluster.world import World
from edgewise.engine.queue import Key
from edgewise.fleet.nodes import Node
from edgewise.fleet.sites import site_of
from edgewise.render.names import ROUTER

Add = Callable[[Key], None]


class Wiring:
    """Listens to every table and adds keys. A pass that was not needed costs no request."""

    def __init__(self, world: World, add: Add) -> None:
        self._world = world
        self._add = add
        world.models.listeners.append(self._model)
        world.services.listeners.append(self._service)
        world.sites.listeners.append(self._site)
        world.nodes.listeners.append(self._node)
        world.pods.listeners.append(self._pod)
        world.namespaces.listeners.append(lambda key, _old, _new: self._namespace(key))
        world.trust_policies.listeners.append(lambda _key, _old, _new: self._all("EdgeModel", world.models))
        world.rollout_policies.listeners.append(lambda key, _old, _new: self._rollout_policy(key))
        for table in (world.deployments, world.service_objects, world.endpoint_slices, world.config_maps):
            table.listeners.append(self._child)
        world.revisions.listeners.append(self._revision)

    def _all(self, kind: str, table: Any) -> None:
        for key in table.keys():  # noqa: SIM118 - not a dict
            self._add(Key(kind, key))

    def _model(self, key: str, old: EdgeModel | None, new: EdgeModel | None) -> None:
        if (
            old is not None
            and new is not None
            and (old.spec, old.metadata.uid) == (new.spec, new.metadata.uid)
        ):
            # Only the status moved, which is ours.
            return
        self._add(Key("EdgeModel", key))
        for service in self._world.services.by("model", key):
            self._add(Key("InferenceService", f"{service.metadata.namespace}/{service.metadata.name}"))

    def _service(self, key: str, old: InferenceService | None, new: InferenceService | None) -> None:
        self._add(Key("InferenceService", key))
        spec_moved = old is None or new is None or old.spec != new.spec
        stable_moved = old is None or new is None or old.status.rollout.stable != new.status.rollout.stable
        if spec_moved:
            for service in (old, new):
                if service is not None:
                    model = f"{service.metadata.namespace}/{service.spec.model_ref.name}"
                    self._add(Key("EdgeModel", model))
        if stable_moved or spec_moved:
            self._edge_sites(key)

    def _edge_sites(self, service: str) -> None:
        for obj in self._world.deployments.by("service", service):
            marks = obj["metadata"]["labels"]
            if marks[LABEL_SIDE] == SIDE_EDGE:
                self._add(Key("EdgeSite", marks[LABEL_SITE]))

    def _site(self, key: str, old: Any, new: Any) -> None:
        self._add(Key("EdgeSite", key))
        if old is None or new is None or old.spec != new.spec or old.metadata.labels != new.metadata.labels:
            self._all("InferenceService", self._world.services)
            self._add(Key("Discovery", "nodes"))
            self._add(Key("Traffic", key))

    def _node(self, _key: str, old: Node | None, new: Node | None) -> None:
        if old == new:
            # Heartbeats and images: nothing that a decision reads.
            return
        self._add(Key("Discovery", "nodes"))
        nodes = [node for node in (old, new) if node is not None]
        for site in self._world.sites:
            if site_of(site, nodes).nodes:
                self._add(Key("EdgeSite", site.metadata.name))
                self._all("InferenceService", self._world.services)

    def _pod(self, _key: str, old: PodView | None, new: PodView | None) -> None:
        if old == new:
            return
        pod = new or old
        if pod is None:
            return
        if pod.component == ROUTER:
            self._add(Key("EdgeSite", pod.site))
            for obj in self._world.deployments.by("site", pod.site):
                if name := obj["metadata"]["labels"].get(LABEL_SERVICE):
                    self._add(Key("InferenceService", f"{obj['metadata']['namespace']}/{name}"))
            return
        service = f"{pod.namespace}/{pod.service}"
        if pod.side == SIDE_EDGE:
            self._add(Key("EdgeSite", pod.site))
        else:
            self._edge_sites(service)
        self._add(Key("InferenceService", service))

    def _namespace(self, name: str) -> None:
        for model in self._world.models.by("namespace", name):
            self._add(Key("EdgeModel", f"{name}/{model.metadata.name}"))
        for service in self._world.services.by("namespace", name):
            self._add(Key("InferenceService", f"{name}/{service.metadata.name}"))

    def _rollout_policy(self, key: str) -> None:
        for service in self._world.services.by("namespace", key.split("/")[0]):
            self._add(Key("InferenceService", f"{service.metadata.namespace}/{service.metadata.name}"))

    def _child(self, _key: str, old: Object | None, new: Object | None) -> None:
        obj = new or old
        if obj is None:
            return
        marks = obj["metadata"].get("labels") or {}
        if LABEL_SERVICE in marks:
            self._add(Key("InferenceService", f"{obj['metadata']['namespace']}/{marks[LABEL_SERVICE]}"))
        if LABEL_SITE in marks and (old is None or new is None or LABEL_SERVICE not in marks):
            self._add(Key("EdgeSite", marks[LABEL_SITE]))

    def _revision(self, _key: str, old: Object | None, new: Object | None) -> None:
        obj = new or old
        if obj is not None and (old is None or new is None):
            marks = obj["metadata"].get("labels") or {}
            namespace = obj["metadata"]["namespace"]
            self._add(Key("EdgeModel", f"{namespace}/{marks.get(LABEL_MODEL)}"))
            if LABEL_SERVICE in marks:
                self._add(Key("InferenceService", f"{namespace}/{marks[LABEL_SERVICE]}"))
