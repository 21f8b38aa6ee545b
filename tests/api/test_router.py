"""The rendered configuration in a real Envoy on loopback: servers that refuse, fail, hang or are gone."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from edgewise.render import envoy, envoy_bootstrap
from edgewise.render.envoy import Backend, Orders, Route
from edgewise.signals.envoy import PATH, InForce, counts, in_force
from edgewise.traffic.policy import Way
from lab import toolchain
from lab.progress import Silent
from lab.settings import Layout
from lab.toolchain import Toolchain

pytestmark = pytest.mark.cluster
HOST = "line.vision"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A server of a service, and what it was asked."""

    port: int
    bodies: list[bytes]


@asynccontextmanager
async def server(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[Server]:
    bodies: list[bytes] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        bodies.append(await request.read())
        return await answer(request)

    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield Server(port, bodies)
    finally:
        await runner.cleanup()


def says(status: int, text: str = "", **headers: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text, headers=headers)

    return answer


async def hangs(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(3600)
    return web.Response()


class Router:
    """An Envoy that follows rendered files."""

    def __init__(self, folder: Path, port: int, admin: int) -> None:
        self._folder = folder
        self._port = port
        self._admin = admin
        self._session = aiohttp.ClientSession()

    def write(self, routes: Sequence[Route]) -> dict[str, str]:
        """Put files into place as a ConfigMap's mount does: a link that is swapped."""
        files = envoy.files(routes)
        self.put(files)
        return envoy.versions(files)

    def put(self, files: dict[str, str]) -> None:
        number = sum(entry.name.startswith("..v") for entry in self._folder.iterdir())
        fresh = self._folder / f"..v{number}"
        fresh.mkdir()
        for name, text in files.items():
            (fresh / name).write_text(text)
            link = self._folder / name
            if not link.is_symlink():
                link.symlink_to(Path("..data") / name)
        swap = self._folder / "..data_tmp"
        swap.symlink_to(fresh.name)
        swap.replace(self._folder / "..data")

    async def statistics(self) -> str:
        async with self._session.get(f"http://127.0.0.1:{self._admin}{PATH}") as response:
            return await response.text()

    async def until(self, condition: Callable[[InForce], bool]) -> InForce:
        async with asyncio.timeout(20):
            while True:
                try:
                    found = in_force(await self.statistics())
                except aiohttp.ClientError:
                    found = InForce({}, 0)
                if condition(found):
                    return found
                await asyncio.sleep(0.02)

    async def ask(self, body: bytes = b"picture", **headers: str) -> tuple[int, str, Mapping[str, str]]:
        async with self._session.post(
            f"http://127.0.0.1:{self._port}/v2/models/m/infer", data=body, headers={"Host": HOST, **headers}
        ) as response:
            return response.status, await response.text(), response.headers

    async def close(self) -> None:
        await self._session.close()


@pytest.fixture
async def router(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Router]:
    folder = tmp_path / "router"
    folder.mkdir()
    port, admin, stats = free_port(), free_port(), free_port()
    monkeypatch.setattr(envoy_bootstrap, "FOLDER", str(folder))
    monkeypatch.setattr(envoy_bootstrap, "ADMIN_PORT", admin)
    monkeypatch.setattr(envoy_bootstrap, "STATS_PORT", stats)
    monkeypatch.setattr(envoy, "ROUTER_PORT", port)
    program = Toolchain(Layout.from_environment(dict(os.environ)).cache, Silent()).path(toolchain.ENVOY)
    found = Router(folder, port, stats)
    wanted = found.write([])
    arguments = ("--concurrency", "1", "--use-dynamic-base-id", "--log-level", "error")
    process = await asyncio.create_subprocess_exec(
        program, "--config-yaml", envoy_bootstrap.bootstrap(), *arguments
    )
    try:
        await found.until(lambda state: state.versions.items() >= wanted.items())
        yield found
    finally:
        await found.close()
        process.kill()
        await process.wait()


def backend(side: str, port: int, weight: int = 1000, revision: str = "aa") -> Backend:
    return Backend(side, revision, weight, ("127.0.0.1",), port)


async def follow(router: Router, *backends: Backend, orders: Orders | None = None, **more: float) -> None:
    """Wait until a service with these backends is in force."""
    route = Route(
        "vision",
        "line",
        backends,
        timeout=4.0,
        patience=more.get("patience", 5.0),
        max_body=int(more.get("max_body", 1 << 20)),
        orders=orders or Orders(),
    )
    wanted = router.write([route])
    await router.until(lambda state: state.versions == wanted)


async def test_what_the_edge_refuses_goes_to_the_cloud_with_its_body_and_is_counted(router: Router) -> None:
    async with server(says(429)) as edge, server(says(200, "cloud")) as cloud:
        await follow(router, backend("edge", edge.port), backend("cloud", cloud.port))
        body = b"x" * 300_000
        assert (await router.ask(body))[:2] == (200, "cloud")
        assert edge.bodies == cloud.bodies == [body]
        count = counts(await router.statistics(), {})["vision/line"]
    assert (count.edge.started, count.edge.refused, count.retried, count.cloud.ended) == (1, 1, 1, 1)


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_an_edge_that_fails_is_no_failure_of_the_caller(router: Router, status: int) -> None:
    async with server(says(status)) as edge, server(says(200, "cloud")) as cloud:
        await follow(router, backend("edge", edge.port), backend("cloud", cloud.port))
        assert (await router.ask())[:2] == (200, "cloud")


async def test_an_edge_that_is_gone_or_hangs_is_left_for_the_cloud(router: Router) -> None:
    async with server(hangs) as edge, server(says(200, "cloud")) as cloud:
        await follow(router, backend("edge", free_port()), backend("cloud", cloud.port))
        assert (await router.ask())[:2] == (200, "cloud")
        await follow(router, backend("edge", edge.port), backend("cloud", cloud.port), patience=0.2)
        assert (await router.ask())[:2] == (200, "cloud")


async def test_a_slow_edge_without_a_cloud_is_waited_for(router: Router) -> None:
    async def slowly(_: web.Request) -> web.Response:
        await asyncio.sleep(0.6)
        return web.Response(text="edge")

    async with server(slowly) as edge:
        await follow(router, backend("edge", edge.port), patience=0.2)
        assert (await router.ask())[:2] == (200, "edge")


async def test_a_refusal_without_a_cloud_is_the_callers_with_its_retry_after(router: Router) -> None:
    async with server(says(429, **{"Retry-After": "1"})) as edge:
        await follow(router, backend("edge", edge.port))
        status, _, headers = await router.ask()
        assert (status, headers["Retry-After"]) == (429, "1")


async def test_an_answer_of_the_model_that_says_no_is_not_asked_for_twice(router: Router) -> None:
    async with server(says(400, "shape")) as edge, server(says(200, "cloud")) as cloud:
        await follow(router, backend("edge", edge.port), backend("cloud", cloud.port))
        assert (await router.ask())[:2] == (400, "shape")
        assert cloud.bodies == []


async def test_a_body_too_large_to_be_kept_is_tried_once(router: Router) -> None:
    async with server(says(429)) as edge, server(says(200, "cloud")) as cloud:
        await follow(router, backend("edge", edge.port), backend("cloud", cloud.port), max_body=1 << 16)
        assert (await router.ask(b"x" * (1 << 19)))[0] == 429
        assert cloud.bodies == []
        assert (await router.ask(b"x" * 1000))[0] == 200


async def test_a_service_without_any_server_tells_callers_to_come_again(router: Router) -> None:
    empty = Backend("edge", "aa", 1000, (), 8080)
    await follow(router, empty)
    status, text, headers = await router.ask()
    assert (status, headers["Retry-After"]) == (429, "5")
    assert "no server of this service" in text


async def test_a_server_that_fails_in_a_row_is_left_out_and_its_sibling_answers(router: Router) -> None:
    async with server(says(500)) as broken, server(says(200, "edge")) as good:
        await follow(router, backend("edge", broken.port, 500, "aa"), backend("edge", good.port, 500, "bb"))
        answers = [(await router.ask())[0] for _ in range(60)]
    assert answers.count(200) > 0
    assert answers.count(500) > 0  # one server of its revision: never the last one is left out


async def test_weights_share_requests_out_and_a_revision_of_none_gets_none(router: Router) -> None:
    async with server(says(200, "old")) as old, server(says(200, "new")) as new:
        await follow(router, backend("edge", old.port, 750, "aa"), backend("edge", new.port, 250, "bb"))
        answers = [(await router.ask())[1] for _ in range(200)]
        assert 100 < answers.count("old") < 190
        await follow(router, backend("edge", old.port, 1000, "aa"), backend("edge", new.port, 0, "bb"))
        assert {(await router.ask())[1] for _ in range(50)} == {"old"}


async def test_a_change_under_load_fails_no_request(router: Router) -> None:
    async with server(says(200, "old")) as old, server(says(200, "new")) as new:
        await follow(router, backend("edge", old.port))
        seen: list[int] = []
        stop = asyncio.Event()

        async def load() -> None:
            while not stop.is_set():
                seen.append((await router.ask())[0])

        tasks = [asyncio.create_task(load()) for _ in range(4)]
        for number in range(6):
            await follow(router, backend("edge", (old, new)[number % 2].port))
            enough = len(seen) + 20
            while len(seen) < enough:  # noqa: ASYNC110 - whoever loads says nothing
                await asyncio.sleep(0.001)
        stop.set()
        await asyncio.gather(*tasks)
    assert set(seen) == {200}


async def test_a_file_that_envoy_refuses_leaves_the_last_good_one_in_force(
    router: Router,
) -> None:
    async with server(says(200, "edge")) as edge:
        await follow(router, backend("edge", edge.port))
        good = envoy.files([Route("vision", "line", (backend("edge", edge.port),), 4.0, 5.0, 1 << 20)])
        bad = json.loads(good["rds.json"])
        bad["resources"][0]["virtual_hosts"][0]["domains"] = []
        bad["version_info"] = "bad"
        router.put({**good, "rds.json": json.dumps(bad)})
        state = await router.until(lambda found: found.refused > 0)
        assert state.versions["rds.json"] == envoy.versions(good)["rds.json"]
        assert (await router.ask())[:2] == (200, "edge")


async def test_a_cloud_that_is_closed_gets_nothing(router: Router) -> None:
    async with server(says(429)) as edge, server(says(200, "cloud")) as cloud:
        sides = backend("edge", edge.port), backend("cloud", cloud.port)
        await follow(router, *sides, orders=Orders(way=Way.CLOSED))
        assert (await router.ask())[0] == 429
        assert cloud.bodies == []


async def test_a_cloud_for_failures_takes_those_and_no_refusals(router: Router) -> None:
    async with server(says(429)) as edge, server(says(200, "cloud")) as cloud:
        sides = backend("edge", edge.port), backend("cloud", cloud.port)
        await follow(router, *sides, orders=Orders(way=Way.FAILURES))
        assert (await router.ask())[0] == 429
        gone = backend("edge", free_port()), backend("cloud", cloud.port)
        await follow(router, *gone, orders=Orders(way=Way.FAILURES))
        assert (await router.ask())[:2] == (200, "cloud")


async def test_more_than_the_granted_share_of_the_cloud_is_refused_and_never_an_error(router: Router) -> None:
    inside = asyncio.Event()
    release = asyncio.Event()

    async def busy(_: web.Request) -> web.Response:
        inside.set()
        await release.wait()
        return web.Response(text="cloud")

    async with server(says(429)) as edge, server(busy) as cloud:
        sides = backend("edge", edge.port), backend("cloud", cloud.port)
        await follow(router, *sides, orders=Orders(in_flight=1))
        first = asyncio.create_task(router.ask())
        await inside.wait()
        status, _, headers = await router.ask()
        assert (status, headers.get("retry-after")) == (429, "1")
        release.set()
        assert (await first)[:2] == (200, "cloud")
        assert (await router.ask())[:2] == (200, "cloud")


async def test_servers_are_told_by_the_router_and_by_nobody_else(router: Router) -> None:
    async def told(request: web.Request) -> web.Response:
        names = ("x-edgewise-ceiling", "x-edgewise-allowed")
        return web.Response(text=" ".join(f"{request.headers.getall(name, [])}" for name in names))

    forged = {"x-edgewise-ceiling": "64", "X-Edgewise-Allowed": "0.9"}
    async with server(told) as edge:
        await follow(router, backend("edge", edge.port), orders=Orders(ceiling=2.5, allowed=0.035))
        assert (await router.ask(**forged))[1] == "['2.5'] ['0.035']"
        await follow(router, backend("edge", edge.port))
        assert (await router.ask(**forged))[1] == "[] []"


async def test_when_edge_and_cloud_are_gone_or_silent_callers_are_refused_and_see_no_error(
    router: Router,
) -> None:
    async with server(says(429)) as edge, server(hangs) as silent:
        for cloud in (free_port(), silent.port):
            await follow(router, backend("edge", edge.port), backend("cloud", cloud), patience=0.2)
            status, _, headers = await router.ask()
            assert (status, headers["Retry-After"]) == (429, "1")
        await follow(router, backend("edge", free_port()))
        assert (await router.ask())[0] == 429


async def test_a_server_that_is_too_slow_for_the_whole_timeout_is_an_error(router: Router) -> None:
    async with server(hangs) as edge:
        await follow(router, backend("edge", edge.port))
        assert (await router.ask())[0] == 504
