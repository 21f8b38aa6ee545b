"""A real Envoy that follows rendered files, and servers for it that refuse, fail, hang or are gone."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from edgewise.render import envoy, envoy_bootstrap
from edgewise.render.envoy import Backend, Route
from edgewise.render.orders import Orders
from edgewise.signals.envoy import PATH, InForce, in_force
from lab import toolchain
from lab.progress import Silent
from lab.settings import Layout
from lab.toolchain import Toolchain

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
async def server(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    bodies: list[bytes] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        bodies.append(await request.read())
        return await answer(request)

    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
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
