"""The rendered configuration in a real Envoy on loopback: servers that refuse, fail, hang or are gone."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web

from edgewise.render import envoy
from edgewise.render.envoy import Backend, Route
from edgewise.render.orders import Orders
from edgewise.signals.envoy import counts
from edgewise.traffic.policy import Way
from tests.api.router_world import Router, backend, follow, free_port, hangs, says, server

pytestmark = pytest.mark.cluster


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
