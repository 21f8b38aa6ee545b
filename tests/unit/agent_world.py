"""A node for the agent's tests: folders, a registry, an API server over TLS, verdicts, and pods."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edgewise.agent.agent import build_driver
from edgewise.agent.asks import Ask, read_ask
from edgewise.agent.driver import Driver
from edgewise.agent.metrics import Metrics
from edgewise.agent.mounts import mount_points, unmount
from edgewise.agent.settings import Settings
from edgewise.provenance.digests import sha256_hex, tree_digest
from edgewise.provenance.keys import first_document, new_private_key, write_document
from edgewise.provenance.verdict import PolicyHash, Verdict, sign_verdict
from tests.unit.provenance_world import CLUSTER, files_of
from tests.unit.small_registry import SmallRegistry

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

PRIVATE = new_private_key()
CONTENT = {"model.onnx": bytes(range(256)) * 2000, "labels/names.txt": b"scratch\ndent\n", "empty": b""}
POD = "0b0c5f0e-1111-2222-3333-444444444444"


@dataclass
class ApiDouble:
    """EdgeModels by "namespace/name"; served over real TLS with a real certificate."""

    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    status: int = 200
    url: str = ""

    def put(self, namespace: str, name: str, *envelopes: str, uid: str = "uid-1", **status: Any) -> None:
        verdicts = [
            {"variant": f"v{index}", "envelope": envelope} for index, envelope in enumerate(envelopes)
        ]
        self.models[f"{namespace}/{name}"] = {
            "metadata": {"uid": uid, "name": name},
            "status": {"verdicts": verdicts, **status},
        }


@contextmanager
def api_server(folder: Path) -> Iterator[ApiDouble]:
    """Run the double; `folder` gets `token` and `ca.crt`."""
    double = ApiDouble()
    folder.mkdir(parents=True)
    (folder / "token").write_text("agent-token\n")
    _certificate(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            double.requests.append(self.path)
            parts = self.path.split("/")
            model = double.models.get(f"{parts[-3]}/{parts[-1]}")
            authorised = self.headers["Authorization"] == "Bearer agent-token"
            status = 401 if not authorised else 404 if model is None else double.status
            body = json.dumps(model or {}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.crt", folder / "ca.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    double.url = f"https://127.0.0.1:{server.server_address[1]}"
    try:
        yield double
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    loopback = ipaddress.ip_address("127.0.0.1")
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(loopback)]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.KeyUsage(True, False, False, False, False, True, True, False, False), True)
    )
    certificate = builder.sign(key, hashes.SHA256())
    (folder / "ca.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "ca.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


@dataclass
class Node:
    """One node: settings below a temporary folder, and what its API server and registry have."""

    root: Path
    api: ApiDouble
    registry: SmallRegistry
    boot: str = "boot-1"
    quota: int = 0
    wait: float = 20.0

    def __post_init__(self) -> None:
        now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=60)
        self.settings.keys.parent.mkdir(parents=True)
        self.settings.keys.write_text(write_document(first_document(PRIVATE, CLUSTER, now)))

    @property
    def settings(self) -> Settings:
        return Settings(
            node="edge-1",
            kubelet=self.root / "kubelet",
            store=self.root / "store",
            journal=self.root / "journal",
            keys=self.root / "keys" / "keys.json",
            view=self.root / "view",
            plain_http=frozenset({self.registry.authority}),
            quota=self.quota,
            port=0,
            publish_wait=self.wait,
            api_url=self.api.url,
            credentials=self.root / "credentials",
            namespace="edgewise-system",
        )

    def driver(self) -> Driver:
        """A driver as after a start of the agent: everything it knows is on the disk."""
        return build_driver(self.settings, Metrics(), self.boot)

    def verdict(self, content: Mapping[str, bytes] = CONTENT, **changes: Any) -> Verdict:
        files = files_of(content)
        now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        verdict = Verdict(
            cluster=CLUSTER,
            namespace="vision",
            model="defect",
            model_uid="uid-1",
            version="1.4.0",
            variant="cpu",
            digest=tree_digest((file.path, file.sha256) for file in files),
            format="onnx",
            sources=(f"oci://{self.registry.authority}/models/defect@sha256:{sha256_hex(b'manifest')}",),
            files=files,
            policies=(PolicyHash("vision", "0" * 64),),
            authorities=(),
            issued=now,
            expires=now + datetime.timedelta(days=30),
        )
        return replace(verdict, **changes)

    def offer(self, content: Mapping[str, bytes] = CONTENT, **changes: Any) -> Verdict:
        """Push the content, and let the operator publish a verdict for it."""
        for data in content.values():
            self.registry.put_blob(data)
        verdict = self.verdict(content, **changes)
        self.api.put(verdict.namespace, verdict.model, sign_verdict(verdict, PRIVATE))
        return verdict

    def target(self, pod: str = POD) -> Path:
        return self.settings.kubelet / "pods" / pod / "volumes" / "kubernetes.io~csi" / "model" / "mount"

    def context(self, verdict: Verdict, pod: str = POD, namespace: str = "vision") -> dict[str, str]:
        return {
            "csi.storage.k8s.io/pod.name": "line-1",
            "csi.storage.k8s.io/pod.namespace": namespace,
            "csi.storage.k8s.io/pod.uid": pod,
            "csi.storage.k8s.io/serviceAccount.name": "default",
            "csi.storage.k8s.io/ephemeral": "true",
            "model": verdict.model,
            "digest": str(verdict.digest),
        }

    def ask(self, verdict: Verdict, pod: str = POD, namespace: str = "vision") -> Ask:
        target = self.target(pod)
        target.parent.mkdir(parents=True, exist_ok=True)
        return read_ask(str(target), True, self.context(verdict, pod, namespace), self.settings.kubelet)

    def clean(self) -> None:
        for point in mount_points():
            if point.startswith(f"{self.root}/"):
                unmount(Path(point))


def read_tree(folder: Path) -> dict[str, bytes]:
    """Content by path."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
