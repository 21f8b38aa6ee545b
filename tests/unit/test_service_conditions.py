"""What a service says when something is wrong: a reason, numbers, and what runs goes on."""

from __future__ import annotations

from typing import Any

import pytest

from edgewise.api.conditions import Condition
from edgewise.cluster.world import World
from edgewise.reconcilers.context import Context, ModelJudgement, SiteTraffic
from edgewise.reconcilers.service_decide import ServiceDecision, decide
from edgewise.reconcilers.service_status import report
from edgewise.reconcilers.service_view import gather
from edgewise.traffic.decide import State
from edgewise.traffic.policy import Decision, Policy, Reason, Way
from edgewise.traffic.sizing import TrafficState
from lab import quickstart
from tests.unit.cluster_world import KEY, context_of, filled_world, site


def node(name: str, where: str, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"edgewise.node-restriction.kubernetes.io/site": where, **labels},
        },
        "status": {
            "allocatable": {"cpu": "4", "memory": "8Gi"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


@pytest.fixture
def context() -> Context:
    """Two sites with a node each; the model is verified."""
    world = filled_world()
    for name, tier in (("plant-1", "Edge"), ("cloud", "Cloud")):
        document = site(name, tier, None)
        document["metadata"]["labels"] = {"line": "yes"}
        world.sites.upsert(document)
        world.nodes.upsert(node(f"{name}-node", name))
    found = context_of(world)
    model = world.models.get("vision/text-detector")
    assert model is not None
    digests = frozenset(variant.digest for variant in model.spec.variants)
    found.judgements["vision/text-detector"] = ModelJudgement((), digests, "")
    return found


def said(context: Context) -> tuple[dict[str, Condition], ServiceDecision]:
    """Conditions by type, and the decision behind them."""
    view = gather(context, KEY)
    assert view is not None
    decision = decide(view)
    return {found.type: found for found in report(view, decision).conditions}, decision


def change(world: World, kind: str, **spec: Any) -> None:
    """The quickstart's object with other fields in its spec."""
    document = next(doc for doc in quickstart.manifests() if doc["kind"] == kind)
    document["spec"] |= spec
    document["metadata"]["resourceVersion"] = str(spec)
    if kind == "InferenceService":
        document["status"] = {"rollout": {"stable": "aa"}}
    world.own()[kind].upsert(document)


def test_all_is_well(context: Context) -> None:
    conditions, decision = said(context)
    assert conditions["ModelVerified"].reason == "PolicySatisfied"
    assert conditions["Placed"].reason == "AllPlaced"
    assert {server.side for server in decision.servers} == {"edge", "cloud"}


def test_a_model_that_is_missing_is_named_and_nothing_goes(context: Context) -> None:
    context.world.models.discard("vision/text-detector")
    conditions, decision = said(context)
    assert conditions["ModelVerified"].reason == "ModelMissing"
    assert "no EdgeModel text-detector" in conditions["ModelVerified"].message
    assert (decision.servers, decision.retired) == ((), ())


def test_a_version_that_nobody_has_is_named_with_the_one_there_is(context: Context) -> None:
    change(context.world, "InferenceService", modelRef={"name": "text-detector", "version": "7.0.0"})
    conditions, decision = said(context)
    assert conditions["ModelVerified"].reason == "VersionUnknown"
    assert "1.0.0" in conditions["ModelVerified"].message
    assert decision.retired == ()


def test_a_rollout_policy_that_is_missing_holds_the_rollout(context: Context) -> None:
    conditions, decision = said(context)
    assert conditions["Progressing"].reason == "RolloutPolicyMissing"
    assert "careful" in conditions["Progressing"].message
    assert decision.retired == ()


def test_a_model_that_is_refused_says_why_and_is_not_placed_anew(context: Context) -> None:
    context.judgements["vision/text-detector"] = ModelJudgement((), frozenset(), "int8: Unsigned")
    conditions, decision = said(context)
    assert conditions["ModelVerified"].reason == "ModelNotVerified"
    assert "int8: Unsigned; nothing new is placed, what runs goes on" in conditions["ModelVerified"].message
    assert (decision.servers, decision.retired) == ((), ())


def test_no_site_that_allows_the_service_says_where_to_look(context: Context) -> None:
    document = site("plant-1", "Edge", None)
    document["metadata"]["labels"] = {"line": "yes"}
    document["spec"]["allowedNamespaces"] = {"matchLabels": {"team": "payments"}}
    document["metadata"]["resourceVersion"] = "2"
    context.world.sites.upsert(document)
    conditions, decision = said(context)
    assert conditions["Placed"].reason == "NoSite"
    assert "EdgeSite.spec.allowedNamespaces" in conditions["Placed"].message
    assert decision.retired == ()


def test_no_fitting_accelerator_counts_nodes_by_what_they_lack(context: Context) -> None:
    document = next(doc for doc in quickstart.manifests() if doc["kind"] == "EdgeModel")
    for variant in document["spec"]["variants"]:
        variant["accelerators"] = ["hailo-8"]
    document["metadata"]["resourceVersion"] = "2"
    context.world.models.upsert(document)
    conditions, decision = said(context)
    assert conditions["Placed"].reason == "NoFittingAccelerator"
    assert "plant-1" in conditions["Placed"].message
    assert "hailo-8" in conditions["Placed"].message
    assert decision.servers == ()
    assert not decision.retired


def test_what_is_out_of_the_ordinary_about_the_traffic_is_said(context: Context) -> None:
    policy = Policy(target=0.08, allowed=0.05, edge_service=0.02, cloud_service=0.02, cloud_max=4)
    decision = Decision(
        edge=1,
        cloud=1,
        demand=5,
        offered=10,
        way=Way.CLOSED,
        ceiling=8,
        allowed=0.05,
        reasons=(Reason.NO_HELP, Reason.SPENT),
    )
    state = State(sizes=TrafficState(offered=10, refused=3))
    context.traffic[KEY] = {"plant-1": SiteTraffic(state, policy, decision)}
    conditions, _ = said(context)
    assert conditions["Shifting"].message == "the cloud answers 30 % of requests; plant-1: CloudNoHelp"
