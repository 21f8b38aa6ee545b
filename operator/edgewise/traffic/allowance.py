"""How much of the allowance a site has left for its edge replicas.

Law S keeps the share of late answers at the replica within what it is told. It cannot know what the cloud
answered late, nor what was refused to the caller: the router's counters can. So the operator tells it how
much of the allowance is left once those are paid for::

    spent = (bad + allowed*n0) / (all + n0)
    A     = allowed * clip(1 + GAIN * (allowed*AIM - spent) / allowed, LEAST, MOST)

bad is whatever callers did not get in time, decaying over 300 s like the count of all; n0 is 30 s of the
offered rate, as if it had been well spent.
While at least half of what the edge refuses is not answered in time elsewhere either (no cloud, a cold, a
full or a slow one), refusing more buys nothing: then A is at least HELPLESS times the allowance and at most
all of it, about where late and refused together are fewest.

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
HELPLESS: Final = 0.6
STEP: Final = 0.1
#: Memory, in seconds, for what became of refused requests.
LOST_MEMORY: Final = 5.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """What was spent, of how much (requests, decaying), and the part of the allowance last told."""

    bad: float = 0.0
    all: float = 0.0
    refused: float = 0.0
    lost: float = 0.0
    #: At first what a site without traffic is told, so that starting over tells nobody anything new.
    told: float = round((1 + GAIN * (AIM - 1)) / STEP) * STEP


def resume(told: float, allowed: float) -> Allowance:
    """An allowance as if little had been seen yet, and just that was why `told` is told.

    For an operator that starts over: without traffic it goes on to tell the same, and the first seconds of
    traffic outweigh what is made up here.
    """
    told = min(MOST, max(LEAST, told))
    spent = allowed * (AIM - (told - 1) / GAIN)
    return Allowance(bad=spent, all=1.0, told=told)


def spend(old: Allowance, count: ServiceCount, offered: float, allowed: float, seconds: float) -> Allowance:
    """Take a period in, and say anew what is left. `offered` is the smoothed rate in requests/s."""
    fade = math.exp(-seconds / MEMORY)
    short = math.exp(-seconds / LOST_MEMORY)
    seen = replace(
        old,
        bad=old.bad * fade + count.bad,
        all=old.all * fade + count.offered,
        refused=old.refused * short + count.edge.refused + count.edge.failed,
        lost=old.lost * short + count.lost + count.cloud_bad,
    )
    prior = max(offered, 1e-6) * PRIOR_SECONDS
    spent = (seen.bad + allowed * prior) / (seen.all + prior)
    part = min(MOST, max(LEAST, 1 + GAIN * (AIM * allowed - spent) / allowed))
    if seen.lost > 1 and seen.lost >= 0.5 * seen.refused:
        part = max(part, HELPLESS) if part < 1 else min(part, 1.0)
    return replace(seen, told=round(part / STEP) * STEP) if abs(part - old.told) >= STEP else seen
