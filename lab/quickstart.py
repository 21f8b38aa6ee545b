"""The quickstart's manifests, filled in: the examples as they stand, with real digests, sources and a key.

The files under examples/quickstart are complete and valid; only what exists in nobody else's cluster is
replaced here: the registry, the digests of what was published, and the publisher's public key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgewise.provenance.publish import attach, publish
from edgewise.provenance.signer import directory_digest, sign_directory
from edgewise.provenance.transport import Transport

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "quickstart"
SERVICE = "line-inspection"
MODEL = "text-detector"
NAMESPACE = "vision"
Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Publisher:
    """Somebody with a signing key."""

    private_pem: bytes
    public_pem: str

    @classmethod
    def new(cls) -> Publisher:
        """A publisher with a fresh ECDSA P-256 key."""
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return cls(private, public.decode())


@dataclass(frozen=True, slots=True)
class PublishedVariant:
    """A variant in a registry: where, under which typed digest, and its size in bytes."""

    name: str
    uri: str
    digest: str
    size: int


def publish_variant(
    folder: Path, name: str, registry: str, publisher: Publisher | None, version: str = "1.0.0"
) -> PublishedVariant:
    """Push a model's folder as an artifact, signed when there is a publisher."""
    transport = Transport(plain_http=frozenset({registry}))
    pushed = publish(
        folder, f"oci://{registry}/models/{MODEL}-{name}", transport, name=MODEL, version=version
    )
    if publisher is not None:
        attach(sign_directory(folder, publisher.private_pem, name=MODEL), pushed.uri, transport)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return PublishedVariant(name, pushed.uri, str(directory_digest(folder)), size)


def manifests() -> list[Manifest]:
    """The quickstart's objects, in the order of the files."""
    return [
        document
        for path in sorted(EXAMPLES.glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        if document
    ]


def filled(
    registry: str, publisher: Publisher, variants: Sequence[PublishedVariant], version: str = "1.0.0"
) -> list[Manifest]:
    """The quickstart for this registry, this publisher and these variants."""
    published = {variant.name: variant for variant in variants}
    result = manifests()
    for document in result:
        match document["kind"]:
            case "TrustPolicy":
                document["spec"]["match"]["sources"] = [f"oci://{registry}/models/**"]
                document["spec"]["authorities"][0]["key"]["pem"] = publisher.public_pem
            case "EdgeModel":
                document["spec"]["version"] = version
                for variant in document["spec"]["variants"]:
                    found = published[variant["name"]]
                    variant |= {"uri": found.uri, "digest": found.digest, "size": found.size}
    return result


def as_text(documents: Sequence[Manifest]) -> str:
    """Documents as one YAML text, for ``kubectl apply -f -``."""
    return yaml.safe_dump_all(documents, sort_keys=False)
