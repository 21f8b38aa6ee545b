"""What the server costs on top of the bare runtime, and what law S does under four times its capacity.

    python -m bench.serving

Prints ratios from one run on one machine; nothing here is a limit that a test enforces. Latencies of the
server and of the bare call to ONNX Runtime are measured in turns, so that a busy machine slows both."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median
from typing import cast

from edgewise.serving.model import load
from lab import demo_model
from lab.httpwire import Connection, request_bytes
from lab.load import Generator, Load, Step

ROUNDS = 200
HOST = "127.0.0.1"
PATH = "/v2/models/text-detector/infer"


class Running:
    """A server process that has said it is ready."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, seconds: float) -> None:
        self.process, self.port, self.start_seconds = process, port, seconds

    def resident_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024  # type: ignore[union-attr]

    def processor_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.asynccontextmanager
async def running(model: Path, **environment: str) -> AsyncIterator[Running]:
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "edgewise.serving",
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "EDGEWISE_MODEL_NAME": "text-detector",
            "EDGEWISE_MODEL_PATH": str(model),
            "EDGEWISE_HOST": HOST,
            "EDGEWISE_PORT": "0",
            "EDGEWISE_DRAIN_SECONDS": "0",
            **environment,
        },
        stderr=asyncio.subprocess.PIPE,
    )
    port = 0
    async for line in cast(asyncio.StreamReader, process.stderr):
        port = port or int((re.findall(rb"listening on port (\d+)", line) or [0])[0])
        if b"ready: " in line:
            break
    try:
        yield Running(process, port, time.perf_counter() - began)
    finally:
        process.terminate()
        await process.wait()


async def overhead(folder: Path) -> float:
    """Server latency against the bare call, in turns; returns the bare median in seconds."""
    model = load(folder, threads=1)
    inputs = {"image": demo_model.real_input()}
    body, headers = demo_model.request()
    request = request_bytes("POST", PATH, {"Host": "bench", **headers}, body)
    bare: list[float] = []
    served: list[float] = []
    async with running(folder, EDGEWISE_LATENCY_TARGET="5") as server:
        connection = await Connection.open(HOST, server.port)
        for _ in range(ROUNDS):
            began = time.perf_counter()
            model.run(inputs, ["text"])
            between = time.perf_counter()
            answer = await connection.ask(request)
            if answer.status != 200:
                raise RuntimeError(f"the server answered {answer}")
            served.append(time.perf_counter() - between)
            bare.append(between - began)
        connection.close()
        print(f"start to ready            {server.start_seconds:.2f} s")
        print(f"resident after {ROUNDS} requests {server.resident_mb():.0f} MB")
    fast, slow = median(bare), median(served)
    print(f"bare ONNX Runtime p50     {1000 * fast:.2f} ms")
    print(f"server p50                {1000 * slow:.2f} ms")
    print(f"ratio server / bare       {slow / fast:.3f}")
    return fast


async def overload(folder: Path, seconds: float, times: float) -> None:
    """An edge replica alone under `times` its capacity: what it answers in time, what it refuses."""
    target = 4 * seconds
    body, headers = demo_model.request()
    settings = {"EDGEWISE_LATENCY_TARGET": f"{target:.4f}", "EDGEWISE_PROFILE_LATENCY": f"{seconds:.4f}"}
    async with running(folder, **settings) as server:
        rate = times / seconds
        before, before_server = time.process_time(), server.processor_seconds()
        generator = Generator(
            Load(
                url=f"http://{HOST}:{server.port}{PATH}",
                steps=[Step(rate=rate, seconds=20)],
                body=body,
                headers=headers,
                target_seconds=target,
            )
        )
        async for _ in generator.seconds():
            pass
        total = generator.total
        cores = (time.process_time() - before) / 20
        server_cores = (server.processor_seconds() - before_server) / 20
        refused = total.failures.get("429", 0)
        answered = total.ended - total.failed
        late = total.over_target * total.ended - total.failed
        print(f"{times:g} x capacity ({rate:.0f} requests/s, target {1000 * target:.0f} ms, 20 s):")
        print(f"  answered                {answered} ({answered * seconds / 20:.0%} of the bare capacity)")
        print(f"  of these over target    {late / max(1, answered):.2%}, p95 {total.p95_ms} ms")
        print(f"  refused with 429        {refused / total.ended:.1%}")
        print(f"  other failures          {total.failed - refused}")
        print(f"  server                  {server_cores:.2f} cores")
        print(f"  load generator          {cores:.2f} cores")


async def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for variant in demo_model.prepare(Path(scratch)):
            print(f"== {variant.name} ({variant.size / 1e6:.1f} MB)")
            seconds = await overhead(variant.folder)
            await overload(variant.folder, seconds, times=4)


if __name__ == "__main__":
    asyncio.run(main())
