"""EdgeSite: its status, and its router with the routes of every service there."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from typing import Any, Final

from edgewise.api import conditions as c
from edgewise.api.edgesite import AcceleratorCount, EdgeSite, EdgeSiteStatus, NodeCount
from edgewise.api.meta import (
    API_VERSION,
    LABEL_COMPONENT,
    LABEL_DISCOVERED,
    LABEL_REVISION,
    LABEL_SERVICE,
    LABEL_SIDE,
    SIDE_CLOUD,
    SIDE_EDGE,
)
from edgewise.cluster.apply import apply_changed, apply_status, without_version
from edgewise.cluster.errors import ConflictError
from edgewise.cluster.resources import key_of
from edgewise.fleet.sites import SITE_LABEL, Discovered, Site, discover, site_of
from edgewise.reconcilers.context import Context, stamp
from edgewise.reconcilers.readiness import route_addresses, serving_revision
from edgewise.render import envoy
from edgewise.render.names import ROUTER
from edgewise.render.router import Router, config_map, deployment

#: Of each side's 1,000.
ALL: Final = 1000
#: Annotation of router pods; a change of it makes the kubelet look at the ConfigMap at once.
CONFIG: Final = "edgewise.dev/config"


class SiteReconciler:
    """Keeps a site's status and router. A site that is gone keeps what runs there."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def __call__(self, key: str) -> float | None:
        """One pass over a site."""
        world = self._context.world
        spec = world.sites.get(key)
        if spec is None:
            await self._remove_router(key)
            return None
        site = site_of(spec, world.nodes)
        if site.is_edge and site.nodes and self._context.settings.images.get(ROUTER):
            await self._route(site)
        elif not site.is_edge:
            await self._delete_router(key)
        status = self._status(site)
        if status != spec.status:
            await apply_status(self._context.client, "EdgeSite", spec.metadata, status)
        return None

    async def _route(self, site: Site) -> None:
        context, world = self._context, self._context.world
        router = self._router(site)
        files = envoy.files(self._routes(site))
        key = f"{router.namespace}/{router.name}"
        await apply_changed(context.client, config_map(router, files), world.config_maps.get(key))
        await apply_changed(context.client, deployment(router), world.deployments.get(key))
        version = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:16]
        for pod in world.pods.by("site", (ROUTER, site.name)):
            if not pod.terminating and pod.annotations.get(CONFIG) != version:
                await context.client.apply(_annotated(pod.namespace, pod.name, version))

    def _router(self, site: Site) -> Router:
        settings = self._context.settings
        return Router(
            namespace=settings.namespace,
            site=site.name,
            site_labels=tuple(sorted(site.spec.spec.node_selector.match_labels.items())),
            image=settings.images[ROUTER],
            owner=settings.owner,
        )

    def _routes(self, site: Site) -> list[envoy.Route]:
        """A route for every service that has a Deployment at the site."""
        routes = []
        names = {
            (obj["metadata"]["namespace"], obj["metadata"]["labels"][LABEL_SERVICE])
            for obj in self._context.world.deployments.by("site", site.name)
            if LABEL_SERVICE in obj["metadata"]["labels"]
        }
        for namespace, name in sorted(names):
            service = self._context.world.services.get(f"{namespace}/{name}")
            if service is not None:
                routes.append(envoy.Route(namespace, name, self._backends(site, f"{namespace}/{name}")))
        return routes

    def _backends(self, site: Site, key: str) -> tuple[envoy.Backend, ...]:
        """The revision that serves here has all of the weight; the others stay known, with none."""
        world = self._context.world
        service = world.services.get(key)
        stable = service.status.rollout.stable if service else ""
        known: dict[str, set[str]] = defaultdict(set)
        for obj in world.deployments.by("service", key):
            marks = obj["metadata"]["labels"]
            if marks[LABEL_SIDE] == SIDE_CLOUD or marks.get("edgewise.dev/site") == site.name:
                known[marks[LABEL_SIDE]].add(marks[LABEL_REVISION])
        pods = world.pods.by("service", key)
        serving = serving_revision(pods, site.name, stable, known[SIDE_EDGE])
        return tuple(
            envoy.Backend(
                side=side,
                revision=revision,
                weight=ALL if revision == serving else 0,
                addresses=route_addresses(pods, side, revision, site.name if side == SIDE_EDGE else ""),
                port=8080,
            )
            for side in (SIDE_EDGE, SIDE_CLOUD)
            for revision in sorted(known[side])
        )

    async def _remove_router(self, name: str) -> None:
        """Take the router of a site away that is gone, once nothing runs there any more."""
        children = self._context.world.deployments.by("site", name)
        if not any(LABEL_SERVICE in obj["metadata"]["labels"] for obj in children):
            await self._delete_router(name)

    async def _delete_router(self, name: str) -> None:
        world = self._context.world
        for obj in world.deployments.by("site", name):
            if obj["metadata"]["labels"].get(LABEL_COMPONENT) == ROUTER:
                await self._context.client.delete(without_version(obj))
                config = world.config_maps.get(key_of(obj))
                if config is not None:
                    await self._context.client.delete(config)

    def _status(self, site: Site) -> EdgeSiteStatus:
        spec = site.spec
        ready = sum(node.ready for node in site.nodes)
        classes = Counter(class_ for node in site.nodes for class_ in node.classes)
        return EdgeSiteStatus(
            observed_generation=spec.metadata.generation,
            online=site.online,
            nodes=NodeCount(total=len(site.nodes), ready=ready),
            accelerators=[
                AcceleratorCount(class_=class_, nodes=count) for class_, count in sorted(classes.items())
            ],
            classes=", ".join(f"{class_} x{count}" for class_, count in sorted(classes.items()))[:1024],
            conditions=c.merge(
                spec.status.conditions,
                [_condition(site, ready, bool(self._context.settings.images.get(ROUTER)))],
                stamp(self._context.now()),
            ),
        )


def _condition(site: Site, ready: int, has_router_image: bool) -> c.Condition:
    generation, total = site.spec.metadata.generation, len(site.nodes)
    if not total:
        wanted = ", ".join(f"{k}={v}" for k, v in site.spec.spec.node_selector.match_labels.items())
        return c.condition(c.READY, False, c.NO_NODES, f"no node carries {wanted}", generation)
    if not ready:
        return c.condition(c.READY, None, c.OFFLINE, f"none of {total} nodes answers", generation)
    if site.is_edge and not has_router_image:
        message = "no request can enter: set images.router in the chart's values"
        return c.condition(c.READY, False, c.NO_ROUTER_IMAGE, message, generation)
    return c.condition(c.READY, True, c.NODES_READY, f"{ready} of {total} nodes ready", generation)


def _annotated(namespace: str, name: str, version: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "annotations": {CONFIG: version}},
    }


class DiscoveryReconciler:
    """Creates an EdgeSite for nodes that carry a trusted site label and belong to none.

    Created, never applied again: whoever writes an EdgeSite of that name owns it.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    async def __call__(self, key: str) -> float | None:
        """One pass over all nodes."""
        del key
        world = self._context.world
        for found in discover(world.nodes, world.sites):
            try:
                await self._context.client.create(self._object(found))
            except ConflictError:
                continue
        return None

    def _object(self, found: Discovered) -> dict[str, Any]:
        spec: dict[str, Any] = {
            "tier": found.tier,
            "nodeSelector": {"matchLabels": {SITE_LABEL: found.name}},
        }
        if self._context.settings.discovered_sites_allow_all:
            spec["allowedNamespaces"] = {}
        return {
            "apiVersion": API_VERSION,
            "kind": EdgeSite.KIND,
            "metadata": {"name": found.name, "labels": {LABEL_DISCOVERED: "true"}},
            "spec": spec,
        }
