"""Edge replicas that answer badly though they have little to do (rule 5: ``SlowWithoutLoad``).

Thermal throttling, a broken accelerator, a hung process: the replica is alive, refuses most of what it gets
or answers late, and the router keeps asking it. If its siblings are fine it gets no more requests.

- *Hung*: requests in flight and no answer for `HUNG_SECONDS` (or six service times, whichever is longer),
  while a sibling answered. It is back when what it had in flight has ended.
- *Slow*: K is at its floor, and still more than three times the allowed share of at least `ENOUGH` answers
  is late, while the siblings together are within the allowance. It is tried again after `RETRY_SECONDS`.

Never the last one, and never more than half of the replicas: a fault that hits most of them is no fault of
one, and law S and the cloud deal with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from edgewise.traffic.admission import FLOOR
from edgewise.traffic.policy import ReplicaSignal

HUNG_SECONDS: Final = 4.0
SERVICES: Final = 6.0
RETRY_SECONDS: Final = 60.0
ENOUGH: Final = 20.0
TIMES: Final = 3.0
#: Answers are remembered for about this many seconds.
MEMORY: Final = 15.0


@dataclass(frozen=True, slots=True)
class _Record:
    """One replica: since when it owes an answer, its recent answers, and until when it is out.

    `out_until` is None while it is in; infinity waits for the end of what hangs.
    """

    owes_since: float | None = None
    ended: float = 0.0
    late: float = 0.0
    out_until: float | None = None


@dataclass(frozen=True, slots=True)
class Watched:
    """What is remembered of every replica, by name."""

    records: Mapping[str, _Record] = field(default_factory=dict)

    @property
    def out(self) -> frozenset[str]:
        """Those that get no requests."""
        return frozenset(name for name, record in self.records.items() if record.out_until is not None)


def watch(
    old: Watched,
    replicas: Sequence[ReplicaSignal],
    service: float,
    allowed: float,
    seconds: float,
    now: float,
) -> Watched:
    """Take a look in. Replicas that are gone are forgotten.

    Args:
        old: what was remembered.
        replicas: all that are ready, also those that are out.
        service: seconds of one request.
        allowed: share over target.
        seconds: since the last look.
        now: seconds of a steady clock.
    """
    records = {
        each.name: _seen(old.records.get(each.name, _Record()), each, seconds, now) for each in replicas
    }
    records = {name: _back(record, now) for name, record in records.items()}
    inside = [each for each in replicas if records[each.name].out_until is None]
    room = len(replicas) // 2 - (len(replicas) - len(inside))
    for each in sorted(inside, key=lambda one: one.name):
        if room <= 0:
            break
        until = _verdict(each, records, service, allowed, now)
        if until is not None:
            records[each.name] = replace(records[each.name], out_until=until)
            room -= 1
    return Watched(records)


def _seen(record: _Record, signal: ReplicaSignal, seconds: float, now: float) -> _Record:
    keep = max(0.0, 1 - seconds / MEMORY)
    owes = None
    if signal.in_flight > 0 and signal.ended <= 0:
        owes = record.owes_since if record.owes_since is not None else now - seconds
    return replace(
        record,
        owes_since=owes,
        ended=record.ended * keep + signal.ended,
        late=record.late * keep + signal.late,
    )


def _back(record: _Record, now: float) -> _Record:
    """Whoever hung and answered, or was slow long enough ago, is in again, with a clean record."""
    if record.out_until is None:
        return record
    released = record.owes_since is None if record.out_until == float("inf") else now >= record.out_until
    return _Record() if released else record


def _verdict(
    signal: ReplicaSignal, records: Mapping[str, _Record], service: float, allowed: float, now: float
) -> float | None:
    """Until when the replica should be out; None when nothing is wrong with it alone."""
    mine = records[signal.name]
    siblings = [r for name, r in records.items() if name != signal.name and r.out_until is None]
    ended, late = sum(r.ended for r in siblings), sum(r.late for r in siblings)
    if not siblings or ended <= 0 or late > allowed * ended:
        return None
    if mine.owes_since is not None and now - mine.owes_since >= max(HUNG_SECONDS, SERVICES * service):
        return float("inf")
    at_floor = signal.limit <= FLOOR * 1.05
    slow = mine.ended >= ENOUGH and mine.late > TIMES * allowed * mine.ended
    return now + RETRY_SECONDS if at_floor and slow else None
