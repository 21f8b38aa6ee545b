"""HTTP/1.1 over one connection, for the load generator: a request that is ready as bytes, and its answer.

A protocol instead of asyncio's streams: an answer costs one callback for each piece that arrives, and no copy of
the request is made. Bodies of answers are counted and dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast


class WireError(Exception):
    """The connection broke, or what came over it was no HTTP/1.1 answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of an answer whose body has arrived.

    Attributes:
        status: HTTP status.
        headers: by name in lower case.
    """

    status: int
    headers: Mapping[bytes, bytes]


def request_bytes(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A whole request, ready to be written again and again."""
    lines = [f"{method} {path} HTTP/1.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self) -> None:
        """Not connected yet; use `open`."""
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._buffer = bytearray()
        self._answer: Answer | None = None
        self._left = 0
        self._chunked = False
        self.reusable = False

    @classmethod
    async def open(cls, host: str, port: int) -> Connection:
        """Connect.

        Raises:
            OSError: nobody answers there.
        """
        _, protocol = await asyncio.get_running_loop().create_connection(cls, host, port)
        return protocol

    async def ask(self, request: bytes) -> Answer:
        """Send, and wait for the whole answer.

        Raises:
            WireError: the connection ended before.
        """
        if self._transport is None or self._transport.is_closing():
            raise WireError("the connection is closed")
        self.reusable = False
        self._answer = None
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def close(self) -> None:
        """End the connection; what has not been sent is dropped."""
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        self._transport = cast(asyncio.Transport, transport)
        self.reusable = True

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the other side ended, or the network did."""
        self.reusable = False
        self._fail(f"the connection was lost: {exc or 'closed by the other side'}")

    def data_received(self, data: bytes) -> None:
        """asyncio: a piece of the answer."""
        if self._answer is not None and not self._chunked:
            self._left -= len(data)
        else:
            self._buffer += data
            try:
                self._read()
            except ValueError as error:
                self._fail(f"no HTTP/1.1 answer: {error}")
                self.close()
                return
        if self._answer is not None and self._left <= 0:
            self._finish()

    def _read(self) -> None:
        if self._answer is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self._answer = _head(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
            self._chunked = self._answer.headers.get(b"transfer-encoding", b"").lower() == b"chunked"
            self._left = 1 if self._chunked else int(self._answer.headers.get(b"content-length", b"0"))
            if not self._chunked:
                self._left -= len(self._buffer)
                self._buffer.clear()
        if self._chunked:
            self._read_chunks()

    def _read_chunks(self) -> None:
        """Drop whole chunks; the one of length 0 is the last (no trailers: none of our servers sends any)."""
        while (line := self._buffer.find(b"\r\n")) >= 0:
            size = int(self._buffer[:line].split(b";")[0], 16)
            if len(self._buffer) < line + 2 + size + 2:
                return
            del self._buffer[: line + 2 + size + 2]
            if size == 0:
                self._left = 0
                return

    def _finish(self) -> None:
        answer, waiting = self._answer, self._waiting
        self._answer, self._waiting, self._chunked = None, None, False
        if answer is None or waiting is None or self._left < 0:
            self.close()
            if waiting is not None and not waiting.done():
                waiting.set_exception(WireError("more came than the answer"))
            return
        self.reusable = answer.headers.get(b"connection", b"").lower() != b"close"
        if not waiting.done():
            waiting.set_result(answer)

    def _fail(self, why: str) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(WireError(why))


def _head(text: bytes) -> Answer:
    start, *lines = text.split(b"\r\n")
    version, status, *_ = start.split(b" ")
    if version != b"HTTP/1.1":
        raise ValueError(f"it begins with {start[:40]!r}")
    pairs = (line.split(b":", 1) for line in lines)
    return Answer(status=int(status), headers={name.strip().lower(): value.strip() for name, value in pairs})
