"""A token bucket, so that one operator never floods an API server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class TokenBucket:
    """Admits `rate` requests/s in the long run and `burst` at once; waiters are served in order."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._clock = clock
        self._tokens = float(burst)
        self._at = clock()
        self._lock = asyncio.Lock()

    def delay(self) -> float:
        """Take a token and return how long its taker has to wait for it, in seconds."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        self._tokens -= 1.0
        return max(0.0, -self._tokens / self._rate)

    async def take(self) -> None:
        """Wait for a token."""
        async with self._lock:
            wait = self.delay()
            if wait > 0:
                await asyncio.sleep(wait)
