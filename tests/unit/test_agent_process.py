"""The agent as it runs on a node: its own process, gRPC on Unix sockets, killed and started again."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from edgewise.agent.mounts import is_mounted
from edgewise.agent.protos import csi_pb2 as csi
from edgewise.agent.protos import registration_pb2 as registration
from edgewise.agent.protos.__main__ import generate
from edgewise.provenance.verdict import Verdict
from tests.unit.agent_world import CONTENT, Node, api_server, needs_root, read_tree
from tests.unit.small_registry import Handler, SmallRegistry, running

pytestmark = pytest.mark.enable_socket

NODE, IDENTITY, REGISTRATION = "csi.v1.Node", "csi.v1.Identity", "pluginregistration.Registration"


@pytest.fixture
def node() -> Iterator[Node]:
    """A node in a folder with a short name: a Unix socket's path ends at 107 bytes."""
    with (
        tempfile.TemporaryDirectory(prefix="ew") as folder,
        api_server(Path(folder) / "credentials") as api,
        running(SmallRegistry()) as registry,
    ):
        node = Node(Path(folder), api, registry)
        yield node
        node.clean()


@contextlib.contextmanager
def agent(node: Node, port: int = 0) -> Iterator[subprocess.Popen[str]]:
    """A started agent that answers; killed at the end if it still runs."""
    settings = node.settings
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "EDGEWISE_NODE_NAME": settings.node,
        "EDGEWISE_KUBELET_DIR": str(settings.kubelet),
        "EDGEWISE_STORE_DIR": str(settings.store),
        "EDGEWISE_JOURNAL_DIR": str(settings.journal),
        "EDGEWISE_VERDICT_KEYS": str(settings.keys),
        "EDGEWISE_VIEW_DIR": str(settings.view),
        "EDGEWISE_PLAIN_HTTP_REGISTRIES": node.registry.authority,
        "EDGEWISE_AGENT_PORT": str(port),
        "EDGEWISE_API_SERVER": settings.api_url,
        "EDGEWISE_CREDENTIALS_DIR": str(settings.credentials),
        "EDGEWISE_PUBLISH_WAIT_SECONDS": str(node.wait),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "edgewise.agent"], env=environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "serves node" in line:
                break
        else:
            pytest.fail("the agent did not start:\n" + "".join(lines))
        yield process
    finally:
        process.kill()
        process.communicate()


def call(socket: Path, service: str, method: str, request: Message, answer: type[Message]) -> Any:
    with grpc.insecure_channel(f"unix://{socket}") as channel:
        stub = channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        return stub(request, timeout=30, wait_for_ready=True)


def publish(node: Node, verdict: Verdict, **changes: Any) -> None:
    node.target().parent.mkdir(parents=True, exist_ok=True)
    request = csi.NodePublishVolumeRequest(
        volume_id="csi-1",
        target_path=str(node.target()),
        volume_capability=csi.VolumeCapability(mount=csi.VolumeCapability.MountVolume()),
        readonly=True,
        volume_context=node.context(verdict),
    )
    for name, value in changes.items():
        setattr(request, name, value)
    call(node.settings.csi_socket, NODE, "NodePublishVolume", request, csi.NodePublishVolumeResponse)


def unpublish(node: Node) -> None:
    request = csi.NodeUnpublishVolumeRequest(volume_id="csi-1", target_path=str(node.target()))
    call(node.settings.csi_socket, NODE, "NodeUnpublishVolume", request, csi.NodeUnpublishVolumeResponse)


def resident(pid: int) -> int:
    """Bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@needs_root
def test_the_kubelet_finds_it_and_gets_its_volume(node: Node) -> None:
    verdict = node.offer()
    with agent(node) as process:
        info = call(node.settings.registration_socket, REGISTRATION, "GetInfo", registration.InfoRequest(),
                    registration.PluginInfo)  # fmt: skip
        assert (info.type, info.name, list(info.supported_versions)) == (
            "CSIPlugin", "models.edgewise.dev", ["1.0.0"],
        )  # fmt: skip
        endpoint = Path(info.endpoint)
        assert endpoint == node.settings.csi_socket
        assert endpoint.stat().st_mode & 0o077 == 0
        told = registration.RegistrationStatus(plugin_registered=True)
        call(node.settings.registration_socket, REGISTRATION, "NotifyRegistrationStatus", told,
             registration.RegistrationStatusResponse)  # fmt: skip
        plugin = call(
            endpoint, IDENTITY, "GetPluginInfo", csi.GetPluginInfoRequest(), csi.GetPluginInfoResponse
        )
        assert plugin.name == "models.edgewise.dev"
        assert call(endpoint, IDENTITY, "Probe", csi.ProbeRequest(), csi.ProbeResponse).ready.value
        call(endpoint, IDENTITY, "GetPluginCapabilities", csi.GetPluginCapabilitiesRequest(),
             csi.GetPluginCapabilitiesResponse)  # fmt: skip
        call(endpoint, NODE, "NodeGetCapabilities", csi.NodeGetCapabilitiesRequest(),
             csi.NodeGetCapabilitiesResponse)  # fmt: skip
        got = call(endpoint, NODE, "NodeGetInfo", csi.NodeGetInfoRequest(), csi.NodeGetInfoResponse)
        assert got.node_id == "edge-1"
        publish(node, verdict)
        publish(node, verdict)
        assert read_tree(node.target()) == CONTENT
        assert resident(process.pid) < 60_000_000
        unpublish(node)
        unpublish(node)
        assert not node.target().exists()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert not node.settings.csi_socket.exists()
    assert not node.settings.registration_socket.exists()


@needs_root
def test_refusals_reach_the_pod_s_event(node: Node) -> None:
    verdict = node.offer()
    with agent(node):
        with pytest.raises(grpc.RpcError) as caught:
            publish(node, verdict, readonly=False)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "readOnly: true" in caught.value.details()
        digest = f"sha256:{hashlib.sha256(CONTENT['model.onnx']).hexdigest()}"
        node.registry.blobs[digest] = b"\xff" + CONTENT["model.onnx"][1:]
        with pytest.raises(grpc.RpcError) as caught:
            publish(node, verdict)
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert f"blob {digest}" in caught.value.details()
        assert "refusing" in caught.value.details()


@needs_root
def test_killed_in_mid_download_it_goes_on_at_the_byte(node: Node) -> None:
    content = {"model.onnx": os.urandom(3 << 20)}
    verdict = node.offer(content)
    digest = f"sha256:{verdict.files[0].sha256}"
    halfway, give_up = threading.Event(), threading.Event()

    def half(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(3 << 20))
        handler.end_headers()
        handler.wfile.write(content["model.onnx"][: 2 << 20])
        handler.wfile.flush()
        halfway.set()
        give_up.wait(30)

    path = f"GET /v2/models/defect/blobs/{digest}"
    node.registry.lies[path] = half
    node.wait = 0.2
    part = node.settings.store / "incoming" / verdict.digest.hex / "blobs" / f"{verdict.files[0].sha256}.part"
    with agent(node) as process:
        with pytest.raises(grpc.RpcError) as caught:
            publish(node, verdict)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert halfway.wait(10)
        while not part.stat().st_size:
            publish_again(node, verdict)
        process.kill()
        process.wait()
    give_up.set()
    kept = part.stat().st_size
    assert 0 < kept <= 2 << 20
    del node.registry.lies[path]
    node.wait = 20.0
    with agent(node):
        publish(node, verdict)
        assert read_tree(node.target()) == content
        unpublish(node)
    assert node.registry.ranges_asked == [f"bytes={kept}-{(3 << 20) - 1}"]


def publish_again(node: Node, verdict: Verdict) -> None:
    with contextlib.suppress(grpc.RpcError):
        publish(node, verdict)


@needs_root
def test_killed_and_started_under_mounted_volumes(node: Node) -> None:
    verdict = node.offer()
    with agent(node) as process:
        publish(node, verdict)
        process.kill()
        process.wait()
    assert read_tree(node.target()) == CONTENT
    node.registry.requests.clear()
    with agent(node):
        publish(node, verdict)
        assert is_mounted(node.target())
        unpublish(node)
    assert not is_mounted(node.target())
    assert node.registry.requests == []


@needs_root
def test_health_and_metrics(node: Node) -> None:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with agent(node, port):
        for page, word in (("healthz", "ok"), ("metrics", "edgewise_agent_store_bytes 0.0")):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=10) as response:
                assert word in response.read().decode()


def test_the_agent_s_process_stays_small_by_what_it_does_not_import() -> None:
    code = "import sys, edgewise.agent.__main__; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert {"grpc", "cryptography", "prometheus_client"} <= loaded
    assert not loaded & {"pydantic", "kubernetes", "sigstore", "kopf", "aiohttp", "yaml", "numpy"}


def test_generated_messages_are_those_of_the_proto_files(tmp_path: Path) -> None:
    generate(tmp_path)
    made = sorted((tmp_path / "edgewise/agent/protos").glob("*_pb2.py*"))
    assert [path.name for path in made] == [
        "csi_pb2.py", "csi_pb2.pyi", "registration_pb2.py", "registration_pb2.pyi",
    ]  # fmt: skip
    package = Path(csi.__file__).parent
    for path in made:
        assert path.read_text() == (package / path.name).read_text(), "run python -m edgewise.agent.protos"


def test_wrong_settings_end_with_a_word_on_what_to_set() -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-m", "edgewise.agent"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "EDGEWISE_NODE_NAME" in done.stderr
