"""EdgeModel: one version of a model in all the forms it is built in."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from edgewise.api.conditions import Condition
from edgewise.api.meta import (
    Duration,
    Metadata,
    Name,
    Quantity,
    Strict,
    column,
    list_map,
    rules,
)

OCI_URI_PATTERN = (
    r"^oci://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[1-9][0-9]{0,4})?"
    r"(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)+@sha256:[0-9a-f]{64}$"
)
SEMVER_PATTERN = r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?$"
Accelerator = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]


class ResourceAmounts(Strict):
    """Amounts of processor time and memory."""

    cpu: Quantity | None = Field(default=None, description="Processor time in cores, for example 500m.")
    memory: Quantity | None = Field(default=None, description="Memory in bytes, for example 512Mi.")


class Resources(Strict):
    """What one replica needs."""

    requests: ResourceAmounts = Field(default=ResourceAmounts(), description="What is set aside for it.")
    limits: ResourceAmounts = Field(default=ResourceAmounts(), description="What it may use at most.")


class Profile(Strict):
    """What one replica of a variant does on one class of accelerator, as its publisher measured it."""

    accelerator: Accelerator = Field(description="The class the figures hold for.")
    latency: Duration = Field(description="Time of one request when nothing else is in work.")
    concurrency: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1, description="Requests that one replica works on at the same time."
    )


class Variant(Strict):
    """One form of the model: a format, the bytes, and where they run."""

    name: Name = Field(description="Name of the variant, unique in the model.")
    format: Literal["onnx"] = Field(description="Format of the files; it decides which server runs them.")
    uri: Annotated[str, Field(max_length=512, pattern=OCI_URI_PATTERN)] = Field(
        description="Where the bytes are: oci://HOST/REPOSITORY@sha256:DIGEST, never a tag."
    )
    digest: Annotated[str, Field(max_length=80, pattern=r"^tree:sha256:[0-9a-f]{64}$")] = Field(
        description="Typed digest of the files; what is verified under it is what is mounted."
    )
    size: Quantity | None = Field(default=None, description="Sum of the files' sizes, for people and plans.")
    accelerators: Annotated[list[Accelerator], Field(min_length=1, max_length=16)] = Field(
        description="Accelerator classes that the variant runs on; cpu is one.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    resources: Resources = Field(default=Resources(), description="What one replica needs.")
    profile: Annotated[list[Profile], Field(max_length=16)] = Field(
        default=[],
        description="Measured figures by accelerator class.",
        json_schema_extra=list_map("accelerator"),
    )


class EdgeModelSpec(Strict):
    """One version of a model. Services that point at it by name roll out a new version by themselves."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.version != oldSelf.version || self.variants.all(v, "
                "oldSelf.variants.all(o, o.name != v.name || o.digest == v.digest))",
                "a version is one set of bytes for ever: raise spec.version together with a digest",
            ),
        )
    )

    version: Annotated[str, Field(max_length=63, pattern=SEMVER_PATTERN)] = Field(
        description="Semantic version of the model.", json_schema_extra=column("VERSION")
    )
    variants: Annotated[list[Variant], Field(min_length=1, max_length=16)] = Field(
        description="The forms the model is built in, the preferred one first.", json_schema_extra=list_map()
    )


class VariantStatus(Strict):
    """What verification said about one variant."""

    name: Annotated[str, Field(max_length=63)] = Field(description="Name of the variant.")
    digest: Annotated[str, Field(max_length=80)] = Field(description="Typed digest that was judged.")
    verified: bool = Field(description="Whether it may be mounted in this namespace.")
    reason: Annotated[str, Field(max_length=128)] = Field(default="", description="Why, in one word.")
    message: Annotated[str, Field(max_length=2048)] = Field(default="", description="Why, for people.")
    signers: Annotated[list[Annotated[str, Field(max_length=128)]], Field(max_length=16)] = Field(
        default=[], description="Authorities of the policies whose signatures counted."
    )


class Verdict(Strict):
    """A signed verdict; nodes check it before they mount a byte."""

    variant: Annotated[str, Field(max_length=63)] = Field(description="Name of the variant.")
    digest: Annotated[str, Field(max_length=80)] = Field(description="Typed digest that it is about.")
    envelope: Annotated[str, Field(max_length=262144)] = Field(description="DSSE envelope as JSON.")


class EdgeModelStatus(Strict):
    """What the operator found out about the model."""

    observed_generation: int = Field(default=0, description="Generation that was judged last.")
    conditions: Annotated[list[Condition], Field(max_length=16)] = Field(
        default=[], description="Verified and Ready, with reasons.", json_schema_extra=list_map("type")
    )
    variants: Annotated[list[VariantStatus], Field(max_length=16)] = Field(
        default=[], description="Verification by variant.", json_schema_extra=list_map()
    )
    verdicts: Annotated[list[Verdict], Field(max_length=64)] = Field(
        default=[],
        description="Signed verdicts: one a variant, and one for each digest that a kept revision needs.",
        json_schema_extra=list_map("digest"),
    )
    used_by: int = Field(
        default=0, description="Services that use the model.", json_schema_extra=column("SERVICES", "integer")
    )


class EdgeModel(Strict):
    """One version of a model in all the forms it is built in, and what was verified about it."""

    KIND: ClassVar[str] = "EdgeModel"
    PLURAL: ClassVar[str] = "edgemodels"
    SHORT: ClassVar[tuple[str, ...]] = ("em",)
    NAMESPACED: ClassVar[bool] = True
    COLUMNS: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("VERIFIED", "string", '.status.conditions[?(@.type=="Verified")].status'),
        ("READY", "string", '.status.conditions[?(@.type=="Ready")].status'),
    )

    metadata: Metadata
    spec: EdgeModelSpec
    status: EdgeModelStatus = EdgeModelStatus()
