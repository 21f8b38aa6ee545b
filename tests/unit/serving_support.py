"""Real models, a real server on a free loopback port, and a plain HTTP client for the tests of the server."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import uvicorn
from onnx import TensorProto, helper

from edgewise.serving.__main__ import Server, listen
from edgewise.serving.app import build
from edgewise.serving.service import Service
from edgewise.serving.settings import Settings
from edgewise.traffic.admission import Target

TARGET = Target(latency=5.0, allowed=0.05, ceiling=8)


def save_model(
    path: Path,
    nodes: Sequence[Any],
    inputs: dict[str, tuple[int, Sequence[int | str]]],
    outputs: dict[str, tuple[int, Sequence[int | str]]],
) -> Path:
    """Write an ONNX model of `nodes` to `path`."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def doubling_model(folder: Path, name: str = "model.onnx") -> Path:
    """`twice` = x + x for x of n rows with three columns."""
    folder.mkdir(parents=True, exist_ok=True)
    return save_model(
        folder / name,
        [helper.make_node("Add", ["x", "x"], ["twice"])],
        {"x": (TensorProto.FLOAT, ["n", 3])},
        {"twice": (TensorProto.FLOAT, ["n", 3])},
    )


def settings(folder: Path, **changes: Any) -> Settings:
    """Settings of a server on loopback for the model in `folder`."""
    common: dict[str, Any] = {
        "model_name": "doubler",
        "model_version": "3",
        "model_path": folder,
        "target": TARGET,
        "host": "127.0.0.1",
        "port": 0,
        "site": "plant-1",
        "revision": "r7",
        "drain_seconds": 0.0,
    }
    return Settings(**{**common, **changes})


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Live:
    """A server that answers."""

    service: Service
    server: Server
    port: int

    async def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        async with self.connection() as (reader, writer):
            writer.write(head(method, path, len(body), headers) + body)
            return await read_answer(reader)

    async def infer(
        self, document: object, path: str = "/v2/models/doubler/infer", tail: bytes = b""
    ) -> Answer:
        text = json.dumps(document).encode()
        headers = {"Inference-Header-Content-Length": str(len(text))} if tail else {}
        return await self.ask("POST", path, text + tail, headers)

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def metric(self, name: str) -> float:
        text = (await self.ask("GET", "/metrics")).body.decode()
        lines = (line for line in text.splitlines() if line.startswith(name + " "))
        return next(float(line.rsplit(" ", 1)[1]) for line in lines)


def head(method: str, path: str, length: int, headers: dict[str, str] | None = None) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: test", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(status=int(start.split(" ")[1]), headers=headers, body=body)


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop turn until something holds (the test run's own limit ends a hopeless wait)."""
    while not condition():  # noqa: ASYNC110 - it turns the loop; there is no event to wait for
        await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def serving(settings: Settings, *, wait_ready: bool = True) -> AsyncIterator[Live]:
    """A real server for as long as the block runs."""
    service = Service(settings)
    stopped = asyncio.Event()
    config = uvicorn.Config(
        build(service, stopped.set),
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
    )
    server = Server(config, service)
    with listen(settings) as bound:
        port = bound.getsockname()[1]
        task = asyncio.create_task(server._serve(sockets=[bound]))
        await until(lambda: server.started or task.done())
        if wait_ready:
            await until(lambda: service.ready or stopped.is_set())
        try:
            yield Live(service=service, server=server, port=port)
        finally:
            server.should_exit = True
            await task


def request(rows: list[list[float]], **extra: Any) -> dict[str, Any]:
    """A plain JSON request to the doubling model."""
    x = {"name": "x", "datatype": "FP32", "shape": [len(rows), 3], "data": rows}
    return {"inputs": [x], **extra}


def binary(rows: Sequence[Sequence[float]], **extra: Any) -> tuple[dict[str, Any], bytes]:
    """The same with the tensor as bytes after the JSON."""
    tail = np.asarray(rows, dtype="<f4").tobytes()
    parameters = {"binary_data_size": len(tail)}
    x = {"name": "x", "datatype": "FP32", "shape": [len(rows), 3], "parameters": parameters}
    return {"inputs": [x], **extra}, tail
