"""What is declared about one service's traffic at one site, as the rules of `traffic` want it."""

from __future__ import annotations

from typing import Final

from edgewise.api.inferenceservice import InferenceService
from edgewise.api.meta import LABEL_SIDE, LABEL_SITE, LABEL_VARIANT, SIDE_CLOUD, SIDE_EDGE, seconds
from edgewise.cluster.world import World
from edgewise.fleet.sites import may_answer, upstream_of
from edgewise.reconcilers.service_view import regions_of
from edgewise.traffic.policy import Policy
from edgewise.traffic.sizing import TrafficState

#: Service time that is assumed when the model has no profile, as a part of the target.
_ASSUMED_PART: Final = 0.25


def policy_of(world: World, key: str, service: InferenceService, site: str) -> Policy:
    """The policy; service times are those of the variants that run there."""
    spec = service.spec
    target = seconds(spec.shift.latency.target)
    assumed = target * _ASSUMED_PART
    regions, here = regions_of(service), world.sites.get(site)
    outside = here is not None and here.spec.upstream is not None
    if outside:
        # Somebody else's replicas: none of ours to size, and no telling how many there are.
        cloud_min, cloud_max, resident = 0, 1, upstream_of(here, regions) is not None
    else:
        cloud_min, cloud_max = spec.cloud.replicas.min, spec.cloud.replicas.max
        resident = any(found.spec.tier == "Cloud" and may_answer(found, regions) for found in world.sites)
    return Policy(
        target=target,
        allowed=1 - spec.shift.latency.percentile / 100,
        edge_service=_profile(world, key, service, SIDE_EDGE, site) or assumed,
        cloud_service=_profile(world, key, service, SIDE_CLOUD, "") or assumed,
        ceiling=float(spec.shift.max_in_flight),
        edge_min=spec.edge.replicas.min,
        edge_max=spec.edge.replicas.max,
        cloud_min=cloud_min,
        cloud_max=cloud_max,
        mode=spec.cloud.mode,
        resident=resident,
        criticality=spec.criticality,
        price=float(spec.shift.price.per_spilled_request),
    )


def state_of(world: World, key: str, service: InferenceService, site: str, now: float) -> TrafficState:
    """Begin from what stands there: an operator that has just started changes nothing."""
    edge, cloud = service.spec.edge.replicas.min, service.spec.cloud.replicas.min
    for obj in world.deployments.by("service", key):
        marks, replicas = obj["metadata"]["labels"], int(obj["spec"].get("replicas", 1))
        if marks[LABEL_SIDE] == SIDE_EDGE and marks[LABEL_SITE] == site:
            edge = max(edge, replicas)
        elif marks[LABEL_SIDE] == SIDE_CLOUD:
            cloud = max(cloud, replicas)
    return TrafficState(edge=edge, edge_at=now, cloud=cloud, cloud_at=now)


def _profile(world: World, key: str, service: InferenceService, side: str, site: str) -> float | None:
    """Seconds of one request as the model's profile has it for the variant that runs there."""
    model = world.models.get(f"{service.metadata.namespace}/{service.spec.model_ref.name}")
    if model is None:
        return None
    for obj in world.deployments.by("service", key):
        marks = obj["metadata"]["labels"]
        if marks[LABEL_SIDE] != side or (site and marks[LABEL_SITE] != site):
            continue
        for variant in model.spec.variants:
            if variant.name == marks.get(LABEL_VARIANT) and variant.profile:
                return seconds(variant.profile[0].latency)
    return None
