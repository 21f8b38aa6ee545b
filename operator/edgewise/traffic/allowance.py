"""How much of the allowance a site has left for its edge replicas.

Law S keeps the share of late answers at the replica within what it is told. It cannot know what the cloud
answered late, nor what was refused to the caller: the router's counters can. So the operator tells it how
much of the allowance is left once those are paid for::

    spent = (bad + allowed*n0) / (all + n0)
    A     = allowed * clip(1 + GAIN * (allowed*AIM - spent) / allowed, LEAST, MOST)

bad is whatever callers did not get in time, decaying over 300 s like the count of all; n0 is 30 s of the
offered rate, as if it had been well spent.
Only steps of a tenth are told, since what is told is written somewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from edgewise.traffic.signals import ServiceCount

MEMORY: Final = 300.0
PRIOR_SECONDS: Final = 30.0
GAIN: Final = 2.0
AIM: Final = 0.9
LEAST, MOST = 0.3, 1.5
STEP: Final = 0.1


@dataclass(frozen=True, slots=True)
class Allowance:
    """What was spent, of how much (requests, decaying), and the part of the allowance last told."""

    bad: float = 0.0
    all: float = 0.0
    told: float = 1.0


def spend(old: Allowance, count: ServiceCount, offered: float, allowed: float, seconds: float) -> Allowance:
    """Take a period in, and say anew what is left. `offered` is the smoothed rate in requests/s."""
    fade = math.exp(-seconds / MEMORY)
    seen = replace(old, bad=old.bad * fade + count.bad, all=old.all * fade + count.offered)
    prior = max(offered, 1e-6) * PRIOR_SECONDS
    spent = (seen.bad + allowed * prior) / (seen.all + prior)
    part = min(MOST, max(LEAST, 1 + GAIN * (AIM * allowed - spent) / allowed))
    return replace(seen, told=round(part / STEP) * STEP) if abs(part - old.told) >= STEP else seen
