"""`python -m edgewise.serving`: serve one model until SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator

import uvicorn

from edgewise.serving.app import build
from edgewise.serving.errors import SettingsError
from edgewise.serving.service import Service
from edgewise.serving.settings import Settings, from_environment

log = logging.getLogger("edgewise.serving")

KEEP_ALIVE_SECONDS = 3700
"""Longer than a router's own hour for idle connections: the side that reuses a connection must be the one
that closes it, or a request meets a connection that is just being closed."""


class Server(uvicorn.Server):
    """uvicorn, with a drain before the end, and an exit status of 0 when it was told to end."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        """Serve `service`."""
        super().__init__(config)
        self._service = service

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The first signal drains; a second one ends at once."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._drain)
        yield

    def _drain(self) -> None:
        if self._service.draining:
            self.should_exit = True
            return
        seconds = self._service.settings.drain_seconds
        log.info("draining: not ready any more, answering for another %g s", seconds)
        self._service.draining = True
        asyncio.get_running_loop().call_later(seconds, setattr, self, "should_exit", True)


def listen(settings: Settings) -> socket.socket:
    """A bound socket, on IPv4 and IPv6 when no address is given and the system has both."""
    if settings.host:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        bound = socket.create_server((settings.host, settings.port), family=family, backlog=1024)
    elif socket.has_dualstack_ipv6():
        address = ("", settings.port)
        bound = socket.create_server(address, family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
    else:
        bound = socket.create_server(("", settings.port), backlog=1024)
    # Accepted connections inherit it. An answer is written in two pieces, head and body; without this the
    # second waits for the acknowledgement of the first, which the other side may delay by 40 ms.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound


def main() -> int:
    """Run; the process' exit status: 0 after a signal, 1 when the model or a setting is no good."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = from_environment(os.environ)
    except SettingsError as error:
        log.error("%s", error)
        return 1
    service = Service(settings)
    server: Server

    def stop() -> None:
        server.should_exit = True

    config = uvicorn.Config(
        build(service, stop),
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    server = Server(config, service)
    with listen(settings) as bound:
        log.info(
            "listening on port %d for model %s version %s (%s side, K %.2f)",
            bound.getsockname()[1],
            settings.model_name,
            settings.model_version,
            settings.side,
            service.gate.limit,
        )
        server.run(sockets=[bound])
    return 0 if service.failure is None else 1


if __name__ == "__main__":
    sys.exit(main())
