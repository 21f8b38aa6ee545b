"""RolloutPolicy: how a new revision takes the place of the old one."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from edgewise.api.meta import Duration, Metadata, Strict, column


class Rollback(Strict):
    """How to go back."""

    keep_revisions: Annotated[int, Field(ge=1, le=10)] = Field(
        default=3, description="Old revisions that are kept, so that going back needs no download."
    )


class RolloutPolicySpec(Strict):
    """How a new revision takes the place of the old one."""

    strategy: Literal["BlueGreen"] = Field(
        default="BlueGreen",
        description="BlueGreen: the new revision starts beside the old one and gets the traffic when ready.",
        json_schema_extra=column("STRATEGY"),
    )
    progress_deadline: Duration = Field(
        default="5m", description="A revision that is not ready by then is taken back."
    )
    rollback: Rollback = Field(default=Rollback(), description="How to go back.")


class RolloutPolicy(Strict):
    """How a new revision of a service takes the place of the old one."""

    KIND: ClassVar[str] = "RolloutPolicy"
    PLURAL: ClassVar[str] = "rolloutpolicies"
    SHORT: ClassVar[tuple[str, ...]] = ("rop",)
    NAMESPACED: ClassVar[bool] = True
    COLUMNS: ClassVar[tuple[tuple[str, str, str], ...]] = ()

    metadata: Metadata
    spec: RolloutPolicySpec
