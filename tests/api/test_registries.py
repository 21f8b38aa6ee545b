"""Signatures found in two real registries: one with the referrers API, one with the fallback tag only."""

from __future__ import annotations

import http.client
from pathlib import Path

import pytest

from edgewise.provenance.fetch import fetch_variant
from edgewise.provenance.oci import Registry
from edgewise.provenance.sources import parse_source
from edgewise.provenance.transport import Transport
from lab import quickstart
from lab.cluster import Lab
from lab.quickstart import Publisher

pytestmark = pytest.mark.cluster


def has_referrers_api(host: str, repository: str, digest: str) -> bool:
    connection = http.client.HTTPConnection(host, timeout=5)
    try:
        connection.request("GET", f"/v2/{repository}/referrers/{digest}")
        return connection.getresponse().status == 200
    finally:
        connection.close()


@pytest.mark.parametrize("kind", ["distribution", "referrers"])
def test_a_signature_is_found_again(lab_cluster: Lab, kind: str, tmp_path: Path) -> None:
    registry = lab_cluster.registry if kind == "distribution" else lab_cluster.referrers
    registry.start()
    (tmp_path / "model.onnx").write_bytes(b"weights")
    pushed = quickstart.publish_variant(tmp_path, "int8", registry.host, Publisher.new())
    source = parse_source(pushed.uri)
    repository = pushed.uri.removeprefix(f"oci://{registry.host}/").partition("@")[0]
    assert has_referrers_api(registry.host, repository, f"sha256:{source.digest}") == (kind == "referrers")
    client = Registry(Transport(plain_http=frozenset({registry.host})))
    found = fetch_variant(client, "int8", pushed.uri, pushed.digest, "onnx")
    assert found.problem == ""
    assert len(found.bundles) == 1
