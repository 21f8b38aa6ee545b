"""Conditions of our kinds and the reasons they give: every reason is a constant in this file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import Field

from edgewise.api.meta import Strict

# Condition types -------------------------------------------------------------------------------
READY: Final = "Ready"
VERIFIED: Final = "Verified"
PLACED: Final = "Placed"
MODEL_VERIFIED: Final = "ModelVerified"
PROGRESSING: Final = "Progressing"
SHIFTING: Final = "Shifting"
ROUTER_CONFIGURED: Final = "RouterConfigured"

# EdgeModel: Verified ---------------------------------------------------------------------------
#: Every variant meets every policy that matches.
POLICY_SATISFIED: Final = "PolicySatisfied"
#: The bytes of the judgement could not be had: registry unreachable, manifest missing.
SOURCE_UNAVAILABLE: Final = "SourceUnavailable"
#: The verification process died or ran out of time; nothing is placed until it answers.
VERIFIER_FAILED: Final = "VerifierFailed"

# EdgeSite: Ready -------------------------------------------------------------------------------
#: At least one node of the site is Ready.
NODES_READY: Final = "NodesReady"
#: No node carries the site's labels.
NO_NODES: Final = "NoNodes"
#: The site has nodes and none of them answers: unknown, not gone.
OFFLINE: Final = "Offline"
#: The operator was given no router image, so no request can enter the site.
NO_ROUTER_IMAGE: Final = "NoRouterImage"

# EdgeSite: RouterConfigured --------------------------------------------------------------------
#: Every router that answers goes by the configuration that was written last.
IN_FORCE: Final = "InForce"
#: A router refused a file and goes by the last good one.
CONFIGURATION_REFUSED: Final = "ConfigurationRefused"
#: A router has not taken the configuration up yet.
CONFIGURATION_PENDING: Final = "ConfigurationPending"

# InferenceService: Placed, ModelVerified, Progressing, Ready ------------------------------------
#: modelRef names an EdgeModel that is not there.
MODEL_MISSING: Final = "ModelMissing"
#: modelRef.version names a version that neither the model nor a kept revision has.
VERSION_UNKNOWN: Final = "VersionUnknown"
#: rolloutPolicyRef names a RolloutPolicy that is not there; the rollout holds.
ROLLOUT_POLICY_MISSING: Final = "RolloutPolicyMissing"
#: The model has no verdict: it is not placed; what runs goes on.
MODEL_NOT_VERIFIED: Final = "ModelNotVerified"
#: No site is selected, or none of those selected allows this namespace.
NO_SITE: Final = "NoSite"
#: No node of a site can run any variant; the message counts nodes by reason.
NO_FITTING_ACCELERATOR: Final = "NoFittingAccelerator"
#: Every selected site has a place for the service.
ALL_PLACED: Final = "AllPlaced"
#: Every site has ready replicas of the wanted revision.
ALL_READY: Final = "AllReady"
#: Some replicas are not ready yet.
REPLICAS_NOT_READY: Final = "ReplicasNotReady"
#: A new revision starts beside the old one, which keeps the traffic until the new one is ready.
STARTING: Final = "Starting"
#: The wanted revision has the traffic everywhere.
PROMOTED: Final = "Promoted"
#: The new revision did not become ready in time; the old one kept, or got back, the traffic.
ROLLED_BACK: Final = "RolledBack"
#: No replica has become ready, and there is no older revision to go back to.
DEADLINE_EXCEEDED: Final = "ProgressDeadlineExceeded"
#: Requests are answered by the edge alone.
AT_EDGE: Final = "AtEdge"
#: A share of the requests is answered by the cloud.
SPILLING: Final = "Spilling"
#: The router's statistics could not be read; everything stays as it is.
SIGNALS_STALE: Final = "SignalsStale"


class Condition(Strict):
    """One condition of an object, as Kubernetes defines it."""

    type: Annotated[str, Field(max_length=64)] = Field(description="What the condition is about.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: Annotated[str, Field(max_length=128)] = Field(description="Why, in one word for programs.")
    message: Annotated[str, Field(max_length=2048)] = Field(
        default="", description="Why, with the numbers behind it, for people."
    )
    observed_generation: int = Field(default=0, description="The generation that was judged.")
    last_transition_time: Annotated[str, Field(max_length=32)] = Field(
        default="", description="When `status` last changed, RFC 3339."
    )


def merge(old: Sequence[Condition], new: Sequence[Condition], now: str) -> list[Condition]:
    """`new` with the transition times of `old` where the status is the same, and `now` elsewhere.

    A condition that says the same as before comes back equal, so that a no-op pass writes nothing.
    """
    before = {condition.type: condition for condition in old}
    merged = []
    for condition in new:
        known = before.get(condition.type)
        kept = known is not None and known.status == condition.status and known.last_transition_time
        time = known.last_transition_time if known is not None and kept else now
        merged.append(condition.model_copy(update={"last_transition_time": time}))
    return merged


def condition(
    type_: str, holds: bool | None, reason: str, message: str = "", generation: int = 0
) -> Condition:
    """A condition; `holds` None stands for Unknown. Messages are cut to what the schema admits."""
    status: Literal["True", "False", "Unknown"] = "Unknown" if holds is None else "True" if holds else "False"
    return Condition(
        type=type_, status=status, reason=reason, message=message[:2048], observed_generation=generation
    )
