"""The server as callers see it: a real one, with real models, on a loopback port."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from edgewise.traffic.admission import Target
from tests.unit.serving_support import (
    Live,
    binary,
    doubling_model,
    head,
    read_answer,
    request,
    serving,
    settings,
    until,
)

pytestmark = pytest.mark.enable_socket

INFER = "/v2/models/doubler/infer"
ROWS = [[1.0, 2.0, 3.0], [-1.5, 0.0, 0.25]]
ONE_PLACE = Target(latency=5.0, allowed=0.05, ceiling=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return doubling_model(tmp_path / "model").parent


@pytest.fixture
async def live(folder: Path) -> AsyncIterator[Live]:
    async with serving(settings(folder)) as server:
        yield server


class TestProtocol:
    async def test_health_and_metadata(self, live: Live) -> None:
        assert (await live.ask("GET", "/v2/health/live")).json() == {"live": True}
        assert (await live.ask("GET", "/v2/health/ready")).json() == {"ready": True}
        server = (await live.ask("GET", "/v2")).json()
        assert server["name"] == "edgewise"
        assert server["extensions"] == ["binary_tensor_data"]
        model = (await live.ask("GET", "/v2/models/doubler/versions/3")).json()
        assert model == {
            "name": "doubler",
            "versions": ["3"],
            "platform": "onnx_onnxv1",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
            "outputs": [{"name": "twice", "datatype": "FP32", "shape": [-1, 3]}],
        }
        ready = await live.ask("GET", "/v2/models/doubler/ready")
        assert (ready.status, ready.json()) == (200, {"name": "doubler", "ready": True})

    async def test_an_answer_in_json(self, live: Live) -> None:
        answer = await live.infer(request(ROWS, id="a-17"))
        assert answer.status == 200
        assert answer.json() == {
            "model_name": "doubler",
            "model_version": "3",
            "id": "a-17",
            "outputs": [
                {
                    "name": "twice",
                    "datatype": "FP32",
                    "shape": [2, 3],
                    "data": [2.0, 4.0, 6.0, -3.0, 0.0, 0.5],
                }
            ],
        }

    async def test_an_answer_in_bytes(self, live: Live) -> None:
        document, tail = binary(ROWS, parameters={"binary_data_output": True})
        answer = await live.infer(document, tail=tail)
        assert answer.status == 200
        length = int(answer.headers["inference-header-content-length"])
        output = json.loads(answer.body[:length])["outputs"][0]
        assert output["parameters"] == {"binary_data_size": 24}
        doubled = np.frombuffer(answer.body[length:], "<f4").reshape(output["shape"])
        assert doubled.tolist() == [[2, 4, 6], [-3, 0, 0.5]]

    async def test_every_answer_says_who_gave_it(self, live: Live) -> None:
        for path in ("/v2/health/live", "/nowhere"):
            headers = (await live.ask("GET", path)).headers
            assert headers["x-edgewise-side"] == "edge"
            assert headers["x-edgewise-site"] == "plant-1"
            assert headers["x-edgewise-revision"] == "r7"

    @pytest.mark.parametrize(
        ("path", "words"),
        [
            ("/v2/models/tripler/infer", "server has 'doubler'"),
            ("/v2/models/doubler/versions/4/infer", "server has '3'"),
            ("/v2/models/doubler/guess", "Not Found"),
        ],
    )
    async def test_unknown_places_are_404(self, live: Live, path: str, words: str) -> None:
        answer = await live.infer(request(ROWS), path)
        assert answer.status == 404
        assert words in answer.json()["error"]

    async def test_the_wrong_method_is_405(self, live: Live) -> None:
        answer = await live.ask("GET", INFER)
        assert answer.status == 405
        assert "error" in answer.json()

    async def test_a_wrong_request_is_400_and_the_caller_s_fault(self, live: Live) -> None:
        answer = await live.infer(
            {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}
        )
        assert answer.status == 400
        assert "[-1, 3]" in answer.json()["error"]
        assert await live.metric('edgewise_requests_ended_total{code="400"}') == 1

    async def test_a_body_that_is_too_large_is_413(self, folder: Path) -> None:
        async with serving(settings(folder, max_body_bytes=100)) as live:
            announced = await live.ask("POST", INFER, b"x" * 200)
            assert (announced.status, "EDGEWISE_MAX_BODY_BYTES" in announced.json()["error"]) == (413, True)
            async with live.connection() as (reader, writer):
                chunked = (
                    b"POST %b HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n" % INFER.encode()
                )
                writer.write(chunked + b"c8\r\n" + b"x" * 200 + b"\r\n0\r\n\r\n")
                assert (await read_answer(reader)).status == 413


class TestAdmission:
    async def test_full_means_429_and_a_place_is_free_again_after_the_answer(self, folder: Path) -> None:
        body = json.dumps(request(ROWS)).encode()
        one = settings(folder, target=ONE_PLACE, profile_seconds=0.1)
        async with serving(one) as live, live.connection() as (reader, writer):
            writer.write(head("POST", INFER, len(body)) + body[:10])
            await until(lambda: live.service.gate.in_flight == 1)
            refused = await live.infer(request(ROWS))
            assert refused.status == 429
            assert refused.headers["retry-after"] == "1"
            assert "limit 1.00" in refused.json()["error"]
            assert await live.metric("edgewise_in_flight") == 1
            writer.write(body[10:])
            assert (await read_answer(reader)).status == 200
            assert (await live.infer(request(ROWS))).status == 200
            assert await live.metric("edgewise_requests_started_total") == 2
            assert await live.metric("edgewise_requests_refused_total") == 1
            assert await live.metric('edgewise_requests_ended_total{code="200"}') == 2
            assert await live.metric("edgewise_in_flight") == 0

    async def test_a_refused_body_is_read_to_its_end_and_the_connection_lives_on(self, folder: Path) -> None:
        """A router sends a refused request elsewhere only when it has seen all of it."""
        body = json.dumps(request(ROWS)).encode()
        one = settings(folder, target=ONE_PLACE, profile_seconds=0.1)
        async with (
            serving(one) as live,
            live.connection() as (_, holder),
            live.connection() as (reader, writer),
        ):
            holder.write(head("POST", INFER, len(body)))
            await until(lambda: live.service.gate.in_flight == 1)
            writer.write(head("POST", INFER, len(body)) + body[:10])
            await until(lambda: live.service.metrics.refused._value.get() == 1)
            early = asyncio.ensure_future(read_answer(reader))
            assert (await live.ask("GET", "/v2/health/live")).status == 200
            assert not early.done()
            writer.write(body[10:])
            assert (await early).status == 429
            writer.write(head("GET", "/v2/health/live", 0))
            assert (await read_answer(reader)).status == 200

    async def test_who_asks_first_is_refused_before_sending(self, folder: Path) -> None:
        one = settings(folder, target=ONE_PLACE, profile_seconds=0.1)
        async with (
            serving(one) as live,
            live.connection() as (_, holder),
            live.connection() as (reader, writer),
        ):
            holder.write(head("POST", INFER, 5))
            await until(lambda: live.service.gate.in_flight == 1)
            writer.write(head("POST", INFER, 5, {"Expect": "100-continue"}))
            assert (await read_answer(reader)).status == 429

    async def test_a_caller_who_hangs_up_in_the_queue_costs_no_inference(self, folder: Path) -> None:
        async with serving(settings(folder)) as live:
            begun, busy = threading.Event(), threading.Event()

            def occupy() -> None:
                begun.set()
                busy.wait()

            live.service.workers.submit(occupy)
            await until(begun.is_set)
            async with live.connection() as (_, writer):
                body = json.dumps(request(ROWS)).encode()
                writer.write(head("POST", INFER, len(body)) + body)
                await until(lambda: live.service.workers._work_queue.qsize() == 1)
            await until(lambda: live.service.gate.in_flight == 0)
            busy.set()
            assert await live.metric('edgewise_requests_ended_total{code="499"}') == 1

    async def test_a_body_that_never_comes_gives_its_place_back(self, folder: Path) -> None:
        one = settings(folder, target=ONE_PLACE, profile_seconds=0.1, body_seconds=0.1)
        async with serving(one) as live, live.connection() as (reader, writer):
            writer.write(head("POST", INFER, 100) + b"{")
            answer = await read_answer(reader)
            assert (answer.status, live.service.gate.in_flight) == (408, 0)
            assert "1 bytes" in answer.json()["error"]

    async def test_the_cloud_side_bounds_its_queue(self, folder: Path) -> None:
        two = Target(latency=0.01, allowed=0.05, ceiling=2)
        async with serving(settings(folder, side="cloud", target=two, profile_seconds=1.0)) as live:
            assert live.service.gate.limit == 2
            async with live.connection() as (_, first), live.connection() as (_, second):
                first.write(head("POST", INFER, 5))
                second.write(head("POST", INFER, 5))
                await until(lambda: live.service.gate.in_flight == 2)
                refused = await live.infer(request(ROWS))
                assert (refused.status, refused.headers["x-edgewise-side"]) == (429, "cloud")

    async def test_the_histogram_knows_the_target(self, live: Live) -> None:
        await live.infer(request(ROWS))
        text = (await live.ask("GET", "/metrics")).body.decode()
        for bound in ("2.5", "5.0", "10.0"):
            assert f'edgewise_request_duration_seconds_bucket{{le="{bound}"}} 1.0' in text
        assert "_created" not in text


class TestLife:
    async def test_not_ready_before_the_model_is(self, folder: Path) -> None:
        async with serving(settings(folder), wait_ready=False) as live:
            await until(lambda: live.service.ready)
            live.service.model = None
            assert (await live.ask("GET", "/v2/health/live")).status == 200
            assert (await live.ask("GET", "/v2/health/ready")).status == 503
            assert (await live.ask("GET", "/v2/models/doubler/ready")).status == 503
            answer = await live.infer(request(ROWS))
            assert (answer.status, "loaded" in answer.json()["error"]) == (503, True)

    async def test_a_draining_server_is_not_ready_and_still_answers(self, live: Live) -> None:
        live.service.draining = True
        assert (await live.ask("GET", "/v2/health/ready")).status == 503
        assert (await live.infer(request(ROWS))).status == 200

    async def test_a_model_that_cannot_be_loaded_is_told(self, tmp_path: Path) -> None:
        async with serving(settings(tmp_path)) as live:
            assert "wanted: exactly one" in str(live.service.failure)
            assert (await live.ask("GET", "/v2/health/ready")).status == 503
