"""gRPC: the driver on one Unix socket, the kubelet's plugin registration on another."""

import contextlib
import logging
import os
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import BoolValue

import edgewise
from edgewise.agent.asks import read_ask
from edgewise.agent.driver import Driver
from edgewise.agent.errors import MAX_TEXT, AgentError, Code
from edgewise.agent.metrics import Metrics
from edgewise.agent.protos import csi_pb2 as csi
from edgewise.agent.protos import registration_pb2 as registration
from edgewise.agent.settings import DRIVER

_log = logging.getLogger(__name__)

#: A publish call waits for a download, so there are more threads than pods start at once on an edge node.
#: They are started when needed.
_THREADS: Final = 16
#: The kubelet's messages are a few hundred bytes.
_MAX_MESSAGE: Final = 256 * 1024

Method = Callable[[Any], Message]
Methods = dict[str, tuple[type[Message], Method]]


class NodeService:
    """`csi.v1.Identity` and `csi.v1.Node`."""

    def __init__(self, driver: Driver, metrics: Metrics) -> None:
        self._driver = driver
        self._metrics = metrics

    def identity(self) -> Methods:
        """Methods of the identity service."""
        info = csi.GetPluginInfoResponse(name=DRIVER, vendor_version=edgewise.__version__)
        return {
            "GetPluginInfo": (csi.GetPluginInfoRequest, lambda _: info),
            "GetPluginCapabilities": (
                csi.GetPluginCapabilitiesRequest,
                lambda _: csi.GetPluginCapabilitiesResponse(),
            ),
            "Probe": (csi.ProbeRequest, lambda _: csi.ProbeResponse(ready=BoolValue(value=True))),
        }

    def node(self) -> Methods:
        """Methods of the node service."""
        info = csi.NodeGetInfoResponse(node_id=self._driver.settings.node)
        return {
            "NodePublishVolume": (csi.NodePublishVolumeRequest, self._publish),
            "NodeUnpublishVolume": (csi.NodeUnpublishVolumeRequest, self._unpublish),
            "NodeGetCapabilities": (
                csi.NodeGetCapabilitiesRequest,
                lambda _: csi.NodeGetCapabilitiesResponse(),
            ),
            "NodeGetInfo": (csi.NodeGetInfoRequest, lambda _: info),
        }

    def _publish(self, request: csi.NodePublishVolumeRequest) -> Message:
        started = time.perf_counter()
        outcome = "Failed"
        try:
            if request.volume_capability.WhichOneof("access_type") == "block":
                raise AgentError(
                    Code.INVALID_ARGUMENT, "NotAFolder", "a model volume is a folder, no block device"
                )
            context = dict(request.volume_context)
            settings = self._driver.settings
            self._driver.publish(read_ask(request.target_path, request.readonly, context, settings.kubelet))
            outcome = "ok"
        except AgentError as error:
            outcome = error.reason
            raise
        finally:
            self._metrics.publishes.labels(outcome).inc()
            self._metrics.publish_seconds.observe(time.perf_counter() - started)
        return csi.NodePublishVolumeResponse()

    def _unpublish(self, request: csi.NodeUnpublishVolumeRequest) -> Message:
        self._driver.unpublish(request.target_path)
        return csi.NodeUnpublishVolumeResponse()


class RegistrationService:
    """`pluginregistration.Registration`: the kubelet asks who we are, and says whether it took us."""

    def __init__(self, endpoint: Path, metrics: Metrics) -> None:
        self._endpoint = endpoint
        self._metrics = metrics

    def methods(self) -> Methods:
        """Methods of the registration service."""
        info = registration.PluginInfo(
            type="CSIPlugin", name=DRIVER, endpoint=str(self._endpoint), supported_versions=["1.0.0"]
        )
        return {
            "GetInfo": (registration.InfoRequest, lambda _: info),
            "NotifyRegistrationStatus": (registration.RegistrationStatus, self._status),
        }

    def _status(self, status: registration.RegistrationStatus) -> Message:
        self._metrics.registered.set(1 if status.plugin_registered else 0)
        if status.plugin_registered:
            _log.info("the kubelet registered %s", DRIVER)
        else:
            _log.error("the kubelet refuses %s: %s", DRIVER, status.error[:200])
        return registration.RegistrationStatusResponse()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server on a Unix socket."""

    server: grpc.Server
    socket: Path
    inode: int

    def stop(self) -> None:
        """Let calls end, then remove the socket, unless a newer agent has put its own there."""
        self.server.stop(grace=2).wait()
        with contextlib.suppress(FileNotFoundError):
            if self.socket.lstat().st_ino == self.inode:
                self.socket.unlink()


def start(socket: Path, services: dict[str, Methods]) -> Endpoint:
    """Serve on a Unix socket that only root can open; a socket of an earlier run is replaced."""
    socket.parent.mkdir(parents=True, exist_ok=True)
    _remove_socket(socket)
    options = [("grpc.max_receive_message_length", _MAX_MESSAGE), ("grpc.so_reuseport", 0)]
    server = grpc.server(ThreadPoolExecutor(_THREADS, thread_name_prefix=socket.name), options=options)
    for name, methods in services.items():
        handlers = {method: _handler(*parts) for method, parts in methods.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    before = os.umask(0o177)
    try:
        server.add_insecure_port(f"unix://{socket}")
    finally:
        os.umask(before)
    server.start()
    return Endpoint(server, socket, socket.lstat().st_ino)


def _remove_socket(path: Path) -> None:
    """Remove a socket; nothing else is ever removed."""
    if path.exists() and stat.S_ISSOCK(path.lstat().st_mode):
        path.unlink()


def _handler(request: type[Message], method: Method) -> grpc.RpcMethodHandler:
    def call(message: Any, context: grpc.ServicerContext) -> Message:
        try:
            return method(message)
        except AgentError as error:
            _log.warning("%s: %s", type(message).__name__, error)
            code, text = error.code, str(error)
        except Exception as error:
            _log.exception("%s failed", type(message).__name__)
            code, text = Code.INTERNAL, f"{type(error).__name__}: {error}"[:MAX_TEXT]
        context.abort(grpc.StatusCode[code.name], text)
        raise AssertionError("abort raises")

    return grpc.unary_unary_rpc_method_handler(
        call,
        request_deserializer=request.FromString,
        response_serializer=lambda response: response.SerializeToString(),
    )
