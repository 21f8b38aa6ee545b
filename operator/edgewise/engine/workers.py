"""Workers: take a key, reconcile it, and decide when it comes again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Final

from prometheus_client import Counter, Histogram

from edgewise.cluster.errors import ApiError, ConflictError, NotLeaderError
from edgewise.engine.queue import Key, WorkQueue
from edgewise.reconcilers.contract import Reconcile, TerminalError

_LOG = logging.getLogger(__name__)
_PASSES: Final = Counter("edgewise_reconcile_total", "Passes by kind and how they ended.", ["kind", "result"])
_SECONDS: Final = Histogram(
    "edgewise_reconcile_seconds",
    "Time of a pass.",
    ["kind"],
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
)


async def work(queue: WorkQueue, reconcilers: Mapping[str, Reconcile]) -> None:
    """Reconcile keys until the queue is closed and empty."""
    while (key := await queue.get()) is not None:
        began = time.perf_counter()
        try:
            result = await _pass(queue, key, reconcilers[key.kind])
        finally:
            queue.done(key)
        _PASSES.labels(key.kind, result).inc()
        _SECONDS.labels(key.kind).observe(time.perf_counter() - began)


async def _pass(queue: WorkQueue, key: Key, reconcile: Reconcile) -> str:
    """One pass. An error of any kind costs this key a retry and nobody else anything."""
    try:
        again = await reconcile(key.name)
    except asyncio.CancelledError:
        raise
    except ConflictError:
        # Somebody wrote between our look and our write: look again, at once.
        queue.add_after(key, 0.05)
        return "conflict"
    except NotLeaderError:
        queue.add_after(key, 5.0)
        return "standby"
    except TerminalError as error:
        _LOG.error("%s %s: %s", key.kind, key.name, error)
        return "terminal"
    except ApiError as error:
        _LOG.warning("%s %s: %s; again in %.1f s", key.kind, key.name, error, queue.retry(key))
        return "error"
    except Exception:
        _LOG.exception("%s %s: unexpected; again in %.1f s", key.kind, key.name, queue.retry(key))
        return "error"
    queue.forget(key)
    if again is not None:
        queue.add_after(key, again)
    return "ok"
