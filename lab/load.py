"""Load: requests at a given rate, whatever the answers do, and once a second what became of them.

An open loop: arrivals are a Poisson process that does not wait for answers, as many independent callers make it.
Latency counts from the moment at which a request was due, so that a slow sender cannot make a server look fast. Both
the rate and the number of requests in flight are bounded; a request that is due while the bound is reached is
counted as a failure (`dropped`), never silently left out.

    python -m lab.load --url http://198.18.0.2:8080/v2/models/detector/infer --host-header detector.shop \
        --rate 20 --seconds 10 --then 80x20 --target-ms 80 --body request.bin --json

It speaks plain HTTP/1.1 over kept connections with nothing but the standard library: sending 150 requests of 200 KB
a second must not take the processor from the servers that are under test.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from lab.httpwire import Answer, Connection, WireError, request_bytes

MOST_REQUESTS_A_SECOND = 2000.0
MOST_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Step:
    """A stretch of constant rate.

    Attributes:
        rate: requests per second.
        seconds: how long.
    """

    rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent, where, and how fast.

    Attributes:
        url: http://host:port/path.
        steps: rates, one after the other.
        body: the body of every request.
        headers: further headers; `Host` may be among them.
        target_seconds: answers after this are over target.
        most_in_flight: bound of requests in flight.
        timeout_seconds: when an answer is given up.
        seed: of the arrivals.
    """

    url: str
    steps: Sequence[Step]
    body: bytes
    target_seconds: float
    headers: Mapping[str, str] = field(default_factory=dict)
    most_in_flight: int = 256
    timeout_seconds: float = 10.0
    seed: int = 1

    def __post_init__(self) -> None:
        """Refuse what would be no load, or one without bounds."""
        for step in self.steps:
            if not 0 <= step.rate <= MOST_REQUESTS_A_SECOND:
                raise ValueError(f"rate is {step.rate:g}; wanted: 0 to {MOST_REQUESTS_A_SECOND:g} a second")
        if not self.steps or not 0 < sum(step.seconds for step in self.steps) <= MOST_SECONDS:
            raise ValueError(f"wanted: steps of {MOST_SECONDS:g} seconds at most, and at least one")
        if urlsplit(self.url).scheme != "http" or urlsplit(self.url).hostname is None:
            raise ValueError(f"url is {self.url!r}; wanted: http://host:port/path")


@dataclass(frozen=True, slots=True)
class Summary:
    """What ended within one second (or, for the total, within all of them).

    Attributes:
        second: seconds since the start, at the end of this stretch.
        due: requests that were due.
        ended: requests that ended, answered or failed.
        p50_ms: median latency of the answers of 200, in milliseconds; None without any.
        p95_ms: the 95th percentile likewise.
        over_target: share of `ended` that was late or failed, 0 to 1.
        cloud: share of the answers of 200 that the cloud gave (header `x-edgewise-side`), 0 to 1.
        failed: requests without an answer of 200.
        failures: those by HTTP status, or `timeout`, `connection`, `dropped`.
        in_flight: requests without an answer yet.
    """

    second: float
    due: int
    ended: int
    p50_ms: float | None
    p95_ms: float | None
    over_target: float
    cloud: float
    failed: int
    failures: Mapping[str, int]
    in_flight: int


@dataclass(slots=True)
class Tally:
    """Counts of one stretch, while it lasts."""

    due: int = 0
    late: int = 0
    cloud: int = 0
    seconds: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)

    def summary(self, second: float, in_flight: int) -> Summary:
        """The counts as shares and percentiles."""
        ordered = sorted(self.seconds)
        failed = self.failures.total()
        ended = len(ordered) + failed
        return Summary(
            second=round(second, 1),
            due=self.due,
            ended=ended,
            p50_ms=_percentile_ms(ordered, 0.50),
            p95_ms=_percentile_ms(ordered, 0.95),
            over_target=round((self.late + failed) / ended, 4) if ended else 0.0,
            cloud=round(self.cloud / len(ordered), 4) if ordered else 0.0,
            failed=failed,
            failures=dict(self.failures),
            in_flight=in_flight,
        )


class Generator:
    """Sends one load. `total` may be read at any time; it is complete when `seconds` has ended."""

    def __init__(self, load: Load) -> None:
        """Prepare; nothing is sent yet."""
        parts = urlsplit(load.url)
        self._load = load
        self._host, self._port = parts.hostname or "", parts.port or 80
        headers = {"Host": parts.netloc, **load.headers}
        self._request = request_bytes("POST", parts.path or "/", headers, load.body)
        self._idle: list[Connection] = []
        self._running: set[asyncio.Task[None]] = set()
        self._second = Tally()
        self._all = Tally()
        self._began = 0.0

    @property
    def total(self) -> Summary:
        """Everything so far."""
        return self._all.summary(time.monotonic() - self._began, len(self._running))

    async def seconds(self) -> AsyncIterator[Summary]:
        """Send the load; yield a summary each second, and one for what was still in flight at the end."""
        self._began = time.monotonic()
        sender = asyncio.create_task(self._send())
        try:
            due = self._began
            while not sender.done():
                due += 1.0
                await asyncio.wait({sender}, timeout=max(0.0, due - time.monotonic()))
                yield self._next()
            await sender
            if self._running:
                await asyncio.wait(set(self._running))
                yield self._next()
        finally:
            tasks = [sender, *self._running]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for connection in self._idle:
                connection.close()

    def _next(self) -> Summary:
        done, self._second = self._second, Tally()
        return done.summary(time.monotonic() - self._began, len(self._running))

    async def _send(self) -> None:
        draws = random.Random(self._load.seed)  # noqa: S311 - arrivals, not secrets
        start = self._began
        for step in self._load.steps:
            end, due = start + step.seconds, start
            while step.rate > 0 and (due := due + draws.expovariate(step.rate)) < end:
                # Sleeping at all hands the loop to the answers; a sender that is behind must do so as well.
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                self._arrive(due)
            await asyncio.sleep(max(0.0, end - time.monotonic()))
            start = end

    def _arrive(self, due: float) -> None:
        for tally in (self._second, self._all):
            tally.due += 1
        if len(self._running) >= self._load.most_in_flight:
            self._failed("dropped")
            return
        task = asyncio.create_task(self._one(due))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _one(self, due: float) -> None:
        connection: Connection | None = None
        try:
            async with asyncio.timeout(self._load.timeout_seconds):
                connection = await self._connection()
                answer = await connection.ask(self._request)
        except TimeoutError:
            self._failed("timeout")
        except (OSError, WireError):
            self._failed("connection")
        else:
            self._answered(answer, time.monotonic() - due)
            if connection.reusable:
                self._idle.append(connection)
                return
        if connection is not None:
            connection.close()

    async def _connection(self) -> Connection:
        while self._idle:
            # The one that was used last: the fewest connections stay warm.
            connection = self._idle.pop()
            if connection.reusable:
                return connection
        return await Connection.open(self._host, self._port)

    def _answered(self, answer: Answer, seconds: float) -> None:
        if answer.status != 200:
            self._failed(str(answer.status))
            return
        for tally in (self._second, self._all):
            tally.seconds.append(seconds)
            tally.late += seconds > self._load.target_seconds
            tally.cloud += answer.headers.get(b"x-edgewise-side") == b"cloud"

    def _failed(self, why: str) -> None:
        for tally in (self._second, self._all):
            tally.failures[why] += 1


def _percentile_ms(ordered: Sequence[float], share: float) -> float | None:
    if not ordered:
        return None
    return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)


def _row(summary: Summary) -> str:
    p50, p95 = (f"{ms:7.1f}" if ms is not None else "      -" for ms in (summary.p50_ms, summary.p95_ms))
    failures = " ".join(f"{why}:{count}" for why, count in sorted(summary.failures.items()))
    return (
        f"{summary.second:6.1f} s {summary.due:5d} due {summary.ended:5d} ended  p50 {p50} ms  p95 {p95} ms"
        f"  over {summary.over_target:6.1%}  cloud {summary.cloud:6.1%}  failed {summary.failed} {failures}"
    )


def _step(text: str) -> Step:
    rate, _, seconds = text.partition("x")
    return Step(rate=float(rate), seconds=float(seconds))


def _header(text: str) -> tuple[str, str]:
    name, _, value = text.partition(":")
    return name.strip(), value.strip()


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lab.load", description="Send requests at a rate.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--host-header", help="Host, when it is another than the address")
    parser.add_argument("--header", action="append", default=[], type=_header, metavar="'NAME: VALUE'")
    parser.add_argument("--rate", type=float, required=True, help="requests per second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--then", action="append", default=[], type=_step, metavar="RATExSECONDS")
    parser.add_argument("--target-ms", type=float, required=True)
    parser.add_argument("--body", type=Path, required=True, metavar="FILE")
    parser.add_argument("--most-in-flight", type=int, default=256)
    parser.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="a JSON object a line instead of text")
    return parser.parse_args(argv)


async def _main(argv: Sequence[str]) -> None:
    arguments = _arguments(argv)
    headers = dict(arguments.header)
    if arguments.host_header:
        headers["Host"] = arguments.host_header
    load = Load(
        url=arguments.url,
        steps=[Step(arguments.rate, arguments.seconds), *arguments.then],
        body=arguments.body.read_bytes(),
        headers=headers,
        target_seconds=arguments.target_ms / 1000,
        most_in_flight=arguments.most_in_flight,
        timeout_seconds=arguments.timeout,
        seed=arguments.seed,
    )
    generator = Generator(load)

    def tell(kind: str, summary: Summary) -> None:
        text = json.dumps({"kind": kind, **asdict(summary)}) if arguments.json else f"{kind:6} {_row(summary)}"
        print(text, flush=True)

    async for summary in generator.seconds():
        tell("second", summary)
    tell("total", generator.total)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(sys.argv[1:]))
