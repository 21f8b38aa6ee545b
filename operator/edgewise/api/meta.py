"""Names that every part of edgewise shares: the API group, label keys, and value formats."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

GROUP: Final = "edgewise.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
FIELD_MANAGER: Final = "edgewise"

#: Longest name of an object of ours: children append a suffix, and labels and Service names end at 63.
MAX_NAME: Final = 40

LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "edgewise"
LABEL_COMPONENT: Final = f"{GROUP}/component"
LABEL_SERVICE: Final = f"{GROUP}/service"
LABEL_SITE: Final = f"{GROUP}/site"
LABEL_MODEL: Final = f"{GROUP}/model"
LABEL_VARIANT: Final = f"{GROUP}/variant"
LABEL_REVISION: Final = f"{GROUP}/revision"
LABEL_SIDE: Final = f"{GROUP}/side"
LABEL_STABLE: Final = f"{GROUP}/stable"
LABEL_DISCOVERED: Final = f"{GROUP}/discovered"

SIDE_EDGE: Final = "edge"
SIDE_CLOUD: Final = "cloud"

CSI_DRIVER: Final = "models.edgewise.dev"

_SUFFIXES: Final = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
}
QUANTITY_PATTERN: Final = r"^[0-9]+(\.[0-9]+)?(n|u|m|k|M|G|T|Ki|Mi|Gi|Ti)?$"
DURATION_PATTERN: Final = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$"
DNS_SUBDOMAIN_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
DNS_LABEL_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_DURATIONS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def quantity(value: str | int) -> Decimal:
    """The number that a Kubernetes quantity stands for, in base units (cores, bytes).

    Raises:
        ValueError: the text is no quantity of the kinds that our schemas admit.
    """
    text = str(value)
    if not re.match(QUANTITY_PATTERN, text):
        raise ValueError(f"{text!r} is no quantity; write for example 500m, 2 or 38Mi")
    digits = text.rstrip("numkMGTKi")
    return Decimal(digits) * _SUFFIXES[text[len(digits) :]]


def seconds(duration: str) -> float:
    """Length of a duration such as ``250ms`` or ``5m``, in seconds.

    Raises:
        ValueError: the text is no duration.
    """
    found = re.match(DURATION_PATTERN, duration)
    if not found:
        raise ValueError(f"{duration!r} is no duration; write for example 250ms, 30s or 5m")
    unit = found.group(2)
    return float(duration.removesuffix(unit)) * _DURATIONS[unit]


class Strict(BaseModel):
    """Base of every value in the API: camelCase outside, frozen inside.

    Unknown fields are ignored on reading (an operator may be older than the CRDs of its cluster);
    the API server's schema is what refuses them to users.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """CEL rules for a class or a field: pairs of (rule, what to write instead)."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


def list_map(key: str = "name") -> dict[str, Any]:
    """Mark a list as a map by `key`, so that two writers can own different items."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


def column(name: str, kind: str = "string", priority: int = 0) -> dict[str, Any]:
    """Show the field as a column of ``kubectl get``."""
    return {"x-edgewise-column": {"name": name, "type": kind, "priority": priority}}


Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME, pattern=DNS_LABEL_PATTERN)]
Quantity = Annotated[
    int | str,
    Field(
        json_schema_extra={"x-kubernetes-int-or-string": True, "pattern": QUANTITY_PATTERN, "maxLength": 32}
    ),
]
Duration = Annotated[str, Field(max_length=16, pattern=DURATION_PATTERN)]
LabelKey = Annotated[str, Field(min_length=1, max_length=317)]
LabelValue = Annotated[str, Field(max_length=63)]


class Metadata(BaseModel):
    """The part of an object's metadata that decisions read."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    deletion_timestamp: str | None = None

    @property
    def key(self) -> str:
        """``namespace/name``, or ``name`` of what has no namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name
