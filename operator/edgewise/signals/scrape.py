"""Asking routers for their statistics over HTTP."""

from __future__ import annotations

from typing import Final

import aiohttp

#: A router that does not answer in this time is left for the next look, in seconds.
TIMEOUT: Final = 2.0


class ScrapeError(Exception):
    """A router's statistics could not be read."""


class Scraper:
    """Fetches texts; keeps connections open between looks."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, url: str) -> str:
        """The body of `url`.

        Raises:
            ScrapeError: no connection, no answer in time, or a status other than 200.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT))
        try:
            async with self._session.get(url) as response:
                if response.status != 200:
                    raise ScrapeError(f"{url}: status {response.status}")
                return await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ScrapeError(f"{url}: {error or type(error).__name__}") from error

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
