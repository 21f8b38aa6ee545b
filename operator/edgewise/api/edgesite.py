"""EdgeSite: a place with nodes, and who may use it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from edgewise.api.conditions import Condition
from edgewise.api.meta import (
    DNS_LABEL_PATTERN,
    DNS_SUBDOMAIN_PATTERN,
    Metadata,
    Strict,
    column,
    list_map,
    rules,
)
from edgewise.api.selector import LabelSelector

Criticality = Literal["Critical", "High", "Normal", "BestEffort"]

#: A kubelet can set any label on its own node but these; so only they tell where a node stands.
RESTRICTED_PREFIX = "edgewise.node-restriction.kubernetes.io/"


class Upstream(Strict):
    """The cloud as an address outside the cluster."""

    url: Annotated[
        str, Field(max_length=253, pattern=r"^https?://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[1-9][0-9]{0,4})?$")
    ] = Field(description="Scheme, host and, if need be, port; for example https://inference.cloud.example.")
    region: Annotated[str, Field(max_length=63, pattern=DNS_LABEL_PATTERN)] | None = Field(
        default=None, description="Where it lies, for services with spec.residency."
    )
    credentials: Annotated[str, Field(max_length=253, pattern=DNS_SUBDOMAIN_PATTERN)] | None = Field(
        default=None,
        description="Secret in the operator's namespace; its key `authorization` is sent as that header.",
    )


class EdgeSiteSpec(Strict):
    """Which nodes make the site, and who may use it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                f"self.nodeSelector.matchLabels.all(k, k.startsWith('{RESTRICTED_PREFIX}'))",
                f"select nodes by {RESTRICTED_PREFIX} labels: a node could set any other label itself",
            ),
            (
                "!has(self.upstream) || self.tier == 'Edge'",
                "only Edge sites have an upstream; a Cloud site is where requests go",
            ),
        )
    )

    class NodeSelector(Strict):
        """Selects nodes by labels that only an administrator can set."""

        match_labels: Annotated[
            dict[Annotated[str, Field(max_length=317)], Annotated[str, Field(max_length=63)]],
            Field(min_length=1, max_length=8),
        ] = Field(description="Labels that must be there with just these values.")

    tier: Literal["Edge", "Cloud"] = Field(
        default="Edge",
        description="Edge sites serve their own callers; Cloud sites take what the edge refuses.",
        json_schema_extra=column("TIER"),
    )
    node_selector: NodeSelector = Field(description="The nodes of the site.")
    region: Annotated[str, Field(max_length=63, pattern=DNS_LABEL_PATTERN)] | None = Field(
        default=None,
        description="Where the site lies, for services with spec.residency, for example eu-de.",
    )
    upstream: Upstream | None = Field(
        default=None,
        description="Where requests that the edge refuses go instead of to Cloud sites of this cluster.",
    )
    allowed_namespaces: LabelSelector | None = Field(
        default=None, description="Namespaces whose services may run here; absent means none, {} means all."
    )
    allowed_criticalities: Annotated[list[Criticality], Field(max_length=4)] = Field(
        default=["Critical", "High", "Normal", "BestEffort"],
        description="How critical a service may be to run here.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class NodeCount(Strict):
    """Nodes of a site."""

    total: int = Field(default=0, description="Nodes that carry the site's labels.")
    ready: int = Field(
        default=0,
        description="Those of them that are Ready.",
        json_schema_extra=column("READY-NODES", "integer"),
    )


class AcceleratorCount(Strict):
    """What a site has of one accelerator class."""

    class_: Annotated[str, Field(max_length=63)] = Field(alias="class", description="Accelerator class.")
    nodes: int = Field(default=0, description="Nodes that have it.")


class EdgeSiteStatus(Strict):
    """What the operator sees at the site."""

    observed_generation: int = Field(default=0, description="Generation that was looked at last.")
    online: bool = Field(
        default=False,
        description="Whether any node of it answers.",
        json_schema_extra=column("ONLINE", "boolean"),
    )
    nodes: NodeCount = Field(default=NodeCount(), description="Nodes of the site.")
    accelerators: Annotated[list[AcceleratorCount], Field(max_length=64)] = Field(
        default=[], description="Accelerators by class.", json_schema_extra=list_map("class")
    )
    classes: Annotated[str, Field(max_length=1024)] = Field(
        default="", description="The same in one line.", json_schema_extra=column("ACCELERATORS")
    )
    conditions: Annotated[list[Condition], Field(max_length=16)] = Field(
        default=[], description="Ready, with its reason.", json_schema_extra=list_map("type")
    )


class EdgeSite(Strict):
    """A place with nodes: a plant, a shop, a mast; or the cloud."""

    KIND: ClassVar[str] = "EdgeSite"
    PLURAL: ClassVar[str] = "edgesites"
    SHORT: ClassVar[tuple[str, ...]] = ("site",)
    NAMESPACED: ClassVar[bool] = False
    COLUMNS: ClassVar[tuple[tuple[str, str, str], ...]] = ()

    metadata: Metadata
    spec: EdgeSiteSpec
    status: EdgeSiteStatus = EdgeSiteStatus()
