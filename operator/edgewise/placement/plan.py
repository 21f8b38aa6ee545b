"""First fit: the first variant of a model that some node of a site can run.

Pure. Every refusal keeps its reason and counts nodes, in the manner of the scheduler's messages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from edgewise.api.edgemodel import Variant
from edgewise.api.meta import quantity
from edgewise.catalog.catalogue import Catalogue
from edgewise.fleet.nodes import Node
from edgewise.fleet.sites import Site

#: Who is placed first at a site.
ORDER: Final = {"Critical": 0, "High": 1, "Normal": 2, "BestEffort": 3}


@dataclass(frozen=True, slots=True)
class Demand:
    """What one service asks of a site: its variants in order of preference."""

    service: str
    criticality: str
    variants: tuple[Variant, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """A service has a place at a site: this variant, on nodes with this accelerator class."""

    variant: Variant
    accelerator: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A service has no place at a site, and why, variant by variant."""

    message: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """One variant on one class at one node, to be filtered."""

    variant: Variant
    accelerator: str
    node: Node
    free_cpu: Decimal
    free_memory: Decimal


Filter = Callable[[Candidate], str | None]


def node_is_schedulable(candidate: Candidate) -> str | None:
    """A cordoned node takes nothing new."""
    return None if candidate.node.schedulable else "is cordoned"


def class_is_there(candidate: Candidate) -> str | None:
    """The node must have the accelerator class."""
    return None if candidate.accelerator in candidate.node.classes else f"has no {candidate.accelerator}"


def cpu_suffices(candidate: Candidate) -> str | None:
    """The node must have the processor time that the variant requests."""
    missing = _requested(candidate.variant, "cpu") - candidate.free_cpu
    return f"lacks {missing} cpu" if missing > 0 else None


def memory_suffices(candidate: Candidate) -> str | None:
    """The node must have the memory that the variant requests."""
    missing = _requested(candidate.variant, "memory") - candidate.free_memory
    return f"lacks {_mebibytes(missing)} memory" if missing > 0 else None


#: Can this node run this variant? The first filter that objects gives the reason.
FILTERS: Final[tuple[Filter, ...]] = (node_is_schedulable, class_is_there, cpu_suffices, memory_suffices)


def plan(site: Site, demands: Iterable[Demand], catalogue: Catalogue) -> dict[str, Placed | Refused]:
    """A place, or a refusal, for each service at a site.

    Services are placed by criticality, then by name; each takes the first variant, in the model's order,
    that some node can run, and what one replica of it requests is taken off that node. The plan is the
    same for the same inputs, whatever their order.
    """
    free = {node.name: (node.cpu, node.memory) for node in site.nodes}
    result: dict[str, Placed | Refused] = {}
    for demand in sorted(demands, key=lambda demand: (ORDER[demand.criticality], demand.service)):
        result[demand.service] = _first_fit(site, demand, catalogue, free)
    return result


def _first_fit(
    site: Site, demand: Demand, catalogue: Catalogue, free: dict[str, tuple[Decimal, Decimal]]
) -> Placed | Refused:
    reasons = []
    for variant in demand.variants:
        for accelerator in variant.accelerators:
            if catalogue.runtime(variant.format, accelerator) is None:
                reasons.append(_no_runtime(variant, accelerator, catalogue))
                continue
            refusals: Counter[str] = Counter()
            for node in site.nodes:
                cpu, memory = free[node.name]
                candidate = Candidate(variant, accelerator, node, cpu, memory)
                reason = next((reason for check in FILTERS if (reason := check(candidate))), None)
                if reason is None:
                    free[node.name] = (
                        cpu - _requested(variant, "cpu"),
                        memory - _requested(variant, "memory"),
                    )
                    return Placed(variant, accelerator)
                refusals[reason] += 1
            counted = ", ".join(f"{count} {reason}" for reason, count in sorted(refusals.items()))
            total = len(site.nodes)
            reasons.append(f"{variant.name}: 0/{total} nodes fit" + (f" ({counted})" if counted else ""))
    return Refused(f"{site.name}: " + "; ".join(reasons))


def _no_runtime(variant: Variant, accelerator: str, catalogue: Catalogue) -> str:
    nearest = catalogue.nearest(accelerator)
    hint = f"; known classes like it: {', '.join(nearest)}" if nearest else ""
    return f"{variant.name}: no runtime runs {variant.format} on {accelerator}{hint}"


def _requested(variant: Variant, resource: str) -> Decimal:
    amount = getattr(variant.resources.requests, resource)
    return quantity(amount) if amount is not None else Decimal(0)


def _mebibytes(amount: Decimal) -> str:
    return f"{-(-amount // 2**20)}Mi"
