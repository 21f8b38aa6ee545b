"""A work queue with the contract of client-go's, in asyncio.

- A key is in the queue at most once, however often it is added.
- A key that is added while it is being processed gets exactly one more pass.
- `add_after` keeps the earliest due time of a key.
- Failures back off exponentially, with jitter, by key.

Contract: https://pkg.go.dev/k8s.io/client-go/util/workqueue. Metrics carry client-go's names.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from typing import Final, NamedTuple

from prometheus_client import Counter, Gauge, Histogram

_DEPTH: Final = Gauge("workqueue_depth", "Keys that wait.", ["name"])
_ADDS: Final = Counter("workqueue_adds_total", "Keys that were added.", ["name"])
_RETRIES: Final = Counter("workqueue_retries_total", "Keys that were added again after a failure.", ["name"])
_WAITED: Final = Histogram(
    "workqueue_queue_duration_seconds",
    "Time a key waited.",
    ["name"],
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30),
)
_FIRST_RETRY: Final = 0.5
_LONGEST_RETRY: Final = 120.0


class Key(NamedTuple):
    """What to reconcile: a kind and the key of an object. A name, never an event."""

    kind: str
    name: str


class WorkQueue:
    """Keys to reconcile. Belongs to one event loop, whose clock it uses."""

    def __init__(self, name: str = "edgewise", jitter: random.Random | None = None) -> None:
        self._name = name
        self._ready: OrderedDict[Key, float] = OrderedDict()
        self._processing: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, tuple[float, asyncio.TimerHandle]] = {}
        self._failures: dict[Key, int] = {}
        self._jitter = jitter or random.Random()  # noqa: S311 - it spreads load, it keeps no secret
        self._filled = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: Key) -> None:
        """Ask for a pass of `key`, as soon as a worker is free."""
        if self._closed:
            return
        self._cancel_timer(key)
        if key in self._processing:
            self._again.add(key)
        elif key not in self._ready:
            self._ready[key] = asyncio.get_running_loop().time()
            _ADDS.labels(self._name).inc()
            _DEPTH.labels(self._name).set(len(self._ready))
            self._filled.set()

    def add_after(self, key: Key, seconds: float) -> None:
        """Ask for a pass of `key` in `seconds`, unless one is due earlier anyway."""
        if self._closed or key in self._ready or key in self._again:
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        known = self._timers.get(key)
        if known is not None and known[0] <= due:
            return
        self._cancel_timer(key)
        self._timers[key] = (due, loop.call_at(due, self.add, key))

    def retry(self, key: Key) -> float:
        """Ask for another pass after a failure; returns in how many seconds it will be."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        delay = min(_LONGEST_RETRY, _FIRST_RETRY * 2.0 ** min(count, 10)) * self._jitter.uniform(0.75, 1.25)
        _RETRIES.labels(self._name).inc()
        self.add_after(key, delay)
        return delay

    def forget(self, key: Key) -> None:
        """A pass of `key` went well: its next failure starts at the shortest back-off."""
        self._failures.pop(key, None)

    async def get(self) -> Key | None:
        """The key that waits longest; it is being processed until `done`. None once closed and empty."""
        while not self._ready:
            if self._closed:
                return None
            self._filled.clear()
            await self._filled.wait()
        key, since = self._ready.popitem(last=False)
        self._processing.add(key)
        _DEPTH.labels(self._name).set(len(self._ready))
        _WAITED.labels(self._name).observe(asyncio.get_running_loop().time() - since)
        return key

    def done(self, key: Key) -> None:
        """The pass of `key` is over, well or not."""
        self._processing.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def close(self) -> None:
        """Take nothing more; `get` hands out what waits, then None."""
        self._closed = True
        for _, timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._filled.set()

    def _cancel_timer(self, key: Key) -> None:
        known = self._timers.pop(key, None)
        if known is not None:
            known[1].cancel()
