"""A small OCI registry on loopback that is honest until told to lie. Real HTTP, only the endpoints in use."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Lie = Callable[["Handler"], None]


@dataclass
class SmallRegistry:
    """State of the registry; tests read and bend it."""

    referrers_api: bool = True
    ranges: bool = True
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    #: Called instead of the honest answer; the key is "METHOD path".
    lies: dict[str, Lie] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    ranges_asked: list[str] = field(default_factory=list)
    bytes_sent: int = 0
    authority: str = ""

    def put_blob(self, data: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.blobs[digest] = data
        return digest


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    registry: SmallRegistry

    def handle(self) -> None:
        """Clients that hang up are part of the game."""
        with suppress(OSError):
            super().handle()

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()
        with suppress(OSError):
            self.rfile.close()

    def log_message(self, format: str, *args: Any) -> None:
        return

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def reply(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            self.registry.bytes_sent += len(body)

    def _answer(self) -> None:
        path = urlsplit(self.path)
        self.registry.requests.append(f"{self.command} {path.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        lie = self.registry.lies.get(f"{self.command} {path.path}")
        try:
            if lie is not None:
                lie(self)
            else:
                self._honest(path.path, parse_qs(path.query), body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _honest(self, path: str, query: dict[str, list[str]], body: bytes) -> None:
        match = re.fullmatch(r"/v2/(.+)/(manifests|blobs|referrers)/(.+)", path)
        if match is None:
            return self.reply(404)
        _, kind, reference = match.groups()
        if kind == "manifests":
            return self._manifest(reference, body)
        if kind == "referrers":
            return self._referrers(reference) if self.registry.referrers_api else self.reply(404)
        if self.command == "POST":
            return self.reply(202, headers={"Location": "/v2/x/blobs/uploads/1"})
        if self.command == "PUT":
            self.registry.blobs[query["digest"][0]] = body
            return self.reply(201)
        return self._blob(reference)

    def _manifest(self, reference: str, body: bytes) -> None:
        if self.command == "PUT":
            stored = (self.headers["Content-Type"], body)
            self.registry.manifests[f"sha256:{hashlib.sha256(body).hexdigest()}"] = stored
            self.registry.manifests[reference] = stored
            return self.reply(201)
        if reference not in self.registry.manifests:
            return self.reply(404)
        media_type, data = self.registry.manifests[reference]
        return self.reply(200, data, {"Content-Type": media_type})

    def _referrers(self, digest: str) -> None:
        found = []
        for reference, (media_type, data) in self.registry.manifests.items():
            manifest = json.loads(data)
            if reference.startswith("sha256:") and manifest.get("subject", {}).get("digest") == digest:
                found.append(
                    {
                        "mediaType": media_type,
                        "digest": reference,
                        "size": len(data),
                        "artifactType": manifest["artifactType"],
                    }
                )
        self.reply(200, json.dumps({"schemaVersion": 2, "manifests": found}).encode())

    def _blob(self, digest: str) -> None:
        data = self.registry.blobs.get(digest)
        if data is None:
            return self.reply(404)
        asked = self.headers.get("Range")
        if asked and self.registry.ranges:
            self.registry.ranges_asked.append(asked)
            start = int(asked.removeprefix("bytes=").split("-")[0])
            told = f"bytes {start}-{len(data) - 1}/{len(data)}"
            return self.reply(206, data[start:], {"Content-Range": told})
        return self.reply(200, data)


@contextmanager
def running(registry: SmallRegistry, port: int = 0) -> Iterator[SmallRegistry]:
    """Serve the registry on a loopback port until the block ends."""
    handler = type("BoundHandler", (Handler,), {"registry": registry})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    registry.authority = f"127.0.0.1:{server.server_address[1]}"
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
