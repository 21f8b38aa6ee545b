"""Routes of a site's router, read from what stands there."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Final

from edgewise.api.inferenceservice import InferenceService
from edgewise.api.meta import (
    LABEL_REVISION,
    LABEL_SERVICE,
    LABEL_SIDE,
    LABEL_SITE,
    SIDE_CLOUD,
    SIDE_EDGE,
    quantity,
    seconds,
)
from edgewise.cluster.resources import Object
from edgewise.cluster.views import PodView
from edgewise.cluster.world import World
from edgewise.fleet.sites import may_answer, upstream_of
from edgewise.reconcilers.context import SiteTraffic
from edgewise.reconcilers.readiness import route_addresses, serving_revision
from edgewise.reconcilers.service_view import regions_of
from edgewise.render.envoy import Backend, Route
from edgewise.render.envoy_upstream import parse_upstream
from edgewise.render.orders import Orders

#: In the place of a revision: whatever the address outside serves.
UPSTREAM: Final = "upstream"
#: Of each side's 1,000.
ALL: Final = 1000
#: A first try is given up after so many times the latency target, and no sooner than after 2 s.
_PATIENCE_TARGETS: Final = 20
_LEAST_PATIENCE: Final = 2.0


#: Limits of the cloud's share in steps of a quarter: a change of one replaces the router's cluster.
_STEP: Final = 1.25
#: Up to here every number is a step.
_EXACT: Final = 4


def orders_of(known: SiteTraffic) -> Orders:
    """What the router and the servers behind it are told of what was decided, in steps."""
    decision = known.decision
    return Orders(
        way=decision.way,
        in_flight=None if decision.cloud_in_flight is None else _stepped(decision.cloud_in_flight),
        ceiling=round(decision.ceiling * 4) / 4,
        allowed=round(decision.allowed, 4),
        cloud_limit=known.policy.cloud_limit if known.crowded else None,
        without=decision.without,
    )


def _stepped(limit: int) -> int:
    """The largest step that is not above a limit; the first steps are whole numbers."""
    if limit <= _EXACT:
        return limit
    return int(_STEP ** math.floor(math.log(limit, _STEP) + 1e-9))


def routes_of(world: World, site: str, orders: Mapping[str, Orders]) -> list[Route]:
    """A route for every service that has a Deployment at the site.

    `orders` are those for the services there, by key; where there are none nothing is held back.
    """
    return [_route(world, site, service, orders) for service in services_at(world, site)]


def services_at(world: World, site: str) -> list[InferenceService]:
    """Services that have a Deployment at a site, in order of their keys."""
    keys = {
        f"{obj['metadata']['namespace']}/{obj['metadata']['labels'][LABEL_SERVICE]}"
        for obj in world.deployments.by("site", site)
        if LABEL_SERVICE in obj["metadata"]["labels"]
    }
    found = (world.services.get(key) for key in sorted(keys))
    return [service for service in found if service is not None]


def _route(world: World, site: str, service: InferenceService, orders: Mapping[str, Orders]) -> Route:
    told = orders.get(f"{service.metadata.namespace}/{service.metadata.name}", Orders())
    target = seconds(service.spec.shift.latency.target)
    timeout = seconds(service.spec.request.timeout)
    return Route(
        namespace=service.metadata.namespace,
        service=service.metadata.name,
        backends=_backends(world, site, service, told.without),
        timeout=timeout,
        patience=min(timeout / 2, max(_LEAST_PATIENCE, _PATIENCE_TARGETS * target)),
        max_body=int(quantity(service.spec.request.max_body)),
        orders=told,
    )


def _backends(
    world: World, site: str, service: InferenceService, without: Collection[str]
) -> tuple[Backend, ...]:
    """The revision that serves here has all of the weight; the others stay known, with none.

    Pods `without` get nothing, as long as there are others.
    """
    key = f"{service.metadata.namespace}/{service.metadata.name}"
    known: dict[str, dict[str, Object]] = defaultdict(dict)
    regions, here = regions_of(service), world.sites.get(site)
    for obj in world.deployments.by("service", key):
        marks = obj["metadata"]["labels"]
        if not may_answer(world.sites.get(marks[LABEL_SITE]), regions):
            continue
        if marks[LABEL_SIDE] == SIDE_CLOUD and here is not None and here.spec.upstream is not None:
            continue
        if marks[LABEL_SIDE] == SIDE_CLOUD or marks.get(LABEL_SITE) == site:
            known[marks[LABEL_SIDE]][marks[LABEL_REVISION]] = obj
    pods = world.pods.by("service", key)
    pods = [pod for pod in pods if pod.name not in without] or pods
    # A revision's pods in the cloud may stand at several sites, and not all of them may answer.
    pods = [pod for pod in pods if may_answer(world.sites.get(pod.site), regions)]
    serving = serving_revision(pods, site, service.status.rollout.stable, known[SIDE_EDGE].keys())
    found = []
    for side in (SIDE_EDGE, SIDE_CLOUD):
        for revision, obj in sorted(known[side].items()):
            addresses = route_addresses(pods, side, revision, site if side == SIDE_EDGE else "")
            found.append(Backend(side, revision, ALL if revision == serving else 0, addresses, _port(obj)))
    upstream = upstream_of(here, regions)
    if upstream is not None:
        to = parse_upstream(upstream.url, credential=bool(upstream.credentials))
        found.append(Backend(SIDE_CLOUD, UPSTREAM, ALL, (), to.port, to))
    return tuple(found)


def port_of(world: World, key: str, pod: PodView) -> int | None:
    """The port that a pod of a service serves at; None when its Deployment is gone."""
    for obj in world.deployments.by("service", key):
        marks = obj["metadata"]["labels"]
        if (marks[LABEL_SIDE], marks[LABEL_SITE], marks[LABEL_REVISION]) == (
            pod.side,
            pod.site,
            pod.revision,
        ):
            return _port(obj)
    return None


def _port(obj: Object) -> int:
    """The port of the server that a Deployment runs."""
    return int(obj["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"])
