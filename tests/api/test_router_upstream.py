"""The cloud as an address outside the cluster: names, TLS and credentials, in a real Envoy."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from aiohttp import web

from edgewise.render import envoy_upstream
from edgewise.render.envoy import Backend
from edgewise.render.envoy_upstream import Upstream
from edgewise.render.orders import Orders
from edgewise.signals.envoy import counts
from edgewise.traffic.policy import Way
from lab.keys import Authority
from tests.api.router_world import Router, backend, follow, free_port, says, server

pytestmark = pytest.mark.cluster


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """A CA, and the only one that the router trusts."""
    folder = tmp_path / "ca"
    folder.mkdir()
    found = Authority(folder)
    found.create()
    monkeypatch.setattr(envoy_upstream, "ROOTS", str(found.root.certificate))
    return found


def context(authority: Authority, name: str) -> ssl.SSLContext:
    """What a server with a certificate for `name` speaks."""
    pair = authority.server(name, [name])
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.load_cert_chain(pair.certificate, pair.key)
    return found


def outside(port: int, *, tls: bool = True, credential: bool = False) -> Backend:
    return Backend("cloud", "upstream", 1000, (), port, Upstream("localhost", port, tls, credential))


async def echo(request: web.Request) -> web.Response:
    told = (request.headers.get(name, "-") for name in ("host", "x-forwarded-host", "authorization"))
    return web.Response(text=" ".join(told))


async def test_what_the_edge_refuses_goes_out_by_tls_under_the_upstreams_name(
    router: Router, authority: Authority
) -> None:
    async with server(says(429)) as edge, server(echo, context(authority, "localhost")) as cloud:
        await follow(router, backend("edge", edge.port), outside(cloud.port))
        assert (await router.ask())[:2] == (200, f"localhost:{cloud.port} line.vision -")
        count = counts(await router.statistics(), {})["vision/line"]
        assert (count.edge.refused, count.cloud.ended, count.retried) == (1, 1, 1)
        sides = backend("edge", edge.port), outside(cloud.port)
        await follow(router, *sides, orders=Orders(way=Way.CLOSED))
        assert (await router.ask())[0] == 429


async def test_a_certificate_of_another_name_or_another_authority_is_not_believed(
    router: Router, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other")
    stranger.create()
    for tls in (context(authority, "elsewhere.example"), context(stranger, "localhost")):
        async with server(says(429)) as edge, server(echo, tls) as cloud:
            await follow(router, backend("edge", edge.port), outside(cloud.port))
            assert (await router.ask())[0] == 429
            assert cloud.bodies == []


async def test_only_the_upstream_gets_the_credential_and_a_new_one_is_taken_up(
    router: Router, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "secret"
    monkeypatch.setattr(envoy_upstream, "CREDENTIAL_FOLDER", str(folder))

    def mount(token: str) -> None:
        """What the kubelet does with a Secret: a link to a folder is swapped."""
        folder.mkdir(exist_ok=True)
        fresh = folder / f"..{token}"
        fresh.mkdir()
        (fresh / "authorization").write_text(f"Bearer {token}")
        swap = folder / "..data_tmp"
        swap.symlink_to(fresh.name)
        swap.replace(folder / "..data")
        link = folder / "authorization"
        if not link.is_symlink():
            link.symlink_to(Path("..data") / "authorization")

    mount("one")
    edge_saw: list[str] = []

    async def refuse(request: web.Request) -> web.Response:
        edge_saw.append(request.headers.get("authorization", "-"))
        return web.Response(status=429)

    async with server(refuse) as edge, server(echo) as cloud:
        await follow(router, backend("edge", edge.port), outside(cloud.port, tls=False, credential=True))
        assert (await router.ask())[1].endswith(" Bearer one")
        mount("two")
        said = ""
        for _ in range(200):
            said = (await router.ask(Authorization="forged"))[1]
            if said.endswith(" Bearer two"):
                break
        assert said.endswith(" Bearer two")
    assert set(edge_saw) == {"-", "forged"}


async def test_a_name_that_nobody_knows_leaves_the_edge_serving(router: Router) -> None:
    nowhere = Backend("cloud", "upstream", 1000, (), 80, Upstream("nobody.invalid", 80, tls=False))
    async with server(says(200, "edge")) as good, server(says(429)) as full:
        await follow(router, backend("edge", good.port), nowhere)
        assert (await router.ask())[:2] == (200, "edge")
        await follow(router, backend("edge", full.port), nowhere)
        assert (await router.ask())[0] == 429
        await follow(router, backend("edge", free_port()), nowhere)
        assert (await router.ask())[0] == 429
