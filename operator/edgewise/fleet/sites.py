"""Sites: which nodes make them, who may use them, and sites found by labels alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from edgewise.api.edgesite import RESTRICTED_PREFIX, EdgeSite, Upstream
from edgewise.fleet.nodes import Node

#: The labels that tell where a node stands. A kubelet cannot set them on itself (NodeRestriction).
SITE_LABEL: Final = f"{RESTRICTED_PREFIX}site"
TIER_LABEL: Final = f"{RESTRICTED_PREFIX}tier"


@dataclass(frozen=True, slots=True)
class Site:
    """A site and its nodes, as they are now."""

    spec: EdgeSite
    nodes: tuple[Node, ...]

    @property
    def name(self) -> str:
        """Name of the EdgeSite."""
        return self.spec.metadata.name

    @property
    def is_edge(self) -> bool:
        """Whether it serves its own callers, rather than taking what others refuse."""
        return self.spec.spec.tier == "Edge"

    @property
    def online(self) -> bool:
        """Whether any node of it answers. A site that does not is unknown, not gone."""
        return any(node.ready for node in self.nodes)

    def allows(self, namespace: Mapping[str, str], criticality: str) -> bool:
        """Whether services of a namespace with these labels, and this criticality, may run here."""
        allowed = self.spec.spec.allowed_namespaces
        return (
            allowed is not None
            and allowed.matches(namespace)
            and criticality in self.spec.spec.allowed_criticalities
        )


def may_answer(site: EdgeSite | None, regions: Collection[str] | None) -> bool:
    """Whether requests that must stay in `regions` may be answered at a site; None stands for anywhere.

    A site that is gone, or names no region, is in none.
    """
    return regions is None or (site is not None and site.spec.region in regions)


def upstream_of(site: EdgeSite | None, regions: Collection[str] | None) -> Upstream | None:
    """The address outside the cluster that a site's requests may go to; None when it has none there."""
    upstream = site.spec.upstream if site is not None else None
    if upstream is None or (regions is not None and upstream.region not in regions):
        return None
    return upstream


def site_of(spec: EdgeSite, nodes: Iterable[Node]) -> Site:
    """A site with those of `nodes` that carry its labels, in order of their names."""
    wanted = spec.spec.node_selector.match_labels
    mine = [node for node in nodes if all(node.labels.get(key) == value for key, value in wanted.items())]
    return Site(spec, tuple(sorted(mine, key=lambda node: node.name)))


@dataclass(frozen=True, slots=True)
class Discovered:
    """A site that nobody declared: nodes that share a trusted label."""

    name: str
    tier: str


def discover(nodes: Iterable[Node], declared: Iterable[EdgeSite]) -> tuple[Discovered, ...]:
    """Sites that the nodes' trusted labels tell of and no EdgeSite selects or names, by name.

    Tier comes from the trusted tier label, else Edge.
    """
    sites = list(declared)
    names = {site.metadata.name for site in sites}
    found: dict[str, str] = {}
    for node in nodes:
        name = node.labels.get(SITE_LABEL)
        if not name or name in names:
            continue
        if any(site_of(site, [node]).nodes for site in sites):
            continue
        tier = "Cloud" if node.labels.get(TIER_LABEL) == "Cloud" else "Edge"
        found[name] = tier
    return tuple(Discovered(name, found[name]) for name in sorted(found))
