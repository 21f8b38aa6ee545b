"""Publish and unpublish with real mounts, a real registry over HTTP and a real API server over TLS."""

import errno
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edgewise.agent.errors import AgentError, Code
from edgewise.agent.mounts import is_mounted, mount_points
from edgewise.provenance.keys import first_document, new_private_key, rotate, write_document
from edgewise.provenance.verdict import sign_verdict
from tests.unit.agent_world import CONTENT, POD, PRIVATE, Node, api_server, needs_root, read_tree
from tests.unit.provenance_world import CLUSTER
from tests.unit.small_registry import Handler, SmallRegistry, running

pytestmark = [pytest.mark.enable_socket, needs_root]

OTHER_POD = POD.replace("0b0c", "dddd")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with api_server(tmp_path / "credentials") as api, running(SmallRegistry()) as registry:
        node = Node(tmp_path, api, registry)
        yield node
        node.clean()


def refused(call: Callable[[], object], code: Code, *words: str) -> AgentError:
    with pytest.raises(AgentError) as caught:
        call()
    assert caught.value.code is code, caught.value
    for word in words:
        assert word in str(caught.value)
    return caught.value


def blob_path(content: bytes) -> str:
    return f"GET /v2/models/defect/blobs/sha256:{hashlib.sha256(content).hexdigest()}"


# --- the volume's life ------------------------------------------------------------------------------


def test_a_verified_model_appears_read_only(node: Node) -> None:
    verdict, driver = node.offer(), node.driver()
    driver.publish(node.ask(verdict))
    assert read_tree(node.target()) == CONTENT
    options = mount_points()[str(node.target())].split(",")
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(options)
    with pytest.raises(OSError, match="Read-only") as caught:
        (node.target() / "model.onnx").write_bytes(b"x")
    assert caught.value.errno == errno.EROFS
    sealed = driver.store.path(verdict.digest.hex)
    assert {oct(path.stat().st_mode & 0o777) for path in sealed.rglob("*") if path.is_file()} == {"0o444"}


def test_publishing_twice_mounts_once_and_asks_nobody(node: Node) -> None:
    verdict, driver = node.offer(), node.driver()
    driver.publish(node.ask(verdict))
    node.api.requests.clear()
    node.registry.requests.clear()
    driver.publish(node.ask(verdict))
    assert node.api.requests == node.registry.requests == []
    driver.unpublish(str(node.target()))
    assert not is_mounted(node.target())
    assert not node.target().exists()


def test_unpublishing_what_is_gone_is_fine(node: Node) -> None:
    driver = node.driver()
    driver.unpublish(str(node.target()))
    verdict = node.offer()
    driver.publish(node.ask(verdict))
    driver.unpublish(str(node.target()))
    driver.unpublish(str(node.target()))
    driver.publish(node.ask(verdict))
    assert is_mounted(node.target())


def test_unpublish_never_deletes_what_a_pod_left_there(node: Node) -> None:
    node.target().mkdir(parents=True)
    (node.target() / "precious").write_text("x")
    refused(lambda: node.driver().unpublish(str(node.target())), Code.INTERNAL, "not empty")
    assert (node.target() / "precious").exists()


def test_two_pods_share_one_copy_and_one_download(node: Node) -> None:
    verdict, driver = node.offer(), node.driver()
    asks = [node.ask(verdict), node.ask(verdict, OTHER_POD)]
    threads = [threading.Thread(target=driver.publish, args=(ask,)) for ask in asks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_tree(node.target()) == read_tree(node.target(OTHER_POD)) == CONTENT
    assert node.registry.requests.count(blob_path(CONTENT["model.onnx"])) == 1
    driver.unpublish(str(node.target()))
    assert read_tree(node.target(OTHER_POD)) == CONTENT


def test_a_new_agent_finds_everything_under_mounted_volumes(node: Node) -> None:
    verdict = node.offer()
    node.driver().publish(node.ask(verdict))
    node.registry.requests.clear()
    fresh = node.driver()
    before = mount_points()
    fresh.publish(node.ask(verdict))
    assert mount_points() == before
    assert node.registry.requests == []
    fresh.unpublish(str(node.target()))
    assert not is_mounted(node.target())


def test_a_lost_journal_is_made_up_for(node: Node) -> None:
    verdict = node.offer()
    node.driver().publish(node.ask(verdict))
    for path in (node.settings.journal / "mounts").iterdir():
        path.write_text("{")
    node.driver().publish(node.ask(verdict))
    assert list(mount_points()).count(str(node.target())) == 1
    node.driver().unpublish(str(node.target()))
    assert not is_mounted(node.target())


# --- who may have what ------------------------------------------------------------------------------


def test_another_namespace_cannot_use_the_verdict(node: Node) -> None:
    verdict, driver = node.offer(), node.driver()
    driver.publish(node.ask(verdict))
    stolen = node.api.models["vision/defect"]
    node.api.models["sales/defect"] = stolen  # somebody who may write status there copies the verdict
    ask = node.ask(verdict, OTHER_POD, namespace="sales")
    refused(lambda: driver.publish(ask), Code.FAILED_PRECONDITION, "VerdictMismatch", "namespace vision")
    assert not is_mounted(node.target(OTHER_POD))
    kept = node.settings.journal / "verdicts" / "sales"
    assert not kept.exists()


def test_no_model_no_volume(node: Node) -> None:
    verdict = node.verdict()
    refused(lambda: node.driver().publish(node.ask(verdict)), Code.FAILED_PRECONDITION, "no EdgeModel defect")
    node.api.put("vision", "defect")
    refused(lambda: node.driver().publish(node.ask(verdict)), Code.FAILED_PRECONDITION, "no verdict")
    assert not node.target().exists()


def test_what_the_operator_refuses_is_refused_with_its_words(node: Node) -> None:
    verdict = node.verdict()
    condition = {"type": "Verified", "status": "False", "reason": "SignatureMissing", "message": "wants ci"}
    node.api.put("vision", "defect", conditions=[condition])
    refused(lambda: node.driver().publish(node.ask(verdict)), Code.FAILED_PRECONDITION, "wants ci")


def test_a_verdict_withdrawn_is_not_revived_from_disk_but_what_runs_goes_on(node: Node) -> None:
    verdict, driver = node.offer(), node.driver()
    driver.publish(node.ask(verdict))
    condition = {"type": "Verified", "status": "False", "reason": "SignatureMissing", "message": "wants ci"}
    judged = [{"name": "cpu", "digest": str(verdict.digest), "verified": False}]
    for status in ({"conditions": [condition]}, {"conditions": [condition], "variants": judged}):
        node.api.put("vision", "defect", **status)
        refused(lambda: driver.publish(node.ask(verdict, OTHER_POD)), Code.FAILED_PRECONDITION, "wants ci")
    driver.publish(node.ask(verdict))
    assert read_tree(node.target()) == CONTENT


def test_a_refused_new_version_leaves_the_pods_of_the_old_one_alone(node: Node) -> None:
    verdict, driver = node.offer(), node.driver()
    driver.publish(node.ask(verdict))
    condition = {"type": "Verified", "status": "False", "reason": "SignatureMissing", "message": "wants ci"}
    judged = [{"name": "cpu", "digest": "tree:sha256:" + "0" * 64, "verified": False}]
    node.api.put("vision", "defect", conditions=[condition], variants=judged)
    driver.publish(node.ask(verdict, OTHER_POD))
    assert read_tree(node.target(OTHER_POD)) == CONTENT


def test_a_verdict_past_half_of_its_life_is_replaced_while_there_is_network(node: Node) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    old = node.offer(issued=now - timedelta(days=20), expires=now + timedelta(days=10))
    driver = node.driver()
    driver.publish(node.ask(old))
    driver.publish(node.ask(old))  # nothing younger yet: goes on
    young = node.offer()
    driver.publish(node.ask(young))
    kept = driver.journal.verdict("vision", "defect", young.digest.hex)
    assert kept is not None
    assert driver.verdicts.find(node.ask(young).wanted).verdict.expires == young.expires
    node.api.requests.clear()
    driver.publish(node.ask(young))
    assert node.api.requests == []
    node.api.status = 500
    driver.publish(node.ask(old))


@pytest.mark.parametrize(
    "changes",
    [
        {"cluster": "another"},
        {"namespace": "sales"},
        {"model": "toy"},
        {"issued": datetime(2020, 1, 1, tzinfo=UTC), "expires": datetime(2020, 2, 1, tzinfo=UTC)},
        {"model_uid": "uid-of-a-deleted-one"},
    ],
)
def test_verdicts_about_something_else(node: Node, changes: dict[str, object]) -> None:
    verdict = node.offer()
    node.api.put("vision", "defect", sign_verdict(replace(verdict, **changes), PRIVATE))  # type: ignore[arg-type]
    refused(lambda: node.driver().publish(node.ask(verdict)), Code.FAILED_PRECONDITION, "Verdict")


def test_a_verdict_by_an_unknown_key(node: Node) -> None:
    verdict = node.offer()
    node.api.put("vision", "defect", sign_verdict(verdict, new_private_key()))
    refused(lambda: node.driver().publish(node.ask(verdict)), Code.FAILED_PRECONDITION, "VerdictUntrusted")


def test_the_right_verdict_counts_beside_wrong_ones(node: Node) -> None:
    verdict = node.offer()
    wrong = [
        sign_verdict(verdict, new_private_key()),
        "{",
        sign_verdict(replace(verdict, model="x"), PRIVATE),
    ]
    node.api.put("vision", "defect", *wrong, sign_verdict(verdict, PRIVATE))
    node.driver().publish(node.ask(verdict))
    assert is_mounted(node.target())


# --- without network, after reboots -----------------------------------------------------------------


def rebooted(node: Node) -> None:
    node.clean()
    node.boot += "'"


def test_a_node_that_reboots_without_network_mounts_again(node: Node) -> None:
    verdict = node.offer()
    node.driver().publish(node.ask(verdict))
    rebooted(node)
    node.api.url, node.settings.keys.parent.rename(node.root / "gone")
    node.api.url = "https://127.0.0.1:1"
    node.registry.requests.clear()
    driver = node.driver()
    driver.publish(node.ask(verdict))
    driver.publish(node.ask(verdict, OTHER_POD))
    assert read_tree(node.target()) == read_tree(node.target(OTHER_POD)) == CONTENT
    assert node.registry.requests == []


def test_without_network_and_without_a_kept_verdict_it_waits(node: Node) -> None:
    verdict = node.offer()
    node.api.url = "https://127.0.0.1:1"
    refused(
        lambda: node.driver().publish(node.ask(verdict)), Code.UNAVAILABLE, "does not answer", "is kept here"
    )


def test_an_ended_verdict_serves_only_the_pod_that_had_it(node: Node) -> None:
    verdict = node.offer()
    node.driver().publish(node.ask(verdict))
    rebooted(node)
    node.api.url = "https://127.0.0.1:1"
    driver = node.driver()
    later = datetime.now(UTC) + timedelta(days=31)
    driver = replace(driver, verdicts=replace(driver.verdicts, now=lambda: later))
    refused(lambda: driver.publish(node.ask(verdict, OTHER_POD)), Code.FAILED_PRECONDITION, "VerdictExpired")
    driver.publish(node.ask(verdict))
    assert read_tree(node.target()) == CONTENT


def test_bytes_changed_on_the_disk_are_found_at_boot_and_fetched_again(node: Node) -> None:
    verdict, driver = node.offer(), node.driver()
    driver.publish(node.ask(verdict))
    sealed = driver.store.path(verdict.digest.hex) / "model.onnx"
    rebooted(node)
    data = bytearray(CONTENT["model.onnx"])
    data[7] ^= 1
    sealed.chmod(0o644)
    sealed.write_bytes(data)
    fresh = node.driver()
    fresh.publish(node.ask(verdict))
    assert read_tree(node.target()) == CONTENT
    assert fresh.ensurer.metrics.registry.get_sample_value("edgewise_agent_corrupt_trees_total") == 1


def test_bytes_changed_on_the_disk_are_never_mounted_when_nothing_else_is_there(node: Node) -> None:
    verdict, driver = node.offer(), node.driver()
    driver.publish(node.ask(verdict))
    (driver.store.path(verdict.digest.hex) / "extra").write_text("x")
    rebooted(node)
    node.registry.blobs.clear()
    refused(lambda: node.driver().publish(node.ask(verdict)), Code.UNAVAILABLE, "404")
    assert not is_mounted(node.target())


def test_a_new_key_and_a_new_verdict_disturb_nothing(node: Node) -> None:
    verdict, driver = node.offer(), node.driver()
    driver.publish(node.ask(verdict))
    second, now = new_private_key(), datetime.now(UTC)
    document = rotate(first_document(PRIVATE, CLUSTER, now - timedelta(days=1)), second, now)
    node.settings.keys.write_text(write_document(document))
    node.api.put("vision", "defect", sign_verdict(replace(verdict, version="1.4.1"), second))
    before = mount_points()
    driver.publish(node.ask(verdict))
    assert mount_points() == before
    driver.publish(node.ask(verdict, OTHER_POD))
    assert read_tree(node.target(OTHER_POD)) == CONTENT


def test_a_key_that_the_kubelet_has_not_brought_yet_is_asked_for(node: Node) -> None:
    verdict, driver = node.offer(), node.driver()
    second, now = new_private_key(), datetime.now(UTC)
    old = first_document(PRIVATE, CLUSTER, now - timedelta(days=1))
    both = rotate(old, second, now - timedelta(minutes=1))
    node.api.put("vision", "defect", sign_verdict(verdict, second))
    refused(lambda: driver.publish(node.ask(verdict)), Code.FAILED_PRECONDITION, "VerdictUntrusted")
    node.api.models["edgewise-system/edgewise-verdict-keys"] = {"data": {"keys.json": write_document(both)}}
    driver.publish(node.ask(verdict))
    assert read_tree(node.target()) == CONTENT
    node.api.url = "https://127.0.0.1:1"
    rebooted(node)
    node.driver().publish(node.ask(verdict, OTHER_POD))  # the younger document was kept beside the old file


def test_a_fresh_node_asks_for_the_keys(node: Node) -> None:
    verdict, text = node.offer(), node.settings.keys.read_text()
    node.settings.keys.unlink()
    refused(lambda: node.driver().publish(node.ask(verdict)), Code.UNAVAILABLE, "KeysMissing", "not there")
    node.api.models["edgewise-system/edgewise-verdict-keys"] = {"data": {"keys.json": "{"}}
    refused(lambda: node.driver().publish(node.ask(verdict)), Code.UNAVAILABLE, "KeysMissing")
    node.api.models["edgewise-system/edgewise-verdict-keys"] = {"data": {"keys.json": text}}
    node.driver().publish(node.ask(verdict))


def test_a_node_that_joined_another_cluster_trusts_only_that_one(node: Node) -> None:
    verdict = node.offer()
    node.driver().publish(node.ask(verdict))
    other = first_document(new_private_key(), "another", datetime.now(UTC) - timedelta(days=99))
    node.settings.keys.write_text(write_document(other))
    driver = node.driver()
    refused(
        lambda: driver.publish(node.ask(verdict, OTHER_POD)), Code.FAILED_PRECONDITION, "VerdictUntrusted"
    )


# --- registries ---------------------------------------------------------------------------------------


def test_a_changed_byte_behind_the_registry_s_back(node: Node) -> None:
    verdict, driver = node.offer(), node.driver()
    digest = f"sha256:{hashlib.sha256(CONTENT['model.onnx']).hexdigest()}"
    node.registry.blobs[digest] = b"\xff" + CONTENT["model.onnx"][1:]
    error = refused(lambda: driver.publish(node.ask(verdict)), Code.FAILED_PRECONDITION, "refusing", digest)
    assert "hashes to sha256:" in str(error)
    assert not node.target().exists()
    asked = len(node.registry.requests)
    refused(lambda: driver.publish(node.ask(verdict)), Code.FAILED_PRECONDITION, "refusing")
    assert len(node.registry.requests) == asked  # remembered for a while
    node.registry.blobs[digest] = CONTENT["model.onnx"]
    driver.ensurer.clock = lambda: float("inf")
    driver.publish(node.ask(verdict))
    assert read_tree(node.target()) == CONTENT


@pytest.mark.parametrize("body", ["longer", "shorter", "endless"])
def test_bodies_of_another_length(node: Node, body: str) -> None:
    verdict, driver = node.offer(), node.driver()
    honest = CONTENT["model.onnx"]

    def lie(handler: Handler) -> None:
        if body != "endless":
            return handler.reply(200, honest + b"x" if body == "longer" else honest[:-1])
        handler.send_response(200)
        handler.end_headers()
        handler.close_connection = True
        while True:
            handler.wfile.write(honest)

    node.registry.lies[blob_path(honest)] = lie
    refused(lambda: driver.publish(node.ask(verdict)), Code.FAILED_PRECONDITION, "DigestMismatch")
    assert not node.target().exists()


def cut_after(size: int, content: bytes, node: Node) -> None:
    """The registry ends the connection after `size` bytes, once."""

    def lie(handler: Handler) -> None:
        del node.registry.lies[blob_path(content)]
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:size])
        handler.close_connection = True

    node.registry.lies[blob_path(content)] = lie


def test_a_cut_is_resumed_at_the_byte(node: Node) -> None:
    verdict, driver = node.offer(), node.driver()
    cut_after(1000, CONTENT["model.onnx"], node)
    driver.publish(node.ask(verdict))
    assert node.registry.ranges_asked == [f"bytes=1000-{len(CONTENT['model.onnx']) - 1}"]
    assert read_tree(node.target()) == CONTENT


def test_a_registry_without_ranges_starts_over(node: Node) -> None:
    node.registry.ranges = False
    verdict, driver = node.offer(), node.driver()
    cut_after(1000, CONTENT["model.onnx"], node)
    driver.publish(node.ask(verdict))
    assert read_tree(node.target()) == CONTENT


def test_a_part_spoilt_on_the_disk_is_fetched_from_the_start(node: Node) -> None:
    verdict, driver = node.offer(), node.driver()
    part = driver.store.incoming(verdict.digest.hex) / "blobs" / f"{verdict.files[2].sha256}.part"
    assert verdict.files[2].path == "model.onnx"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"\0" * 5000)
    driver.publish(node.ask(verdict))
    assert read_tree(node.target()) == CONTENT


def test_a_download_outlives_the_call(node: Node) -> None:
    verdict = node.offer()
    go_on = threading.Event()
    honest = CONTENT["model.onnx"]

    def slow(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(honest)))
        handler.end_headers()
        handler.wfile.write(honest[:1000])
        handler.wfile.flush()
        go_on.wait(10)
        handler.wfile.write(honest[1000:])

    node.registry.lies[blob_path(honest)] = slow
    node.wait = 0.05
    driver = node.driver()
    refused(lambda: driver.publish(node.ask(verdict)), Code.UNAVAILABLE, "Downloading", "bytes")
    go_on.set()
    patient = replace(driver, settings=replace(driver.settings, publish_wait=20.0))
    patient.publish(node.ask(verdict))
    assert node.registry.requests.count(blob_path(honest)) == 1


def test_a_source_that_is_away_is_asked_again_later(node: Node) -> None:
    verdict, driver = node.offer(), node.driver()
    node.registry.lies[blob_path(CONTENT["model.onnx"])] = lambda handler: handler.reply(503)
    refused(lambda: driver.publish(node.ask(verdict)), Code.UNAVAILABLE, "503")
    node.registry.lies.clear()
    driver.ensurer.clock = lambda: float("inf")
    driver.publish(node.ask(verdict))
    assert is_mounted(node.target())


# --- space --------------------------------------------------------------------------------------------


def test_the_oldest_unused_model_makes_room_and_mounted_ones_stay(node: Node) -> None:
    contents = [{"m": bytes([number]) * 1000} for number in range(4)]
    node.quota = 3000
    driver = node.driver()
    verdicts = []
    for number, content in enumerate(contents[:3]):
        pod = f"pod-{number}"
        verdicts.append(node.offer(content))
        driver.publish(node.ask(verdicts[-1], pod))
        record = driver.store.root / "sealed" / f"{verdicts[-1].digest.hex}.json"
        record.write_text(json.dumps({**json.loads(record.read_text()), "used": number}))
    for pod in ("pod-1", "pod-2"):
        driver.unpublish(str(node.target(pod)))
        record = driver.store.root / "sealed" / f"{verdicts[int(pod[-1])].digest.hex}.json"
        record.write_text(json.dumps({**json.loads(record.read_text()), "used": int(pod[-1])}))
    driver.publish(node.ask(node.offer(contents[3]), "pod-3"))
    there = {record.tree for record in driver.store.sealed()}
    assert verdicts[0].digest.hex in there  # the oldest, but mounted
    assert verdicts[1].digest.hex not in there
    assert verdicts[2].digest.hex in there
    assert read_tree(node.target("pod-0")) == contents[0]


def test_no_room_is_said_with_numbers_and_removes_nothing(node: Node) -> None:
    node.quota = 1500
    driver = node.driver()
    small = node.offer({"m": b"x" * 1000})
    driver.publish(node.ask(small))
    driver.unpublish(str(node.target()))
    large = node.offer({"m": b"y" * 2000})
    refused(
        lambda: driver.publish(node.ask(large)), Code.RESOURCE_EXHAUSTED, "2000 bytes wanted", "quota 1500"
    )
    assert driver.store.is_trusted(small.digest.hex)


def test_leftovers_of_other_downloads_make_room_first(node: Node) -> None:
    driver = node.driver()
    sealed = node.offer({"m": b"x" * 10})
    driver.publish(node.ask(sealed))
    for folder in ("incoming/dead/blobs", "aside/old"):
        (driver.store.root / folder).mkdir(parents=True)
        (driver.store.root / folder / "blob").write_bytes(b"y")
    short = driver.store.make_room(1 << 60, frozenset())
    assert short > 0
    assert not (driver.store.root / "incoming" / "dead").exists()
    assert not (driver.store.root / "aside").exists()
    assert driver.store.is_sealed(sealed.digest.hex)


def test_records_of_pods_that_are_gone_keep_nothing(node: Node) -> None:
    verdict, driver = node.offer(), node.driver()
    driver.publish(node.ask(verdict))
    assert driver.in_use() == {verdict.digest.hex}
    node.clean()
    os.rename(node.settings.kubelet / "pods" / POD, node.root / "gone")
    assert driver.in_use() == frozenset()
