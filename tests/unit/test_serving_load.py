"""The load generator against real servers: ours, and one that misbehaves as told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edgewise.traffic.admission import Target
from lab.load import Generator, Load, Step
from lab.tally import Summary, Tally
from tests.unit.serving_support import doubling_model, head, request, serving, settings, until

pytestmark = pytest.mark.enable_socket

Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scripted(speak: Speak) -> AsyncIterator[str]:
    """A server that does with each connection what `speak` does; its address as a URL."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await speak(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v2"


def answering(answer: bytes) -> Speak:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(4)
            writer.write(answer)

    return speak


async def run(load: Load) -> tuple[list[Summary], Summary]:
    generator = Generator(load)
    return [summary async for summary in generator.seconds()], generator.total


def load(url: str, rate: float = 200, seconds: float = 0.3, **changes: object) -> Load:
    common: dict[str, object] = {"body": b"1234", "target_seconds": 5.0}
    return Load(url=url, steps=[Step(rate, seconds)], **{**common, **changes})  # type: ignore[arg-type]


async def test_real_answers_of_a_real_server(tmp_path: Path) -> None:
    body = json.dumps(request([[1.0, 2.0, 3.0]])).encode()
    roomy = settings(doubling_model(tmp_path).parent, side="cloud", target=Target(5, 0.05, 64))
    async with serving(roomy) as live:
        url = f"http://127.0.0.1:{live.port}/v2/models/doubler/infer"
        seconds, total = await run(load(url, body=body))
        assert (total.failed, total.cloud, total.in_flight) == (0, 1.0, 0)
        assert total.due == total.ended == sum(second.ended for second in seconds) > 20
        assert total.p50_ms is not None
        assert await live.metric("edgewise_requests_started_total") == total.due


async def test_refusals_are_failures_by_code(tmp_path: Path) -> None:
    one = settings(doubling_model(tmp_path).parent, target=Target(5, 0.05, 1), profile_seconds=0.1)
    async with serving(one) as live, live.connection() as (_, holder):
        holder.write(head("POST", "/v2/models/doubler/infer", 5))
        await until(lambda: live.service.gate.in_flight == 1)
        _, total = await run(load(f"http://127.0.0.1:{live.port}/v2/models/doubler/infer"))
        assert total.failures == {"429": total.due}
        assert total.over_target == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nX-Edgewise-Side: cloud\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nx-edgewise-side: cloud\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx-edgewise-side: cloud\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_every_form_of_an_answer_is_understood(answer: bytes) -> None:
    async with scripted(answering(answer)) as url:
        _, total = await run(load(url))
        assert (total.failures, total.cloud) == ({}, 1.0)


async def test_broken_connections_are_counted_and_the_load_goes_on() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with scripted(hang_up) as url:
        _, total = await run(load(url))
        assert total.failures == {"connection": total.due}


async def test_nonsense_is_no_answer() -> None:
    async with scripted(answering(b"SMTP ready\r\n\r\n")) as url:
        _, total = await run(load(url))
        assert total.failures == {"connection": total.due}


async def test_what_does_not_answer_is_given_up_and_in_flight_is_bounded() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with scripted(silent) as url:
        _, total = await run(load(url, most_in_flight=5, timeout_seconds=1.0))
        assert total.failures == {"timeout": 5, "dropped": total.due - 5}


async def test_the_rate_follows_the_steps() -> None:
    async with scripted(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as url:
        quiet = Load(url=url, steps=[Step(0, 0.2), Step(300, 0.5)], body=b"1234", target_seconds=1)
        _, total = await run(quiet)
        # 150 expected: six standard deviations either way.
        assert 75 < total.due < 225


def test_shares_and_percentiles() -> None:
    tally = Tally(due=5, late=1, cloud=2, seconds=[0.4, 0.1, 0.2, 0.3])
    tally.failures["503"] = 1
    summary = tally.summary(1.0, in_flight=0)
    assert (summary.p50_ms, summary.p95_ms) == (300.0, 400.0)
    assert (summary.over_target, summary.cloud, summary.ended, summary.failed) == (0.4, 0.5, 5, 1)


@pytest.mark.parametrize(
    ("url", "rate", "words"),
    [("ftp://x/", 1, "http://"), ("http://h/", 1e9, "2000"), ("http://h/", -1, "0 to 2000")],
)
def test_a_load_without_bounds_is_refused(url: str, rate: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        load(url, rate=rate)
