"""The kinds of this API group, in one tuple, for the generator, the watches and the tests."""

from __future__ import annotations

from typing import ClassVar, Final, Protocol

from pydantic import BaseModel

from edgewise.api.edgemodel import EdgeModel
from edgewise.api.edgesite import EdgeSite
from edgewise.api.inferenceservice import InferenceService
from edgewise.api.rolloutpolicy import RolloutPolicy
from edgewise.api.trustpolicy import TrustPolicy


class Kind(Protocol):
    """What the generator wants to know about a kind beside its fields."""

    KIND: ClassVar[str]
    PLURAL: ClassVar[str]
    SHORT: ClassVar[tuple[str, ...]]
    NAMESPACED: ClassVar[bool]
    COLUMNS: ClassVar[tuple[tuple[str, str, str], ...]]


#: Every kind of edgewise.dev.
KINDS: Final[tuple[type[BaseModel], ...]] = (
    EdgeModel,
    InferenceService,
    RolloutPolicy,
    TrustPolicy,
    EdgeSite,
)
