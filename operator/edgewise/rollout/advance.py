"""How a new revision takes the place of the old one: a pure state machine.

``advance(state, view) -> Decision``. States: nothing serves yet (no stable), Starting beside the stable
one, Promoted, RolledBack. What survives a restart of the operator is the state, in the service's status.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

STARTING: Final = "Starting"
PROMOTED: Final = "Promoted"
ROLLED_BACK: Final = "RolledBack"

#: The old revision stays this long after traffic left it, in seconds: routers have to hear of it, and
#: what is in flight has to end.
DRAIN_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class RolloutState:
    """Where a rollout stands. `since` is seconds since the epoch."""

    wanted: str = ""
    stable: str = ""
    failed: str = ""
    phase: str = ""
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class RolloutView:
    """What there is to see at `now`, in seconds since the epoch.

    `wanted_ready`: at every online site the wanted revision has the replicas that it needs there.
    """

    wanted: str
    wanted_ready: bool
    stable_exists: bool
    deadline: float
    now: float


@dataclass(frozen=True, slots=True)
class Decision:
    """The next state, and what follows from it.

    `run` are the revisions that must have replicas; `serve` is the one that gets the traffic;
    `retire` tells that every other revision may go; `look` is when to look again, in seconds.
    """

    state: RolloutState
    run: tuple[str, ...]
    serve: str
    retire: bool
    look: float | None
    overdue: bool = False


def advance(state: RolloutState, view: RolloutView) -> Decision:
    """The next step of a rollout.

    A revision that failed is not tried again until something changes. Without a stable revision there
    is nothing to go back to: the wanted one keeps trying, and is said to be overdue.
    """
    stable = state.stable if view.stable_exists else ""
    if state.wanted != view.wanted or not state.phase:
        failed = state.failed if state.failed == view.wanted else ""
        phase = PROMOTED if stable == view.wanted else ROLLED_BACK if failed else STARTING
        state = RolloutState(view.wanted, stable, failed, phase, view.now)
    state = replace(state, stable=stable)
    age = view.now - state.since
    if state.phase == PROMOTED and stable == view.wanted:
        return _promoted(state, age)
    if state.phase == ROLLED_BACK and stable:
        return Decision(state, (stable,), stable, retire=age >= DRAIN_SECONDS, look=_left(age))
    if view.wanted_ready:
        return _promoted(replace(state, stable=view.wanted, failed="", phase=PROMOTED, since=view.now), 0.0)
    if not stable:
        waiting = replace(state, phase=STARTING)
        late = age > view.deadline
        return Decision(waiting, (view.wanted,), view.wanted, retire=False, look=5.0, overdue=late)
    if age > view.deadline:
        back = replace(state, failed=view.wanted, phase=ROLLED_BACK, since=view.now)
        return Decision(back, (stable,), stable, retire=False, look=DRAIN_SECONDS)
    return Decision(
        state, (view.wanted, stable), stable, retire=False, look=max(1.0, view.deadline - age + 0.1)
    )


def _promoted(state: RolloutState, age: float) -> Decision:
    return Decision(state, (state.stable,), state.stable, retire=age >= DRAIN_SECONDS, look=_left(age))


def _left(age: float) -> float | None:
    return DRAIN_SECONDS - age + 0.1 if age < DRAIN_SECONDS else None
