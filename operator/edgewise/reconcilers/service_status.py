"""InferenceService, reported: totals and conditions from a view and a decision. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from edgewise.api import conditions as c
from edgewise.api.inferenceservice import (
    Attention,
    InferenceServiceStatus,
    ReplicaTotals,
    RolloutStatus,
    SiteTotals,
)
from edgewise.api.meta import LABEL_SIDE, LABEL_SITE, SIDE_CLOUD, SIDE_EDGE
from edgewise.placement.plan import Refused
from edgewise.reconcilers.context import stamp
from edgewise.reconcilers.readiness import ready_addresses, serving_revision
from edgewise.reconcilers.service_decide import ServiceDecision
from edgewise.reconcilers.service_view import ServiceView
from edgewise.rollout.advance import PROMOTED, ROLLED_BACK


def report(view: ServiceView, decision: ServiceDecision) -> InferenceServiceStatus:
    """The status that a pass leaves behind."""
    service, old = view.service, view.service.status
    now = stamp(datetime.fromtimestamp(view.now, UTC))
    rollout = _rollout(old.rollout, decision)
    ready_at = _ready_sites(view, rollout.stable or rollout.revision)
    serving = view.revisions.get(rollout.stable or rollout.revision)
    conditions = [
        _verified(view),
        _placed(view, decision),
        _progressing(view, decision),
        _shifting(view),
        _ready(view, ready_at),
    ]
    return InferenceServiceStatus(
        observed_generation=service.metadata.generation,
        url=f"http://{service.metadata.name}.{service.metadata.namespace}",
        version=serving.version if serving else old.version,
        conditions=c.merge(old.conditions, conditions, now),
        sites=SiteTotals(
            total=len(view.edges),
            ready=len(ready_at),
            offline=sum(not site.online for site in view.edges),
        ),
        edge_share=_edge_share(old.edge_share, view.edge_share),
        replicas=ReplicaTotals(
            edge=sum(pod.takes_requests and pod.side == SIDE_EDGE for pod in view.pods),
            cloud=sum(pod.takes_requests and pod.side == SIDE_CLOUD for pod in view.pods),
        ),
        rollout=rollout,
        attention=_attention(view, ready_at)[:50],
    )


def _rollout(old: RolloutStatus, decision: ServiceDecision) -> RolloutStatus:
    if decision.rollout is None:
        return old
    state = decision.rollout.state
    return RolloutStatus(
        revision=state.wanted,
        stable=state.stable,
        failed=state.failed,
        phase=state.phase,
        since=stamp(datetime.fromtimestamp(state.since, UTC)),
    )


def _edge_share(old: int | None, new: int | None) -> int | None:
    """Written when it moved by 5 points, or reached an end: small moves live in metrics."""
    if new is None or old is None:
        return new if new is not None else old
    return new if abs(new - old) >= 5 or (new in {0, 100} and new != old) else old


def _ready_sites(view: ServiceView, revision: str) -> list[str]:
    known = set(view.revisions)
    return [
        site.name
        for site in view.edges
        if ready_addresses(
            view.pods, SIDE_EDGE, serving_revision(view.pods, site.name, revision, known), site.name
        )
    ]


def _verified(view: ServiceView) -> c.Condition:
    generation, reference = view.service.metadata.generation, view.service.spec.model_ref
    if view.model is None:
        message = f"there is no EdgeModel {reference.name} in this namespace; what runs goes on"
        return c.condition(c.MODEL_VERIFIED, False, c.MODEL_MISSING, message, generation)
    if view.wanted is None:
        message = (
            f"model {reference.name} is at {view.model.spec.version}, and no kept revision has version "
            f"{reference.version}; what runs goes on"
        )
        return c.condition(c.MODEL_VERIFIED, False, c.VERSION_UNKNOWN, message, generation)
    if view.judgement is None:
        # An operator that has just started judges anew; until then what was said goes on to hold.
        for known in view.service.status.conditions:
            if known.type == c.MODEL_VERIFIED:
                return known
        return c.condition(c.MODEL_VERIFIED, None, c.MODEL_NOT_VERIFIED, "not judged yet", generation)
    if view.wanted.digests <= view.judgement.verified:
        message = f"{len(view.wanted.variants)} of {len(view.wanted.variants)} variants"
        return c.condition(c.MODEL_VERIFIED, True, "PolicySatisfied", message, generation)
    message = f"{view.judgement.message}; nothing new is placed, what runs goes on"
    return c.condition(c.MODEL_VERIFIED, False, c.MODEL_NOT_VERIFIED, message, generation)


def _placed(view: ServiceView, decision: ServiceDecision) -> c.Condition:
    generation = view.service.metadata.generation
    if not view.edges:
        message = (
            "spec.sites.selector selects no Edge site that allows this namespace and criticality "
            f"{view.service.spec.criticality}; look at EdgeSite.spec.allowedNamespaces"
        )
        if view.abroad:
            message += (
                f". spec.residency rules out {', '.join(sorted(view.abroad)[:8])}: see their spec.region"
            )
        return c.condition(c.PLACED, False, c.NO_SITE, message, generation)
    if decision.refused:
        message = "; ".join(refusal.message for refusal in decision.refused)
        return c.condition(c.PLACED, False, c.NO_FITTING_ACCELERATOR, message, generation)
    if decision.rollout is None or decision.unverified:
        message = "nothing new is placed: see ModelVerified"
        return c.condition(c.PLACED, False, c.MODEL_NOT_VERIFIED, message, generation)
    chosen = sorted({(server.site, server.variant.name, server.accelerator) for server in decision.servers})
    message = ", ".join(f"{site}: {variant} on {accelerator}" for site, variant, accelerator in chosen[:8])
    return c.condition(c.PLACED, True, c.ALL_PLACED, message, generation)


def _progressing(view: ServiceView, decision: ServiceDecision) -> c.Condition:
    generation, rollout = view.service.metadata.generation, decision.rollout
    if rollout is None:
        return c.condition(c.PROGRESSING, False, c.MODEL_MISSING, "no revision to roll out", generation)
    if view.policy_is_missing and view.service.spec.rollout_policy_ref:
        name = view.service.spec.rollout_policy_ref.name
        message = f"there is no RolloutPolicy {name} in this namespace; the defaults hold"
        return c.condition(c.PROGRESSING, False, c.ROLLOUT_POLICY_MISSING, message, generation)
    state = rollout.state
    if state.phase == PROMOTED:
        message = f"revision {state.stable} has the traffic"
        return c.condition(c.PROGRESSING, True, c.PROMOTED, message, generation)
    if state.phase == ROLLED_BACK:
        message = (
            f"revision {state.failed} was not ready within {view.deadline:g} s; {state.stable} has the "
            "traffic, and the failed one is not tried again until something changes"
        )
        return c.condition(c.PROGRESSING, False, c.ROLLED_BACK, message, generation)
    message = f"revision {state.wanted} starts" + (f" beside {state.stable}" if state.stable else "")
    if rollout.overdue:
        message += f"; not ready after {view.deadline:g} s"
        return c.condition(c.PROGRESSING, False, c.DEADLINE_EXCEEDED, message, generation)
    return c.condition(c.PROGRESSING, True, c.STARTING, message, generation)


def _shifting(view: ServiceView) -> c.Condition:
    generation = view.service.metadata.generation
    if view.stale_sites:
        message = (
            f"no statistics from the routers of {', '.join(view.stale_sites[:8])}; sizes stay as they are"
        )
        return c.condition(c.SHIFTING, None, c.SIGNALS_STALE, message, generation)
    share = _edge_share(view.service.status.edge_share, view.edge_share)
    remarks = "".join(f"; {remark}" for remark in view.remarks[:8])
    if view.may_spill and share is not None and share < 100:
        message = f"the cloud answers {100 - share} % of requests{remarks}"
        return c.condition(c.SHIFTING, True, c.SPILLING, message, generation)
    message = f"requests are answered at their site{remarks}"
    return c.condition(c.SHIFTING, False, c.AT_EDGE, message, generation)


def _ready(view: ServiceView, ready_at: list[str]) -> c.Condition:
    generation, total = view.service.metadata.generation, len(view.edges)
    missing = [site.name for site in view.edges if site.name not in ready_at]
    if total and not missing:
        return c.condition(c.READY, True, c.ALL_READY, f"{total} of {total} sites ready", generation)
    message = f"{len(ready_at)} of {total} sites ready" + (
        f"; not: {', '.join(missing[:8])}" if missing else ""
    )
    return c.condition(c.READY, False, c.REPLICAS_NOT_READY, message, generation)


def _attention(view: ServiceView, ready_at: list[str]) -> list[Attention]:
    found = []
    known = {site.name for site in (*view.edges, *view.clouds)}
    gone = {
        obj["metadata"]["labels"][LABEL_SITE]
        for obj in view.deployments
        if obj["metadata"]["labels"].get(LABEL_SIDE) and obj["metadata"]["labels"][LABEL_SITE] not in known
    }
    found += [Attention(site=site, reason="SiteMissing") for site in sorted(gone)]
    for site in view.edges:
        if view.wanted is not None and isinstance(view.plans.get((view.wanted.hash, site.name)), Refused):
            found.append(Attention(site=site.name, reason=c.NO_FITTING_ACCELERATOR))
        elif not site.online:
            found.append(Attention(site=site.name, reason=c.OFFLINE))
        elif site.name not in ready_at:
            found.append(Attention(site=site.name, reason=c.REPLICAS_NOT_READY))
    return found
