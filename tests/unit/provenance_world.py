"""A small world for the provenance tests: files, a publisher's key, a policy, a request. All in memory."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from edgewise.provenance.digests import File, canonical_sha256, sha256_hex, tree_digest
from edgewise.provenance.judge import judge
from edgewise.provenance.publickeys import SigningKey, public_key_of
from edgewise.provenance.publish import model_manifest
from edgewise.provenance.request import PolicySpec, Request, VariantInput, VariantJudgement
from edgewise.provenance.signer import sign_files

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CLUSTER = "6f3c0c5e-cluster"
PLACE = "oci://registry.example/models/defect"
CONTENT = {"model.onnx": b"weights", "labels/names.txt": b"scratch\ndent\n"}
PUBLISHER = ec.generate_private_key(ec.SECP256R1())
STRANGER = ec.generate_private_key(ec.SECP256R1())


def files_of(content: Mapping[str, bytes]) -> tuple[File, ...]:
    return tuple(sorted(File(path, sha256_hex(data), len(data)) for path, data in content.items()))


def pem_of(key: SigningKey) -> str:
    return public_key_of(key.public_key()).pem


def policy_spec(key: SigningKey = PUBLISHER, **changes: Any) -> dict[str, Any]:
    spec = {
        "match": {
            "kind": "Model",
            "sources": ["oci://registry.example/models/**"],
            "namespaces": {"matchLabels": {"team": "vision"}},
        },
        "mode": "Enforce",
        "authorities": [{"name": "ci", "key": {"pem": pem_of(key)}}],
        "require": [{"name": "signature", "anyOf": ["ci"], "threshold": 1}],
    }
    return {name: value for name, value in {**spec, **changes}.items() if value is not None}


def stored(spec: dict[str, Any], name: str = "vision") -> PolicySpec:
    return PolicySpec(name, canonical_sha256(spec), spec)


def statement_in(bundle: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))
    return value


def resigned(statement: object, key: SigningKey = PUBLISHER, *, payload_type: str | None = None) -> bytes:
    """A bundle over any statement (or raw bytes), honestly signed: what a careless or bought signer makes."""
    from edgewise.provenance import dsse
    from edgewise.provenance.bundle import write_bundle
    from edgewise.provenance.publickeys import sign

    payload = statement if isinstance(statement, bytes) else json.dumps(statement).encode()
    envelope = dsse.sign_envelope(payload, key)
    if payload_type is not None:
        signature = base64.b64encode(sign(key, dsse.pae(payload_type, payload))).decode()
        envelope = {**envelope, "payloadType": payload_type, "signatures": [{"sig": signature}]}
    return json.dumps(write_bundle(envelope, "")).encode()


_BUNDLES: dict[tuple[tuple[File, ...], int], bytes] = {}


@dataclass(frozen=True)
class World:
    """Everything the verifier looks at; `replace` one thing to attack."""

    content: Mapping[str, bytes] = field(default_factory=lambda: dict(CONTENT))
    signed: Mapping[str, bytes] | None = None
    key: SigningKey = PUBLISHER
    bundles: tuple[bytes, ...] | None = None
    specs: tuple[tuple[str, dict[str, Any]], ...] = field(
        default_factory=lambda: (("vision", policy_spec()),)
    )
    labels: Mapping[str, str] = field(default_factory=lambda: {"team": "vision"})
    place: str = PLACE
    format: str = "onnx"
    digest: str | None = None
    manifest: bytes | None = None
    uri: str | None = None
    now: datetime = NOW

    def good_bundle(self) -> bytes:
        """The publisher's bundle; the same one each time, though ECDSA signatures differ."""
        files, signer = files_of(self.signed or self.content), id(self.key)
        if (files, signer) not in _BUNDLES:
            _BUNDLES[files, signer] = sign_files(files, self.key, "defect")
        return _BUNDLES[files, signer]

    def request(self) -> Request:
        manifest = self.manifest or model_manifest(files_of(self.content), b"{}")
        digest = self.digest or str(
            tree_digest((f.path, f.sha256) for f in files_of(self.signed or self.content))
        )
        uri = self.uri or f"{self.place}@sha256:{sha256_hex(manifest)}"
        bundles = (self.good_bundle(),) if self.bundles is None else self.bundles
        return Request(
            cluster=CLUSTER,
            namespace="vision",
            labels=self.labels,
            model="defect-detector",
            model_uid="uid-1",
            version="1.4.0",
            variants=(VariantInput("cpu", uri, digest, self.format, manifest, bundles),),
            policies=tuple(stored(spec, name) for name, spec in self.specs),
            now=self.now,
        )

    def judged(self) -> VariantJudgement:
        return judge(self.request()).variants[0]

    def but(self, **changes: Any) -> World:
        return replace(self, **changes)
