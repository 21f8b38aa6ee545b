"""One planner a cloud pool: who may send how much (rule 2), and who yields at an overloaded site (rule 6).

Grants go by criticality: a class is served before the next one gets anything. Within a class they are
max-min fair: nobody gets more than asked, and what is left of the others' shares is divided again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edgewise.traffic.admission import FLOOR
from edgewise.traffic.policy import RANK, Criticality

#: How full replicas may be planned, and how much more than its grant a site may have in flight.
UTILISATION: Final = 0.85
SLACK: Final = 1.3
#: At a site that is overloaded ceilings of others fall by this factor a look, and come back more slowly.
YIELD, RETURN = 0.8, 1.05


@dataclass(frozen=True, slots=True)
class Ask:
    """What one service at one site wants of a pool.

    Attributes:
        rate: requests/s.
        work: replica seconds of one request.
        criticality: who comes first.
    """

    rate: float
    work: float
    criticality: Criticality = "Normal"


def grant(asks: Mapping[str, Ask], capacity: float) -> dict[str, float]:
    """Rates in requests/s, by the asks' keys.

    Args:
        asks: who wants what.
        capacity: replica seconds a second that the pool can give, at most.

    Worked: capacity 1, asks of 0.5, 0.2 and 1.0 (all of work 1): grants 0.4, 0.2, 0.4. With the first
    Critical: 0.5, 0.2, 0.3.
    """
    rates = {key: 0.0 for key in asks}
    left = max(0.0, capacity)
    for rank in sorted(set(RANK.values())):
        mine = {key: ask for key, ask in asks.items() if RANK[ask.criticality] == rank}
        wants = {key: ask.rate * ask.work for key, ask in mine.items()}
        for key, share in _fair(wants, left).items():
            rates[key] = mine[key].rate if share >= wants[key] else share / mine[key].work
            left -= share
    return rates


def _fair(wants: Mapping[str, float], capacity: float) -> dict[str, float]:
    """Max-min fair shares: in order of what is wanted, each gets at most an equal part of what is left."""
    shares, left = {}, max(0.0, capacity)
    for number, key in enumerate(sorted(wants, key=lambda key: (wants[key], key))):
        shares[key] = min(wants[key], left / (len(wants) - number))
        left -= shares[key]
    return shares


def in_flight(rate: float, seconds: float) -> int:
    """Requests that a granted rate has under way when each takes that long (Little's law, with slack)."""
    return max(1, math.ceil(rate * seconds * SLACK)) if rate > 0 else 0


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One of the services that share a site: who it is, its ceiling for K and whether it is in need.

    `factor` is by what part its ceiling is lowered at present, 1 for not at all.
    """

    key: str
    criticality: Criticality
    ceiling: float
    overloaded: bool
    factor: float = 1.0


def yields(neighbours: Sequence[Neighbour]) -> dict[str, float]:
    """New factors by key: the least critical service makes room for those above it, Critical ones never do.

    One class yields at a time: only when the least critical one is at the floor does the next begin. When
    nobody is in need, all come back step by step.
    """
    factors = {each.key: each.factor for each in neighbours}
    needy = [RANK[each.criticality] for each in neighbours if each.overloaded]
    if not needy:
        return {key: min(1.0, factor * RETURN) for key, factor in factors.items()}
    most = min(needy)
    below = [each for each in neighbours if RANK[each.criticality] > most and each.criticality != "Critical"]
    with_room = [each for each in below if each.ceiling * each.factor > FLOOR]
    if with_room:
        least = max(RANK[each.criticality] for each in with_room)
        for each in with_room:
            if RANK[each.criticality] == least:
                factors[each.key] = max(FLOOR / each.ceiling, each.factor * YIELD)
    return factors
