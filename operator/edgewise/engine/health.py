"""The ports for the kubelet and for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest


async def serve(health_port: int, metrics_port: int, ready: Callable[[], bool]) -> list[web.AppRunner]:
    """Serve /healthz and /readyz on one port, /metrics on another; returns what has to be cleaned up."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok") if ready() else web.Response(status=503, text="not synced yet")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    health = web.Application()
    health.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz)])
    measured = web.Application()
    measured.add_routes([web.get("/metrics", metrics)])
    runners = []
    for app, port in ((health, health_port), (measured, metrics_port)):
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, port=port).start()
        runners.append(runner)
    return runners
