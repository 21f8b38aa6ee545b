"""InferenceService: a model, served at sites, with a latency target and a cloud to spill into."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from edgewise.api.conditions import Condition
from edgewise.api.edgemodel import SEMVER_PATTERN
from edgewise.api.edgesite import Criticality
from edgewise.api.meta import (
    DNS_LABEL_PATTERN,
    QUANTITY_PATTERN,
    Duration,
    Metadata,
    Name,
    Strict,
    column,
    list_map,
    rules,
)
from edgewise.api.selector import LabelSelector


class ModelRef(Strict):
    """Which model is served."""

    name: Name = Field(description="EdgeModel of the same namespace.", json_schema_extra=column("MODEL"))
    version: Annotated[str, Field(max_length=63, pattern=SEMVER_PATTERN)] | None = Field(
        default=None, description="Stay at this version; absent means the one the model has."
    )


class RolloutPolicyRef(Strict):
    """How a new revision is rolled out."""

    name: Name = Field(description="RolloutPolicy of the same namespace.")


class Replicas(Strict):
    """Bounds of a replica count."""

    model_config = ConfigDict(
        json_schema_extra=rules(("self.min <= self.max", "replicas.min must not be larger than replicas.max"))
    )

    min: Annotated[int, Field(ge=0, le=1000)] = Field(description="Never fewer.")
    max: Annotated[int, Field(ge=0, le=1000)] = Field(description="Never more.")


class Sites(Strict):
    """Where the service runs."""

    selector: LabelSelector = Field(
        description="Edge sites by their labels; {} means every Edge site that allows this namespace."
    )


class Edge(Strict):
    """The replicas at each Edge site."""

    model_config = ConfigDict(
        json_schema_extra=rules(("self.replicas.max >= 1", "edge.replicas.max must be at least 1"))
    )

    replicas: Replicas = Field(default=Replicas(min=1, max=1), description="Replicas at each site.")


class Cloud(Strict):
    """What may leave a site."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.mode == 'Never' || self.replicas.max >= 1",
                "a cloud that may be used needs cloud.replicas.max of at least 1; or write mode: Never",
            )
        )
    )

    mode: Literal["Never", "Fallback", "Burst"] = Field(
        default="Never",
        description="Never: requests stay at their site. Fallback: what the edge cannot answer at all goes "
        "to Cloud sites. Burst: what the edge refuses, too.",
    )
    replicas: Replicas = Field(default=Replicas(min=0, max=1), description="Replicas over all Cloud sites.")


class LatencyTarget(Strict):
    """How fast answers must be."""

    percentile: Annotated[int, Field(ge=50, le=99)] = Field(
        default=95, description="This percentage of answers must meet the target."
    )
    target: Duration = Field(description="Time from request to answer at the replica, for example 80ms.")


class Price(Strict):
    """What it costs to send a request to the cloud, in money or carbon, as the service weighs it."""

    per_spilled_request: Annotated[str, Field(max_length=8, pattern=r"^(0(\.[0-9]+)?|1(\.0+)?)$")] = Field(
        default="0",
        description="Late answers that one spilled request weighs as much as: 0.1 says that ten spilled "
        "requests are as bad as one late answer, so the edge may be late a little more often.",
    )


class Shift(Strict):
    """When work moves from edge to cloud."""

    latency: LatencyTarget = Field(description="How fast answers must be.")
    max_in_flight: Annotated[int, Field(ge=1, le=64)] = Field(
        default=8, description="Most requests that one edge replica admits at a time."
    )
    price: Price = Field(default=Price(), description="What spilling costs.")


class RequestLimits(Strict):
    """What one request may take."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "duration(self.timeout) >= duration('100ms') && duration(self.timeout) <= duration('1h')",
                "request.timeout must be from 100ms to 1h",
            ),
            (
                "quantity(self.maxBody).compareTo(quantity('1Ki')) >= 0 && "
                "quantity(self.maxBody).compareTo(quantity('256Mi')) <= 0",
                "request.maxBody must be from 1Ki to 256Mi",
            ),
        )
    )

    timeout: Duration = Field(
        default="30s", description="Time from request to the end of the answer, a second try included."
    )
    max_body: Annotated[str, Field(max_length=16, pattern=QUANTITY_PATTERN)] = Field(
        default="16Mi",
        description="A request with a body up to this size can be sent a second time, to the cloud; the "
        "router holds it in memory until then.",
    )


class Residency(Strict):
    """Where requests may be answered."""

    regions: Annotated[
        list[Annotated[str, Field(max_length=63, pattern=DNS_LABEL_PATTERN)]],
        Field(min_length=1, max_length=32),
    ] = Field(
        description="EdgeSite.spec.region of every site that may answer; a site that names none may not.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class InferenceServiceSpec(Strict):
    """A model, served at sites, with a latency target and a cloud to spill into."""

    model_ref: ModelRef = Field(description="Which model is served.")
    rollout_policy_ref: RolloutPolicyRef | None = Field(
        default=None, description="How a new revision is rolled out; absent means the defaults."
    )
    criticality: Criticality = Field(default="Normal", description="Who is served first when not all can be.")
    sites: Sites = Field(description="Where the service runs.")
    edge: Edge = Field(default=Edge(), description="The replicas at each Edge site.")
    cloud: Cloud = Field(default=Cloud(), description="What may leave a site.")
    shift: Shift = Field(description="When work moves from edge to cloud.")
    residency: Residency | None = Field(
        default=None, description="Where requests may be answered; absent means anywhere."
    )
    request: RequestLimits = Field(default=RequestLimits(), description="What one request may take.")


class SiteTotals(Strict):
    """Sites of the service."""

    total: int = Field(default=0, description="Selected sites.", json_schema_extra=column("SITES", "integer"))
    ready: int = Field(default=0, description="Sites with ready replicas of the serving revision.")
    offline: int = Field(default=0, description="Sites that do not answer.")


class ReplicaTotals(Strict):
    """Ready replicas of the service."""

    edge: int = Field(default=0, description="Ready replicas at Edge sites.")
    cloud: int = Field(default=0, description="Ready replicas at Cloud sites.")


class RolloutStatus(Strict):
    """Where the rollout stands; everything else is read back from children."""

    revision: Annotated[str, Field(max_length=63)] = Field(default="", description="Wanted revision.")
    stable: Annotated[str, Field(max_length=63)] = Field(default="", description="Revision with the traffic.")
    failed: Annotated[str, Field(max_length=63)] = Field(
        default="", description="Revision that was taken back; it is not tried again until something changes."
    )
    phase: Annotated[str, Field(max_length=32)] = Field(
        default="", description="Starting, Promoted or RolledBack.", json_schema_extra=column("ROLLOUT")
    )
    since: Annotated[str, Field(max_length=32)] = Field(default="", description="When the phase began.")


class Attention(Strict):
    """A site that needs a look."""

    site: Annotated[str, Field(max_length=63)] = Field(description="Name of the site.")
    reason: Annotated[str, Field(max_length=128)] = Field(description="Why.")


class InferenceServiceStatus(Strict):
    """Totals over all sites; detail lives on the children and in metrics."""

    observed_generation: int = Field(default=0, description="Generation that was acted on last.")
    url: Annotated[str, Field(max_length=256)] = Field(default="", description="Address for callers inside.")
    version: Annotated[str, Field(max_length=63)] = Field(
        default="", description="Model version with the traffic.", json_schema_extra=column("VERSION")
    )
    conditions: Annotated[list[Condition], Field(max_length=16)] = Field(
        default=[], description="Ready and what it rests on.", json_schema_extra=list_map("type")
    )
    sites: SiteTotals = Field(default=SiteTotals(), description="Sites of the service.")
    edge_share: int | None = Field(
        default=None,
        description="Percent of requests answered at the edge; written when it moved by 5 or more.",
        json_schema_extra=column("EDGE%", "integer"),
    )
    replicas: ReplicaTotals = Field(default=ReplicaTotals(), description="Ready replicas.")
    rollout: RolloutStatus = Field(default=RolloutStatus(), description="Where the rollout stands.")
    attention: Annotated[list[Attention], Field(max_length=50)] = Field(
        default=[],
        description="The worst 50 sites, reasons only.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )


class InferenceService(Strict):
    """A model, served at sites, with a latency target and a cloud to spill into."""

    KIND: ClassVar[str] = "InferenceService"
    PLURAL: ClassVar[str] = "inferenceservices"
    SHORT: ClassVar[tuple[str, ...]] = ("einf",)
    NAMESPACED: ClassVar[bool] = True
    COLUMNS: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("READY", "string", '.status.conditions[?(@.type=="Ready")].status'),
    )

    metadata: Metadata
    spec: InferenceServiceSpec
    status: InferenceServiceStatus = InferenceServiceStatus()
