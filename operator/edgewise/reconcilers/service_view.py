"""InferenceService, gathered: everything one pass decides on, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from edgewise.api.edgemodel import EdgeModel, Variant
from edgewise.api.inferenceservice import InferenceService
from edgewise.api.meta import seconds
from edgewise.api.rolloutpolicy import RolloutPolicy, RolloutPolicySpec
from edgewise.cluster.resources import Object
from edgewise.cluster.views import PodView
from edgewise.fleet.sites import Site, may_answer, site_of
from edgewise.placement.plan import Demand, Placed, Refused, plan
from edgewise.reconcilers.context import Context, ModelJudgement
from edgewise.render.names import ROUTER
from edgewise.rollout import revision as revisions
from edgewise.rollout.revision import Revision
from edgewise.traffic.policy import Reason
from edgewise.traffic.sizing import Sizes

_DEFAULTS: Final = RolloutPolicySpec()


@dataclass(frozen=True, slots=True)
class ServiceView:
    """One service at `now` (seconds since the epoch), with all that a pass over it needs."""

    service: InferenceService
    model: EdgeModel | None
    judgement: ModelJudgement | None
    policy: RolloutPolicySpec
    policy_is_missing: bool
    #: Sites that the service selects and that allow it, Edge and Cloud, by name.
    edges: tuple[Site, ...]
    clouds: tuple[Site, ...]
    #: Sites that the service's residency rules out; whatever runs there goes.
    abroad: frozenset[str]
    #: The revision that is asked for; None when the model or the version is missing.
    wanted: Revision | None
    #: Every kept revision by hash, the wanted one included.
    revisions: Mapping[str, Revision]
    #: Place or refusal by (revision, site).
    plans: Mapping[tuple[str, str], Placed | Refused]
    deployments: tuple[Object, ...]
    pods: tuple[PodView, ...]
    #: (address, node) of routers that take requests at the service's sites.
    routers: tuple[tuple[str, str], ...]
    #: Sizes by site, as the traffic there asks for.
    sizes: Mapping[str, Sizes]
    edge_share: int | None
    stale_sites: tuple[str, ...]
    #: What is out of the ordinary about the traffic, as "site: reason".
    remarks: tuple[str, ...]
    now: float

    @property
    def key(self) -> str:
        """Key of the service."""
        return f"{self.service.metadata.namespace}/{self.service.metadata.name}"

    @property
    def may_spill(self) -> bool:
        """Whether requests may leave their site."""
        return self.service.spec.cloud.mode != "Never"

    @property
    def deadline(self) -> float:
        """Seconds that a new revision has to become ready."""
        return seconds(self.policy.progress_deadline)


def gather(context: Context, key: str) -> ServiceView | None:
    """Everything about a service; None when it, or its namespace, is gone."""
    world = context.world
    service = world.services.get(key)
    namespace = world.namespaces.get(key.split("/")[0])
    if service is None or namespace is None or service.metadata.deletion_timestamp:
        return None
    model_key = f"{service.metadata.namespace}/{service.spec.model_ref.name}"
    model = world.models.get(model_key)
    kept = [revisions.parse(obj["data"]) for obj in world.revisions.by("service", key)]
    wanted = _wanted(context, service, model, kept)
    selected = [
        spec
        for spec in sorted(world.sites, key=lambda spec: spec.metadata.name)
        if (spec.spec.tier == "Cloud" or service.spec.sites.selector.matches(spec.metadata.labels))
    ]
    regions = regions_of(service)
    allowed = [site_of(spec, world.nodes) for spec in selected if may_answer(spec, regions)]
    allowed = [site for site in allowed if site.allows(namespace.labels, service.spec.criticality)]
    by_hash = {revision.hash: revision for revision in kept}
    if wanted is not None:
        by_hash.setdefault(wanted.hash, wanted)
    policy, missing = _policy(context, service)
    traffic = context.traffic.get(key, {})
    offered = sum(known.state.sizes.offered for known in traffic.values())
    refused = sum(known.state.sizes.refused for known in traffic.values())
    return ServiceView(
        service=service,
        model=model,
        judgement=context.judgements.get(model_key),
        policy=policy,
        policy_is_missing=missing,
        edges=tuple(site for site in allowed if site.is_edge),
        clouds=tuple(site for site in allowed if not site.is_edge),
        abroad=frozenset(spec.metadata.name for spec in selected if not may_answer(spec, regions)),
        wanted=wanted,
        revisions=by_hash,
        plans={
            (hash_, site.name): _plan(context, service, site, revision)
            for hash_, revision in by_hash.items()
            for site in allowed
        },
        deployments=tuple(world.deployments.by("service", key)),
        pods=tuple(world.pods.by("service", key)),
        routers=tuple(
            sorted(
                (pod.address, pod.node)
                for site in allowed
                for pod in world.pods.by("site", (ROUTER, site.name))
                if pod.takes_requests
            )
        ),
        sizes={site: known.sizes for site, known in traffic.items()},
        edge_share=round(100 * max(0.0, 1 - refused / offered)) if offered > 0.5 else None,
        stale_sites=tuple(sorted(site for site, known in traffic.items() if known.stale)),
        remarks=tuple(
            f"{site}: {reason}"
            for site, known in sorted(traffic.items())
            for reason in known.decision.reasons
            if reason in REMARKABLE
        ),
        now=context.clock(),
    )


#: Reasons that a person should see in the status; the others come and go with every burst.
REMARKABLE: Final = frozenset(
    {Reason.NO_HELP, Reason.PROBING, Reason.SHORT, Reason.UNDERSIZED, Reason.SLOW, Reason.YIELDS}
)


def regions_of(service: InferenceService) -> frozenset[str] | None:
    """Regions that a service's requests may be answered in; None for anywhere."""
    residency = service.spec.residency
    return None if residency is None else frozenset(residency.regions)


def _wanted(
    context: Context, service: InferenceService, model: EdgeModel | None, kept: list[Revision]
) -> Revision | None:
    version = service.spec.model_ref.version
    if version is not None and (model is None or model.spec.version != version):
        return _known(revisions.pinned(service, version, kept), kept)
    if model is None:
        return None
    images = context.settings.images
    return _known(revisions.resolve(service, model, context.catalogue, images), kept)


def _known(revision: Revision | None, kept: list[Revision]) -> Revision | None:
    """The kept revision of the same hash, as it was made: its image and rules stay what they were."""
    if revision is None:
        return None
    same = next((old for old in kept if old.hash == revision.hash), None)
    if same is not None:
        return same
    return revision.model_copy(update={"number": max((old.number for old in kept), default=0) + 1})


def _policy(context: Context, service: InferenceService) -> tuple[RolloutPolicySpec, bool]:
    reference = service.spec.rollout_policy_ref
    if reference is None:
        return _DEFAULTS, False
    policy: RolloutPolicy | None = context.world.rollout_policies.get(
        f"{service.metadata.namespace}/{reference.name}"
    )
    return (policy.spec, False) if policy is not None else (_DEFAULTS, True)


def _plan(context: Context, service: InferenceService, site: Site, revision: Revision) -> Placed | Refused:
    """Where this revision goes at a site, given what the other services there ask for."""
    key = f"{service.metadata.namespace}/{service.metadata.name}"
    demands = [Demand(key, service.spec.criticality, tuple(revision.variants))]
    for other in context.world.services:
        name = f"{other.metadata.namespace}/{other.metadata.name}"
        if name == key or not _runs_at(context, other, site):
            continue
        demands.append(Demand(name, other.spec.criticality, _variants(context, other)))
    return plan(site, demands, context.catalogue)[key]


def _runs_at(context: Context, service: InferenceService, site: Site) -> bool:
    namespace = context.world.namespaces.get(service.metadata.namespace)
    if namespace is None or not site.allows(namespace.labels, service.spec.criticality):
        return False
    if site.is_edge:
        return service.spec.sites.selector.matches(site.spec.metadata.labels)
    return service.spec.cloud.mode != "Never"


def _variants(context: Context, service: InferenceService) -> tuple[Variant, ...]:
    model = context.world.models.get(f"{service.metadata.namespace}/{service.spec.model_ref.name}")
    return tuple(model.spec.variants) if model is not None else ()
