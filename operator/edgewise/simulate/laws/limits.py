"""Admission with limits that nobody moves: the edge first, what it refuses to the cloud."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgewise.simulate.control import Orders, Setting, SiteOrders, SiteSeen
from edgewise.simulate.laws.base import KEEP_SECONDS, UTILISATION


class FixedLimit:
    """K is the same everywhere and for ever; the cloud follows what is refused, by the common rule."""

    def __init__(self, limit: float, cloud_limit: float | None = None) -> None:
        self._limit, self._cloud_limit = limit, cloud_limit
        self._cloud, self._cloud_at, self._before = 0, 0.0, (0.0, 0)

    def begin(self, setting: Setting) -> Orders:
        """The orders for ever, but for the size of the cloud."""
        self._setting = setting
        self._sites = tuple(
            SiteOrders(spill=True, limit=self._limit, replicas=site.replicas.max) for site in setting.sites
        )
        return Orders(self._sites, 0, self._cloud_limit)

    def look(self, now: float, seen: Sequence[SiteSeen] | None) -> Orders:
        """Size the cloud."""
        if seen is not None:
            then, before = self._before
            sent = sum(site.retried for site in seen)
            self._before = (now, sent)
            rate = (sent - before) / (now - then)
            wanted = math.ceil(rate * self._setting.cloud_profile / UTILISATION)
            if wanted >= self._cloud or now - self._cloud_at > KEEP_SECONDS:
                self._cloud, self._cloud_at = wanted, now
        return Orders(self._sites, self._cloud, self._cloud_limit)
