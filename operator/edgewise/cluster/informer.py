"""List and watch with label selectors: what Kopf's watches cannot do."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any, Final

from edgewise.cluster.client import Client
from edgewise.cluster.errors import ApiError, GoneError
from edgewise.cluster.resources import Resource, key_of
from edgewise.cluster.store import Table

_LOG = logging.getLogger(__name__)
_BACKOFF_MAX: Final = 30.0


class Informer:
    """Keeps a table equal to what the API server has of one kind under one label selector.

    Lists once, then watches with bookmarks and resumes where a watch ended; lists again only when the
    server says that the place is too old (410). Errors back off with jitter up to 30 s.
    """

    def __init__(
        self, client: Client, resource: Resource, table: Table[Any], labels: str = "", namespace: str = ""
    ) -> None:
        self._client = client
        self._resource = resource
        self._table = table
        self._labels = labels
        self._namespace = namespace
        self._version = ""
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """List and watch until cancelled."""
        failures = 0
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                failures = 0
            except GoneError:
                self._version = ""
            except ApiError as error:
                failures += 1
                wait = random.uniform(0.5, 1.0) * min(_BACKOFF_MAX, 0.5 * 2**failures)  # noqa: S311
                _LOG.warning("watch of %s: %s; again in %.1f s", self._resource.plural, error, wait)
                await asyncio.sleep(wait)

    async def _list(self) -> None:
        objects, version = await self._client.list(self._resource, self._namespace, self._labels)
        self._table.replace(objects)
        self._version = version
        self.synced.set()

    async def _watch(self) -> None:
        async for kind, obj in self._client.watch(
            self._resource, self._version, self._namespace, self._labels
        ):
            if kind in {"ADDED", "MODIFIED"}:
                self._table.upsert(obj)
            elif kind == "DELETED":
                self._table.discard(key_of(obj))
            self._version = obj["metadata"]["resourceVersion"]
