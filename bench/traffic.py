"""One tick of the operator's traffic decisions for 1,000 (service, site) pairs, on one core.

Counted: taking counters in, deciding for every pair, and settling every pool. Not counted: reading metrics.
"""

from __future__ import annotations

import random
import statistics
import time

from edgewise.traffic.decide import State, decide, settle
from edgewise.traffic.policy import Decision, Policy, ReplicaSignal, Signals
from edgewise.traffic.signals import ServiceCount, SideCount

PAIRS, SERVICES, TICKS = 1000, 20, 30
WANTED_SECONDS = 0.2


def policy(gateway: bool) -> Policy:
    return Policy(
        target=0.08, allowed=0.05, edge_service=0.03, cloud_service=0.03, edge_min=1, edge_max=4,
        cloud_max=50, round_trip=0.025, gateway=gateway,
    )  # fmt: skip


def signals(draws: random.Random) -> Signals:
    """Three replicas that share some load, and a cloud that takes a part of it."""
    offered = draws.randint(20, 200)
    spilled = draws.randint(0, offered // 3)
    late = draws.randint(0, 5)
    return Signals(
        seconds=2.0,
        count=ServiceCount(
            SideCount(offered, offered, spilled, 0, late, offered // 2, 1),
            SideCount(spilled, spilled, 0, 0, draws.randint(0, spilled)),
            retried=spilled,
        ),
        edge_ready=3,
        cloud_ready=20,
        replicas=tuple(ReplicaSignal(f"pod-{n}", 1, offered // 3, late // 3, 2.0) for n in range(3)),
    )


def ticks(gateway: bool) -> list[float]:
    """Seconds of each tick."""
    draws = random.Random(1)
    policies = {f"{n % SERVICES}/{n}": policy(gateway) for n in range(PAIRS)}
    states = {key: State() for key in policies}
    taken = []
    for tick in range(TICKS):
        seen = {key: signals(draws) for key in policies}
        began = time.process_time()
        decisions: dict[str, dict[str, Decision]] = {}
        for key, each in policies.items():
            states[key], decision = decide(seen[key], each, states[key], 2.0 * tick)
            decisions.setdefault(key.split("/")[0], {})[key] = decision
        for pool in decisions.values():
            settle(pool, policies, replicas=50)
        taken.append(time.process_time() - began)
    return taken


def main() -> None:
    for name, gateway in (("router", False), ("gateway (law W)", True)):
        taken = sorted(ticks(gateway)[5:])
        middle, worst = statistics.median(taken), taken[-1]
        print(
            f"{name}: {PAIRS} pairs a tick: median {1000 * middle:.0f} ms, worst {1000 * worst:.0f} ms of CPU"
            f" ({middle / WANTED_SECONDS:.2f} of the {1000 * WANTED_SECONDS:.0f} ms that are wanted)"
        )


if __name__ == "__main__":
    main()
