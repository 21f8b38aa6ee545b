"""Sweeps: after a gap in a watch nobody tells what was deleted meanwhile, so look."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Final

from edgewise.cluster.client import Client
from edgewise.cluster.errors import ApiError
from edgewise.cluster.resources import NAMESPACE, NODE, OURS, Resource, key_of
from edgewise.cluster.world import World

_LOG = logging.getLogger(__name__)
#: Between two sweeps, in seconds.
PERIOD: Final = 750.0


def watched() -> dict[str, Resource]:
    """The resources that Kopf watches, by kind."""
    return {**OURS, "Node": NODE, "Namespace": NAMESPACE}


async def fill(client: Client, world: World) -> None:
    """Read everything once, so that the first pass sees a whole world."""
    for kind, resource in watched().items():
        objects, _ = await client.list(resource)
        world.own()[kind].replace(objects)


async def sweep_for_ever(client: Client, world: World) -> None:
    """Drop what is gone, every quarter of an hour or so, by lists of metadata alone."""
    while True:
        await asyncio.sleep(PERIOD * random.uniform(0.8, 1.2))  # noqa: S311 - it spreads load
        for kind, resource in watched().items():
            try:
                objects, _ = await client.list(resource, metadata_only=True)
            except ApiError as error:
                _LOG.warning("sweep of %s: %s", resource.plural, error)
                continue
            world.own()[kind].keep_only({key_of(obj) for obj in objects})
