"""InferenceService, decided: which Deployments there should be. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from edgewise.api.meta import LABEL_REVISION, LABEL_SIDE, LABEL_SITE, SIDE_CLOUD, SIDE_EDGE
from edgewise.cluster.resources import Object
from edgewise.fleet.sites import Site
from edgewise.placement.plan import Placed, Refused
from edgewise.reconcilers.readiness import ready_addresses
from edgewise.reconcilers.service_view import ServiceView
from edgewise.render.server import Server
from edgewise.rollout.advance import Decision, RolloutState, RolloutView, advance
from edgewise.rollout.revision import Revision


@dataclass(frozen=True, slots=True)
class ServiceDecision:
    """What follows from a view.

    `servers` are wanted; `retired` are live Deployments that may go; `refused` and `unverified` tell what
    is not placed and why; nothing that runs is ever taken away because of them.
    """

    rollout: Decision | None
    servers: tuple[Server, ...] = ()
    retired: tuple[Object, ...] = ()
    #: Kept revisions that nothing needs any more.
    forgotten: tuple[str, ...] = ()
    refused: tuple[Refused, ...] = ()
    unverified: tuple[str, ...] = ()


def decide(view: ServiceView) -> ServiceDecision:
    """Which Deployments the service should have. Without a wanted revision everything stays as it is."""
    if view.wanted is None:
        return ServiceDecision(None)
    status = view.service.status.rollout
    state = RolloutState(status.revision, status.stable, status.failed, status.phase, _epoch(status.since))
    rollout = advance(
        state,
        RolloutView(
            wanted=view.wanted.hash,
            wanted_ready=_is_ready(view, view.wanted),
            stable_exists=status.stable in view.revisions,
            deadline=view.deadline,
            now=view.now,
        ),
    )
    live = {obj["metadata"]["name"] for obj in view.deployments}
    servers, refused, unverified = [], [], []
    for hash_ in rollout.run:
        for server in _servers(view, view.revisions[hash_]):
            if isinstance(server, Refused):
                refused.append(server)
            elif server.name not in live and server.variant.digest not in _verified(view):
                unverified.append(server.variant.name)
            else:
                servers.append(server)
    retired = tuple(
        obj
        for obj in view.deployments
        if obj["metadata"]["labels"][LABEL_SITE] in view.abroad
        or (obj["metadata"]["labels"][LABEL_SIDE] == SIDE_CLOUD and not _wants_cloud(view))
        or (rollout.retire and _may_go(view, rollout, obj))
    )
    return ServiceDecision(
        rollout=rollout,
        servers=tuple(servers),
        retired=retired,
        forgotten=_forgotten(view, rollout),
        refused=tuple(refused),
        unverified=tuple(dict.fromkeys(unverified)),
    )


def _servers(view: ServiceView, revision: Revision) -> Iterator[Server | Refused]:
    bounds = view.service.spec.edge.replicas
    for site in view.edges:
        wanted = (
            view.sizes[site.name].edge if site.name in view.sizes else _live_replicas(view, site, revision)
        )
        count = min(bounds.max, max(bounds.min, wanted if wanted is not None else bounds.min))
        yield _server(view, revision, site, SIDE_EDGE, count)
    if _wants_cloud(view):
        yield from _cloud_servers(view, revision)


def _wants_cloud(view: ServiceView) -> bool:
    """Whether any site sends requests to Cloud sites; those with an upstream of their own do not."""
    return view.may_spill and not (view.edges and all(site.spec.spec.upstream for site in view.edges))


def _cloud_servers(view: ServiceView, revision: Revision) -> Iterator[Server | Refused]:
    """The cloud side: all replicas at the first Cloud site that has a place."""
    bounds = view.service.spec.cloud.replicas
    total = sum(sizes.cloud for sizes in view.sizes.values())
    for site in view.clouds:
        live = _live_replicas(view, site, revision)
        wanted = total if view.sizes else live if live is not None else bounds.min
        server = _server(view, revision, site, SIDE_CLOUD, min(bounds.max, max(bounds.min, wanted)))
        if isinstance(server, Server):
            yield server
            return
    if view.clouds:
        yield Refused(f"cloud: none of {len(view.clouds)} Cloud sites has a place")
    else:
        where = " in the regions of spec.residency" if view.service.spec.residency else ""
        yield Refused(f"cloud: no EdgeSite of tier Cloud{where} allows this namespace")


def _server(view: ServiceView, revision: Revision, site: Site, side: str, replicas: int) -> Server | Refused:
    place = view.plans[(revision.hash, site.name)]
    if not isinstance(place, Placed):
        return place
    if revision.server(place.variant.format, place.accelerator) is None:
        return Refused(
            f"{site.name}: no image is set for the server of {place.variant.format} on {place.accelerator}; "
            "set it under images in the chart's values"
        )
    metadata = view.service.metadata
    return Server(
        namespace=metadata.namespace,
        service=metadata.name,
        service_uid=metadata.uid,
        criticality=view.service.spec.criticality,
        site=site.name,
        site_labels=tuple(sorted(site.spec.spec.node_selector.match_labels.items())),
        side=side,
        revision=revision,
        variant=place.variant,
        accelerator=place.accelerator,
        replicas=replicas,
    )


def _is_ready(view: ServiceView, revision: Revision) -> bool:
    """Whether a revision has what it needs at every online site that has a place for it.

    In the cloud it needs no fewer ready replicas than the stable revision has there: old capacity goes
    only when its replacement is ready.
    """
    placed = [
        site
        for site in view.edges
        if site.online and isinstance(view.plans[(revision.hash, site.name)], Placed)
    ]
    need = max(1, view.service.spec.edge.replicas.min)
    if not placed or any(
        len(ready_addresses(view.pods, SIDE_EDGE, revision.hash, site.name)) < need for site in placed
    ):
        return False
    if not _wants_cloud(view):
        return True
    stable = view.service.status.rollout.stable
    before = len(ready_addresses(view.pods, SIDE_CLOUD, stable)) if stable else 0
    return len(ready_addresses(view.pods, SIDE_CLOUD, revision.hash)) >= before


def _may_go(view: ServiceView, rollout: Decision, obj: Object) -> bool:
    """Whether a Deployment that no revision in `run` wants may be removed at its site."""
    marks = obj["metadata"]["labels"]
    if marks[LABEL_REVISION] in rollout.run:
        return False
    site = marks[LABEL_SITE]
    if marks[LABEL_SIDE] == SIDE_CLOUD:
        return True
    here = next((edge for edge in view.edges if edge.name == site), None)
    if here is None:
        return False
    return here.online and bool(ready_addresses(view.pods, SIDE_EDGE, rollout.serve, site))


def _forgotten(view: ServiceView, rollout: Decision) -> tuple[str, ...]:
    """Kept revisions beyond `keepRevisions` that neither run nor have a Deployment left."""
    used = set(rollout.run) | {obj["metadata"]["labels"][LABEL_REVISION] for obj in view.deployments}
    used.add(rollout.state.failed)
    spare = sorted(
        (revision for hash_, revision in view.revisions.items() if hash_ not in used),
        key=lambda revision: -revision.number,
    )
    return tuple(revision.hash for revision in spare[view.policy.rollback.keep_revisions :])


def _live_replicas(view: ServiceView, site: Site, revision: Revision) -> int | None:
    """Replicas as they stand, so that an operator that has just started changes nothing."""
    for obj in view.deployments:
        marks = obj["metadata"]["labels"]
        if marks[LABEL_SITE] == site.name and marks[LABEL_REVISION] == revision.hash:
            return int(obj["spec"].get("replicas", 1))
    return None


def _verified(view: ServiceView) -> frozenset[str]:
    return view.judgement.verified if view.judgement is not None else frozenset()


def _epoch(stamp: str) -> float:
    if not stamp:
        return 0.0
    return datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
