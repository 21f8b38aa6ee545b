"""TrustPolicy: who may sign which models, for which namespaces."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from edgewise.api.meta import Metadata, Name, Quantity, Strict, list_map, rules
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
