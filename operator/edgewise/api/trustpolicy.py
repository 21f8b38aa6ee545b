"""TrustPolicy: who may sign which models, for which namespaces."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from edgewise.api.meta import DNS_LABEL_PATTERN, Metadata, Name, Quantity, Strict, list_map, rules
from edgewise.api.selector import LabelSelector

SOURCE_PATTERN = r"^oci://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[1-9][0-9]{0,4})?(/[a-z0-9._*-]+)+$"


class Match(Strict):
    """Which models, and in which namespaces, a policy speaks about."""

    kind: Literal["Model"] = Field(default="Model", description="What is judged.")
    sources: Annotated[
        list[Annotated[str, Field(max_length=512, pattern=SOURCE_PATTERN)]],
        Field(min_length=1, max_length=32),
    ] = Field(
        description="Sources in canonical form; * stands for one path segment, ** for any number of them.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    namespaces: LabelSelector = Field(
        description="Namespaces that may use these sources; {} means every namespace."
    )


class KeyAuthority(Strict):
    """A public key."""

    pem: Annotated[
        str,
        Field(
            max_length=4096,
            pattern=r"^-----BEGIN PUBLIC KEY-----\n[A-Za-z0-9+/=\n]+-----END PUBLIC KEY-----\n?$",
        ),
    ] = Field(description="Public key in PEM: ECDSA P-256, P-384, P-521 or Ed25519.")
    not_after: (
        Annotated[str, Field(max_length=20, pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z$")] | None
    ) = Field(
        default=None,
        description="What it signed counts until then, for example 2027-01-01T00:00:00Z; absent: always.",
    )


class Authority(Strict):
    """Somebody who may sign."""

    name: Name = Field(description="Name by which requirements and evidence call this authority.")
    key: KeyAuthority = Field(description="The key that it signs with.")


class Requirement(Strict):
    """What must be proved: signatures by enough of the named authorities, each with a key of its own."""

    name: Name = Field(description="Name of the requirement, for evidence and messages.")
    any_of: Annotated[list[Name], Field(min_length=1, max_length=16)] = Field(
        description="Authorities that count.", json_schema_extra={"x-kubernetes-list-type": "set"}
    )
    threshold: Annotated[int, Field(ge=1, le=16)] = Field(
        default=1, description="How many distinct authorities, with distinct keys, must have signed."
    )


class ArtifactLimits(Strict):
    """Limits of what is looked at."""

    max_files: Annotated[int, Field(ge=1, le=100000)] = Field(
        default=10000, description="Most files in a model."
    )
    max_bytes: Quantity = Field(default="200Gi", description="Most bytes in a model.")
    max_bundle_bytes: Quantity | None = Field(
        default=None, description="Most bytes of a signature bundle; absent means 16Mi."
    )
    allowed_ignore_paths: (
        Annotated[
            list[Annotated[str, Field(min_length=1, max_length=255)]], Field(min_length=1, max_length=16)
        ]
        | None
    ) = Field(
        default=None,
        description="Files that a signature may leave out; they are never mounted. Absent means model.sig.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class Formats(Strict):
    """Which model formats may be used."""

    allow: Annotated[
        list[Annotated[str, Field(max_length=32, pattern=DNS_LABEL_PATTERN)]],
        Field(min_length=1, max_length=32),
    ] = Field(
        description="Only these; a format that runs its publisher's code has to be listed to be used.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class TrustPolicySpec(Strict):
    """Every policy that matches a model and its namespace must be satisfied; none that matches: denied."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.require.all(r, r.anyOf.all(n, self.authorities.exists(a, a.name == n)))",
                "every name in require[].anyOf must be the name of one of spec.authorities",
            ),
        )
    )

    match: Match = Field(description="Which models in which namespaces.")
    mode: Literal["Enforce", "Audit"] | None = Field(
        default=None,
        description="Enforce, which absent means: it has to hold. Audit: it is judged and reported, and "
        "neither grants nor denies.",
    )
    authorities: Annotated[list[Authority], Field(min_length=1, max_length=16)] = Field(
        description="Who may sign.", json_schema_extra=list_map()
    )
    require: Annotated[list[Requirement], Field(min_length=1, max_length=16)] = Field(
        description="What must be proved; all of it.",
        json_schema_extra=list_map()
        | rules(
            (
                "self.all(r, r.threshold <= size(r.anyOf))",
                "threshold is larger than the number of authorities in anyOf: it can never be met",
            )
        ),
    )
    formats: Formats | None = Field(
        default=None, description="Which formats may be used; absent means those that are data only."
    )
    artifact: ArtifactLimits = Field(default=ArtifactLimits(), description="Limits of what is looked at.")


class TrustPolicy(Strict):
    """Who may sign which models. Written by the security officer alone; it is also the read grant."""

    KIND: ClassVar[str] = "TrustPolicy"
    PLURAL: ClassVar[str] = "trustpolicies"
    SHORT: ClassVar[tuple[str, ...]] = ("tp",)
    NAMESPACED: ClassVar[bool] = False
    COLUMNS: ClassVar[tuple[tuple[str, str, str], ...]] = (("SOURCES", "string", ".spec.match.sources"),)

    metadata: Metadata
    spec: TrustPolicySpec
