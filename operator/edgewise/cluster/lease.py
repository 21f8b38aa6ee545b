"""One writer at a time: a Lease that gates the workers of this replica."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from edgewise.cluster.client import Client
from edgewise.cluster.errors import ApiError
from edgewise.cluster.resources import LEASE, Object

_LOG = logging.getLogger(__name__)
DURATION: Final = 15.0
RENEW: Final = 5.0


def boottime() -> float:
    """Seconds since boot, suspend included: monotonic time stands still while a machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """Holds, or waits for, the Lease `name`.

    The holder's identity is the pod's UID: a container that was killed and started again in its pod is
    the same holder and goes on at once. A lease is no fence; writes that move or remove something carry
    the resourceVersion that their decision read.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        identity: str,
        clock: Callable[[], float] = boottime,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._clock = clock
        self._renewed: float | None = None
        self._seen: tuple[str, float] | None = None
        self.acquired = asyncio.Event()

    def held(self) -> bool:
        """Whether this replica may write now."""
        return self._renewed is not None and self._clock() - self._renewed < DURATION

    async def run(self) -> None:
        """Acquire, then renew, until cancelled."""
        while True:
            began = self._clock()
            try:
                if await self._try(datetime.now(UTC)):
                    self._renewed = began
                    self.acquired.set()
            except ApiError as error:
                _LOG.warning("lease %s: %s", self._name, error)
            await asyncio.sleep(RENEW if self.held() else 2.0)

    async def release(self) -> None:
        """Let go of the lease, so that a standby need not wait."""
        if not self.held():
            return
        self._renewed = None
        live = await self._client.get(LEASE, self._namespace, self._name)
        if live and live["spec"].get("holderIdentity") == self._identity:
            await self._client.replace(live | {"spec": live["spec"] | {"holderIdentity": ""}})

    async def _try(self, now: datetime) -> bool:
        live = await self._client.get(LEASE, self._namespace, self._name)
        stamp = now.isoformat(timespec="microseconds").replace("+00:00", "Z")
        if live is None:
            await self._client.create(self._body(stamp, {}))
            return True
        spec = live["spec"]
        mine = spec.get("holderIdentity") == self._identity
        if not mine and spec.get("holderIdentity") and not self._expired(spec):
            return False
        body = self._body(stamp, spec if mine else {})
        body["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
        await self._client.replace(body)
        return True

    def _expired(self, spec: Object) -> bool:
        """Judged by our own clock since the last change that we saw: clocks of nodes may differ."""
        renewed = str(spec.get("renewTime", ""))
        if self._seen is None or self._seen[0] != renewed:
            self._seen = (renewed, self._clock())
        return self._clock() - self._seen[1] > float(spec.get("leaseDurationSeconds", DURATION))

    def _body(self, stamp: str, spec: Object) -> Object:
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": int(timedelta(seconds=DURATION).total_seconds()),
                "acquireTime": spec.get("acquireTime", stamp),
                "renewTime": stamp,
            },
        }
