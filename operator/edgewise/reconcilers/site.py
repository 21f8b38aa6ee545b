"""EdgeSite: its status, and its router with the routes of every service there."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from edgewise.api import conditions as c
from edgewise.api.edgesite import AcceleratorCount, EdgeSite, EdgeSiteStatus, NodeCount
from edgewise.api.meta import (
    API_VERSION,
    LABEL_COMPONENT,
    LABEL_DISCOVERED,
    LABEL_SERVICE,
)
from edgewise.cluster.apply import apply_changed, without_version
from edgewise.cluster.errors import ConflictError
from edgewise.cluster.resources import key_of
from edgewise.fleet.sites import SITE_LABEL, Discovered, Site, discover, site_of
from edgewise.reconcilers.context import Context, RouterConfiguration, stamp
from edgewise.reconcilers.routing import orders_of, routes_of, services_at
from edgewise.reconcilers.traffic_start import traffic_of
from edgewise.render import envoy
from edgewise.render.names import ROUTER
from edgewise.render.orders import Orders
from edgewise.render.router import Router, config_map, deployment

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
            await self._context.recorder.report("EdgeSite", spec.metadata, spec.status, status)
        return None

    async def _route(self, site: Site) -> None:
        context, world = self._context, self._context.world
        router = self._router(site)
        files = envoy.files(routes_of(self._context.world, site.name, self._orders(site.name)))
        self._expect(site.name, envoy.versions(files))
        key = f"{router.namespace}/{router.name}"
        await apply_changed(context.client, config_map(router, files), world.config_maps.get(key))
        await apply_changed(context.client, deployment(router), world.deployments.get(key))
        version = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:16]
        for pod in world.pods.by("site", (ROUTER, site.name)):
            if not pod.terminating and pod.annotations.get(CONFIG) != version:
                await context.client.apply(_annotated(pod.namespace, pod.name, version))

    def _orders(self, site: str) -> dict[str, Orders]:
        context = self._context
        services = {service.metadata.key: service for service in services_at(context.world, site)}
        return {key: orders_of(traffic_of(context, key, found, site)) for key, found in services.items()}

    def _expect(self, site: str, versions: Mapping[str, str]) -> None:
        """Remember what the routers should go by; their statistics are compared with it."""
        known = self._context.routers.get(site)
        if known is None or known.wanted != versions:
            self._context.routers[site] = RouterConfiguration(versions, self._context.clock())

    def _router(self, site: Site) -> Router:
        settings, upstream = self._context.settings, site.spec.spec.upstream
        return Router(
            namespace=settings.namespace,
            site=site.name,
            site_labels=tuple(sorted(site.spec.spec.node_selector.match_labels.items())),
            image=settings.images[ROUTER],
            owner=settings.owner,
            credentials=(upstream.credentials or "") if upstream else "",
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
                [
                    _condition(site, ready, bool(self._context.settings.images.get(ROUTER))),
                    *self._router_condition(site),
                ],
                stamp(self._context.now()),
            ),
        )

    def _router_condition(self, site: Site) -> list[c.Condition]:
        known, generation = self._context.routers.get(site.name), site.spec.metadata.generation
        if known is None or not site.is_edge:
            return []
        if not known.behind:
            return [c.condition(c.ROUTER_CONFIGURED, True, c.IN_FORCE, "", generation)]
        told = "; ".join(f"{pod}: {what}" for pod, what in sorted(known.behind.items()))
        refused = any("refused" in what for what in known.behind.values())
        reason = c.CONFIGURATION_REFUSED if refused else c.CONFIGURATION_PENDING
        message = f"{told}. The last good configuration goes on serving"
        return [c.condition(c.ROUTER_CONFIGURED, False, reason, message, generation)]


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
