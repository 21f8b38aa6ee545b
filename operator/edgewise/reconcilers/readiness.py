"""Which pods take requests: pure questions about pods, asked by several reconcilers."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from edgewise.api.meta import SIDE_EDGE
from edgewise.cluster.views import PodView


def ready_addresses(pods: Iterable[PodView], side: str, revision: str, site: str = "") -> tuple[str, ...]:
    """Addresses of pods of a side and revision that take requests; at one site, when one is named."""
    return tuple(
        sorted(
            pod.address
            for pod in pods
            if pod.takes_requests
            and pod.side == side
            and pod.revision == revision
            and (not site or pod.site == site)
        )
    )


def route_addresses(pods: Collection[PodView], side: str, revision: str, site: str = "") -> tuple[str, ...]:
    """Addresses for a router: ready pods; when there is none, the pods that may come back at theirs.

    A router sends a request that finds nobody there to the other side at once (connection refused), and
    needs no word from the operator for it, neither when a pod dies nor when it is back.
    """
    ready = ready_addresses(pods, side, revision, site)
    if ready:
        return ready
    return tuple(
        sorted(
            pod.address
            for pod in pods
            if pod.address
            and not pod.terminating
            and pod.side == side
            and pod.revision == revision
            and (not site or pod.site == site)
        )
    )


def serving_revision(pods: Collection[PodView], site: str, stable: str, known: Collection[str]) -> str:
    """The revision that gets a site's requests: the stable one when it is ready there, else another that is.

    A site that comes back in the middle of a rollout serves with what it has. When nothing is ready the
    stable one keeps the weight, so that its pods are used as soon as they are.
    """
    if ready_addresses(pods, SIDE_EDGE, stable, site):
        return stable
    others = [revision for revision in sorted(known) if ready_addresses(pods, SIDE_EDGE, revision, site)]
    if others:
        return others[0]
    return stable or next(iter(sorted(known)), "")
