"""The first decision about a service's traffic at a site: what stands there already.

An operator that has just started knows no rates yet. It goes on from the replicas that run and from what
its routers tell the servers, so that starting over changes nothing.
"""

from __future__ import annotations

from edgewise.api.inferenceservice import InferenceService
from edgewise.reconcilers.context import Context, SiteTraffic
from edgewise.reconcilers.traffic_policy import policy_of, state_of
from edgewise.render.orders import Orders, standing_orders
from edgewise.render.router import router_name
from edgewise.traffic.allowance import resume
from edgewise.traffic.decide import State, decide, priced


def traffic_of(context: Context, key: str, service: InferenceService, site: str) -> SiteTraffic:
    """What is known of a service's traffic at a site; at first, what stands there."""
    known = context.traffic.setdefault(key, {})
    if site not in known:
        known[site] = _start(context, key, service, site)
    return known[site]


def _start(context: Context, key: str, service: InferenceService, site: str) -> SiteTraffic:
    world, now = context.world, context.clock()
    policy = policy_of(world, key, service, site)
    standing = _standing(context, key, site)
    state = State(sizes=state_of(world, key, service, site, now))
    if standing.allowed is not None:
        told = standing.allowed / (policy.allowed * priced(policy))
        state = State(sizes=state.sizes, allowance=resume(told, policy.allowed))
    state, decision = decide(None, policy, state, now)
    here = world.sites.get(site)
    return SiteTraffic(
        state,
        policy,
        decision,
        outside=here is not None and here.spec.upstream is not None,
        crowded=standing.cloud_limit is not None,
        at=now,
    )


def _standing(context: Context, key: str, site: str) -> Orders:
    config = context.world.config_maps.get(f"{context.settings.namespace}/{router_name(site)}")
    try:
        return standing_orders(config["data"]["rds.json"])[key] if config is not None else Orders()
    except (KeyError, TypeError, IndexError, ValueError):
        return Orders()
