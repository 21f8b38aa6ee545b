"""Replicas in virtual time: a worker, a queue, a gate that refuses, and whatever breaks.

A request's end is known when it is admitted, because hangs, deaths and slow-downs follow the scenario and
not the run. So one request costs one visit and no events of its own.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from edgewise.simulate.scenario import Fault
from edgewise.traffic.admission import Admission, Period, Target, admits, step

NEVER: Final = math.inf


@dataclass(frozen=True, slots=True)
class Slowdown:
    """Service times grow evenly from once to `times` between `start` and `end`, and stay there."""

    start: float
    end: float
    times: float

    def at(self, now: float) -> float:
        """Multiple of the service time."""
        if now <= self.start:
            return 1.0
        done = 1.0 if now >= self.end else (now - self.start) / (self.end - self.start)
        return 1.0 + (self.times - 1.0) * done


@dataclass(slots=True)
class Device:
    """What does the work, one request after the other; several servers may share it. `free` is since when."""

    free: float = 0.0


@dataclass(slots=True)
class Replica:
    """One server with one worker, on a device of its own or on one that it shares.

    Attributes:
        work: mean service time in seconds.
        limit: K, requests in flight.
        ready: since when it answers; NEVER when it was taken away.
        law: state of law S, or None for a limit that somebody else sets.
        ends: when what is in flight ends, first one first.
        given_up: of those, what the router no longer waits for: (since when, when it ends).
        ended, bad: counts by the second in which an answer went out.
    """

    work: float
    limit: float
    ready: float
    law: Admission | None = None
    device: Device = field(default_factory=Device)
    hangs: Sequence[tuple[float, float]] = ()
    deaths: Sequence[tuple[float, float]] = ()
    slowdowns: Sequence[Slowdown] = ()
    ends: deque[float] = field(default_factory=deque)
    given_up: list[tuple[float, float]] = field(default_factory=list)
    ended: dict[int, int] = field(default_factory=dict)
    bad: dict[int, int] = field(default_factory=dict)
    offered: int = 0
    refused: int = 0
    answered: int = 0
    late: int = 0
    turn: float = 0.0
    """When the router chose it last; among equals the one that waits longest is next."""

    def takes(self, now: float, draw: float) -> bool:
        """Ask its gate; `draw` decides about the fraction of K."""
        self.offered += 1
        if admits(self.limit, self.in_flight(now), draw):
            return True
        self.refused += 1
        return False

    def in_flight(self, now: float) -> int:
        """Requests admitted and not yet answered, as the server itself counts them."""
        ends = self.ends
        while ends and ends[0] <= now:
            ends.popleft()
            self.answered += 1
        return len(ends)

    def seen_by_router(self, now: float) -> int:
        """The same without those whose time ran out: the router has hung up, the server has not noticed."""
        count = self.in_flight(now)
        if self.given_up:
            self.given_up = [pair for pair in self.given_up if pair[1] > now]
            count -= sum(since <= now for since, _ in self.given_up)
        return count

    def serves(self, now: float) -> bool:
        """Whether it is there: started, and not dead at the moment."""
        return self.ready <= now and not (self.deaths and any(a <= now < b for a, b in self.deaths))

    def admit(self, now: float, work: float, patience: float) -> float:
        """Take a request in and tell when it will end.

        Args:
            now: seconds.
            work: multiple of the mean service time.
            patience: seconds after which the router hangs up.
        """
        device = self.device
        start = device.free if device.free > now else now
        needed = self.work * work
        if self.slowdowns:
            for slowdown in self.slowdowns:
                needed *= slowdown.at(start)
        end = start + needed
        for begin, until in self.hangs:
            if begin <= start < until:
                end = until + needed
            elif start < begin < end:
                end += until - begin
        device.free = end
        self.ends.append(end)
        if end > now + patience:
            self.given_up.append((now + patience, end))
        return end

    def dies(self, now: float, end: float) -> float:
        """When it dies between two times; NEVER if it does not."""
        for begin, until in self.deaths:
            if begin <= end and until > now:
                self.ends = deque(each for each in self.ends if each < begin)
                self.device.free = min(self.device.free, begin)
                return max(begin, now)
        return NEVER

    def note(self, end: float, late: bool) -> None:
        """Count an answer in the second in which it goes out."""
        second = int(end)
        self.ended[second] = self.ended.get(second, 0) + 1
        if late:
            self.bad[second] = self.bad.get(second, 0) + 1

    def tick(self, second: int, target: Target) -> None:
        """Let law S see the second that has passed."""
        ended, bad = self.ended.pop(second, 0), self.bad.pop(second, 0)
        self.late += bad
        if self.law is None or self.ready > second:
            return
        period = Period(seconds=1.0, offered=self.offered, refused=self.refused, ended=ended, bad=bad)
        self.offered = self.refused = 0
        self.law = step(self.law, period, target)
        self.limit = self.law.limit


def faulted(replica: Replica, number: int, faults: Sequence[Fault]) -> Replica:
    """Give a replica the faults that the scenario has for its number."""
    mine = [fault for fault in faults if fault.replicas is None or number in fault.replicas]
    replica.hangs = [fault.during for fault in mine if fault.kind == "hang"]
    replica.deaths = [fault.during for fault in mine if fault.kind == "dead"]
    replica.slowdowns = [
        Slowdown(*fault.during, times=fault.times) for fault in mine if fault.kind == "slower"
    ]
    return replica
