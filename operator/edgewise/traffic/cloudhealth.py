"""Is the cloud of any help? Rule 3: what is always late or broken is taken out, and tried again.

A refused request that goes to a cloud from which nothing comes in time is lost anyway; sending it costs the
link, and its caller waits for nothing. So: when at least `ENOUGH` answers came within the last `WINDOW`
seconds and nine of ten were late or bad, the second group is closed. After `FIRST_WAIT` seconds, and then
half as long again each time up to `LONGEST_WAIT`, one request at a time may go and see. When most of what
comes back within that look is in time, the group is open again.

A cloud with no replica ready is cold, not bad: nothing is said about it here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from edgewise.traffic.policy import Way
from edgewise.traffic.signals import SideCount

WINDOW: Final = 4.0
ENOUGH: Final = 8.0
HOPELESS: Final = 0.9
HELPFUL: Final = 0.5
FIRST_WAIT, LONGEST_WAIT, LONGER = 4.0, 10.0, 1.5


@dataclass(frozen=True, slots=True)
class CloudHealth:
    """What is remembered. `until` is when a closed group is tried; `wait` what the next wait will be."""

    way: Way = Way.OPEN
    answers: float = 0.0
    bad: float = 0.0
    until: float = -math.inf
    wait: float = FIRST_WAIT

    @property
    def share_bad(self) -> float:
        """Share of the recent answers that were late or bad; 0 without answers."""
        return self.bad / self.answers if self.answers > 0 else 0.0


def judge(health: CloudHealth, cloud: SideCount, seconds: float, now: float) -> CloudHealth:
    """Take in what came back from the cloud in the last `seconds`."""
    bad = min(cloud.ended, cloud.late + cloud.failed + cloud.refused)
    fade = math.exp(-seconds / WINDOW)
    seen = replace(health, answers=health.answers * fade + cloud.ended, bad=health.bad * fade + bad)
    match health.way:
        case Way.CLOSED:
            return replace(seen, way=Way.PROBE) if now >= health.until else seen
        case Way.PROBE:
            if not cloud.ended:
                return seen
            if bad < HELPFUL * cloud.ended:
                return CloudHealth(answers=cloud.ended, bad=bad)
            return _close(seen, now)
        case _:
            hopeless = seen.answers >= ENOUGH and seen.share_bad >= HOPELESS
            return _close(replace(seen, wait=FIRST_WAIT), now) if hopeless else seen


def _close(health: CloudHealth, now: float) -> CloudHealth:
    wait = min(LONGEST_WAIT, health.wait * LONGER)
    return CloudHealth(way=Way.CLOSED, until=now + health.wait, wait=wait)
