"""Nodes as placement sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from edgewise.api.meta import quantity
from edgewise.catalog.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Node:
    """One node: its labels, its accelerator classes, what pods can have of it, and how it is."""

    name: str
    labels: Mapping[str, str]
    classes: frozenset[str]
    #: Allocatable processor time in cores.
    cpu: Decimal
    #: Allocatable memory in bytes.
    memory: Decimal
    #: The kubelet reports Ready.
    ready: bool
    #: Nobody has cordoned it.
    schedulable: bool


def parse_node(obj: Mapping[str, Any], catalogue: Catalogue) -> Node:
    """A node from its object; amounts that make no sense count as zero and harm nobody else."""
    metadata, status = obj["metadata"], obj.get("status", {})
    labels = dict(metadata.get("labels") or {})
    allocatable = status.get("allocatable") or {}
    return Node(
        name=metadata["name"],
        labels=labels,
        classes=catalogue.classes(labels),
        cpu=_amount(allocatable.get("cpu")),
        memory=_amount(allocatable.get("memory")),
        ready=any(
            condition.get("type") == "Ready" and condition.get("status") == "True"
            for condition in status.get("conditions") or ()
        ),
        schedulable=not obj.get("spec", {}).get("unschedulable", False),
    )


def _amount(value: object) -> Decimal:
    try:
        return quantity(str(value))
    except ValueError:
        return Decimal(0)
