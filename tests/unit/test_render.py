"""Objects and router files: what a decision asks for."""

from __future__ import annotations

import json

import pytest

from edgewise.api.edgemodel import EdgeModel
from edgewise.api.inferenceservice import InferenceService
from edgewise.catalog.catalogue import builtin
from edgewise.render import envoy
from edgewise.render.envoy import Backend, Route
from edgewise.render.envoy_bootstrap import bootstrap
from edgewise.render.evidence import MAX_BYTES, evidence_copy, read_copy
from edgewise.render.names import child_name
from edgewise.render.revision import controller_revision
from edgewise.render.server import Server, deployment
from edgewise.rollout.revision import Revision, parse, pinned, resolve
from lab import quickstart

IMAGES = {"server": "r.example/server@sha256:1"}


def model() -> EdgeModel:
    return EdgeModel.model_validate(next(d for d in quickstart.manifests() if d["kind"] == "EdgeModel"))


def service() -> InferenceService:
    document = next(d for d in quickstart.manifests() if d["kind"] == "InferenceService")
    return InferenceService.model_validate(document)


def revision() -> Revision:
    return resolve(service(), model(), builtin(), IMAGES)


def server() -> Server:
    found = revision()
    return Server(
        "vision", "line", "uid", "High", "plant-1", (("site", "plant-1"),), "edge", found,
        found.variants[0], "cpu-vnni", 1,
    )  # fmt: skip


def test_a_new_image_or_mirror_is_no_new_revision_and_new_bytes_are() -> None:
    other = resolve(service(), model(), builtin(), {"server": "elsewhere/server@sha256:2"})
    assert other.hash == revision().hash
    moved = revision().model_copy(
        update={"variants": [v.model_copy(update={"uri": "oci://x"}) for v in revision().variants]}
    )
    assert moved.hash == revision().hash
    changed = revision().model_copy(update={"version": "2.0.0"})
    assert changed.hash != revision().hash


def test_a_kept_revision_is_found_again_by_its_version() -> None:
    kept = parse(controller_revision("vision", "uid", revision())["data"])
    assert kept == revision()
    assert pinned(service(), "1.0.0", [kept]) is not None
    assert pinned(service(), "9.9.9", [kept]) is None


def test_a_servers_pod_is_what_restricted_namespaces_admit() -> None:
    spec = deployment(server())["spec"]["template"]["spec"]
    container = spec["containers"][0]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert not spec["automountServiceAccountToken"]
    assert set(spec["volumes"][0]) == {"name", "csi"}
    assert spec["volumes"][0]["csi"]["volumeAttributes"] == {
        "model": "text-detector",
        "digest": server().variant.digest,
    }


def test_a_template_depends_on_nothing_but_the_revision() -> None:
    assert deployment(server()) == deployment(server())
    text = json.dumps(deployment(server())["spec"]["template"])
    assert "verdict" not in text
    assert "policy" not in text.lower().replace("imagepullpolicy", "")


def test_names_of_children_fit_into_labels_and_stay_apart() -> None:
    long = child_name("s" * 40, "site-" * 8, "0123456789")
    assert len(long) <= 46
    assert long != child_name("s" * 40, "site-" * 8, "1123456789")
    assert child_name("a", "b") == "a-b"


def route(edge: tuple[str, ...], cloud: tuple[str, ...]) -> Route:
    return Route(
        "vision",
        "line",
        (
            Backend("edge", "aa", 1000, edge, 8080),
            Backend("edge", "bb", 0, ("10.0.0.9",), 8080),
            Backend("cloud", "aa", 1000, cloud, 8080),
        ),
    )


def groups(files: dict[str, str]) -> list[str]:
    host = json.loads(files["rds.json"])["resources"][0]["virtual_hosts"][0]
    plugin = host["routes"][0]["route"]["inline_cluster_specifier_plugin"]["extension"]["typed_config"]
    return [group["name"] for group in plugin["priority_groups"]]


def test_the_edge_comes_before_the_cloud_and_an_empty_side_is_left_out() -> None:
    assert groups(envoy.files([route(("10.0.0.1",), ("10.0.1.1",))])) == ["edge", "cloud"]
    assert groups(envoy.files([route((), ("10.0.1.1",))])) == ["cloud"]
    assert groups(envoy.files([route(("10.0.0.1",), ())])) == ["edge"]


def test_a_first_try_is_cut_short_only_where_there_is_a_second_side() -> None:
    def retry(found: Route) -> dict[str, object]:
        host = json.loads(envoy.files([found])["rds.json"])["resources"][0]["virtual_hosts"][0]
        policy: dict[str, object] = host["routes"][0]["route"]["retry_policy"]
        return policy

    assert retry(route(("10.0.0.1",), ("10.0.1.1",)))["per_try_timeout"] == "5s"
    assert "per_try_timeout" not in retry(route(("10.0.0.1",), ()))


def test_a_files_version_follows_its_resources() -> None:
    one = envoy.versions(envoy.files([route(("10.0.0.1",), ())]))
    two = envoy.versions(envoy.files([route(("10.0.0.2",), ())]))
    assert {name for name in one if one[name] != two[name]} == {"eds-vision_line_edge_aa.json"}


def test_each_cluster_has_a_file_of_its_own_with_one_resource() -> None:
    files = envoy.files([route(("10.0.0.1",), ("10.0.1.1",))])
    names = [cluster["name"] for cluster in json.loads(files["cds.json"])["resources"]]
    for name in names:
        assert len(json.loads(files[f"eds-{name}.json"])["resources"]) == 1
        assert envoy.split_cluster_name(name) is not None
    assert envoy.split_cluster_name("admin") is None


def test_the_order_of_routes_changes_no_byte() -> None:
    one, two = route(("a",), ("b",)), Route("other", "line", ())
    assert envoy.files([one, two]) == envoy.files([two, one])
    json.loads(bootstrap())


def test_a_copy_of_evidence_gives_back_what_was_put_in() -> None:
    copy = evidence_copy("vision", "defects", "uid", "oci://r/m@sha256:1", b"manifest", [b"two", b"one"])
    assert copy is not None
    assert read_copy(copy["data"], "oci://r/m@sha256:1") == (b"manifest", (b"one", b"two"))
    again = evidence_copy("vision", "defects", "uid", "oci://r/m@sha256:1", b"manifest", [b"one", b"two"])
    assert again == copy
    more = evidence_copy("vision", "defects", "uid", "oci://r/m@sha256:1", b"manifest", [b"one"])
    assert more is not None
    assert more["metadata"]["name"] != copy["metadata"]["name"]


@pytest.mark.parametrize(
    "data",
    [None, [], {}, {"uri": "oci://other"}, {"uri": "oci://r", "manifest": 1, "bundles": []},
     {"uri": "oci://r", "manifest": "bWFu", "bundles": "bWFu"},
     {"uri": "oci://r", "manifest": "!", "bundles": []}],
)  # fmt: skip
def test_what_is_no_copy_is_not_read_as_one(data: object) -> None:
    assert read_copy(data, "oci://r") is None


def test_evidence_that_no_object_could_hold_is_not_kept() -> None:
    assert evidence_copy("vision", "defects", "uid", "oci://r", b"", [b"x" * (MAX_BYTES + 1)]) is None
